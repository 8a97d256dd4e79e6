//! What became of the items of a source.
//!
//! Owns the one account that must balance: every item that was sent is, in the end, ok, rejected or failed, once.
//! [`Sent`] is the item's entry in it: it is closed with an outcome, and an entry that is dropped instead (its
//! call was abandoned because the source was killed) counts as failed. Reasons are kept by kind, bounded in
//! number and length, since guests write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::exit::bounded;

/// Different kinds of reasons kept; what comes later is counted under `other`.
const KINDS_MAX: usize = 32;

/// Different messages kept of each kind.
const MESSAGES_MAX: usize = 8;

/// Longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 400;

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Rejected { kind: String, message: String },
    Failed { kind: String, message: String },
}

impl Outcome {
    /// `ok`, or the name of what went wrong.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Rejected { kind, .. } | Self::Failed { kind, .. } => kind,
        }
    }
}

/// Items that were not counted, for one kind of reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonGroup {
    /// The case of the function's error type, or the kind of the call's error.
    pub kind: String,
    /// How many items.
    pub count: u64,
    /// The first few different messages.
    pub messages: Vec<ReasonMessage>,
}

/// One message that came back, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonMessage {
    /// What was said, with control characters escaped.
    pub message: String,
    /// How many items.
    pub count: u64,
    /// The first of them, from 0.
    pub first_item: u32,
}

/// The account of a source at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Items sent.
    pub events_in: u64,
    /// Answered without an error.
    pub ok: u64,
    /// Answered with the error that means that the item is bad.
    pub rejected: u64,
    /// Answered with another error, or not at all.
    pub failed: u64,
    /// Why items were rejected, most first.
    pub rejections: Vec<ReasonGroup>,
    /// Why items failed, most first.
    pub failures: Vec<ReasonGroup>,
}

/// The account while it is written.
#[derive(Debug, Default)]
pub(crate) struct Account {
    events_in: AtomicU64,
    ok: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    // Taken for a failed or rejected item only, by one writer and the rare reader; never across an await.
    reasons: Mutex<Reasons>,
}

#[derive(Debug, Default)]
struct Reasons {
    rejections: Vec<ReasonGroup>,
    failures: Vec<ReasonGroup>,
}

impl Account {
    pub(crate) fn read(&self) -> SourceCounts {
        let reasons = self.reasons.lock();
        SourceCounts {
            events_in: self.events_in.load(Ordering::Relaxed),
            ok: self.ok.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            rejections: most_first(&reasons.rejections),
            failures: most_first(&reasons.failures),
        }
    }

    fn close(&self, number: u32, outcome: Outcome) {
        match outcome {
            Outcome::Ok => {
                self.ok.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Rejected { kind, message } => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                add(&mut self.reasons.lock().rejections, number, &kind, &message);
            }
            Outcome::Failed { kind, message } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                add(&mut self.reasons.lock().failures, number, &kind, &message);
            }
        }
    }
}

/// An item that has been sent and whose outcome is not known yet.
pub(crate) struct Sent {
    account: Arc<Account>,
    number: u32,
    closed: bool,
}

impl Sent {
    pub(crate) fn open(account: &Arc<Account>, number: u32) -> Self {
        account.events_in.fetch_add(1, Ordering::Relaxed);
        Self {
            account: Arc::clone(account),
            number,
            closed: false,
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// It has not been sent after all: nothing has happened to the item, and it is counted when it is sent.
    pub(crate) fn take_back(mut self) -> u32 {
        self.closed = true;
        self.account.events_in.fetch_sub(1, Ordering::Relaxed);
        self.number
    }

    pub(crate) fn close(mut self, outcome: Outcome) {
        self.closed = true;
        self.account.close(self.number, outcome);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.closed {
            let message = "the source ended before the answer came".to_owned();
            self.account.close(
                self.number,
                Outcome::Failed {
                    kind: "abandoned".to_owned(),
                    message,
                },
            );
        }
    }
}

fn add(groups: &mut Vec<ReasonGroup>, item: u32, kind: &str, message: &str) {
    let kind = if groups.iter().any(|group| group.kind == kind) || groups.len() < KINDS_MAX {
        kind
    } else {
        "other"
    };
    let position = groups
        .iter()
        .position(|group| group.kind == kind)
        .unwrap_or_else(|| {
            groups.push(ReasonGroup {
                kind: kind.to_owned(),
                count: 0,
                messages: Vec::new(),
            });
            groups.len().saturating_sub(1)
        });
    let Some(group) = groups.get_mut(position) else {
        return;
    };
    group.count += 1;
    let message: String = bounded(message).chars().take(MESSAGE_CHARS_MAX).collect();
    if let Some(known) = group
        .messages
        .iter_mut()
        .find(|known| known.message == message)
    {
        known.count += 1;
        known.first_item = known.first_item.min(item);
    } else if group.messages.len() < MESSAGES_MAX {
        group.messages.push(ReasonMessage {
            message,
            count: 1,
            first_item: item,
        });
    }
}

fn most_first(groups: &[ReasonGroup]) -> Vec<ReasonGroup> {
    let mut groups = groups.to_vec();
    for group in &mut groups {
        group
            .messages
            .sort_by_key(|message| (std::cmp::Reverse(message.count), message.first_item));
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &str, message: &str) -> Outcome {
        Outcome::Failed {
            kind: kind.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn every_item_is_closed_once_even_when_it_is_dropped() {
        let account = Arc::new(Account::default());
        Sent::open(&account, 0).close(Outcome::Ok);
        Sent::open(&account, 1).close(failed("unavailable", "died"));
        Sent::open(&account, 2).close(Outcome::Rejected {
            kind: "rejected".into(),
            message: "no".into(),
        });
        drop(Sent::open(&account, 3));
        assert_eq!(Sent::open(&account, 4).take_back(), 4);
        let counts = account.read();
        assert_eq!(
            (counts.events_in, counts.ok, counts.rejected, counts.failed),
            (4, 1, 1, 2)
        );
        assert!(
            counts
                .failures
                .iter()
                .any(|group| group.kind == "abandoned" && group.count == 1)
        );
    }

    #[test]
    fn reasons_are_grouped_and_bounded() {
        let account = Arc::new(Account::default());
        for item in 0..1000 {
            Sent::open(&account, item).close(failed(
                "died",
                &format!("{}\n{}", item % 20, "x".repeat(9_999)),
            ));
        }
        for item in 0..100 {
            Sent::open(&account, item).close(failed(&format!("kind-{item}"), "same"));
        }
        let failures = account.read().failures;
        assert_eq!(failures[0].count, 1000);
        assert_eq!(failures[0].messages.len(), MESSAGES_MAX);
        assert!(
            failures[0]
                .messages
                .iter()
                .all(|known| known.message.chars().count() <= MESSAGE_CHARS_MAX)
        );
        assert!(
            failures[0]
                .messages
                .iter()
                .all(|known| !known.message.contains('\n'))
        );
        assert!(failures.len() <= KINDS_MAX + 1);
        assert_eq!(failures.iter().map(|group| group.count).sum::<u64>(), 1100);
    }
}
