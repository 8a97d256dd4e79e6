//! Schedules as tables, and operations whose outcome is known.

use super::*;
use crate::load::operations::Running;
use crate::load::{LoadScenario, Sizes, Target};

const SECOND: Duration = Duration::from_secs(1);

fn open(rate: f64, length: Length) -> Schedule {
    let concurrency = 4;
    Schedule::new(Pace::Open { rate, concurrency }, length)
}

#[test]
fn an_open_loop_has_its_times_before_it_begins() {
    let schedule = open(10.0, Length::Time(SECOND));
    assert_eq!(schedule.due(0, Duration::ZERO), Next::At(Duration::ZERO));
    assert_eq!(
        schedule.due(3, Duration::ZERO),
        Next::At(Duration::from_millis(300))
    );
    // Late, but it was due in time.
    assert_eq!(
        schedule.due(9, 2 * SECOND),
        Next::At(Duration::from_millis(900))
    );
    assert_eq!(schedule.due(10, Duration::ZERO), Next::End);
    // It does not catch up for ever.
    assert_eq!(schedule.due(9, SECOND + CATCH_UP), Next::End);
}

#[test]
fn a_count_ends_either_loop() {
    let closed = Schedule::new(Pace::Closed { concurrency: 1 }, Length::Count(5));
    assert_eq!(closed.due(4, 100 * SECOND), Next::Now);
    assert_eq!(closed.due(5, Duration::ZERO), Next::End);
    assert_eq!(
        open(1.0, Length::Count(5)).due(5, Duration::ZERO),
        Next::End
    );
}

#[test]
fn what_was_due_and_not_sent_is_counted() {
    let schedule = open(100.0, Length::Time(SECOND));
    // All 100 were sent, and each of 4 workers took one more to see the end.
    assert_eq!(schedule.unsent(104, 4), 0);
    assert_eq!(schedule.unsent(64, 4), 40);
    let closed = Schedule::new(Pace::Closed { concurrency: 4 }, Length::Time(SECOND));
    assert_eq!(closed.unsent(10, 4), 0);
}

#[test]
fn as_many_are_due_as_the_schedule_gives() {
    for (rate, milliseconds) in [
        // 100 × 0.07 is a little more than 7 to a computer, and 3 × 1.1 than 3.3.
        (100.0, 70),
        (3.0, 1_100),
        (0.1, 10_000),
        (0.01, 50),
        (999.9, 1_000),
        (12_345.6, 777),
    ] {
        let length = Duration::from_millis(milliseconds);
        let schedule = open(rate, Length::Time(length));
        let sent = (0..)
            .take_while(|number| schedule.due(*number, Duration::ZERO) != Next::End)
            .count();
        let taken = u64::try_from(sent).unwrap() + 4;
        assert_eq!(schedule.unsent(taken, 4), 0, "{rate} for {length:?}");
        assert_eq!(schedule.unsent(4, 4), taken - 4, "{rate} for {length:?}");
    }
}

#[test]
fn slices_are_by_time_or_by_number() {
    let by_time = open(100.0, Length::Time(SECOND));
    assert_eq!(by_time.slice(0, Duration::from_millis(510)), 10);
    assert_eq!(by_time.slice(0, 3 * SECOND), SLICES - 1);
    let by_number = open(100.0, Length::Count(200));
    assert_eq!(by_number.slice(15, Duration::ZERO), 1);
    assert_eq!(by_number.slice(199, Duration::ZERO), SLICES - 1);
}

fn plan(pace: Pace, length: Length) -> LoadPlan {
    LoadPlan {
        target: Target::BuiltIn(LoadScenario::Call, Sizes::default()),
        pace,
        length,
        warm_up: Duration::ZERO,
        threads: 1,
        rivals: false,
        stop: Stop::default(),
    }
}

#[tokio::test]
async fn errors_are_counted_and_not_timed() {
    struct Refusing;
    impl Operation for Refusing {
        fn run(&self, _: usize, number: u64) -> Running<'_> {
            Box::pin(async move {
                if number.is_multiple_of(4) {
                    Err(Failed::Typed("mailbox-full"))
                } else {
                    Ok(())
                }
            })
        }
    }
    let plan = plan(Pace::Closed { concurrency: 3 }, Length::Count(400));
    let measured = drive(&plan, Arc::new(Refusing)).await.unwrap();
    assert_eq!(measured.all.errors["mailbox-full"], 100);
    assert_eq!(measured.all.latency.len(), 300);
    let slices: u64 = measured
        .slices
        .iter()
        .map(|slice| slice.latency.len())
        .sum();
    assert_eq!(slices, 300);
}

#[tokio::test]
async fn a_wrong_answer_ends_the_run() {
    struct Wrong;
    impl Operation for Wrong {
        fn run(&self, _: usize, _: u64) -> Running<'_> {
            Box::pin(async { Err(Failed::Wrong(BenchError::failed("add", "6"))) })
        }
    }
    let plan = plan(Pace::Closed { concurrency: 2 }, Length::Time(SECOND));
    let Err(error) = drive(&plan, Arc::new(Wrong)).await else {
        panic!("it measured a wrong answer");
    };
    assert_eq!(error.to_string(), "add: 6");
}

#[tokio::test]
async fn a_stopped_run_keeps_what_it_has() {
    struct Stopping(Stop);
    impl Operation for Stopping {
        fn run(&self, _: usize, number: u64) -> Running<'_> {
            if number == 9 {
                self.0.ask();
            }
            Box::pin(async { Ok(()) })
        }
    }
    let plan = plan(Pace::Closed { concurrency: 1 }, Length::Count(1_000));
    let operation = Arc::new(Stopping(plan.stop.clone()));
    let measured = drive(&plan, operation).await.unwrap();
    assert_eq!(measured.all.latency.len(), 10);
    assert_eq!(measured.unsent, 0);
}

#[tokio::test]
async fn an_operation_that_never_ends_does_not_hold_up_the_end() {
    struct Hanging(Stop);
    impl Operation for Hanging {
        fn run(&self, _: usize, number: u64) -> Running<'_> {
            Box::pin(async move {
                if number == 9 {
                    self.0.ask();
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        }
    }
    let plan = plan(Pace::Closed { concurrency: 1 }, Length::Count(1_000));
    let operation = Arc::new(Hanging(plan.stop.clone()));
    let measured = drive(&plan, operation).await.unwrap();
    // Those that it had recorded and not handed over are there.
    assert_eq!(measured.all.latency.len(), 9);
}

#[test]
fn what_waits_behind_a_slow_operation_is_late_from_when_it_was_due() {
    let slices = Slices::new().unwrap();
    let mut recorder = Recorder::new(&slices).unwrap();
    // One at a time at 10/s: the first takes 1 s, and nine more were due meanwhile, each done in no time.
    recorder
        .done(Duration::ZERO, Duration::ZERO, SECOND)
        .unwrap();
    for number in 1..10 {
        recorder
            .done(time_of(number, 10.0), SECOND, SECOND)
            .unwrap();
    }
    drop(recorder);
    let measured = slices.into_measured(1, 0, SECOND).unwrap();
    // Uncorrected, nine of ten took nothing.
    assert_eq!(measured.all.service.value_at_quantile(0.5), 0);
    let median = measured.all.latency.value_at_quantile(0.5);
    assert!(median.abs_diff(500_000_000) < 1_000_000, "{median}");
}
