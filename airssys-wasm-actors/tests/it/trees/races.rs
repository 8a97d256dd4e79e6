//! S23: children and supervisors that die at the worst moment, one moment after the other.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use airssys_wasm_actors::{ChildSpec, ChildState, Event, Strategy, SupervisorSpec};
use tokio::time::timeout;

use super::{calm, kid, often, state_of, system, system_on};
use crate::guests::{address, engine, started};

/// Moments that are tried: so often has a killer given way before it kills. A start or a stop of these trees is
/// over after far fewer.
const MOMENTS: u32 = 60;

/// A start is several steps: the child is made, runs `pre_start`, becomes an actor, and its supervisor is told. It
/// is killed at each of them, by a task that it begins itself.
#[tokio::test(start_paused = true)]
async fn s23_a_child_that_dies_before_it_is_known_to_run_is_restarted_all_the_same() {
    let system = system().await;
    let script = calm();
    let spec = SupervisorSpec::new(address("app")).intensity(u32::MAX, Duration::from_secs(1));
    let app = system
        .supervise(spec.with(kid("a", &script)))
        .await
        .unwrap();
    let a = system.whereis(&address("a")).unwrap();
    let mut events = system.events();
    let mut incarnation = 1;
    for fuse in 0..MOMENTS {
        script.fuse.store(fuse, Ordering::Relaxed);
        // Three in a row, so that a restart, too, follows such a death.
        script.cursed.store(3, Ordering::Relaxed);
        a.kill();
        // The one that is killed here, these three, and one that lives.
        let expected = 1 + u64::from(fuse + 1) * 4;
        while incarnation < expected {
            incarnation = started(&mut events, &address("a"), incarnation).await;
        }
        a.call("echo", ()).await.unwrap();
        assert_eq!(a.status().incarnation, expected, "{fuse}");
        assert_eq!(state_of(&app, "a"), Some(ChildState::Running));
        assert_eq!(script.alive.load(Ordering::Relaxed), 1);
    }
}

/// The same for the first start: either its starter is told, and nothing is left, or it is restarted.
#[tokio::test(start_paused = true)]
async fn s23_a_child_that_dies_while_it_is_added_is_refused_or_restarted() {
    let engine = engine();
    let (mut refused, mut restarted) = (0, 0);
    for fuse in 0..MOMENTS {
        let system = system_on(&engine).await;
        let app = system.supervise(often("app")).await.unwrap();
        let mut events = system.events();
        let script = calm();
        script.fuse.store(fuse, Ordering::Relaxed);
        script.cursed.store(1, Ordering::Relaxed);
        match app.start_child(kid("a", &script)).await {
            Err(_) => {
                refused += 1;
                assert_eq!(app.count_children().specs, 0);
                assert_eq!(script.alive.load(Ordering::Relaxed), 0);
            }
            Ok(a) => {
                restarted += 1;
                started(&mut events, &address("a"), 1).await;
                a.actor().unwrap().call("echo", ()).await.unwrap();
                assert_eq!(script.alive.load(Ordering::Relaxed), 1);
            }
        }
    }
    assert!(refused + restarted == MOMENTS && restarted > 0);
}

/// A supervisor that is being stopped is killed at each moment of it. Whoever wanted it to stop is answered, and
/// nobody of its tree is left.
#[tokio::test(start_paused = true)]
async fn s23_a_supervisor_killed_while_it_stops_its_children_leaves_none_behind() {
    let engine = engine();
    for strategy in [Strategy::OneForOne, Strategy::SimpleOneForOne] {
        for moment in 0..MOMENTS {
            let system = system_on(&engine).await;
            let script = calm();
            let team = often("team").strategy(strategy);
            let app = often("app").with(ChildSpec::supervisor(team));
            let app = system.supervise(app).await.unwrap();
            let team = app.supervisors().remove(0);
            for name in ["a", "b", "c"] {
                team.start_child(kid(name, &script)).await.unwrap();
            }
            let below = often("below").with(kid("d", &script));
            team.start_child(ChildSpec::supervisor(below))
                .await
                .unwrap();
            // One does not want to end: it is waited for when the kill comes, or killed with the others.
            let b = system.whereis(&address("b")).unwrap();
            b.cast("hold", ()).unwrap();
            script.held.notified().await;
            let killer = tokio::spawn({
                let team = team.clone();
                async move {
                    for _ in 0..moment {
                        tokio::task::yield_now().await;
                    }
                    team.kill();
                }
            });
            app.terminate_child(&address("team")).await.unwrap();
            killer.await.unwrap();
            assert_eq!(script.alive.load(Ordering::Relaxed), 0, "{moment}");
            assert_eq!(state_of(&app, "team"), Some(ChildState::Stopped));
            for name in ["a", "b", "c", "d"] {
                assert!(system.whereis(&address(name)).is_none(), "{name} {moment}");
            }
            assert!(system.actors().is_empty());
            app.stop().await;
        }
    }
}

/// The same of one whose parent does not want it to stop, killed while its own group restart stops children: it is
/// made again, and there is one of each child.
#[tokio::test(start_paused = true)]
async fn s23_a_supervisor_killed_while_it_restarts_its_children_has_one_of_each_in_the_end() {
    let engine = engine();
    for moment in 0..MOMENTS {
        let system = system_on(&engine).await;
        let script = calm();
        let team = ["a", "b", "c"]
            .iter()
            .fold(often("team").strategy(Strategy::OneForAll), |team, name| {
                team.with(kid(name, &script))
            });
        let app = often("app").with(ChildSpec::supervisor(team));
        let app = system.supervise(app).await.unwrap();
        let team = app.supervisors().remove(0);
        let mut events = system.events();
        system.whereis(&address("b")).unwrap().kill();
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        team.kill();
        while !matches!(
            events.recv().await.unwrap(),
            Event::SupervisorStarted { address, incarnation: 2 } if address.as_str() == "team"
        ) {}
        for name in ["a", "b", "c"] {
            let actor = system.whereis(&address(name)).unwrap();
            actor.call("echo", ()).await.unwrap();
        }
        assert_eq!(script.alive.load(Ordering::Relaxed), 3, "{moment}");
    }
}

/// Every task that is ready has a turn; a yield comes after whatever follows from those.
async fn turn() {
    let mut had = false;
    poll_fn(|cx| match std::mem::replace(&mut had, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// What is asked of a child that nobody supervises any more does not hold up the clean-up, which may have begun.
#[tokio::test(start_paused = true)]
async fn s23_a_killed_supervisor_leaves_none_behind_that_has_as_long_as_it_takes() {
    let engine = engine();
    let names = ["a", "b", "c", "d", "e", "f"];
    for moment in 0..MOMENTS {
        let system = system_on(&engine).await;
        let script = calm();
        let kids = names.map(|name| kid(name, &script));
        let team = kids
            .iter()
            .cloned()
            .fold(often("team"), SupervisorSpec::with);
        let app = system
            .supervise(often("app").with(ChildSpec::supervisor(team)))
            .await
            .unwrap();
        let team = app.supervisors().remove(0);
        // Each has a message in hand that takes for ever.
        for name in names {
            let kid = system.whereis(&address(name)).unwrap();
            kid.cast("hold", ()).unwrap();
            script.held.notified().await;
        }
        let mut events = system.events();
        // A task like those that it is to come between.
        let (killed, tree) = (team.clone(), system.clone());
        let retuned = tokio::spawn(async move {
            killed.kill();
            for _ in 0..moment {
                turn().await;
            }
            for kid in kids {
                tree.retune(kid.shutdown_infinity()).unwrap();
            }
        });
        let mut ended = 0;
        while ended < names.len() {
            let next = timeout(Duration::from_secs(3600), events.recv()).await;
            match next.unwrap_or_else(|_| panic!("moment {moment}: {ended} have ended")) {
                Some(Event::Exited { .. }) => ended += 1,
                Some(_) => {}
                None => panic!("the log has ended"),
            }
        }
        retuned.await.unwrap();
        team.settled().await;
    }
}
