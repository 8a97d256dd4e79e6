//! How each row is measured: one small file for each group of them.
//!
//! A scenario owns what it calls, does so many operations a round, and records what each took. What is timed is
//! between two `Instant`s around the operation itself; preparing and taking down is outside.

mod ask;
mod call;
mod load;
mod payload;
mod ractor;
mod raw;
mod restart;
pub(crate) mod rss;
mod spawn;

use crate::error::BenchError;
use crate::harness::Scenario;
use crate::workbench::Workbench;

/// Makes the scenario of a row, on the runtime that its rounds will run on.
///
/// # Errors
/// [`BenchError`] if there is no such row, or its actors do not start.
pub async fn scenario(row: &str, bench: &Workbench) -> Result<Box<dyn Scenario>, BenchError> {
    Ok(match row {
        "raw.call" => Box::new(raw::Call::new(bench).await?),
        "raw.call-val" => Box::new(raw::CallVal::new(bench).await?),
        "raw.call-async" => Box::new(raw::CallAsync::new(bench).await?),
        "raw.echo.64k" => Box::new(raw::Echo::new(bench).await?),
        "raw.cycle" => Box::new(raw::Cycle::new(bench)),
        "raw.trap" => Box::new(raw::Trap::new(bench)),
        "tokio.ping" => Box::new(ractor::TokioPing::new()),
        "ractor.call.host" => Box::new(ractor::Host::new().await?),
        "ractor.call.guest" => Box::new(ractor::Guest::new(bench).await?),
        "ractor.call.guest.inside" => Box::new(ractor::GuestInside::new(bench).await?),
        "call.actor" => Box::new(call::Actor::new(bench).await?),
        "ask.idle" => Box::new(ask::Link::idle(bench).await?),
        "ask.queued" => Box::new(ask::Link::queued(bench).await?),
        "payload.64k" => Box::new(payload::Linked::new(bench).await?),
        "spawn.ready" => Box::new(spawn::Ready::new(bench).await?),
        "restart.first-reply" => Box::new(restart::FirstReply::new(bench).await?),
        "rss.fresh" | "rss.fresh.1k" => Box::new(rss::PerActor::new(bench, false)?),
        "rss.called" | "rss.called.1k" => Box::new(rss::PerActor::new(bench, true)?),
        "load.compile" => Box::new(load::Load::compiling(bench)?),
        "load.cached" => Box::new(load::Load::cached(bench)?),
        other => {
            return Err(BenchError::UnknownRow {
                which: other.to_owned(),
            });
        }
    })
}

/// What a guest returned is looked at: a wrong answer measured fast is worth nothing.
fn expect<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), BenchError> {
    if found == expected {
        Ok(())
    } else {
        Err(BenchError::failed(
            what,
            format_args!("expected {expected:?}, found {found:?}"),
        ))
    }
}
