//! What one instance may consume, as a plain struct and a table of classes.
//!
//! Every row here is enforced by the engine, and by nothing else: CPU and wall time by `instance.rs`, memory,
//! tables and instances by `limiter.rs`, handles and host-call bytes by wasmtime on our settings, resources,
//! random bytes and log lines by the host functions. The limits of an artifact, which hold before there is an
//! instance, are the constants of [`ArtifactLimits`]. Limits that nothing enforces yet are not here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The most memory any instance may be given, whatever its class says (bytes).
///
/// The pooling allocator reserves a slot of this size for each memory, and 256 MiB is what a componentized
/// JavaScript or Python runtime needs with room to spare.
pub const MEMORY_BYTES_HARD_MAX: u64 = 256 * MIB;

/// The limits of one instance; a class gives the defaults, a manifest may lower or raise single rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU one call may use, in steps of the engine's tick (standard: 1 s). Counted while guest code runs,
    /// not while the guest waits for the host. Exceeding it ends the instance: `cpu-deadline`.
    pub cpu_per_call: Duration,
    /// Wall time one call may take once it has had to wait (standard: 5 s). Bounds what an epoch cannot
    /// interrupt: host calls and waiting for others. Exceeding it ends the instance: `timeout`.
    pub wall_per_call: Duration,
    /// Linear memory in bytes, summed over all memories (standard: 64 MiB, hard maximum
    /// [`MEMORY_BYTES_HARD_MAX`]). Past it `memory.grow` returns −1; at instantiation it is a fault `memory`.
    pub memory_bytes_max: u64,
    /// Linear memories in all core modules of the component (standard: 8).
    pub memories_max: u32,
    /// Tables in all core modules of the component (standard: 8).
    pub tables_max: u32,
    /// Core module instances the component may make (standard: 16): a toolchain uses two to four. One that the host adds
    /// to it does not count; the engine's message of an excess counts it.
    pub core_instances_max: u32,
    /// Table elements, summed over all tables (standard: 20,000: large C# guests are known to need 10,000).
    pub table_elements_max: u32,
    /// Bytes the guest may hand to the host in one host call or in one result (standard: 1 MiB, the message
    /// size). Strings and byte lists are charged their bytes; every nested value (a list's element, a record's
    /// field) is charged 40, about what it takes in the host, so lists of small values reach the limit
    /// earlier. Fault `hostcall-bytes`.
    pub hostcall_bytes_max: u64,
    /// Live component-model handles (standard: 4,096; wasmtime's own default is 100,000). Fault `handles`.
    pub handles_max: u32,
    /// Live host resources: streams, pollables, errors (standard: 1,024; wasmtime's default is 1,000,000).
    /// The same number again of its own resources that others hold, and of others' that it holds; past it a
    /// call is refused before it begins where that can be known. Fault `resources`.
    pub resources_max: u32,
    /// Bytes one `wasi:random` call may ask for (standard: 64 KiB; wasmtime's default is 64 MiB).
    /// Fault `random-bytes`.
    pub random_bytes_max: u64,
    /// Log and stdio bytes a second (standard: 256 KiB). What exceeds it is dropped, counted and said.
    pub log_bytes_per_second: u32,
    /// Bytes of one log line (standard: 8 KiB). A longer line is cut, and says so.
    pub log_line_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        LimitClass::Standard.limits()
    }
}

/// A named row of the table of limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LimitClass {
    /// A small pure function: little memory, answers at once.
    Tiny,
    /// The default.
    #[default]
    Standard,
    /// An interpreter or a batch step.
    Large,
    /// The operator's own code: long calls, but memory and handles are bounded all the same.
    Trusted,
}

impl LimitClass {
    /// All classes, smallest first.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Standard, Self::Large, Self::Trusted];

    /// Returns the limits of the class.
    #[must_use]
    pub const fn limits(self) -> Limits {
        //                              tiny            standard        large           trusted
        Limits {
            cpu_per_call: Duration::from_millis(self.pick([100, 1_000, 10_000, 60_000])),
            wall_per_call: Duration::from_millis(self.pick([1_000, 5_000, 30_000, 300_000])),
            memory_bytes_max: self.pick([4 * MIB, 64 * MIB, 256 * MIB, 256 * MIB]),
            memories_max: self.pick_small([1, 8, 8, 8]),
            tables_max: self.pick_small([4, 8, 8, 8]),
            core_instances_max: self.pick_small([8, 16, 32, 32]),
            table_elements_max: self.pick_small([2_000, 20_000, 20_000, 20_000]),
            hostcall_bytes_max: self.pick([256 * KIB, MIB, 4 * MIB, 16 * MIB]),
            handles_max: self.pick_small([256, 4_096, 16_384, 16_384]),
            resources_max: self.pick_small([64, 1_024, 4_096, 4_096]),
            random_bytes_max: self.pick([4 * KIB, 64 * KIB, 64 * KIB, 64 * KIB]),
            log_bytes_per_second: self.pick_small([32 * 1024, 256 * 1024, 256 * 1024, 1024 * 1024]),
            log_line_bytes_max: self.pick_small([2 * 1024, 8 * 1024, 8 * 1024, 8 * 1024]),
        }
    }

    /// Returns the class's name, as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Standard => "standard",
            Self::Large => "large",
            Self::Trusted => "trusted",
        }
    }

    const fn pick(self, row: [u64; 4]) -> u64 {
        let [tiny, standard, large, trusted] = row;
        match self {
            Self::Tiny => tiny,
            Self::Standard => standard,
            Self::Large => large,
            Self::Trusted => trusted,
        }
    }

    const fn pick_small(self, row: [u32; 4]) -> u32 {
        let [tiny, standard, large, trusted] = row;
        match self {
            Self::Tiny => tiny,
            Self::Standard => standard,
            Self::Large => large,
            Self::Trusted => trusted,
        }
    }
}

impl fmt::Display for LimitClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A class name that is none of the four.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown limit class {0:?}; use one of tiny, standard, large, trusted")]
pub struct UnknownLimitClass(String);

impl FromStr for LimitClass {
    type Err = UnknownLimitClass;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == name)
            .ok_or_else(|| UnknownLimitClass(crate::printable::printable(name, 64)))
    }
}

/// What an artifact may be, checked before it is compiled.
///
/// Compiling is the only work done for a stranger's bytes before any other limit holds, and wasmtime does not
/// treat a compile-time blow-up as a vulnerability, so the bounds are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Size of the file in bytes.
    pub bytes_max: u64,
    /// Functions in all core modules.
    pub functions_max: u64,
    /// Size of one function's body in bytes: Cranelift's time is superlinear in it.
    pub function_bytes_max: u64,
    /// Types in all core modules and component type sections, with what instance and component types declare.
    pub types_max: u64,
    /// Imports, exports, aliases, instances and canonical functions in all modules and components.
    pub items_max: u64,
    /// Depth to which components nest.
    pub nesting_max: u32,
}

impl ArtifactLimits {
    /// The limits every load is checked against: 64 MiB, 100,000 functions of at most 1 MiB, 100,000 types, 100,000
    /// items, 32 levels. The largest toolchain output known here (componentized Python) is 18 MiB.
    pub const DEFAULT: Self = Self {
        bytes_max: 64 * MIB,
        functions_max: 100_000,
        function_bytes_max: MIB,
        types_max: 100_000,
        items_max: 100_000,
        nesting_max: 32,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for class in LimitClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert!(
            "huge"
                .parse::<LimitClass>()
                .unwrap_err()
                .to_string()
                .contains("trusted")
        );
    }

    #[test]
    fn every_class_stays_under_the_hard_memory_limit() {
        for class in LimitClass::ALL {
            assert!(
                class.limits().memory_bytes_max <= MEMORY_BYTES_HARD_MAX,
                "{class}"
            );
        }
    }

    #[test]
    fn standard_is_the_documented_row() {
        let limits = Limits::default();
        assert_eq!(limits.cpu_per_call, Duration::from_secs(1));
        assert_eq!(limits.wall_per_call, Duration::from_secs(5));
        assert_eq!(limits.memory_bytes_max, 64 << 20);
        assert_eq!(limits.hostcall_bytes_max, 1 << 20);
    }
}
