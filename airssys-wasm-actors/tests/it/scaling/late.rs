//! Replicas that take their time to start, decline to, or have ended.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorState, CallError, ChildHealth, ChildSpec, Context, Message, RestartPolicy,
    ScaleError, Scaled,
};

use super::{below, scale};
use crate::guests::{address, engine, system};
use crate::replicas::{Outside, text};

/// An actor of which replicas start when they may, or decline to.
struct Late(Arc<Outside>, bool);

impl Actor for Late {
    type Error = CallError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface serve { who: func() -> string; stop: func(); }",
        )
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), CallError> {
        if ctx.address().as_str().contains('/') {
            if self.1 {
                ctx.decline();
                return Ok(());
            }
            self.0.held.notify_one();
            self.0.open.notified().await;
        }
        Ok(())
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), CallError> {
        if message.function() == "stop" {
            ctx.stop();
            message.reply(());
        } else {
            message.reply((ctx.address().as_str(),));
        }
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        ChildHealth::Degraded("a little".to_owned())
    }
}

fn late(outside: &Arc<Outside>, declines: bool) -> ChildSpec {
    let outside = Arc::clone(outside);
    ChildSpec {
        restart: RestartPolicy::Transient,
        ..ChildSpec::native(address("pool"), move || {
            Late(Arc::clone(&outside), declines)
        })
    }
}

/// While its replicas start, one that was alone answers for itself.
#[tokio::test(start_paused = true)]
async fn one_that_grows_is_as_well_as_it_was() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(late(&outside, false)).await.unwrap();
    let scaling = {
        let system = system.clone();
        tokio::spawn(async move { scale(&system, "pool", 2).await })
    };
    outside.held.notified().await;
    let well = ChildHealth::Degraded("a little".to_owned());
    assert_eq!(pool.health(Duration::from_secs(1)).await.unwrap(), well);
    assert_eq!(text(&pool, "who").await.unwrap(), "pool");
    outside.open.notify_one();
    outside.held.notified().await;
    outside.open.notify_one();
    assert_eq!(scaling.await.unwrap().unwrap(), Scaled { from: 1, to: 2 });
    assert_eq!(pool.health(Duration::from_secs(1)).await.unwrap(), well);

    // Of two, one ends by itself: that is the one that goes.
    let first = system.whereis(&address("pool/0")).unwrap();
    first.call("stop", ()).await.unwrap();
    while first.is_registered() && first.status().state != ActorState::Down {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        scale(&system, "pool", 1).await.unwrap(),
        Scaled { from: 2, to: 1 }
    );
    assert_eq!(text(&pool, "who").await.unwrap(), "pool/1");
    // And when the last one has ended, so has the name.
    pool.call("stop", ()).await.unwrap();
    while text(&pool, "who").await.is_ok() {}
    assert_eq!(text(&pool, "who").await.unwrap_err().kind(), "stopped");
    system.shutdown().await;
}

#[tokio::test]
async fn replicas_that_all_decline_take_nobodys_place() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    // One that is temporary is forgotten as it declines.
    for restart in [RestartPolicy::Transient, RestartPolicy::Temporary] {
        let spec = ChildSpec {
            restart,
            ..late(&outside, true)
        };
        let pool = system.spawn(spec).await.unwrap();
        for _ in 0..3 {
            let refused = scale(&system, "pool", 3).await.unwrap_err();
            assert!(
                matches!(refused, ScaleError::NotStarted { .. }),
                "{refused}"
            );
            assert_eq!(below(&system), Vec::<String>::new());
            assert_eq!(system.replicas(&address("pool")), Some(1));
            assert_eq!(text(&pool, "who").await.unwrap(), "pool");
        }
        let root = system.supervisor();
        root.stop_child(&address("pool")).await.unwrap();
    }
    system.shutdown().await;
}
