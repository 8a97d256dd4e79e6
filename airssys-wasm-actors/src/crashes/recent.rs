//! The last messages of an incarnation: who asked for what, and what became of it.
//!
//! Owned by whoever owns the behaviour, and moved with it: the one that has the actor in hand writes, with a few plain
//! stores a message and one load for the time, and nobody else reads. There is no allocation and no lock. When the
//! behaviour is dropped, in whichever way, it is left with the slot, where the report finds it.

use std::time::Duration;

use airssys_wasm::ExportId;

use super::{MessageOutcome, MessageSender, RecentMessage};
use crate::address::ActorId;
use crate::envelope::ENVELOPE_BYTES;
use crate::mailbox::UNIT_BYTES;
use crate::reference::function_path;
use crate::slot::Slot;

/// Headers kept of one actor. Of 16 bytes each: every idle actor has them.
pub(super) const KEPT: usize = 6;

/// No function has this number: nothing was begun here.
const NOTHING: u16 = u16::MAX;

/// A number too large for its field.
const UNKNOWN: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Header {
    /// The sender's id; 0 for the host.
    sender: u32,
    /// The tick at which it was begun, but for its upper half.
    at: u32,
    /// What it was charged in the mailbox.
    units: u32,
    export: u16,
    cast: bool,
    /// A place of its own: it is written without reading what is there.
    outcome: MessageOutcome,
}

/// What is known of a message beside what it asks for.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    pub(crate) sender: Option<ActorId>,
    pub(crate) cast: bool,
    /// What it was charged in the mailbox, or would have been.
    pub(crate) units: u32,
}

/// A ring of headers.
pub(crate) struct Recent {
    headers: [Header; KEPT],
    next: u8,
}

impl Default for Recent {
    fn default() -> Self {
        let nothing = Header {
            sender: 0,
            at: 0,
            units: 0,
            export: NOTHING,
            cast: false,
            outcome: MessageOutcome::InHand,
        };
        Self {
            headers: [nothing; KEPT],
            next: 0,
        }
    }
}

/// The lower half of a count of ticks: 49 days, where a tick is a millisecond.
fn lower_half(ticks: u64) -> u32 {
    u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

impl Recent {
    /// A message is in hand now.
    #[inline]
    pub(crate) fn begin(&mut self, slot: &Slot, export: ExportId, given: Given) {
        let header = Header {
            sender: given
                .sender
                .map_or(0, |id| u32::try_from(id.0).unwrap_or(UNKNOWN)),
            at: lower_half(slot.shared().engine().ticks_now()),
            units: given.units,
            // The last number is no function's, and what is beyond is not told apart.
            export: u16::try_from(export.index()).unwrap_or(NOTHING - 1),
            cast: given.cast,
            outcome: MessageOutcome::InHand,
        };
        if let Some(place) = self.headers.get_mut(usize::from(self.next)) {
            *place = header;
        }
        let next = self.next + 1;
        self.next = if usize::from(next) < KEPT { next } else { 0 };
    }

    /// What was begun last has ended, and the actor lives.
    #[inline]
    pub(crate) fn end(&mut self, handled: bool) {
        let last = usize::from(self.next).checked_sub(1).unwrap_or(KEPT - 1);
        if let Some(header) = self.headers.get_mut(last) {
            header.outcome = if handled {
                MessageOutcome::Handled
            } else {
                MessageOutcome::Failed
            };
        }
    }

    /// Whether there is something in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.headers.iter().all(|header| header.export == NOTHING)
    }

    /// In words, the oldest first.
    pub(super) fn messages(&self, slot: &Slot) -> Vec<RecentMessage> {
        let engine = slot.shared().engine();
        let now = lower_half(engine.ticks_now());
        let (newer, older) = self
            .headers
            .split_at_checked(usize::from(self.next))
            .unwrap_or((&self.headers, &[]));
        let written = older.iter().chain(newer);
        written
            .filter(|header| header.export != NOTHING)
            .map(|header| RecentMessage {
                sender: header.sender(slot),
                function: header.function(slot),
                cast: header.cast,
                bytes: (u64::from(header.units) * UNIT_BYTES).saturating_sub(ENVELOPE_BYTES),
                before: age(engine.tick(), now, header.at),
                outcome: header.outcome,
            })
            .collect()
    }
}

fn age(tick: Duration, now: u32, at: u32) -> Duration {
    tick.saturating_mul(now.wrapping_sub(at))
}

impl Header {
    fn sender(&self, slot: &Slot) -> MessageSender {
        let named = || match self.sender {
            UNKNOWN => None,
            id => slot.shared().address_of(ActorId(id.into())),
        };
        match self.sender {
            0 => MessageSender::Host,
            _ => named().map_or(MessageSender::Gone, MessageSender::Actor),
        }
    }

    fn function(&self, slot: &Slot) -> String {
        let number = usize::from(self.export);
        let surface = slot.surface();
        let mut functions = surface.export_functions();
        functions
            .find(|(id, _, _)| id.index() == number)
            .map_or_else(String::new, |(_, interface, function)| {
                function_path(interface, &function.name)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::MailboxConfig;
    use crate::slot::testing::slot;

    #[test]
    fn the_last_headers_are_kept_in_order_with_what_became_of_each() {
        let slot = slot(MailboxConfig::default());
        let (export, _, _) = slot.surface().export_functions().next().unwrap();
        let mut recent = Recent::default();
        assert!(recent.is_empty() && recent.messages(&slot).is_empty());
        let envelope = u32::try_from(ENVELOPE_BYTES / UNIT_BYTES).unwrap();
        for number in 0..10 {
            let given = Given {
                sender: None,
                cast: number % 2 == 0,
                units: envelope + number,
            };
            recent.begin(&slot, export, given);
            if number < 9 {
                recent.end(number != 5);
            }
        }
        let messages = recent.messages(&slot);
        let seen: Vec<_> = messages
            .iter()
            .map(|message| (message.bytes / UNIT_BYTES, message.cast, message.outcome))
            .collect();
        use MessageOutcome::{Failed, Handled, InHand};
        assert_eq!(
            seen,
            [
                (4, true, Handled),
                (5, false, Failed),
                (6, true, Handled),
                (7, false, Handled),
                (8, true, Handled),
                (9, false, InHand)
            ]
        );
        assert_eq!(messages[0].function, "test:test/test#f");
        assert_eq!(messages[0].sender, MessageSender::Host);
    }

    #[test]
    fn an_idle_actor_pays_a_hundred_bytes() {
        assert!(size_of::<Recent>() <= 100, "{}", size_of::<Recent>());
    }

    #[test]
    fn ages_count_over_the_end_of_the_lower_half() {
        let tick = Duration::from_millis(1);
        assert_eq!(age(tick, 5, u32::MAX - 4), Duration::from_millis(10));
    }
}
