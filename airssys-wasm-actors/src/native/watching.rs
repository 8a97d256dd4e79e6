//! What a native actor asks of others' ends, and of its own.
//!
//! Owns the monitors and links of [`Context`]. They are of the incarnation that makes them and end with it;
//! what is told of them comes to [`Actor::handle_signal`](crate::Actor::handle_signal).

#[cfg(doc)]
use crate::signal::Signal;

use crate::address::ActorAddress;
use crate::exit::ExitReason;
use crate::native::Context;
use crate::reference::ActorRef;
use crate::signal::{MonitorId, SignalRefused};

impl Context {
    /// Watches the incarnation of `actor` that runs now. Exactly one [`Signal::Down`] follows, in the actor's
    /// own mailbox behind all that the other had sent; at once if there is no such incarnation. Each monitor is
    /// its own, so the same actor may be watched more than once.
    ///
    /// # Errors
    /// [`SignalRefused::TooManyMonitors`].
    pub fn monitor(&mut self, actor: &ActorRef) -> Result<MonitorId, SignalRefused> {
        self.slot.monitor(actor.slot())
    }

    /// As [`Context::monitor`], looking the actor up first.
    ///
    /// # Errors
    /// [`SignalRefused::TooManyMonitors`].
    pub fn monitor_by_name(&mut self, address: &ActorAddress) -> Result<MonitorId, SignalRefused> {
        match self.slot.shared().whereis(address) {
            Some(target) => self.slot.monitor(&target),
            None => self.slot.monitor_nobody(address),
        }
    }

    /// Takes a monitor back: no [`Signal::Down`] of it is received from now on. Returns whether there was still
    /// one to come.
    pub fn demonitor(&mut self, monitor: MonitorId) -> bool {
        self.slot.demonitor(monitor)
    }

    /// Links this actor with the incarnation of `actor` that runs now: if either ends in another way than
    /// normally, the other is ended too ([`ExitReason::Linked`]) or, if it traps exits, is told. Linking twice is
    /// linking once. If there is no such incarnation, this actor gets the exit at once.
    ///
    /// # Errors
    /// [`SignalRefused::TooManyLinks`], for either of the two.
    pub fn link(&mut self, actor: &ActorRef) -> Result<(), SignalRefused> {
        self.slot.link(actor.slot())
    }

    /// Takes the link with `actor` back, on both sides: neither gets an exit of the other from now on.
    pub fn unlink(&mut self, actor: &ActorRef) {
        self.slot.unlink(actor.slot());
    }

    /// Chooses whether exits of linked actors come as [`Signal::Exit`] and do not end this one. Returns what it
    /// was; a new incarnation begins with `false`.
    pub fn trap_exits(&mut self, trap: bool) -> bool {
        self.slot.trap_exits(trap)
    }

    /// Ends the actor once this message is done, with [`ExitReason::Normal`]; asked for in
    /// [`Actor::pre_start`](crate::Actor::pre_start), once it is up and before its first message.
    pub fn stop(&mut self) {
        self.exit(ExitReason::Normal);
    }

    /// The same with another reason, which its supervisor decides on: [`ExitReason::Shutdown`], say. The first one
    /// counts.
    pub fn exit(&mut self, reason: ExitReason) {
        self.stopping.get_or_insert(reason);
    }
}
