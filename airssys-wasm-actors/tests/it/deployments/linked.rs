//! A caller and its callee that change in one deployment, in the order in which they fit, and back.

use airssys_wasm::FromArgs as _;
use airssys_wasm_actors::deployment::{RolloutStatus, StepStatus};

use super::*;

/// `g`, and `f` if it has it, which answers one more than it was given.
fn callee(has_f: bool) -> String {
    let f = match has_f {
        true => r#"(instance (export "test:t/one") (export "f" (func $f)))"#,
        false => "",
    };
    format!(
        r#"(component
          (core module $m
            (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func (export "g") (param i32) (result i32) (local.get 0)))
          (core instance $i (instantiate $m))
          (func $f (param "n" u32) (result u32) (canon lift (core func $i "f")))
          (func $g (param "n" u32) (result u32) (canon lift (core func $i "g")))
          {f}
          (instance (export "test:t/two") (export "g" (func $g))))"#
    )
}

/// `ask` of the interface `exports` answers what the function it `calls` does, or 700. One that `greets` calls it in its
/// `init` as well.
fn caller(exports: &str, calls: Option<[&str; 2]>, greets: bool) -> String {
    let (import, lowered, with, call) = match calls {
        Some([interface, function]) => (
            format!(
                r#"(import "{interface}" (instance $n
                     (export "{function}" (func (param "n" u32) (result u32)))))
                   (core func $f (canon lower (func $n "{function}")))"#
            ),
            r#"(import "n" "f" (func $f (param i32) (result i32)))"#,
            r#"(with "n" (instance (export "f" (func $f))))"#,
            "(call $f (local.get 0))",
        ),
        None => (String::new(), "", "", "(i32.const 700)"),
    };
    let init = match greets {
        true => {
            r#"(func $init (param "config" (list (tuple string string))) (result (result (error string)))
                 (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
               (instance (export "airssys:actor/init@0.1.0") (export "init" (func $init)))"#
        }
        false => "",
    };
    format!(
        r#"(component {import}
          (core module $m {lowered}
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func $ask (export "ask") (param i32) (result i32) {call})
            (func (export "init") (param i32 i32) (result i32)
              (drop (call $ask (i32.const 1))) (i32.const 64)))
          (core instance $i (instantiate $m {with}))
          (func $ask (param "n" u32) (result u32) (canon lift (core func $i "ask")))
          (instance (export "{exports}") (export "ask" (func $ask))) {init})"#
    )
}

/// One of which no instance can be made.
fn broken() -> String {
    caller("test:t/front", ONE_F, false).replace(
        r#"(memory (export "memory") 1)"#,
        r#"(memory (export "memory") 1) (func $die unreachable) (start $die)"#,
    )
}

const ONE_F: Option<[&str; 2]> = Some(["test:t/one", "f"]);
const LINK: &str = r#"links = [{ import = "test:t/one", to = "c" }]"#;

/// How `a` is, if it is there, and how `c` is; `a` comes first where links leave a choice.
#[derive(Clone, Copy, PartialEq)]
struct Pair {
    a: Option<&'static str>,
    c: &'static str,
}

/// `a` calls `f` of `c`.
const WITH: Pair = Pair {
    a: Some("calls"),
    c: "has",
};
/// Nobody calls `f`, and there is none.
const WITHOUT: Pair = Pair {
    a: Some("alone"),
    c: "lacks",
};
const ALONE: Pair = Pair { a: None, ..WITHOUT };

impl Pair {
    fn tables(self, rollout: &str) -> String {
        let c = format!(
            "[components.c]\nfile = \"{}.wasm\"\nrollout = {{ {rollout} }}\n",
            self.c
        );
        let Some(a) = self.a else {
            return c;
        };
        let link = if a == "alone" { "" } else { LINK };
        format!(
            "{c}[components.a]\nfile = \"{a}.wasm\"\nrollout = {{ {rollout} }}\nreplicas = 2\n{link}\n"
        )
    }

    /// With a component after them whose new revision does not start, which only its switch finds out.
    fn and_one(self, file: &str) -> String {
        let one = one(file, r#"strategy = "recreate""#);
        format!("{}{one}", self.tables(""))
    }

    async fn serves(self, host: &Host, what: &str) {
        if self.a.is_none() {
            assert!(host.system.whereis(&address("app/a")).is_none(), "{what}");
        }
        // Each replica.
        for n in 0..self.a.map_or(0, |_| 8_u32) {
            let answer = host.actor("a").call("ask", (n,)).await;
            let answer = answer.unwrap_or_else(|why| panic!("{what}: {why}"));
            let expected = if self.c == "has" { n + 1 } else { 700 };
            assert_eq!(<(u32,)>::from_args(answer).unwrap().0, expected, "{what}");
        }
        let has_f = host.actor("c").call("f", (1_u32,)).await.is_ok();
        assert_eq!(has_f, self.c == "has", "{what}");
        host.actor("c").call("g", (1_u32,)).await.unwrap();
    }
}

async fn host(tables: &str) -> Host {
    let directory = Directory::new("");
    for (file, wat) in [
        ("has", callee(true)),
        ("lacks", callee(false)),
        ("calls", caller("test:t/front", ONE_F, false)),
        ("greets", caller("test:t/front", ONE_F, true)),
        ("alone", caller("test:t/front", None, false)),
        ("broken", broken()),
        ("top", caller("test:t/top", None, false)),
        (
            "asks",
            caller("test:t/top", Some(["test:t/front", "ask"]), false),
        ),
    ] {
        let file = directory.0.join(format!("{file}.wasm"));
        std::fs::write(file, wat::parse_str(wat).unwrap()).unwrap();
    }
    Host::in_directory(directory, tables, RegistryOptions::default()).await
}

/// What is deployed is permanent.
async fn deployed(host: &Host, tables: &str, what: &str) {
    let rollout = host.deploy(tables).await;
    let end = rollout.finished().await;
    assert_eq!(
        end,
        RolloutOutcome::Permanent,
        "{what}: {:?}",
        rollout.status()
    );
}

/// Deploys, and promotes every step until it soaks.
async fn soaking(host: &Host, tables: &str) -> Rollout {
    let rollout = host.deploy(tables).await;
    let trial = |status: &RolloutStatus| {
        let is_on = |step: &StepStatus| step.state == StepState::Trial && step.weight.is_some();
        status.steps.iter().position(is_on)
    };
    let soaks = |status: &RolloutStatus| status.state == Some(DeploymentState::Soaking);
    let mut promoted = None;
    loop {
        let waits = |status: &RolloutStatus| trial(status).is_some() && trial(status) != promoted;
        let until = |status: &RolloutStatus| status.end.is_some() || soaks(status) || waits(status);
        let status = rollout.until(until).await;
        assert_eq!(status.end, None, "{status:?}");
        if soaks(&status) {
            return rollout;
        }
        promoted = trial(&status);
        rollout.promote().await.unwrap();
    }
}

async fn rolled_back(rollout: &Rollout) {
    rollout.roll_back("changed my mind").await.unwrap();
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
}

/// It serves while it soaks, and what was there before when it is rolled back.
async fn tried(host: &Host, now: Pair, next: Pair, strategy: &str) {
    let rollout = soaking(host, &next.tables(strategy)).await;
    next.serves(host, strategy).await;
    rolled_back(&rollout).await;
    now.serves(host, "rolled back").await;
}

const STRATEGIES: [&str; 3] = [
    r#"strategy = "rolling""#,
    r#"strategy = "recreate""#,
    r#"strategy = "blue-green", soak = "1ms""#,
];

const SOAKS: &str = r#"strategy = "blue-green", soak = "1h""#;
const CANARY: &str = r#"strategy = "canary", steps = [{ weight = "50%" }], soak = "1h""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_comes_with_its_caller_and_goes_with_it_by_every_strategy_that_switches() {
    for strategy in STRATEGIES {
        let host = host(&WITHOUT.tables("")).await;
        for round in 0..2 {
            let what = format!("{strategy}: {round}");
            deployed(&host, &WITH.tables(strategy), &what).await;
            WITH.serves(&host, &what).await;
            deployed(&host, &WITHOUT.tables(strategy), &what).await;
            WITHOUT.serves(&host, &what).await;
        }
        host.is_clean(3).await;
        host.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_has_come_with_its_caller_goes_again_when_it_is_rolled_back() {
    for strategy in [SOAKS, CANARY] {
        let host = host(&WITHOUT.tables("")).await;
        tried(&host, WITHOUT, WITH, strategy).await;
        tried(&host, WITHOUT, WITH, strategy).await;
        host.is_clean(3).await;
        deployed(&host, &WITH.tables(""), strategy).await;
        WITH.serves(&host, strategy).await;
        host.is_clean(3).await;
        host.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_has_gone_with_its_caller_is_there_again_when_it_is_rolled_back() {
    let host = host(&WITH.tables("")).await;
    tried(&host, WITH, WITHOUT, SOAKS).await;
    tried(&host, WITH, WITHOUT, SOAKS).await;
    // Whatever is started of it from now on as well.
    for name in ["app/c", "app/a/0"] {
        let supervisor = host.running.supervisor();
        supervisor.restart_child(&address(name)).await.unwrap();
        WITH.serves(&host, name).await;
    }
    host.is_clean(3).await;
    deployed(&host, &WITHOUT.tables(""), "at last").await;
    WITHOUT.serves(&host, "at last").await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_caller_comes_with_the_function_it_calls_and_goes_when_it_is_rolled_back() {
    for strategy in STRATEGIES {
        let host = host(&ALONE.tables("")).await;
        deployed(&host, &WITH.tables(strategy), strategy).await;
        WITH.serves(&host, strategy).await;
        host.is_clean(3).await;
        host.running.stop().await;
    }
    for (strategy, a) in [(SOAKS, "calls"), (CANARY, "calls"), (SOAKS, "greets")] {
        let host = host(&ALONE.tables("")).await;
        let with = Pair { a: Some(a), ..WITH };
        tried(&host, ALONE, with, strategy).await;
        host.is_clean(1).await;
        tried(&host, ALONE, with, strategy).await;
        deployed(&host, &with.tables(""), strategy).await;
        with.serves(&host, strategy).await;
        host.is_clean(3).await;
        host.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_step_that_fails_takes_callers_and_callees_back_in_the_reverse_order() {
    for (now, next) in [(WITHOUT, WITH), (WITH, WITHOUT), (ALONE, WITH)] {
        let host = host(&now.and_one("v1.wasm")).await;
        for _ in 0..2 {
            let rollout = host.deploy(&next.and_one("no-init.wasm")).await;
            match rollout.finished().await {
                RolloutOutcome::RolledBack { reason } => {
                    assert!(reason.contains("`init` failed"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
            now.serves(&host, "rolled back").await;
        }
        let instances = if now.a.is_some() { 4 } else { 2 };
        host.is_clean(instances).await;
        deployed(&host, &next.and_one("v2.wasm"), "at last").await;
        next.serves(&host, "at last").await;
        host.running.stop().await;
    }
}

/// It is made before anything is switched, though what it calls is not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_start_is_found_out_before_its_callee_is_switched() {
    let host = host(&WITHOUT.tables("")).await;
    let broken = Pair {
        a: Some("broken"),
        ..WITH
    };
    let rollout = host.deploy(&broken.tables("")).await;
    match rollout.finished().await {
        RolloutOutcome::Failed { reason, stuck } => {
            assert!(reason.contains("did not start"), "{reason}");
            assert!(stuck.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rollout.status().steps[0].state, StepState::Warm);
    WITHOUT.serves(&host, "not begun").await;
    host.is_clean(3).await;
    host.running.stop().await;
}

/// A caller that calls before its first message is made when it is switched, and then `f` is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_calls_what_has_come_in_its_init_finds_it() {
    let with = Pair {
        a: Some("greets"),
        ..WITH
    };
    for strategy in STRATEGIES {
        let host = host(&WITHOUT.tables("")).await;
        deployed(&host, &with.tables(strategy), strategy).await;
        with.serves(&host, strategy).await;
        host.running.stop().await;
    }
    for strategy in [SOAKS, CANARY] {
        let host = host(&WITHOUT.tables("")).await;
        tried(&host, WITHOUT, with, strategy).await;
        host.is_clean(3).await;
        host.running.stop().await;
    }
}

/// `x` asks `a`, which is new and calls what `c` gains: none of it is there before `c` is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_linked_to_a_new_component_that_waits_for_its_callee_waits_too() {
    let tables = |a: bool, strategy: &str| {
        let pair = if a { WITH } else { ALONE };
        let (file, link) = match a {
            true => ("asks", r#"links = [{ import = "test:t/front", to = "a" }]"#),
            false => ("top", ""),
        };
        let pair = pair.tables(strategy);
        format!(
            "{pair}[components.x]\nfile = \"{file}.wasm\"\nrollout = {{ {strategy} }}\n{link}\n"
        )
    };
    let ask = async |host: &Host| {
        let answer = host.actor("x").call("ask", (5_u32,)).await.unwrap();
        <(u32,)>::from_args(answer).unwrap().0
    };
    for strategy in STRATEGIES.into_iter().chain([SOAKS, CANARY]) {
        let host = host(&tables(false, "")).await;
        if [SOAKS, CANARY].contains(&strategy) {
            let rollout = soaking(&host, &tables(true, strategy)).await;
            assert_eq!(ask(&host).await, 6, "{strategy}");
            rolled_back(&rollout).await;
            assert_eq!(ask(&host).await, 700, "{strategy}");
            ALONE.serves(&host, strategy).await;
            host.is_clean(2).await;
        }
        deployed(&host, &tables(true, ""), strategy).await;
        assert_eq!(ask(&host).await, 6, "{strategy}");
        WITH.serves(&host, strategy).await;
        // They go again: what is gone is stopped last, so what it has called goes after it.
        let has = tables(false, "").replace("lacks", "has");
        deployed(&host, &has, strategy).await;
        deployed(&host, &tables(false, ""), strategy).await;
        assert_eq!(ask(&host).await, 700, "{strategy}");
        ALONE.serves(&host, strategy).await;
        host.is_clean(2).await;
        host.running.stop().await;
    }
}

#[tokio::test]
async fn a_callee_that_loses_a_function_is_not_replaced_by_canary() {
    let host = host(&WITH.tables("")).await;
    let new = host.resolve(&WITHOUT.tables(CANARY));
    let refused = host.deployer.deploy(new, by("test")).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("test:t/one#f") && text.contains("use `rolling`"),
        "{text}"
    );
    // Its caller may be.
    let caller = WITHOUT
        .tables(CANARY)
        .replacen(CANARY, r#"strategy = "rolling""#, 1);
    let rollout = soaking(&host, &caller).await;
    WITHOUT.serves(&host, "soaking").await;
    rolled_back(&rollout).await;
    WITH.serves(&host, "rolled back").await;
    host.is_clean(3).await;
    host.running.stop().await;
}
