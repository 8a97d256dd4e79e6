//! Plans of small applications, row by row.

mod autoscale;
mod generated;
mod made;
mod mixed;
mod sources;

use airssys_wasm::Limits;

use super::*;
use crate::deployment::share::Share;
use crate::deployment::strategy::CanaryStep;
use crate::mailbox::BackpressureStrategy;
use crate::supervisor::{RestartPolicy, Strategy};
use made::{application, component, interface, linked, source, state};

fn planned(current: &ApplicationOutline, new: &ApplicationOutline) -> Plan {
    plan(current, new, &PlanOptions::default()).unwrap_or_else(|refused| panic!("{refused}"))
}

fn refused(current: &ApplicationOutline, new: &ApplicationOutline) -> Vec<PlanRefusal> {
    let answer = plan(current, new, &PlanOptions::default());
    answer.map(|plan| panic!("{plan}")).unwrap_err().refusals
}

fn kinds(refusals: &[PlanRefusal]) -> Vec<&'static str> {
    refusals.iter().map(PlanRefusal::kind).collect()
}

/// Each step's names.
fn names(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter();
    let names = steps.map(|step| step.parts.iter().map(|part| part.name.as_str()));
    names
        .map(|names| names.collect::<Vec<_>>().join("+"))
        .collect()
}

fn canary() -> RolloutStrategy {
    RolloutStrategy::Canary {
        steps: vec![CanaryStep {
            weight: Share::percent(5),
            pause: Some(Duration::from_secs(30)),
        }],
        gate: super::super::gate::Gate::default(),
        sticky: None,
        soak: Duration::from_secs(60),
    }
}

#[test]
fn the_same_application_is_no_change() {
    let one = application(vec![component("a", 1), component("b", 1)]);
    let plan = planned(&one, &one);
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "`app`: nothing changes");
    assert_eq!(plan.unchanged, ["a", "b"]);
}

/// A component that hears of changes, with these values.
fn configured(reads: &[&str], pairs: &[(&str, &str)]) -> ComponentOutline {
    let owned = |text: &&str| (*text).to_owned();
    let mut one = made::hearing("a", reads);
    one.config = pairs
        .iter()
        .map(|(key, value)| (owned(key), owned(value)))
        .collect();
    one
}

#[test]
fn only_a_configuration_that_can_be_read_changes_by_being_told() {
    let old = configured(
        &["db.*", "mode"],
        &[("db.password", "hunter2"), ("mode", "slow")],
    );
    let current = application(vec![old.clone(), component("b", 1)]);
    let to = |one: ComponentOutline| {
        let plan = planned(&current, &application(vec![one, component("b", 1)]));
        assert!(!plan.to_string().contains("hunter2"), "{plan}");
        plan
    };
    let mut told = configured(
        &["db.*", "mode"],
        &[("db.password", "swordfish"), ("db.port", "1")],
    );
    told.tuning.restart = RestartPolicy::Transient;
    let plan = to(told.clone());
    assert_eq!(
        plan.to_string(),
        "`app`: 1 step\
         \n  1. reconfigure `a`: its instances are told\
         \n       config: + db.port, - mode, ~ db.password\
         \n       also: restart\
         \nunchanged: b"
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][0]["parts"][0]["action"], "reconfigure");
    assert!(to(old.clone()).is_empty());

    // One key that it may not read, a grant, another number of replicas, no hook: new instances.
    let mut hidden = told.clone();
    hidden.config.push(("other".to_owned(), "1".to_owned()));
    let granted = configured(&["**"], &[("mode", "fast")]);
    let mut scaled = told.clone();
    scaled.replicas = 2;
    for one in [hidden, granted, scaled] {
        let plan = to(one);
        let action = &plan.steps[0].parts[0].action;
        let Action::Replace(replacement) = action else {
            panic!("{plan}");
        };
        assert!(replacement.because.contains(&Because::Config), "{plan}");
    }
    let deaf = |mode: &str| {
        let mut one = component("a", 1);
        one.config = vec![("mode".to_owned(), mode.to_owned())];
        application(vec![one])
    };
    let plan = planned(&deaf("slow"), &deaf("fast"));
    assert!(plan.to_string().contains("because: config"), "{plan}");
}

#[test]
fn a_plan_is_printed_with_everything_that_changes() {
    let mut old = application(vec![component("parse", 1), component("gone", 1)]);
    let mut classify = linked("classify", 1, "parse", "f: func();");
    classify.config = vec![("secret".to_owned(), "hunter2".to_owned())];
    classify.capabilities.log = true;
    old.components.insert(1, classify);
    let mut new = application(vec![component("parse", 2), component("added", 1)]);
    let mut classify = linked("classify", 2, "parse", "f: func();");
    classify.version = Some("2.0.0".parse().unwrap());
    classify.config = vec![
        ("secret".to_owned(), "swordfish".to_owned()),
        ("depth".to_owned(), "3".to_owned()),
    ];
    classify.capabilities.clocks = true;
    classify.limits = Limits {
        memory_bytes_max: 32 << 20,
        ..Limits::default()
    };
    classify.rollout.strategy = canary();
    classify.tuning.restart = RestartPolicy::Transient;
    new.components.insert(1, classify);
    new.components[2].replicas = 2;
    let (old, new) = (made::placed(old), made::placed(new));
    let plan = planned(&old, &new);
    let text = plan.to_string();
    let digest = |name: &str, bytes: u8| {
        let hex = made::digest(name, bytes).hex();
        hex.chars().take(12).collect::<String>()
    };
    let expected = format!(
        "`app`: 4 steps\
         \n  1. replace `parse` {} -> {}\
         \n       because: bytes\
         \n       strategy: rolling, 1 more and 0 fewer at most\
         \n       callers: classify\
         \n  2. replace `classify` {} -> 2.0.0 ({})\
         \n       because: bytes, grants, limits, config\
         \n       grants: + clocks, - log\
         \n       limits: memory 64MiB -> 32MiB\
         \n       config: + depth, ~ secret\
         \n       strategy: canary 5% for 30s, 100%, soak 1min\
         \n       also: restart, rollout\
         \n  3. start `added` {}, 2 replicas\
         \n  4. stop `gone` {}, when nothing is undone any more",
        digest("parse", 1),
        digest("parse", 2),
        digest("classify", 1),
        digest("classify", 2),
        digest("added", 1),
        digest("gone", 1),
    );
    assert_eq!(text, expected);
    assert!(!text.contains("hunter2") && !text.contains("swordfish"));
    assert_eq!(plan.soak(), Duration::from_secs(60));

    let json = serde_json::to_value(&plan).unwrap();
    let replace = &json["steps"][1]["parts"][0];
    assert_eq!(replace["action"], "replace");
    assert_eq!(replace["name"], "classify");
    assert_eq!(
        replace["old"]["digest"],
        made::digest("classify", 1).to_string()
    );
    assert_eq!(replace["grants"]["added"], serde_json::json!(["clocks"]));
    assert_eq!(replace["strategy"]["strategy"], "canary");
    assert_eq!(
        replace["strategy"]["steps"],
        serde_json::json!([{ "weight": "5%", "for": "30s" }])
    );
    assert_eq!(replace["strategy"]["gate"]["latency-ratio-max"], 1.5);
    assert_eq!(json["steps"][2]["parts"][0]["replicas"], 2);
    assert!(!json.to_string().contains("hunter2"));
}

#[test]
fn what_becomes_of_state_is_printed_where_there_is_some() {
    for (stateful, printed) in [(true, true), (false, false)] {
        let with = |bytes: u8| {
            let mut one = component("a", bytes);
            one.stateful = stateful;
            one.rollout.state = Some(StateHandling::Discard);
            made::placed(application(vec![one]))
        };
        let text = planned(&with(1), &with(2)).to_string();
        assert_eq!(text.contains("state: discard"), printed, "{text}");
    }
}

#[test]
fn a_version_that_goes_back_is_pointed_out_and_planned_like_any_other() {
    let with = |bytes: u8, version: &str| {
        let mut one = component("a", bytes);
        one.version = (!version.is_empty()).then(|| version.parse().unwrap());
        made::placed(application(vec![one]))
    };
    for (old, new, back) in [
        ("1.10.0", "1.9.9", true),
        ("1.0.0", "1.0.0-rc.2", true),
        ("1.9.9", "1.10.0", false),
        ("1.0.0", "1.0.0", false),
        // Metadata of the build is no order.
        ("1.0.0+b", "1.0.0+a", false),
        ("1.0.0", "", false),
        ("", "1.0.0", false),
        ("", "", false),
    ] {
        let plan = planned(&with(1, old), &with(2, new));
        let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
            panic!("{plan}");
        };
        assert_eq!(replacement.version_goes_back, back, "{old} {new}");
        let line = format!("\n       version: goes back from {old} to {new}\n");
        assert_eq!(plan.to_string().contains(&line), back, "{plan}");
        assert_eq!(plan.to_string().contains("goes back"), back, "{plan}");
        let json = serde_json::to_value(&plan).unwrap();
        let json = &json["steps"][0]["parts"][0];
        assert_eq!(json["version-goes-back"], back);
        assert_eq!(json["new"]["version"].as_str().unwrap_or_default(), new);
    }
    // With the same bytes only what is said of it changes.
    let plan = planned(&with(1, "1.0.0"), &with(1, "0.9.0"));
    let keys = vec!["version"];
    assert_eq!(plan.steps[0].parts[0].action, Action::Retune { keys });
}

#[test]
fn what_only_supervisors_know_is_one_step_that_touches_nothing() {
    let old = application(vec![component("a", 1), component("b", 1)]);
    let mut new = old.clone();
    new.components[0].tuning.significant = true;
    new.components[1].rollout.strategy = canary();
    new.supervisors[0].strategy = Strategy::RestForOne;
    new.supervisors[0].children.reverse();
    new.report = "other questions".to_owned();
    let plan = planned(&old, &new);
    assert_eq!(names(&plan), ["app+a+b+report"]);
    assert_eq!(
        plan.to_string(),
        "`app`: 1 step\
         \n  1. retune supervisor `app`: strategy, after\
         \n     retune `a`: significant\
         \n     retune `b`: rollout\
         \n     change what is asked at the end"
    );
}

#[test]
fn a_number_of_replicas_is_scaled_without_new_instances() {
    let old = application(vec![component("a", 1)]);
    let mut new = old.clone();
    new.components[0].replicas = 3;
    new.components[0].tuning.significant = true;
    let plan = planned(&old, &new);
    assert_eq!(
        plan.to_string(),
        "`app`: 1 step\n  1. scale `a` from 1 to 3\n       also: significant"
    );
    new.components[0].config = vec![("x".to_owned(), "1".to_owned())];
    let plan = planned(&old, &new);
    let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
        panic!("{plan}")
    };
    assert_eq!(replacement.replicas, Scale { from: 1, to: 3 });
    assert_eq!(replacement.because, [Because::Config]);
}

#[test]
fn another_number_of_replicas_loses_neither_state_nor_resources() {
    use crate::passivation::Passivation;
    let of = |replicas: u32, change: fn(&mut ComponentOutline)| {
        let mut one = component("a", 1);
        one.replicas = replicas;
        change(&mut one);
        application(vec![one])
    };
    let stateful = |one: &mut ComponentOutline| one.stateful = true;
    let discards = |one: &mut ComponentOutline| {
        one.stateful = true;
        one.rollout.state = Some(StateHandling::Discard);
    };
    for (from, to, refused_too) in [(1, 2, true), (2, 3, false), (3, 2, true), (2, 1, true)] {
        let (old, new) = (of(from, stateful), of(to, stateful));
        if refused_too {
            let refused = refused(&old, &new);
            assert_eq!(kinds(&refused), ["replicas"]);
            let text = refused[0].to_string();
            let replicas = if to == 1 {
                "1 replica"
            } else {
                &format!("{to} replicas")
            };
            let says = format!("`a` is to have {replicas} instead of {from}");
            assert!(text.contains(&says), "{text}");
            for option in [
                "`--discard-state`",
                "`--state discard`",
                "`state = \"discard\"`",
            ] {
                assert!(refused[0].help().contains(option), "{}", refused[0].help());
            }
        } else {
            planned(&old, &new);
        }
        planned(&of(from, discards), &of(to, discards));
    }
    let lazy = |one: &mut ComponentOutline| {
        one.stateless = true;
        one.passivation = Some(Passivation::new(Duration::from_secs(1)));
    };
    let refused = refused(&of(1, lazy), &of(2, |one| one.stateless = true));
    assert_eq!(kinds(&refused), ["replicas"]);
    assert!(refused[0].help().contains("passivate-after"));
}

#[test]
fn whoever_spawns_what_has_changed_gets_new_instances() {
    let mut old = application(vec![component("a", 1), component("b", 1)]);
    old.spawned = vec![component("worker", 1), component("other", 1)];
    for one in &mut old.components {
        one.capabilities = made::spawns("worker");
    }
    old.components[1].capabilities = made::spawns("other");
    let mut new = old.clone();
    new.spawned[0] = component("worker", 2);
    let plan = planned(&old, &new);
    assert_eq!(names(&plan), ["a"]);
    let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
        panic!("{plan}")
    };
    assert_eq!(replacement.because, [Because::Spawns]);
}

#[test]
fn the_order_is_one_in_which_every_link_fits() {
    let two = "f: func(); g: func();";
    let one = "f: func();";
    // The callee loses what the caller has stopped using: the caller goes first, whatever the start order.
    let old = application(vec![interface("b", 1, two), linked("a", 1, "b", two)]);
    let new = application(vec![interface("b", 2, one), linked("a", 2, "b", one)]);
    assert_eq!(names(&planned(&old, &new)), ["a", "b"]);
    // And back: the callee goes first.
    assert_eq!(names(&planned(&new, &old)), ["b", "a"]);
    // Both orders fit: start order.
    let new = application(vec![interface("b", 2, two), linked("a", 2, "b", two)]);
    assert_eq!(names(&planned(&old, &new)), ["b", "a"]);
    let old = application(vec![linked("a", 1, "b", two), interface("b", 1, two)]);
    let new = application(vec![linked("a", 2, "b", two), interface("b", 2, two)]);
    assert_eq!(names(&planned(&old, &new)), ["a", "b"]);
    // A caller that begins to call what is new waits for it.
    let old = application(vec![component("a", 1)]);
    let new = application(vec![linked("a", 2, "b", one), interface("b", 1, one)]);
    assert_eq!(names(&planned(&old, &new)), ["b", "a"]);
}

#[test]
fn what_fits_only_together_is_one_step() {
    let (text, number) = ("f: func(x: string);", "f: func(x: u32);");
    let with = |bytes: u8, ty: &str, strategy: RolloutStrategy| {
        let mut caller = linked("a", bytes, "b", ty);
        caller.rollout.strategy = strategy;
        application(vec![
            interface("b", bytes, ty),
            caller,
            component("c", bytes),
        ])
    };
    let old = with(1, text, RolloutStrategy::Recreate);
    let plan = planned(&old, &with(2, number, RolloutStrategy::Recreate));
    assert_eq!(names(&plan), ["b+a", "c"]);
    assert_eq!(plan.steps[0].together.len(), 2);
    let shown = plan.to_string();
    assert!(
        shown
            .contains("1. together\n       the new `a` does not fit `b` as it is by `app:b/api`: "),
        "{shown}"
    );
    assert!(shown.contains("`f` differs"), "{shown}");

    let refusals = refused(&old, &with(2, number, canary()));
    let [
        PlanRefusal::Together {
            components,
            gradual,
            why,
        },
    ] = &refusals[..]
    else {
        panic!("{refusals:?}")
    };
    assert_eq!(
        (components.join(" "), gradual.join(" ")),
        ("b a".to_owned(), "a".to_owned())
    );
    assert_eq!(why.len(), 2);
    assert!(refusals[0].help().contains("first add, then remove"));
    // The same by the words of the command line.
    let options = PlanOptions {
        strategy: Some(canary()),
        ..PlanOptions::default()
    };
    let answer = super::plan(&old, &with(2, number, RolloutStrategy::Recreate), &options);
    let refusals = answer.unwrap_err().refusals;
    assert_eq!(kinds(&refusals), ["strategy", "together"]);
    let why = refusals[0].to_string();
    assert!(why.contains("does not have `app:b/api@0.1.0#f`"), "{why}");
}

#[test]
fn new_components_that_call_each_other_start_together() {
    let f = "f: func();";
    let old = application(vec![component("x", 1)]);
    let mut first = linked("a", 1, "b", f);
    made::link(&mut first, "x", "f: func();");
    let mut second = interface("b", 1, f);
    made::link(&mut second, "a", f);
    let new = application(vec![component("x", 1), made::exporting(first, f), second]);
    assert_eq!(names(&planned(&old, &new)), ["a+b"]);
}

#[test]
fn a_caller_that_would_not_fit_is_named_with_both_types() {
    let old = application(vec![
        interface("b", 1, "f: func(x: string);"),
        linked("a", 1, "b", "f: func(x: string);"),
    ]);
    // It is not changed at all.
    let new = application(vec![
        interface("b", 2, "f: func(x: u32);"),
        linked("a", 1, "b", "f: func(x: string);"),
    ]);
    let refusals = refused(&old, &new);
    assert_eq!(kinds(&refusals), ["breaks"]);
    let text = PlanRefused { refusals }.to_string();
    for part in [
        "`a` would not fit `b`",
        "func(x: string)",
        "func(x: u32)",
        "deploy a `a` that fits",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // It goes, and is there until the end.
    let new = application(vec![interface("b", 2, "f: func(x: u32);")]);
    let refusals = refused(&old, &new);
    assert_eq!(kinds(&refusals), ["breaks"]);
    assert!(
        refusals[0]
            .help()
            .contains("in a deployment of its own first")
    );
    // Whom it calls goes.
    let new = application(vec![linked("a", 1, "b", "f: func(x: string);")]);
    assert_eq!(kinds(&refused(&old, &new)), ["breaks"]);
    // Both go.
    let old = application(
        vec![component("x", 1)]
            .into_iter()
            .chain(old.components)
            .collect(),
    );
    let new = application(vec![component("x", 1)]);
    assert_eq!(names(&planned(&old, &new)), ["a", "b"]);
}

#[test]
fn everything_that_cannot_be_is_refused_in_one_go() {
    let mut old = application(vec![
        component("a", 1),
        component("b", 1),
        component("c", 1),
        component("d", 1),
        component("e", 1),
    ]);
    old.sources = vec![
        source("feed", "a", "x.json"),
        source("turned", "a", "x.json"),
    ];
    old.components[3].stateful = true;
    made::add_supervisor(&mut old, "below", "a");
    let mut new = old.clone();
    new.components[0].mailbox.depth_max = 7;
    new.components[0].mailbox.strategy = BackpressureStrategy::Block;
    new.components[1].capabilities = made::messaging();
    new.components[1].surface = made::surface("b", "f: func();", made::MESSAGING);
    new.components[1].rollout.strategy = canary();
    new.components[3].digest = made::digest("d", 2);
    new.components[4].name = "turned".to_owned();
    old.sources[0] = made::calling(source("feed", "a", "x.json"), "app:a/api#gone");
    new.sources[0] = made::calling(source("feed", "a", "y.json"), "app:a/api#gone");
    new.sources.truncate(1);
    new = made::placed(new);
    let refusals = refused(&old, &new);
    let mut found = kinds(&refusals);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "kind",
            "mailbox",
            "source",
            "state-lost",
            "strategy",
            "tree"
        ],
        "{refusals:?}"
    );
    let mailbox = refusals.iter().find(|one| one.kind() == "mailbox").unwrap();
    assert_eq!(
        mailbox.to_string(),
        "the mailbox of `a` changes: depth, strategy"
    );
    for (kind, says) in [
        ("source", "first add, and let the source call that"),
        ("kind", "give the component another name"),
    ] {
        let help = refusals
            .iter()
            .find(|one| one.kind() == kind)
            .unwrap()
            .help();
        assert!(help.contains(says), "{help}");
    }
    let json = serde_json::to_value(PlanRefused { refusals }).unwrap();
    assert_eq!(json["refusals"].as_array().unwrap().len(), 6);
    assert!(json["refusals"][0]["help"].is_string());

    // A child that moves, and another application.
    let mut moved = old.clone();
    let child = moved.supervisors[1].children.remove(0);
    moved.supervisors[0].children.push(child);
    assert_eq!(kinds(&refused(&old, &moved)), ["moved"]);
    let mut other = old.clone();
    other.name = "other".parse().unwrap();
    assert_eq!(kinds(&refused(&old, &other)), ["other-application"]);
}

#[test]
fn state_is_handed_over_or_given_up_by_choice_and_never_lost_by_accident() {
    use StateHandling::{Discard, HandOver};
    // Whether each revision exports it, is declared stateful, stateless; what is said; what comes of it.
    for (before, after, stateful, stateless, said, expected) in [
        (false, false, false, false, None, Some(Discard)),
        (true, true, false, false, None, Some(HandOver)),
        (true, true, true, false, None, Some(HandOver)),
        (true, true, false, true, None, Some(Discard)),
        (true, true, false, true, Some(HandOver), Some(HandOver)),
        (true, true, true, false, Some(Discard), Some(Discard)),
        (true, false, false, false, None, None),
        (true, false, false, true, None, Some(Discard)),
        (true, false, false, false, Some(Discard), Some(Discard)),
        // It begins to export it, and had nothing to lose.
        (false, true, false, false, None, Some(Discard)),
        (false, true, false, false, Some(HandOver), Some(Discard)),
        (false, true, true, false, None, None),
        (false, false, true, false, None, None),
        (false, false, true, false, Some(Discard), Some(Discard)),
    ] {
        let of = |bytes: u8, exports: bool| {
            let mut one = if exports {
                state("a", bytes)
            } else {
                component("a", bytes)
            };
            (one.stateful, one.stateless) = (stateful, stateless);
            one.rollout.state = said;
            application(vec![one])
        };
        let answer = super::plan(&of(1, before), &of(2, after), &PlanOptions::default());
        let context = (before, after, stateful, stateless, said);
        match (answer, expected) {
            (Ok(plan), Some(expected)) => {
                let Action::Replace(replacement) = &plan.steps[0].parts[0].action else {
                    panic!("{plan}")
                };
                assert_eq!(replacement.state, expected, "{context:?}");
            }
            (Err(refused), None) => {
                assert_eq!(kinds(&refused.refusals), ["state-lost"], "{context:?}");
            }
            (answer, _) => panic!("{context:?} {answer:?}"),
        }
    }
    let of = |replicas| {
        let mut one = state("a", u8::try_from(replicas).unwrap());
        one.replicas = replicas;
        application(vec![one])
    };
    assert_eq!(kinds(&refused(&of(1), &of(2))), ["state-lost"]);
    let options = PlanOptions {
        state: Some(Discard),
        ..PlanOptions::default()
    };
    assert!(super::plan(&of(1), &of(2), &options).is_ok());
}

#[test]
fn a_strategy_of_the_command_line_keeps_the_gate_of_the_component() {
    let old = application(vec![component("a", 1), component("b", 1)]);
    let mut new = application(vec![component("a", 2), component("b", 2)]);
    let gate = super::super::gate::Gate {
        samples_min: 7,
        ..Default::default()
    };
    new.components[0].rollout.strategy = RolloutStrategy::BlueGreen {
        soak: Duration::from_secs(1),
        gate,
    };
    let options = PlanOptions {
        strategy: Some(canary()),
        ..PlanOptions::default()
    };
    let plan = super::plan(&old, &new, &options).unwrap();
    let samples: Vec<_> = plan
        .parts()
        .map(|part| match &part.action {
            Action::Replace(replacement) => replacement.strategy.gate().unwrap().samples_min,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(samples, [7, 100]);
}

#[test]
fn of_nothing_everything_starts_and_to_nothing_everything_stops() {
    let mut one = application(vec![component("a", 1), component("b", 1)]);
    one.sources = vec![source("feed", "a", "x.json")];
    let nothing = ApplicationOutline::nothing(one.name.clone());
    let plan = planned(&nothing, &one);
    assert_eq!(names(&plan), ["a", "b", "feed"]);
    assert!(plan.parts().all(|part| !part.action.is_last()));
    let plan = planned(&one, &nothing);
    assert_eq!(names(&plan), ["feed", "b", "a"]);
    assert!(plan.parts().all(|part| part.action.is_last()));
}
