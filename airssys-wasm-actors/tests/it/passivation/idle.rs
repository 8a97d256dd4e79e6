//! Another idle time, given by the supervisor's spec.

use std::time::Duration;

use airssys_wasm_actors::{ChildSpec, Passivation, SupervisorSpec};

use super::{KEEPER, add, passivated};
use crate::guests::{address, engine, system, template};

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn another_idle_time_is_followed_from_the_change_on() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = template(&engine, KEEPER, &[]);
    let above = |after: Option<Duration>| {
        let child = ChildSpec::component(address("keeper"), keeper.clone());
        SupervisorSpec::new(address("above")).with(match after {
            Some(after) => child.passivate(Passivation::new(after)),
            None => child,
        })
    };
    let supervisor = system.supervise(above(Some(LONG))).await.unwrap();
    let keeper = system.whereis(&address("keeper")).unwrap();
    assert_eq!(add(&keeper, 5).await, 5);
    // Shorter: it is not looked at as late as before.
    supervisor.change(above(Some(SHORT))).await.unwrap();
    let short = tokio::time::timeout(SHORT * 2, passivated(&mut events));
    short.await.unwrap();
    assert_eq!(add(&keeper, 1).await, 6);
    // Longer: nor as early.
    supervisor.change(above(Some(LONG))).await.unwrap();
    let early = tokio::time::timeout(LONG / 2, passivated(&mut events));
    early.await.unwrap_err();
    passivated(&mut events).await;
    assert_eq!(add(&keeper, 1).await, 7);
    // Not at all, and from its next start on again.
    supervisor.change(above(None)).await.unwrap();
    let never = tokio::time::timeout(LONG * 3, passivated(&mut events));
    never.await.unwrap_err();
    supervisor.change(above(Some(SHORT))).await.unwrap();
    assert_eq!(add(&keeper, 1).await, 8);
    supervisor.restart_child(&address("keeper")).await.unwrap();
    let again = tokio::time::timeout(SHORT * 2, passivated(&mut events));
    again.await.unwrap();
    assert_eq!(add(&keeper, 1).await, 1);
    system.shutdown().await;
}

/// What changes nothing of it does not begin the idle time anew.
#[tokio::test(start_paused = true)]
async fn a_change_of_something_else_wakes_nobody_and_begins_nothing_anew() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = template(&engine, KEEPER, &[]);
    let child = ChildSpec::component(address("keeper"), keeper);
    let spec = SupervisorSpec::new(address("above")).with(child.passivate(Passivation::new(SHORT)));
    let supervisor = system.supervise(spec.clone()).await.unwrap();
    let keeper = system.whereis(&address("keeper")).unwrap();
    assert_eq!(add(&keeper, 5).await, 5);
    let other = async {
        loop {
            tokio::time::advance(SHORT / 4).await;
            supervisor.change(spec.clone()).await.unwrap();
        }
    };
    let asleep = tokio::time::timeout(SHORT * 2, passivated(&mut events));
    tokio::select! {
        asleep = asleep => asleep.unwrap(),
        () = other => {}
    }
    system.shutdown().await;
}
