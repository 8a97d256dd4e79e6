//! Memory of an idle actor: what a process grows by when it starts very many.
//!
//! Every round is a process of its own, because memory that was once used is not given back. The child starts a
//! system, warms it up with one actor, reads its memory, starts the actors, reads again, and says the
//! difference for one. Resident memory is `Rss` of `smaps_rollup`, which walks the mappings (`VmRSS` is a
//! counter that lags); page tables are `VmPTE`.

use std::fs;
use std::process::{Command, Stdio};

use airssys_wasm::{CacheLocation, ComponentRef, EngineConfig};
use airssys_wasm_actors::{ActorRef, ChildSpec, System};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work, runtime};
use crate::machine::field;
use crate::rows::{Bar, Group, RowSpec, made, memory};
use crate::workbench::{self, ADDER, ChildCommand, Workbench, address};

/// Memory of an idle actor.
const RSS: Group = Group::new("rss");

pub(crate) const ROWS: &[RowSpec] = &[
    memory("rss.fresh.1k", RSS, 1_000, |bench| {
        made(PerActor::fresh(bench))
    }),
    memory("rss.called.1k", RSS, 1_000, |bench| {
        made(PerActor::called(bench))
    }),
    memory("rss.fresh", RSS, 10_000, |bench| {
        made(PerActor::fresh(bench))
    })
    .bar(Bar::Median(16.0)),
    memory("rss.called", RSS, 10_000, |bench| {
        made(PerActor::called(bench))
    })
    .bar(Bar::Median(24.0)),
];

/// Actors started by one message to their supervisor: the specs of all 10,000 at once would be measured too.
const STARTED_TOGETHER: u64 = 100;

/// What the child says, on a line of its own.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Growth {
    actors: u64,
    rss_bytes: u64,
    page_tables_kib: u64,
}

/// Begins the child's line: a test harness may print around it.
const MARK: &str = "rss-child ";

/// `rss.fresh` and `rss.called`.
pub(super) struct PerActor {
    child: ChildCommand,
    called: bool,
}

impl PerActor {
    async fn fresh(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, false)
    }

    async fn called(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, true)
    }

    fn new(bench: &Workbench, called: bool) -> Result<Self, BenchError> {
        let child = bench.child.clone().ok_or_else(|| {
            BenchError::failed("measuring memory", "no program to run as a child")
        })?;
        Ok(Self { child, called })
    }

    fn measure(&self, actors: u64) -> Result<Growth, BenchError> {
        let mode = if self.called { "called" } else { "fresh" };
        let mut command = Command::new(&self.child.program);
        command
            .args(&self.child.args)
            .args([actors.to_string().as_str(), mode])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        // What a terminal sends all its processes is for this one to decide on: it finishes its round.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let out = command
            .output()
            .or_failed("running the child that measures memory")?;
        let text = String::from_utf8_lossy(&out.stdout);
        let said = text.lines().find_map(|line| line.split_once(MARK));
        let (_, json) = said.ok_or_else(|| {
            BenchError::failed(
                "the child that measures memory",
                format_args!("{}: {text}", out.status),
            )
        })?;
        serde_json::from_str(json).or_failed("what the child says")
    }
}

impl Scenario for PerActor {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let growth = self.measure(operations)?;
            let actors = growth.actors.max(1);
            #[expect(clippy::cast_precision_loss, reason = "some MiB and some thousands")]
            let page_tables = growth.page_tables_kib as f64 / actors as f64;
            samples.record_memory(growth.rss_bytes / actors, page_tables);
            Ok(())
        })
    }
}

/// Runs as the child: starts so many actors, calls each once if `called`, and prints what that took.
///
/// # Errors
/// [`BenchError`] if the machine has no room for them, or does not tell.
pub fn rss_child(actors: u64, called: bool) -> Result<(), BenchError> {
    let growth = runtime(1)?.block_on(grow(actors, called))?;
    let json = serde_json::to_string(&growth).or_failed("writing JSON")?;
    // A pipe; the parent reads it to its end.
    println!("{MARK}{json}");
    Ok(())
}

async fn grow(actors: u64, called: bool) -> Result<Growth, BenchError> {
    let instances = EngineConfig::default().pool_instances_max;
    let engine = workbench::engine(instances, CacheLocation::Off)?;
    let adder = ComponentRef::Bytes(Bytes::from_static(ADDER));
    let adder = engine.load(&adder).or_failed("loading the adder")?;
    let template = workbench::template(&adder, "adder", &[])?;
    let system = workbench::start_system(engine, true).await?;
    let spec = |number: u64| {
        Ok(ChildSpec::component(
            address(&format!("idle/{number}"))?,
            template.clone(),
        ))
    };

    let warm = start(&system, vec![spec(actors)?]).await?;
    call(&warm).await?;
    let before = Memory::now()?;

    let mut number = 0;
    while number < actors {
        let next = (number + STARTED_TOGETHER).min(actors);
        let children = (number..next)
            .map(spec)
            .collect::<Result<_, BenchError>>()?;
        let started = start(&system, children).await?;
        if called {
            call(&started).await?;
        }
        number = next;
    }

    let after = Memory::now()?;
    system.shutdown().await;
    Ok(Growth {
        actors,
        rss_bytes: after.rss_bytes.saturating_sub(before.rss_bytes),
        page_tables_kib: after.page_tables_kib.saturating_sub(before.page_tables_kib),
    })
}

async fn start(system: &System, children: Vec<ChildSpec>) -> Result<Vec<ActorRef>, BenchError> {
    system
        .supervisor()
        .start(children)
        .await
        .or_failed("starting the actors")
}

async fn call(actors: &[ActorRef]) -> Result<(), BenchError> {
    for actor in actors {
        actor
            .call("add", (2_u32, 3_u32))
            .await
            .or_failed("calling an actor")?;
    }
    Ok(())
}

/// What the kernel says of this process.
pub(super) struct Memory {
    pub(super) rss_bytes: u64,
    page_tables_kib: u64,
}

impl Memory {
    pub(super) fn now() -> Result<Self, BenchError> {
        let kib = |path: &'static str, name: &'static str| {
            let text = fs::read_to_string(path).or_failed("reading this process's memory")?;
            field(&text, name)
                .and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok())
                .ok_or_else(|| BenchError::failed("reading this process's memory", name))
        };
        Ok(Self {
            rss_bytes: kib("/proc/self/smaps_rollup", "Rss")? * 1024,
            page_tables_kib: kib("/proc/self/status", "VmPTE")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let memory = Memory::now().unwrap();
        assert!(memory.rss_bytes > 1 << 20);
        assert!(memory.page_tables_kib > 0);
    }
}
