//! Which exits are followed by a restart, and how many are too many: pure functions over plain data.
//!
//! Owns the restart policies, what they make of an exit ([`restarts`]), and the sliding window. Time is passed in.
//! The words and the rules are OTP's: permanent always restarts, transient unless the exit was
//! normal or shutdown, temporary never; killed is abnormal; one restart more than `max` within the
//! window ends the supervisor.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::exit::ExitReason;

/// Which exits are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RestartPolicy {
    /// Every exit.
    #[default]
    Permanent,
    /// Abnormal exits: anything but normal and shutdown.
    Transient,
    /// None.
    Temporary,
}

/// How many restarts a supervisor allows before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RestartIntensity {
    /// Restarts allowed within the period; one more ends the supervisor.
    pub max: u32,
    /// The period, a sliding window.
    pub within: Duration,
}

impl Default for RestartIntensity {
    /// OTP's default: 1 within 5 s.
    fn default() -> Self {
        Self {
            max: 1,
            within: Duration::from_secs(5),
        }
    }
}

/// The restarts that still count.
#[derive(Debug, Clone, Default)]
pub struct RestartWindow {
    /// Oldest first; at most `max` entries.
    restarts: VecDeque<Instant>,
}

impl RestartWindow {
    /// Counts one restart at `now`; `false` if it is one too many. Entries older than the period
    /// are forgotten; the bounds are inclusive, as OTP's.
    pub fn admit(&mut self, intensity: RestartIntensity, now: Instant) -> bool {
        while self
            .restarts
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(*oldest) > intensity.within)
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= usize::try_from(intensity.max).unwrap_or(usize::MAX) {
            return false;
        }
        self.restarts.push_back(now);
        true
    }
}

/// Whether a child with this policy is started again after this exit.
#[must_use]
pub fn restarts(policy: RestartPolicy, reason: &ExitReason) -> bool {
    match policy {
        RestartPolicy::Permanent => true,
        RestartPolicy::Transient => !reason.is_normal(),
        RestartPolicy::Temporary => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// S13: every restart type with every kind of exit.
    #[test]
    fn restart_policy_by_exit_reason() {
        let reasons = [
            (ExitReason::Normal, true),
            (ExitReason::Shutdown, true),
            // A supervisor that gives up ends with OTP's `shutdown`.
            (ExitReason::CrashLoop, true),
            (ExitReason::Killed, false),
            (ExitReason::Panicked("x".into()), false),
            (ExitReason::Error("x".into()), false),
            (ExitReason::StartFailed("x".into()), false),
            (ExitReason::Unhealthy("x".into()), false),
        ];
        for (reason, normal) in reasons {
            assert!(restarts(RestartPolicy::Permanent, &reason), "{reason}");
            assert_eq!(
                restarts(RestartPolicy::Transient, &reason),
                !normal,
                "{reason}"
            );
            assert!(!restarts(RestartPolicy::Temporary, &reason), "{reason}");
        }
    }

    #[test]
    fn exactly_max_restarts_are_allowed_within_the_period() {
        let intensity = RestartIntensity {
            max: 3,
            within: second(10),
        };
        let start = Instant::now();
        let mut window = RestartWindow::default();
        for n in 0..3 {
            assert!(window.admit(intensity, start + second(n)));
        }
        assert!(!window.admit(intensity, start + second(10)));
        // The first is older than the period from here on.
        assert!(window.admit(intensity, start + second(11)));
        assert!(!window.admit(intensity, start + second(11)));
    }

    #[test]
    fn spaced_restarts_never_end_the_supervisor() {
        let intensity = RestartIntensity {
            max: 1,
            within: second(5),
        };
        let start = Instant::now();
        let mut window = RestartWindow::default();
        for n in 0..1_000 {
            assert!(window.admit(intensity, start + second(6 * n)));
        }
    }

    #[test]
    fn an_intensity_of_zero_allows_none() {
        let intensity = RestartIntensity {
            max: 0,
            within: second(5),
        };
        assert!(!RestartWindow::default().admit(intensity, Instant::now()));
    }
}
