//! Monitors, links and messages: what OTP promises of them, M1 to M9.

mod ends;
mod teams;
pub(crate) mod told;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, BackpressureStrategy, CallError, CallOptions, ChildSpec, Context, Down,
    ErrorAction, MailboxConfig, Message, MonitorId, RestartPolicy, Signal, SignalRefused, System,
};
use tokio::sync::{Notify, mpsc};

use crate::guests::{address, engine, system};

/// What a [`Probe`] has seen, in order.
#[derive(Debug)]
enum Seen {
    Note(u32),
    /// With the incarnation that its name led to at that moment.
    Down(Down, Option<u64>),
    Exit(airssys_wasm_actors::Exit),
}

/// Where a message can be held in an actor's hands.
#[derive(Default)]
struct Gate {
    held: Notify,
    open: Notify,
}

/// Does to others what it is told, and says what it sees.
struct Probe {
    seen: mpsc::UnboundedSender<Seen>,
    gate: Arc<Gate>,
    monitors: HashMap<String, Vec<MonitorId>>,
}

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("on purpose")]
    Purpose,
    #[error(transparent)]
    Args(#[from] airssys_wasm::ArgsMismatch),
    #[error(transparent)]
    Refused(#[from] SignalRefused),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("nobody has that name")]
    Nobody,
}

impl Actor for Probe {
    type Error = ProbeError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface probe {
                 note: func(n: u32);
                 ready: func();
                 hold: func();
                 flood: func(to: string, count: u32, die: bool);
                 watch: func(name: string);
                 unwatch: func(name: string);
                 bind: func(name: string);
                 unbind: func(name: string);
                 trap: func(on: bool);
                 panic: func();
                 fail: func();
                 stop: func();
                 ask: func(name: string);
             }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), ProbeError> {
        match message.function() {
            "note" => {
                let (n,): (u32,) = message.args()?;
                let _ = self.seen.send(Seen::Note(n));
            }
            "hold" => {
                self.gate.held.notify_one();
                self.gate.open.notified().await;
            }
            "flood" => {
                let (to, count, die): (String, u32, bool) = message.args()?;
                let to = ctx.whereis(&address(&to)).ok_or(ProbeError::Nobody)?;
                for n in 0..count {
                    to.cast("note", (n,)).unwrap();
                }
                if die {
                    return Err(ProbeError::Purpose);
                }
            }
            "watch" => {
                let (name,): (String,) = message.args()?;
                let id = ctx.monitor_by_name(&address(&name))?;
                self.monitors.entry(name).or_default().push(id);
            }
            "unwatch" => {
                let (name,): (String,) = message.args()?;
                for id in self.monitors.remove(&name).unwrap_or_default() {
                    ctx.demonitor(id);
                }
            }
            "bind" => {
                let (name,): (String,) = message.args()?;
                let peer = ctx.whereis(&address(&name)).ok_or(ProbeError::Nobody)?;
                ctx.link(&peer)?;
            }
            "unbind" => {
                let (name,): (String,) = message.args()?;
                let peer = ctx.whereis(&address(&name)).ok_or(ProbeError::Nobody)?;
                ctx.unlink(&peer);
            }
            "trap" => {
                let (on,): (bool,) = message.args()?;
                ctx.trap_exits(on);
            }
            "ask" => {
                let (name,): (String,) = message.args()?;
                ctx.call_by_name(&address(&name), "hold", ()).await?;
            }
            "panic" => panic!("on purpose"),
            "fail" => return Err(ProbeError::Purpose),
            "stop" => ctx.stop(),
            _ => {}
        }
        message.reply(());
        Ok(())
    }

    async fn handle_signal(&mut self, signal: Signal, ctx: &mut Context) -> Result<(), ProbeError> {
        let seen = match signal {
            Signal::Down(down) => {
                let leads_to = ctx.whereis(&down.address);
                Seen::Down(down, leads_to.map(|actor| actor.status().incarnation))
            }
            Signal::Exit(exit) => Seen::Exit(exit),
            other => panic!("{other:?}"),
        };
        let _ = self.seen.send(seen);
        Ok(())
    }

    fn on_error(&mut self, error: &ProbeError) -> ErrorAction {
        match error {
            ProbeError::Refused(_) | ProbeError::Nobody | ProbeError::Call(_) => {
                ErrorAction::Resume
            }
            _ => ErrorAction::Exit,
        }
    }
}

/// A probe that runs, and what it sees.
struct Probed {
    actor: ActorRef,
    seen: mpsc::UnboundedReceiver<Seen>,
    gate: Arc<Gate>,
}

impl Probed {
    /// Everything seen until it has handled all that was sent to it before.
    async fn settle(&mut self) -> Vec<Seen> {
        self.actor.call("ready", ()).await.unwrap();
        let mut all = Vec::new();
        while let Ok(seen) = self.seen.try_recv() {
            all.push(seen);
        }
        all
    }

    /// Has it hold a message in its hands until its gate is opened.
    async fn hold(&self) {
        self.actor.cast("hold", ()).unwrap();
        self.gate.held.notified().await;
    }

    async fn tell(&self, function: &str, name: &str) {
        self.actor.call(function, (name,)).await.unwrap();
    }
}

async fn probe_with(
    system: &System,
    name: &str,
    restart: RestartPolicy,
    mailbox: MailboxConfig,
) -> Probed {
    let (tx, seen) = mpsc::unbounded_channel(); // unbounded: a test's own record
    let gate = Arc::new(Gate::default());
    let in_actor = Arc::clone(&gate);
    let spec = ChildSpec::native(address(name), move || Probe {
        seen: tx.clone(),
        gate: Arc::clone(&in_actor),
        monitors: HashMap::new(),
    });
    let spec = ChildSpec {
        restart,
        mailbox,
        ..spec
    };
    let actor = system.spawn(spec).await.unwrap();
    Probed { actor, seen, gate }
}

async fn probe(system: &System, name: &str, restart: RestartPolicy) -> Probed {
    probe_with(system, name, restart, MailboxConfig::default()).await
}

fn down(seen: &Seen) -> &Down {
    match seen {
        Seen::Down(down, _) => down,
        other => panic!("{other:?}"),
    }
}

/// The next thing seen that is no note.
async fn next_signal(probed: &mut Probed) -> Seen {
    loop {
        match probed.seen.recv().await.unwrap() {
            Seen::Note(_) => {}
            signal => return signal,
        }
    }
}

#[tokio::test]
async fn m01_messages_and_signals_of_a_pair_arrive_in_the_order_they_were_sent() {
    let system = system(&engine()).await;
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    let sender = probe(&system, "sender", RestartPolicy::Temporary).await;
    watcher.tell("watch", "sender").await;
    // While it is busy, messages and the end of their sender queue up together.
    watcher.hold().await;
    for _ in 0..3 {
        let args = ("watcher", 100_u32, false);
        sender.actor.call("flood", args).await.unwrap();
    }
    let monitor = sender.actor.monitor();
    assert!(
        sender
            .actor
            .call("flood", ("watcher", 100_u32, true))
            .await
            .is_err()
    );
    monitor.await;
    watcher.gate.open.notify_one();
    let seen = watcher.settle().await;
    let notes: Vec<u32> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Note(n) => Some(*n),
            _ => None,
        })
        .collect();
    let sent: Vec<u32> = (0..4).flat_map(|_| 0..100).collect();
    assert_eq!(notes, sent);
    assert_eq!(seen.len(), 401);
    assert_eq!(down(&seen[400]).reason.kind(), "error");
}

#[tokio::test]
async fn m02_a_cast_to_an_actor_that_dies_is_a_dead_letter_and_a_call_fails_at_once() {
    let system = system(&engine()).await;
    let dead = probe(&system, "dead", RestartPolicy::Temporary).await;
    dead.hold().await;
    dead.actor.cast("note", (1_u32,)).unwrap();
    let monitor = dead.actor.monitor();
    dead.actor.kill();
    monitor.await;
    // The one in hand and the one behind it.
    assert_eq!(dead.actor.counters().dead_letters, 2);
    // From now on the sender has it back at once, and no deadline is waited for.
    let refused = dead.actor.cast("note", (2_u32,)).unwrap_err();
    assert_eq!(refused.why.kind(), "stopped");
    assert!(refused.args.is_some());
    let mut call = pin!(dead.actor.call("ready", ()));
    let at_once = poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
    match at_once {
        std::task::Poll::Ready(Err(why)) => assert_eq!(why.kind(), "stopped"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn m03_each_monitor_is_told_once_also_of_the_dead_and_never_after_demonitor() {
    let system = system(&engine()).await;
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    let victim = probe(&system, "victim", RestartPolicy::Temporary).await;
    // Three monitors of one actor are three ends to hear of.
    for _ in 0..3 {
        watcher.tell("watch", "victim").await;
    }
    let outside = victim.actor.monitor();
    victim.actor.kill();
    assert_eq!(outside.await.reason.kind(), "killed");
    let seen = watcher.settle().await;
    let mut ids: Vec<_> = seen.iter().map(|seen| down(seen).monitor).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert!(seen.iter().all(|seen| down(seen).reason.kind() == "killed"));

    // Of one that is dead already, by name and by reference.
    watcher.tell("watch", "victim").await;
    let seen = watcher.settle().await;
    assert_eq!(seen.len(), 1);
    assert_eq!(down(&seen[0]).reason.kind(), "no-such-actor");
    assert_eq!(down(&seen[0]).incarnation, 0);
    let late = victim.actor.monitor().await;
    assert_eq!((late.reason.kind(), late.incarnation), ("no-such-actor", 1));

    // Taken back: before the end, and after it while its signal waits in the mailbox.
    let first = probe(&system, "first", RestartPolicy::Temporary).await;
    let second = probe(&system, "second", RestartPolicy::Temporary).await;
    watcher.tell("watch", "first").await;
    watcher.tell("watch", "second").await;
    watcher.tell("unwatch", "first").await;
    watcher.hold().await;
    watcher.actor.cast("unwatch", ("second",)).unwrap();
    for probed in [&first, &second] {
        let monitor = probed.actor.monitor();
        probed.actor.kill();
        monitor.await;
    }
    watcher.gate.open.notify_one();
    assert!(watcher.settle().await.is_empty());
    let status = watcher.actor.status();
    assert_eq!((status.monitors, status.links), (0, 0));
}

#[tokio::test]
async fn m04_a_down_comes_after_everything_the_dead_one_sent_however_full_the_mailbox_is() {
    for strategy in [
        BackpressureStrategy::Error,
        BackpressureStrategy::DropNewest,
        BackpressureStrategy::DropOldest,
    ] {
        let system = system(&engine()).await;
        let mailbox = MailboxConfig {
            depth_max: 11,
            strategy,
            ..MailboxConfig::default()
        };
        let mut watcher = probe_with(&system, "watcher", RestartPolicy::Permanent, mailbox).await;
        let dying = probe(&system, "dying", RestartPolicy::Temporary).await;
        watcher.tell("watch", "dying").await;
        let monitor = dying.actor.monitor();
        // With the one in hand the mailbox is full to the last message.
        watcher.hold().await;
        assert!(
            dying
                .actor
                .call("flood", ("watcher", 10_u32, true))
                .await
                .is_err()
        );
        monitor.await;
        if strategy == BackpressureStrategy::DropOldest {
            // The end stands behind ten notes. Others push all ten out, and then would the end.
            for n in 100..115_u32 {
                watcher.actor.cast("note", (n,)).unwrap();
            }
        }
        watcher.gate.open.notify_one();
        let mut seen = Vec::new();
        while seen.len() < 11 {
            seen.push(watcher.seen.recv().await.unwrap());
        }
        let (at, end) = seen
            .iter()
            .enumerate()
            .find(|(_, seen)| matches!(seen, Seen::Down(..)))
            .unwrap();
        assert_eq!(down(end).reason.kind(), "error");
        let notes: Vec<u32> = seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Note(n) => Some(*n),
                _ => None,
            })
            .collect();
        if strategy == BackpressureStrategy::DropOldest {
            assert_eq!((at, notes), (0, (105..115).collect::<Vec<_>>()));
        } else {
            assert_eq!((at, notes), (10, (0..10).collect::<Vec<_>>()));
        }
        assert!(watcher.settle().await.is_empty());
    }
}

#[tokio::test]
async fn m05_links_are_symmetric_and_idempotent_and_silent_once_taken_back() {
    let system = system(&engine()).await;
    let mut one = probe(&system, "one", RestartPolicy::Temporary).await;
    let two = probe(&system, "two", RestartPolicy::Temporary).await;
    for probed in [&one, &two] {
        probed.actor.call("trap", (true,)).await.unwrap();
    }
    // From both sides, and twice: one link, one exit.
    for _ in 0..2 {
        one.tell("bind", "two").await;
        two.tell("bind", "one").await;
    }
    assert_eq!(one.actor.status().links, 1);
    assert_eq!(two.actor.status().links, 1);
    let monitor = two.actor.monitor();
    assert!(two.actor.call("fail", ()).await.is_err());
    monitor.await;
    let seen = one.settle().await;
    assert_eq!(seen.len(), 1);
    match &seen[0] {
        Seen::Exit(exit) => {
            assert_eq!(exit.from, address("two"));
            assert_eq!(exit.reason.kind(), "error");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(one.actor.status().links, 0);

    // The other direction: who was linked ends the one that linked.
    let mut two = probe(&system, "two", RestartPolicy::Temporary).await;
    two.actor.call("trap", (true,)).await.unwrap();
    one.tell("bind", "two").await;
    let monitor = one.actor.monitor();
    one.actor.kill();
    monitor.await;
    let seen = two.settle().await;
    assert!(matches!(&seen[..], [Seen::Exit(exit)] if exit.reason.kind() == "killed"));

    // Taken back, from either side, before the end and while its signal waits.
    let one = probe(&system, "one", RestartPolicy::Temporary).await;
    two.tell("bind", "one").await;
    one.tell("unbind", "two").await;
    assert_eq!(two.actor.status().links, 0);
    two.tell("bind", "one").await;
    two.hold().await;
    two.actor.cast("unbind", ("one",)).unwrap();
    // Its slot keeps the name until the supervisor has decided: unlinking it by name needs it alive.
    two.gate.open.notify_one();
    two.settle().await;
    let monitor = one.actor.monitor();
    one.actor.kill();
    monitor.await;
    assert!(two.settle().await.is_empty());
    assert_eq!(two.actor.status().links, 0);
}

#[tokio::test]
async fn m06_a_name_is_free_before_the_down_is_seen_or_leads_to_the_next_incarnation() {
    let system = system(&engine()).await;
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    for round in 1..=50_u64 {
        let gone = probe(&system, "gone", RestartPolicy::Temporary).await;
        watcher.tell("watch", "gone").await;
        gone.actor.kill();
        match next_signal(&mut watcher).await {
            Seen::Down(down, None) => assert_eq!(down.reason.kind(), "killed"),
            other => panic!("round {round}: {other:?}"),
        }
    }
    let _back = probe(&system, "back", RestartPolicy::Permanent).await;
    for round in 1..=50_u64 {
        watcher.tell("watch", "back").await;
        system.whereis(&address("back")).unwrap().kill();
        match next_signal(&mut watcher).await {
            Seen::Down(down, Some(now)) => {
                assert_eq!(down.incarnation, round);
                assert!(now > round);
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn m07_a_reply_after_the_deadline_is_discarded() {
    let system = system(&engine()).await;
    let callee = probe(&system, "callee", RestartPolicy::Permanent).await;
    let caller = probe(&system, "caller", RestartPolicy::Permanent).await;
    // An actor reuses one place for all its replies: the late one must not answer the next call.
    let late = caller.actor.call("ask", ("callee",)).await.unwrap_err();
    assert!(late.to_string().contains("no reply"), "{late}");
    let next = tokio::spawn({
        let caller = caller.actor.clone();
        async move { caller.call("ask", ("callee",)).await }
    });
    while callee.actor.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    callee.gate.held.notified().await;
    callee.gate.open.notify_one();
    // The first is answered, too late, and the second is in its hands.
    callee.gate.held.notified().await;
    assert!(!next.is_finished());
    callee.gate.open.notify_one();
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn m08_a_caller_hears_of_its_callees_death_exactly_once() {
    let system = system(&engine()).await;
    let mut caller = probe(&system, "caller", RestartPolicy::Permanent).await;
    let callee = probe(&system, "callee", RestartPolicy::Temporary).await;
    // It watches and calls the same actor: one answer to the call, one end to the monitor.
    caller.tell("watch", "callee").await;
    let asking = tokio::spawn({
        let caller = caller.actor.clone();
        async move { caller.call("ask", ("callee",)).await }
    });
    callee.gate.held.notified().await;
    callee.actor.kill();
    let answer = asking.await.unwrap().unwrap_err().to_string();
    assert!(
        answer.contains("died while it handled the message"),
        "{answer}"
    );
    let counters = callee.actor.counters();
    assert_eq!((counters.calls, counters.call_errors), (1, 1));
    assert!(matches!(next_signal(&mut caller).await, Seen::Down(..)));
    assert!(caller.settle().await.is_empty());
}

/// Polls of the caller's own task, not time: nothing is looked through.
#[tokio::test]
async fn m09_a_call_is_as_cheap_with_a_hundred_thousand_messages_queued() {
    let system = system(&engine()).await;
    let deep = MailboxConfig {
        depth_max: 200_000,
        bytes_max: 1 << 30,
        ..MailboxConfig::default()
    };
    let mut caller = probe_with(&system, "caller", RestartPolicy::Permanent, deep).await;
    let callee = probe(&system, "callee", RestartPolicy::Permanent).await;
    // It waits in `ask` for the callee, and everything else queues behind.
    caller.actor.cast("ask", ("callee",)).unwrap();
    callee.gate.held.notified().await;
    let note = caller.actor.function("note").unwrap();
    for n in 0..100_000_u32 {
        note.cast((n,)).unwrap();
    }
    // A reply is found without a look at the queue: nothing in it is taken before the call is over.
    assert_eq!(caller.actor.status().queued, 100_001);
    assert!(caller.seen.try_recv().is_err());
    callee.gate.open.notify_one();
    let options = CallOptions {
        within: Duration::from_secs(300),
        ..CallOptions::default()
    };
    let ready = caller.actor.function("ready").unwrap();
    ready.call_with((), options).await.unwrap();
    for n in 0..100_000_u32 {
        assert!(matches!(caller.seen.try_recv(), Ok(Seen::Note(m)) if m == n));
    }
}
