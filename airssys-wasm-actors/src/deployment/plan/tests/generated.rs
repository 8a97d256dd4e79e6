//! Generated applications: a plan says all that differs, breaks no link on its way, and is undone by the plan back.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::made::{application, interface, link, source};
use super::{Action, Part, Plan, PlanOptions, Step, plan, refusal};
use crate::deployment::outline::{ApplicationOutline, ComponentOutline};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One component, by what is drawn of it.
#[derive(Debug, Clone)]
struct Drawn {
    is_there: bool,
    bytes: u8,
    /// Of each function: not there, or of one of two types.
    functions: [u8; 3],
    /// Of each other component: which of its functions are called.
    calls: [u8; 5],
    config: u8,
    replicas: u32,
    significant: bool,
    logs: bool,
    position: u8,
}

fn any_component() -> impl Strategy<Value = Drawn> {
    let small = (prop::bool::weighted(0.8), 0..2u8, [0..3u8, 0..3u8, 1..3u8]);
    let calls = prop::array::uniform5(prop_oneof![2 => Just(0u8), 1 => 0..8u8]);
    let rest = (0..2u8, 1..3u32, any::<bool>(), any::<bool>(), 0..3u8);
    (small, calls, rest).prop_map(|((is_there, bytes, functions), calls, rest)| Drawn {
        is_there,
        bytes,
        functions,
        calls,
        config: rest.0,
        replicas: rest.1,
        significant: rest.2,
        logs: rest.3,
        position: rest.4,
    })
}

fn function(at: usize, ty: u8) -> Option<String> {
    match ty {
        0 => None,
        1 => Some(format!("f{at}: func(x: u32);")),
        _ => Some(format!("f{at}: func(x: string);")),
    }
}

/// The application in which every link fits.
fn made(drawn: &[Drawn]) -> ApplicationOutline {
    let there: Vec<_> = NAMES
        .iter()
        .zip(drawn)
        .filter(|(_, one)| one.is_there)
        .collect();
    let mut components: Vec<(u8, ComponentOutline)> = Vec::new();
    for (name, one) in &there {
        let functions = one.functions.iter().enumerate();
        let functions: Vec<_> = functions.filter_map(|(at, ty)| function(at, *ty)).collect();
        let mut outline = interface(name, one.bytes, &functions.join(" "));
        let mut all = one.bytes.to_string() + &functions.join(" ");
        for ((to, callee), mask) in NAMES.iter().zip(drawn).zip(one.calls) {
            let called = callee.functions.iter().enumerate();
            let called: Vec<_> = called
                .filter(|(at, _)| mask & (1 << at) != 0)
                .filter_map(|(at, ty)| function(at, *ty))
                .collect();
            if callee.is_there && to != *name && !called.is_empty() {
                link(&mut outline, to, &called.join(" "));
                all += &called.join(" ");
            }
        }
        // What calls or offers something else is another component.
        outline.digest = airssys_wasm::Digest::of(all.as_bytes());
        outline.config = vec![("key".to_owned(), one.config.to_string())];
        outline.replicas = one.replicas;
        outline.tuning.significant = one.significant;
        outline.capabilities.log = one.logs;
        components.push((one.position, outline));
    }
    components.sort_by_key(|(position, _)| *position);
    let components = components.into_iter().map(|(_, one)| one).collect();
    let mut application = application(components);
    let first = application.components.first().map(|one| one.name.clone());
    application.sources = first
        .iter()
        .map(|to| source(&format!("feed-{to}"), to, "x"))
        .collect();
    application
}

fn any_application() -> impl Strategy<Value = ApplicationOutline> {
    vec(any_component(), 5).prop_map(|drawn| made(&drawn))
}

/// A second application that differs from the first in some of its components only.
fn any_two() -> impl Strategy<Value = (ApplicationOutline, ApplicationOutline)> {
    let changed = vec(prop::option::weighted(0.5, any_component()), 5);
    (vec(any_component(), 5), changed).prop_map(|(drawn, changed)| {
        let new: Vec<_> = drawn
            .iter()
            .zip(changed)
            .map(|(one, other)| other.unwrap_or_else(|| one.clone()))
            .collect();
        (made(&drawn), made(&new))
    })
}

/// Does what a step says, and looks after it that everybody who is there finds whom it calls.
fn go(
    running: &mut BTreeMap<String, ComponentOutline>,
    step: &Step,
    new: &ApplicationOutline,
) -> Result<(), TestCaseError> {
    for part in &step.parts {
        match &part.action {
            Action::Start { .. }
            | Action::Replace(_)
            | Action::Scale { .. }
            | Action::Retune { .. } => {
                let one = new.component(&part.name).unwrap();
                let before = running.insert(part.name.clone(), one.clone());
                prop_assert_eq!(
                    before.is_none(),
                    matches!(part.action, Action::Start { .. })
                );
            }
            Action::Stop { .. } => {
                prop_assert!(running.remove(&part.name).is_some());
            }
            _ => {}
        }
    }
    for one in running.values() {
        for link in &one.links {
            let callee = running.get(&link.to);
            // Those that go call each other until each is stopped.
            if callee.is_none() && new.component(&one.name).is_none() {
                continue;
            }
            prop_assert!(
                callee.is_some(),
                "{} calls {}, which is not there",
                one.name,
                link.to
            );
            let why = callee.and_then(|callee| refusal::mismatch(one, &link.import, callee));
            prop_assert_eq!(why, None, "{} calls {}", one.name, link.to);
        }
    }
    Ok(())
}

/// What a part does, as the plan back has to say it.
fn mirrored(part: &Part) -> String {
    let name = &part.name;
    match &part.action {
        Action::Start { new, .. } => format!("{name} stop {new}"),
        Action::Stop { old } => format!("{name} start {old}"),
        Action::Replace(one) => format!(
            "{name} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            one.new,
            one.old,
            one.because,
            one.grants.removed,
            one.grants.added,
            one.config,
            (one.replicas.to, one.replicas.from),
            one.retuned,
        ),
        Action::Scale { replicas, retuned } => {
            format!("{name} {} {} {retuned:?}", replicas.to, replicas.from)
        }
        Action::StartSource => format!("{name} stop"),
        Action::StopSource { .. } => format!("{name} start"),
        other => format!("{name} {other:?}"),
    }
}

fn as_it_is(part: &Part) -> String {
    let name = &part.name;
    match &part.action {
        Action::Start { new, .. } => format!("{name} start {new}"),
        Action::Stop { old } => format!("{name} stop {old}"),
        Action::Replace(one) => format!(
            "{name} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            one.old,
            one.new,
            one.because,
            one.grants.added,
            one.grants.removed,
            one.config,
            (one.replicas.from, one.replicas.to),
            one.retuned,
        ),
        Action::Scale { replicas, retuned } => {
            format!("{name} {} {} {retuned:?}", replicas.from, replicas.to)
        }
        Action::StartSource => format!("{name} start"),
        Action::StopSource { .. } => format!("{name} stop"),
        other => format!("{name} {other:?}"),
    }
}

fn all(plan: &Plan, say: fn(&Part) -> String) -> Vec<String> {
    let mut all: Vec<_> = plan.parts().map(say).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        // Not every pair has a plan; that most have is part of what is said here.
        max_global_rejects: 600,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_plan_leads_there_and_no_link_is_broken_on_the_way((old, new) in any_two()) {
        let planned = plan(&old, &new, &PlanOptions::default());
        prop_assume!(planned.is_ok());
        let planned = planned.unwrap();
        let components = old.components.iter();
        let mut running: BTreeMap<_, _> =
            components.map(|one| (one.name.clone(), one.clone())).collect();
        for step in &planned.steps {
            go(&mut running, step, &new)?;
        }
        let expected: BTreeMap<_, _> =
            new.components.iter().map(|one| (one.name.clone(), one.clone())).collect();
        prop_assert_eq!(running, expected);
        // Nothing is said of what stays as it is.
        for name in &planned.unchanged {
            prop_assert_eq!(old.component(name), new.component(name));
        }
        let stops: Vec<_> = planned.parts().map(|part| part.action.is_last()).collect();
        prop_assert!(stops.is_sorted(), "what is gone is stopped last");
    }

    #[test]
    fn the_plan_back_undoes_it((old, new) in any_two()) {
        let there = plan(&old, &new, &PlanOptions::default());
        let back = plan(&new, &old, &PlanOptions::default());
        prop_assume!(there.is_ok() && back.is_ok());
        prop_assert_eq!(all(&there.unwrap(), mirrored), all(&back.unwrap(), as_it_is));
    }

    #[test]
    fn an_application_does_not_differ_from_itself(one in any_application()) {
        let plan = plan(&one, &one, &PlanOptions::default()).unwrap();
        prop_assert!(plan.is_empty());
        let nothing = ApplicationOutline::nothing(one.name.clone());
        let start = super::plan(&nothing, &one, &PlanOptions::default()).unwrap();
        prop_assert_eq!(start.parts().count(), one.components.len() + one.sources.len());
    }
}
