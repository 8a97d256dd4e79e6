//! What is made of a native actor that does not say how it is.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildHealth, ChildSpec, Context, HEALTH_WITHIN_MAX, HealthCheck, Message,
    RestartPolicy, Signal, SignalRefused, System,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::guests::{address, engine, exited, system};

/// Waits for ever in one of its hooks, and says so.
struct Stuck {
    inside: Arc<Notify>,
    in_health: bool,
}

impl Actor for Stuck {
    type Error = SignalRefused;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface stuck { note: func(); hold: func(); watch: func(name: string); }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), SignalRefused> {
        match message.function() {
            "hold" => {
                // It goes on after it has answered.
                message.reply(());
                self.inside.notify_one();
                pending::<()>().await;
            }
            "watch" => {
                let (name,): (String,) = message.args().unwrap();
                ctx.monitor_by_name(&address(&name))?;
            }
            _ => {}
        }
        message.reply(());
        Ok(())
    }

    async fn handle_signal(&mut self, _: Signal, _: &mut Context) -> Result<(), SignalRefused> {
        self.inside.notify_one();
        pending().await
    }

    async fn health(&mut self) -> ChildHealth {
        if self.in_health {
            self.inside.notify_one();
            pending::<()>().await;
        }
        ChildHealth::Healthy
    }
}

const CHECK: HealthCheck = HealthCheck {
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    threshold: 3,
    out_of_rotation_after: None,
};

async fn stuck(system: &System, replicas: u32, in_health: bool) -> (ActorRef, Arc<Notify>) {
    let inside = Arc::<Notify>::default();
    let made = Arc::clone(&inside);
    let spec = ChildSpec {
        replicas,
        restart: RestartPolicy::Temporary,
        ..ChildSpec::native(address("stuck"), move || Stuck {
            inside: Arc::clone(&made),
            in_health,
        })
    };
    let actor = system.spawn(spec.health(CHECK)).await.unwrap();
    (actor, inside)
}

#[tokio::test(start_paused = true)]
async fn who_never_says_how_it_is_is_found_also_while_messages_wait() {
    for replicas in [1, 2] {
        let system = system(&engine()).await;
        let mut events = system.events();
        let (actor, inside) = stuck(&system, replicas, true).await;
        inside.notified().await;
        // All of a team are asked at the same moment, and there is a message for each.
        for _ in 0..replicas * 2 {
            actor.cast("note", ()).unwrap();
        }
        let name = address(if replicas == 1 { "stuck" } else { "stuck/0" });
        let ended = timeout(Duration::from_secs(600), exited(&mut events, &name));
        // It does not end when it is asked to, either.
        assert_eq!(ended.await.unwrap().kind(), "killed");
        assert_eq!(system.crashes().get(0).unwrap().kind, "unhealthy");
        system.shutdown().await;
    }
}

/// Nobody checks it, and its messages would wait for ever.
#[tokio::test(start_paused = true)]
async fn who_is_asked_by_a_task_and_never_says_how_it_is_ends_all_the_same() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let inside = Arc::<Notify>::default();
    let stuck = ChildSpec::native(address("stuck"), move || Stuck {
        inside: Arc::clone(&inside),
        in_health: true,
    });
    let actor = system.spawn(stuck).await.unwrap();
    let asked = actor.health(Duration::from_secs(1)).await;
    assert_eq!(asked.unwrap_err().kind(), "deadline");
    actor.cast("note", ()).unwrap();
    let ended = timeout(HEALTH_WITHIN_MAX * 2, exited(&mut events, actor.address()));
    assert_eq!(ended.await.unwrap().kind(), "unhealthy");
    actor.emptied().await;
    assert_eq!(actor.counters().casts_handled, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_at_a_message_or_a_signal_is_not_late() {
    for signal in [false, true] {
        let system = system(&engine()).await;
        let (actor, inside) = stuck(&system, 1, false).await;
        if signal {
            actor.call("watch", ("nobody",)).await.unwrap();
        } else {
            actor.call("hold", ()).await.unwrap();
        }
        inside.notified().await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(actor.status().incarnation, 1);
        assert!(system.whereis(actor.address()).is_some());
        actor.kill();
    }
}

/// It is asked when it would have been, and as the newest order says.
#[tokio::test(start_paused = true)]
async fn who_is_retuned_again_and_again_is_asked_all_the_same() {
    let system = system(&engine()).await;
    let inside = Arc::<Notify>::default();
    let made = Arc::clone(&inside);
    let stuck = ChildSpec::native(address("stuck"), move || Stuck {
        inside: Arc::clone(&made),
        in_health: true,
    });
    let patient = HealthCheck {
        timeout: Duration::from_secs(10_000),
        threshold: 1,
        ..CHECK
    };
    let stuck = stuck.restart_temporary();
    system.spawn(stuck.clone().health(patient)).await.unwrap();
    let check = HealthCheck {
        timeout: Duration::from_secs(5),
        ..patient
    };
    let mut events = system.events();
    let mut orders = 0;
    let mut retuned = async || {
        tokio::time::sleep(CHECK.interval * 2 / 3).await;
        orders += 1;
        let order = stuck.clone().shutdown_graceful(Duration::from_secs(orders));
        system.retune(order.health(check)).unwrap();
    };
    let asked = inside.notified();
    tokio::pin!(asked);
    for _ in 0..10 {
        tokio::select! {
            () = &mut asked => break,
            () = retuned() => {}
        }
    }
    assert!(orders < 10, "nobody asks");
    let name = address("stuck");
    let ended = exited(&mut events, &name);
    let ended = timeout(check.timeout * 10, ended).await.unwrap();
    assert_eq!(ended.kind(), "killed");
    assert_eq!(system.crashes().get(0).unwrap().kind, "unhealthy");
    system.shutdown().await;
}
