//! Asking a child how it is, again and again.

use std::time::Duration;

use crate::events::Event;
use crate::health::{ChildHealth, HealthCheck};
use crate::reference::ActorRef;

/// Asks until it has failed as often in a row as the check allows; says with which words. What `check` says beside its interval
/// is looked at anew each time; where it says nothing any more, nothing is asked.
///
/// A child with a message or a signal in hand is not asked before it is through with it, and is not late: its own limits end
/// one that takes too long. One that has been asked is late, whatever waits for it.
pub(super) async fn until_failed(
    actor: &ActorRef,
    interval: Duration,
    check: impl Fn() -> Option<HealthCheck>,
) -> String {
    let mut last = ChildHealth::Healthy;
    let mut failures = 0;
    loop {
        tokio::time::sleep(interval).await;
        let Some(check) = check() else {
            // Whoever has changed it is about to end this.
            return std::future::pending().await;
        };
        let health = match actor.health(check.timeout).await {
            Ok(health) => health,
            Err(_) if actor.slot().lane().is_busy_otherwise() => continue,
            Err(error) => ChildHealth::Failed(error.to_string()),
        };
        failures = match &health {
            ChildHealth::Failed(_) => failures + 1,
            _ => 0,
        };
        rotate(actor, check, failures);
        if health != last {
            actor.slot().shared().emit(Event::Health {
                address: actor.address().clone(),
                health: health.clone(),
            });
        }
        if failures >= check.threshold.max(1)
            && let ChildHealth::Failed(text) = health
        {
            return text;
        }
        last = health;
    }
}

/// Takes a replica out of rotation, or back into it.
fn rotate(actor: &ActorRef, check: HealthCheck, failures: u32) {
    let lane = actor.slot().lane();
    let after = check.out_of_rotation_after;
    let out = after.is_some_and(|after| failures >= after.max(1));
    if out != lane.is_out() {
        lane.rotate(out);
    }
}
