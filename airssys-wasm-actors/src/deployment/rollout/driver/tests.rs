//! Whatever panics in a worker, the rollout ends, with what was switched switched back.

use std::collections::BTreeSet;

use super::*;
use crate::deployment::gate::Gate;
use crate::deployment::machine::{RolloutStep, Way};
use crate::deployment::strategy::CanaryStep;
use crate::deployment::{Interval, Share};

const HOUR: Duration = Duration::from_secs(3_600);

/// A component that is tried with copies, and one that is tried with a part of the traffic.
fn steps() -> Vec<RolloutStep> {
    let share = Share::percent(10);
    let canary = CanaryStep {
        weight: share,
        pause: Some(HOUR),
    };
    let ways = [
        Way::Shadow { share, pause: HOUR },
        Way::Canary(vec![canary]),
    ];
    let steps = ways.map(|way| RolloutStep {
        label: "one".to_owned(),
        warm: true,
        way,
        gate: Some(Gate {
            holds_max: 1_000,
            samples_min: 0,
            ..Gate::default()
        }),
    });
    steps.into()
}

/// What a worker is given for it.
fn work_of(output: &Output) -> Option<Work> {
    Some(match output {
        Output::Warm(step) => Work::Warm(*step),
        Output::SetWeight(step, share) => Work::SetWeight(*step, *share),
        Output::Shadow(step, share) => Work::Shadow(*step, *share),
        Output::BeginInterval(step) => Work::BeginInterval(*step),
        Output::Measure(step, round) => Work::Measure(*step, *round),
        Output::Switch(step) => Work::Switch(*step),
        Output::SwitchBack(step) => Work::SwitchBack(*step),
        Output::Release(step, side) => Work::Release(*step, *side),
        _ => return None,
    })
}

/// What it answers when all is well.
fn well(work: &Work) -> Option<Input> {
    match work {
        Work::Warm(step) => Some(Input::Warmed(*step)),
        Work::Measure(step, round) => {
            let seen = Interval {
                requests: 1_000,
                ..Interval::default()
            };
            Some(Input::IntervalOver {
                step: *step,
                round: *round,
                seen: Box::new(Seen {
                    stable: seen,
                    candidate: seen,
                }),
            })
        }
        Work::Switch(step) => Some(Input::Switched(*step)),
        Work::SwitchBack(step) => Some(Input::SwitchedBack(*step)),
        _ => None,
    }
}

fn name(work: &Work) -> &'static str {
    match work {
        Work::Warm(_) => "warm",
        Work::SetWeight(..) => "weight",
        Work::Shadow(..) => "shadow",
        Work::BeginInterval(_) => "begin",
        Work::Measure(..) => "measure",
        Work::Switch(_) => "switch",
        Work::SwitchBack(_) => "switch back",
        Work::Release(..) => "release",
        Work::Finish(_) => "finish",
    }
}

/// A whole rollout, in which what has these numbers panics: how it ended, and what panicked.
async fn run(panics: &[usize]) -> (Option<RolloutEnd>, Vec<&'static str>) {
    let mut machine = RolloutMachine::new(steps(), Duration::ZERO);
    let (mut now, mut nth, mut said) = (Duration::ZERO, 0, Vec::new());
    machine.start();
    let mut end = None;
    let mut outputs = VecDeque::new();
    loop {
        outputs.extend(machine.take_outputs());
        let Some(output) = outputs.pop_front() else {
            return (end, said);
        };
        match output {
            Output::Prepare => machine.handle(Input::Prepared, now),
            Output::Journal(..) => machine.handle(Input::Journaled, now),
            Output::Wait(until) => {
                now = until;
                machine.handle(Input::Tick, now);
            }
            Output::Finish(over) => end = Some(over),
            output => {
                let work = work_of(&output).unwrap();
                let panics = panics.contains(&nth);
                nth += 1;
                let (id, failed, well) =
                    (step_of(&work).unwrap(), if_it_panics(&work), well(&work));
                let input = answered(id, failed, async move {
                    assert!(!panics, "on purpose");
                    well
                });
                if panics {
                    said.push(name(&work));
                }
                if let Some(input) = input.await {
                    machine.handle(input, now);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_rollout_ends_whatever_panics() {
    let (end, _) = run(&[]).await;
    assert_eq!(end, Some(RolloutEnd::Permanent));
    let mut seen = BTreeSet::new();
    for nth in 0.. {
        let (end, said) = run(&[nth]).await;
        let [said] = said[..] else {
            break;
        };
        seen.insert(said);
        match end {
            // Nothing that anybody asked for has failed.
            Some(RolloutEnd::Permanent) => assert_eq!(said, "release"),
            Some(RolloutEnd::RolledBack { why, .. } | RolloutEnd::Failed { why, .. }) => {
                assert!(why.contains("on purpose"), "{said}: {why}");
            }
            None => panic!("no end after a panic in {said}"),
        }
        // And whatever panics on the way back.
        for another in nth + 1.. {
            let (end, said) = run(&[nth, another]).await;
            assert!(end.is_some(), "no end after panics in {said:?}");
            if said.len() < 2 {
                break;
            }
            seen.extend(&said);
            if said[1] == "switch back" {
                assert!(matches!(&end, Some(RolloutEnd::Failed { stuck, .. }) if stuck.len() == 1));
            }
        }
    }
    let all = [
        "begin",
        "measure",
        "release",
        "shadow",
        "switch",
        "switch back",
        "warm",
        "weight",
    ];
    assert_eq!(Vec::from_iter(seen), all);
}
