//! What the figures were measured on, and how quiet it was.

use std::{fmt, fs};

use serde::{Deserialize, Serialize};

/// The machine and the build. Figures of two reports compare only where these agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cpus: usize,
    /// Model of the first processor.
    pub model: String,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Target triple the benchmarks were built for.
    pub target: String,
    /// Compiler they were built with.
    pub rustc: String,
    /// wasmtime's version.
    pub wasmtime: String,
    /// ractor's version.
    pub ractor: String,
    /// tokio's version.
    pub tokio: String,
    /// Cargo profile: `release` or `debug`.
    pub profile: String,
    /// Optimisation level.
    pub opt_level: String,
    /// Whether debug assertions are compiled in: then no figure means anything.
    pub debug_assertions: bool,
    /// The kernel's load average over the last minute when measuring began. Above the number of idle
    /// processors, others were measured too.
    pub load_average: f64,
}

impl Machine {
    /// Looks at the machine this runs on.
    #[must_use]
    pub fn here() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = text("/proc/cpuinfo");
        let meminfo = text("/proc/meminfo");
        let number = |text: Option<&str>| {
            text.and_then(|text| text.split_whitespace().next()?.parse().ok())
                .unwrap_or_default()
        };
        Self {
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            model: field(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            memory_kib: number(field(&meminfo, "MemTotal")),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            target: env!("BENCHES_TARGET").to_owned(),
            rustc: env!("BENCHES_RUSTC").to_owned(),
            wasmtime: env!("BENCHES_WASMTIME").to_owned(),
            ractor: env!("BENCHES_RACTOR").to_owned(),
            tokio: env!("BENCHES_TOKIO").to_owned(),
            profile: env!("BENCHES_PROFILE").to_owned(),
            opt_level: env!("BENCHES_OPT_LEVEL").to_owned(),
            debug_assertions: cfg!(debug_assertions),
            load_average: text("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} × {}, Linux {}; {}, wasmtime {}, ractor {}, tokio {}; {} build; load {:.2}",
            self.cpus,
            self.model,
            self.kernel,
            self.rustc,
            self.wasmtime,
            self.ractor,
            self.tokio,
            self.profile,
            self.load_average,
        )?;
        if self.debug_assertions {
            write!(
                f,
                "\nwarning: a build without optimisation: the figures are meaningless"
            )?;
        }
        Ok(())
    }
}

/// The value of the first `name: value` line.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_known() {
        let machine = Machine::here();
        assert!(machine.cpus > 0);
        assert!(machine.rustc.starts_with("rustc "), "{}", machine.rustc);
        assert!(machine.wasmtime.starts_with("48."), "{}", machine.wasmtime);
        // `dist` is not `release`: cargo builds each in a directory of its own name.
        let program = std::env::current_exe().unwrap();
        assert!(
            program
                .iter()
                .any(|part| part == std::ffi::OsStr::new(&machine.profile)),
            "{}",
            machine.profile
        );
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Rss:  12 kB\nPss:\t7 kB\n";
        assert_eq!(field(text, "Pss"), Some("7 kB"));
        assert_eq!(field(text, "ss"), None);
    }
}
