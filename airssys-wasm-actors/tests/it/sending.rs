//! What native actors send and owe: casts, answers given later, typed calls and batches.

use std::collections::VecDeque;
use std::time::Duration;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorFunction, Call, CallError, CallOptions, ChildSpec, Context, DeadLetterFilter,
    ExitReason, MailboxConfig, Message, Reply, TypedError,
};

use crate::guests::{address, engine, exited, started, system};

/// Owes answers until it is told what to do about them, and casts on request.
#[derive(Default)]
struct Debtor {
    owed: VecDeque<Reply>,
    sink: Option<ActorFunction>,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Actor for Debtor {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:debt;
             interface debt {
                 owe: func(n: u32) -> u32;
                 pay: func() -> bool;
                 refuse: func(why: string);
                 forget: func();
                 fail: func();
                 lie: func() -> u32;
                 forward: func(n: u32) -> result<_, string>;
                 whose: func() -> option<string>;
             }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), AnyError> {
        match message.function() {
            "owe" => {
                self.owed.extend(message.defer());
                assert!(message.defer().is_none());
            }
            "pay" => {
                let reply = self.owed.pop_front().ok_or("nothing owed")?;
                message.reply((reply.send((7_u32,)),));
            }
            "refuse" => {
                let (why,): (String,) = message.args()?;
                self.owed.pop_front().ok_or("nothing owed")?.fail(&why);
                message.reply(());
            }
            "forget" => {
                self.owed.clear();
                message.reply(());
            }
            "fail" => return Err("on purpose".into()),
            "lie" => message.reply(("not a number",)),
            "forward" => {
                let (n,): (u32,) = message.args()?;
                if self.sink.is_none() {
                    self.sink = ctx
                        .whereis(&address("sink"))
                        .and_then(|sink| sink.function("put").ok());
                }
                let sink = self.sink.as_ref().ok_or("no sink")?;
                let sent = ctx.cast(sink, (n,)).map_err(|error| {
                    assert_eq!(error.args.is_none(), error.why.kind() == "stopped");
                    error.why.kind()
                });
                message.reply((sent,));
            }
            _ => message.reply((message.sender().map(|sender| sender.to_string()),)),
        }
        Ok(())
    }
}

/// Keeps what it is sent, and who sent it.
#[derive(Default)]
struct Sink(Vec<String>);

impl Actor for Sink {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:debt;
             interface sink { put: func(n: u32); got: func() -> list<string>; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), AnyError> {
        if message.function() == "put" {
            let sender = message.sender().map_or("-".to_owned(), |s| s.to_string());
            let (n,): (u32,) = message.args()?;
            self.0.push(format!("{sender}:{n}"));
            message.reply(());
        } else {
            let got = self.0.iter().map(|text| text.as_str().into()).collect();
            message.reply((airssys_wasm::Value::List(got),));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_given_later_and_is_given_once() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let debtor = system
        .spawn(ChildSpec::native(address("debtor"), Debtor::default))
        .await
        .unwrap();
    let owe = |n: u32| {
        let owe = debtor.function("owe").unwrap();
        tokio::spawn(async move { owe.call((n,)).await })
    };
    let owed = || async {
        while debtor.status().queued < 1 {
            tokio::task::yield_now().await;
        }
    };

    let first = owe(1);
    owed().await;
    // What is owed keeps its room.
    assert_eq!(debtor.status().queued, 1);
    let paid = debtor.call("pay", ()).await.unwrap();
    assert_eq!(paid, (true,).into_args());
    assert_eq!(first.await.unwrap().unwrap(), (7_u32,).into_args());
    assert_eq!(debtor.status().queued, 0);

    let refused = owe(2);
    owed().await;
    debtor.call("refuse", ("no money",)).await.unwrap();
    let why = refused.await.unwrap().unwrap_err();
    assert!(why.to_string().contains("no money"), "{why}");

    let forgotten = owe(3);
    owed().await;
    debtor.call("forget", ()).await.unwrap();
    assert_eq!(forgotten.await.unwrap().unwrap_err().kind(), "no-reply");

    // The caller's deadline ends its wait; the answer that comes later is discarded.
    let late = debtor.function("owe").unwrap();
    let within = CallOptions {
        within: Duration::from_millis(5),
        ..CallOptions::default()
    };
    let why = late.call_with((4_u32,), within).await.unwrap_err();
    assert_eq!(why.kind(), "deadline");
    let paid = debtor.call("pay", ()).await.unwrap();
    assert_eq!(paid, (false,).into_args());

    // Its own end answers what it owes, with the reason.
    let orphan = owe(5);
    owed().await;
    debtor.call("fail", ()).await.unwrap_err();
    match orphan.await.unwrap() {
        Err(CallError::CalleeDied {
            reason: ExitReason::Error(text),
            ..
        }) => assert_eq!(&*text, "on purpose"),
        other => panic!("{other:?}"),
    }
    exited(&mut events, &address("debtor")).await;
    started(&mut events, &address("debtor"), 1).await;
    let killed = owe(6);
    owed().await;
    debtor.kill();
    match killed.await.unwrap() {
        Err(CallError::CalleeDied {
            reason: ExitReason::Killed,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let counters = system.counters();
    assert_eq!(
        counters.calls,
        counters.replies + counters.call_errors + counters.calls_abandoned
    );
    assert_eq!(debtor.status().queued, 0);
}

#[tokio::test]
async fn types_are_compared_once_with_the_surface() {
    let system = system(&engine()).await;
    let debtor = system
        .spawn(ChildSpec::native(address("debtor"), Debtor::default))
        .await
        .unwrap();
    let whose: Call<(), (Option<String>,)> = debtor.typed("whose").unwrap();
    assert_eq!(whose.call(()).await.unwrap(), (None,));
    let wrong = debtor.typed::<(u64,), (u32,)>("owe").unwrap_err();
    assert!(matches!(wrong, TypedError::Types { .. }), "{wrong}");
    assert!(wrong.to_string().contains("func(n: u32) -> u32"), "{wrong}");
    assert!(debtor.typed::<(u32,), (u64,)>("owe").is_err());
    assert!(matches!(
        debtor.typed::<(), ()>("nothing").unwrap_err(),
        TypedError::NoSuchFunction(_)
    ));
    // What a native actor says is its own word: it is held to its types when it arrives.
    let lie: Call<(), (u32,)> = debtor.typed("lie").unwrap();
    assert_eq!(lie.call(()).await.unwrap_err().kind(), "wrong-reply");
}

#[tokio::test]
async fn a_cast_names_its_sender_and_to_a_dead_actor_is_a_dead_letter() {
    let system = system(&engine()).await;
    let sink = system
        .spawn(ChildSpec::native(address("sink"), Sink::default))
        .await
        .unwrap();
    let debtor = system
        .spawn(ChildSpec::native(address("debtor"), Debtor::default))
        .await
        .unwrap();
    for n in 0..3_u32 {
        debtor.call("forward", (n,)).await.unwrap();
    }
    let (got,): (Vec<String>,) = sink.call("got", ()).await.unwrap().into_typed().unwrap();
    assert_eq!(got, ["debtor:0", "debtor:1", "debtor:2"]);

    system
        .supervisor()
        .stop_child(&address("sink"))
        .await
        .unwrap();
    let sent = debtor.call("forward", (9_u32,)).await.unwrap();
    let (sent,): (Result<(), String>,) = sent.into_typed().unwrap();
    assert_eq!(sent, Err("stopped".to_owned()));
    assert_eq!(sink.call("got", ()).await.unwrap_err().kind(), "stopped");
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    assert_eq!(letters.len(), 1);
    assert_eq!(*letters[0].args, (9_u32,).into_args());
    let counters = system.counters();
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters
    );
}

#[tokio::test]
async fn a_batch_is_answered_in_order_whether_it_fits_at_once_or_not() {
    let system = system(&engine()).await;
    for (depth_max, replies) in [(1_000, 100), (10, 100), (1, 0)] {
        let name = address(&format!("sink-{depth_max}"));
        let mut sink = ChildSpec::native(name, Sink::default);
        sink.mailbox = MailboxConfig {
            depth_max,
            ..MailboxConfig::default()
        };
        let sink = system.spawn(sink).await.unwrap();
        let put = sink.function("put").unwrap();
        if replies == 0 {
            put.cast((0_u32,)).unwrap();
        }
        let requests = (0..100_u32).map(|n| (n,));
        let answers = put.call_batch(requests, CallOptions::default()).await;
        assert_eq!(answers.len(), 100);
        let ok = answers.iter().take_while(|answer| answer.is_ok()).count();
        assert_eq!(ok, replies);
        assert!(answers[ok..].iter().all(|answer| {
            answer
                .as_ref()
                .is_err_and(|why| why.kind() == "mailbox-full")
        }));
        while sink.status().queued > 0 {
            tokio::task::yield_now().await;
        }
        let (got,): (Vec<String>,) = sink.call("got", ()).await.unwrap().into_typed().unwrap();
        // The cast that had taken the room is there in any case.
        let in_order: Vec<_> = (0..replies.max(1)).map(|n| format!("-:{n}")).collect();
        assert_eq!(got, in_order);
        let counters = sink.counters();
        assert_eq!(counters.calls, 101);
        assert_eq!(counters.calls, counters.replies + counters.call_errors);
        assert_eq!(sink.status().queued, 0);
    }
    let sink = system.whereis(&address("sink-10")).unwrap();
    let none = sink.function("put").unwrap();
    let none = none.call_batch(Vec::<(u32,)>::new(), CallOptions::default());
    assert!(none.await.is_empty());
}

#[tokio::test]
async fn a_batch_whose_time_is_over_before_it_begins_wakes_nobody() {
    let system = system(&engine()).await;
    let sink = ChildSpec::native(address("sink"), Sink::default);
    let sink = system.spawn(sink).await.unwrap();
    let put = sink.function("put").unwrap();
    let at_once = CallOptions {
        within: Duration::ZERO,
        ..CallOptions::default()
    };
    // It is idle.
    sink.call("got", ()).await.unwrap();
    let answers = put.call_batch((0..3_u32).map(|n| (n,)), at_once).await;
    assert_eq!(answers.len(), 3);
    for answer in answers {
        assert_eq!(answer.unwrap_err().kind(), "deadline");
    }
    put.call((7_u32,)).await.unwrap();
    let (got,): (Vec<String>,) = sink.call("got", ()).await.unwrap().into_typed().unwrap();
    assert_eq!(got, ["-:7"]);
}

#[tokio::test]
async fn control_is_taken_before_data_that_came_first() {
    let system = system(&engine()).await;
    let debtor = system
        .spawn(ChildSpec::native(address("debtor"), Debtor::default))
        .await
        .unwrap();
    let forward = debtor.function("forward").unwrap();
    // On one thread nothing is handled before this test waits.
    for n in 0..100_u32 {
        forward.cast((n,)).unwrap();
    }
    debtor.health(Duration::from_secs(60)).await.unwrap();
    assert_eq!(debtor.counters().casts_handled, 0);
}
