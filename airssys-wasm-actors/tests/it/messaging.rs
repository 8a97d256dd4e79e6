//! The messaging plane as components have it: a prebuilt guest that does with it what it is told to.

mod refused;
mod upgraded;

use std::time::Duration;

use airssys_wasm::{
    CapabilityManifest, ComponentRef, Engine, InstanceTemplate, IntoArgs, MessagingManifest,
    Policy, Surface, TemplateSpec, Value, WitError, grant,
};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildSpec, Context, DeadLetterFilter, Event, MailboxConfig, Message,
    Passivation, System, UpgradeOptions,
};
use bytes::Bytes;

use crate::guests::{address, engine, exited, started, system};

pub(crate) const PROBE: &[u8] = include_bytes!("../guests/components/probe.wasm");

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// May address everybody under `a`, use topics under `t`, and set timers.
fn usual() -> MessagingManifest {
    MessagingManifest {
        send: vec!["a/**".parse().unwrap()],
        publish: vec!["t/**".parse().unwrap()],
        subscribe: vec!["t/**".parse().unwrap()],
        timers: true,
    }
}

fn probe_template(engine: &Engine, messaging: Option<MessagingManifest>) -> InstanceTemplate {
    let component = engine
        .load(&ComponentRef::Bytes(PROBE.to_vec().into()))
        .unwrap();
    let asked = CapabilityManifest {
        messaging,
        ..CapabilityManifest::default()
    };
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        ..TemplateSpec::new("probe")
    };
    InstanceTemplate::link(&component, spec).unwrap()
}

/// A wait beyond all clocks is far, not an overflow.
#[tokio::test]
async fn a_call_may_take_all_the_time_there_is() {
    let system = system(&engine()).await;
    let component = system
        .engine()
        .load(&ComponentRef::Bytes(PROBE.to_vec().into()))
        .unwrap();
    let asked = CapabilityManifest {
        messaging: Some(usual()),
        ..CapabilityManifest::default()
    };
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        limits: airssys_wasm::Limits {
            wall_per_call: Duration::MAX,
            ..airssys_wasm::Limits::default()
        },
        ..TemplateSpec::new("probe")
    };
    let template = InstanceTemplate::link(&component, spec).unwrap();
    let one = ChildSpec::component(address("a/one"), template);
    let one = system.spawn(one).await.unwrap();
    let timer = ask(&one, "send-after", (1_u64, bytes("x"))).await;
    assert!(!timer.starts_with('!'), "{timer}");
}

async fn probe(system: &System, name: &str) -> ActorRef {
    let template = probe_template(system.engine(), Some(usual()));
    system
        .spawn(ChildSpec::component(address(name), template))
        .await
        .unwrap()
}

/// Calls a function of the probe's and gives its result as text: the ok value, or the error after a `!`.
async fn ask(probe: &ActorRef, function: &str, args: impl IntoArgs) -> String {
    let results = probe.call(function, args).await.unwrap();
    match results.into_values().next() {
        Some(Value::Result(Ok(None))) => "ok".to_owned(),
        Some(Value::Result(Ok(Some(value)))) => text(*value),
        Some(Value::Result(Err(Some(value)))) => format!("!{}", text(*value)),
        other => panic!("{other:?}"),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text.into(),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Value::U32(n) => n.to_string(),
        Value::U64(n) => n.to_string(),
        Value::Bool(yes) => yes.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn received(probe: &ActorRef) -> Vec<String> {
    let results = probe.call("received", ()).await.unwrap();
    let (received,): (Vec<String>,) = results.into_typed().unwrap();
    received
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn balanced(system: &System) {
    let counters = system.counters();
    assert_eq!(
        counters.calls,
        counters.replies + counters.call_errors + counters.calls_abandoned
    );
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters
    );
}

#[tokio::test]
async fn components_cast_and_call_by_address_and_the_host_names_the_sender() {
    let system = system(&engine()).await;
    let (one, two) = (probe(&system, "a/one").await, probe(&system, "a/two").await);
    assert_eq!(ask(&one, "own-address", ()).await, "a/one");
    assert_eq!(ask(&one, "cast", ("a/two", bytes("hello"))).await, "ok");
    let call = ("a/two", bytes("echo:back"), 1_000_u64);
    assert_eq!(ask(&one, "call", call).await, "back");
    let call = ("a/two", bytes("quiet"), 1_000_u64);
    assert_eq!(ask(&one, "call", call).await, "!no-reply");
    let call = ("a/two", bytes("fail:no"), 1_000_u64);
    assert_eq!(ask(&one, "call", call).await, "!rejected: no");
    assert_eq!(
        received(&two).await,
        [
            "a/one - - hello",
            "a/one - 1 echo:back",
            "a/one - 2 quiet",
            "a/one - 3 fail:no"
        ]
    );
    // A handler that could not handle what nobody waits for leaves a dead letter, and goes on.
    assert_eq!(ask(&one, "cast", ("a/two", bytes("fail:x"))).await, "ok");
    received(&two).await;
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].sender, Some(address("a/one")));
    assert_eq!(two.status().incarnation, 1);
    balanced(&system);
}

#[tokio::test]
async fn a_sender_in_the_arguments_is_replaced_by_the_hosts_word() {
    let system = system(&engine()).await;
    let one = probe(&system, "a/one").await;
    let forged = Value::Record(vec![
        Some("a/king").into(),
        Some("t/law").into(),
        Some(7_u64).into(),
        bytes("obey").into(),
    ]);
    one.call("handle-message", (forged.clone(),)).await.unwrap();
    one.cast("handle-message", (forged,)).unwrap();
    assert_eq!(received(&one).await, ["- - - obey", "- - - obey"]);
    // Nor is there a call to be answered by a number that somebody made up.
    assert_eq!(
        ask(&one, "reply", (7_u64, bytes("x"))).await,
        "!no-such-call"
    );
    // A message of another shape is refused, and nothing is harmed.
    let wrong = one.call("handle-message", (1_u32,)).await.unwrap_err();
    assert_eq!(wrong.kind(), "refused");
    assert_eq!(one.status().incarnation, 1);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_says_what_to_add() {
    let engine = engine();
    let system = system(&engine).await;
    let template = probe_template(&engine, None);
    let none = system
        .spawn(ChildSpec::component(address("a/none"), template))
        .await
        .unwrap();
    probe(&system, "b").await;
    let one = probe(&system, "a/one").await;
    for (function, denied) in [
        ("own-address", ask(&none, "own-address", ()).await),
        ("cast", ask(&none, "cast", ("a/one", bytes("x"))).await),
        ("publish", ask(&none, "publish", ("t/x", bytes("x"))).await),
        ("subscribe", ask(&none, "subscribe", ("t/x",)).await),
        (
            "send-after",
            ask(&none, "send-after", (1_u64, bytes("x"))).await,
        ),
        ("cancel", ask(&none, "cancel", (1_u64,)).await),
        ("cast", ask(&one, "cast", ("b", bytes("x"))).await),
        // Whether there is somebody makes no difference.
        ("cast", ask(&one, "cast", ("nobody", bytes("x"))).await),
        ("publish", ask(&one, "publish", ("u", bytes("x"))).await),
        ("subscribe", ask(&one, "subscribe", ("**",)).await),
    ] {
        assert!(denied.starts_with("!denied: "), "{function}: {denied}");
        assert!(denied.contains("[components.probe.grants]"), "{denied}");
    }
    for (bad, args) in [
        ("cast", ("a//b", bytes("x"))),
        ("publish", ("t/*", bytes("x"))),
    ] {
        let said = ask(&one, bad, args).await;
        assert!(
            said.starts_with("!bad-name: ") || said.starts_with("!denied: "),
            "{bad}: {said}"
        );
    }
    assert!(
        ask(&one, "subscribe", ("t/**/x",))
            .await
            .starts_with("!bad-name: ")
    );
    assert_eq!(system.topics().subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_later_once_or_when_the_instance_ends() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let (one, two) = (probe(&system, "a/one").await, probe(&system, "a/two").await);
    let later = |ms: u64| {
        let call = one.function("call").unwrap();
        let args = ("a/two", bytes("later"), ms);
        tokio::spawn(async move { call.call(args).await })
    };
    let given = |count: usize| {
        let two = two.clone();
        async move {
            while received(&two).await.len() < count {
                tokio::task::yield_now().await;
            }
        }
    };
    let first = later(1_000);
    given(1).await;
    assert_eq!(ask(&two, "reply", (1_u64, bytes("at last"))).await, "ok");
    assert_eq!(
        ask(&two, "reply", (1_u64, bytes("again"))).await,
        "!no-such-call"
    );
    let answer: (Result<Bytes, String>,) = first.await.unwrap().unwrap().into_typed().unwrap();
    assert_eq!(answer, (Ok(bytes("at last")),));

    // Answered while it is handled, a handler's own outcome comes too late.
    let now = ("a/two", bytes("now-and-later"), 1_000_u64);
    assert_eq!(ask(&one, "call", now).await, "now");

    // The deadline ends the wait; a reply after it is discarded, and is no error.
    let late: (Result<Bytes, String>,) = later(10).await.unwrap().unwrap().into_typed().unwrap();
    assert_eq!(late, (Err("deadline".to_owned()),));
    assert_eq!(ask(&two, "reply", (3_u64, bytes("late"))).await, "ok");

    // What is owed when the instance ends is answered.
    let owed = later(1_000);
    given(4).await;
    assert_eq!(two.status().queued, 1);
    let trap = two.function("handle-message").unwrap();
    assert_eq!(
        trap.call((bytes("trap"),)).await.unwrap_err().kind(),
        "callee-died"
    );
    let owed: (Result<Bytes, String>,) = owed.await.unwrap().unwrap().into_typed().unwrap();
    assert_eq!(owed, (Err("callee-died".to_owned()),));
    exited(&mut events, &address("a/two")).await;
    started(&mut events, &address("a/two"), 1).await;

    let owed = later(1_000);
    given(1).await;
    two.kill();
    let owed: (Result<Bytes, String>,) = owed.await.unwrap().unwrap().into_typed().unwrap();
    assert_eq!(owed, (Err("callee-died".to_owned()),));
    assert_eq!(two.status().queued, 0);
    balanced(&system);
}

#[tokio::test]
async fn a_call_that_would_wait_for_itself_is_refused() {
    let system = system(&engine()).await;
    let (one, two) = (probe(&system, "a/one").await, probe(&system, "a/two").await);
    let said = ask(&one, "call", ("a/one", bytes("echo:x"), 1_000_u64)).await;
    assert!(said.starts_with("!cycle: "), "{said}");
    let said = ask(&one, "call", ("a/two", bytes("call:a/one"), 1_000_u64)).await;
    assert!(
        said.starts_with("!rejected: cycle: ") && said.contains("a/two"),
        "{said}"
    );
    for actor in [&one, &two] {
        assert_eq!(actor.status().incarnation, 1);
        let own = actor.function("handle-message").unwrap();
        let back = own.call((bytes("echo:fine"),)).await.unwrap();
        assert_eq!(back, (bytes("fine"),).into_args());
    }
}

#[tokio::test]
async fn nobody_at_an_address_is_a_typed_error_and_a_cast_a_dead_letter() {
    let system = system(&engine()).await;
    let one = probe(&system, "a/one").await;
    assert_eq!(
        ask(&one, "call", ("a/nobody", bytes("x"), 1_000_u64)).await,
        "!no-such-actor"
    );
    assert_eq!(
        ask(&one, "cast", ("a/nobody", bytes("x"))).await,
        "!no-such-actor"
    );
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].target, address("a/nobody"));
    // It floods itself: its mailbox is full and says so, and nothing else happens.
    let mut child = ChildSpec::component(
        address("a/small"),
        probe_template(system.engine(), Some(usual())),
    );
    child.mailbox.depth_max = 2;
    let small = system.spawn(child).await.unwrap();
    assert_eq!(ask(&small, "cast", ("a/small", bytes("1"))).await, "ok");
    received(&small).await;
    // It may be faster than we are, now and then.
    loop {
        for text in ["2", "3"] {
            // Full already is as good.
            let _ = small.cast("handle-message", (bytes(text),));
        }
        match ask(&one, "cast", ("a/small", bytes("4"))).await.as_str() {
            "!mailbox-full" => break,
            said => assert_eq!(said, "ok"),
        }
    }
    let much = vec![0_u8; (1 << 20) + 1];
    let handler = small.function("handle-message").unwrap();
    assert_eq!(handler.cast((much,)).unwrap_err().why.kind(), "too-large");
    while small.status().queued > 0 {
        tokio::task::yield_now().await;
    }
    balanced(&system);
}

#[tokio::test(start_paused = true)]
async fn topics_and_timers_of_a_component_end_with_its_instance() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let (one, two) = (probe(&system, "a/one").await, probe(&system, "a/two").await);
    assert_eq!(ask(&two, "subscribe", ("t.>",)).await, "ok");
    assert_eq!(ask(&one, "publish", ("t.x", bytes("news"))).await, "1");
    assert_eq!(ask(&one, "publish", ("t/x/y", bytes("more"))).await, "1");
    assert_eq!(
        received(&two).await,
        ["a/one t.x - news", "a/one t/x/y - more"]
    );
    assert_eq!(ask(&two, "unsubscribe", ("t.>",)).await, "true");
    assert_eq!(ask(&two, "unsubscribe", ("t.>",)).await, "false");
    assert_eq!(ask(&one, "publish", ("t.x", bytes("news"))).await, "0");

    ask(&one, "send-after", (10_u64, bytes("once"))).await;
    let every = ask(&one, "interval", (20_u64, bytes("again"))).await;
    tokio::time::sleep(Duration::from_millis(65)).await;
    assert_eq!(
        received(&one).await,
        [
            "a/one - - once",
            "a/one - - again",
            "a/one - - again",
            "a/one - - again"
        ]
    );
    // A timer is its owner's alone.
    let every: u64 = every.parse().unwrap();
    assert_eq!(ask(&two, "cancel", (every,)).await, "false");
    assert_eq!(ask(&one, "cancel", (every,)).await, "true");
    assert!(
        ask(&one, "interval", (0_u64, bytes("x")))
            .await
            .starts_with("!quota: ")
    );

    ask(&two, "subscribe", ("t/*",)).await;
    for _ in 0..256 {
        ask(&two, "send-after", (60_000_u64, bytes("x"))).await;
    }
    let one_more = ask(&two, "send-after", (1_u64, bytes("x"))).await;
    assert!(one_more.starts_with("!quota: "), "{one_more}");
    assert_eq!(system.timers().pending(), 256);
    two.kill();
    started(&mut events, &address("a/two"), 1).await;
    assert_eq!(system.timers().pending(), 0);
    assert_eq!(system.topics().subscriptions(), 0);
    balanced(&system);
}

#[tokio::test(start_paused = true)]
async fn answers_owed_are_limited() {
    let engine = engine();
    let config = airssys_wasm_actors::SystemConfig {
        messaging: airssys_wasm_actors::MessagingLimits {
            pending_replies_max: 3,
            ..Default::default()
        },
        ..airssys_wasm_actors::SystemConfig::new(engine)
    };
    let system = System::start(config).await.unwrap();
    let one = probe(&system, "a/one").await;
    let handler = one.function("handle-message").unwrap();
    let later = |within: u64| {
        let handler = handler.clone();
        let options = airssys_wasm_actors::CallOptions {
            within: Duration::from_millis(within),
            ..Default::default()
        };
        tokio::spawn(async move { handler.call_with((bytes("later"),), options).await })
    };
    let owed: Vec<_> = [10, 1_000, 1_000].map(later).into_iter().collect();
    while received(&one).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    let refused = later(1_000).await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), "pending-replies");
    // A caller that has left makes room.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let room = later(1_000);
    while received(&one).await.len() < 4 {
        tokio::task::yield_now().await;
    }
    system
        .supervisor()
        .stop_child(&address("a/one"))
        .await
        .unwrap();
    assert_eq!(room.await.unwrap().unwrap_err().kind(), "callee-died");
    for owed in owed {
        owed.await.unwrap().unwrap_err();
    }
    balanced(&system);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_kept_gives_its_room_back_when_its_caller_leaves() {
    let system = system(&engine()).await;
    let template = probe_template(system.engine(), Some(usual()));
    let mut spec = ChildSpec::component(address("a/one"), template);
    spec.mailbox = MailboxConfig {
        depth_max: 2,
        ..MailboxConfig::default()
    };
    let one = system.spawn(spec).await.unwrap();
    let later = |within: u64| {
        let handler = one.function("handle-message").unwrap();
        let options = airssys_wasm_actors::CallOptions {
            within: Duration::from_millis(within),
            ..Default::default()
        };
        tokio::spawn(async move { handler.call_with((bytes("later"),), options).await })
    };
    let (short, long) = (later(100), later(1_000));
    while one.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(later(10).await.unwrap().unwrap_err().kind(), "mailbox-full");
    // The first caller leaves by its deadline, with the actor idle.
    assert_eq!(short.await.unwrap().unwrap_err().kind(), "deadline");
    assert_eq!(one.status().queued, 1);
    // The third takes its room, and its task is dropped.
    let third = later(1_000);
    while one.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    third.abort();
    assert!(third.await.unwrap_err().is_cancelled());
    assert_eq!(one.status().queued, 1);
    // An answer to nobody is still no error; one to somebody arrives.
    assert_eq!(ask(&one, "reply", (1_u64, bytes("late"))).await, "ok");
    assert_eq!(ask(&one, "reply", (2_u64, bytes("in time"))).await, "ok");
    long.await.unwrap().unwrap();
    assert_eq!(one.status().queued, 0);
    one.emptied().await;
    balanced(&system);
}

/// Answers messages of the plane with who sent them.
struct Mirror;

impl Actor for Mirror {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::default().with_message_handler()
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), AnyError> {
        let envelope = message.envelope()?;
        assert!(envelope.wants_reply);
        let sender = envelope.sender.ok_or("nobody")?.to_string();
        let said = format!(
            "{sender}: {}",
            String::from_utf8(envelope.payload.to_vec())?
        );
        message.reply((said.into_bytes(),));
        Ok(())
    }
}

#[tokio::test]
async fn a_native_actor_takes_part_in_the_plane() {
    let system = system(&engine()).await;
    let one = probe(&system, "a/one").await;
    system
        .spawn(ChildSpec::native(address("a/mirror"), || Mirror))
        .await
        .unwrap();
    let call = ("a/mirror", bytes("hi"), 1_000_u64);
    assert_eq!(ask(&one, "call", call).await, "a/one: hi");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_the_place_of_an_actor_without_an_instance_has_its_subscriptions() {
    let engine = engine();
    let system = system(&engine).await;
    let passivation = Passivation {
        stateless: true,
        ..Passivation::new(Duration::from_secs(60))
    };
    let worker = crate::guests::template(&engine, crate::guests::WORKER, &[]);
    let worker = ChildSpec::component(address("a/p"), worker).passivate(passivation);
    let mut events = system.events();
    let actor = system.spawn(worker).await.unwrap();
    while !matches!(events.recv().await.unwrap(), Event::Passivated { .. }) {}
    let next = ChildSpec::component(address("a/p"), probe_template(&engine, Some(usual())));
    let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    upgrade.switch().await.unwrap().release().await;
    assert_eq!(ask(&actor, "subscribe", ("t/x",)).await, "ok");
    let published = system.topics().publish("t/x", "news").unwrap();
    assert_eq!((published.matched, published.sent), (1, 1));
    system.shutdown().await;
}
