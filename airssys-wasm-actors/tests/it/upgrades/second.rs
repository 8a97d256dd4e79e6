//! A second upgrade while the first is not over.

use airssys_wasm_actors::{NotReplaced, UpgradeOptions};

use super::{Revision, V1, number, number_of, spec, why};
use crate::guests::{engine, system_with};

#[tokio::test]
async fn of_two_upgrades_prepared_at_once_one_takes_place_and_only_the_last_is_taken_back() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let prepare = |version: u32, more: &str| {
        let wat = Revision { version, ..V1 }.stateless();
        let wat = wat.replace("\"more\" (func $more)", &format!("\"{more}\" (func $more)"));
        let next = spec(&engine, &wat);
        system.upgrade(next, UpgradeOptions::default()).unwrap()
    };
    let (mut second, third) = (prepare(2, "more"), prepare(3, "other"));
    second.warm().await.unwrap();
    let second = second.switch().await.unwrap();
    let more = actor.function("more").unwrap();
    // Prepared for what ran before: it would give the number of `more` to another function.
    let why = why(third.switch().await.unwrap_err());
    assert!(matches!(why, NotReplaced::Superseded), "{why}");
    assert_eq!(number(&actor, "version").await, 2);
    let third = prepare(3, "other").switch().await.unwrap();
    assert_eq!(
        number_of(&actor.function("other").unwrap()).await.unwrap(),
        42
    );
    assert!(number_of(&more).await.is_err());
    // The second has been followed by another, which is not its to take away.
    let refused = second.roll_back().await.unwrap_err();
    assert!(matches!(refused.why, NotReplaced::Superseded), "{refused}");
    assert_eq!(number(&actor, "version").await, 3);
    third.roll_back().await.unwrap();
    assert_eq!(number(&actor, "version").await, 2);
    assert_eq!(number_of(&more).await.unwrap(), 42);
    assert_eq!(engine.instances(), 1);
    system.shutdown().await;
}
