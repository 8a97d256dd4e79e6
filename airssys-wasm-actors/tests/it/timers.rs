//! Timers on a clock that stands still until it is waited for.

use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorFunction, ActorRef, ChildSpec, Context, Message, System, TimerError, TimerId,
};
use tokio::time::{Instant, sleep};

use crate::guests::{address, engine, started, system};

/// Counts ticks, and who sent them.
#[derive(Default)]
struct Clock {
    ticks: Vec<(u32, Option<String>)>,
    timer: Option<TimerId>,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Actor for Clock {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:timers;
             interface clock {
                 tick: func(n: u32);
                 ticks: func() -> u32;
                 after: func(ms: u32);
                 every: func(ms: u32);
                 cancel: func() -> bool;
                 fall: func();
                 note: func(bytes: list<u8>);
             }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), AnyError> {
        let tick = ctx.function("tick")?;
        match message.function() {
            "tick" => {
                let sender = message.sender().map(|sender| sender.to_string());
                let (n,): (u32,) = message.args()?;
                self.ticks.push((n, sender));
                message.reply(());
            }
            "note" => message.reply(()),
            "ticks" => message.reply((u32::try_from(self.ticks.len())?,)),
            "after" => {
                let (ms,): (u32,) = message.args()?;
                self.timer = Some(ctx.send_after(millis(ms), &tick, (ms,))?);
                message.reply(());
            }
            "every" => {
                let (ms,): (u32,) = message.args()?;
                self.timer = Some(ctx.interval(millis(ms), &tick, (ms,))?);
                message.reply(());
            }
            "cancel" => message.reply((self.timer.take().is_some_and(|id| ctx.cancel(id)),)),
            _ => return Err("fallen".into()),
        }
        Ok(())
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

async fn clock(system: &System) -> (ActorRef, ActorFunction) {
    let clock = system
        .spawn(ChildSpec::native(address("clock"), Clock::default))
        .await
        .unwrap();
    let tick = clock.function("tick").unwrap();
    (clock, tick)
}

async fn ticks(clock: &ActorRef) -> u32 {
    let results = clock.call("ticks", ()).await.unwrap();
    let (ticks,): (u32,) = results.into_typed().unwrap();
    ticks
}

#[tokio::test(start_paused = true)]
async fn timers_fire_when_they_are_due_and_not_after_they_were_cancelled() {
    let system = system(&engine()).await;
    let (clock, tick) = clock(&system).await;
    let timers = system.timers();
    let start = Instant::now();
    for ms in [30, 10, 20, 10] {
        timers.send_after(millis(ms), &tick, (ms,)).unwrap();
    }
    let late = timers.send_after(millis(25), &tick, (0_u32,)).unwrap();
    sleep(millis(11)).await;
    assert_eq!(ticks(&clock).await, 2);
    assert!(timers.cancel(late));
    assert!(!timers.cancel(late));
    sleep(millis(100)).await;
    assert_eq!(ticks(&clock).await, 4);
    assert_eq!(timers.pending(), 0);

    // The task has ended with its last timer, and is there again for the next.
    let every = timers.interval(millis(10), &tick, (1_u32,)).unwrap();
    sleep(millis(55)).await;
    assert_eq!(ticks(&clock).await, 9);
    assert!(timers.cancel(every));
    sleep(millis(100)).await;
    assert_eq!(ticks(&clock).await, 9);
    assert!(start.elapsed() < Duration::from_secs(1));
    let counters = system.counters();
    assert_eq!(counters.casts, 9);
    assert_eq!(counters.casts_handled, 9);
}

#[tokio::test(start_paused = true)]
async fn an_actors_timers_end_with_its_incarnation_and_the_hosts_with_the_actor() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let (clock, tick) = clock(&system).await;
    let timers = system.timers();
    clock.call("after", (10_u32,)).await.unwrap();
    clock.call("every", (10_u32,)).await.unwrap();
    sleep(millis(25)).await;
    assert_eq!(ticks(&clock).await, 3);
    let cancelled = clock.call("cancel", ()).await.unwrap();
    assert_eq!(cancelled.into_typed::<(bool,)>().unwrap(), (true,));
    clock.call("every", (10_u32,)).await.unwrap();
    timers.interval(millis(10), &tick, (2_u32,)).unwrap();
    clock.call("fall", ()).await.unwrap_err();
    started(&mut events, &address("clock"), 1).await;
    assert_eq!(timers.pending(), 1);
    sleep(millis(25)).await;
    assert_eq!(ticks(&clock).await, 2);
    system
        .supervisor()
        .stop_child(&address("clock"))
        .await
        .unwrap();
    assert_eq!(timers.pending(), 0);
    assert!(matches!(
        timers.send_after(millis(1), &tick, (0_u32,)),
        Err(TimerError::Stopped { .. })
    ));
    // Nothing was sent to the dead.
    assert_eq!(system.counters().dead_letters, 0);
}

/// What waits is kept for its owner and charged to no mailbox.
#[tokio::test(start_paused = true)]
async fn what_timers_are_to_send_is_limited_too() {
    let system = system(&engine()).await;
    let (clock, _) = clock(&system).await;
    let note = clock.function("note").unwrap();
    let timers = system.timers();
    let later = Duration::from_secs(3600);
    let set = |bytes: usize| timers.send_after(later, &note, (vec![0_u8; bytes],));
    let most = 1 << 20;
    let too_large = set(most + 1).unwrap_err();
    assert!(
        matches!(
            too_large,
            TimerError::TooLarge {
                bytes: 1_048_577,
                ..
            }
        ),
        "{too_large}"
    );
    let first = set(most).unwrap();
    for _ in 1..8 {
        set(most).unwrap();
    }
    let over = set(1).unwrap_err();
    assert!(
        matches!(over, TimerError::Bytes { max: 8_388_608, .. }),
        "{over}"
    );
    assert_eq!(timers.pending(), 8);
    // The next ones have the room of one that is taken back, and of those that are sent.
    assert!(timers.cancel(first));
    let every = timers
        .interval(millis(1), &note, (vec![0_u8; 64],))
        .unwrap();
    set(most - 64).unwrap();
    for _ in 0..2 {
        assert!(
            set(1).is_err(),
            "an interval counts once, and as long as it goes on"
        );
        sleep(millis(100)).await;
    }
    assert!(timers.cancel(every));
    set(64).unwrap();
    system.shutdown().await;
    assert_eq!(timers.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn timers_are_limited_and_a_full_mailbox_makes_dead_letters() {
    let system = system(&engine()).await;
    let (clock, tick) = clock(&system).await;
    let timers = system.timers();
    let too_short = timers.interval(Duration::from_micros(999), &tick, (0_u32,));
    assert!(matches!(too_short, Err(TimerError::TooShort { .. })));
    // As a cast is: told to whoever sets it, and not found when it is due.
    let refused = timers.send_after(millis(1), &tick, ("text",));
    assert!(matches!(refused, Err(TimerError::Refused { .. })));
    let refused = timers.interval(millis(1), &tick, ());
    assert!(matches!(refused, Err(TimerError::Refused { .. })));
    assert_eq!(timers.pending(), 0);
    for _ in 0..256 {
        timers
            .send_after(Duration::from_secs(3600), &tick, (0_u32,))
            .unwrap();
    }
    let full = timers.send_after(millis(1), &tick, (0_u32,));
    assert!(matches!(full, Err(TimerError::Quota { max: 256, .. })));
    // A wait beyond all clocks is far, not an overflow.
    clock.call("ticks", ()).await.unwrap();
    system.shutdown().await;
    assert_eq!(timers.pending(), 0);

    let system = crate::guests::system(&engine()).await;
    let mut child = ChildSpec::native(address("small"), Clock::default);
    child.mailbox.depth_max = 1;
    let small = system.spawn(child).await.unwrap();
    let tick = small.function("tick").unwrap();
    let timers = system.timers();
    for n in 0..3_u32 {
        timers.send_after(millis(5), &tick, (n,)).unwrap();
    }
    timers.send_after(Duration::MAX, &tick, (0_u32,)).unwrap();
    sleep(millis(10)).await;
    let counters = small.counters();
    assert_eq!(counters.casts, 3);
    assert_eq!(counters.casts_handled + counters.dead_letters, 3);
    assert!(counters.dead_letters > 0);
}
