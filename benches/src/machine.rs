//! What the figures were measured on, and how quiet it was.

use std::fs;

use serde::Serialize;

/// The machine and the build. Figures of two reports compare only where these agree.
#[derive(Clone, Debug, Serialize)]
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
    pub target: &'static str,
    /// Compiler they were built with.
    pub rustc: &'static str,
    /// wasmtime's version.
    pub wasmtime: &'static str,
    /// ractor's version.
    pub ractor: &'static str,
    /// tokio's version.
    pub tokio: &'static str,
    /// Cargo profile: `release` or `debug`.
    pub profile: &'static str,
    /// Optimisation level.
    pub opt_level: &'static str,
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
            target: env!("BENCHES_TARGET"),
            rustc: env!("BENCHES_RUSTC"),
            wasmtime: env!("BENCHES_WASMTIME"),
            ractor: env!("BENCHES_RACTOR"),
            tokio: env!("BENCHES_TOKIO"),
            profile: env!("BENCHES_PROFILE"),
            opt_level: env!("BENCHES_OPT_LEVEL"),
            debug_assertions: cfg!(debug_assertions),
            load_average: text("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        }
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
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Rss:  12 kB\nPss:\t7 kB\n";
        assert_eq!(field(text, "Pss"), Some("7 kB"));
        assert_eq!(field(text, "ss"), None);
    }
}
