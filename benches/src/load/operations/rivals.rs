//! The same round trip without our actors, for the scenario `call`.
//!
//! What each is, is said at the rows of the same names; here they are driven like everything else.

use std::sync::Arc;

use ractor::ActorRef;

use super::{Failed, Operation, Prepared, Running};
use crate::error::BenchError;
use crate::scenarios::closure::Mailbox;
#[cfg(feature = "rivals")]
use crate::scenarios::kameo;
use crate::scenarios::ractor::{Add, TokioPing, add, spawn_adder};
use crate::workbench::Workbench;

/// A way to call something that adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::load) enum Rival {
    /// A tokio channel there, a oneshot back; no wasm.
    Tokio,
    /// A bare ractor actor; no wasm.
    Ractor,
    /// A kameo actor; no wasm.
    #[cfg(feature = "rivals")]
    Kameo,
    /// A closure, sent to a task that owns a Store.
    Closure,
}

impl Rival {
    pub(in crate::load) const ALL: &[Self] = &[
        Self::Tokio,
        Self::Ractor,
        #[cfg(feature = "rivals")]
        Self::Kameo,
        Self::Closure,
    ];

    pub(in crate::load) const fn as_str(self) -> &'static str {
        match self {
            Self::Tokio => "tokio channels, no wasm",
            Self::Ractor => "ractor, no wasm",
            #[cfg(feature = "rivals")]
            Self::Kameo => "kameo, no wasm",
            Self::Closure => "closures to a Store",
        }
    }
}

/// Makes one.
pub(in crate::load) async fn rival(rival: Rival) -> Result<Prepared, BenchError> {
    let operation: Arc<dyn Operation> = match rival {
        Rival::Tokio => Arc::new(TokioPing::new()),
        Rival::Ractor => Arc::new(Bare(spawn_adder().await?)),
        #[cfg(feature = "rivals")]
        Rival::Kameo => Arc::new(kameo::Host::new()),
        Rival::Closure => {
            let bench = Workbench::new(None, false)?;
            Arc::new(Mailbox::start(&bench).await?)
        }
    };
    let system = None;
    Ok(Prepared { operation, system })
}

struct Bare(ActorRef<Add>);

impl Operation for TokioPing {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move { sum(self.ping().await) })
    }
}

impl Operation for Bare {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move { sum(add(&self.0, 2, 3).await) })
    }
}

#[cfg(feature = "rivals")]
impl Operation for kameo::Host {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move { sum(self.add(2, 3).await) })
    }
}

impl Operation for Mailbox {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move { sum(self.add(2, 3).await) })
    }
}

/// They have no typed errors of their own to count.
fn sum(answered: Result<u32, BenchError>) -> Result<(), Failed> {
    match answered {
        Ok(5) => Ok(()),
        Ok(other) => Err(Failed::Wrong(BenchError::failed("add", other))),
        Err(error) => Err(Failed::Wrong(error)),
    }
}
