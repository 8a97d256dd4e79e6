//! When a link stops calling.
//!
//! Owns [`Breaker`], what an operator says, and [`Machine`], which decides by it: pure, with time passed in. Closed, it
//! keeps the ends of the last calls as bits, and opens once too many of them are failures. Open, it refuses every call
//! until its time is over. Then, half-open, it lets a few calls through, and closes when all of them have succeeded or
//! opens again with the first that fails. A call says with which *epoch* it was let through, and its end counts only if
//! the machine has not changed since: what was under way when it opened does not decide a trial.

use std::time::Duration;

use tokio::time::Instant;

/// The most calls a breaker can look back on.
pub const BREAKER_WINDOW_MAX: u32 = u128::BITS;

/// When a link stops calling, and for how long.
///
/// It opens once `failures` of the last `window` calls have failed: a call fails when its callee died, had no room, was
/// stopped or did not answer in time. Calls that were never made count as successes. With `window` equal to `failures`
/// they are failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failures that open it; at least 1.
    pub failures: u32,
    /// The last calls that are looked at; at least `failures`, at most [`BREAKER_WINDOW_MAX`].
    pub window: u32,
    /// How long it refuses calls before it tries again.
    pub open_for: Duration,
    /// Calls that are let through then, and have to succeed; at least 1.
    pub trial: u32,
}

impl Default for Breaker {
    /// Opens after 5 failures in a row, for 10 s, and closes after one success.
    fn default() -> Self {
        Self {
            failures: 5,
            window: 5,
            open_for: Duration::from_secs(10),
            trial: 1,
        }
    }
}

/// How a call through the link has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failure,
    /// It says nothing of the callee: the caller has left, or was itself at fault.
    Neither,
}

/// What has become of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    HalfOpened,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        /// The last calls, the newest in the lowest bit; a failure is 1.
        failed: u128,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// Let through and not ended.
        out: u32,
        succeeded: u32,
    },
}

/// The breaker of one link.
#[derive(Debug)]
pub(super) struct Machine {
    rule: Breaker,
    epoch: u64,
    state: State,
}

impl Machine {
    /// A closed one. What is out of range is moved into it.
    pub(super) fn new(rule: Breaker) -> Self {
        let failures = rule.failures.clamp(1, BREAKER_WINDOW_MAX);
        Self {
            rule: Breaker {
                failures,
                window: rule.window.clamp(failures, BREAKER_WINDOW_MAX),
                trial: rule.trial.max(1),
                ..rule
            },
            epoch: 0,
            state: State::Closed { failed: 0 },
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether no call needs to ask, and no success needs to be told: none of the last calls has failed.
    pub(super) fn is_healthy(&self) -> bool {
        self.state == State::Closed { failed: 0 }
    }

    /// Whether a call that was let through now has to be told of in any case.
    pub(super) fn is_trying(&self) -> bool {
        matches!(self.state, State::HalfOpen { .. })
    }

    /// Lets a call through, or says how long from now it will not; zero while a trial is under way.
    pub(super) fn admit(&mut self, now: Instant) -> (Result<(), Duration>, Option<Change>) {
        let mut change = None;
        if let State::Open { until } = self.state
            && now >= until
        {
            change = Some(self.turn(
                State::HalfOpen {
                    out: 0,
                    succeeded: 0,
                },
                Change::HalfOpened,
            ));
        }
        let admitted = match &mut self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } => Err(until.saturating_duration_since(now)),
            State::HalfOpen { out, succeeded } => {
                if *out + *succeeded < self.rule.trial {
                    *out += 1;
                    Ok(())
                } else {
                    Err(Duration::ZERO)
                }
            }
        };
        (admitted, change)
    }

    /// A call that was let through in `epoch` has ended.
    pub(super) fn ended(&mut self, epoch: u64, end: End, now: Instant) -> Option<Change> {
        if epoch != self.epoch {
            return None;
        }
        let open = State::Open {
            until: crate::deadline::after(now, self.rule.open_for),
        };
        match (&mut self.state, end) {
            (State::Closed { failed }, End::Success | End::Failure) => {
                let newest = u128::from(end == End::Failure);
                let kept = u128::MAX >> (BREAKER_WINDOW_MAX - self.rule.window);
                *failed = (*failed << 1 | newest) & kept;
                (failed.count_ones() >= self.rule.failures).then(|| self.turn(open, Change::Opened))
            }
            (State::HalfOpen { .. }, End::Failure) => Some(self.turn(open, Change::Opened)),
            (State::HalfOpen { out, succeeded }, End::Success) => {
                *out = out.saturating_sub(1);
                *succeeded += 1;
                (*succeeded >= self.rule.trial)
                    .then(|| self.turn(State::Closed { failed: 0 }, Change::Closed))
            }
            (State::HalfOpen { out, .. }, End::Neither) => {
                *out = out.saturating_sub(1);
                None
            }
            (State::Closed { .. }, End::Neither) | (State::Open { .. }, _) => None,
        }
    }

    fn turn(&mut self, state: State, change: Change) -> Change {
        self.epoch += 1;
        self.state = state;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);

    fn machine(failures: u32, window: u32, trial: u32) -> Machine {
        Machine::new(Breaker {
            failures,
            window,
            open_for: OPEN_FOR,
            trial,
        })
    }

    /// Calls that are let through and end one after the other.
    fn calls(machine: &mut Machine, ends: &[End], now: Instant) -> Vec<Option<Change>> {
        ends.iter()
            .map(|end| {
                assert_eq!(machine.admit(now), (Ok(()), None));
                machine.ended(machine.epoch(), *end, now)
            })
            .collect()
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        use End::{Failure, Neither, Success};
        let now = Instant::now();
        let mut machine = machine(3, 3, 1);
        let ends = [Failure, Failure, Success, Failure, Failure];
        assert_eq!(calls(&mut machine, &ends, now), [None; 5]);
        assert!(!machine.is_healthy());
        // What says nothing of the callee neither counts nor interrupts.
        let opened = calls(&mut machine, &[Neither, Failure], now);
        assert_eq!(opened, [None, Some(Change::Opened)]);
        assert_eq!(machine.admit(now), (Err(OPEN_FOR), None));
        let later = now + Duration::from_secs(4);
        assert_eq!(machine.admit(later), (Err(Duration::from_secs(6)), None));
    }

    #[test]
    fn a_rate_opens_it_and_successes_slide_failures_out() {
        use End::{Failure, Success};
        let now = Instant::now();
        let mut machine = machine(2, 4, 1);
        let spread = [Failure, Success, Success, Success, Failure, Success];
        assert_eq!(calls(&mut machine, &spread, now), [None; 6]);
        assert_eq!(calls(&mut machine, &[Success; 3], now), [None; 3]);
        assert!(machine.is_healthy());
        let near = [Failure, Success, Success, Failure];
        assert_eq!(
            calls(&mut machine, &near, now).last(),
            Some(&Some(Change::Opened))
        );
    }

    #[test]
    fn half_open_it_lets_so_many_through_and_closes_when_all_have_succeeded() {
        let now = Instant::now();
        let mut machine = machine(1, 1, 2);
        calls(&mut machine, &[End::Failure], now);
        let later = now + OPEN_FOR;
        assert_eq!(machine.admit(later), (Ok(()), Some(Change::HalfOpened)));
        assert!(machine.is_trying());
        let trial = machine.epoch();
        assert_eq!(machine.admit(later), (Ok(()), None));
        assert_eq!(machine.admit(later), (Err(Duration::ZERO), None));
        assert_eq!(machine.ended(trial, End::Success, later), None);
        // A place that was given back is there for another.
        assert_eq!(machine.ended(trial, End::Neither, later), None);
        assert_eq!(machine.admit(later), (Ok(()), None));
        assert_eq!(machine.admit(later), (Err(Duration::ZERO), None));
        assert_eq!(
            machine.ended(trial, End::Success, later),
            Some(Change::Closed)
        );
        assert!(machine.is_healthy());
    }

    #[test]
    fn a_failed_trial_opens_it_again_for_as_long() {
        let now = Instant::now();
        let mut machine = machine(1, 1, 3);
        calls(&mut machine, &[End::Failure], now);
        let later = now + OPEN_FOR;
        let _ = machine.admit(later);
        let _ = machine.admit(later);
        let trial = machine.epoch();
        assert_eq!(
            machine.ended(trial, End::Failure, later),
            Some(Change::Opened)
        );
        // The other one of the same trial is of the past.
        assert_eq!(machine.ended(trial, End::Success, later), None);
        assert_eq!(machine.admit(later), (Err(OPEN_FOR), None));
    }

    #[test]
    fn what_was_under_way_when_it_opened_decides_nothing() {
        let now = Instant::now();
        let mut machine = machine(1, 1, 1);
        let before = machine.epoch();
        machine.ended(before, End::Failure, now);
        assert_eq!(machine.ended(before, End::Failure, now), None);
        let later = now + OPEN_FOR;
        let _ = machine.admit(later);
        assert_eq!(machine.ended(before, End::Failure, later), None);
        assert_eq!(machine.ended(before, End::Success, later), None);
        assert!(machine.is_trying());
    }

    #[test]
    fn what_is_out_of_range_is_moved_into_it() {
        let now = Instant::now();
        let mut always = Machine::new(Breaker {
            failures: 0,
            window: 0,
            trial: 0,
            open_for: Duration::MAX,
        });
        assert_eq!(
            calls(&mut always, &[End::Failure], now),
            [Some(Change::Opened)]
        );
        let mut widest = machine(u32::MAX, u32::MAX, 1);
        let ends = calls(&mut widest, &[End::Failure; 128], now);
        assert_eq!(ends.iter().position(Option::is_some), Some(127));
    }

    proptest! {
        /// Against a list of ends, looked at anew each time.
        #[test]
        fn it_opens_exactly_when_so_many_of_the_last_calls_have_failed(
            failures in 1_u32..6,
            more in 0_u32..10,
            ends in prop::collection::vec(any::<bool>(), 1..100),
        ) {
            let now = Instant::now();
            let window = failures + more;
            let mut machine = machine(failures, window, 1);
            for (at, failed) in ends.iter().enumerate() {
                let end = if *failed { End::Failure } else { End::Success };
                let change = machine.ended(0, end, now);
                let from = (at + 1).saturating_sub(window as usize);
                let of_the_last = ends[from..=at].iter().filter(|failed| **failed).count();
                prop_assert_eq!(change.is_some(), of_the_last >= failures as usize);
                if change.is_some() {
                    break;
                }
                prop_assert_eq!(machine.is_healthy(), of_the_last == 0);
            }
        }
    }
}
