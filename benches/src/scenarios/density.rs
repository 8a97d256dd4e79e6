//! Very many idle actors: what a call of one of them costs, chosen at random.
//!
//! The engine has the dense profile and a pool with room for all. Each actor has been called once before anything is
//! timed. A machine without room for them is asked first, because a process that runs out of mappings is aborted: the row
//! is skipped, with what raises the limit.

use std::time::Instant;

use airssys_wasm::{
    CacheLocation, ComponentRef, Engine, EngineConfig, FromArgs, Machine, Needs, Profile,
};
use airssys_wasm_actors::{ActorFunction, ChildSpec, System};
use bytes::Bytes;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::{self, ADDER, Workbench, address};

/// Very many actors.
const DENSITY: Group = Group::new("density");

pub(crate) const ROWS: &[RowSpec] = &[
    latency("density.1k", DENSITY, 20_000, |bench| {
        made(AtRandom::new(bench, 1_000))
    })
    .p99(),
    latency("density.100k", DENSITY, 20_000, |bench| {
        made(AtRandom::new(bench, 100_000))
    })
    .p99()
    .against(&["density.1k"])
    .bar(Bar::Ratio(2.0)),
];

/// Room in the pool beside the actors that are measured.
const SPARE: u64 = 16;

/// Actors started by one message to their supervisor.
const STARTED_TOGETHER: u64 = 1_000;

/// `density.1k` and `density.100k`; a hundredth of the actors in a quick run.
struct AtRandom {
    system: System,
    actors: Vec<ActorFunction>,
    chosen: u64,
}

impl AtRandom {
    async fn new(bench: &Workbench, actors: u64) -> Result<Self, BenchError> {
        let actors = if bench.quick { actors / 100 } else { actors };
        if let Some(why) = no_room(&Machine::read(), actors) {
            return Err(BenchError::skipped(why));
        }
        let engine = Engine::new(EngineConfig {
            profile: Profile::Dense,
            pool_instances_max: u32::try_from(actors + SPARE).unwrap_or(u32::MAX),
            cache: CacheLocation::Off,
            ..EngineConfig::default()
        })
        .or_failed("making an engine")?;
        let adder = ComponentRef::Bytes(Bytes::from_static(ADDER));
        let adder = engine.load(&adder).or_failed("loading the adder")?;
        let template = workbench::template(&adder, "adder", &[])?;
        let system = workbench::start_system(engine, true).await?;
        let mut functions = Vec::new();
        let mut number = 0;
        while number < actors {
            let next = (number + STARTED_TOGETHER).min(actors);
            let children = (number..next)
                .map(|number| {
                    let name = address(&format!("idle/{number}"))?;
                    Ok(ChildSpec::component(name, template.clone()))
                })
                .collect::<Result<_, BenchError>>()?;
            let started = system.supervisor().start(children).await;
            for actor in started.or_failed("starting the actors")? {
                let add = actor.function("add").or_failed("resolving add")?;
                call(&add).await?;
                functions.push(add);
            }
            number = next;
        }
        Ok(Self {
            system,
            actors: functions,
            chosen: 1,
        })
    }

    /// The next of a sequence that is the same in every run and looks like chance (xorshift).
    fn choose(&mut self) -> Result<&ActorFunction, BenchError> {
        self.chosen ^= self.chosen << 13;
        self.chosen ^= self.chosen >> 7;
        self.chosen ^= self.chosen << 17;
        let actors = u64::try_from(self.actors.len()).unwrap_or(1).max(1);
        let at = usize::try_from(self.chosen % actors).unwrap_or(0);
        let none = || BenchError::failed("choosing an actor", "there is none");
        self.actors.get(at).ok_or_else(none)
    }
}

async fn call(add: &ActorFunction) -> Result<(), BenchError> {
    let reply = add.call((2_u32, 3_u32)).await;
    let sum = <(u32,)>::from_args(reply.or_failed("calling an actor")?);
    expect("an idle actor", sum, Ok((5,)))
}

/// Which limit of this machine is too low for so many actors, and what raises it: `airssys doctor` in one line.
fn no_room(machine: &Machine, actors: u64) -> Option<String> {
    let needs = Needs::of(Profile::Dense, actors);
    let mappings = needs.mappings + machine.mappings_used.unwrap_or(0);
    if let Some(max) = machine.mappings_max.filter(|max| *max < mappings) {
        let raised = mappings.checked_next_power_of_two().unwrap_or(mappings);
        return Some(format!(
            "vm.max_map_count is {max}, and {actors} actors need {mappings}: sudo sysctl -w \
             vm.max_map_count={raised} (airssys doctor --actors {actors} says all)"
        ));
    }
    let available = machine.memory_available.into_iter();
    let available = available.chain(machine.group_memory_available).min();
    if let Some(available) = available.filter(|available| *available < needs.memory) {
        return Some(format!(
            "{} MiB of memory are available, and {actors} actors need {} (airssys doctor --actors {actors} \
             says all)",
            available >> 20,
            needs.memory >> 20
        ));
    }
    None
}

impl Scenario for AtRandom {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let add = self.choose()?;
                let began = Instant::now();
                let reply = add.call((2_u32, 3_u32)).await;
                samples.record(began.elapsed(), 1);
                let sum = <(u32,)>::from_args(reply.or_failed("calling an actor")?);
                expect("an idle actor", sum, Ok((5,)))?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_room_is_told_what_raises_its_limit() {
        let mut machine = Machine::read();
        machine.mappings_max = Some(65_530);
        machine.mappings_used = Some(100);
        let why = no_room(&machine, 100_000).unwrap();
        assert!(why.contains("vm.max_map_count is 65530"), "{why}");
        assert!(why.contains("need 603100"), "{why}");
        assert!(why.contains("sysctl -w vm.max_map_count=1048576"), "{why}");
        assert!(why.contains("doctor --actors 100000"), "{why}");

        machine.mappings_max = Some(1 << 20);
        machine.memory_available = Some(1 << 30);
        let why = no_room(&machine, 100_000).unwrap();
        assert!(why.contains("1024 MiB"), "{why}");
        machine.memory_available = Some(1 << 34);
        machine.group_memory_available = None;
        assert_eq!(no_room(&machine, 100_000), None);
    }
}
