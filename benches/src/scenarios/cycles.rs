//! Deployments there and back, under a load: what a process and its registry grow by from one cycle to the next.
//!
//! A cycle is one deployment that is rolled back and one that stays. Each row has a process of its own for all its
//! rounds: in this one, memory that other rows have given back would hide what stays. The child warms up until every
//! bounded store is full, and then is told, a line for each round, how many cycles to go through; it answers with what
//! there is more of. Rows are of each round's growth by its median: pages that the allocator keeps for once make a
//! round, what stays of every cycle makes all of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm_actors::Retention;
use serde::{Deserialize, Serialize};

use super::deploy::{Deploys, What};
use super::rss::Memory;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work, runtime};
use crate::rows::{Bar, Group, Make, RowSpec, Unit, latency, made};
use crate::workbench::callers::Callers;
use crate::workbench::{ChildCommand, Workbench};

const CYCLES: Group = Group::new("deploy.cycles");

const fn growth(name: &'static str, per_round: u64, make: Make) -> RowSpec {
    latency(name, CYCLES, per_round, make)
        .unit(Unit::Count)
        .single()
        .on_two()
}

pub(crate) const ROWS: &[RowSpec] = &[
    growth("deploy.cycles", 60, |bench| {
        made(async { Growth::new(bench, Of::Rss) })
    })
    .unit(Unit::Bytes)
    .bar(Bar::Median(RSS_BYTES_MAX)),
    growth("deploy.cycles.descriptors", 20, |bench| {
        made(async { Growth::new(bench, Of::Descriptors) })
    })
    .worst()
    .bar(Bar::Median(0.0)),
    growth("deploy.cycles.mappings", 20, |bench| {
        made(async { Growth::new(bench, Of::Mappings) })
    })
    .bar(Bar::Median(0.0)),
    growth("deploy.cycles.disk", 20, |bench| {
        made(async { Growth::new(bench, Of::Disk) })
    })
    .unit(Unit::Bytes)
    .worst()
    .bar(Bar::Median(0.0)),
];

/// What memory may grow by for each cycle: what the allocator keeps because it is in pieces is about a third of it in the
/// first thousand cycles, and becomes less.
const RSS_BYTES_MAX: f64 = 1_024.0;

/// Cycles before anything is counted: by then every bounded store is full, the remembered rollouts above all.
const WARM_UP: u64 = 80;

/// What the child keeps of the history: less than the warm-up makes.
const RETENTION: Retention = Retention {
    keep_last: 10,
    keep_for: Duration::ZERO,
};

/// How long what a deployment leaves to end behind it may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// The mode of the child: what its second argument is.
pub const CYCLES_MODE: &str = "cycles";

/// Begins the child's lines: a test harness may print around them.
const MARK: &str = "cycles-child ";

/// What a row is of.
#[derive(Clone, Copy)]
enum Of {
    Rss,
    Descriptors,
    Mappings,
    Disk,
}

/// What a process and its registry hold, as the child says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    rss_bytes: u64,
    descriptors: u64,
    mappings: u64,
    disk_bytes: u64,
}

impl Held {
    fn now(state: &Path) -> Result<Self, BenchError> {
        let what = "reading what this process holds";
        let descriptors = fs::read_dir("/proc/self/fd").or_failed(what)?.count();
        let mappings = fs::read_to_string("/proc/self/maps").or_failed(what)?;
        Ok(Self {
            rss_bytes: Memory::now()?.rss_bytes,
            descriptors: number(descriptors),
            mappings: number(mappings.lines().count()),
            disk_bytes: bytes_in(state)?,
        })
    }

    fn of(self, of: Of) -> u64 {
        match of {
            Of::Rss => self.rss_bytes,
            Of::Descriptors => self.descriptors,
            Of::Mappings => self.mappings,
            Of::Disk => self.disk_bytes,
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The bytes of all files in a directory and below it.
fn bytes_in(directory: &Path) -> Result<u64, BenchError> {
    let what = "reading the registry's directory";
    let mut bytes = 0;
    for entry in fs::read_dir(directory).or_failed(what)? {
        let entry = entry.or_failed(what)?;
        let data = entry.metadata().or_failed(what)?;
        bytes += if data.is_dir() {
            bytes_in(&entry.path())?
        } else {
            data.len()
        };
    }
    Ok(bytes)
}

/// One of the rows, and the process it is measured in.
struct Growth {
    of: Of,
    child: Cycling,
    before: Option<Held>,
}

impl Growth {
    fn new(bench: &Workbench, of: Of) -> Result<Self, BenchError> {
        let command = bench
            .child
            .as_ref()
            .ok_or_else(|| BenchError::failed("counting cycles", "no program to run as a child"))?;
        Ok(Self {
            of,
            child: Cycling::start(command, bench.fewer(WARM_UP))?,
            before: None,
        })
    }
}

impl Scenario for Growth {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let before = match self.before {
                Some(before) => before,
                // What it holds once it has warmed up.
                None => self.child.cycles(0)?,
            };
            let after = self.child.cycles(operations)?;
            self.before = Some(after);
            let more = after.of(self.of).saturating_sub(before.of(self.of));
            samples.record_number(match self.of {
                Of::Rss | Of::Disk => more / operations.max(1),
                Of::Descriptors | Of::Mappings => more,
            });
            Ok(())
        })
    }
}

/// The child, which ends with its input.
struct Cycling {
    child: Child,
    /// `None` once it is told to end.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Cycling {
    fn start(command: &ChildCommand, warm_up: u64) -> Result<Self, BenchError> {
        let what = "starting the child that deploys";
        let mut program = Command::new(&command.program);
        program
            .args(&command.args)
            .args([warm_up.to_string().as_str(), CYCLES_MODE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        // What a terminal sends all its processes is for this one to decide on: it finishes its round.
        std::os::unix::process::CommandExt::process_group(&mut program, 0);
        let mut child = program.spawn().or_failed(what)?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let from = from.ok_or_else(|| BenchError::failed(what, "it has no output"))?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from),
        })
    }

    /// Goes through so many cycles; what it holds then.
    fn cycles(&mut self, count: u64) -> Result<Held, BenchError> {
        let what = "the child that deploys";
        if let Some(to) = &mut self.to {
            writeln!(to, "{count}").or_failed(what)?;
        }
        let mut line = String::new();
        loop {
            line.clear();
            if self.from.read_line(&mut line).or_failed(what)? == 0 {
                return Err(BenchError::failed(what, "it has ended"));
            }
            if let Some((_, json)) = line.split_once(MARK) {
                return serde_json::from_str(json).or_failed(what);
            }
        }
    }
}

impl Drop for Cycling {
    fn drop(&mut self) {
        // It stops its application, removes its directory and ends.
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// Runs as the child: deploys so often to warm up, then for every line of its input as often as it says, and prints what
/// it holds then. Ends with its input.
///
/// # Errors
/// [`BenchError`] if a deployment does not end as it has to, or the machine does not tell what it holds.
pub fn cycles_child(warm_up: u64) -> Result<(), BenchError> {
    runtime(2)?.block_on(async {
        let mut deploys = Deploys::keeping(What::Warm, RETENTION).await?;
        go_through(&mut deploys, warm_up).await?;
        // It waits for what to do with nothing else to do.
        for line in std::io::stdin().lines() {
            let count = line.or_failed("reading what to do")?;
            let count = count.trim().parse().or_failed("reading what to do")?;
            go_through(&mut deploys, count).await?;
            let held = Held::now(&deploys.state())?;
            let json = serde_json::to_string(&held).or_failed("writing JSON")?;
            println!("{MARK}{json}");
        }
        Box::new(deploys).finish().await
    })
}

async fn go_through(deploys: &mut Deploys, cycles: u64) -> Result<(), BenchError> {
    let mut samples = Samples::new()?;
    let callers = deploys.callers();
    for _ in 0..cycles {
        deploys.there_and_back(&mut samples).await?;
    }
    Callers::end(callers).await?;
    let settled = tokio::time::timeout(SETTLED_WITHIN, deploys.settled());
    settled.await.or_failed("instances that are to end")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis();
    deploys
        .collect(u64::try_from(now).unwrap_or(u64::MAX))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::scratch::Scratch;

    #[test]
    fn what_is_held_more_is_seen() {
        let scratch = Scratch::new().unwrap();
        let state = scratch.path();
        let before = Held::now(state).unwrap();
        fs::create_dir(state.join("below")).unwrap();
        fs::write(state.join("below/file"), [0; 1_000]).unwrap();
        let open: Vec<_> = (0..100)
            .map(|_| fs::File::open(state.join("below/file")).unwrap())
            .collect();
        let memory = vec![1_u8; 64 << 20];
        let after = Held::now(state).unwrap();
        assert_eq!(after.disk_bytes, before.disk_bytes + 1_000);
        // Other tests of this process open and close some, too.
        assert!(after.descriptors > before.descriptors + 50, "{after:?}");
        assert!(after.rss_bytes > before.rss_bytes + (32 << 20), "{after:?}");
        assert!(after.mappings > 10);
        drop((open, memory));
    }
}
