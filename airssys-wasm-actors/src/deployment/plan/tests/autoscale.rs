//! Plans of components whose number of replicas follows what they have to do, and of what runs in another number than it
//! says.

use airssys_wasm::Surface;

use super::*;
use crate::deployment::autoscale::Autoscale;

/// The same, and so many there are.
fn running(mut application: ApplicationOutline, replicas: u32) -> ApplicationOutline {
    application.components[0].running = Some(replicas);
    application
}

fn scaled(bytes: u8, replicas: u32, bounds: Option<(u32, u32)>) -> ApplicationOutline {
    let mut one = component("a", bytes);
    one.replicas = replicas;
    one.autoscale = bounds.map(|(min, max)| Autoscale {
        min,
        max,
        ..Autoscale::default()
    });
    application(vec![one, component("b", 1)])
}

#[test]
fn bounds_come_change_and_go_without_new_instances() {
    let (none, some, more) = (
        scaled(1, 1, None),
        scaled(1, 1, Some((1, 8))),
        scaled(1, 1, Some((2, 9))),
    );
    for (from, to, bounds) in [
        (&none, &some, "none -> 1 to 8, queue 100 each, busy 70 %"),
        (
            &some,
            &more,
            "1 to 8, queue 100 each, busy 70 % -> 2 to 9, queue 100 each, busy 70 %",
        ),
        (&more, &none, "2 to 9, queue 100 each, busy 70 % -> none"),
    ] {
        let plan = planned(from, to);
        assert_eq!(
            plan.to_string(),
            format!(
                "`app`: 1 step\
                 \n  1. retune `a`: autoscale\
                 \n       autoscale: {bounds}\
                 \nunchanged: b"
            )
        );
    }
    assert!(planned(&some, &some).is_empty());
    let json = serde_json::to_value(planned(&none, &more)).unwrap();
    let change = &json["steps"][0]["parts"][0]["autoscale"];
    assert_eq!(change["from"], serde_json::Value::Null);
    assert_eq!(
        (&change["to"]["max"], &change["to"]["up-cooldown"]),
        (&9.into(), &"5s".into())
    );
}

/// The number that runs is kept, whatever the manifest says that it starts with.
#[test]
fn while_it_is_autoscaled_the_number_that_runs_is_kept() {
    let running = running(scaled(1, 1, Some((1, 8))), 5);
    assert!(planned(&running, &scaled(1, 2, Some((1, 8)))).is_empty());
    let plan = planned(&running, &scaled(2, 1, Some((1, 8))));
    let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
        panic!("{plan}");
    };
    assert_eq!(replacement.replicas, Scale { from: 5, to: 5 });
    assert_eq!(plan.steps[0].parts[0].autoscale, None);
    // Once it is not any more, there are as many as it says.
    let plan = planned(&running, &scaled(1, 1, None)).to_string();
    assert!(plan.contains("scale `a` from 5 to 1"), "{plan}");
    assert!(plan.contains("also: autoscale"), "{plan}");
    // And where it begins to be, as many as there were.
    let plan = planned(&scaled(1, 5, None), &scaled(1, 1, Some((1, 8)))).to_string();
    assert!(plan.contains("retune `a`: autoscale"), "{plan}");
}

/// What runs is another number than what was deployed last says.
#[test]
fn a_number_that_is_not_what_it_should_be_is_a_change() {
    let (current, same) = (running(scaled(1, 4, None), 3), scaled(1, 4, None));
    let plan = planned(&current, &same).to_string();
    assert!(plan.contains("scale `a` from 3 to 4"), "{plan}");
    assert!(planned(&running(scaled(1, 4, None), 4), &same).is_empty());
    let plan = planned(&current, &scaled(2, 4, None)).to_string();
    assert!(plan.contains("replicas: 3 -> 4"), "{plan}");
    // What is asked for is asked for, and what happens to be so already is nothing to do.
    let plan = planned(&current, &scaled(1, 2, None)).to_string();
    assert!(plan.contains("scale `a` from 3 to 2"), "{plan}");
    assert!(planned(&current, &scaled(1, 3, None)).is_empty());
}

/// Where something stands in the way of putting it right, nothing else has to wait for that.
#[test]
fn a_number_that_cannot_be_put_right_is_left_as_it_is() {
    let stateful = |bytes| {
        let mut one = state("a", bytes);
        one.replicas = 4;
        application(vec![one])
    };
    let current = running(stateful(1), 6);
    assert!(planned(&current, &stateful(1)).is_empty());
    let plan = planned(&current, &stateful(2));
    let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
        panic!("{plan}");
    };
    assert_eq!(replacement.replicas, Scale { from: 6, to: 6 });
    assert_eq!(replacement.state, StateHandling::HandOver);
    // Who is told of a change goes on, however many they are.
    let to = |mode| {
        running(
            application(vec![configured(&["mode"], &[("mode", mode)])]),
            3,
        )
    };
    let plan = planned(&to("slow"), &to("fast")).to_string();
    assert!(plan.contains("reconfigure `a`"), "{plan}");
    // By choice of whoever asks for it, it is still refused.
    let mut fewer = stateful(1);
    fewer.components[0].replicas = 2;
    assert_eq!(kinds(&refused(&current, &fewer)), ["replicas"]);
}

#[test]
fn one_whose_resources_others_hold_does_not_become_several_by_it() {
    let owner = |bounds| {
        let mut application = scaled(1, 1, bounds);
        let wit = "package app:a@0.1.0; interface api { resource r { constructor(); } }";
        let surface = Surface::new(Vec::new(), Surface::from_wit(wit).unwrap().exports);
        application.components[0].surface = surface.into();
        application
    };
    let refusals = refused(&owner(None), &owner(Some((2, 4))));
    assert_eq!(kinds(&refusals), ["replicas"]);
    let text = refusals[0].to_string();
    assert!(text.contains("to have 4 replicas instead of 1"), "{text}");
    // It has been several before.
    assert!(!planned(&owner(Some((1, 4))), &owner(Some((1, 2)))).is_empty());
    assert!(!planned(&owner(None), &owner(Some((1, 1)))).is_empty());
}
