//! Casts that could not be delivered.
//!
//! Owns a bounded store: the newest [`DeadLetter`]s by count and by bytes, the older ones
//! forgotten and counted. A dead letter has freed its permit in the mailbox and is charged here
//! instead. Off the fast path; a lock is held for a push or a copy only.

use std::collections::VecDeque;
use std::time::SystemTime;

use airssys_wasm::Args;
use parking_lot::Mutex;

use crate::address::ActorAddress;
use crate::error::CallError;

/// A cast nobody handled.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Number in this system, from 0, never used twice.
    pub sequence: u64,
    /// Whom it was for.
    pub target: ActorAddress,
    /// The function, as `interface#function`.
    pub function: String,
    /// The actor that sent it, where it still has a name; `None` for a task of the host.
    pub sender: Option<ActorAddress>,
    /// The arguments.
    pub args: Args,
    /// Why it was not handled.
    pub why: CallError,
    /// When it became a dead letter.
    pub at: SystemTime,
}

/// The bounds of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// Most letters kept. Default 1,000.
    pub count_max: usize,
    /// Most bytes of arguments kept. Default 16 MiB.
    pub bytes_max: usize,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        Self {
            count_max: 1_000,
            bytes_max: 16 << 20,
        }
    }
}

pub(crate) struct DeadLetters {
    limits: DeadLetterLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
    next: u64,
}

impl DeadLetters {
    pub(crate) fn new(limits: DeadLetterLimits) -> Self {
        Self {
            limits,
            kept: Mutex::default(),
        }
    }

    /// Keeps a letter, forgetting the oldest where there is no room; `sequence` is set here.
    pub(crate) fn keep(&self, mut letter: DeadLetter) {
        let bytes = letter.args.payload_bytes();
        let mut kept = self.kept.lock();
        letter.sequence = kept.next;
        kept.next += 1;
        if self.limits.count_max == 0 || bytes > self.limits.bytes_max {
            return;
        }
        while kept.letters.len() >= self.limits.count_max
            || kept.bytes + bytes > self.limits.bytes_max
        {
            let Some(oldest) = kept.letters.pop_front() else {
                break;
            };
            kept.bytes -= oldest.args.payload_bytes();
        }
        kept.bytes += bytes;
        kept.letters.push_back(letter);
    }

    /// The letters kept, oldest first.
    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.kept.lock().letters.iter().cloned().collect()
    }

    /// Letters ever seen, forgotten ones included.
    pub(crate) fn total(&self) -> u64 {
        self.kept.lock().next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_wasm::{IntoArgs, Value};

    fn letter(bytes: usize) -> DeadLetter {
        let target: ActorAddress = "a".parse().unwrap();
        DeadLetter {
            sequence: 0,
            target: target.clone(),
            function: "f".into(),
            sender: None,
            args: (Value::Bytes(vec![0; bytes].into()),).into_args(),
            why: CallError::NoSuchActor { address: target },
            at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_newest_are_kept_within_both_bounds() {
        let unit = letter(1000).args.payload_bytes();
        let store = DeadLetters::new(DeadLetterLimits {
            count_max: 3,
            bytes_max: 2 * unit,
        });
        for _ in 0..5 {
            store.keep(letter(1000));
        }
        let kept: Vec<_> = store.list().iter().map(|letter| letter.sequence).collect();
        assert_eq!(kept, [3, 4]);
        store.keep(letter(10 * unit));
        assert_eq!(store.list().len(), 2);
        assert_eq!(store.total(), 6);
        for _ in 0..9 {
            store.keep(letter(0));
        }
        assert_eq!(store.list().len(), 3);
    }
}
