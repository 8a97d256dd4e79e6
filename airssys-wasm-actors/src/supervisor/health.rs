//! Asking a child how it is, again and again.

use crate::events::Event;
use crate::health::{ChildHealth, HealthCheck};
use crate::reference::ActorRef;

/// Asks until it has failed as often in a row as the check allows; says with which words.
///
/// A child with a message in hand is not asked before it is through with it, and is not late: its own limits end a
/// message that takes too long.
pub(super) async fn until_failed(actor: &ActorRef, check: HealthCheck) -> String {
    let mut last = ChildHealth::Healthy;
    let mut failures = 0;
    loop {
        tokio::time::sleep(check.interval).await;
        let health = match actor.health(check.timeout).await {
            Ok(health) => health,
            Err(_) if actor.status().queued > 0 => continue,
            Err(error) => ChildHealth::Failed(error.to_string()),
        };
        if health != last {
            actor.slot().shared().emit(Event::Health {
                address: actor.address().clone(),
                health: health.clone(),
            });
        }
        last = health;
        match &last {
            ChildHealth::Failed(text) => {
                failures += 1;
                if failures >= check.threshold.max(1) {
                    return text.clone();
                }
            }
            _ => failures = 0,
        }
    }
}
