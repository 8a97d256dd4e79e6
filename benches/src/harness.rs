//! Rounds: every row of a group once, in an order that rotates, on a runtime of so many workers.
//!
//! Owns [`Samples`] (what a row measures into), the [`Scenario`] trait, and the loop. The measuring code runs
//! as a task on a worker, never on the thread that waits for it, so that on one worker caller and callee share
//! a thread and on two they need not. Each row is warmed up by a tenth of a round that counts for nothing.
//! Figures become ratios in `report.rs`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use crate::error::{BenchError, OrFailed};
use crate::rows::{RowSpec, Stat, Unit};
use crate::stop::Stop;

/// Three significant digits: well below the noise, and 250 KiB a histogram.
const DIGITS: u8 = 3;
/// The largest sample: a quarter of an hour in nanoseconds, 1 TB in bytes.
const SAMPLE_MAX: u64 = 1_000_000_000_000;

fn histogram() -> Result<Histogram<u64>, BenchError> {
    Histogram::new_with_max(SAMPLE_MAX, DIGITS).or_failed("making a histogram")
}

/// What one row measured in one round.
pub struct Samples {
    histogram: Histogram<u64>,
    total: Duration,
    operations: u64,
    /// KiB of page tables for one actor, where that was measured.
    page_tables_kib: Option<f64>,
}

impl Samples {
    /// No samples yet.
    ///
    /// # Errors
    /// Never, unless the histogram's constants are wrong.
    pub fn new() -> Result<Self, BenchError> {
        let histogram = histogram()?;
        Ok(Self {
            histogram,
            total: Duration::ZERO,
            operations: 0,
            page_tables_kib: None,
        })
    }

    /// Records that so many operations took so long.
    ///
    /// They become one sample, their mean: operations near the clock's own cost are timed in batches. Of a row that
    /// is a rate, `took` is the time in which all of them happened, however many at a time.
    pub fn record(&mut self, took: Duration, operations: u64) {
        self.total += took;
        self.operations += operations;
        let nanoseconds = took.as_nanos() / u128::from(operations.max(1));
        self.histogram
            .saturating_record(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }

    /// Records the memory of one actor, in bytes, and of the page tables that map it.
    pub(crate) fn record_memory(&mut self, bytes: u64, page_tables_kib: f64) {
        self.histogram.saturating_record(bytes);
        self.page_tables_kib = Some(page_tables_kib);
    }

    /// Records a number of something that is no time: [`Unit::Count`](crate::Unit), [`Unit::Bytes`](crate::Unit), or
    /// thousandths of [`Unit::Points`](crate::Unit).
    pub(crate) fn record_number(&mut self, number: u64) {
        self.histogram.saturating_record(number);
    }

    /// Operations in a second.
    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let operations = self.operations as f64;
        operations / self.total.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// How long so many operations took: the recorded ones may be some more, because batches are whole.
    #[must_use]
    pub fn of(&self, operations: u64) -> Duration {
        let nanoseconds =
            self.total.as_nanos() * u128::from(operations) / u128::from(self.operations.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// Work of a scenario.
pub type Work<'a> = Pin<Box<dyn Future<Output = Result<(), BenchError>> + Send + 'a>>;

/// How one row is measured. Made once a group; its rounds run on the group's runtime.
pub trait Scenario: Send {
    /// Does `operations` operations and records what each took.
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a>;

    /// Stops what was started.
    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async { Ok(()) })
    }
}

/// One row and all that was measured of it.
pub(crate) struct Measured {
    pub(crate) spec: &'static RowSpec,
    pub(crate) threads: usize,
    /// One value a round, in the row's unit.
    pub(crate) rounds: Vec<f64>,
    /// The 99th percentile over all rounds, in the row's unit; a rate has none.
    pub(crate) p99: Option<f64>,
    /// Samples, or actors where those are counted.
    pub(crate) n: u64,
    pub(crate) page_tables_kib: Vec<f64>,
    /// Why it was not measured, if it was not.
    pub(crate) skipped: Option<String>,
}

/// How many rounds, and how much of each.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    /// Ends the rounds early: those that are whole count.
    pub(crate) stop: Stop,
    /// A hundredth of the usual operations.
    pub(crate) quick: bool,
}

impl Effort {
    /// Operations of a row in one round.
    pub(crate) fn operations(&self, spec: &RowSpec) -> u64 {
        if self.quick {
            (spec.per_round / 100).max(1)
        } else {
            spec.per_round
        }
    }
}

/// A row in the loop.
struct Running {
    spec: &'static RowSpec,
    /// `None` once it was skipped.
    scenario: Option<Box<dyn Scenario>>,
    skipped: Option<String>,
    histogram: Histogram<u64>,
    rounds: Vec<f64>,
    page_tables_kib: Vec<f64>,
}

/// A row whose scenario is made, or why it is skipped.
pub(crate) struct Prepared {
    pub(crate) spec: &'static RowSpec,
    pub(crate) scenario: Result<Box<dyn Scenario>, String>,
}

/// The rows of a group, ready to run.
pub(crate) struct GroupRun {
    rows: Vec<Running>,
    threads: usize,
    effort: Effort,
}

/// A runtime with so many workers; one is the thread that waits for it.
///
/// # Errors
/// If the operating system refuses threads or a timer.
pub fn runtime(threads: usize) -> Result<Runtime, BenchError> {
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().or_failed("starting a runtime")
}

impl GroupRun {
    pub(crate) fn new(
        rows: Vec<Prepared>,
        threads: usize,
        effort: Effort,
    ) -> Result<Self, BenchError> {
        let rows = rows
            .into_iter()
            .map(|Prepared { spec, scenario }| {
                let histogram = histogram()?;
                let (rounds, page_tables_kib) = (Vec::new(), Vec::new());
                let (scenario, skipped) = match scenario {
                    Ok(scenario) => (Some(scenario), None),
                    Err(why) => (None, Some(why)),
                };
                Ok(Running {
                    spec,
                    scenario,
                    skipped,
                    histogram,
                    rounds,
                    page_tables_kib,
                })
            })
            .collect::<Result<_, BenchError>>()?;
        Ok(Self {
            rows,
            threads,
            effort,
        })
    }

    /// Runs all rounds; `told` hears of each before it begins.
    pub(crate) fn run(
        mut self,
        runtime: &Runtime,
        told: &mut dyn FnMut(u32),
    ) -> Result<Vec<Measured>, BenchError> {
        // Round 0 warms up.
        for round in 0..=self.effort.rounds {
            if self.effort.stop.is_asked() {
                break;
            }
            told(round);
            let task = runtime.spawn(self.round(round));
            self = runtime.block_on(task).or_failed("a round panicked")??;
        }
        runtime
            .block_on(runtime.spawn(self.finish()))
            .or_failed("stopping panicked")?
    }

    async fn round(mut self, round: u32) -> Result<Self, BenchError> {
        let warming_up = round == 0;
        let first = usize::try_from(round).unwrap_or(0) % self.rows.len().max(1);
        self.rows.rotate_left(first);
        for row in &mut self.rows {
            let operations = self.effort.operations(row.spec);
            let operations = if warming_up {
                operations.div_ceil(10)
            } else {
                operations
            };
            let mut samples = Samples::new()?;
            // Processes of their own and compilers are as cold every time.
            if warming_up && row.spec.stat == Stat::Median {
                continue;
            }
            let Some(scenario) = &mut row.scenario else {
                continue;
            };
            match scenario.round(operations, &mut samples).await {
                Err(BenchError::Skipped { why }) => row.skip(why).await?,
                done => {
                    done?;
                    if !warming_up {
                        row.keep(&samples)?;
                    }
                }
            }
        }
        self.rows.rotate_right(first);
        Ok(self)
    }

    async fn finish(self) -> Result<Vec<Measured>, BenchError> {
        let mut measured = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let n = match row.spec.unit {
                _ if row.skipped.is_some() => 0,
                Unit::Nanoseconds
                | Unit::PerSecond
                | Unit::Milliseconds
                | Unit::Points
                | Unit::Bytes => row.histogram.len(),
                Unit::Kibibytes => self.effort.operations(row.spec),
                Unit::Count => self.effort.operations(row.spec) * row.histogram.len(),
            };
            let p99 = in_unit(row.spec.unit, row.histogram.value_at_quantile(0.99));
            measured.push(Measured {
                spec: row.spec,
                threads: self.threads,
                rounds: row.rounds,
                p99: (row.spec.stat != Stat::Rate && n > 0).then_some(p99),
                n,
                page_tables_kib: row.page_tables_kib,
                skipped: row.skipped,
            });
            if let Some(scenario) = row.scenario {
                scenario.finish().await?;
            }
        }
        Ok(measured)
    }
}

impl Running {
    async fn skip(&mut self, why: String) -> Result<(), BenchError> {
        self.skipped = Some(why);
        self.rounds.clear();
        match self.scenario.take() {
            Some(scenario) => scenario.finish().await,
            None => Ok(()),
        }
    }

    fn keep(&mut self, samples: &Samples) -> Result<(), BenchError> {
        if samples.histogram.is_empty() {
            return Err(BenchError::failed(self.spec.name, "it measured nothing"));
        }
        let quantile = |quantile| {
            in_unit(
                self.spec.unit,
                samples.histogram.value_at_quantile(quantile),
            )
        };
        self.rounds.push(match self.spec.stat {
            Stat::P50 | Stat::Median => quantile(0.5),
            Stat::P99 => quantile(0.99),
            Stat::Worst => quantile(1.0),
            Stat::Rate => samples.rate(),
        });
        self.page_tables_kib.extend(samples.page_tables_kib);
        self.histogram
            .add(&samples.histogram)
            .or_failed("adding histograms")
    }
}

/// Histograms hold nanoseconds or bytes.
fn in_unit(unit: Unit, value: u64) -> f64 {
    // 2^53 ns are a hundred days.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let value = value as f64;
    match unit {
        Unit::Nanoseconds | Unit::PerSecond | Unit::Count | Unit::Bytes => value,
        Unit::Milliseconds => value / 1e6,
        Unit::Points => value / 1e3,
        Unit::Kibibytes => value / 1024.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::rows::row;

    struct Fixed {
        name: &'static str,
        nanoseconds: u64,
        order: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Scenario for Fixed {
        fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
            Box::pin(async move {
                self.order.lock().unwrap().push(self.name);
                for _ in 0..operations {
                    samples.record(Duration::from_nanos(self.nanoseconds), 1);
                }
                Ok(())
            })
        }
    }

    #[test]
    fn rounds_rotate_and_every_row_runs_once_in_each() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let rows = [
            ("raw.call", 100),
            ("raw.call-val", 200),
            ("tokio.ping", 300),
        ]
        .map(|(name, nanoseconds)| {
            let scenario = Fixed {
                name,
                nanoseconds,
                order: Arc::clone(&order),
            };
            Prepared {
                spec: row(name).unwrap(),
                scenario: Ok(Box::new(scenario)),
            }
        });
        let effort = Effort {
            rounds: 2,
            quick: true,
            stop: Stop::default(),
        };
        let group = GroupRun::new(rows.into(), 1, effort).unwrap();
        let mut told = Vec::new();
        let measured = group
            .run(&runtime(1).unwrap(), &mut |round| told.push(round))
            .unwrap();
        assert_eq!(told, [0, 1, 2]);
        let order = order.lock().unwrap();
        assert_eq!(order[0..3], ["raw.call", "raw.call-val", "tokio.ping"]);
        assert_eq!(order[3..6], ["raw.call-val", "tokio.ping", "raw.call"]);
        assert_eq!(order[6..9], ["tokio.ping", "raw.call", "raw.call-val"]);
        assert_eq!(measured[1].rounds, [200.0, 200.0]);
        assert_eq!(measured[1].n, 2 * 1_000);
        assert_eq!(measured[2].spec.name, "tokio.ping");
    }

    #[test]
    fn a_batch_is_one_sample_of_its_mean() {
        let mut samples = Samples::new().unwrap();
        samples.record(Duration::from_nanos(6_400), 64);
        assert_eq!(samples.histogram.len(), 1);
        assert_eq!(samples.histogram.value_at_quantile(0.5), 100);
        assert_eq!(samples.of(32), Duration::from_nanos(3_200));
    }

    #[test]
    fn long_samples_are_not_cut() {
        let mut samples = Samples::new().unwrap();
        samples.record(Duration::from_secs(2), 1);
        let median = samples.histogram.value_at_quantile(0.5);
        assert!(median.abs_diff(2_000_000_000) < 2_000_000, "{median}");
    }
}
