//! How a report is made: what it needs is kept at the one place where every end of an incarnation is told to its
//! supervisor, and its words are made when somebody reads them, or they are logged.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use airssys_wasm::{Fault, FaultClass, printable};

use super::recent::Headers;
use super::{CrashReport, Recent};
use crate::address::ActorAddress;
use crate::exit::ExitReason;
use crate::slot::Slot;
use crate::supervisor::{PreparedChild, Record};

/// What an incarnation leaves with its slot for the report of its end, if it has something to leave.
#[derive(Default)]
pub(crate) struct Left {
    /// The instance's fault, where the reason does not hold it.
    pub(crate) fault: Option<Arc<Fault>>,
    pub(crate) recent: Option<Recent>,
    /// What its supervisor ends it for.
    pub(crate) verdict: Option<ExitReason>,
    /// Its supervisor ends it by a kill in the course of an orderly stop.
    pub(crate) expected: bool,
}

/// An end that was told.
pub(crate) struct Ended<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) incarnation: u64,
    pub(crate) reason: &'a ExitReason,
    /// It was not up yet.
    pub(crate) starting: bool,
    /// Nobody ended it: the runtime it ran in is being dropped, and all actors with it.
    pub(crate) dropped: bool,
}

/// Keeps what a report needs, and logs it, if the end was abnormal.
pub(crate) fn record(supervisor: &Record, ended: &Ended<'_>) {
    let (up, left) = ended.slot.take_left();
    let left = left.unwrap_or_default();
    let reason = match &left.verdict {
        Some(verdict) if is_by_request(ended.reason) => verdict,
        _ => ended.reason,
    };
    let expected = left.expected && is_by_a_kill(reason, &left);
    if reason.is_normal() || expected || ended.dropped {
        return;
    }
    let known = known(supervisor, ended, reason, up, &left);
    let kept = supervisor.shared.crashes().keep(known);
    if tracing::enabled!(tracing::Level::WARN) {
        log(&kept.report());
    }
}

fn log(report: &CrashReport) {
    tracing::warn!(
        crash = report.sequence,
        address = %report.address,
        incarnation = report.incarnation,
        kind = report.kind,
        fault = report.fault.map(tracing::field::display),
        up_ms = u64::try_from(report.up.as_millis()).unwrap_or(u64::MAX),
        restarts = report.restarts,
        supervisor = %report.supervisor,
        at = report.backtrace.first().map(tracing::field::display),
        reason = report.reason,
        "an actor has crashed"
    );
}

/// Whether a kill ended it: that of a start can be told as the failure of its `init`, which it was in.
fn is_by_a_kill(reason: &ExitReason, left: &Left) -> bool {
    let killed = |fault: &Fault| fault.class == FaultClass::Killed;
    match reason {
        ExitReason::Killed => true,
        ExitReason::Fault(fault) => killed(fault),
        ExitReason::StartFailed(_) => left.fault.as_deref().is_some_and(killed),
        _ => false,
    }
}

/// Whether this is how an actor ends that is told to.
fn is_by_request(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Killed | ExitReason::Shutdown)
}

/// What is known of an end, not in words yet: nobody may ever read them. Of the component that ended, it keeps nothing
/// but names.
pub(super) struct Known {
    pub(super) address: ActorAddress,
    incarnation: u64,
    at: SystemTime,
    up: Duration,
    starting: bool,
    kind: &'static str,
    reason: Reason,
    fault: Option<Arc<Fault>>,
    recent: Option<Headers>,
    restarts: u64,
    supervisor: ActorAddress,
}

/// Why it ended.
enum Reason {
    /// In nobody's words that may hold a value.
    Known(ExitReason),
    /// In words that are safe to show: what tells the values from the others may be gone by the time they are read.
    Said(Box<str>),
}

#[cold]
fn known(
    supervisor: &Record,
    ended: &Ended<'_>,
    reason: &ExitReason,
    up: Duration,
    left: &Left,
) -> Known {
    let slot = ended.slot;
    let fault = match reason {
        ExitReason::Fault(fault) => Some(fault),
        ExitReason::Killed | ExitReason::StartFailed(_) => left.fault.as_ref(),
        _ => None,
    };
    Known {
        address: slot.address().clone(),
        incarnation: ended.incarnation,
        at: SystemTime::now(),
        up,
        starting: ended.starting,
        kind: reason.kind(),
        reason: said(supervisor, slot, reason),
        fault: fault.cloned(),
        recent: left.recent.as_ref().map(|recent| recent.headers(slot)),
        restarts: slot.counters().read().restarts,
        supervisor: supervisor.address().clone(),
    }
}

impl Known {
    /// An end for that reason.
    #[cfg(test)]
    pub(super) fn of(reason: ExitReason) -> Self {
        let fault = match &reason {
            ExitReason::Fault(fault) => Some(Arc::clone(fault)),
            _ => None,
        };
        Self {
            address: "app/one".parse().unwrap(),
            incarnation: 1,
            at: SystemTime::UNIX_EPOCH,
            up: Duration::ZERO,
            starting: false,
            kind: reason.kind(),
            reason: Reason::Known(reason),
            fault,
            recent: None,
            restarts: 0,
            supervisor: "system".parse().unwrap(),
        }
    }

    /// The report of that number.
    pub(super) fn report(&self, sequence: u64, bytes: usize) -> CrashReport {
        let fault = self.fault.as_deref();
        CrashReport {
            sequence,
            address: self.address.clone(),
            incarnation: self.incarnation,
            at: self.at,
            up: self.up,
            starting: self.starting,
            kind: self.kind,
            reason: self.reason.text(),
            fault: fault.map(|fault| fault.class),
            backtrace: fault.map_or_else(Vec::new, |fault| fault.backtrace.clone()),
            spent: fault.and_then(|fault| fault.spent.as_deref().copied()),
            recent: self
                .recent
                .as_ref()
                .map_or_else(Vec::new, Headers::messages),
            restarts: self.restarts,
            supervisor: self.supervisor.clone(),
            bytes,
        }
    }

    /// What it takes at most, as it is or as a report, so that the store's bound is one of memory.
    pub(super) fn bytes(&self) -> usize {
        let of_fault = |fault: &Arc<Fault>| {
            let frames = fault.backtrace.iter().map(|frame| {
                let source = frame.source.as_ref().map_or(0, |source| source.file.len());
                size_of_val(frame) + frame.function.len() + source
            });
            frames.sum::<usize>() + fault.message.len()
        };
        let fault = self.fault.as_ref().map_or(0, of_fault);
        let recent = self.recent.as_ref().map_or(0, Headers::bytes);
        let text = self.reason.bytes() + self.address.as_str().len();
        size_of::<CrashReport>().max(size_of::<Self>()) + text + fault + recent
    }
}

impl Reason {
    fn text(&self) -> String {
        match self {
            Self::Known(ExitReason::Linked(exit)) => {
                // The words are another actor's, whose secrets are not known here.
                let kind = exit.reason.kind();
                format!("linked to `{}`, which ended: {kind}", exit.from)
            }
            Self::Known(reason) => reason.to_string(),
            Self::Said(text) => text.to_string(),
        }
    }

    /// The most that the text can have.
    fn bytes(&self) -> usize {
        match self {
            Self::Known(reason) => words_max(reason),
            Self::Said(text) => text.len(),
        }
    }
}

/// Our own words in a reason are fewer.
const OWN_WORDS_MAX: usize = 128;

/// The most bytes that a reason can have in words.
fn words_max(reason: &ExitReason) -> usize {
    OWN_WORDS_MAX
        + match reason {
            ExitReason::Fault(fault) => fault.message.len(),
            ExitReason::Panicked(text)
            | ExitReason::Error(text)
            | ExitReason::StartFailed(text)
            | ExitReason::Unhealthy(text) => text.len(),
            ExitReason::ChildNotStarted(child) => {
                child.from.as_str().len() + words_max(&child.reason)
            }
            ExitReason::Linked(exit) => exit.from.as_str().len() + words_max(&exit.reason),
            _ => 0,
        }
}

/// The reason, without what is nobody's business.
fn said(supervisor: &Record, slot: &Slot, reason: &ExitReason) -> Reason {
    if matches!(reason, ExitReason::Linked(_)) {
        return Reason::Known(reason.clone());
    }
    match supervisor.child(slot.id()) {
        Some(PreparedChild::Actor(actor)) if actor.spec.values().next().is_some() => {
            let text = actor.spec.without_values(reason.to_string());
            Reason::Said(text.into())
        }
        Some(PreparedChild::Actor(_)) => Reason::Known(reason.clone()),
        // Forgotten meanwhile: what it was made of is not known any more, and a guest may have had the word.
        _ if matches!(reason, ExitReason::StartFailed(_)) => Reason::Said("start failed".into()),
        _ => Reason::Known(reason.clone()),
    }
}

/// What stands where a value was.
const LEFT_OUT: &str = "[left out]";

/// What stands where a text was cut ([`printable`]).
const CUT: &str = "… (cut)";

/// Values of fewer bytes are in many a longer word: they are left out where they are a word of their own.
const ANYWHERE_BYTES_MIN: usize = 4;

/// `text` without these values, and without the beginning of one at a cut. A value of fewer than
/// [`ANYWHERE_BYTES_MIN`] bytes is left out where no letter, digit or `_` is beside it, any other wherever it is.
pub(crate) fn without<'a>(text: String, values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<_> = values
        .filter(|value| !value.is_empty())
        .map(|value| {
            (
                printable(value, usize::MAX),
                value.len() < ANYWHERE_BYTES_MIN,
            )
        })
        .collect();
    let text = replaced(text, &values);
    // What is before a mark was cut there, maybe within a value, whose beginning is there then.
    let mut pieces = text.split(CUT).peekable();
    let mut shown = String::with_capacity(text.len());
    while let Some(piece) = pieces.next() {
        let is_cut = pieces.peek().is_some();
        match begun(piece, &values).filter(|_| is_cut) {
            Some(bytes) => {
                let whole = piece.get(..piece.len().saturating_sub(bytes));
                shown.push_str(whole.unwrap_or_default());
                shown.push_str(LEFT_OUT);
            }
            None => {
                shown.push_str(piece);
                shown.push_str(if is_cut { CUT } else { "" });
            }
        }
    }
    shown
}

/// How many bytes at the end of this piece are the beginning of a value, if any are.
fn begun(piece: &str, values: &[(String, bool)]) -> Option<usize> {
    let of_one = |(value, short): &(String, bool)| {
        let ends = value.char_indices().map(|(at, _)| at).skip(1);
        let is_there = |at: &usize| {
            let there = value.get(..*at).is_some_and(|part| piece.ends_with(part));
            let before = piece.get(..piece.len().saturating_sub(*at));
            there && !(*short && before.is_some_and(ends_in_word))
        };
        // A longer one is not in it.
        let ends = ends.take_while(|at| *at <= piece.len());
        ends.filter(is_there).last()
    };
    values.iter().filter_map(of_one).max()
}

/// Each value with whether it has to be a word of its own. All are looked for in the text as it is, since one may be
/// a part of another or overlap it.
fn replaced(text: String, values: &[(String, bool)]) -> String {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (value, short) in values {
        for (start, _) in text.char_indices() {
            let (before, after) = text.split_at(start);
            let Some(after) = after.strip_prefix(value.as_str()) else {
                continue;
            };
            if !(*short && (ends_in_word(before) || after.starts_with(of_word))) {
                found.push((start, start + value.len()));
            }
        }
    }
    if found.is_empty() {
        return text;
    }
    found.sort_unstable();
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in found {
        if start >= done {
            shown.push_str(text.get(done..start).unwrap_or_default());
            shown.push_str(LEFT_OUT);
        }
        done = done.max(end);
    }
    shown.push_str(text.get(done..).unwrap_or_default());
    shown
}

fn of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(of_word)
}

#[cfg(test)]
mod tests {
    use airssys_wasm::Frame;

    use super::*;
    use crate::exit::{LinkedExit, REASON_BYTES_MAX};

    /// What a report takes.
    fn size(report: &CrashReport) -> usize {
        let frames = report.backtrace.iter().map(|frame| {
            let source = frame.source.as_ref().map_or(0, |source| source.file.len());
            size_of_val(frame) + frame.function.len() + source
        });
        let text = report.reason.len() + report.address.as_str().len();
        size_of::<CrashReport>() + text + frames.sum::<usize>()
    }

    #[test]
    fn a_report_takes_no_more_than_its_end_was_charged() {
        let fault = Arc::new(Fault {
            class: FaultClass::Unreachable,
            message: "m".repeat(REASON_BYTES_MAX),
            backtrace: vec![Frame {
                function: "f".repeat(200),
                source: None,
            }],
            spent: None,
        });
        let from: ActorAddress = "app/a-name-that-is-not-short".parse().unwrap();
        let text: Arc<str> = "t".repeat(REASON_BYTES_MAX).into();
        let through = |reason| {
            Arc::new(LinkedExit {
                from: from.clone(),
                reason,
            })
        };
        for reason in [
            ExitReason::Fault(Arc::clone(&fault)),
            ExitReason::Killed,
            ExitReason::Panicked(Arc::clone(&text)),
            ExitReason::Error(Arc::clone(&text)),
            ExitReason::StartFailed(Arc::clone(&text)),
            ExitReason::Unhealthy(text),
            ExitReason::Quarantined,
            ExitReason::NoSuchActor,
            ExitReason::ChildNotStarted(through(ExitReason::Fault(Arc::clone(&fault)))),
            ExitReason::Linked(through(ExitReason::Fault(fault))),
        ] {
            let known = Known::of(reason);
            let report = known.report(0, known.bytes());
            assert!(size(&report) <= report.bytes, "{report:?}");
        }
    }

    #[test]
    fn values_are_left_out_also_where_the_text_was_cut_within_one() {
        let values = ["hunter2-long", "hunter2", "two\nlines"];
        let without = |text: &str| without(text.to_owned(), values.into_iter());
        assert_eq!(
            without("on: hunter2-long, then hunter2, and two\\nlines"),
            "on: [left out], then [left out], and [left out]"
        );
        let overlapping = super::without("abcdefgh".to_owned(), ["abcd", "cdefgh"].into_iter());
        assert_eq!(overlapping, "[left out]");
        let secret = "s3cret-".repeat(20);
        for padding in REASON_BYTES_MAX - 150..REASON_BYTES_MAX + 10 {
            let whole = format!("{}{secret}", "x".repeat(padding));
            let cut = printable(&whole, REASON_BYTES_MAX);
            let shown = super::without(cut, [secret.as_str()].into_iter());
            assert!(!shown.contains("s3c"), "{padding}: {shown}");
        }
    }

    /// What was left out before the cut makes the text shorter than one that is cut.
    #[test]
    fn a_value_at_the_cut_is_left_out_whatever_was_left_out_before() {
        let secret = "s3cret-".repeat(20);
        for padding in REASON_BYTES_MAX - 300..REASON_BYTES_MAX - 130 {
            let whole = format!("{secret} {} {secret}", "x".repeat(padding));
            let cut = printable(&whole, REASON_BYTES_MAX);
            // In a sentence, too.
            let said = format!("`init` refused: {cut}, so it is not up");
            for text in [cut, said] {
                let shown = without(text, [secret.as_str()].into_iter());
                assert!(!shown.contains("s3c"), "{padding}: {shown}");
                assert!(shown.contains("xxx"), "{padding}: {shown}");
            }
        }
    }

    #[test]
    fn a_short_value_is_left_out_where_it_is_a_word() {
        let values = ["abc", "out", "7", ""];
        let without = |text: &str| without(text.to_owned(), values.into_iter());
        for (text, shown) in [
            ("poison = `abc`", "poison = `[left out]`"),
            ("abc", "[left out]"),
            ("x=7,y=77", "x=[left out],y=77"),
            ("abcd, xabc, abc_d, routes", "abcd, xabc, abc_d, routes"),
            ("out of abc: out", "[left out] of [left out]: [left out]"),
        ] {
            assert_eq!(without(text), shown);
        }
        let cut = printable(
            &format!("{} abc", "x".repeat(REASON_BYTES_MAX)),
            REASON_BYTES_MAX,
        );
        assert_eq!(without(&cut), cut);
    }
}
