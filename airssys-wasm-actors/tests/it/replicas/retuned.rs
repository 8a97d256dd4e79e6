//! Replicas of which somebody changes how they are asked how they are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use airssys_wasm_actors::{ActorState, ChildSpec, HealthCheck};

use super::{Moody, moods, text};
use crate::guests::{address, engine, system};

/// Who is out of rotation is taken back by an answer, which does not come where nobody asks.
#[tokio::test(start_paused = true)]
async fn a_replica_that_nobody_asks_any_more_is_not_out_of_rotation() {
    let system = system(&engine()).await;
    let ill = Arc::new(Mutex::new(HashSet::from(["pool/0".to_owned()])));
    let made = Arc::clone(&ill);
    let make = move || Moody {
        ill: Arc::clone(&made),
        me: String::new(),
    };
    let check = HealthCheck {
        out_of_rotation_after: Some(1),
        threshold: 1_000,
        ..HealthCheck::default()
    };
    let asked = ChildSpec {
        replicas: 2,
        ..ChildSpec::native(address("pool"), make).health(check)
    };
    let mut events = system.events();
    let pool = system.spawn(asked.clone()).await.unwrap();
    let first = system.whereis(&address("pool/0")).unwrap();
    moods(&mut events, false, 1).await;
    assert_eq!(first.status().state, ActorState::OutOfRotation);
    let unasked = ChildSpec {
        health: None,
        ..asked.clone()
    };
    system.retune(unasked).unwrap();
    // A supervisor that answers has heard what it was told before.
    let above = system.supervisor();
    above.stop_child(&address("nobody")).await.unwrap_err();
    assert_eq!(first.status().state, ActorState::Running);
    assert!(text(&pool, "who").await.unwrap().starts_with("pool/"));
    // Asked again, it is out again.
    system.retune(asked).unwrap();
    moods(&mut events, false, 1).await;
    assert_eq!(first.status().state, ActorState::OutOfRotation);
    system.shutdown().await;
}
