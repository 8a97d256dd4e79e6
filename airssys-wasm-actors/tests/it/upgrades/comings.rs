//! Functions and handles that go and come back with a revision.

use airssys_wasm::{CallRefused, ResourceHandle};
use airssys_wasm_actors::{ActorRef, CallError, ChildSpec, UpgradeOptions};

use super::revision::{V1, V2};
use super::{first, number, number_of, spec};
use crate::guests::{address, engine, started, system_with, template};

const VERSION: &str = r#"(export "version" (func $version))"#;

fn is_gone(error: &CallError) -> bool {
    matches!(error, CallError::Refused(CallRefused::NoSuchFunction(_)))
}

/// Whatever comes back has the number that whoever knows it holds, also once the instance that was kept has ended.
#[tokio::test]
async fn a_function_that_was_gone_is_the_same_when_it_comes_back() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let mut events = system.events();
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let version = actor.function("version").unwrap();
    let without = spec(&engine, &V2.stateless().replace(VERSION, ""));
    let upgrade = system.upgrade(without.clone(), UpgradeOptions::default());
    let upgraded = upgrade.unwrap().switch().await.unwrap();
    assert!(is_gone(&number_of(&version).await.unwrap_err()));
    assert!(actor.function("version").is_err());
    upgraded.roll_back().await.unwrap();
    // Whoever knew it, and whoever looks it up anew.
    assert_eq!(number_of(&version).await.unwrap(), 1);
    assert_eq!(number(&actor, "version").await, 1);
    actor.kill();
    started(&mut events, actor.address(), 1).await;
    assert_eq!(number_of(&version).await.unwrap(), 1);
    assert_eq!(number(&actor, "version").await, 1);
    // By a revision of its own as by a way back.
    let upgrade = system.upgrade(without, UpgradeOptions::default());
    upgrade.unwrap().switch().await.unwrap().release().await;
    assert!(is_gone(&number_of(&version).await.unwrap_err()));
    let upgrade = system.upgrade(spec(&engine, &V1.stateless()), UpgradeOptions::default());
    upgrade.unwrap().switch().await.unwrap().release().await;
    assert_eq!(number_of(&version).await.unwrap(), 1);
    assert_eq!(number(&actor, "version").await, 1);
    system.shutdown().await;
}

const COUNTERS: &str = include_str!("../../../../airssys-wasm/tests/it/resources/counters.wat");

/// A handle that nobody holds any more is destroyed by the instance that made it, once that serves again.
#[tokio::test]
async fn what_is_let_go_of_while_its_owner_is_aside_is_destroyed_when_it_is_back() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let owner = || ChildSpec::component(address("owner"), template(&engine, COUNTERS, &[]));
        let actor = system.spawn(owner()).await.unwrap();
        let made = async |n: u32| -> ResourceHandle {
            let results = actor.call("[constructor]counter", (n,)).await.unwrap();
            results.into_typed::<(ResourceHandle,)>().unwrap().0
        };
        let (one, two) = (made(1).await, made(2).await);
        assert_eq!(live(&actor).await, (2, 2));
        let options = UpgradeOptions {
            wait_max: std::time::Duration::ZERO,
            regardless: true,
            ..UpgradeOptions::default()
        };
        let upgrade = system.upgrade(owner(), options).unwrap();
        let upgraded = upgrade.switch().await.unwrap();
        drop(one);
        // Told to whoever serves, who has none.
        assert_eq!(live(&actor).await, (0, 0));
        upgraded.roll_back().await.unwrap();
        assert_eq!(live(&actor).await, (1, 1));
        drop(two);
        assert_eq!(live(&actor).await, (0, 0));
        system.shutdown().await;
    }
}

async fn live(actor: &ActorRef) -> (u32, usize) {
    let live = first(actor.call("live", ()).await.unwrap()).unwrap();
    (live, actor.status().resources)
}
