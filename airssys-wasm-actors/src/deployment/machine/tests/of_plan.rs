//! A rollout of a plan.

use super::*;
use crate::deployment::{
    Action, ConfigChange, GrantsChange, Part, Plan, PlannedRevision, Replacement, RolloutStrategy,
    Scale, StateHandling, Step,
};

fn revision(bytes: &str) -> PlannedRevision {
    PlannedRevision {
        digest: airssys_wasm::Digest::of(bytes.as_bytes()),
        version: None,
    }
}

fn part(name: &str, action: Action) -> Part {
    Part {
        name: name.to_owned(),
        action,
        autoscale: None,
        callers: Vec::new(),
    }
}

fn replace(name: &str, strategy: RolloutStrategy) -> Part {
    let replacement = Replacement {
        old: revision("old"),
        new: revision("new"),
        mixed: Vec::new(),
        version_goes_back: false,
        because: Vec::new(),
        grants: GrantsChange::default(),
        limits: Vec::new(),
        config: ConfigChange::default(),
        strategy,
        state: StateHandling::Discard,
        has_state: false,
        handles_within: s(1),
        replicas: Scale { from: 1, to: 1 },
        retuned: Vec::new(),
    };
    part(name, Action::Replace(Box::new(replacement)))
}

fn weights() -> Vec<CanaryStep> {
    vec![CanaryStep {
        weight: Share::percent(5),
        pause: Some(s(30)),
    }]
}

fn a_plan() -> Plan {
    let blue_green = |soak, samples_min| RolloutStrategy::BlueGreen {
        soak: s(soak),
        gate: Gate {
            samples_min,
            ..Gate::default()
        },
    };
    let canary = RolloutStrategy::Canary {
        steps: weights(),
        gate: Gate::default(),
        sticky: None,
        soak: s(7),
    };
    let shadow = RolloutStrategy::Shadow {
        share: Share::percent(3),
        pause: s(2),
        gate: Gate::default(),
        soak: s(1),
        repeatable: false,
    };
    let step = |parts| Step {
        parts,
        together: Vec::new(),
    };
    Plan {
        application: "app".parse().unwrap(),
        steps: vec![
            step(vec![part(
                "a",
                Action::Retune {
                    keys: vec!["health"],
                },
            )]),
            step(vec![
                replace("b", blue_green(9, 50)),
                replace("c", blue_green(8, 200)),
                replace("d", RolloutStrategy::Recreate),
            ]),
            step(vec![replace("e", canary)]),
            step(vec![replace("f", shadow)]),
            step(vec![part(
                "g",
                Action::Stop {
                    old: revision("old"),
                },
            )]),
        ],
        unchanged: Vec::new(),
        stopped: Vec::new(),
    }
}

#[test]
fn a_rollout_is_made_of_a_plan() {
    let machine = RolloutMachine::of(&a_plan());
    assert_eq!(machine.soak, s(9));
    let said: Vec<_> = machine
        .steps
        .iter()
        .map(|step| (step.label.as_str(), step.warm, step.way.clone()))
        .collect();
    assert_eq!(
        said,
        [
            ("a", false, Way::AtOnce),
            ("b, c, d", true, Way::AtOnce),
            (
                "e by canary 5% for 30s, 100%, soak 7s",
                true,
                Way::Canary(weights())
            ),
            (
                "f by shadow 3% for 2s, 100%, soak 1s",
                true,
                Way::Shadow {
                    share: Share::percent(3),
                    pause: s(2)
                }
            ),
            ("g", false, Way::Last),
        ]
    );
    // Of two gates the narrower; what needs more requests is the narrower.
    let gates: Vec<_> = machine
        .steps
        .iter()
        .map(|step| step.gate.as_ref())
        .collect();
    assert_eq!(gates[1].unwrap().samples_min, 200);
    assert!(gates[0].is_none() && gates[4].is_none());
    assert!(!machine.is_over() && !machine.is_paused() && machine.state().is_none());
}
