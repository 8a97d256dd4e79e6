//! What a manifest says of how components are replaced, and plans between applications of real components.
#![cfg(test)]

use std::time::Duration;

use airssys_wasm::Policy;
use airssys_wasm_actors::deployment::{
    Action, ApplicationOutline, Gate, Plan, PlanOptions, RolloutStrategy, Share, StateHandling,
    plan,
};
use airssys_wasm_actors::{ApplicationSpec, Finding, FindingKind, ManifestErrors, ResolveOptions};

use crate::application::Directory;
use crate::guests::{RELAY, WORKER, engine};
use crate::passivation::KEEPER;

/// `WORKER` with `work` of another type.
fn other_worker() -> String {
    WORKER
        .replace("(param i32) (result i32)", "(param i64) (result i64)")
        .replace("(i32.add (local.get 0) (i32.const 1))", "(local.get 0)")
        .replace(
            "(param \"n\" u32) (result u32)",
            "(param \"n\" u64) (result u64)",
        )
}

/// `RELAY` for that one.
fn other_relay() -> String {
    RELAY
        .replace("(param i32) (result i32)", "(param i64) (result i64)")
        .replace(
            "(param \"n\" u32) (result u32)",
            "(param \"n\" u64) (result u64)",
        )
}

struct Apps {
    directory: Directory,
    engine: airssys_wasm::Engine,
}

impl Apps {
    fn new() -> Self {
        let directory = Directory::new("");
        let timers = r#"(component (import "airssys:messaging/timers@0.1.0" (instance)))"#;
        let versioned =
            WORKER.replacen("(component", r#"(component (@custom "version" "1.4.0")"#, 1);
        for (file, wat) in [
            ("worker.wasm", WORKER),
            ("other-worker.wasm", &other_worker()),
            ("relay.wasm", RELAY),
            ("other-relay.wasm", &other_relay()),
            ("keeper.wasm", KEEPER),
            ("timers.wasm", timers),
            ("versioned.wasm", &versioned),
        ] {
            std::fs::write(directory.0.join(file), wat::parse_str(wat).unwrap()).unwrap();
        }
        Self {
            directory,
            engine: engine(),
        }
    }

    fn resolve(&self, tables: &str) -> Result<ApplicationOutline, ManifestErrors> {
        let text = format!("[application]\nname = \"app\"\n{tables}");
        let spec = ApplicationSpec::parse(self.directory.0.join("airssys.toml"), text)?;
        let options = ResolveOptions {
            policy: Policy::permissive(),
            ..ResolveOptions::default()
        };
        Ok(spec.resolve(&self.engine, &options)?.outline())
    }

    fn outline(&self, tables: &str) -> ApplicationOutline {
        self.resolve(tables)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn faults(&self, tables: &str) -> Vec<Finding> {
        let resolved = self.resolve(tables);
        resolved.map(|one| panic!("{one:?}")).unwrap_err().findings
    }
}

fn names(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter();
    let names = steps.map(|step| step.parts.iter().map(|part| part.name.as_str()));
    names
        .map(|names| names.collect::<Vec<_>>().join("+"))
        .collect()
}

#[test]
fn a_version_is_what_the_manifest_says_or_the_component_carries() {
    let apps = Apps::new();
    let one =
        |file: &str, version: &str| format!("[components.one]\nfile = \"{file}\"\n{version}\n");
    for (file, said, found) in [
        ("worker.wasm", "", None),
        (
            "worker.wasm",
            r#"version = "2.0.0-rc.1""#,
            Some("2.0.0-rc.1"),
        ),
        ("versioned.wasm", "", Some("1.4.0")),
        ("versioned.wasm", r#"version = "1.4.0""#, Some("1.4.0")),
    ] {
        let outline = apps.outline(&one(file, said));
        let version = outline.components[0].version.as_ref();
        assert_eq!(
            version.map(ToString::to_string).as_deref(),
            found,
            "{file} {said}"
        );
    }
    for (file, said, what, help) in [
        (
            "worker.wasm",
            r#"version = "v2""#,
            "`v2` is no version of `one`: ",
            "three numbers",
        ),
        (
            "versioned.wasm",
            r#"version = "1.5.0""#,
            "the file of `one` says that it is version 1.4.0, not 1.5.0",
            "leave `version` out",
        ),
    ] {
        let faults = apps.faults(&one(file, said));
        assert_eq!(faults.len(), 1, "{faults:?}");
        let fault = &faults[0];
        assert_eq!(fault.kind, FindingKind::BadValue);
        assert!(fault.what.starts_with(what), "{fault:?}");
        assert!(fault.help.as_ref().unwrap().contains(help), "{fault:?}");
        assert_eq!(fault.at.map(|at| at.line), Some(5));
    }
    let plan = plan(
        &apps.outline(&one("versioned.wasm", "")),
        &apps.outline(&one("other-worker.wasm", r#"version = "1.3.0""#)),
        &PlanOptions::default(),
    );
    let text = plan.unwrap().to_string();
    assert!(
        text.contains("version: goes back from 1.4.0 to 1.3.0"),
        "{text}"
    );
}

#[test]
fn every_key_of_a_rollout_is_read() {
    let apps = Apps::new();
    let outline = apps.outline(
        r#"
        [components.plain]
        file = "worker.wasm"
        [components.canary]
        file = "worker.wasm"
        [components.canary.rollout]
        strategy = "canary"
        steps = [{ weight = "0.5%", for = "30s" }, { weight = "50%" }]
        sticky = "n"
        soak = "2min"
        handles-within = "1s"
        gate = { error-rate-max = "2%", error-excess-max = "1.5%", latency-ratio-max = 3.0, traps-max = 1, restarts-max = 2, memory-ratio-max = 4.0, mismatches-max = "5%", samples-min = 6, interval = "7s", holds-max = 8 }
        [components.shadow]
        file = "relay.wasm"
        links = [{ import = "test:t/work", to = "plain" }]
        rollout = { strategy = "shadow", share = "1%", for = "3s", soak = "4s", repeatable = true }
        [components.rolling]
        file = "keeper.wasm"
        stateful = true
        rollout = { max-surge = 2, max-unavailable = 1, state = "hand-over" }
        [components.recreate]
        file = "keeper.wasm"
        rollout = { strategy = "recreate", state = "discard" }
        "#,
    );
    let policy = |name| &outline.component(name).unwrap().rollout;
    let plain = policy("plain");
    assert_eq!(plain.strategy, RolloutStrategy::default());
    assert_eq!(
        (plain.state, plain.handles_within),
        (None, Duration::from_secs(30))
    );
    let canary = policy("canary");
    assert_eq!(canary.handles_within, Duration::from_secs(1));
    assert_eq!(
        canary.strategy.to_string(),
        "canary 0.5% for 30s, 50% until promoted, 100%, soak 2min, sticky by `n`"
    );
    assert_eq!(
        canary.strategy.gate(),
        Some(&Gate {
            error_rate_max: Share::percent(2),
            error_excess_max: Share::from_ten_thousandths(150),
            latency_ratio_max: 3.0,
            traps_max: 1,
            restarts_max: 2,
            memory_ratio_max: 4.0,
            mismatches_max: Share::percent(5),
            samples_min: 6,
            interval: Duration::from_secs(7),
            holds_max: 8,
        })
    );
    assert_eq!(
        policy("shadow").strategy,
        RolloutStrategy::Shadow {
            share: Share::percent(1),
            pause: Duration::from_secs(3),
            gate: Gate::default(),
            soak: Duration::from_secs(4),
            repeatable: true,
        }
    );
    assert_eq!(
        policy("rolling").strategy,
        RolloutStrategy::Rolling {
            max_surge: 2,
            max_unavailable: 1
        }
    );
    assert_eq!(policy("rolling").state, Some(StateHandling::HandOver));
    assert!(outline.component("rolling").unwrap().stateful);
    assert_eq!(policy("recreate").strategy, RolloutStrategy::Recreate);
    assert_eq!(policy("recreate").state, Some(StateHandling::Discard));
}

#[test]
fn what_cannot_be_is_found_in_one_go_and_where_it_is() {
    let faults = Apps::new().faults(
        r#"
        [components.a]
        file = "keeper.wasm"
        stateful = true
        stateless = true
        rollout = { strategy = "canary", steps = [{ weight = "5%", for = "1s" }] }
        [components.b]
        file = "timers.wasm"
        grants = { messaging = {} }
        rollout = { strategy = "shadow" }
        [components.c]
        file = "worker.wasm"
        [components.c.rollout]
        strategy = "canary"
        steps = [{ weight = "50%", for = "1s" }, { weight = "50%" }]
        sticky = "m"
        max-surge = 1
        state = "hand-over"
        [components.d]
        file = "relay.wasm"
        links = [{ import = "test:t/work", to = "c" }]
        rollout = { strategy = "shadow" }
        [components.e]
        file = "worker.wasm"
        rollout = { soak = "1s", gate = { latency-ratio-max = 0.5 } }
        [components.f]
        file = "worker.wasm"
        spawned = true
        rollout = { strategy = "recreate" }
        "#,
    );
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault.at.unwrap().line, fault.what.as_str()))
        .collect();
    let expected = [
        (6, "`a` is both stateful and stateless"),
        (
            8,
            "`a`: it cannot be replaced by `canary`: it exports `airssys:actor/state`",
        ),
        (
            12,
            "`b`: it cannot be replaced by `shadow`: it takes part in `airssys:messaging`",
        ),
        (17, "`c`: a step of 50% comes after one of 50%"),
        (18, "no function of `c` has a parameter `m`"),
        (19, "`c`: `max-surge` says nothing to the strategy `canary`"),
        (
            20,
            "the state of `c` is to be handed over, and it does not export",
        ),
        (24, "`d`: it calls others, and would call them once more"),
        (
            27,
            "`e`: `soak` says nothing to `rolling`, which is the strategy if none is said",
        ),
        (27, "`e`: `gate` says nothing to `rolling`"),
        (27, "`e`: `latency-ratio-max` is 0.5"),
        (31, "`f` is spawned, and says `rollout`"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, what), (at, begins)) in found.iter().zip(expected) {
        assert!(
            *line == at && what.starts_with(begins),
            "{line} {what}: {at} {begins}"
        );
    }
    assert!(faults.iter().all(|fault| fault.help.is_some()));
}

#[test]
fn words_that_are_none_are_found_when_the_manifest_is_read() {
    let apps = Apps::new();
    for (rollout, kind, help) in [
        (
            "strategy = \"canari\"",
            FindingKind::BadValue,
            "did you mean `canary`?",
        ),
        (
            "strateg = \"canary\"",
            FindingKind::UnknownKey,
            "did you mean `strategy`?",
        ),
        (
            "state = \"keep\"",
            FindingKind::BadValue,
            "`hand-over`, `discard`",
        ),
        (
            "gate = { sample-min = 1 }",
            FindingKind::UnknownKey,
            "did you mean `samples-min`?",
        ),
        (
            "steps = [{ weigth = \"5%\" }]",
            FindingKind::UnknownKey,
            "did you mean `weight`?",
        ),
        (
            "steps = [{ for = \"5s\" }]",
            FindingKind::MissingKey,
            "`weight = …`",
        ),
    ] {
        let faults = apps.faults(&format!(
            "[components.a]\nfile = \"worker.wasm\"\nrollout = {{ {rollout} }}"
        ));
        let [fault] = &faults[..] else {
            panic!("{rollout}: {faults:?}")
        };
        assert_eq!((fault.kind, fault.at.unwrap().line), (kind, 5), "{rollout}");
        let said = fault.help.as_deref().unwrap();
        assert!(said.contains(help), "{rollout}: {said}");
    }
    let faults = apps.faults(
        "[components.a]\nfile = \"worker.wasm\"\nrollout = { steps = [{ weight = \"5 %\" }] }",
    );
    assert!(
        faults[0].what.contains("at most two decimals"),
        "{faults:?}"
    );
}

const TWO: &str = r#"
    [components.relay]
    file = "RELAY"
    links = [{ import = "test:t/work", to = "worker" }]
    [components.worker]
    file = "WORKER"
    config = { }
    MORE
"#;

#[test]
fn a_manifest_that_says_the_same_changes_nothing() {
    let apps = Apps::new();
    let one = TWO
        .replace("RELAY", "relay.wasm")
        .replace("WORKER", "worker.wasm");
    let plain = apps.outline(&one.replace("MORE", ""));
    let said = "restart = \"permanent\"\nreplicas = 1\nlimits = \"standard\"\nrollout = { strategy = \"rolling\" }\n\
                mailbox = { depth = 1000 }";
    let written_out = apps.outline(&one.replace("MORE", said));
    assert_eq!(plain, written_out);
    assert!(
        plan(&plain, &written_out, &PlanOptions::default())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn components_that_change_their_interface_are_switched_together() {
    let apps = Apps::new();
    let with = |relay: &str, worker: &str, more: &str| {
        let tables = TWO.replace("RELAY", relay).replace("WORKER", worker);
        apps.outline(&tables.replace("MORE", more))
    };
    let old = with("relay.wasm", "worker.wasm", "");
    let new = with("other-relay.wasm", "other-worker.wasm", "");
    let planned = plan(&old, &new, &PlanOptions::default()).unwrap();
    assert_eq!(names(&planned), ["relay+worker"]);
    let shown = planned.to_string();
    assert!(
        shown.contains("func(n: u32) -> u32") && shown.contains("func(n: u64) -> u64"),
        "{shown}"
    );
    // A rollback is the plan back.
    let back = plan(&new, &old, &PlanOptions::default()).unwrap();
    assert_eq!(names(&back), ["relay+worker"]);

    // What is configured, granted and limited otherwise is replaced, with the same bytes.
    let more = "grants = { log = true }\nlimits = \"large\"\nhealth = { interval = \"1s\" }\nunder = \"s\"\n[supervisors.s]";
    let below = with(
        "relay.wasm",
        "worker.wasm",
        "under = \"s\"\n[supervisors.s]",
    );
    let refused = plan(&old, &below, &PlanOptions::default()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("the supervisor `app/s` would be new"),
        "{refused}"
    );
    let changed = with("relay.wasm", "worker.wasm", more);
    let planned = plan(&below, &changed, &PlanOptions::default()).unwrap();
    let parts: Vec<_> = planned.parts().collect();
    let [part] = &parts[..] else {
        panic!("{planned}")
    };
    let Action::Replace(replacement) = &part.action else {
        panic!("{planned}")
    };
    assert_eq!(part.callers, ["relay"]);
    assert_eq!(replacement.old, replacement.new);
    assert_eq!(replacement.grants.added, ["log"]);
    assert!(replacement.limits.iter().any(|one| one.limit == "memory"));
    assert_eq!(replacement.retuned, ["health"]);
}

#[test]
fn a_source_stays_as_it_is_or_is_replaced() {
    let apps = Apps::new();
    let with = |name: &str, more: &str| {
        apps.outline(&format!(
            "[components.sink]\nfile = \"sink.wasm\"\n[sources.{name}]\nfile = \"in.txt\"\nformat = \"lines\"\n\
             to = \"sink\"\nfunction = \"put\"\n{more}"
        ))
    };
    let old = with("feed", "");
    assert!(
        plan(&old, &with("feed", ""), &PlanOptions::default())
            .unwrap()
            .is_empty()
    );
    let planned = plan(
        &old,
        &with("feed", "in-flight = 7"),
        &PlanOptions::default(),
    );
    let planned = planned.unwrap().to_string();
    assert!(
        planned.contains("replace source `feed`: in-flight; goes on with the next item"),
        "{planned}"
    );
    let planned = plan(&old, &with("other", ""), &PlanOptions::default()).unwrap();
    assert_eq!(names(&planned), ["other", "feed"]);
}
