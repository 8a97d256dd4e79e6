//! Panics in the hooks of a native actor, outside of what its handler awaits.

use std::future::{Future, ready};

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, CallError, ChildHealth, ChildSpec, Context, DeadLetterSelection, ErrorAction,
    Event, ExitReason, Message, Reply, System,
};

use crate::guests::{address, engine, exited, started, system};

/// Panics wherever it is told to.
#[derive(Default)]
struct Fragile {
    kept: Vec<Reply>,
    last: bool,
}

/// An error that cannot say what it is.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("plain")]
    Plain,
    #[error("{}", unspeakable())]
    Unspeakable,
    #[error("on its way out")]
    Leaving,
}

fn unspeakable() -> String {
    panic!("unspeakable")
}

impl Actor for Fragile {
    type Error = Trouble;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface fragile {
                 early: func(); plain: func(); unspeakable: func(); leaving: func();
                 keep: func(); last: func(); note: func();
             }",
        )
    }

    fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> impl Future<Output = Result<(), Trouble>> + Send {
        ready(match message.function() {
            // There is no future yet.
            "early" => panic!("early"),
            "plain" => Err(Trouble::Plain),
            "unspeakable" => Err(Trouble::Unspeakable),
            "leaving" => {
                self.last = true;
                Err(Trouble::Leaving)
            }
            "keep" => {
                self.kept.extend(message.defer());
                Ok(())
            }
            "note" => {
                message.reply(());
                Ok(())
            }
            _ => {
                self.last = true;
                message.reply(());
                Ok(())
            }
        })
    }

    fn health(&mut self) -> impl Future<Output = ChildHealth> + Send {
        assert!(self.kept.is_empty(), "health");
        ready(ChildHealth::Healthy)
    }

    fn on_error(&mut self, error: &Trouble) -> ErrorAction {
        assert!(!matches!(error, Trouble::Plain), "on error");
        ErrorAction::Exit
    }

    fn post_stop(&mut self, _: &ExitReason) -> impl Future<Output = ()> + Send {
        assert!(!self.last, "post stop");
        ready(())
    }
}

async fn fragile(system: &System) -> ActorRef {
    let spec = ChildSpec::native(address("fragile"), Fragile::default);
    system.spawn(spec).await.unwrap()
}

#[track_caller]
fn died_of(answer: Result<airssys_wasm::Args, CallError>, of: &str) {
    match answer {
        Err(CallError::CalleeDied {
            reason: ExitReason::Panicked(text),
            ..
        }) => assert_eq!(&*text, of),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn callers_are_told_of_a_panic_wherever_it_was() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let actor = fragile(&system).await;
    let panics = [
        ("early", "early"),
        ("plain", "on error"),
        ("unspeakable", "unspeakable"),
    ];
    for (round, (function, text)) in panics.into_iter().enumerate() {
        died_of(actor.call(function, ()).await, text);
        assert_eq!(
            exited(&mut events, actor.address()).await.kind(),
            "panicked"
        );
        started(&mut events, actor.address(), round as u64 + 1).await;
    }
    // Its own error is the answer, and the panic after it is the end.
    assert_eq!(
        actor.call("leaving", ()).await.unwrap_err().kind(),
        "native"
    );
    assert_eq!(
        exited(&mut events, actor.address()).await.kind(),
        "panicked"
    );
}

#[tokio::test]
async fn a_message_whose_error_makes_its_actor_panic_is_poison_like_any() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let actor = fragile(&system).await;
    let letters = system.dead_letters();
    for round in 1..=3_u64 {
        if round == 1 {
            actor.cast("plain", ()).unwrap();
        } else {
            let again = letters.replay(&DeadLetterSelection::from(0), false);
            assert_eq!(again.accepted, [0]);
        }
        while !matches!(events.recv().await, Some(Event::DeadLetter { .. })) {}
        started(&mut events, actor.address(), round).await;
    }
    let letter = letters.get(0).unwrap();
    assert_eq!((letter.attempts, letter.deaths), (3, 3));
    assert!(letter.poison);
    match letter.why {
        CallError::CalleeDied { reason, .. } => assert_eq!(reason.kind(), "panicked"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_owed_fails_with_the_panic() {
    for how in ["health", "post stop"] {
        let system = system(&engine()).await;
        let mut events = system.events();
        let actor = fragile(&system).await;
        let keep = actor.function("keep").unwrap();
        let mut owed = Box::pin(keep.call(()));
        assert!(futures_util::poll!(&mut owed).is_pending());
        // It has what it keeps once it is through with the next.
        let next = if how == "health" { "note" } else { "last" };
        actor.call(next, ()).await.unwrap();
        if how == "health" {
            let within = std::time::Duration::from_secs(60);
            assert_eq!(
                actor.health(within).await.unwrap_err().kind(),
                "callee-died"
            );
        } else {
            let supervisor = system.supervisor();
            supervisor.stop_child(actor.address()).await.unwrap();
        }
        assert_eq!(
            exited(&mut events, actor.address()).await.kind(),
            "panicked"
        );
        died_of(owed.await, how);
    }
}
