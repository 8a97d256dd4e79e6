//! The way of each strategy, what commands do, and a failure at every point.

mod of_plan;
mod walks;
mod world;

use std::time::Duration;

use super::*;
use crate::deployment::gate::Gate;
use crate::deployment::strategy::CanaryStep;
use world::{Answer, Pending, Serving, World, interval, word};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn step(way: Way) -> RolloutStep {
    let gate = (way != Way::Last).then(Gate::default);
    RolloutStep {
        label: "one".to_owned(),
        warm: way != Way::Last,
        way,
        gate,
    }
}

fn canary(steps: &[(u8, Option<u64>)]) -> RolloutStep {
    let steps = steps.iter().map(|(percent, pause)| CanaryStep {
        weight: Share::percent(*percent),
        pause: pause.map(s),
    });
    step(Way::Canary(steps.collect()))
}

fn shadow(pause: u64) -> RolloutStep {
    step(Way::Shadow {
        share: Share::percent(10),
        pause: s(pause),
    })
}

fn plain() -> RolloutStep {
    RolloutStep {
        gate: None,
        ..step(Way::AtOnce)
    }
}

/// Everything that was put out on the way where nothing fails.
fn way(steps: Vec<RolloutStep>, soak: u64) -> String {
    let mut world = World::new(steps, s(soak));
    world.run();
    assert_eq!(world.end, Some(RolloutEnd::Permanent));
    world.said.join(" ")
}

const BEGIN: &str = "prepare prepared";
const SWITCHING: &str = "warmed switching";

#[test]
fn a_component_that_is_replaced_at_once_goes_through_every_record() {
    assert_eq!(
        way(vec![plain()], 0),
        format!("{BEGIN} warm:0 {SWITCHING} switch:0 soaking permanent drop-old:0 finish")
    );
}

#[test]
fn blue_green_is_looked_at_while_it_soaks() {
    assert_eq!(
        way(vec![step(Way::AtOnce)], 25),
        format!(
            "{BEGIN} warm:0 {SWITCHING} switch:0 soaking begin:0 wait:12.5s measure:0 begin:0 wait:25s measure:0 \
             permanent drop-old:0 finish"
        )
    );
}

#[test]
fn a_canary_takes_weight_after_weight() {
    assert_eq!(
        way(vec![canary(&[(5, Some(20)), (50, Some(4))])], 0),
        format!(
            "{BEGIN} warm:0 {SWITCHING} weight:0:5% begin:0 wait:10s measure:0 begin:0 wait:20s measure:0 \
             weight:0:50% begin:0 wait:24s measure:0 switch:0 soaking permanent drop-old:0 finish"
        )
    );
}

#[test]
fn a_shadow_is_ended_before_the_switch() {
    assert_eq!(
        way(vec![shadow(10)], 0),
        format!(
            "{BEGIN} warm:0 {SWITCHING} shadow:0:10% begin:0 wait:10s measure:0 shadow:0:0% switch:0 soaking permanent \
             drop-old:0 finish"
        )
    );
}

#[test]
fn steps_follow_one_another_and_what_is_gone_goes_last() {
    let steps = vec![
        plain(),
        step(Way::Last),
        canary(&[(5, Some(10))]),
        step(Way::Last),
    ];
    assert_eq!(
        way(steps, 5),
        format!(
            "{BEGIN} warm:0 warm:2 {SWITCHING} switch:0 switching weight:2:5% begin:2 wait:10s measure:2 switch:2 \
             soaking begin:2 wait:15s measure:2 permanent drop-old:0 drop-old:2 drop-old:1 drop-old:3 finish"
        )
    );
}

#[test]
fn a_deployment_that_only_stops_something_has_its_records_too() {
    assert_eq!(
        way(vec![step(Way::Last)], 0),
        format!("{BEGIN} {SWITCHING} soaking permanent drop-old:0 finish")
    );
    assert_eq!(
        way(Vec::new(), 0),
        format!("{BEGIN} {SWITCHING} soaking permanent finish")
    );
}

#[test]
fn a_quiet_interval_is_gone_on_with_and_four_are_too_many() {
    let mut world = World::new(vec![canary(&[(5, Some(10))])], Duration::ZERO);
    world.run_to(&Output::Measure(StepId(0), 1));
    for quiet in 1..=3 {
        world.measured(0, interval(3, 0));
        let said = world.last(1);
        assert_eq!(
            said,
            format!("wait:{}s", 10 * (quiet + 1)),
            "without a new beginning"
        );
        world.tick();
    }
    world.measured(0, interval(3, 0));
    assert_eq!(world.last(2), "back:0 rolling-back");
    world.run();
    let Some(RolloutEnd::RolledBack { why, .. }) = &world.end else {
        panic!("{:?}", world.end)
    };
    assert!(
        why.starts_with("one: not to be judged 4 times in a row"),
        "{why}"
    );
}

#[test]
fn a_step_without_a_time_waits_for_its_promotion_and_a_quiet_night_is_no_failure() {
    let mut world = World::new(vec![canary(&[(5, None)])], Duration::ZERO);
    world.run_to(&Output::Measure(StepId(0), 1));
    for _ in 0..20 {
        world.measured(0, interval(0, 0));
        world.tick();
    }
    world.command(Command::Promote).unwrap();
    assert_eq!(world.last(1), "switch:0");
    world.run();
    assert_eq!(world.end, Some(RolloutEnd::Permanent));
}

#[test]
fn a_quiet_soak_ends_by_time_and_a_trap_in_it_rolls_back() {
    let mut world = World::new(vec![step(Way::AtOnce)], s(30));
    world.run_to(&Output::Measure(StepId(0), 1));
    world.measured(0, interval(0, 0));
    world.tick();
    let trapped = Interval {
        traps: 1,
        ..interval(0, 0)
    };
    world.measured(0, trapped);
    world.run();
    assert!(matches!(world.end, Some(RolloutEnd::RolledBack { .. })));

    let mut world = World::new(vec![step(Way::AtOnce)], s(30));
    world.run_to(&Output::Measure(StepId(0), 1));
    world.measured(0, interval(0, 0));
    world.tick();
    world.measured(0, interval(0, 0));
    world.tick();
    world.measured(0, interval(0, 0));
    assert_eq!(world.last(1), "permanent");
}

#[test]
fn in_a_soak_each_step_has_intervals_of_its_own() {
    let quick = |interval| RolloutStep {
        gate: Some(Gate {
            interval,
            ..Gate::default()
        }),
        ..step(Way::AtOnce)
    };
    let mut world = World::new(vec![quick(s(10)), quick(s(15))], s(30));
    world.run_to(&Output::Wait(s(10)));
    assert_eq!(world.last(3), "begin:0 begin:1 wait:10s");
    world.tick();
    // The other one's interval is not over.
    assert_eq!(world.last(2), "measure:0 wait:15s");
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(2), "begin:0 wait:15s");
    world.tick();
    // One that says nothing keeps its counts, and only it.
    world.measured(1, interval(3, 0));
    assert_eq!(world.last(1), "wait:20s");
    world.tick();
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(2), "begin:0 wait:30s");
    world.tick();
    assert_eq!(world.last(2), "measure:0 measure:1");
    world.measured(1, interval(1_000, 0));
    assert_eq!(
        world.last(2),
        "begin:1 wait:45s",
        "the soak is not over for the other one"
    );
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(1), "permanent");
}

#[test]
fn a_soak_ends_with_the_last_of_its_steps_and_all_are_looked_at_until_then() {
    let mut world = World::new(vec![step(Way::AtOnce), step(Way::AtOnce)], s(10));
    world.run_to(&Output::Wait(s(10)));
    world.tick();
    world.measured(0, interval(1_000, 0));
    world.measured(1, interval(200, 5));
    assert_eq!(world.last(1), "wait:20s");
    world.tick();
    let trapped = Interval {
        traps: 1,
        ..interval(1_000, 0)
    };
    world.measured(0, trapped);
    world.run();
    assert!(matches!(world.end, Some(RolloutEnd::RolledBack { .. })));
}

#[test]
fn what_looks_bad_in_a_soak_without_being_sure_makes_it_longer() {
    let mut world = World::new(vec![step(Way::AtOnce)], s(10));
    world.run_to(&Output::Measure(StepId(0), 1));
    for held in 1..=3 {
        world.measured(0, interval(200, 5));
        assert_eq!(world.last(1), format!("wait:{}s", 10 * (held + 1)));
        world.tick();
    }
    world.measured(0, interval(200, 5));
    world.run();
    let Some(RolloutEnd::RolledBack { why, .. }) = &world.end else {
        panic!("{:?}", world.end)
    };
    assert!(
        why.contains("at last because 5 of 200 requests failed"),
        "{why}"
    );

    // What follows may clear it.
    let mut world = World::new(vec![step(Way::AtOnce)], s(10));
    world.run_to(&Output::Measure(StepId(0), 1));
    world.measured(0, interval(200, 5));
    world.tick();
    world.measured(0, interval(2_000, 5));
    assert_eq!(world.last(1), "permanent");
}

#[test]
fn a_pause_stops_the_clock_and_not_the_watch() {
    let mut world = World::new(vec![canary(&[(5, Some(10))])], Duration::ZERO);
    world.run_to(&Output::Wait(s(10)));
    world.now = s(4);
    world.command(Command::Pause).unwrap();
    assert_eq!(world.command(Command::Pause), Err(CommandRefused::Paused));
    assert_eq!(world.last(1), "wait:14s");
    world.tick();
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(2), "begin:0 wait:24s", "it does not count");
    world.now = s(20);
    world.command(Command::Resume).unwrap();
    assert_eq!(
        world.command(Command::Resume),
        Err(CommandRefused::NotPaused)
    );
    assert_eq!(world.last(1), "wait:26s", "six seconds were left");
    world.tick();
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(1), "switch:0");
}

#[test]
fn a_pause_between_question_and_answer_loses_no_time() {
    let mut world = World::new(vec![canary(&[(5, Some(10))])], Duration::ZERO);
    world.run_to(&Output::Wait(s(10)));
    world.now = s(7);
    world.command(Command::Pause).unwrap();
    world.tick();
    assert_eq!(world.last(1), "measure:0");
    world.command(Command::Resume).unwrap();
    world.measured(0, interval(1_000, 0));
    assert_eq!(
        world.last(2),
        "begin:0 wait:20s",
        "three seconds were left at 17 s"
    );
    world.tick();
    world.measured(0, interval(1_000, 0));
    assert_eq!(world.last(1), "switch:0");
}

#[test]
fn a_pause_holds_before_the_next_step_and_a_bad_canary_goes_all_the_same() {
    let mut world = World::new(vec![plain(), plain()], Duration::ZERO);
    world.run_to(&Output::Switch(StepId(0)));
    world.command(Command::Pause).unwrap();
    world.run();
    assert_eq!(
        (world.end.as_ref(), world.last(1).as_str()),
        (None, "switch:0")
    );
    world.command(Command::Promote).unwrap();
    assert_eq!(world.last(1), "switching");
    world.run();
    assert_eq!(world.end, Some(RolloutEnd::Permanent));

    let mut world = World::new(vec![canary(&[(5, Some(10))])], Duration::ZERO);
    world.run_to(&Output::Wait(s(10)));
    world.command(Command::Pause).unwrap();
    world.tick();
    world.measured(0, interval(1_000, 900));
    assert_eq!(world.last(2), "back:0 rolling-back");
}

#[test]
fn promotion_skips_the_rest_of_a_weight_or_of_the_soak() {
    let mut world = World::new(vec![canary(&[(5, Some(60)), (50, Some(60))])], s(60));
    world.run_to(&Output::Wait(s(10)));
    world.command(Command::Promote).unwrap();
    assert_eq!(world.last(3), "weight:0:50% begin:0 wait:10s");
    world.command(Command::Promote).unwrap();
    assert_eq!(world.last(1), "switch:0");
    assert_eq!(
        world.command(Command::Promote),
        Err(CommandRefused::NothingToSkip)
    );
    world.run_to(&Output::Journal(DeploymentState::Soaking, String::new()));
    world.answer_first(Answer::Done);
    world.command(Command::Promote).unwrap();
    assert_eq!(world.last(1), "permanent");
    assert_eq!(
        world.command(Command::RollBack { why: String::new() }),
        Err(CommandRefused::Over)
    );
}

#[test]
fn a_rollback_waits_for_the_switch_and_goes_before_the_journal() {
    let mut world = World::new(vec![plain(), plain()], s(10));
    world.run_to(&Output::Switch(StepId(1)));
    let why = "it looks wrong".to_owned();
    world.command(Command::RollBack { why }).unwrap();
    assert_eq!(world.last(1), "switch:1");
    world.answer_first(Answer::Done);
    assert_eq!(world.last(2), "back:1 rolling-back");
    assert_eq!(
        world.command(Command::Pause),
        Err(CommandRefused::RollingBack)
    );
    world.run();
    assert_eq!(
        world.end,
        Some(RolloutEnd::RolledBack {
            why: "it looks wrong".to_owned(),
            unjournaled: None
        })
    );
    assert_eq!(
        world.last(6),
        "back:1 rolling-back back:0 drop-new:1 drop-new:0 rolled-back finish"
            .split(' ')
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    );
}

/// Goes the way of these steps and answers the `at`-th question so; `None` if there are not so many.
fn with_failure(steps: &[RolloutStep], at: usize, answer: Answer) -> Option<World> {
    let mut world = World::new(steps.to_vec(), s(10));
    for _ in 0..at {
        world.step()?;
    }
    if world.pending.is_empty() {
        return None;
    }
    world.answer_first(answer);
    world.run();
    Some(world)
}

fn all_ways() -> Vec<Vec<RolloutStep>> {
    let two = |first: fn() -> RolloutStep| {
        let gradual = canary(&[(5, Some(20)), (50, Some(10))]);
        [
            gradual,
            shadow(20),
            plain(),
            step(Way::AtOnce),
            step(Way::Last),
        ]
        .into_iter()
        .map(move |second| vec![first(), second, plain()])
    };
    let mut all: Vec<_> = two(plain).collect();
    all.extend(two(|| canary(&[(10, Some(10))])));
    all.extend(two(|| shadow(10)));
    all
}

#[test]
fn a_failure_at_any_point_ends_with_the_old_revisions() {
    let mut points = 0;
    for steps in all_ways() {
        let happy = {
            let mut world = World::new(steps.clone(), s(10));
            std::iter::from_fn(|| world.step()).count()
        };
        for at in 0..happy {
            let Some(world) = with_failure(&steps, at, Answer::Failed) else {
                continue;
            };
            points += 1;
            let context = || format!("{at} of {steps:?}: {:?}", world.said);
            match &world.end {
                Some(RolloutEnd::RolledBack { .. }) => {}
                Some(RolloutEnd::Failed { stuck, .. }) => assert_eq!(stuck, &[], "{}", context()),
                other => panic!("{other:?} {}", context()),
            }
            assert!(
                world.serving.iter().all(|serving| *serving == Serving::Old),
                "{}",
                context()
            );
        }
    }
    assert!(points > 200, "{points}");
}

#[test]
fn a_candidate_that_dies_and_a_word_from_the_operator_do_so_too() {
    for steps in all_ways() {
        for at in 0.. {
            let mut world = World::new(steps.clone(), s(10));
            if (0..at).any(|_| world.step().is_none()) {
                break;
            }
            let over = world.end.is_some() || world.is_being_made_permanent();
            if at % 2 == 0 {
                let died = Input::CandidateDied(StepId(0), "killed".to_owned());
                world.tell(died);
            } else {
                let told = world.command(Command::RollBack {
                    why: "no".to_owned(),
                });
                assert_eq!(told.is_ok(), !over);
            }
            world.run();
            let expected = if over { Serving::New } else { Serving::Old };
            for (serving, step) in world.serving.iter().zip(&steps) {
                let last = step.way == Way::Last;
                assert!(
                    last || *serving == expected,
                    "{at} {steps:?}: {:?}",
                    world.said
                );
            }
        }
    }
}

#[test]
fn what_cannot_be_prepared_leaves_no_record() {
    let world = with_failure(&[plain()], 0, Answer::Failed).unwrap();
    assert_eq!(world.said, ["prepare", "finish"]);
    assert!(world.journal.is_empty());
    let Some(RolloutEnd::Failed {
        why, unjournaled, ..
    }) = &world.end
    else {
        panic!("{:?}", world.end)
    };
    assert_eq!((why.as_str(), unjournaled), ("it broke", &None));
}

#[test]
fn a_switch_back_that_fails_is_reported_and_stops_no_other() {
    let mut world = World::new(vec![plain(), plain(), plain()], s(10));
    world.run_to(&Output::Switch(StepId(2)));
    world.answer_first(Answer::Failed);
    assert_eq!(world.pending.front(), Some(&Pending::Back(StepId(2))));
    world.answer_first(Answer::Done);
    world.answer(&Pending::Back(StepId(1)), Answer::Failed);
    world.run();
    let Some(RolloutEnd::Failed { stuck, .. }) = &world.end else {
        panic!("{:?}", world.end)
    };
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].0, StepId(1));
    assert_eq!(world.journal.last(), Some(&DeploymentState::Failed));
    assert_eq!(world.serving[0], Serving::Old);
    assert_eq!(world.serving[2], Serving::Old);
    assert!(
        !world.said.contains(&"drop-new:1".to_owned()),
        "it still serves"
    );
}

#[test]
fn a_journal_that_cannot_be_written_undoes_what_it_should_have_said() {
    for (lost, switched) in [
        (DeploymentState::Prepared, false),
        (DeploymentState::Warmed, false),
        (DeploymentState::Switching, false),
        (DeploymentState::Soaking, true),
        (DeploymentState::Permanent, true),
    ] {
        let mut world = World::new(vec![plain()], s(10));
        world.full_from = Some(lost);
        world.run();
        match &world.end {
            Some(RolloutEnd::RolledBack { unjournaled, .. }) if switched => {
                assert!(unjournaled.is_some(), "{lost}");
            }
            Some(RolloutEnd::Failed {
                unjournaled, stuck, ..
            }) if !switched => {
                // What is not prepared has no record to be closed.
                let expected = lost != DeploymentState::Prepared;
                assert!(
                    unjournaled.is_some() == expected && stuck.is_empty(),
                    "{lost}"
                );
            }
            other => panic!("{lost}: {other:?}"),
        }
        assert_eq!(world.serving, [Serving::Old], "{lost}");
    }
}

#[test]
fn what_comes_late_says_nothing() {
    let mut world = World::new(vec![canary(&[(5, Some(10))])], s(10));
    world.run_to(&Output::Measure(StepId(0), 1));
    world.command(Command::Promote).unwrap();
    let said = world.said.len();
    for late in [
        Input::IntervalOver {
            step: StepId(0),
            round: 1,
            seen: Box::new(Seen {
                stable: interval(1_000, 0),
                candidate: interval(1_000, 1_000),
            }),
        },
        Input::Prepared,
        Input::Warmed(StepId(0)),
        Input::WarmFailed(StepId(0), "late".to_owned()),
        Input::SwitchedBack(StepId(0)),
        Input::Switched(StepId(7)),
        Input::Tick,
        Input::Journaled,
        Input::JournalFailed("late".to_owned()),
    ] {
        world.tell(late);
    }
    assert_eq!(world.said.len(), said);
    assert_eq!(word(&Output::Switch(StepId(0))), world.last(1));
}

#[test]
fn a_rollback_while_it_is_prepared_waits_until_it_is_known_whether_there_is_a_record() {
    for (answer, records) in [
        (
            Answer::Done,
            vec![DeploymentState::Prepared, DeploymentState::Failed],
        ),
        (Answer::Failed, Vec::new()),
    ] {
        let mut world = World::new(vec![plain()], Duration::ZERO);
        for why in ["no", "again"] {
            let why = why.to_owned();
            world.command(Command::RollBack { why }).unwrap();
        }
        let skipped = world.command(Command::Promote);
        assert_eq!(skipped, Err(CommandRefused::NothingToSkip));
        assert_eq!(world.end, None);
        world.answer_first(answer);
        world.run();
        assert_eq!(world.journal, records);
        let Some(RolloutEnd::Failed {
            why,
            stuck,
            unjournaled,
        }) = world.end
        else {
            panic!("{:?}", world.end);
        };
        assert_eq!((why.as_str(), stuck, unjournaled), ("no", vec![], None));
        assert!(!world.said.contains(&"warm:0".to_owned()));
    }
}
