//! Configuration that changes while it is read: told by a hook, or taken up by new instances, and never by halves.

mod deployed;
mod layers;
mod said;

use std::time::Duration;

use airssys_wasm::{
    CacheLocation, CapabilityManifest, ComponentRef, Configuration, ConfigurationError, Engine,
    EngineConfig, InstanceTemplate, LinkedImport, Policy, Surface, TemplateSpec, Value, WitError,
    grant,
};
use airssys_wasm_actors::{
    Actor, ActorRef, CallError, ChildSpec, ConfigWay, Context, Event, Link, Message, NotReplaced,
    Passivation, ScaleOptions, System, UpgradeError, UpgradeOptions, UpgradeState,
};
use tokio::sync::{mpsc, oneshot};

use crate::guests::{address, engine, exited, system};

pub(crate) const CONFIGURED: &[u8] = include_bytes!("../guests/components/configured.wasm");

/// What a guest asked, and where the answer goes.
type Asked = (String, oneshot::Sender<String>);

/// Answers as the test says.
struct Decider(mpsc::Sender<Asked>);

impl Actor for Decider {
    type Error = airssys_wasm::ArgsMismatch;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:probe@0.1.0; interface decider { ask: func(what: string) -> string; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (what,): (Box<str>,) = message.args()?;
        let (answer, answered) = oneshot::channel();
        let told = self.0.send((what.into(), answer)).await;
        let answer = match told {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => "ok".to_owned(),
        };
        message.reply((answer.as_str(),));
        Ok(())
    }
}

fn config(pairs: &[(&str, &str)]) -> Configuration {
    Configuration::new(1, pairs.iter().copied())
}

fn template(engine: &Engine, reads: &[&str]) -> InstanceTemplate {
    let component = ComponentRef::Bytes(CONFIGURED.to_vec().into());
    let component = engine.load(&component).unwrap();
    let asked = CapabilityManifest {
        config: reads.iter().map(|text| text.parse().unwrap()).collect(),
        ..CapabilityManifest::default()
    };
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        links: vec![LinkedImport::new("test:probe/decider")],
        ..TemplateSpec::new("configured")
    };
    InstanceTemplate::link(&component, spec).unwrap()
}

fn spec(engine: &Engine, reads: &[&str], pairs: &[(&str, &str)]) -> ChildSpec {
    let owned = |text: &str| text.to_owned();
    let pairs = pairs.iter();
    let pairs = pairs.map(|(key, value)| (owned(key), owned(value)));
    ChildSpec::component(address("one"), template(engine, reads))
        .config(pairs.collect())
        .link(Link::new("test:probe/decider", address("decider")))
}

/// A system with a decider, and what it is asked.
async fn deciding(engine: &Engine) -> (System, mpsc::Receiver<Asked>) {
    let system = system(engine).await;
    let (say, asked) = mpsc::channel(1);
    let decider = ChildSpec::native(address("decider"), move || Decider(say.clone()));
    system.spawn(decider).await.unwrap();
    (system, asked)
}

async fn change(system: &System, pairs: &[(&str, &str)]) -> Result<ConfigWay, UpgradeError> {
    let options = UpgradeOptions::default();
    system
        .reconfigure(&address("one"), config(pairs), options)
        .await
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text.into(),
        Value::List(all) => all.into_iter().map(shown).collect::<Vec<_>>().join(" | "),
        Value::Result(Ok(Some(value))) => shown(*value),
        Value::Result(Err(Some(error))) => format!("!{}", shown(*error)),
        Value::Option(value) => value.map_or_else(|| "-".to_owned(), |value| shown(*value)),
        other => panic!("{other:?}"),
    }
}

async fn try_ask(actor: &ActorRef, function: &str) -> Result<String, CallError> {
    let results = actor.call(function, ()).await?;
    Ok(shown(results.into_values().next().unwrap()))
}

async fn ask(actor: &ActorRef, function: &str) -> String {
    try_ask(actor, function).await.unwrap()
}

async fn read(actor: &ActorRef, key: &str) -> String {
    let mut both = Vec::new();
    for function in ["read", "read-wasi"] {
        let results = actor.call(function, (key,)).await.unwrap();
        both.push(shown(results.into_values().next().unwrap()));
    }
    assert_eq!(both[0], both[1], "both interfaces read one snapshot");
    both.remove(0)
}

fn refused(error: UpgradeError) -> (String, String) {
    match error {
        UpgradeError::NotReplaced {
            address,
            why: NotReplaced::ConfigRefused(text),
            left,
        } => {
            assert!(left.is_empty(), "{left:?}");
            (address.to_string(), text)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_instance_that_hears_of_it_goes_on_with_the_new_values() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let mut events = system.events();
    let before = [("gone", "1"), ("mode", "slow"), ("same", "x")];
    let actor = system.spawn(spec(&engine, &["**"], &before)).await.unwrap();
    assert_eq!(ask(&actor, "all").await, "1 | gone=1 | mode=slow | same=x");
    let after = [("mode", "fast"), ("new", "2"), ("same", "x")];
    assert_eq!(change(&system, &after).await.unwrap(), ConfigWay::Hook);
    assert_eq!(read(&actor, "mode").await, "fast");
    assert_eq!(read(&actor, "gone").await, "-");
    let history = "init gone=1,mode=slow,same=x | changed gone,mode,new";
    assert_eq!(ask(&actor, "history").await, history);
    let revision = loop {
        match events.recv().await {
            Some(Event::Configured {
                address, revision, ..
            }) => {
                assert_eq!(address, *actor.address());
                break revision;
            }
            Some(Event::Upgraded { .. }) => panic!("the instance goes on"),
            Some(_) => {}
            None => panic!("no event"),
        }
    };
    assert!(revision > 1);
    let all = format!("{revision} | mode=fast | new=2 | same=x");
    assert_eq!(ask(&actor, "all").await, all);
    assert_eq!((actor.status().incarnation, engine.instances()), (1, 1));
    // Nothing is new in the same values, whatever the number says.
    assert_eq!(change(&system, &after).await.unwrap(), ConfigWay::Nothing);
    assert_eq!(ask(&actor, "all").await, all);
    // What is started after a crash begins with the newest, and with its number.
    assert!(try_ask(&actor, "trap").await.is_err());
    exited(&mut events, actor.address()).await;
    assert_eq!(ask(&actor, "history").await, "init mode=fast,new=2,same=x");
    assert_eq!(ask(&actor, "all").await, all);
    system.shutdown().await;
}

#[tokio::test]
async fn a_message_sees_one_configuration_from_its_beginning_to_its_end() {
    let engine = engine();
    let (system, mut asked) = deciding(&engine).await;
    let actor = system
        .spawn(spec(&engine, &["**"], &[("mode", "slow")]))
        .await
        .unwrap();
    let calling = actor.clone();
    let call = tokio::spawn(async move {
        let results = calling.call("twice", ("mode",)).await.unwrap();
        shown(results.into_values().next().unwrap())
    });
    let (what, answer) = asked.recv().await.unwrap();
    assert_eq!(what, "twice");
    let after = [("ask", "yes"), ("mode", "fast")];
    let changing = {
        let system = system.clone();
        tokio::spawn(async move { change(&system, &after).await })
    };
    // It waits for the message in hand.
    let waited = tokio::time::timeout(Duration::from_millis(20), asked.recv()).await;
    assert!(waited.is_err() && !changing.is_finished());
    answer.send(String::new()).unwrap();
    assert_eq!(call.await.unwrap(), "slow slow 1 | slow slow 1");
    let (what, answer) = asked.recv().await.unwrap();
    assert_eq!(what, "changed ask,mode");
    answer.send("ok".to_owned()).unwrap();
    assert_eq!(changing.await.unwrap().unwrap(), ConfigWay::Hook);
    assert_eq!(read(&actor, "mode").await, "fast");
    system.shutdown().await;
}

#[tokio::test]
async fn a_hook_that_refuses_or_traps_leaves_the_old_configuration() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let mut events = system.events();
    let before = [("mode", "slow")];
    let actor = system.spawn(spec(&engine, &["**"], &before)).await.unwrap();
    let secret = "hunter2hunter2";
    let text = format!("{secret} is too short");
    let after = [("mode", secret), ("verdict", text.as_str())];
    let (who, why) = refused(change(&system, &after).await.unwrap_err());
    assert_eq!(who, "one");
    assert!(why.contains("`on-config-changed` refused"), "{why}");
    assert!(!why.contains(secret), "{why}");
    assert_eq!(ask(&actor, "all").await, "1 | mode=slow");
    assert_eq!(ask(&actor, "history").await, "init mode=slow");
    assert_eq!(actor.status().incarnation, 1);

    let after = [("mode", "fast"), ("verdict", "trap")];
    let (_, why) = refused(change(&system, &after).await.unwrap_err());
    assert!(why.contains("it died in `on-config-changed`"), "{why}");
    exited(&mut events, actor.address()).await;
    assert_eq!(ask(&actor, "all").await, "1 | mode=slow");
    assert_eq!(ask(&actor, "history").await, "init mode=slow");
    assert_eq!(actor.status().incarnation, 2);
    // It is as good as before.
    let after = [("mode", "fast")];
    assert_eq!(change(&system, &after).await.unwrap(), ConfigWay::Hook);
    assert_eq!(read(&actor, "mode").await, "fast");
    system.shutdown().await;
}

/// Three replicas, whose hooks ask.
async fn three(engine: &Engine, system: &System) -> [ActorRef; 3] {
    let spec = ChildSpec {
        replicas: 3,
        ..spec(engine, &["**"], &[("ask", "yes"), ("mode", "slow")])
    };
    system.spawn(spec).await.unwrap();
    ["one/0", "one/1", "one/2"].map(|name| system.whereis(&address(name)).unwrap())
}

async fn answer(asked: &mut mpsc::Receiver<Asked>, with: &str) {
    let (what, answer) = asked.recv().await.unwrap();
    assert_eq!(what, "changed mode");
    answer.send(with.to_owned()).unwrap();
}

#[tokio::test]
async fn replicas_never_stay_split() {
    let engine = engine();
    for back in ["ok", "no", "trap"] {
        let (system, mut asked) = deciding(&engine).await;
        let replicas = three(&engine, &system).await;
        let changing = {
            let system = system.clone();
            let after = [("ask", "yes"), ("mode", "fast")];
            tokio::spawn(async move { change(&system, &after).await })
        };
        answer(&mut asked, "ok").await;
        answer(&mut asked, "ok").await;
        answer(&mut asked, "not that").await;
        // The two that have it are told of the old one; one of them does not want it back.
        answer(&mut asked, back).await;
        answer(&mut asked, "ok").await;
        let (who, why) = refused(changing.await.unwrap().unwrap_err());
        assert!(why.contains("not that"), "{why}");
        assert_eq!(who, "one/2");
        let mut told_back = 0;
        for replica in &replicas {
            assert_eq!(read(replica, "mode").await, "slow", "{back}");
            assert!(ask(replica, "all").await.starts_with("1 | "), "{back}");
            let history = ask(replica, "history").await;
            told_back += u32::from(history.ends_with("changed mode | changed mode"));
        }
        assert_eq!(told_back, if back == "ok" { 2 } else { 1 });
        assert_eq!(engine.instances(), 3);

        let changing = {
            let system = system.clone();
            let after = [("ask", "yes"), ("mode", "fast")];
            tokio::spawn(async move { change(&system, &after).await })
        };
        for _ in &replicas {
            answer(&mut asked, "ok").await;
        }
        assert_eq!(changing.await.unwrap().unwrap(), ConfigWay::Hook);
        for replica in &replicas {
            assert_eq!(read(replica, "mode").await, "fast");
        }
        system.shutdown().await;
    }
}

/// One that is at a message for longer than anybody waits does not go on with what the others do not have.
#[tokio::test]
async fn one_that_cannot_be_told_back_in_time_begins_anew_with_the_old_values() {
    let engine = engine();
    let system = system(&engine).await;
    let (say, mut asked) = mpsc::channel(1);
    // Two, so that one can be asked while the other is.
    let decider = ChildSpec {
        replicas: 2,
        ..ChildSpec::native(address("decider"), move || Decider(say.clone()))
    };
    system.spawn(decider).await.unwrap();
    let replicas = three(&engine, &system).await;
    let changing = {
        let system = system.clone();
        let options = UpgradeOptions {
            wait_max: Duration::from_millis(300),
            ..UpgradeOptions::default()
        };
        let after = config(&[("ask", "yes"), ("mode", "fast")]);
        let one = address("one");
        tokio::spawn(async move { system.reconfigure(&one, after, options).await })
    };
    answer(&mut asked, "ok").await;
    let (what, second) = asked.recv().await.unwrap();
    assert_eq!(what, "changed mode");
    let busy = replicas[0].clone();
    let call = tokio::spawn(async move { busy.call("twice", ("mode",)).await });
    let (what, _unanswered) = asked.recv().await.unwrap();
    assert_eq!(what, "twice");
    second.send("not that".to_owned()).unwrap();
    let (who, why) = refused(changing.await.unwrap().unwrap_err());
    assert!(who == "one/1" && why.contains("not that"), "{who}: {why}");
    let failed = call.await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), "callee-died");
    for replica in &replicas {
        assert_eq!(read(replica, "mode").await, "slow");
        assert!(ask(replica, "all").await.starts_with("1 | "));
    }
    system.shutdown().await;
}

#[tokio::test]
async fn however_many_there_are_by_now_each_is_told_and_each_is_replaced() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let one = address("one");
    system
        .spawn(spec(&engine, &["mode"], &[("mode", "slow")]))
        .await
        .unwrap();
    let any_state = ScaleOptions {
        discard_state: true,
        ..ScaleOptions::default()
    };
    for (replicas, way, pairs) in [
        (3, ConfigWay::Hook, &[("mode", "fast")][..]),
        (
            2,
            ConfigWay::Instances,
            &[("mode", "fast"), ("unread", "x")],
        ),
    ] {
        system.scale(&one, replicas, any_state).await.unwrap();
        assert_eq!(change(&system, pairs).await.unwrap(), way);
        for number in 0..replicas {
            let replica = system.whereis(&address(&format!("one/{number}"))).unwrap();
            assert_eq!(read(&replica, "mode").await, "fast");
        }
    }
    system.shutdown().await;
}

#[tokio::test]
async fn what_a_guest_says_of_its_values_is_bounded_and_without_them() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let before = [("mode", "slow")];
    let actor = system
        .spawn(spec(&engine, &["mode", "verdict"], &before))
        .await
        .unwrap();
    let secret = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n";
    let long = format!("bad key: {secret}{}", "x".repeat(60_000));
    let after = [("mode", secret), ("verdict", long.as_str())];
    let (_, why) = refused(change(&system, &after).await.unwrap_err());
    assert!(
        why.contains("`on-config-changed` refused: bad key"),
        "{why}"
    );
    assert!(!why.contains("MIIE") && !why.contains('\n'), "{why}");
    assert!(why.len() < 8 << 10, "{} bytes", why.len());

    // By a new instance, whose `init` refuses.
    let text = "hunter2hunter2 is too short";
    let after = config(&[("mode", "hunter2hunter2"), ("refuse-init", text)]);
    let afresh = UpgradeOptions {
        state: UpgradeState::Discard,
        ..UpgradeOptions::default()
    };
    let changed = system.reconfigure(&address("one"), after, afresh).await;
    let why = changed.unwrap_err().to_string();
    assert!(why.contains("did not start"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
    assert_eq!(read(&actor, "mode").await, "slow");

    // What the old one says when it is asked for its state.
    let before = [
        ("verdict", "ok"),
        ("refuse-snapshot", "not without hunter2hunter2"),
    ];
    let two = ChildSpec {
        address: address("two"),
        ..spec(&engine, &["refuse-snapshot", "verdict"], &before)
    };
    system.spawn(two).await.unwrap();
    let after = config(&[("verdict", "ok"), ("unread", "x")]);
    let two = address("two");
    let changed = system.reconfigure(&two, after, UpgradeOptions::default());
    let why = changed.await.unwrap_err().to_string();
    assert!(why.contains("its state was not handed over"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
    system.shutdown().await;
}

/// The same when it is asked because it has been idle.
#[tokio::test(start_paused = true)]
async fn what_keeps_an_instance_from_resting_is_told_without_its_values() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let mut events = system.events();
    let before = [("refuse-snapshot", "not without hunter2hunter2")];
    let one = spec(&engine, &["refuse-snapshot"], &before)
        .passivate(Passivation::new(Duration::from_secs(60)));
    system.spawn(one).await.unwrap();
    let why = loop {
        if let Event::SnapshotFailed { why, .. } = events.recv().await.unwrap() {
            break why;
        }
    };
    assert!(why.contains("`snapshot` refused"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
    system.shutdown().await;
}

/// One that neither takes its old values back nor can be made again goes on, and it is said which one.
#[tokio::test]
async fn one_that_cannot_be_made_again_is_named() {
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: 8,
        ..EngineConfig::default()
    })
    .unwrap();
    let (system, mut asked) = deciding(&engine).await;
    let replicas = three(&engine, &system).await;
    let mut others = Vec::new();
    while engine.instances() < 8 {
        let name = format!("other/{}", others.len());
        let other = ChildSpec {
            address: address(&name),
            ..spec(&engine, &["**"], &[])
        };
        others.push(system.spawn(other).await.unwrap());
    }
    let changing = {
        let system = system.clone();
        let after = [("ask", "yes"), ("mode", "fast")];
        tokio::spawn(async move { change(&system, &after).await })
    };
    answer(&mut asked, "ok").await;
    answer(&mut asked, "not that").await;
    answer(&mut asked, "no").await;
    match changing.await.unwrap().unwrap_err() {
        UpgradeError::NotReplaced { address, left, .. } => {
            assert_eq!(address.as_str(), "one/1");
            assert_eq!(left, [replicas[0].address().clone()]);
        }
        other => panic!("{other}"),
    }
    assert_eq!(read(&replicas[0], "mode").await, "fast");
    for replica in &replicas[1..] {
        assert_eq!(read(replica, "mode").await, "slow");
    }
    system.shutdown().await;
}

#[tokio::test]
async fn a_key_that_it_may_not_read_changes_by_new_instances_with_their_state() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let before = [("hidden", "1"), ("mode", "slow")];
    let actor = system
        .spawn(spec(&engine, &["mode"], &before))
        .await
        .unwrap();
    let after = [("hidden", "2"), ("mode", "fast")];
    assert_eq!(change(&system, &after).await.unwrap(), ConfigWay::Instances);
    assert_eq!(
        ask(&actor, "history").await,
        "init hidden=1,mode=slow | restored"
    );
    assert_eq!(read(&actor, "mode").await, "fast");
    let hidden = actor.call("read", ("hidden",)).await.unwrap();
    let hidden = shown(hidden.into_values().next().unwrap());
    assert!(
        hidden.contains("[components.configured.grants]"),
        "{hidden}"
    );
    assert_eq!((actor.status().incarnation, engine.instances()), (1, 1));
    system.shutdown().await;
}

/// Waits until the actor has given up its instance.
async fn passivated(events: &mut airssys_wasm_actors::Events) {
    while !matches!(events.recv().await, Some(Event::Passivated { .. })) {}
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_is_brought_back_for_its_state_to_hear_of_it() {
    let engine = engine();
    for stateless in [false, true] {
        let (system, _asked) = deciding(&engine).await;
        let mut events = system.events();
        let passivation = Passivation {
            stateless,
            ..Passivation::new(Duration::from_secs(60))
        };
        let spec = spec(&engine, &["**"], &[("mode", "slow")]).passivate(passivation);
        let actor = system.spawn(spec).await.unwrap();
        passivated(&mut events).await;
        assert_eq!(engine.instances(), 0);
        let after = [("mode", "fast")];
        assert_eq!(change(&system, &after).await.unwrap(), ConfigWay::Hook);
        let history = if stateless {
            assert_eq!(engine.instances(), 0, "there is nothing to tell");
            "init mode=fast"
        } else {
            "init mode=slow | restored | changed mode"
        };
        assert_eq!(ask(&actor, "history").await, history);
        assert_eq!(read(&actor, "mode").await, "fast");
        // The next time it rests, it comes back with what it was told.
        passivated(&mut events).await;
        assert_eq!(read(&actor, "mode").await, "fast");
        assert_eq!(actor.status().incarnation, 1);
        // A change that one at rest refuses leaves it as it was.
        if !stateless {
            passivated(&mut events).await;
            let after = [("mode", "other"), ("verdict", "no")];
            refused(change(&system, &after).await.unwrap_err());
            assert_eq!(read(&actor, "mode").await, "fast");
        }
        system.shutdown().await;
    }
}

#[tokio::test]
async fn what_cannot_be_configured_says_why() {
    let engine = engine();
    let (system, _asked) = deciding(&engine).await;
    let actor = system
        .spawn(spec(&engine, &["**"], &[("mode", "slow")]))
        .await
        .unwrap();
    let options = UpgradeOptions::default();
    let (none, native) = (address("none"), address("decider"));
    let none = system.reconfigure(&none, config(&[]), options);
    assert!(matches!(none.await, Err(UpgradeError::NoSuchActor(who)) if who.as_str() == "none"));
    let native = system.reconfigure(&native, config(&[]), options);
    assert!(matches!(native.await, Err(UpgradeError::NotComponent(_))));
    let large = "x".repeat(airssys_wasm::CONFIG_VALUE_BYTES_MAX + 1);
    let error = change(&system, &[("mode", &large)]).await.unwrap_err();
    assert!(matches!(
        error,
        UpgradeError::Configuration {
            why: ConfigurationError::Value { .. },
            ..
        }
    ));
    assert_eq!(ask(&actor, "all").await, "1 | mode=slow");
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_leaves_one_configuration_or_the_other() {
    let engine = engine();
    let (system, mut asked) = deciding(&engine).await;
    let decide = tokio::spawn(async move {
        while let Some((_, answer)) = asked.recv().await {
            // A guest that was killed waits no longer.
            let _ = answer.send("ok".to_owned());
        }
    });
    let replicas = 2;
    let spec = ChildSpec {
        replicas,
        ..spec(&engine, &["**"], &[("ask", "yes"), ("round", "none")])
    };
    let front = system.spawn(spec).await.unwrap();
    let names = ["one/0", "one/1"].map(|name| system.whereis(&address(name)).unwrap());
    let load = {
        let front = front.clone();
        tokio::spawn(async move {
            let mut answers = 0_u64;
            loop {
                if let Ok(all) = try_ask(&front, "all").await {
                    assert!(all.contains("round="), "{all}");
                    answers += 1;
                    if all.contains("round=last") {
                        return answers;
                    }
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for round in 0..200_usize {
        let next = if round == 199 {
            "last".to_owned()
        } else {
            round.to_string()
        };
        let changing = {
            let (system, next) = (system.clone(), next.clone());
            tokio::spawn(async move { change(&system, &[("ask", "yes"), ("round", &next)]).await })
        };
        for _ in 0..round % 37 {
            tokio::task::yield_now().await;
        }
        if round != 199 {
            names[round % 2].kill();
        }
        // Every round takes place: whoever was killed is asked again when it is back.
        assert_eq!(changing.await.unwrap().unwrap(), ConfigWay::Hook);
        for replica in &names {
            let all = loop {
                if let Ok(all) = try_ask(replica, "all").await {
                    break all;
                }
            };
            assert!(all.ends_with(&format!("round={next}")), "{round}: {all}");
        }
    }
    assert!(load.await.unwrap() > 0);
    assert_eq!(engine.instances(), 2);
    decide.abort();
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_may_leave_and_no_half_of_it_is_done() {
    let engine = engine();
    let (system, mut asked) = deciding(&engine).await;
    let replicas = three(&engine, &system).await;
    let changing = {
        let system = system.clone();
        tokio::spawn(async move { change(&system, &[("ask", "yes"), ("mode", "fast")]).await })
    };
    let (_, first) = asked.recv().await.unwrap();
    changing.abort();
    assert!(changing.await.unwrap_err().is_cancelled());
    first.send("ok".to_owned()).unwrap();
    answer(&mut asked, "ok").await;
    let mut events = system.events();
    answer(&mut asked, "ok").await;
    while !matches!(events.recv().await, Some(Event::Configured { address, .. }) if address == *replicas[2].address())
    {
    }
    for replica in &replicas {
        assert_eq!(read(replica, "mode").await, "fast");
    }
    system.shutdown().await;
}
