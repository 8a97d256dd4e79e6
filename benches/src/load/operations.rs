//! What one operation of each scenario is, on the built-in guests or on a function of the user's own.
//!
//! An operation ends in an answer that is looked at, or in a typed error that is counted. A wrong answer ends the
//! run: its figures would mean nothing.

mod built_in;
mod guests;
mod rivals;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use airssys_wasm::{Args, FromArgs, Value};
use airssys_wasm_actors::{ActorFunction, CallError, CallOptions, System, SystemConfig};

use super::OwnFunction;
use crate::error::{BenchError, OrFailed};

pub(super) use built_in::{built_in, payload};
pub(super) use rivals::{Rival, rival};

/// An operation under way.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failed>> + Send + 'a>>;

/// What is driven. Tasks share it.
pub(super) trait Operation: Send + Sync {
    /// Does it once. Of those that run at a time each has another `worker`; `number` is never given twice in a
    /// phase.
    fn run(&self, worker: usize, number: u64) -> Running<'_>;

    /// Messages that it consists of.
    fn messages(&self) -> u32 {
        1
    }
}

/// How an operation ended that did not do what it was to.
#[derive(Debug)]
pub(super) enum Failed {
    /// In a typed error of this kind.
    Typed(&'static str),
    /// In something that must not be.
    Wrong(BenchError),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Typed(error.kind())
    }
}

/// An operation, and the system to shut down after it.
pub(super) struct Prepared {
    pub(super) operation: Arc<dyn Operation>,
    pub(super) system: Option<System>,
}

impl Prepared {
    fn on(system: System, operation: impl Operation + 'static) -> Self {
        Self {
            operation: Arc::new(operation),
            system: Some(system),
        }
    }
}

/// What came back, if it is what was expected.
fn answer<T>(what: &'static str, reply: Args, expected: &T) -> Result<(), Failed>
where
    T: FromArgs + PartialEq + std::fmt::Debug,
{
    let found = T::from_args(reply).or_failed(what);
    match found {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(Failed::Wrong(BenchError::failed(
            what,
            format_args!("expected {expected:?}, found {found:?}"),
        ))),
        Err(error) => Err(Failed::Wrong(error)),
    }
}

/// How an answer `err(…)` is counted: a function that refuses at once would look like a fast one.
const ANSWERED_ERR: &str = "err";

/// Calls of one function of the user's own. Whatever it answers is an answer, but for `err(…)`.
struct Own {
    function: ActorFunction,
    args: Args,
    options: CallOptions,
}

impl Operation for Own {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            let called = self.function.call_with(self.args.clone(), self.options);
            match called.await?.values() {
                [Value::Result(Err(_))] => Err(Failed::Typed(ANSWERED_ERR)),
                _ => Ok(()),
            }
        })
    }
}

/// Starts the user's application without its sources, in a system as `airssys up` starts it.
pub(super) async fn own(own: &OwnFunction) -> Result<Prepared, BenchError> {
    let system = System::start(SystemConfig::new(own.engine.clone()))
        .await
        .or_failed("starting a system")?;
    let started = resolved(own, &system).await;
    match started {
        Ok(function) => {
            let options = CallOptions {
                within: own.within,
                ..CallOptions::default()
            };
            let args = own.args.clone();
            Ok(Prepared::on(
                system,
                Own {
                    function,
                    args,
                    options,
                },
            ))
        }
        Err(error) => {
            system.shutdown().await;
            Err(error)
        }
    }
}

async fn resolved(own: &OwnFunction, system: &System) -> Result<ActorFunction, BenchError> {
    let application = own.application.clone().without_sources();
    let running = application
        .start(system)
        .await
        .map_err(|error| BenchError::NotStarted {
            why: error.to_string(),
        })?;
    let actor = running
        .actor(&own.actor)
        .ok_or_else(|| BenchError::failed("finding the actor", &own.actor))?;
    actor
        .function(&own.function)
        .or_failed("finding the function")
}
