//! The actors of the stress test: who is there, who leads where, and what they check of each message.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{CacheLocation, Engine, EngineConfig, Limits, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorFunction, ActorRef, BackpressureStrategy, ChildSpec, Context, Link, MailboxConfig,
    Message, RestartIntensity, Supervisor, SupervisorSpec, System, SystemConfig,
};

use super::Random;
use crate::guests::{address, template_with};

/// Goals of each kind; each goal has a relay before it, and each second relay has one more.
const GOALS: u32 = 400;
const COMPONENTS: u32 = GOALS + 2 * GOALS + GOALS;
const SUPERVISORS: u32 = 8;

/// Traps on a message that is out of order; passes messages on. The example `chaos` runs on the same two.
const GOAL: &str = include_str!("../../../../examples/chaos/goal.wat");
const RELAY: &str = include_str!("../../../../examples/chaos/relay.wat");

/// What was seen of each message, over all lives of an actor.
#[derive(Default)]
pub(crate) struct Seen {
    last: Mutex<HashMap<u32, u32>>,
    /// Messages that came twice, or before one that was sent earlier.
    pub(crate) wrong: AtomicU64,
}

impl Seen {
    fn put(&self, sender: u32, sequence: u32) {
        let mut last = self.last.lock().unwrap();
        let last = last.entry(sender).or_default();
        if sequence <= *last {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
        *last = sequence;
    }
}

/// A native goal: it remembers beyond its own death.
struct Ledger(Arc<Seen>);

impl Actor for Ledger {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface order { put: func(sender: u32, sequence: u32) -> result<u32, string>; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (sender, sequence): (u32, u32) = message.args()?;
        self.0.put(sender, sequence);
        for _ in 0..sequence % 3 {
            tokio::task::yield_now().await;
        }
        message.reply((Ok::<u32, String>(sequence),));
        Ok(())
    }
}

/// The ways to one goal. Order is promised along one of them, so a sender keeps to one.
pub(crate) struct Goal {
    pub(crate) ways: Vec<ActorFunction>,
}

pub(crate) struct World {
    pub(crate) system: System,
    pub(crate) supervisors: Vec<Supervisor>,
    pub(crate) actors: Vec<ActorRef>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) seen: Vec<Arc<Seen>>,
}

fn mailbox(random: &mut Random) -> MailboxConfig {
    let strategies = [
        BackpressureStrategy::Error,
        BackpressureStrategy::Block,
        BackpressureStrategy::DropNewest,
        BackpressureStrategy::DropOldest,
    ];
    let depths = [1, 2, 4, 1_000];
    MailboxConfig {
        depth_max: depths[random.below(depths.len())],
        strategy: strategies[random.below(strategies.len())],
        ..MailboxConfig::default()
    }
}

/// A system in which everything may restart as often as it likes.
async fn system(
    engine: &Engine,
    short_road: bool,
    shares: Vec<Vec<ChildSpec>>,
) -> (System, Vec<Supervisor>) {
    let often = RestartIntensity {
        max: u32::MAX,
        within: Duration::from_secs(1),
    };
    let system = System::start(SystemConfig {
        root_intensity: often,
        events_capacity: 1 << 16,
        short_road,
        ..SystemConfig::new(engine.clone())
    })
    .await
    .unwrap();
    let spec = |name: &str, children| SupervisorSpec {
        intensity: often,
        children,
        ..SupervisorSpec::new(address(name))
    };
    let nested = (0..).zip(shares).map(|(n, share): (u32, _)| {
        let name = format!("supervisor-{n}");
        ChildSpec::supervisor(spec(&name, share))
    });
    let top = system.supervise(spec("stress", nested.collect())).await;
    let supervisors = top.unwrap().supervisors();
    (system, supervisors)
}

impl World {
    pub(crate) async fn start(random: &mut Random, short_road: bool) -> Self {
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            // Exactly: an incarnation that outlives its exit leaves no room for its successor.
            pool_instances_max: COMPONENTS,
            ..EngineConfig::default()
        })
        .unwrap();
        // Callers wait for callees that are killed and restarted on a busy machine.
        let limits = Limits {
            cpu_per_call: Duration::from_secs(60),
            wall_per_call: Duration::from_secs(600),
            ..Limits::default()
        };
        let goal = template_with(&engine, GOAL, &[], limits.clone());
        let relay = template_with(&engine, RELAY, &["test:t/order"], limits);
        let mut seen = Vec::new();
        let mut children = Vec::new();
        let mut names: Vec<Vec<String>> = Vec::new();
        for n in 0..2 * GOALS {
            let (last, first, second) = (
                format!("goal-{n}"),
                format!("first-{n}"),
                format!("second-{n}"),
            );
            children.push(if n % 2 == 0 {
                ChildSpec::component(address(&last), goal.clone())
            } else {
                let ledger = Arc::new(Seen::default());
                seen.push(Arc::clone(&ledger));
                ChildSpec::native(address(&last), move || Ledger(Arc::clone(&ledger)))
            });
            let before = |name: &str, to: &str| {
                let link = Link::new("test:t/order", address(to));
                ChildSpec::component(address(name), relay.clone()).link(link)
            };
            children.push(before(&first, &last));
            let mut ways = vec![last, first.clone()];
            if n % 4 < 2 {
                children.push(before(&second, &first));
                ways.push(second);
            }
            names.push(ways);
        }
        for child in &mut children {
            child.mailbox = mailbox(random);
        }
        // Links lead across supervisors, and to whom is started later.
        let mut shares: Vec<Vec<ChildSpec>> = (0..SUPERVISORS).map(|_| Vec::new()).collect();
        for child in children {
            let share = if child.address.to_string().starts_with("goal") {
                0
            } else {
                random.below(7) + 1
            };
            shares[share].push(child);
        }
        let (system, supervisors) = system(&engine, short_road, shares).await;
        let actors = supervisors.iter().flat_map(Supervisor::children).collect();
        let way = |name: &String| {
            let actor = system.whereis(&address(name)).unwrap();
            actor.function("put").unwrap()
        };
        let goals = names
            .iter()
            .map(|ways| Goal {
                ways: ways.iter().map(way).collect(),
            })
            .collect();
        Self {
            system,
            supervisors,
            actors,
            goals,
            seen,
        }
    }
}
