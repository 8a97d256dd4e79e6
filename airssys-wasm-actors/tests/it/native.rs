//! Native actors beside components.

mod health;
mod panics;
mod starts;

use std::time::Duration;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorFunction, CallError, ChildHealth, ChildSpec, Context, ErrorAction, ExitReason,
    Link, Message, StartError,
};

use crate::guests::{RELAY, WORKER, address, engine, exited, started, system, template};

/// Exports what the test components import, and a few ways to fail.
#[derive(Default)]
struct Native {
    handled: u32,
    worker: Option<ActorFunction>,
}

#[derive(Debug, thiserror::Error)]
enum NativeError {
    #[error("a small thing")]
    Small,
    #[error("a big thing")]
    Big,
    #[error(transparent)]
    Args(#[from] airssys_wasm::ArgsMismatch),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Actor for Native {
    type Error = NativeError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface work { work: func(n: u32) -> u32; }
             interface more {
                 through: func(n: u32) -> u32;
                 silent: func();
                 small: func();
                 big: func();
                 panic: func();
             }",
        )
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), NativeError> {
        if let Some(worker) = ctx.whereis(&address("worker")) {
            self.worker = worker.function("work").ok();
        }
        if ctx.address().as_str() == "stillborn" {
            return Err(NativeError::Big);
        }
        Ok(())
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), NativeError> {
        self.handled += 1;
        match message.function() {
            "work" => {
                let (n,): (u32,) = message.args()?;
                message.reply((n + 1,));
            }
            "through" => {
                let (n,): (u32,) = message.args()?;
                let worker = self.worker.clone().ok_or(NativeError::Big)?;
                let results = ctx.call(&worker, (n,)).await?;
                message.reply(results);
            }
            "small" => return Err(NativeError::Small),
            "big" => return Err(NativeError::Big),
            "panic" => panic!("on purpose"),
            _ => {}
        }
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        ChildHealth::Degraded(format!("after {} messages", self.handled))
    }

    fn on_error(&mut self, error: &NativeError) -> ErrorAction {
        match error {
            NativeError::Small | NativeError::Args(_) => ErrorAction::Resume,
            _ => ErrorAction::Exit,
        }
    }
}

#[tokio::test]
async fn components_and_native_actors_call_one_another() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    system.spawn(worker).await.unwrap();
    let native = system
        .spawn(ChildSpec::native(address("native"), Native::default))
        .await
        .unwrap();
    let relay = ChildSpec::component(address("relay"), template(&engine, RELAY, &["test:t/work"]))
        .link(Link::new("test:t/work", address("native")));
    let relay = system.spawn(relay).await.unwrap();
    assert_eq!(
        relay.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    assert_eq!(
        native.call("through", (5_u32,)).await.unwrap(),
        (6_u32,).into_args()
    );
}

#[tokio::test]
async fn errors_resume_or_exit_and_the_caller_is_told_either_way() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let native = system
        .spawn(ChildSpec::native(address("native"), Native::default))
        .await
        .unwrap();
    let text = native.call("small", ()).await.unwrap_err().to_string();
    assert!(text.contains("a small thing"), "{text}");
    assert_eq!(native.status().incarnation, 1);
    let text = native.call("silent", ()).await.unwrap_err().to_string();
    assert!(text.contains("without a reply"), "{text}");

    assert_eq!(native.call("big", ()).await.unwrap_err().kind(), "native");
    match exited(&mut events, &address("native")).await {
        ExitReason::Error(text) => assert_eq!(&*text, "a big thing"),
        other => panic!("{other:?}"),
    }
    started(&mut events, &address("native"), 1).await;

    match native.call("panic", ()).await {
        Err(CallError::CalleeDied {
            reason: ExitReason::Panicked(text),
            ..
        }) => {
            assert_eq!(&*text, "on purpose");
        }
        other => panic!("{other:?}"),
    }
    started(&mut events, &address("native"), 2).await;
    assert_eq!(
        native.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
}

#[tokio::test]
async fn a_failed_pre_start_reaches_whoever_starts_it() {
    let engine = engine();
    let system = system(&engine).await;
    match system
        .spawn(ChildSpec::native(address("stillborn"), Native::default))
        .await
    {
        Err(StartError::Child {
            reason: ExitReason::StartFailed(text),
            ..
        }) => {
            assert_eq!(&*text, "a big thing");
        }
        other => panic!("{other:?}"),
    }
    assert!(system.whereis(&address("stillborn")).is_none());
}

#[tokio::test]
async fn health_is_asked_between_messages() {
    let engine = engine();
    let system = system(&engine).await;
    let native = system
        .spawn(ChildSpec::native(address("native"), Native::default))
        .await
        .unwrap();
    native.call("work", (1_u32,)).await.unwrap();
    let within = Duration::from_secs(60);
    let health = native.health(within).await.unwrap();
    assert_eq!(health, ChildHealth::Degraded("after 1 messages".into()));
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    assert_eq!(worker.health(within).await.unwrap(), ChildHealth::Healthy);
    system
        .supervisor()
        .stop_child(&address("worker"))
        .await
        .unwrap();
    assert_eq!(worker.health(within).await.unwrap_err().kind(), "stopped");
}

struct Unspeakable;

impl Actor for Unspeakable {
    type Error = NativeError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface nothing { f: funk(); }")
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), NativeError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_actor_whose_wit_is_not_valid_is_not_started() {
    let system = system(&engine()).await;
    match system
        .spawn(ChildSpec::native(address("u"), || Unspeakable))
        .await
    {
        Err(error @ StartError::Surface { .. }) => {
            let text = error.to_string();
            assert!(text.contains("`u`") && text.contains("funk"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(system.whereis(&address("u")).is_none());
}
