//! The number of replicas of one component, as a rollout changes it.
//!
//! Owns when: more of them at once, fewer only when nothing is undone any more, and back to what there was. Whether it may
//! be is decided by the plan.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Done, Ground};
use crate::address::ActorAddress;
use crate::deployment::plan::Scale;
use crate::exit::with_sources;
use crate::scaling::{ScaleError, ScaleOptions};

/// How long what stands in the way for a moment is waited for.
const TRY_FOR: Duration = Duration::from_secs(10);

const TRY_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Rescale {
    address: ActorAddress,
    to: u32,
    /// How many there were before it has made them more.
    before: Option<u32>,
}

impl Rescale {
    /// `None` where the number stays what it is.
    pub(super) fn of(address: ActorAddress, replicas: Scale) -> Option<Self> {
        (replicas.from != replicas.to).then_some(Self {
            address,
            to: replicas.to,
            before: None,
        })
    }

    pub(super) async fn grow(&mut self, ground: &Ground) -> Done {
        let now = self.now(ground);
        if now < self.to {
            self.scale(ground, self.to).await?;
            self.before.get_or_insert(now);
        }
        Ok(())
    }

    pub(super) async fn shrink(&self, ground: &Ground) {
        if self.now(ground) > self.to
            && let Err(why) = self.scale(ground, self.to).await
        {
            // There are more than there should be, and they serve.
            tracing::warn!(address = %self.address, %why, "not scaled down");
        }
    }

    /// There are as many as before, if it has made them more.
    pub(super) async fn undo(&mut self, ground: &Ground) -> Done {
        if let Some(before) = self.before {
            self.scale(ground, before).await?;
            self.before = None;
        }
        Ok(())
    }

    fn now(&self, ground: &Ground) -> u32 {
        ground.system.replicas(&self.address).unwrap_or(0)
    }

    async fn scale(&self, ground: &Ground, replicas: u32) -> Done {
        let options = ScaleOptions {
            // The plan has been asked.
            discard_state: true,
            ..ScaleOptions::default()
        };
        let until = Instant::now() + TRY_FOR;
        loop {
            match ground.system.scale(&self.address, replicas, options).await {
                Ok(_) => return Ok(()),
                // Its supervisor is made again, or somebody else is at it.
                Err(ScaleError::SupervisorEnded(_) | ScaleError::UnderWay(_))
                    if Instant::now() < until =>
                {
                    sleep(TRY_AGAIN).await;
                }
                Err(why) => return Err(with_sources(&why)),
            }
        }
    }
}
