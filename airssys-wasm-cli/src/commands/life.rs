//! The life of actors in the log: every start, end, dead letter and supervisor's end, at `debug`;
//! links that are not used for a while, too.
//!
//! Written from the system's events, which nobody waits for: a log that is slow loses lines, and says how many.

use airssys_wasm_actors::{Event, Events};

/// Writes what happens from now on, where anybody wants to read it.
pub(super) fn follow(mut events: Events) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                say(&event);
            }
        });
    }
}

/// Writes one event.
pub(super) fn say(event: &Event) {
    match event {
        Event::Started {
            address,
            incarnation,
        } => tracing::debug!(%address, incarnation, "started"),
        Event::Exited {
            address,
            incarnation,
            reason,
        } => tracing::debug!(%address, incarnation, reason = reason.kind(), "ended"),
        Event::StartFailed {
            address,
            incarnation,
            reason,
        } => tracing::debug!(%address, incarnation, reason = reason.kind(), "could not be started"),
        Event::Gone { address, reason } => {
            tracing::debug!(%address, reason = reason.kind(), "gone: its mailbox is closed");
        }
        Event::SupervisorEnded { address, reason } => {
            tracing::debug!(%address, reason = reason.kind(), "the supervisor has ended");
        }
        Event::DeadLetter { address, kind } => {
            tracing::debug!(%address, reason = *kind, "a message became a dead letter");
        }
        Event::DeadLetterHandled { address, sequence } => {
            tracing::debug!(%address, sequence, "a dead letter was handled");
        }
        Event::SupervisorStarted {
            address,
            incarnation,
        } => tracing::debug!(%address, incarnation, "the supervisor has started"),
        Event::SupervisorExited {
            address,
            incarnation,
            reason,
        } => {
            tracing::debug!(%address, incarnation, reason = reason.kind(), "the supervisor is down");
        }
        Event::Health { address, health } => tracing::debug!(%address, ?health, "says how it is"),
        Event::CircuitOpened { from, to, import } => {
            tracing::debug!(%from, %to, ?import, "the link is not used: its last calls have failed");
        }
        Event::CircuitHalfOpened { from, to, import } => {
            tracing::debug!(%from, %to, ?import, "the link is tried again");
        }
        Event::CircuitClosed { from, to, import } => {
            tracing::debug!(%from, %to, ?import, "the link is used again");
        }
        Event::Scaled { address, from, to } => {
            tracing::debug!(%address, from, to, "has another number of replicas");
        }
        Event::Overdue { address } => tracing::debug!(%address, "has not stopped in time"),
        Event::Lagged(lost) => tracing::debug!(lost, "more happened than could be written"),
        _ => {}
    }
}
