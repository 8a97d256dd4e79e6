//! The times a supervisor waits for, and one timer for all of them.
//!
//! A child that is asked to end nearly always has, long before its time is up, and a group of thousands is stopped one by
//! one: a task and a timer for each would cost as much as the stop. So what is due is kept in order and one task sleeps
//! until the first of it. What is cancelled is only taken out: the task may wake for nothing, once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{SupervisorMessage, Timer};
use crate::address::ActorId;
use crate::ids::IdMap;
use crate::supervisor::record::SupervisorRef;

/// When, and which of those that are due then.
type Due = (Instant, u64);

#[derive(Default)]
pub(super) struct Alarms {
    due: BTreeMap<Due, (Option<ActorId>, SupervisorMessage)>,
    /// The one of each child that has one.
    of: IdMap<Due>,
    next: u64,
    /// When the task will wake.
    armed: Option<(Instant, Timer)>,
}

impl Alarms {
    /// Says `message` after so long. A child has one alarm: the newest.
    pub(super) fn set(
        &mut self,
        child: Option<ActorId>,
        time: Duration,
        message: SupervisorMessage,
        myself: &SupervisorRef,
    ) {
        let now = Instant::now();
        // What is too far away to be told as a time is as far away as a timer goes.
        let at = now.checked_add(time).unwrap_or(now + FAR_AWAY);
        let due = (at, self.next);
        self.next += 1;
        if let Some(child) = child {
            self.cancel(child);
            self.of.insert(child, due);
        }
        self.due.insert(due, (child, message));
        self.arm(myself);
    }

    /// The alarm of this child, if it has one, is not said.
    pub(super) fn cancel(&mut self, child: ActorId) {
        if let Some(due) = self.of.remove(&child) {
            self.due.remove(&due);
        }
    }

    /// Takes what is due by now, in order; the rest has the next alarm.
    pub(super) fn take_due(&mut self, myself: &SupervisorRef) -> Vec<SupervisorMessage> {
        self.armed = None;
        let now = Instant::now();
        let mut messages = Vec::new();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let (child, message) = first.remove();
            if let Some(child) = child {
                self.of.remove(&child);
            }
            messages.push(message);
        }
        self.arm(myself);
        messages
    }

    fn arm(&mut self, myself: &SupervisorRef) {
        let Some((&(first, _), _)) = self.due.first_key_value() else {
            return;
        };
        if self.armed.as_ref().is_some_and(|(at, _)| *at <= first) {
            return;
        }
        let myself = myself.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(first).await;
            // An error means that the supervisor is gone, and its children with it.
            let _ = myself.send_message(SupervisorMessage::Alarm);
        });
        self.armed = Some((first, Timer(timer.abort_handle())));
    }
}

/// A year.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);
