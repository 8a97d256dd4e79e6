//! Where dead letters lie.
//!
//! Owns the bounded store: the newest letters by count and by bytes, the older ones forgotten and counted, and which
//! of them are under way again. One lock, held to look and to move, never to copy or to free arguments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm::Args;
use parking_lot::Mutex;

use super::{
    DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterSelection, PurgeReport, ReplayRefused,
};
use crate::address::{ActorAddress, ActorId};
use crate::error::CallError;

/// What a message that is sent again carries of its letter.
pub(crate) struct Replay {
    pub(crate) sequence: u64,
    /// Before this one.
    pub(crate) attempts: u32,
    pub(crate) deaths: u32,
    pub(crate) sender: Option<ActorAddress>,
    pub(crate) at: SystemTime,
}

/// A cast that has failed.
pub(crate) struct Failed {
    pub(crate) target: ActorAddress,
    pub(crate) function: String,
    pub(crate) sender: Option<ActorAddress>,
    pub(crate) sender_id: Option<ActorId>,
    pub(crate) args: Args,
    pub(crate) why: CallError,
    pub(crate) at: SystemTime,
    /// Whether it has ended its actor.
    pub(crate) fatal: bool,
    /// If it was sent again.
    pub(crate) replay: Option<Box<Replay>>,
}

pub(crate) struct DeadLetterStore {
    limits: DeadLetterLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By sequence, ascending.
    letters: VecDeque<DeadLetter>,
    bytes: usize,
    next: u64,
    total: u64,
}

impl Kept {
    fn find(&self, sequence: u64) -> Option<usize> {
        self.letters
            .binary_search_by_key(&sequence, |letter| letter.sequence)
            .ok()
    }

    fn find_mut(&mut self, sequence: u64) -> Option<&mut DeadLetter> {
        let at = self.find(sequence)?;
        self.letters.get_mut(at)
    }

    fn remove(&mut self, at: usize) -> Option<DeadLetter> {
        let letter = self.letters.remove(at)?;
        self.bytes -= letter.bytes;
        Some(letter)
    }
}

impl DeadLetterStore {
    pub(crate) fn new(limits: DeadLetterLimits) -> Self {
        Self {
            limits,
            kept: Mutex::default(),
        }
    }

    /// Keeps a cast that failed: as the letter it was before, or as a new one, for which the oldest are forgotten
    /// where there is no room.
    pub(crate) fn fail(&self, failed: Failed) {
        let mut letter = self.letter(failed);
        // Freed after the lock.
        let mut replaced = Vec::new();
        let mut kept = self.kept.lock();
        kept.total += 1;
        // A letter that was forgotten, or never was one, has no place yet.
        if let Some(before) = kept.find_mut(letter.sequence) {
            // The same arguments: what is charged stays right.
            std::mem::swap(&mut letter.args, &mut before.args);
            letter.bytes = before.bytes;
            replaced.push(std::mem::replace(before, letter));
        } else {
            letter.sequence = kept.next;
            kept.next += 1;
            if self.limits.count_max > 0 && letter.bytes <= self.limits.bytes_max {
                while kept.letters.len() >= self.limits.count_max
                    || kept.bytes + letter.bytes > self.limits.bytes_max
                {
                    let Some(oldest) = kept.remove(0) else { break };
                    replaced.push(oldest);
                }
                kept.bytes += letter.bytes;
                kept.letters.push_back(letter);
            }
        }
        drop(kept);
    }

    fn letter(&self, failed: Failed) -> DeadLetter {
        let replay = failed.replay.as_deref();
        let deaths = replay
            .map_or(0, |replay| replay.deaths)
            .saturating_add(u32::from(failed.fatal));
        DeadLetter {
            // Nobody has this number: `next` would have to have come round.
            sequence: replay.map_or(u64::MAX, |replay| replay.sequence),
            target: failed.target,
            function: failed.function,
            sender: replay
                .and_then(|replay| replay.sender.clone())
                .or(failed.sender),
            sender_id: failed.sender_id,
            bytes: failed.args.payload_bytes(),
            args: Arc::new(failed.args),
            why: failed.why,
            at: replay.map_or(failed.at, |replay| replay.at),
            attempts: replay.map_or(0, |replay| replay.attempts).saturating_add(1),
            deaths,
            poison: self.limits.poison_after > 0 && deaths >= self.limits.poison_after,
            under_way: false,
        }
    }

    /// A letter that was sent again has been handled.
    pub(crate) fn handled(&self, sequence: u64) {
        let letter = {
            let mut kept = self.kept.lock();
            kept.find(sequence).and_then(|at| kept.remove(at))
        };
        drop(letter);
    }

    /// Marks a letter as under way.
    pub(crate) fn begin_replay(
        &self,
        sequence: u64,
        force: bool,
    ) -> Result<DeadLetter, ReplayRefused> {
        let mut kept = self.kept.lock();
        let letter = kept
            .find_mut(sequence)
            .ok_or(ReplayRefused::NoSuchLetter { sequence })?;
        if letter.under_way {
            return Err(ReplayRefused::UnderWay { sequence });
        }
        if letter.poison && !force {
            let deaths = letter.deaths;
            return Err(ReplayRefused::Poison { sequence, deaths });
        }
        letter.under_way = true;
        Ok(letter.clone())
    }

    /// A letter under way was not accepted by anybody.
    pub(crate) fn not_accepted(&self, sequence: u64, why: CallError) {
        if let Some(letter) = self.kept.lock().find_mut(sequence) {
            letter.under_way = false;
            letter.why = why;
        }
    }

    pub(crate) fn list(&self, filter: &DeadLetterFilter, now: SystemTime) -> Vec<DeadLetter> {
        let kept = self.kept.lock();
        chosen(&kept, filter, now).cloned().collect()
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<DeadLetter> {
        let kept = self.kept.lock();
        kept.letters.get(kept.find(sequence)?).cloned()
    }

    /// The sequences meant, each once, ascending; those given by number may not exist.
    pub(crate) fn select(&self, which: &DeadLetterSelection, now: SystemTime) -> Vec<u64> {
        match which {
            DeadLetterSelection::Sequences(sequences) => {
                let mut sequences = sequences.clone();
                sequences.sort_unstable();
                sequences.dedup();
                sequences
            }
            DeadLetterSelection::Filter(filter) => {
                let kept = self.kept.lock();
                chosen(&kept, filter, now)
                    .map(|letter| letter.sequence)
                    .collect()
            }
        }
    }

    pub(crate) fn purge(&self, which: &DeadLetterSelection, now: SystemTime) -> PurgeReport {
        let sequences = self.select(which, now);
        let mut report = PurgeReport::default();
        let mut purged = Vec::new();
        {
            let mut kept = self.kept.lock();
            let letters = std::mem::take(&mut kept.letters);
            for letter in letters {
                if sequences.binary_search(&letter.sequence).is_err() {
                    kept.letters.push_back(letter);
                } else if letter.under_way {
                    report.under_way += 1;
                    kept.letters.push_back(letter);
                } else {
                    kept.bytes -= letter.bytes;
                    purged.push(letter);
                }
            }
        }
        report.purged = purged.len();
        report
    }

    /// Letters kept, and their bytes.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.letters.len(), kept.bytes)
    }

    /// Failures ever, those of letters that are forgotten included.
    pub(crate) fn total(&self) -> u64 {
        self.kept.lock().total
    }
}

fn chosen<'a>(
    kept: &'a Kept,
    filter: &'a DeadLetterFilter,
    now: SystemTime,
) -> impl Iterator<Item = &'a DeadLetter> {
    kept.letters
        .iter()
        .filter(move |letter| filter.passes(letter, now))
        .take(filter.limit.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
