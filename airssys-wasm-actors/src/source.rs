//! Sources: native actors that feed an input to a component, item by item, with back-pressure.
//!
//! Owns the [`Source`] actor and the state of it that outlives it ([`SourceState`]): its account and how it
//! ended. An item goes from the reader's thread through a bounded channel into a call; at most `in-flight` calls
//! are under way, and nothing is read that cannot be sent soon. A source is temporary: a restarted one would
//! begin at the first item again and count what was counted. It retries no item; a full mailbox is waited for,
//! because nothing has been accepted there.

mod account;
mod input;
mod json;
mod lines;
mod pump;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use airssys_wasm::{Surface, WitError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use account::{ReasonGroup, ReasonMessage, SourceCounts};
pub use input::{Input, SourceError};

pub(crate) use account::Account;
pub(crate) use input::Cutting;
pub(crate) use pump::{Feed, Shape};

use crate::address::ActorAddress;
use crate::exit::ExitReason;
use crate::native::{Actor, Context, Message};
use crate::reference::ActorRef;

/// What a source says to itself when its input has failed.
const CONTROL: &str = "package airssys:source@0.1.0; interface control { failed: func(); }";

/// Everything a source is made of.
#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    pub(crate) address: ActorAddress,
    pub(crate) input: Input,
    pub(crate) cutting: Cutting,
    pub(crate) to: ActorAddress,
    pub(crate) feed: Feed,
}

/// How a source ended; `None` while it runs.
pub(crate) type End = Option<Result<(), Arc<SourceError>>>;

/// What is known of a source, whether its actor lives or not.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) account: Arc<Account>,
    end: watch::Sender<End>,
}

impl SourceState {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            account: Arc::default(),
            end: watch::Sender::new(None),
        })
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Result<(), Arc<SourceError>> {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            // The sender is in `self`: neither can be.
            Ok(None) | Err(_) => Err(Arc::new(SourceError::Stopped)),
        }
    }

    /// The first end counts.
    fn end(&self, result: Result<(), SourceError>) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(result.map_err(Arc::new));
            }
            first
        });
    }
}

/// The actor. Its work is done by a task of its own, so that it can be asked and stopped meanwhile.
pub(crate) struct Source {
    plan: Arc<SourcePlan>,
    state: Arc<SourceState>,
    pump: Option<Pumping>,
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.pump.is_none() {
            // Killed before it had begun: nobody else will say that it has ended.
            self.state.end(Err(SourceError::Stopped));
        }
    }
}

/// The running pump; it dies with its owner.
struct Pumping {
    task: JoinHandle<()>,
    stop: Arc<Notify>,
}

impl Drop for Pumping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says that the source has ended, even when the pump is dropped half way.
struct EndGuard(Arc<SourceState>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end(Err(SourceError::Stopped));
    }
}

impl Source {
    pub(crate) fn new(plan: Arc<SourcePlan>, state: Arc<SourceState>) -> Self {
        Self {
            plan,
            state,
            pump: None,
        }
    }

    /// Starts the reader and the pump.
    fn start(&self, own: Option<ActorRef>, to: Option<ActorRef>) -> Result<Pumping, SourceError> {
        let no_target = |reason: String| SourceError::NoTarget {
            to: self.plan.to.to_string(),
            reason,
        };
        let to = to.ok_or_else(|| no_target("there is no such actor".to_owned()))?;
        let target = to
            .function(&self.plan.feed.function)
            .map_err(|error| no_target(error.to_string()))?;
        let feed = &self.plan.feed;
        tracing::debug!(
            source = %self.plan.address,
            input = %self.plan.input.to_string().escape_debug(),
            to = %self.plan.to,
            function = feed.function,
            in_flight = feed.in_flight_max,
            "feeding"
        );
        let items = input::start(self.plan.input.clone(), self.plan.cutting.clone())?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let state = Arc::clone(&self.state);
        let plan = Arc::clone(&self.plan);
        // Made before the task, which may be dropped before it has run at all.
        let guard = EndGuard(Arc::clone(&state));
        let task = tokio::spawn(async move {
            let end = pump::run(&plan.feed, &target, items, &state.account, &stopped).await;
            let failed = matches!(&end, Err(error) if !matches!(error, SourceError::Stopped));
            let counts = state.account.read();
            tracing::debug!(
                source = %plan.address,
                items = counts.events_in,
                ok = counts.ok,
                rejected = counts.rejected,
                failed = counts.failed,
                "fed"
            );
            state.end(end);
            drop(guard);
            if let (true, Some(own)) = (failed, own)
                && let Err(error) = own.cast("failed", ())
            {
                tracing::debug!(%error, "a source that failed is gone already");
            }
        });
        Ok(Pumping { task, stop })
    }
}

impl Actor for Source {
    type Error = SourceFailed;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(CONTROL)
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), SourceFailed> {
        let own = ctx.whereis(ctx.address());
        let to = ctx.whereis(&self.plan.to);
        match self.start(own, to) {
            Ok(pump) => {
                self.pump = Some(pump);
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                self.state.end.send_replace(Some(Err(Arc::clone(&error))));
                Err(SourceFailed(error))
            }
        }
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), SourceFailed> {
        // Only the pump sends this, and only after the end; anybody else is answered and ignored.
        message.reply(());
        match &*self.state.end.borrow() {
            Some(Err(error)) => Err(SourceFailed(Arc::clone(error))),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Lets what is under way come back; the supervisor's patience bounds the wait.
    async fn post_stop(&mut self, _reason: &ExitReason) {
        if let Some(pump) = &mut self.pump {
            pump.stop.notify_one();
            // A panic in the pump is in the log already.
            let _ = (&mut pump.task).await;
        }
    }
}

/// A source has not come to the end of its input.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SourceFailed(Arc<SourceError>);
