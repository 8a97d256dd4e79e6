//! What this machine has for a process, and what the process has taken of it.
//!
//! Owns [`Machine`], plain data, and how it is read from the kernel. A figure the kernel does not tell is
//! `None`, and whoever decides treats it as no limit. Reading everything costs about 0.1 ms and 1 µs more for
//! each memory mapping; admission reads the cheap part alone where it can. Nothing is decided here.

use std::fs;

mod control_group;

/// One machine as one process sees it. Counts and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Machine {
    /// Most memory mappings of one process (`vm.max_map_count`).
    pub mappings_max: Option<u64>,
    /// Mappings this process has.
    pub mappings_used: Option<u64>,
    /// Most address space in bytes (`RLIMIT_AS`); `None` if only the hardware limits it.
    pub address_space_max: Option<u64>,
    /// Address space this process has, in bytes.
    pub address_space_used: Option<u64>,
    /// Memory of the machine in bytes.
    pub memory_total: Option<u64>,
    /// Memory that can be had without swapping, in bytes.
    pub memory_available: Option<u64>,
    /// The tightest memory limit of the control groups this process is in, in bytes.
    pub group_memory_max: Option<u64>,
    /// What that group leaves, caches it can drop included, in bytes.
    pub group_memory_available: Option<u64>,
    /// Most open descriptors (`RLIMIT_NOFILE`, soft).
    pub descriptors_max: Option<u64>,
    /// What the soft limit can be raised to without privilege.
    pub descriptors_hard_max: Option<u64>,
    /// Descriptors this process has open.
    pub descriptors_used: Option<u64>,
    /// `vm.overcommit_memory`: 0 heuristic, 1 always, 2 never.
    pub overcommit: Option<u64>,
    /// With overcommit 2: bytes that can be committed.
    pub commit_max: Option<u64>,
    /// Bytes committed by all processes.
    pub committed: Option<u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// Processors this process may run on.
    pub processors: Option<u64>,
    /// Processor time its control groups allow, in hundredths of a processor.
    pub group_processor_percent: Option<u64>,
}

impl Machine {
    /// Reads everything.
    #[must_use]
    pub fn read() -> Self {
        let mut machine = Self::read_cheap();
        machine.mappings_max = read_number("/proc/sys/vm/max_map_count");
        machine.mappings_used = count_mappings();
        machine.overcommit = read_number("/proc/sys/vm/overcommit_memory");
        machine.huge_pages = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .ok()
            .and_then(|text| chosen(&text).map(str::to_owned));
        machine.processors = std::thread::available_parallelism()
            .ok()
            .and_then(|count| u64::try_from(count.get()).ok());
        machine.group_processor_percent = control_group::processor_percent();
        machine
    }

    /// Reads what takes some microseconds: everything admission needs but mappings.
    pub(crate) fn read_cheap() -> Self {
        let mut machine = Self::default();
        if let Ok(text) = fs::read_to_string("/proc/meminfo") {
            machine.memory_total = kib(&text, "MemTotal:");
            machine.memory_available = kib(&text, "MemAvailable:");
            machine.commit_max = kib(&text, "CommitLimit:");
            machine.committed = kib(&text, "Committed_AS:");
        }
        if let Some(group) = control_group::memory() {
            machine.group_memory_max = Some(group.max);
            machine.group_memory_available = Some(group.available);
        }
        machine.address_space_used = fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|text| kib(&text, "VmSize:"));
        machine.descriptors_used = count_descriptors();
        limits(&mut machine);
        machine
    }
}

#[cfg(unix)]
fn limits(machine: &mut Machine) {
    use rustix::process::{Resource, getrlimit};
    machine.address_space_max = getrlimit(Resource::As).current;
    let descriptors = getrlimit(Resource::Nofile);
    machine.descriptors_max = descriptors.current;
    machine.descriptors_hard_max = descriptors.maximum;
}

#[cfg(not(unix))]
fn limits(_machine: &mut Machine) {}

/// Mappings of this process: a line each. The kernel keeps the count to itself.
pub(crate) fn count_mappings() -> Option<u64> {
    let maps = fs::read("/proc/self/maps").ok()?;
    let lines = maps.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(lines).ok()
}

/// Since Linux 6.2 the size of the directory is the count; before, its entries are counted.
fn count_descriptors() -> Option<u64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // Less the one that reads the directory.
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries.saturating_sub(1)).ok()
}

pub(crate) fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The value of a line such as `MemTotal:  24683516 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let value: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    value.checked_mul(1024)
}

/// The chosen one of `always [madvise] never`.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "MemTotal:       24683516 kB\nMemFree:   1 kB\nHugePages_Total:       0\n";
        assert_eq!(kib(text, "MemTotal:"), Some(24_683_516 * 1024));
        assert_eq!(kib(text, "HugePages_Total:"), None);
        assert_eq!(kib(text, "MemAvailable:"), None);
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_is_read() {
        let machine = Machine::read();
        assert!(machine.mappings_used.unwrap() > 10);
        assert!(machine.mappings_max.unwrap() > machine.mappings_used.unwrap());
        assert!(machine.descriptors_used.unwrap() >= 3);
        assert!(machine.memory_available.unwrap() <= machine.memory_total.unwrap());
        assert!(machine.address_space_used.unwrap() > 1 << 20);
    }
}
