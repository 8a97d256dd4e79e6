//! An application that runs: waited for, asked, stopped.
//!
//! Owns what "finished" means: every source has come to its end and had all its answers, and every mailbox is
//! empty. An application without sources never finishes by itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::asking::{Report, ReportError, ReportPlan};
use super::feeding::Feeding;
use crate::address::ActorAddress;
use crate::counters::Counters;
use crate::exit::ExitReason;
use crate::reference::ActorRef;
use crate::source::{ReasonGroup, SourceCounts, SourceError};
use crate::supervisor::{StopReport, Supervisor};
use crate::system::System;

/// How long a deployment that is under way has to record its end when the application is stopped. The disk takes a moment
/// for it; where it takes longer, the next start of the host records it.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// How long a supervisor that is ending is waited for, to tell its end from that of one source.
const ENDING_WITHIN: Duration = Duration::from_secs(10);

/// A running application. Dropping it stops nothing.
pub struct RunningApplication {
    system: System,
    supervisor: Supervisor,
    actors: Vec<ActorRef>,
    live: Arc<Live>,
    /// What the system had counted before.
    before: Counters,
}

/// What changes of an application while it runs, by deployments.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) feeding: Arc<Feeding>,
    pub(crate) report: Mutex<ReportPlan>,
    /// Actors that were started since.
    pub(crate) added: Mutex<Vec<ActorRef>>,
    /// Whether it is being stopped. Each deployment under way listens until it has recorded its end.
    pub(crate) stopping: watch::Sender<bool>,
}

/// An application has ended before it was finished.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationEnded {
    /// Its supervisor has stopped everything.
    #[error("the application `{name}` has ended: {reason}")]
    Supervisor {
        /// The application.
        name: ActorAddress,
        /// Why.
        reason: ExitReason,
    },
    /// A source has not come to the end of its input.
    #[error("the source `{source_address}` has failed")]
    Source {
        /// The source.
        source_address: ActorAddress,
        /// Why.
        #[source]
        why: Arc<SourceError>,
    },
}

impl RunningApplication {
    pub(super) fn new(
        system: System,
        supervisor: Supervisor,
        actors: Vec<ActorRef>,
        feeding: Arc<Feeding>,
        report: ReportPlan,
        before: Counters,
    ) -> Self {
        Self {
            system,
            supervisor,
            actors,
            live: Arc::new(Live {
                feeding,
                report: Mutex::new(report),
                added: Mutex::default(),
                stopping: watch::Sender::default(),
            }),
            before,
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Its supervisor.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The system it runs in.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// With those that deployments have added.
    fn all(&self) -> Vec<ActorRef> {
        let mut all = self.actors.clone();
        all.extend(self.live.added.lock().iter().cloned());
        all
    }

    /// The actors it began with, in the order they were started. What deployments have added is found by its address:
    /// [`System::whereis`].
    #[must_use]
    pub fn actors(&self) -> &[ActorRef] {
        &self.actors
    }

    /// An actor by its address, or by its name in the manifest.
    #[must_use]
    pub fn actor(&self, name: &str) -> Option<&ActorRef> {
        let application = self.supervisor.address().as_str();
        self.actors.iter().find(|actor| {
            let address = actor.address().as_str();
            let own = address
                .strip_prefix(application)
                .and_then(|rest| rest.strip_prefix('/'));
            address == name || own == Some(name)
        })
    }

    /// Whether it has sources now; without one it runs until it is stopped.
    #[must_use]
    pub fn has_sources(&self) -> bool {
        self.live.feeding.is_fed()
    }

    /// What its sources have sent so far, those that are gone too.
    #[must_use]
    pub fn counts(&self) -> SourceCounts {
        let counts = self.live.feeding.counts().into_iter();
        let counts = counts.map(|(_, counts)| counts);
        counts.reduce(add).unwrap_or_default()
    }

    /// Waits until a source has begun, or gone on, since it was finished: a deployment may have one do so.
    pub async fn feeding(&self) {
        self.live.feeding.begun().await;
    }

    /// Waits until every source has ended and every mailbox is empty, and no deployment that changes sources is under way.
    ///
    /// # Errors
    /// [`ApplicationEnded`] when the application ended itself, or a source could not read its input to the end.
    pub async fn finished(&self) -> Result<(), ApplicationEnded> {
        tokio::select! {
            biased;
            reason = self.supervisor.ended() => {
                self.settled().await;
                Err(self.ended_by(reason))
            }
            finished = self.drained() => finished,
        }
    }

    /// Waits until the application has ended itself, or was stopped: also when every source has ended before.
    pub async fn ended(&self) -> ApplicationEnded {
        let reason = self.supervisor.ended().await;
        self.settled().await;
        self.ended_by(reason)
    }

    async fn drained(&self) -> Result<(), ApplicationEnded> {
        let feeding = &self.live.feeding;
        let ends = loop {
            let (at, ends) = feeding.ended().await;
            self.emptied().await;
            if feeding.finish(at) {
                break ends;
            }
        };
        let mut failed = ends.into_iter();
        let failed = failed.find_map(|(address, end)| end.err().map(|why| (address, why)));
        let Some((source_address, why)) = failed else {
            // The last of what a source sends fails at once when the supervisor gives up; the source can be through
            // before it is stopped.
            if self.supervisor.is_ending() {
                return Err(self.ended_by(self.supervisor.ended().await));
            }
            return Ok(());
        };
        if matches!(*why, SourceError::Stopped)
            && let Ok(reason) = tokio::time::timeout(ENDING_WITHIN, self.supervisor.ended()).await
        {
            return Err(self.ended_by(reason));
        }
        Err(ApplicationEnded::Source {
            source_address,
            why,
        })
    }

    /// Waits until every mailbox is empty. Only casts between components are left by then. One that moves on while
    /// the mailboxes are looked at, from one not seen yet to one already seen, has been counted: then all are looked
    /// at again.
    async fn emptied(&self) {
        loop {
            let before = self.accepted();
            for actor in &self.all() {
                actor.emptied().await;
            }
            if self.accepted() == before {
                return;
            }
        }
    }

    /// Messages ever sent to its actors.
    fn accepted(&self) -> u64 {
        let all = self.all();
        let counters = all.iter().map(ActorRef::counters);
        counters.map(|one| one.calls + one.casts).sum()
    }

    fn ended_by(&self, reason: ExitReason) -> ApplicationEnded {
        ApplicationEnded::Supervisor {
            name: self.supervisor.address().clone(),
            reason,
        }
    }

    /// Asks it what its manifest's `[report]` says, and adds what was counted outside of it.
    ///
    /// # Errors
    /// [`ReportError`] when one of the questions is not answered.
    pub async fn report(&self) -> Result<Report, ReportError> {
        let plan = self.live.report.lock().clone();
        let counted = plan.counted(&self.system).await?;
        let tables = plan.tables(&self.system).await?;
        let counts = self.counts();
        let after = self.system.counters();
        let restarted =
            |actor: &ActorRef| Some((actor.address().clone(), actor.counters().restarts));
        Ok(Report {
            counted: counted.unwrap_or(counts.ok),
            counts,
            sources: self.live.feeding.counts(),
            restarts: after.restarts.saturating_sub(self.before.restarts),
            restarted: self
                .all()
                .iter()
                .filter_map(restarted)
                .filter(|(_, restarts)| *restarts > 0)
                .collect(),
            dead_letters: after.dead_letters.saturating_sub(self.before.dead_letters),
            tables,
        })
    }

    /// Stops it: the sources first, then the components in reverse start order.
    /// What its sources have sent is accounted for when this returns. A deployment that is under way goes no further: its
    /// end is recorded before anything is stopped, which is waited for, but not for long.
    pub async fn stop(&self) -> StopReport {
        self.live.stopping.send_replace(true);
        let ended = self.live.stopping.closed();
        if tokio::time::timeout(RECORDED_WITHIN, ended).await.is_err() {
            tracing::warn!(application = %self.supervisor.address(), "a deployment's end is not recorded yet");
        }
        let report = self.supervisor.stop().await;
        self.settled().await;
        self.live.feeding.close_all();
        report
    }

    /// Waits until no source writes to its account any more.
    async fn settled(&self) {
        self.live.feeding.settled().await;
    }

    /// Ends every actor now, whatever it is doing; [`RunningApplication::stop`] then has nothing to wait for.
    pub fn kill(&self) {
        for actor in self.all().iter().rev() {
            actor.kill();
        }
    }
}

fn add(mut sum: SourceCounts, other: SourceCounts) -> SourceCounts {
    sum.events_in += other.events_in;
    sum.ok += other.ok;
    sum.rejected += other.rejected;
    sum.failed += other.failed;
    merge(&mut sum.rejections, other.rejections);
    merge(&mut sum.failures, other.failures);
    sum
}

fn merge(groups: &mut Vec<ReasonGroup>, others: Vec<ReasonGroup>) {
    for other in others {
        match groups.iter_mut().find(|group| group.kind == other.kind) {
            Some(group) => {
                group.count += other.count;
                group.messages.extend(other.messages);
            }
            None => groups.push(other),
        }
    }
}
