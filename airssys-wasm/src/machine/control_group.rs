//! What the control groups of this process allow: memory and processor time.
//!
//! Every group up to the root counts, and the tightest one decides. Version 2 is read whole, version 1 for
//! memory only. Caches a group can drop are counted as available, as `MemAvailable` does for the machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::read_number;

/// Version 1 writes "no limit" as a number near 2^63, rounded to pages.
const UNLIMITED: u64 = 1 << 62;

/// The tightest memory limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupMemory {
    pub(super) max: u64,
    pub(super) available: u64,
}

/// The names of a version's files.
struct Files {
    max: &'static str,
    used: &'static str,
    /// The line of `memory.stat` that says what can be dropped.
    droppable: &'static str,
}

const VERSION_2: Files = Files {
    max: "memory.max",
    used: "memory.current",
    droppable: "inactive_file ",
};

const VERSION_1: Files = Files {
    max: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    droppable: "total_inactive_file ",
};

pub(super) fn memory() -> Option<GroupMemory> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut tightest = None;
    for (controllers, path) in groups.lines().filter_map(group) {
        let (root, files) = match controllers {
            "" => ("/sys/fs/cgroup", VERSION_2),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", VERSION_1)
            }
            _ => continue,
        };
        for directory in upwards(Path::new(root), path) {
            let found = memory_of(&directory, &files);
            tightest = [tightest, found]
                .into_iter()
                .flatten()
                .min_by_key(|group| group.available);
        }
    }
    tightest
}

/// Hundredths of a processor, by version 2's `cpu.max`: `quota period`, or `max period`.
pub(super) fn processor_percent() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (_, path) = groups
        .lines()
        .filter_map(group)
        .find(|(controllers, _)| controllers.is_empty())?;
    upwards(Path::new("/sys/fs/cgroup"), path)
        .filter_map(|directory| percent(&fs::read_to_string(directory.join("cpu.max")).ok()?))
        .min()
}

/// `4:memory:/a/b` or `0::/a/b`.
fn group(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// The group's directory and all above it, which in a container may be all there is.
fn upwards(root: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let mut at = Some(PathBuf::from(path.trim_start_matches('/')));
    let root = root.to_owned();
    std::iter::from_fn(move || {
        let here = at.take()?;
        at = here.parent().map(Path::to_owned);
        Some(root.join(here))
    })
}

fn memory_of(directory: &Path, files: &Files) -> Option<GroupMemory> {
    let number = |name: &str| read_number(directory.join(name).to_str()?);
    let max = number(files.max).filter(|max| *max < UNLIMITED)?;
    let used = number(files.used)?;
    let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    let droppable = stat
        .lines()
        .find_map(|line| line.strip_prefix(files.droppable)?.trim().parse().ok())
        .unwrap_or(0);
    Some(GroupMemory {
        max,
        available: max.saturating_sub(used.saturating_sub(droppable)),
    })
}

fn percent(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    quota.checked_mul(100)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_decides() {
        let root = std::env::temp_dir().join(format!("airssys-groups-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |directory: &Path, max: &str, current: &str| {
            fs::write(directory.join("memory.max"), max).unwrap();
            fs::write(directory.join("memory.current"), current).unwrap();
        };
        write(&root.join("a"), "1000\n", "700\n");
        write(&inner, "max\n", "700\n");
        fs::write(root.join("a/memory.stat"), "anon 1\ninactive_file 200\n").unwrap();
        let found: Vec<_> = upwards(&root, "/a/b")
            .filter_map(|directory| memory_of(&directory, &VERSION_2))
            .collect();
        fs::remove_dir_all(&root).unwrap();
        let tight = GroupMemory {
            max: 1000,
            available: 500,
        };
        assert_eq!(found, [tight]);
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(group("0::/user.slice/x"), Some(("", "/user.slice/x")));
        assert_eq!(group("4:memory,cpu:/"), Some(("memory,cpu", "/")));
        assert_eq!(percent("150000 100000\n"), Some(150));
        assert_eq!(percent("max 100000\n"), None);
    }
}
