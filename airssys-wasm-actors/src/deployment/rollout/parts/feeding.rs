//! A source that a deployment starts, replaces or stops.
//!
//! Owns the hand-over: what feeds now sends nothing more and has all its answers before another goes on, from where it was.
//! Undone, it is the same the other way round.

use std::sync::Arc;

use super::{Done, Ground};
use crate::address::ActorAddress;
use crate::application::feeding::FeedingHeld;
use crate::deployment::plan::{Action, Plan};
use crate::deployment::rollout::children::supervisor;
use crate::exit::with_sources;
use crate::source::{self, SourcePlan, SourceRun};

/// One source.
pub(super) struct Sourcing {
    address: ActorAddress,
    /// `None` when it is gone afterwards.
    new: Option<Arc<SourcePlan>>,
    /// It is stopped when nothing can be undone any more.
    last: bool,
    /// What there was, once it was touched.
    before: Option<Before>,
    begun: Option<Arc<SourceRun>>,
}

struct Before {
    run: Option<Arc<SourceRun>>,
    /// It had ended by itself, or by hand, and does not go on.
    was_over: bool,
}

/// Until this is dropped, the application is not finished: its sources may go on.
pub(in crate::deployment::rollout) fn hold(plan: &Plan, ground: &Ground) -> Option<FeedingHeld> {
    let is_source = |action: &Action| {
        matches!(
            action,
            Action::StartSource | Action::ReplaceSource { .. } | Action::StopSource { .. }
        )
    };
    let any = plan.parts().any(|part| is_source(&part.action));
    any.then(|| ground.live.feeding.hold())
}

impl Sourcing {
    /// The source of the new application, or why it cannot go on as it is there.
    pub(super) fn to(ground: &Ground, address: ActorAddress) -> Result<Self, String> {
        let new = ground.new.source(&address);
        let new = new.ok_or_else(|| format!("there is no source `{address}`"))?;
        match ground.live.feeding.refuses(new) {
            Some(why) => Err(format!("the source `{address}`: {why}")),
            None => Ok(Self {
                new: Some(Arc::clone(new)),
                ..Self::gone(address, false)
            }),
        }
    }

    /// It is gone.
    pub(super) fn gone(address: ActorAddress, last: bool) -> Self {
        Self {
            address,
            new: None,
            last,
            before: None,
            begun: None,
        }
    }

    /// What can be known before anything is touched: that there is something to be read, up to the first item of a regular
    /// file. A pipe is not opened for it: whoever writes to it would be told that it has been closed again.
    pub(super) async fn warm(&self) -> Done {
        let Some(new) = &self.new else {
            return Ok(());
        };
        let input = &new.input;
        input.can_be_opened().map_err(|why| with_sources(&why))?;
        if input.is_rereadable() {
            let first = source::look(new).await;
            first.map_err(|why| with_sources(&why))?;
        }
        Ok(())
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        if self.last {
            return Ok(());
        }
        let feeding = &ground.live.feeding;
        let run = feeding.current(&self.address);
        let was_over = run.as_ref().is_none_or(|run| run.is_over());
        self.before = Some(Before {
            run: run.clone(),
            was_over,
        });
        if let Some(run) = run {
            stop(ground, &self.address, &run).await;
        }
        match &self.new {
            Some(new) => self.begun = Some(start(ground, new).await?),
            None => feeding.set(&self.address, None),
        }
        Ok(())
    }

    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        let Some(Before { run, was_over }) = self.before.take() else {
            return Ok(());
        };
        if let Some(begun) = self.begun.take() {
            stop(ground, &self.address, &begun).await;
        }
        match run {
            Some(run) if !was_over => start(ground, &run.plan).await.map(|_| ()),
            run => {
                ground.live.feeding.set(&self.address, run);
                Ok(())
            }
        }
    }

    /// Nothing is undone any more.
    pub(super) async fn release_old(&self, ground: &Ground) {
        let feeding = &ground.live.feeding;
        if self.last
            && let Some(run) = feeding.current(&self.address)
        {
            stop(ground, &self.address, &run).await;
            feeding.set(&self.address, None);
        }
        feeding.close(&self.address);
    }

    /// It has been undone, or was never done. A pipe is read on by whoever tries again.
    pub(super) fn release_new(&self, ground: &Ground) {
        ground.live.feeding.close_rereadable(&self.address);
    }

    /// What has begun, for whoever watches over it.
    pub(super) fn begun(&self) -> Option<&Arc<SourceRun>> {
        self.begun.as_ref()
    }
}

async fn start(ground: &Ground, plan: &Arc<SourcePlan>) -> Result<Arc<SourceRun>, String> {
    let run = ground.live.feeding.begin(Arc::clone(plan));
    let started = match supervisor(ground, ground.new.name()) {
        Ok(application) => {
            let started = application.start(vec![run.child()]).await;
            started.map_err(|why| with_sources(&why))
        }
        Err(why) => Err(why),
    };
    match started {
        Ok(actors) => {
            ground.live.added.lock().extend(actors);
            Ok(run)
        }
        Err(why) => {
            run.give_up();
            Err(why)
        }
    }
}

async fn stop(ground: &Ground, address: &ActorAddress, run: &SourceRun) {
    run.pause().await;
    let Ok(application) = supervisor(ground, ground.new.name()) else {
        return;
    };
    // One that is gone already is what is wanted.
    if let Err(why) = application.stop_child(address).await {
        tracing::debug!(%address, %why, "not stopped by its deployment");
    }
    let mut added = ground.live.added.lock();
    added.retain(|actor| actor.address() != address);
}
