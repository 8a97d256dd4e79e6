//! Changes of specs that take effect with the next start: more of S21.

use airssys_wasm_actors::{
    ChildSpec, ChildState, Event, Events, StartError, Strategy, Supervisor, System,
};

use super::{calm, kid, often, state_of, system};
use crate::guests::address;

/// The children of a supervisor with their states, in order.
fn shown(supervisor: &Supervisor) -> Vec<(String, ChildState)> {
    let children = supervisor.which_children();
    let shown = children
        .iter()
        .map(|info| (info.address.to_string(), info.state));
    shown.collect()
}

fn running(names: &[&str]) -> Vec<(String, ChildState)> {
    let each = names
        .iter()
        .map(|name| ((*name).to_owned(), ChildState::Running));
    each.collect()
}

/// Kills a supervisor and waits for its next incarnation.
async fn restarted(system: &System, events: &mut Events, name: &str) {
    system.find_supervisor(&address(name)).unwrap().kill();
    loop {
        match events.recv().await.unwrap() {
            Event::SupervisorStarted { address, .. } if address.as_str() == name => return,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s21_what_a_change_does_not_name_is_gone_with_the_next_start_of_its_supervisor() {
    let system = system().await;
    let top = often("top").with(ChildSpec::supervisor(
        often("app").with(kid("a", &calm())).with(kid("b", &calm())),
    ));
    system.supervise(top).await.unwrap();
    let app = system.find_supervisor(&address("app")).unwrap();
    app.start_child(kid("later", &calm())).await.unwrap();
    // What was added later is one of the first from now on; `a` is not any more.
    let changed = often("app")
        .with(kid("later", &calm()))
        .with(kid("new", &calm()))
        .with(kid("b", &calm()));
    app.change(changed).await.unwrap();
    assert_eq!(
        shown(&app),
        [
            ("later".to_owned(), ChildState::Running),
            ("new".to_owned(), ChildState::Stopped),
            ("b".to_owned(), ChildState::Running),
            ("a".to_owned(), ChildState::Running),
        ]
    );
    let mut events = system.events();
    restarted(&system, &mut events, "app").await;
    assert_eq!(shown(&app), running(&["later", "new", "b"]));
    // Its name is free.
    assert!(system.whereis(&address("a")).is_none());
    system.spawn(kid("a", &calm())).await.unwrap();
    system.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn s21_a_nested_supervisor_is_what_its_parents_spec_says_from_its_next_start_on() {
    let system = system().await;
    let low = often("low").with(kid("deep", &calm()));
    let below = often("below")
        .with(kid("a", &calm()))
        .with(kid("b", &calm()))
        .with(ChildSpec::supervisor(low));
    let top = often("top").with(ChildSpec::supervisor(below));
    let top = system.supervise(top).await.unwrap();
    let below = system.find_supervisor(&address("below")).unwrap();
    let b = system.whereis(&address("b")).unwrap();

    let low = often("low")
        .with(kid("deep", &calm()))
        .with(kid("deeper", &calm()));
    let again = often("below")
        .strategy(Strategy::RestForOne)
        .with(ChildSpec::supervisor(low))
        .with(kid("b", &calm()))
        .with(kid("c", &calm()));
    top.change(often("top").with(ChildSpec::supervisor(again)))
        .await
        .unwrap();
    // Nothing has changed for what runs.
    assert_eq!(below.strategy(), Strategy::OneForOne);
    assert_eq!(shown(&below), running(&["a", "b", "low"]));
    assert!(system.whereis(&address("c")).is_none());

    let mut events = system.events();
    restarted(&system, &mut events, "below").await;
    assert_eq!(below.strategy(), Strategy::RestForOne);
    assert_eq!(shown(&below), running(&["low", "b", "c"]));
    let low = system.find_supervisor(&address("low")).unwrap();
    assert_eq!(shown(&low), running(&["deep", "deeper"]));
    assert!(system.whereis(&address("a")).is_none());
    // Who was kept is who it was.
    assert_eq!(b.status().incarnation, 2);
    b.call("echo", ()).await.unwrap();

    // The same spec once more says nothing new: what was changed in the supervisor itself stays.
    below
        .change(often("below").with(kid("b", &calm())))
        .await
        .unwrap();
    restarted(&system, &mut events, "below").await;
    assert_eq!(shown(&below), running(&["b"]));
    system.shutdown().await;
}

/// A name that is taken by the time it is needed is a start that fails, and is tried again.
#[tokio::test(start_paused = true)]
async fn s21_a_nested_supervisor_that_cannot_be_what_it_is_to_be_does_not_start() {
    let system = system().await;
    let top = often("top").with(ChildSpec::supervisor(
        often("below").with(kid("a", &calm())),
    ));
    let top = system.supervise(top).await.unwrap();
    let again = often("below").with(kid("taken", &calm()));
    top.change(often("top").with(ChildSpec::supervisor(again)))
        .await
        .unwrap();
    let taken = system.spawn(kid("taken", &calm())).await.unwrap();
    top.terminate_child(&address("below")).await.unwrap();
    let failed = top.start_stopped_child(&address("below")).await;
    assert!(
        failed
            .as_ref()
            .is_err_and(|why| why.to_string().contains("taken")),
        "{failed:?}"
    );
    assert_eq!(state_of(&top, "below"), Some(ChildState::Stopped));
    let supervisor = system.supervisor();
    supervisor.stop_child(taken.address()).await.unwrap();
    top.start_stopped_child(&address("below")).await.unwrap();
    let below = system.find_supervisor(&address("below")).unwrap();
    assert_eq!(shown(&below), running(&["taken"]));
    system.shutdown().await;
}

/// As if it had never been said.
#[tokio::test(start_paused = true)]
async fn s21_a_faulty_spec_of_a_nested_supervisor_is_refused_with_the_whole_change() {
    let system = system().await;
    let top = often("top").with(ChildSpec::supervisor(
        often("below").with(kid("a", &calm())),
    ));
    let top = system.supervise(top).await.unwrap();
    let faulty = often("below")
        .with(kid("x", &calm()))
        .with(kid("x", &calm()));
    let faulty = often("top")
        .strategy(Strategy::OneForAll)
        .with(ChildSpec::supervisor(faulty));
    let refused = top.change(faulty).await;
    assert!(matches!(refused, Err(StartError::Spec(_))), "{refused:?}");
    assert_eq!(top.strategy(), Strategy::OneForOne);
    let mut events = system.events();
    restarted(&system, &mut events, "below").await;
    let below = system.find_supervisor(&address("below")).unwrap();
    assert_eq!(shown(&below), running(&["a"]));
    assert!(system.whereis(&address("x")).is_none());
    system.shutdown().await;
}
