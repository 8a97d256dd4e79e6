//! Canaries of functions with several parameters: whose value decides, and what their names may be.

use std::collections::BTreeSet;

use airssys_wasm::FromArgs as _;
use airssys_wasm_actors::deployment::{PlanOptions, StrategyWords};

use super::*;

/// What one revision calls its functions' parameters, all of them `u32`, and what it answers.
struct Shop {
    answer: u32,
    interface: &'static str,
    get: [&'static str; 1],
    put: [&'static str; 2],
}

const SHOP: Shop = Shop {
    answer: 1,
    interface: "test:t/shop@0.1.0",
    get: ["user"],
    put: ["item", "user"],
};

impl Shop {
    fn wat(&self) -> String {
        let named = |names: &[&str]| {
            let params = names.iter().map(|name| format!(r#"(param "{name}" u32)"#));
            params.collect::<Vec<_>>().join(" ")
        };
        let (get, put) = (named(&self.get), named(&self.put));
        let (answer, interface) = (self.answer, self.interface);
        format!(
            r#"(component
              (core module $m
                (func (export "get") (param i32) (result i32) (i32.const {answer}))
                (func (export "put") (param i32 i32) (result i32) (i32.const {answer})))
              (core instance $i (instantiate $m))
              (func $get {get} (result u32) (canon lift (core func $i "get")))
              (func $put {put} (result u32) (canon lift (core func $i "put")))
              (instance (export "{interface}") (export "get" (func $get)) (export "put" (func $put))))"#
        )
    }
}

/// An application of `shop.wasm`, and another one beside it.
async fn host(next: &Shop) -> Host {
    let directory = Directory::new("");
    for (file, shop) in [("shop.wasm", &SHOP), ("next.wasm", next)] {
        std::fs::write(directory.0.join(file), wat::parse_str(shop.wat()).unwrap()).unwrap();
    }
    let options = RegistryOptions::default();
    Host::in_directory(directory, &one("shop.wasm", ""), options).await
}

fn half(more: &str) -> String {
    one(
        "next.wasm",
        &format!(r#"strategy = "canary", steps = [{{ weight = "50%" }}]{more}"#),
    )
}

async fn on_trial(rollout: &Rollout) {
    let status = rollout
        .until(|status| status.steps[0].weight == Some(5_000))
        .await;
    assert_eq!(status.end, None, "{status:?}");
}

/// Who answers, of these calls.
async fn arms(actor: &ActorRef, calls: impl Iterator<Item = (u32, u32)>) -> BTreeSet<u32> {
    let put = actor.function("put").unwrap();
    let mut arms = BTreeSet::new();
    for call in calls {
        let answer = put.call(call).await.unwrap();
        arms.insert(<(u32,)>::from_args(answer).unwrap().0);
    }
    arms
}

#[tokio::test]
async fn a_sticky_parameter_decides_wherever_it_stands_in_each_function() {
    // The new revision calls it otherwise in one of them.
    for put in [["item", "user"], ["item", "who"]] {
        let next = Shop {
            answer: 2,
            put,
            ..SHOP
        };
        let host = host(&next).await;
        let rollout = host.deploy(&half(r#", sticky = "user""#)).await;
        on_trial(&rollout).await;
        let actor = host.actor("one");
        let get = actor.function("get").unwrap();
        let mut seen = BTreeSet::new();
        for user in 0..32_u32 {
            let mut arms = arms(&actor, (0..16).map(|item| (item, user))).await;
            let answer = get.call((user,)).await.unwrap();
            arms.insert(<(u32,)>::from_args(answer).unwrap().0);
            assert_eq!(arms.len(), 1, "user {user} has both revisions");
            seen.extend(arms);
        }
        assert_eq!(seen, BTreeSet::from([1, 2]));
        rollout.promote().await.unwrap();
        let soaking = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
            status.state == Some(DeploymentState::Soaking)
        };
        rollout.until(soaking).await;
        rollout.promote().await.unwrap();
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(
            arms(&actor, [(0, 0)].into_iter()).await,
            BTreeSet::from([2])
        );
        host.running.stop().await;
    }
}

#[tokio::test]
async fn a_sticky_parameter_that_nobody_has_or_that_moves_is_refused() {
    let moved = Shop {
        answer: 2,
        put: ["user", "item"],
        ..SHOP
    };
    let host = host(&moved).await;
    let words = |sticky| StrategyWords {
        strategy: Some("canary"),
        steps: Some("50%"),
        sticky: Some(sticky),
        ..StrategyWords::default()
    };
    let plan = |sticky| {
        let options = PlanOptions {
            strategy: words(sticky).read().unwrap(),
            ..PlanOptions::default()
        };
        let new = host.resolve(&one("next.wasm", ""));
        host.deployer
            .plan(&new, &options)
            .map(|plan| plan.to_string())
    };
    let refused = plan("usr").unwrap_err().to_string();
    assert!(
        refused.contains("no function that runs now has a parameter `usr`"),
        "{refused}"
    );
    assert!(refused.contains("did you mean `user`?"), "{refused}");
    let refused = plan("user").unwrap_err().to_string();
    assert!(
        refused
            .contains("`user` is another parameter of `test:t/shop@0.1.0#put` in the new revision"),
        "{refused}"
    );
    host.running.stop().await;
}

#[tokio::test]
async fn a_parameter_that_is_renamed_and_a_newer_version_are_no_obstacle_to_a_canary() {
    let renamed = Shop {
        answer: 2,
        get: ["person"],
        put: ["thing", "person"],
        ..SHOP
    };
    let newer = Shop {
        answer: 2,
        interface: "test:t/shop@0.1.1",
        ..SHOP
    };
    for next in [renamed, newer] {
        let host = host(&next).await;
        let rollout = host.deploy(&half("")).await;
        on_trial(&rollout).await;
        let both = arms(&host.actor("one"), (0..4).map(|n| (n, n))).await;
        assert_eq!(both, BTreeSet::from([1, 2]));
        rollout.roll_back("seen").await.unwrap();
        rollout.finished().await;
        host.running.stop().await;
    }
}
