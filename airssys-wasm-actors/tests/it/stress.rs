//! Two thousand actors, senders that do not stop, full mailboxes, and kills at random.
//!
//! `AIRSSYS_STRESS_SECONDS` is how long each road is driven (default 2), and `AIRSSYS_SEED` the seed, which is
//! printed: the same seed makes the same actors and the same choices, though threads take them at other
//! moments. At the end nothing is under way, and DESIGN's accounting must be exact: every call had one end,
//! every cast was handled or is a dead letter, no message came twice or before an earlier one, and every
//! budget is back to zero.

#[path = "../../../examples/chaos/random.rs"]
mod random;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use airssys_wasm::IntoArgs;
use airssys_wasm_actors::{CallError, CallOptions, Event, Events, ExitReason};

use crate::guests::is_counted;
pub(crate) use random::Random;
use world::World;

const SENDERS: u32 = 48;
const KILLERS: u32 = 3;

/// How what was sent has ended, as its senders saw it.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    replies: AtomicU64,
    errors: AtomicU64,
    left: AtomicU64,
    casts: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn seed() -> u64 {
    let given = std::env::var("AIRSSYS_SEED").ok();
    given.map_or_else(
        || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64
        },
        |text| text.parse().expect("AIRSSYS_SEED is a number"),
    )
}

fn seconds() -> u64 {
    let given = std::env::var("AIRSSYS_STRESS_SECONDS").ok();
    given.map_or(2, |text| {
        text.parse().expect("AIRSSYS_STRESS_SECONDS is a number")
    })
}

#[test]
fn the_accounting_is_exact_on_the_short_road() {
    drive(true);
}

#[test]
fn the_accounting_is_exact_on_the_queue() {
    drive(false);
}

fn drive(short_road: bool) {
    let (seed, seconds) = (seed(), seconds());
    println!("short road {short_road}: AIRSSYS_SEED={seed} AIRSSYS_STRESS_SECONDS={seconds}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(stress(seed, Duration::from_secs(seconds), short_road));
}

async fn stress(seed: u64, how_long: Duration, short_road: bool) {
    let world = Arc::new(World::start(&mut Random::new(seed, 0), short_road).await);
    let (over, killing) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(true)),
    );
    let watching = tokio::spawn(watch(world.system.events(), Arc::clone(&over)));
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + how_long;
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (world, tally) = (Arc::clone(&world), Arc::clone(&tally));
            tokio::spawn(send(
                world,
                tally,
                sender,
                Random::new(seed, 100 + sender),
                until,
            ))
        })
        .collect();
    let killers: Vec<_> = (0..KILLERS)
        .map(|killer| {
            let (world, killing) = (Arc::clone(&world), Arc::clone(&killing));
            tokio::spawn(kill(world, killing, Random::new(seed, 1_000 + killer)))
        })
        .collect();
    for sender in senders {
        let hang = Duration::from_secs(120);
        tokio::time::timeout(how_long + hang, sender)
            .await
            .expect("a sender waits for ever")
            .unwrap();
    }
    killing.store(false, Ordering::Relaxed);
    let mut kills = 0;
    for killer in killers {
        kills += killer.await.unwrap();
    }
    settle(&world).await;
    check(&world, &tally);
    for (actor, sequence) in world.actors.iter().zip(1_u32..) {
        let answer = actor.call("put", (SENDERS, sequence)).await.unwrap();
        assert_eq!(
            answer,
            (Ok::<u32, String>(sequence),).into_args(),
            "`{}`",
            actor.address()
        );
    }
    over.store(true, Ordering::Relaxed);
    let counted = world.system.counters();
    println!("{kills} kills, {} restarts, {counted:?}", counted.restarts);
    world.system.shutdown().await;
    let (starts, lagged) = watching.await.unwrap();
    println!("{starts} incarnations seen, {lagged} events not seen");
}

async fn send(
    world: Arc<World>,
    tally: Arc<Tally>,
    sender: u32,
    mut random: Random,
    until: Instant,
) {
    let mut sequence = 0_u32;
    while Instant::now() < until {
        // A burst at one goal fills its mailbox; then somebody else.
        let at = random.below(world.goals.len());
        let goal = &world.goals[at];
        let way = &goal.ways[(at + sender as usize) % goal.ways.len()];
        for _ in 0..=random.below(6) {
            sequence += 1;
            let args = (sender, sequence).into_args();
            let what = random.below(10);
            if what < 5 {
                if is_counted(&way.cast(args)) {
                    add(&tally.casts);
                }
                continue;
            }
            add(&tally.calls);
            let within = Duration::from_micros([200, 5_000, 100_000_000][random.below(3)]);
            let options = CallOptions {
                within,
                ..CallOptions::default()
            };
            let ended = if what == 9 {
                let way = way.clone();
                let calling = tokio::spawn(async move { way.call_with(args, options).await });
                for _ in 0..random.below(4) {
                    tokio::task::yield_now().await;
                }
                calling.abort();
                let Ok(ended) = calling.await else {
                    add(&tally.left);
                    continue;
                };
                ended
            } else {
                way.call_with(args, options).await
            };
            match ended {
                Ok(_) => add(&tally.replies),
                Err(
                    CallError::CalleeDied { .. }
                    | CallError::Deadline { .. }
                    | CallError::MailboxFull { .. }
                    | CallError::Evicted { .. },
                ) => add(&tally.errors),
                Err(other) => panic!("{other}"),
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn kill(world: Arc<World>, going_on: Arc<AtomicBool>, mut random: Random) -> u64 {
    let mut kills = 0;
    while going_on.load(Ordering::Relaxed) {
        kills += 1;
        if random.below(400) == 0 {
            world.supervisors[random.below(world.supervisors.len())].kill();
        } else {
            world.actors[random.below(world.actors.len())].kill();
        }
        // Some kills follow at once, others find the actor at work again.
        let pause = Duration::from_micros([0, 100, 1_000, 4_000][random.below(4)]);
        tokio::time::sleep(pause).await;
    }
    kills
}

/// Every end is a kill: an actor that trapped has seen messages out of order. Returns how many started and
/// how many events were not seen.
async fn watch(mut events: Events, over: Arc<AtomicBool>) -> (u64, u64) {
    let (mut starts, mut lagged) = (0, 0);
    while let Some(event) = events.recv().await {
        match event {
            Event::Started { .. } => starts += 1,
            Event::Exited {
                reason: ExitReason::Killed,
                ..
            } => {}
            Event::Exited {
                address, reason, ..
            } if !over.load(Ordering::Relaxed) => {
                panic!("`{address}` ended: {reason}")
            }
            Event::StartFailed {
                address, reason, ..
            } => {
                let killed = reason.to_string().contains("killed");
                assert!(killed, "`{address}` was not started: {reason}");
            }
            Event::Lagged(lost) => lagged += lost,
            Event::SupervisorEnded { address, .. } if address.to_string() == "system" => break,
            _ => {}
        }
    }
    (starts, lagged)
}

/// Waits until nothing is under way.
async fn settle(world: &World) {
    let began = Instant::now();
    loop {
        let open = world.actors.iter().find(|actor| {
            let status = actor.status();
            !status.running || status.queued != 0 || status.queued_bytes != 0
        });
        let Some(open) = open else { return };
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not settle: {:?}",
            open.status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn check(world: &World, tally: &Tally) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let ends = read(&tally.replies) + read(&tally.errors) + read(&tally.left);
    assert_eq!(read(&tally.calls), ends);
    for actor in &world.actors {
        let counted = actor.counters();
        let ends = counted.replies + counted.call_errors + counted.calls_abandoned;
        assert_eq!(counted.calls, ends, "the calls of `{}`", actor.address());
        let ends = counted.casts_handled + counted.dead_letters;
        assert_eq!(counted.casts, ends, "the casts of `{}`", actor.address());
    }
    let total = world.system.counters();
    assert_eq!(total.casts, read(&tally.casts));
    assert!(total.calls >= read(&tally.calls));
    assert!(total.replies >= read(&tally.replies));
    for (n, seen) in world.seen.iter().enumerate() {
        assert_eq!(
            read(&seen.wrong),
            0,
            "native goal {n} saw messages twice or out of order"
        );
    }
}
