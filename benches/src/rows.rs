//! The table of rows: what is measured, against what, and how good it has to be.
//!
//! Owns every name. Names are stable, because reports of different days are compared by them. How a row is
//! measured is in `scenarios/`; what it means is in `docs/benchmarks.md`.

use serde::Serialize;

/// What a row's figures are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Nanoseconds for one operation.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// KiB for one actor.
    #[serde(rename = "KiB")]
    Kibibytes,
}

/// What a row's `median` is taken over, in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stat {
    /// The round's p50 of many samples.
    #[serde(rename = "p50")]
    P50,
    /// The round's one sample.
    #[serde(rename = "median")]
    Median,
}

/// The most a row may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// Of its ratio to its baseline.
    Ratio(f64),
    /// Of its median, in its unit.
    Median(f64),
}

/// One row of the report.
#[derive(Debug)]
pub struct RowSpec {
    /// Its name.
    pub name: &'static str,
    /// The rows that are measured interleaved with it.
    pub group: Group,
    /// What it is counted in.
    pub unit: Unit,
    /// What its median is taken over.
    pub stat: Stat,
    /// The row of the same group that it is compared with.
    pub baseline: Option<&'static str>,
    /// How good it has to be.
    pub bar: Option<Bar>,
    /// Operations in one round.
    pub per_round: u64,
    /// The numbers of worker threads it is measured on.
    pub threads: &'static [usize],
}

/// Rows that are measured together, so that a slow minute slows all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The host calls.
    Call,
    /// A guest calls.
    Ask,
    /// 64 KiB there and back.
    Payload,
    /// Making an actor.
    Spawn,
    /// Trap, and again.
    Restart,
    /// Memory of an idle actor.
    Rss,
    /// Loading a component.
    Load,
}

impl Group {
    /// All groups, in the order they are measured.
    pub const ALL: [Self; 7] = [
        Self::Call,
        Self::Ask,
        Self::Payload,
        Self::Spawn,
        Self::Restart,
        Self::Rss,
        Self::Load,
    ];

    /// Returns the group's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Ask => "ask",
            Self::Payload => "payload",
            Self::Spawn => "spawn",
            Self::Restart => "restart",
            Self::Rss => "rss",
            Self::Load => "load",
        }
    }
}

const ONE: &[usize] = &[1];
const BOTH: &[usize] = &[1, 2];

const fn latency(name: &'static str, group: Group, per_round: u64) -> RowSpec {
    RowSpec {
        name,
        group,
        unit: Unit::Nanoseconds,
        stat: Stat::P50,
        baseline: None,
        bar: None,
        per_round,
        threads: BOTH,
    }
}

const fn memory(name: &'static str, actors: u64) -> RowSpec {
    RowSpec {
        name,
        group: Group::Rss,
        unit: Unit::Kibibytes,
        stat: Stat::Median,
        baseline: None,
        bar: None,
        per_round: actors,
        threads: ONE,
    }
}

impl RowSpec {
    const fn against(mut self, baseline: &'static str) -> Self {
        self.baseline = Some(baseline);
        self
    }

    const fn at_most(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    const fn on_one(mut self) -> Self {
        self.threads = ONE;
        self
    }

    const fn single(mut self) -> Self {
        self.stat = Stat::Median;
        self
    }

    /// Whether `which` (the beginning of a group's or a row's name) asks for it.
    #[must_use]
    pub fn is_asked_for(&self, which: &str) -> bool {
        which == "all" || self.name.starts_with(which) || self.group.as_str().starts_with(which)
    }
}

/// Every row, by group.
pub const ROWS: &[RowSpec] = &[
    latency("raw.call", Group::Call, 200_000).on_one(),
    latency("raw.call-val", Group::Call, 100_000)
        .on_one()
        .against("raw.call"),
    latency("raw.call-async", Group::Call, 100_000)
        .on_one()
        .against("raw.call"),
    latency("tokio.ping", Group::Call, 50_000),
    latency("ractor.call.host", Group::Call, 50_000).against("tokio.ping"),
    latency("call.actor", Group::Call, 50_000)
        .against("ractor.call.host")
        .at_most(Bar::Ratio(2.0)),
    latency("ractor.call.guest", Group::Ask, 64_000),
    latency("ractor.call.guest.inside", Group::Ask, 64_000).against("ractor.call.guest"),
    latency("ask.idle", Group::Ask, 64_000)
        .against("ractor.call.guest")
        .at_most(Bar::Ratio(1.6)),
    latency("ask.queued", Group::Ask, 64_000).against("ractor.call.guest"),
    latency("raw.echo.64k", Group::Payload, 2_000),
    latency("payload.64k", Group::Payload, 2_000)
        .against("raw.echo.64k")
        .at_most(Bar::Ratio(6.0)),
    latency("raw.cycle", Group::Spawn, 2_000),
    latency("spawn.ready", Group::Spawn, 2_000)
        .against("raw.cycle")
        .at_most(Bar::Ratio(4.0)),
    latency("raw.trap", Group::Restart, 1_000),
    latency("restart.first-reply", Group::Restart, 1_000)
        .against("raw.trap")
        .at_most(Bar::Ratio(2.5)),
    memory("rss.fresh.1k", 1_000),
    memory("rss.called.1k", 1_000),
    memory("rss.fresh", 10_000),
    memory("rss.called", 10_000).at_most(Bar::Median(32.0)),
    latency("load.compile", Group::Load, 1).on_one().single(),
    latency("load.cached", Group::Load, 1)
        .on_one()
        .single()
        .against("load.compile")
        .at_most(Bar::Ratio(0.05)),
];

/// Finds a row by its name.
#[must_use]
pub fn row(name: &str) -> Option<&'static RowSpec> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_baselines_are_measured_with_their_rows() {
        for (at, spec) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..at].iter().all(|other| other.name != spec.name),
                "{} twice",
                spec.name
            );
            let Some(baseline) = spec.baseline else {
                continue;
            };
            let baseline = row(baseline).unwrap();
            assert_eq!(baseline.group, spec.group);
            assert_eq!(baseline.unit, spec.unit);
            assert!(
                spec.threads
                    .iter()
                    .all(|threads| baseline.threads.contains(threads))
            );
        }
    }

    #[test]
    fn a_ratio_has_a_bar_only_where_there_is_a_baseline() {
        for spec in ROWS {
            if let Some(Bar::Ratio(_)) = spec.bar {
                assert!(spec.baseline.is_some(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn which_names_rows_and_groups_by_their_beginning() {
        let asked = |which: &str| -> Vec<_> {
            ROWS.iter()
                .filter(|row| row.is_asked_for(which))
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(asked("load"), ["load.compile", "load.cached"]);
        assert_eq!(asked("raw.ec"), ["raw.echo.64k"]);
        assert_eq!(asked("ask").len(), 4);
        assert_eq!(asked("all").len(), ROWS.len());
        assert!(asked("nothing").is_empty());
    }
}
