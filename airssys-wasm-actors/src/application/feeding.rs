//! The sources of an application that runs.
//!
//! Owns which there are, and what of each outlives any one of its runs: its account and its places. Deployments change it;
//! until such a deployment is over, an application whose sources have all ended is not finished, because they may go on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::address::ActorAddress;
use crate::source::{Account, Places, SourceCounts, SourceError, SourcePlan, SourceRun};

/// How each source ended, in order.
pub(crate) type Ends = Vec<(ActorAddress, Result<(), Arc<SourceError>>)>;

/// All of them. Its lock is held for a look or a change, never across an await.
#[derive(Default)]
pub(crate) struct Feeding {
    sources: Mutex<Vec<Fed>>,
    changing: watch::Sender<Changing>,
    /// How often one had begun when all had ended.
    finished: AtomicU64,
}

/// What whoever waits for the end looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changing {
    /// How often something has changed.
    version: u64,
    /// Deployments under way that change sources.
    holders: usize,
    /// How often a source has begun, or gone on.
    begins: u64,
}

/// One name. It stays when the source is gone, with what it has sent.
struct Fed {
    address: ActorAddress,
    account: Arc<Account>,
    places: Arc<Places>,
    /// `None` when it is gone.
    run: Option<Arc<SourceRun>>,
}

/// A deployment that changes sources; not over until this is dropped.
pub(crate) struct FeedingHeld(Arc<Feeding>);

impl Drop for FeedingHeld {
    fn drop(&mut self) {
        self.0.change(|changing| {
            changing.holders = changing.holders.saturating_sub(1);
        });
    }
}

impl Feeding {
    pub(crate) fn hold(self: &Arc<Self>) -> FeedingHeld {
        self.change(|changing| changing.holders += 1);
        FeedingHeld(Arc::clone(self))
    }

    fn change(&self, change: impl FnOnce(&mut Changing)) {
        self.changing.send_modify(|changing| {
            changing.version += 1;
            change(changing);
        });
    }

    /// The source of this name is what `plan` says. It is yet to be started.
    pub(crate) fn begin(&self, plan: Arc<SourcePlan>) -> Arc<SourceRun> {
        let run = {
            let mut sources = self.sources.lock();
            let place = sources.iter().position(|one| one.address == plan.address);
            let place = place.unwrap_or_else(|| {
                sources.push(Fed {
                    address: plan.address.clone(),
                    account: Arc::default(),
                    places: Arc::default(),
                    run: None,
                });
                sources.len().saturating_sub(1)
            });
            let (account, places) = match sources.get(place) {
                Some(one) => (Arc::clone(&one.account), Arc::clone(&one.places)),
                None => (Arc::default(), Arc::default()),
            };
            let run = SourceRun::new(plan, account, places);
            if let Some(one) = sources.get_mut(place) {
                one.run = Some(Arc::clone(&run));
            }
            run
        };
        self.change(|changing| changing.begins += 1);
        run
    }

    /// The source of this name is that of before again, or is gone.
    pub(crate) fn set(&self, address: &ActorAddress, run: Option<Arc<SourceRun>>) {
        let mut sources = self.sources.lock();
        if let Some(one) = sources.iter_mut().find(|one| one.address == *address) {
            one.run = run;
        }
        drop(sources);
        self.change(|_| {});
    }

    pub(crate) fn current(&self, address: &ActorAddress) -> Option<Arc<SourceRun>> {
        let sources = self.sources.lock();
        let found = sources.iter().find(|one| one.address == *address)?;
        found.run.clone()
    }

    /// What feeds the application.
    pub(crate) fn plans(&self) -> Vec<Arc<SourcePlan>> {
        let runs = self.runs().into_iter();
        runs.map(|run| Arc::clone(&run.plan)).collect()
    }

    fn runs(&self) -> Vec<Arc<SourceRun>> {
        let sources = self.sources.lock();
        sources.iter().filter_map(|one| one.run.clone()).collect()
    }

    /// Whether there is one.
    pub(crate) fn is_fed(&self) -> bool {
        self.sources.lock().iter().any(|one| one.run.is_some())
    }

    /// What each has sent; those that are gone too.
    pub(crate) fn counts(&self) -> Vec<(ActorAddress, SourceCounts)> {
        let sources = self.sources.lock();
        let counts = sources
            .iter()
            .map(|one| (one.address.clone(), one.account.read()));
        counts.collect()
    }

    /// Why a source cannot go on as a plan says.
    pub(crate) fn refuses(&self, plan: &SourcePlan) -> Option<SourceError> {
        let sources = self.sources.lock();
        let one = sources.iter().find(|one| one.address == plan.address)?;
        let running = one.run.as_ref().filter(|run| !run.is_over());
        one.places.refuses(plan, running.map(|run| &*run.plan))
    }

    /// Closes what of a source's inputs nobody reads now.
    pub(crate) fn close(&self, address: &ActorAddress) {
        self.at_places(address, Places::close);
    }

    /// The same, but for what could not be read again.
    pub(crate) fn close_rereadable(&self, address: &ActorAddress) {
        self.at_places(address, Places::close_rereadable);
    }

    fn at_places(&self, address: &ActorAddress, close: impl FnOnce(&Places)) {
        let sources = self.sources.lock();
        if let Some(one) = sources.iter().find(|one| one.address == *address) {
            close(&one.places);
        }
    }

    /// The same of every source.
    pub(crate) fn close_all(&self) {
        for one in self.sources.lock().iter() {
            one.places.close();
        }
    }

    /// Waits until there are sources, no deployment changes any, and all have ended.
    pub(crate) async fn ended(&self) -> (Changing, Ends) {
        let mut changing = self.changing.subscribe();
        loop {
            let at = *changing.borrow_and_update();
            let runs = self.runs();
            if at.holders > 0 || runs.is_empty() {
                // The sender is in `self`.
                let _ = changing.changed().await;
                continue;
            }
            let ended = async {
                let mut ends = Ends::new();
                for run in &runs {
                    ends.push((run.plan.address.clone(), run.ended().await));
                }
                ends
            };
            tokio::select! {
                biased;
                _ = changing.changed() => {}
                ends = ended => return (at, ends),
            }
        }
    }

    /// All have ended, unless something has changed since.
    pub(crate) fn finish(&self, at: Changing) -> bool {
        let still = *self.changing.borrow() == at;
        if still {
            self.finished.store(at.begins, Ordering::Release);
        }
        still
    }

    /// Waits until one has begun since all had ended.
    pub(crate) async fn begun(&self) {
        let mut changing = self.changing.subscribe();
        let finished = &self.finished;
        let begun = changing.wait_for(|now| now.begins > finished.load(Ordering::Acquire));
        // The sender is in `self`.
        let _ = begun.await;
    }

    /// Waits until no source writes to its account any more. Its actor is gone by then; the task it had may still be being
    /// dropped.
    pub(crate) fn settled(&self) -> impl Future<Output = ()> {
        let runs = self.runs();
        async move {
            for run in runs {
                // How it ended is said elsewhere.
                let _ = run.ended().await;
            }
        }
    }
}
