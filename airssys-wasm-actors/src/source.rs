//! Sources: native actors that feed an input to a component, item by item, with back-pressure.
//!
//! Owns the [`Source`] actor and what of it outlives it ([`SourceRun`]): its account, its place in its input, and how it
//! ended. An item goes from the reader's thread through a bounded channel into a call; at most `in-flight` calls
//! are under way, and nothing is read that cannot be sent soon. A source is temporary: one that died does not
//! know what became of all that it had sent. One that is paused does, and another goes on where it was. It retries no item; a full mailbox is waited for,
//! because nothing has been accepted there.

mod account;
mod input;
mod json;
mod lines;
mod place;
mod pump;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use airssys_wasm::{Surface, WitError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use account::{ReasonGroup, ReasonMessage, SourceCounts};
pub use input::{Input, SourceError};

pub(crate) use account::Account;
pub(crate) use input::Cutting;
pub(crate) use place::Places;
pub(crate) use pump::{Feed, Shape};

use crate::address::ActorAddress;
use crate::exit::ExitReason;
use crate::native::{Actor, Context, Message};
use crate::reference::ActorRef;
use crate::supervisor::ChildSpec;
use pump::Halt;

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

/// Reads the first item of what a source would read, and no further.
pub(crate) async fn look(plan: &SourcePlan) -> Result<(), SourceError> {
    let mut items = input::start(plan.input.clone(), plan.cutting.clone(), 0)?;
    match items.recv().await {
        Some(input::Reading::Item { .. }) => Ok(()),
        Some(input::Reading::End(end)) => end,
        None => Err(SourceError::ReaderDied),
    }
}

/// How a source ended; `None` while it runs.
pub(crate) type End = Option<Result<(), Arc<SourceError>>>;

/// One way of a source from its start to its end, whether its actor lives or not.
#[derive(Debug)]
pub(crate) struct SourceRun {
    pub(crate) plan: Arc<SourcePlan>,
    account: Arc<Account>,
    places: Arc<Places>,
    halt: watch::Sender<Halt>,
    end: watch::Sender<End>,
}

impl SourceRun {
    pub(crate) fn new(
        plan: Arc<SourcePlan>,
        account: Arc<Account>,
        places: Arc<Places>,
    ) -> Arc<Self> {
        Arc::new(Self {
            plan,
            account,
            places,
            halt: watch::Sender::new(Halt::No),
            end: watch::Sender::new(None),
        })
    }

    /// What a supervisor starts. It is not started again: its deployment, or nobody, has it go on.
    pub(crate) fn child(self: &Arc<Self>) -> ChildSpec {
        let run = Arc::clone(self);
        let child = ChildSpec::native(run.plan.address.clone(), move || {
            Source::new(Arc::clone(&run))
        });
        child.restart_temporary()
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.end.borrow().is_some()
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

    /// Has it send nothing more, and waits until all that it had sent is answered, which takes as long as a call may wait.
    pub(crate) async fn pause(&self) {
        self.halt(Halt::Pause);
        // How it ended is of no matter: it sends nothing any more.
        let _ = self.ended().await;
    }

    /// It has not begun, and does not.
    pub(crate) fn give_up(&self) {
        self.end(Err(SourceError::Stopped));
    }

    fn halt(&self, to: Halt) {
        self.halt.send_if_modified(|halt| {
            let further = *halt < to;
            *halt = to.max(*halt);
            further
        });
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
    run: Arc<SourceRun>,
    pump: Option<Pumping>,
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.pump.is_none() {
            // Killed before it had begun: nobody else will say that it has ended.
            self.run.give_up();
        }
    }
}

/// The running pump; it dies with its owner.
struct Pumping {
    task: JoinHandle<()>,
}

impl Drop for Pumping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says that the source has ended, even when the pump is dropped half way.
struct EndGuard(Arc<SourceRun>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Source {
    pub(crate) fn new(run: Arc<SourceRun>) -> Self {
        Self { run, pump: None }
    }

    /// Starts the reader and the pump.
    fn start(&self, own: Option<ActorRef>, to: Option<ActorRef>) -> Result<Pumping, SourceError> {
        let plan = &self.run.plan;
        let no_target = |reason: String| SourceError::NoTarget {
            to: plan.to.to_string(),
            reason,
        };
        let to = to.ok_or_else(|| no_target("there is no such actor".to_owned()))?;
        let target = to
            .function(&plan.feed.function)
            .map_err(|error| no_target(error.to_string()))?;
        let feed = &plan.feed;
        let (next, mut reader) = self.run.places.open(plan)?;
        tracing::debug!(
            source = %plan.address,
            input = %plan.input.to_string().escape_debug(),
            from = next.load(Ordering::Acquire),
            to = %plan.to,
            function = feed.function,
            in_flight = feed.in_flight_max,
            "feeding"
        );
        let run = Arc::clone(&self.run);
        let halt = run.halt.subscribe();
        // Made before the task, which may be dropped before it has run at all.
        let guard = EndGuard(Arc::clone(&run));
        let task = tokio::spawn(async move {
            let (plan, account) = (&run.plan, &run.account);
            let end = pump::run(&plan.feed, &target, &mut reader, &next, account, halt).await;
            let failed = matches!(&end, Err(error) if !matches!(error, SourceError::Stopped));
            let counts = account.read();
            tracing::debug!(
                source = %plan.address,
                items = counts.events_in,
                ok = counts.ok,
                rejected = counts.rejected,
                failed = counts.failed,
                "fed"
            );
            run.places.put_back(plan, reader, &end);
            run.end(end);
            drop(guard);
            if let (true, Some(own)) = (failed, own)
                && let Err(error) = own.cast("failed", ())
            {
                tracing::debug!(%error, "a source that failed is gone already");
            }
        });
        Ok(Pumping { task })
    }
}

impl Actor for Source {
    type Error = SourceFailed;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(CONTROL)
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), SourceFailed> {
        let own = ctx.whereis(ctx.address());
        let to = ctx.whereis(&self.run.plan.to);
        match self.start(own, to) {
            Ok(pump) => {
                self.pump = Some(pump);
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                self.run.end.send_replace(Some(Err(Arc::clone(&error))));
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
        match &*self.run.end.borrow() {
            Some(Err(error)) => Err(SourceFailed(Arc::clone(error))),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Lets what is under way come back; the supervisor's patience bounds the wait.
    async fn post_stop(&mut self, _reason: &ExitReason) {
        if let Some(pump) = &mut self.pump {
            self.run.halt(Halt::Stop);
            // A panic in the pump is in the log already.
            let _ = (&mut pump.task).await;
        }
    }
}

/// A source has not come to the end of its input.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SourceFailed(Arc<SourceError>);
