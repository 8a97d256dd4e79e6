//! Plans of what a failed deployment has left: components that are of several revisions, and supervisors that know otherwise.

use super::*;
use made::{exporting, link};

/// The application of `now`, of which the first component may be of these as well.
fn mixed(now: &ApplicationOutline, others: &[ComponentOutline]) -> ApplicationOutline {
    let mut mixed = now.clone();
    mixed.components[0].mixed = others.to_vec();
    mixed
}

fn replacement(plan: &Plan, name: &str) -> Box<Replacement> {
    let part = plan.parts().find(|part| part.name == name);
    match part.map(|part| &part.action) {
        Some(Action::Replace(replacement)) => replacement.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_mixed_is_replaced_by_whatever_is_deployed() {
    let old = application(vec![component("a", 1), component("b", 1)]);
    let new = application(vec![component("a", 2), component("b", 1)]);
    let current = mixed(&old, &[component("a", 2), component("a", 3)]);
    let digest = |bytes| {
        let hex = made::digest("a", bytes).hex();
        hex.chars().take(12).collect::<String>()
    };
    let plan = planned(&current, &old);
    assert_eq!(
        plan.to_string(),
        format!(
            "`app`: 1 step\
             \n  1. replace `a` {}\
             \n       because: mixed\
             \n       mixed: a part may be of {}, a part may be of {}\
             \n       strategy: rolling, 1 more and 0 fewer at most\
             \nunchanged: b",
            digest(1),
            digest(2),
            digest(3)
        )
    );
    let plan = planned(&current, &new);
    let because = replacement(&plan, "a").because;
    assert_eq!(because, [Because::Bytes, Because::Mixed]);
    // One that is not there any more is stopped, whatever it is of.
    let plan = planned(&current, &application(vec![component("b", 1)]));
    assert_eq!(names(&plan), ["a"]);
}

/// Who was told of a configuration and not told back is not told once more: nobody knows what each has.
#[test]
fn who_may_have_another_configuration_gets_new_instances() {
    let of = |mode| application(vec![configured(&["mode"], &[("mode", mode)])]);
    let (old, new) = (of("slow"), of("fast"));
    let current = mixed(&old, &new.components);
    for to in [&old, &new, &of("other")] {
        let plan = planned(&current, to);
        let replacement = replacement(&plan, "a");
        assert!(replacement.because.contains(&Because::Mixed), "{plan}");
        // It is of the same bytes.
        assert_eq!(replacement.mixed, []);
        assert!(!plan.to_string().contains("a part may be"), "{plan}");
    }
}

#[test]
fn what_supervisors_may_know_otherwise_is_set_again() {
    let one = application(vec![component("a", 1)]);
    let mut current = one.clone();
    current.components[0].unsettled = vec!["restart", "shutdown"];
    current.supervisors[0].unsettled = vec!["strategy"];
    let plan = planned(&current, &one);
    assert_eq!(
        plan.to_string(),
        "`app`: 1 step\
         \n  1. retune supervisor `app`: strategy\
         \n     retune `a`: restart, shutdown"
    );
    let mut new = one.clone();
    new.components[0].tuning.restart = RestartPolicy::Transient;
    let plan = planned(&current, &new).to_string();
    assert!(plan.contains("retune `a`: restart, shutdown"), "{plan}");
}

/// No revision that may run loses its state without anybody having said so.
#[test]
fn state_of_any_revision_is_kept() {
    let (with, without) = (state("a", 1), component("a", 2));
    for (old, other, to) in [
        (&without, &with, &without),
        (&without, &with, &state("a", 3)),
        (&with, &without, &with),
    ] {
        let old = application(vec![old.clone()]);
        let current = mixed(&old, std::slice::from_ref(other));
        let to = application(vec![to.clone()]);
        assert_eq!(kinds(&refused(&current, &to)), ["state-lost"]);
        let discards = PlanOptions {
            state: Some(StateHandling::Discard),
            ..PlanOptions::default()
        };
        let plan = plan(&current, &to, &discards).unwrap();
        assert!(plan.to_string().contains("state: discard"), "{plan}");
    }
    let old = application(vec![with.clone()]);
    let plan = planned(&mixed(&old, &[state("a", 2)]), &old);
    assert_eq!(replacement(&plan, "a").state, StateHandling::HandOver);
}

/// A caller that may still be the new one goes back before the callee whose function it uses.
#[test]
fn the_order_is_one_in_which_every_revision_fits() {
    let callee = |functions| exporting(component("b", 1), functions);
    let caller = |functions| {
        let mut one = component("a", 1);
        link(&mut one, "b", functions);
        one
    };
    let old = application(vec![callee("f: func();"), caller("f: func();")]);
    let (both, uses) = (callee("f: func(); g: func();"), caller("g: func();"));
    let mut current = old.clone();
    current.components[0].mixed = vec![both.clone()];
    assert_eq!(names(&planned(&current, &old)), ["b"]);
    current.components[1].mixed = vec![uses.clone()];
    assert_eq!(names(&planned(&current, &old)), ["a", "b"]);
    let new = application(vec![both, uses]);
    assert_eq!(names(&planned(&current, &new)), ["b", "a"]);
}
