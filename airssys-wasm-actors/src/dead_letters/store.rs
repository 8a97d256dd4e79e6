//! Where dead letters lie.
//!
//! Owns the bounded store: the newest letters by count and by bytes, those of whoever sent the most forgotten for them and
//! counted, and which of them are under way again. One lock, held to look and to move, never to copy or to free arguments.

use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm::Args;
use parking_lot::Mutex;

use super::{
    DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterSelection, PurgeReport, ReplayRefused,
};
use crate::address::{ActorAddress, ActorId};
use crate::error::CallError;
use crate::fair::Fair;

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
    /// By sequence, and by who sent them first; those from outside are one's.
    letters: Fair<Option<ActorId>, DeadLetter>,
    next: u64,
    total: u64,
}

impl DeadLetterStore {
    pub(crate) fn new(limits: DeadLetterLimits) -> Self {
        Self {
            limits,
            kept: Mutex::default(),
        }
    }

    /// Keeps a cast that failed: as the letter it was before, or as a new one. Where there is no room, the oldest of whoever
    /// has most there are forgotten.
    pub(crate) fn fail(&self, failed: Failed) {
        let mut letter = self.letter(failed);
        // Freed after the lock.
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        kept.total += 1;
        // A letter that was forgotten, or never was one, has no place yet.
        if let Some(before) = kept.letters.get_mut(letter.sequence) {
            // The same arguments: what is charged stays right.
            std::mem::swap(&mut letter.args, &mut before.args);
            letter.bytes = before.bytes;
            gone.push(std::mem::replace(before, letter));
        } else {
            letter.sequence = kept.next;
            kept.next += 1;
            if self.limits.count_max > 0 && letter.bytes <= self.limits.bytes_max {
                let bounds = (self.limits.count_max, self.limits.bytes_max);
                let (sequence, sender) = (letter.sequence, letter.sender_id);
                let sized = (letter.bytes, letter);
                gone = kept.letters.keep(sequence, sender, sized, bounds);
            }
        }
        drop(kept);
        drop(gone);
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
        let letter = self.kept.lock().letters.remove(sequence);
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
            .letters
            .get_mut(sequence)
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
        if let Some(letter) = self.kept.lock().letters.get_mut(sequence) {
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
        kept.letters.get(sequence).cloned()
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
            for sequence in sequences {
                match kept.letters.get(sequence) {
                    Some(letter) if letter.under_way => report.under_way += 1,
                    _ => purged.extend(kept.letters.remove(sequence)),
                }
            }
        }
        report.purged = purged.len();
        report
    }

    /// Letters kept, and their bytes.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.letters.len(), kept.letters.bytes())
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
        .values()
        .filter(move |letter| filter.passes(letter, now))
        .take(filter.limit.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
