//! Which limits of a machine are too low: a pure function over plain data.

use airssys_wasm::{Machine, Needs, Profile};

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Where the limit comes from.
    pub(super) source: &'static str,
    pub(super) unit: Unit,
    /// `None` if the machine does not tell, or sets no limit.
    pub(super) present: Option<u64>,
    /// `None` where nothing depends on the count.
    pub(super) needed: Option<u64>,
    pub(super) verdict: Verdict,
    pub(super) note: Option<String>,
    /// The command that raises it, or what else to do.
    pub(super) raise: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    TooLow,
    /// The machine sets no limit.
    NoLimit,
    /// The machine does not tell.
    Unknown,
    /// Nothing depends on it, but it is worth knowing.
    Note,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TooLow => "too-low",
            Self::NoLimit => "no-limit",
            Self::Unknown => "unknown",
            Self::Note => "note",
        }
    }
}

/// Address space of a process on x86-64 and on most 64-bit Arm machines.
const ADDRESS_SPACE: u64 = 1 << 47;

/// Compares every limit with what is needed.
pub(super) fn decide(machine: &Machine, needs: &Needs, profile: Profile) -> Vec<Row> {
    vec![
        mappings(machine, needs),
        pool(machine, needs),
        address_space(machine, needs, profile),
        memory(machine, needs),
        group_memory(machine, needs),
        descriptors(machine, needs),
        overcommit(machine, needs),
        huge_pages(machine),
        processors(machine),
    ]
}

impl Row {
    fn new(
        name: &'static str,
        source: &'static str,
        unit: Unit,
        present: Option<u64>,
        needed: u64,
    ) -> Self {
        let verdict = match present {
            None => Verdict::Unknown,
            Some(present) if present >= needed => Verdict::Ok,
            Some(_) => Verdict::TooLow,
        };
        Self {
            name,
            source,
            unit,
            present,
            needed: Some(needed),
            verdict,
            note: None,
            raise: None,
        }
    }

    /// What to do, if it is too low.
    fn raise(mut self, how: impl FnOnce(u64) -> String) -> Self {
        if self.verdict == Verdict::TooLow {
            self.raise = self.needed.map(how);
        }
        self
    }

    /// Nothing known means that there is no limit.
    fn or_no_limit(mut self) -> Self {
        if self.present.is_none() {
            self.verdict = Verdict::NoLimit;
        }
        self
    }
}

/// Sets it now, and again when the machine starts.
fn sysctl(name: &str, value: u64) -> String {
    format!(
        "sudo sysctl -w {name}={value} && echo '{name} = {value}' | sudo tee /etc/sysctl.d/60-airssys.conf"
    )
}

fn mappings(machine: &Machine, needs: &Needs) -> Row {
    let needed = needs
        .mappings
        .saturating_add(machine.mappings_used.unwrap_or(0));
    let source = "vm.max_map_count";
    Row::new(
        "mappings",
        source,
        Unit::Count,
        machine.mappings_max,
        needed,
    )
    .raise(|needed| sysctl(source, needed.checked_next_power_of_two().unwrap_or(needed)))
}

/// How many instances a pool would be cut to.
fn pool(machine: &Machine, needs: &Needs) -> Row {
    let one = Needs::of(Profile::Dense, 1).mappings;
    let none = Needs::of(Profile::Dense, 0).mappings;
    let room = machine.mappings_max.map(|max| {
        let free = max.saturating_sub(machine.mappings_used.unwrap_or(0));
        free.saturating_sub(none) / one.saturating_sub(none).max(1)
    });
    Row::new("pool", "mappings", Unit::Count, room, needs.actors)
        .raise(|_| "raise `mappings`; the pool is cut to what they have room for".to_owned())
}

fn address_space(machine: &Machine, needs: &Needs, profile: Profile) -> Row {
    let needed = needs
        .address_space
        .saturating_add(machine.address_space_used.unwrap_or(0));
    let limited = machine.address_space_max.is_some();
    let present = machine.address_space_max.unwrap_or(ADDRESS_SPACE);
    let source = if limited {
        "ulimit -v"
    } else {
        "the processor"
    };
    let row = Row::new(
        "address-space",
        source,
        Unit::Bytes,
        Some(present.min(ADDRESS_SPACE)),
        needed,
    );
    row.raise(|needed| {
        if needed > ADDRESS_SPACE && profile == Profile::Strict {
            "use the profile `dense`: --profile dense, or `EngineConfig::profile`".to_owned()
        } else if needed > ADDRESS_SPACE {
            "fewer actors in one process: no setting raises what the processor has".to_owned()
        } else {
            "ulimit -v unlimited".to_owned()
        }
    })
}

fn memory(machine: &Machine, needs: &Needs) -> Row {
    let needed = with_reserve(needs.memory, machine.memory_total);
    let source = "MemAvailable";
    Row::new(
        "memory",
        source,
        Unit::Bytes,
        machine.memory_available,
        needed,
    )
    .raise(|_| "fewer actors, more memory, or less running beside them".to_owned())
}

fn group_memory(machine: &Machine, needs: &Needs) -> Row {
    let needed = with_reserve(needs.memory, machine.group_memory_max);
    let used = machine
        .group_memory_max
        .zip(machine.group_memory_available)
        .map_or(0, |(max, available)| max.saturating_sub(available));
    Row::new(
        "group-memory",
        "memory.max",
        Unit::Bytes,
        machine.group_memory_available,
        needed,
    )
    .or_no_limit()
    .raise(|needed| {
        let mib = needed.saturating_add(used).div_ceil(1 << 20);
        format!("sudo systemctl set-property UNIT MemoryMax={mib}M  (a container: --memory {mib}m)")
    })
}

/// What admission keeps free is needed too: a sixteenth, at most 512 MiB.
fn with_reserve(bytes: u64, total: Option<u64>) -> u64 {
    bytes.saturating_add(total.map_or(0, |total| (total / 16).min(512 << 20)))
}

fn descriptors(machine: &Machine, needs: &Needs) -> Row {
    let needed = needs
        .descriptors
        .saturating_add(machine.descriptors_used.unwrap_or(0));
    let hard = machine.descriptors_hard_max;
    Row::new(
        "descriptors",
        "ulimit -n",
        Unit::Count,
        machine.descriptors_max,
        needed,
    )
    .or_no_limit()
    .raise(|needed| {
        let wanted = needed.max(1_024);
        if hard.is_none_or(|hard| hard >= wanted) {
            format!("ulimit -n {wanted}")
        } else {
            format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}")
        }
    })
}

/// Only a machine that never overcommits has to promise every byte of the pool's stacks and tables.
fn overcommit(machine: &Machine, needs: &Needs) -> Row {
    let never = machine.overcommit == Some(2);
    let free = machine
        .commit_max
        .zip(machine.committed)
        .map(|(max, used)| max.saturating_sub(used));
    let source = "vm.overcommit_memory";
    let row = Row::new(
        "overcommit",
        source,
        Unit::Bytes,
        free.filter(|_| never),
        needs.committed,
    );
    if machine.overcommit.is_none() || never {
        row.raise(|_| sysctl(source, 0))
    } else {
        row.or_no_limit()
    }
}

fn huge_pages(machine: &Machine) -> Row {
    let mut row = Row::new(
        "huge-pages",
        "transparent_hugepage/enabled",
        Unit::Count,
        None,
        0,
    );
    row.needed = None;
    row.verdict = match machine.huge_pages.as_deref() {
        None => Verdict::Unknown,
        Some("always") => Verdict::Note,
        Some(_) => Verdict::Ok,
    };
    if row.verdict == Verdict::Note {
        row.note = Some(
            "set to `always`, a page that an instance touches may become one of 2 MiB; `madvise` keeps it 4 KiB: \
             echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
                .to_owned(),
        );
    }
    row
}

fn processors(machine: &Machine) -> Row {
    let mut row = Row::new("processors", "sched_getaffinity", Unit::Count, None, 1);
    row.present = machine.processors;
    row.verdict = Verdict::Ok;
    if machine.processors.is_none() {
        row.verdict = Verdict::Unknown;
    }
    let allowed = machine.group_processor_percent;
    let quota = allowed.filter(|allowed| {
        machine
            .processors
            .is_some_and(|count| *allowed < count.saturating_mul(100))
    });
    if let Some(percent) = quota {
        row.verdict = Verdict::Note;
        row.note = Some(format!(
            "the control group allows {percent} % of one processor (`cpu.max`); start as many worker threads as \
             that has room for"
        ));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine that has enough for 100,000 actors in profile dense.
    fn machine() -> Machine {
        let mut machine = Machine::default();
        machine.mappings_max = Some(1 << 20);
        machine.mappings_used = Some(100);
        machine.address_space_used = Some(GIB);
        machine.memory_total = Some(16 * GIB);
        machine.memory_available = Some(12 * GIB);
        machine.descriptors_max = Some(1_024);
        machine.descriptors_hard_max = Some(4_096);
        machine.descriptors_used = Some(4);
        machine.overcommit = Some(0);
        machine.commit_max = Some(8 * GIB);
        machine.committed = Some(GIB);
        machine.huge_pages = Some("madvise".to_owned());
        machine.processors = Some(8);
        machine
    }

    fn found(machine: &Machine, profile: Profile, actors: u64) -> Vec<(&'static str, String)> {
        let rows = decide(machine, &Needs::of(profile, actors), profile);
        rows.into_iter()
            .filter(|row| row.verdict == Verdict::TooLow)
            .map(|row| (row.name, row.raise.unwrap()))
            .collect()
    }

    #[test]
    fn a_machine_with_enough_has_nothing_to_raise() {
        assert_eq!(found(&machine(), Profile::Dense, 100_000), []);
        assert_eq!(found(&machine(), Profile::Strict, 10_000), []);
    }

    #[test]
    fn each_limit_that_is_too_low_is_named_with_what_raises_it() {
        type Change = fn(&mut Machine);
        type Raises = &'static [(&'static str, &'static str)];
        let cases: [(Change, Profile, Raises); 9] = [
            (
                |machine| machine.mappings_max = Some(65_530),
                Profile::Dense,
                &[
                    ("mappings", "sysctl -w vm.max_map_count=1048576"),
                    ("pool", "raise `mappings`"),
                ],
            ),
            (|_| {}, Profile::Strict, &[("address-space", "dense")]),
            (
                |machine| machine.address_space_max = Some(64 * GIB),
                Profile::Dense,
                &[("address-space", "ulimit -v unlimited")],
            ),
            (
                |machine| machine.memory_available = Some(GIB),
                Profile::Dense,
                &[("memory", "more memory")],
            ),
            (
                |machine| {
                    machine.group_memory_max = Some(2 * GIB);
                    machine.group_memory_available = Some(GIB);
                },
                Profile::Dense,
                &[("group-memory", "MemoryMax=4277M")],
            ),
            (
                |machine| machine.descriptors_max = Some(64),
                Profile::Dense,
                &[("descriptors", "ulimit -n 1024")],
            ),
            (
                |machine| {
                    machine.descriptors_max = Some(64);
                    machine.descriptors_hard_max = Some(64);
                },
                Profile::Dense,
                &[("descriptors", "sudo prlimit")],
            ),
            (
                |machine| machine.overcommit = Some(2),
                Profile::Dense,
                &[("overcommit", "sysctl -w vm.overcommit_memory=0")],
            ),
            (
                |machine| machine.huge_pages = Some("always".to_owned()),
                Profile::Dense,
                &[],
            ),
        ];
        for (change, profile, expected) in cases {
            let mut machine = machine();
            change(&mut machine);
            let found = found(&machine, profile, 100_000);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for ((name, raise), (wanted, how)) in found.iter().zip(expected) {
                assert_eq!(name, wanted);
                assert!(raise.contains(how), "{raise}");
            }
        }
    }

    #[test]
    fn a_machine_that_tells_nothing_is_not_blamed() {
        let rows = decide(
            &Machine::default(),
            &Needs::of(Profile::Dense, 1_000),
            Profile::Dense,
        );
        assert!(rows.iter().all(|row| row.verdict != Verdict::TooLow));
        let unknown = rows.iter().filter(|row| row.verdict == Verdict::Unknown);
        assert!(unknown.count() >= 4);
    }

    #[test]
    fn a_processor_quota_is_told() {
        let mut machine = machine();
        machine.group_processor_percent = Some(150);
        let rows = decide(&machine, &Needs::of(Profile::Dense, 1), Profile::Dense);
        let row = rows.iter().find(|row| row.name == "processors").unwrap();
        assert_eq!(row.verdict, Verdict::Note);
        assert!(row.note.as_ref().unwrap().contains("150 %"));
    }
}
