//! Where a guest's words go: its log lines and its stdio, into `tracing`.
//!
//! One [`GuestLog`] for each instance that says anything. It names who speaks (the host knows; a guest cannot
//! forge it), escapes what a terminal would act on, cuts long lines and drops what exceeds the rate. What was
//! dropped is counted and said once a second and at the end. Events have the target `airssys::guest`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gate::InstanceIdentity;
use crate::limits::Limits;
use crate::printable::printable;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The limits' window of time.
const WINDOW: Duration = Duration::from_secs(1);

pub(crate) struct GuestLog {
    component: Arc<str>,
    address: Arc<str>,
    generation: u64,
    bytes_per_window: usize,
    line_bytes_max: usize,
    // A mutex: stdout, stderr and the log interface of one guest share the budget, and the streams live in
    // the resource table, apart from the Store's data. Only the guest's own fiber ever takes it.
    budget: Mutex<Budget>,
}

#[derive(Default)]
struct Budget {
    window: Option<Instant>,
    bytes: usize,
    dropped: u64,
}

impl Budget {
    /// Takes room for a line. Returns whether there is, and how many lines were dropped in the last window.
    fn take(&mut self, bytes: usize, bytes_max: usize, now: Instant) -> (bool, u64) {
        let mut dropped = 0;
        if self
            .window
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            self.window = Some(now);
            self.bytes = 0;
            dropped = std::mem::take(&mut self.dropped);
        }
        let after = self.bytes.saturating_add(bytes);
        if after > bytes_max {
            self.dropped = self.dropped.saturating_add(1);
            return (false, dropped);
        }
        self.bytes = after;
        (true, dropped)
    }
}

impl GuestLog {
    pub(crate) fn new(component: Arc<str>, identity: &InstanceIdentity, limits: &Limits) -> Self {
        let narrow = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            component,
            address: Arc::clone(&identity.address),
            generation: identity.generation,
            bytes_per_window: narrow(limits.log_bytes_per_second),
            line_bytes_max: narrow(limits.log_line_bytes_max),
            budget: Mutex::default(),
        }
    }

    pub(crate) fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    /// Says one line. `from` is `log`, `stdout` or `stderr`.
    pub(crate) fn line(&self, level: Level, from: &'static str, text: &str) {
        // A line costs at least its frame: empty lines are not free.
        let bytes = text.len().min(self.line_bytes_max).saturating_add(32);
        let (room, dropped) = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.take(bytes, self.bytes_per_window, Instant::now())
        };
        self.tell_dropped(dropped);
        if room {
            self.emit(level, from, &printable(text, self.line_bytes_max));
        }
    }

    fn tell_dropped(&self, lines: u64) {
        if lines > 0 {
            let text = format!(
                "{lines} lines dropped: more than {} bytes a second",
                self.bytes_per_window
            );
            self.emit(Level::Warn, "host", &text);
        }
    }

    fn emit(&self, level: Level, from: &'static str, text: &str) {
        let (component, address, generation) = (&*self.component, &*self.address, self.generation);
        macro_rules! at {
            ($level:ident) => {
                tracing::event!(
                    target: "airssys::guest",
                    tracing::Level::$level,
                    component,
                    address,
                    generation,
                    from,
                    "{text}"
                )
            };
        }
        match level {
            Level::Trace => at!(TRACE),
            Level::Debug => at!(DEBUG),
            Level::Info => at!(INFO),
            Level::Warn => at!(WARN),
            Level::Error => at!(ERROR),
        }
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        let dropped = self
            .budget
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped;
        self.tell_dropped(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_room_for_its_bytes_and_tells_what_it_dropped() {
        let start = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(budget.take(60, 100, start), (true, 0));
        assert_eq!(budget.take(60, 100, start), (false, 0));
        assert_eq!(budget.take(40, 100, start), (true, 0));
        assert_eq!(budget.take(1, 100, start + WINDOW / 2), (false, 0));
        assert_eq!(budget.take(60, 100, start + WINDOW), (true, 2));
        assert_eq!(budget.take(1, 100, start + WINDOW), (true, 0));
    }
}
