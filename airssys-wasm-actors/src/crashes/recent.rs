//! The last messages of an incarnation: who asked for what, and what became of it.
//!
//! Owned by whoever owns the behaviour, and moved with it: the one that has the actor in hand writes, with a few plain
//! stores a message and one load for the time, and nobody else reads. There is no allocation and no lock. When the
//! behaviour is dropped, in whichever way, it is left with the slot, where the report finds it.

use std::time::Duration;

use airssys_wasm::{ExportId, InterfaceName, Surface};

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

    /// What is in it, the oldest first. Whoever sent them is known by name now, and maybe never again.
    pub(super) fn headers(&self, slot: &Slot) -> Headers {
        let engine = slot.shared().engine();
        let now = lower_half(engine.ticks_now());
        let surface = slot.surface();
        let mut headers = Headers {
            tick: engine.tick(),
            functions: Vec::new(),
            messages: Vec::with_capacity(KEPT),
        };
        let (newer, older) = self
            .headers
            .split_at_checked(usize::from(self.next))
            .unwrap_or((&self.headers, &[]));
        let written = older.iter().chain(newer);
        for header in written.filter(|header| header.export != NOTHING) {
            let function = headers.place_of(&surface, header.export);
            headers.messages.push(Known {
                sender: header.sender(slot),
                function,
                cast: header.cast,
                units: header.units,
                before: now.wrapping_sub(header.at),
                outcome: header.outcome,
            });
        }
        headers
    }
}

/// The headers of an incarnation that has ended, without the words that can be made of them later. Nothing of its
/// component is kept alive by them.
pub(super) struct Headers {
    tick: Duration,
    /// Those that the messages ask for, each once.
    functions: Vec<Named>,
    messages: Vec<Known>,
}

/// A function of the component that was asked for it.
struct Named {
    export: u16,
    /// `None` if the component has no such function any more.
    name: Option<(InterfaceName, Box<str>)>,
}

struct Known {
    sender: MessageSender,
    /// Its place among the functions.
    function: usize,
    cast: bool,
    units: u32,
    /// Ticks.
    before: u32,
    outcome: MessageOutcome,
}

impl Headers {
    /// The place of a function, which it gets if it has none.
    fn place_of(&mut self, surface: &Surface, export: u16) -> usize {
        let known = self.functions.iter().position(|one| one.export == export);
        known.unwrap_or_else(|| {
            let mut functions = surface.export_functions();
            let function = functions.find(|(id, _, _)| id.index() == usize::from(export));
            let name = function.map(|(_, interface, function)| {
                (interface.clone(), Box::from(function.name.as_str()))
            });
            self.functions.push(Named { export, name });
            self.functions.len() - 1
        })
    }

    fn name(&self, message: &Known) -> Option<&(InterfaceName, Box<str>)> {
        self.functions.get(message.function)?.name.as_ref()
    }

    /// In words.
    pub(super) fn messages(&self) -> Vec<RecentMessage> {
        let messages = self.messages.iter().map(|message| RecentMessage {
            sender: message.sender.clone(),
            function: self
                .name(message)
                .map_or_else(String::new, |(interface, name)| {
                    function_path(interface, name)
                }),
            cast: message.cast,
            bytes: (u64::from(message.units) * UNIT_BYTES).saturating_sub(ENVELOPE_BYTES),
            before: self.tick.saturating_mul(message.before),
            outcome: message.outcome,
        });
        messages.collect()
    }

    /// What the words take, which is more than they do as they are.
    pub(super) fn bytes(&self) -> usize {
        let of_words = |message| match self.name(message) {
            Some((interface, name)) => interface.as_str().len() + name.len() + 1,
            None => 0,
        };
        let words: usize = self.messages.iter().map(of_words).sum();
        self.messages.len() * size_of::<RecentMessage>() + words
    }
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
        assert!(recent.is_empty() && recent.headers(&slot).messages().is_empty());
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
        let headers = recent.headers(&slot);
        assert_eq!(headers.functions.len(), 1);
        let messages = headers.messages();
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
        let words = messages.iter().map(|message| message.function.len());
        let bytes = size_of_val(messages.as_slice()) + words.sum::<usize>();
        assert_eq!(headers.bytes(), bytes);
    }

    #[test]
    fn an_idle_actor_pays_a_hundred_bytes() {
        assert!(size_of::<Recent>() <= 100, "{}", size_of::<Recent>());
    }

    #[test]
    fn ages_count_over_the_end_of_the_lower_half() {
        let slot = slot(MailboxConfig::default());
        let (export, _, _) = slot.surface().export_functions().next().unwrap();
        let mut recent = Recent::default();
        let given = Given {
            sender: None,
            cast: false,
            units: 1,
        };
        recent.begin(&slot, export, given);
        // So many ticks before the lower half was full, if it is about at its beginning now.
        recent.headers[0].at =
            lower_half(slot.shared().engine().ticks_now()).wrapping_sub(1_000_000);
        let message = &recent.headers(&slot).messages()[0];
        let tick = slot.shared().engine().tick();
        assert!(message.before >= tick * 1_000_000, "{message:?}");
        assert!(message.before < tick * 2_000_000, "{message:?}");
    }
}
