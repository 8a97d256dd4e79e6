//! The operations of the built-in scenarios.
//!
//! Operations that run at a time have actors of their own where the scenario is of one after the other (`ask`,
//! `payload`, `pipeline`, `spawn`, `restart`), and share one where it is of many to one (`call`, `cast`, `fan-in`).

use airssys_wasm::Args;
use airssys_wasm_actors::{ActorFunction, ActorRef, SendError};
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::guests::{Guests, function};
use super::{Failed, Operation, Prepared, Running, answer};
use crate::error::BenchError;
use crate::load::{LoadScenario, Sizes};

/// Casts of one operation, before the call that ends behind them.
const CASTS: u32 = 64;

/// Makes the operation of a scenario, for so many at a time.
pub(in crate::load) async fn built_in(
    scenario: LoadScenario,
    sizes: &Sizes,
    at_a_time: usize,
) -> Result<Prepared, BenchError> {
    let room = u32::try_from(at_a_time).unwrap_or(u32::MAX);
    let instances = match scenario {
        LoadScenario::Pipeline => room.saturating_mul(sizes.stages),
        LoadScenario::FanOut => sizes.receivers,
        LoadScenario::Density => sizes.actors,
        _ => room.saturating_mul(4),
    };
    let guests = Guests::new(instances.saturating_add(64), false).await?;
    let system = guests.system.clone();
    Ok(match scenario {
        LoadScenario::Call => {
            let add = function(&guests.adder("adder").await?, "add")?;
            Prepared::on(system, Call(add))
        }
        LoadScenario::Ask => {
            let ask = of_pairs(&guests, at_a_time, "ask").await?;
            Prepared::on(system, Ask(ask))
        }
        LoadScenario::Cast | LoadScenario::FanIn => {
            let add = function(&guests.adder("adder").await?, "add")?;
            Prepared::on(system, Cast(add))
        }
        LoadScenario::FanOut => {
            let mut adders = Vec::new();
            for number in 0..sizes.receivers {
                let adder = guests.adder(&format!("adder/{number}")).await?;
                adders.push(function(&adder, "add")?);
            }
            Prepared::on(system, FanOut(adders))
        }
        LoadScenario::Pipeline => {
            let mut chains = Vec::with_capacity(at_a_time);
            for number in 0..at_a_time {
                let chain = guests.chain(number, sizes.stages).await?;
                chains.push(function(&chain, "add")?);
            }
            let messages = sizes.stages;
            Prepared::on(system, Pipeline { chains, messages })
        }
        LoadScenario::Payload => {
            let echo = of_pairs(&guests, at_a_time, "echo-through").await?;
            Prepared::on(system, Payload::new(echo, 1024))
        }
        LoadScenario::Spawn => {
            let function = "add";
            Prepared::on(system, Spawn { guests, function })
        }
        LoadScenario::Restart => {
            let restart = Restart::new(&guests, at_a_time).await?;
            Prepared::on(system, restart)
        }
        LoadScenario::Density => {
            let density = Density::new(&guests, sizes.actors).await?;
            Prepared::on(system, density)
        }
        LoadScenario::Mixed => {
            let mixed = Mixed::new(&guests, at_a_time).await?;
            Prepared::on(system, mixed)
        }
    })
}

/// Makes the operation of `payload` with so many bytes.
pub(in crate::load) async fn payload(bytes: u32, at_a_time: usize) -> Result<Prepared, BenchError> {
    let room = u32::try_from(at_a_time).unwrap_or(u32::MAX);
    // A message of 1 MiB is more than the standard class lets a guest hand over at once.
    let guests = Guests::new(room.saturating_mul(2).saturating_add(64), true).await?;
    let echo = of_pairs(&guests, at_a_time, "echo-through").await?;
    Ok(Prepared::on(
        guests.system.clone(),
        Payload::new(echo, bytes),
    ))
}

async fn of_pairs(
    guests: &Guests,
    pairs: usize,
    name: &str,
) -> Result<Vec<ActorFunction>, BenchError> {
    let mut functions = Vec::with_capacity(pairs);
    for number in 0..pairs {
        functions.push(function(&guests.pair(number).await?, name)?);
    }
    Ok(functions)
}

/// The worker's own.
fn of<T>(all: &[T], worker: usize) -> Result<&T, Failed> {
    all.get(worker).ok_or_else(|| {
        Failed::Wrong(BenchError::failed(
            "driving",
            "more operations at a time than was said",
        ))
    })
}

async fn add(function: &ActorFunction) -> Result<(), Failed> {
    let reply = function.call((2_u32, 3_u32)).await?;
    answer("add", reply, &(5_u32,))
}

struct Call(ActorFunction);

impl Operation for Call {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(add(&self.0))
    }
}

struct Ask(Vec<ActorFunction>);

impl Operation for Ask {
    fn run(&self, worker: usize, _: u64) -> Running<'_> {
        Box::pin(async move { add(of(&self.0, worker)?).await })
    }

    /// To the caller, and from it to the callee.
    fn messages(&self) -> u32 {
        2
    }
}

struct Cast(ActorFunction);

impl Operation for Cast {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            for _ in 0..CASTS {
                self.0
                    .cast((2_u32, 3_u32))
                    .map_err(|error: SendError| Failed::Typed(error.why.kind()))?;
            }
            // Of one sender's messages none overtakes another: when this has answered, all have been handled.
            add(&self.0).await
        })
    }

    fn messages(&self) -> u32 {
        CASTS + 1
    }
}

struct FanOut(Vec<ActorFunction>);

impl Operation for FanOut {
    fn run(&self, _: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            try_join_all(self.0.iter().map(add)).await?;
            Ok(())
        })
    }

    fn messages(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

struct Pipeline {
    chains: Vec<ActorFunction>,
    messages: u32,
}

impl Operation for Pipeline {
    fn run(&self, worker: usize, _: u64) -> Running<'_> {
        Box::pin(async move { add(of(&self.chains, worker)?).await })
    }

    fn messages(&self) -> u32 {
        self.messages
    }
}

struct Payload {
    echo: Vec<ActorFunction>,
    payload: Bytes,
}

impl Payload {
    fn new(echo: Vec<ActorFunction>, bytes: u32) -> Self {
        let payload = Bytes::from(vec![0x5a; usize::try_from(bytes).unwrap_or(0)]);
        Self { echo, payload }
    }
}

impl Operation for Payload {
    fn run(&self, worker: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            let reply = of(&self.echo, worker)?
                .call((self.payload.clone(),))
                .await?;
            answer("echo-through", reply, &(self.payload.len() as u64,))
        })
    }

    fn messages(&self) -> u32 {
        2
    }
}

struct Spawn {
    guests: Guests,
    function: &'static str,
}

impl Spawn {
    async fn answers(&self, actor: &ActorRef) -> Result<(), Failed> {
        let reply: Args = actor.call(self.function, (2_u32, 3_u32)).await?;
        answer("add", reply, &(5_u32,))
    }
}

impl Operation for Spawn {
    fn run(&self, worker: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            let spec = self.guests.adder_spec(&format!("spawned/{worker}"));
            let spawned = self.guests.system.spawn(spec.map_err(Failed::Wrong)?).await;
            let actor = spawned
                .map_err(|error| Failed::Wrong(BenchError::failed("spawning an actor", error)))?;
            let answered = self.answers(&actor).await;
            // Whatever it answered: the next one has its name.
            let stopped = self.guests.stop(actor.address()).await;
            answered.and(stopped.map_err(Failed::Wrong))
        })
    }
}

/// Traps, and adds.
struct Restart(Vec<(ActorFunction, ActorFunction)>);

impl Restart {
    async fn new(guests: &Guests, at_a_time: usize) -> Result<Self, BenchError> {
        let mut actors = Vec::with_capacity(at_a_time);
        for number in 0..at_a_time {
            let actor = guests.adder(&format!("restarted/{number}")).await?;
            actors.push((function(&actor, "trap")?, function(&actor, "add")?));
        }
        Ok(Self(actors))
    }
}

impl Operation for Restart {
    fn run(&self, worker: usize, _: u64) -> Running<'_> {
        Box::pin(async move {
            let (trap, after) = of(&self.0, worker)?;
            match trap.call(()).await {
                Err(error) if error.kind() == "callee-died" => add(after).await,
                Err(error) => Err(error.into()),
                Ok(_) => Err(Failed::Wrong(BenchError::failed("trap", "it answered"))),
            }
        })
    }

    fn messages(&self) -> u32 {
        2
    }
}

struct Density(Vec<ActorFunction>);

impl Density {
    async fn new(guests: &Guests, actors: u32) -> Result<Self, BenchError> {
        let mut functions = Vec::new();
        for number in 0..actors {
            let actor: ActorRef = guests.adder(&format!("idle/{number}")).await?;
            functions.push(function(&actor, "add")?);
        }
        Ok(Self(functions))
    }
}

impl Operation for Density {
    fn run(&self, worker: usize, number: u64) -> Running<'_> {
        let count = u64::try_from(self.0.len()).unwrap_or(1).max(1);
        let chosen = mixed_up(number ^ ((worker as u64) << 48)) % count;
        let chosen = usize::try_from(chosen).unwrap_or(0);
        Box::pin(async move { add(of(&self.0, chosen)?).await })
    }
}

/// The same for the same number, and evenly spread: the last step of splitmix64.
fn mixed_up(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

struct Mixed {
    call: Call,
    ask: Ask,
    payload: Payload,
    cast: ActorFunction,
    restart: Restart,
}

impl Mixed {
    async fn new(guests: &Guests, at_a_time: usize) -> Result<Self, BenchError> {
        let mut asks = Vec::with_capacity(at_a_time);
        let mut echoes = Vec::with_capacity(at_a_time);
        for number in 0..at_a_time {
            let caller = guests.pair(number).await?;
            asks.push(function(&caller, "ask")?);
            echoes.push(function(&caller, "echo-through")?);
        }
        Ok(Self {
            call: Call(function(&guests.adder("called").await?, "add")?),
            ask: Ask(asks),
            payload: Payload::new(echoes, 1024),
            cast: function(&guests.adder("cast").await?, "add")?,
            restart: Restart::new(guests, at_a_time).await?,
        })
    }
}

impl Operation for Mixed {
    fn run(&self, worker: usize, number: u64) -> Running<'_> {
        // Spread, so that the rare ones do not come together.
        match mixed_up(number) % 100 {
            0..70 => self.call.run(worker, number),
            70..90 => self.ask.run(worker, number),
            90..95 => self.payload.run(worker, number),
            95..99 => Box::pin(async move {
                self.cast
                    .cast((2_u32, 3_u32))
                    .map_err(|error| Failed::Typed(error.why.kind()))
            }),
            _ => self.restart.run(worker, number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_actor_that_fails_is_stopped_too_and_the_next_one_is_spawned() {
        let guests = Guests::new(8, false).await.unwrap();
        let system = guests.system.clone();
        // It has other parameters, so that every call of it is refused.
        let function = "trap";
        let spawn = Spawn { guests, function };
        for number in 0..3 {
            let failed = spawn.run(0, number).await.unwrap_err();
            assert!(matches!(failed, Failed::Typed(_)), "{number}: {failed:?}");
        }
        while system.engine().instances() != 0 {
            tokio::task::yield_now().await;
        }
        system.shutdown().await;
    }
}
