//! Resources of one actor in the hands of others: proxies, drops as messages, stale handles, kills.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{
    Args, Engine, FromValue, InstanceIdentity, IntoArgs, Limits, ResourceHandle, ResourceName,
    ResourceOwner, Surface, WitError,
};
use airssys_wasm_actors::{
    Actor, ActorRef, CallError, CallOptions, ChildSpec, Context, Events, Link, LinkRefused,
    Message, StartError, System,
};

use crate::guests::{
    address, all_exited, engine, exited, started, system_with, template, template_with,
};

const COUNTERS: &str = include_str!("../../../airssys-wasm/tests/it/resources/counters.wat");
const USER: &str = include_str!("../../../airssys-wasm/tests/it/resources/user.wat");
const IMPORT: &str = "test:res/counters";

struct Pair {
    system: System,
    events: Events,
    owner: ActorRef,
    user: ActorRef,
}

async fn pair(engine: &Engine, short_road: bool) -> Pair {
    let system = system_with(engine, short_road).await;
    let events = system.events();
    let owner = ChildSpec::component(address("owner"), template(engine, COUNTERS, &[]));
    let user = ChildSpec::component(address("user"), template(engine, USER, &[IMPORT]))
        .link(Link::new(IMPORT, address("owner")));
    let refs = system.supervisor().start(vec![owner, user]).await.unwrap();
    Pair {
        system,
        events,
        owner: refs[0].clone(),
        user: refs[1].clone(),
    }
}

fn one<T: FromValue>(results: Args) -> T {
    results.into_typed::<(T,)>().unwrap().0
}

async fn number(actor: &ActorRef, function: &str, args: impl IntoArgs) -> u32 {
    one(actor.call(function, args).await.unwrap())
}

/// What the guest says lives, once everything released before is destroyed, and what the host says is held.
async fn live(owner: &ActorRef) -> (u32, usize) {
    let live = number(owner, "live", ()).await;
    (live, owner.status().resources)
}

/// Runs a test with idle callees called at once, and with every message through a mailbox.
fn on_both_roads<F: Future<Output = ()>>(test: impl Fn(bool) -> F) {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test(short_road));
    }
}

/// As [`on_both_roads`], on one thread: who yields lets everybody else have a turn.
fn in_turns<F: Future<Output = ()>>(test: impl Fn(bool) -> F) {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test(short_road));
    }
}

#[test]
fn a_linked_guest_makes_uses_moves_and_drops_a_resource() {
    on_both_roads(async |short_road| {
        let pair = pair(&engine(), short_road).await;
        assert_eq!(number(&pair.user, "once", (7_u32,)).await, 12);
        assert_eq!(live(&pair.owner).await, (0, 0));
        assert_eq!(number(&pair.owner, "last", ()).await, 12);

        number(&pair.user, "keep", (1_u32,)).await;
        assert_eq!(number(&pair.user, "add", (2_u32,)).await, 3);
        assert_eq!(live(&pair.owner).await, (1, 1));
        assert_eq!(number(&pair.user, "merge", (4_u32,)).await, 7);
        assert_eq!(live(&pair.owner).await, (1, 1));
        assert_eq!(number(&pair.user, "consume", ()).await, 7);
        assert_eq!(live(&pair.owner).await, (0, 0));
    });
}

#[test]
fn a_stale_handle_is_a_typed_error_and_harms_nobody() {
    on_both_roads(async |short_road| {
        let mut pair = pair(&engine(), short_road).await;
        number(&pair.user, "keep", (1_u32,)).await;
        pair.owner.kill();
        started(&mut pair.events, &address("owner"), 1).await;
        assert_eq!(pair.owner.status().resources, 0);

        // Where the function can tell it, the guest is told.
        let told: Result<u32, String> = one(pair.user.call("try-add", (1_u32,)).await.unwrap());
        let told = told.unwrap_err();
        assert!(told.starts_with("stale-handle: "), "{told}");
        assert!(told.contains("incarnation 1, and now is 2"), "{told}");
        // Dropping it is silent, and a new one is as good as ever.
        pair.user.call("drop", ()).await.unwrap();
        number(&pair.user, "keep", (5_u32,)).await;
        assert_eq!(number(&pair.user, "add", (1_u32,)).await, 6);

        // Where it cannot, the caller ends, not the callee.
        pair.owner.kill();
        started(&mut pair.events, &address("owner"), 2).await;
        let ended = pair.user.call("add", (1_u32,)).await.unwrap_err();
        assert!(ended.to_string().contains("stale-handle"), "{ended}");
        assert_eq!(
            exited(&mut pair.events, &address("user")).await.kind(),
            "link-failed"
        );
        assert_eq!(pair.owner.status().incarnation, 3);
        assert_eq!(live(&pair.owner).await, (0, 0));
    });
}

#[test]
fn the_host_holds_handles_like_anybody_else() {
    on_both_roads(async |short_road| {
        let mut pair = pair(&engine(), short_road).await;
        let made = pair.owner.call("[constructor]counter", (3_u32,)).await;
        let counter: ResourceHandle = one(made.unwrap());
        let add = pair.owner.function("[method]counter.add").unwrap();
        assert_eq!(
            one::<u32>(add.call((counter.lend(), 4_u32)).await.unwrap()),
            7
        );
        // Lent to a guest that imports the type, and handed over to it for good.
        assert_eq!(number(&pair.user, "peek", (counter.lend(),)).await, 8);
        assert_eq!(number(&pair.user, "take", (counter.clone(),)).await, 8);
        let spent = add.call((counter.lend(), 1_u32)).await.unwrap_err();
        assert_eq!(spent.kind(), "stale-handle", "{spent}");
        let back: ResourceHandle = one(pair.user.call("give", ()).await.unwrap());
        assert_eq!(live(&pair.owner).await, (1, 1));
        drop(counter);
        assert_eq!(live(&pair.owner).await, (1, 1));
        drop(back);
        assert_eq!(live(&pair.owner).await, (0, 0));

        let made = pair.owner.call("[constructor]counter", (3_u32,)).await;
        let counter: ResourceHandle = one(made.unwrap());
        pair.owner.kill();
        started(&mut pair.events, &address("owner"), 1).await;
        let stale = add.call((counter.lend(), 1_u32)).await.unwrap_err();
        assert_eq!(stale.kind(), "stale-handle", "{stale}");
    });
}

#[test]
fn a_cast_with_a_handle_keeps_it_until_it_is_handled() {
    on_both_roads(async |short_road| {
        let pair = pair(&engine(), short_road).await;
        let made = pair.owner.call("[constructor]counter", (3_u32,)).await;
        let counter: ResourceHandle = one(made.unwrap());
        let add = pair.owner.function("[method]counter.add").unwrap();
        for _ in 0..3 {
            add.cast((counter.lend(), 1_u32)).unwrap();
        }
        // The drop does not overtake the casts, and comes before what is sent once they are handled.
        drop(counter);
        number(&pair.owner, "live", ()).await;
        assert_eq!(live(&pair.owner).await, (0, 0));
        assert_eq!(number(&pair.owner, "last", ()).await, 6);
        assert_eq!(pair.owner.counters().casts_handled, 3);
    });
}

#[test]
fn the_end_of_an_importer_releases_what_it_held() {
    on_both_roads(async |short_road| {
        let mut pair = pair(&engine(), short_road).await;
        for round in 1..=5 {
            for n in 0..20_u32 {
                number(&pair.user, "keep", (n,)).await;
            }
            assert_eq!(live(&pair.owner).await, (20, 20));
            pair.user.kill();
            started(&mut pair.events, &address("user"), round).await;
            assert_eq!(live(&pair.owner).await, (0, 0));
        }
        assert_eq!(pair.owner.status().incarnation, 1);
    });
}

#[test]
fn killing_the_importer_or_the_owner_in_the_middle_of_a_call_ends_the_loan() {
    in_turns(async |short_road| {
        let engine = engine();
        let mut pair = pair(&engine, short_road).await;
        for round in 1..=5 {
            number(&pair.user, "keep", (1_u32,)).await;
            let spin = pair.user.function("spin").unwrap();
            let spinning = tokio::spawn(async move { spin.call(()).await });
            while pair.owner.status().queued == 0 {
                tokio::task::yield_now().await;
            }
            // Queued is not begun yet.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            pair.user.kill();
            let ended = spinning.await.unwrap().unwrap_err();
            assert!(matches!(ended, CallError::CalleeDied { .. }), "{ended}");
            started(&mut pair.events, &address("user"), round).await;
            // The owner goes on with what nobody waits for; its handle is not destroyed under it.
            assert_eq!(pair.owner.status().resources, 1);
            pair.owner.kill();
            started(&mut pair.events, &address("owner"), round).await;
            assert_eq!(live(&pair.owner).await, (0, 0));
        }
        drop(pair.system);
    });
}

#[test]
fn a_deadline_ends_the_wait_and_the_handle_lives_until_the_call_is_over() {
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let limits = Limits {
            cpu_per_call: Duration::from_secs(1),
            ..Limits::default()
        };
        let owner = template_with(&engine, COUNTERS, &[], limits);
        let link = Link {
            reply_within: Duration::from_millis(20),
            ..Link::new(IMPORT, address("owner"))
        };
        let user = ChildSpec::component(address("user"), template(&engine, USER, &[IMPORT]));
        let owner = ChildSpec::component(address("owner"), owner);
        let children = vec![owner, user.link(link)];
        let refs = system.supervisor().start(children).await.unwrap();
        let (owner, user) = (&refs[0], &refs[1]);
        number(user, "keep", (1_u32,)).await;
        let ended = user.call("spin", ()).await.unwrap_err();
        assert!(ended.to_string().contains("deadline"), "{ended}");
        // The user is dead of it, its handle is let go, and the owner still spins with the borrow.
        assert_eq!(
            exited(&mut events, &address("user")).await.kind(),
            "link-failed"
        );
        assert_eq!(owner.status().resources, 1);
        assert_eq!(
            exited(&mut events, &address("owner")).await.kind(),
            "cpu-deadline"
        );
        assert_eq!(live(owner).await, (0, 0));
    });
}

#[test]
fn a_destructor_that_traps_is_the_owners_exit() {
    on_both_roads(async |short_road| {
        let mut pair = pair(&engine(), short_road).await;
        number(&pair.user, "keep", (666_u32,)).await;
        pair.user.call("drop", ()).await.unwrap();
        assert_eq!(
            exited(&mut pair.events, &address("owner")).await.kind(),
            "unreachable"
        );
        assert_eq!(live(&pair.owner).await, (0, 0));
        assert_eq!(pair.user.status().incarnation, 1);
    });
}

/// Hands counters on: imports them from one actor, and exports a function that takes them.
const BROKER: &str = r#"(component
  (import "test:res/counters@0.1.0" (instance $api
    (export "counter" (type $c (sub resource)))
    (export "[method]counter.add" (func (param "self" (borrow $c)) (param "n" u32) (result u32)))
    (export "consume" (func (param "one" (own $c)) (result u32)))))
  (alias export $api "counter" (type $c))
  (core func $add (canon lower (func $api "[method]counter.add")))
  (core func $consume (canon lower (func $api "consume")))
  (core func $drop (canon resource.drop $c))
  (core module $m
    (import "h" "add" (func $add (param i32 i32) (result i32)))
    (import "h" "consume" (func $consume (param i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (func (export "raise") (param i32) (result i32)
      (local $sum i32)
      (local.set $sum (call $add (local.get 0) (i32.const 100)))
      (call $drop (local.get 0))
      (local.get $sum))
    (func (export "sell") (param i32) (result i32) (call $consume (local.get 0))))
  (core instance $m (instantiate $m (with "h" (instance
    (export "add" (func $add)) (export "consume" (func $consume)) (export "drop" (func $drop))))))
  (func $raise (param "c" (borrow $c)) (result u32) (canon lift (core func $m "raise")))
  (func $sell (param "c" (own $c)) (result u32) (canon lift (core func $m "sell")))
  (instance (export "test:res/broker@0.1.0")
    (export "raise" (func $raise)) (export "sell" (func $sell))))"#;

/// Makes a counter, and has the broker raise it and sell it.
const CLIENT: &str = r#"(component
  (import "test:res/counters@0.1.0" (instance $api
    (export "counter" (type $c (sub resource)))
    (export "[constructor]counter" (func (param "value" u32) (result (own $c))))))
  (alias export $api "counter" (type $c))
  (import "test:res/broker@0.1.0" (instance $broker
    (export "raise" (func (param "c" (borrow $c)) (result u32)))
    (export "sell" (func (param "c" (own $c)) (result u32)))))
  (core func $new (canon lower (func $api "[constructor]counter")))
  (core func $raise (canon lower (func $broker "raise")))
  (core func $sell (canon lower (func $broker "sell")))
  (core module $m
    (import "h" "new" (func $new (param i32) (result i32)))
    (import "h" "raise" (func $raise (param i32) (result i32)))
    (import "h" "sell" (func $sell (param i32) (result i32)))
    (func (export "trade") (param i32) (result i32)
      (local $c i32)
      (local.set $c (call $new (local.get 0)))
      (drop (call $raise (local.get $c)))
      (call $sell (local.get $c))))
  (core instance $m (instantiate $m (with "h" (instance
    (export "new" (func $new)) (export "raise" (func $raise)) (export "sell" (func $sell))))))
  (func (export "trade") (param "n" u32) (result u32) (canon lift (core func $m "trade"))))"#;

const BROKER_IMPORT: &str = "test:res/broker";

#[test]
fn handles_are_passed_on_through_a_third_actor() {
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let counters = template(&engine, COUNTERS, &[]);
        let to_owner = |name: &str| Link::new(IMPORT, address(name));
        let broker = template(&engine, BROKER, &[IMPORT]);
        let client = template(&engine, CLIENT, &[IMPORT, BROKER_IMPORT]);
        let client_of = |name: &str, broker: &str| {
            ChildSpec::component(address(name), client.clone())
                .link(to_owner("owner"))
                .link(Link::new(BROKER_IMPORT, address(broker)))
        };
        let children = vec![
            ChildSpec::component(address("owner"), counters.clone()),
            ChildSpec::component(address("stranger"), counters),
            ChildSpec::component(address("broker"), broker.clone()).link(to_owner("owner")),
            ChildSpec::component(address("far"), broker).link(to_owner("stranger")),
            client_of("client", "broker"),
            client_of("lost", "far"),
        ];
        let refs = system.supervisor().start(children).await.unwrap();
        let (owner, client, lost) = (&refs[0], &refs[4], &refs[5]);
        assert_eq!(number(client, "trade", (7_u32,)).await, 107);
        assert_eq!(live(owner).await, (0, 0));

        // The far broker's own counters are somebody else's: it is told, and ends; the handle comes home.
        let ended = lost.call("trade", (7_u32,)).await.unwrap_err();
        assert!(matches!(ended, CallError::CalleeDied { .. }), "{ended}");
        let [exit, _] = all_exited(&mut events, ["far", "lost"]).await;
        assert_eq!(exit.kind(), "link-failed");
        assert!(
            exit.to_string()
                .contains("it belongs to `owner`, not to `stranger`"),
            "{exit}"
        );
        assert_eq!(live(owner).await, (0, 0));
    });
}

/// Uses counters in a second interface, whose exporter has counters of its own.
const TWO_INTERFACES: &str = r#"(component
  (import "test:res/counters@0.1.0" (instance $api (export "counter" (type $c (sub resource)))))
  (alias export $api "counter" (type $c))
  (import "test:res/shop@0.1.0" (instance $shop
    (export "counter" (type $c2 (eq $c)))
    (export "sell" (func (param "c" (own $c2)))))))"#;

const SHOP: &str = r#"(component
  (type $counter (resource (rep i32)))
  (core module $m (func (export "sell") (param i32)))
  (core instance $m (instantiate $m))
  (func $sell (param "c" (own $counter)) (canon lift (core func $m "sell")))
  (component $counters (import "t" (type $t (sub resource))) (export "counter" (type $t)))
  (instance $counters (instantiate $counters (with "t" (type $counter))))
  (export $c "test:res/counters@0.1.0" (instance $counters))
  (component $shop
    (import "t" (type $t (sub resource)))
    (import "sell" (func $sell (param "c" (own $t))))
    (export $c "counter" (type $t))
    (export "sell" (func $sell) (func (param "c" (own $c)))))
  (instance $shop (instantiate $shop (with "t" (type $counter)) (with "sell" (func $sell))))
  (export "test:res/shop@0.1.0" (instance $shop)))"#;

#[tokio::test]
async fn a_resource_from_elsewhere_is_refused_when_the_link_is_made() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let user = template(&engine, TWO_INTERFACES, &[IMPORT, "test:res/shop"]);
    let child =
        |name: &str, wat: &str| ChildSpec::component(address(name), template(&engine, wat, &[]));
    let children = vec![child("owner", COUNTERS), child("shop", SHOP)];
    system.supervisor().start(children).await.unwrap();
    let user = |name: &str, counters: &str| {
        ChildSpec::component(address(name), user.clone())
            .link(Link::new(IMPORT, address(counters)))
            .link(Link::new("test:res/shop", address("shop")))
    };
    let refused = system.spawn(user("one", "owner")).await.unwrap_err();
    let StartError::Link(LinkRefused::Stranger { .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        refused
            .to_string()
            .contains("link both interfaces to one actor")
            || std::error::Error::source(&refused).is_some_and(|why| why
                .to_string()
                .contains("link both interfaces to one actor")),
        "{refused}"
    );
    system.spawn(user("two", "shop")).await.unwrap();
}

/// 10,000 constructions while users and their owner are killed at random: at the end nothing is left.
#[test]
fn no_resource_is_left_behind_whoever_dies() {
    on_both_roads(storm);
}

const USERS: u64 = 6;
const CONSTRUCTIONS: u64 = 10_000;

async fn storm(short_road: bool) {
    let engine = engine();
    let system = system_with(&engine, short_road).await;
    let owner = ChildSpec::component(address("owner"), template(&engine, COUNTERS, &[]));
    let owner = system.spawn(owner).await.unwrap();
    let user = template(&engine, USER, &[IMPORT]);
    let users = (0..USERS).map(|n| {
        ChildSpec::component(address(&format!("user-{n}")), user.clone())
            .link(Link::new(IMPORT, address("owner")))
    });
    let users = system.supervisor().start(users.collect()).await.unwrap();
    let driving: Vec<_> = users
        .iter()
        .zip(1_u64..)
        .map(|(user, seed)| {
            let (user, owner) = (user.clone(), owner.clone());
            tokio::spawn(async move {
                let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
                let mut ends = (0_u64, 0_u64);
                for _ in 0..CONSTRUCTIONS / USERS + 1 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match random % 1_000 {
                        0..10 => user.kill(),
                        10..13 => owner.kill(),
                        _ => {}
                    }
                    let function =
                        ["keep", "once", "merge", "consume"][(random >> 32) as usize % 4];
                    let args = match function {
                        "consume" => Args::new(),
                        _ => (1_u32,).into_args(),
                    };
                    let options = CallOptions {
                        within: Duration::from_secs(60),
                        ..CallOptions::default()
                    };
                    let function = user.function(function).unwrap();
                    match function.call_with(args, options).await {
                        Ok(_) => ends.0 += 1,
                        Err(CallError::CalleeDied { .. }) => ends.1 += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                ends
            })
        })
        .collect();
    let mut ends = (0, 0);
    for driving in driving {
        let (oks, errors) = driving.await.unwrap();
        ends = (ends.0 + oks, ends.1 + errors);
    }
    assert!(ends.0 > CONSTRUCTIONS / 4 && ends.1 > 0, "{ends:?}");
    let mut events = system.events();
    for user in &users {
        let incarnation = user.status().incarnation;
        user.kill();
        started(&mut events, user.address(), incarnation).await;
    }
    assert_eq!(live(&owner).await, (0, 0));
    let counters = owner.counters();
    assert_eq!(
        counters.calls,
        counters.replies + counters.call_errors + counters.calls_abandoned
    );
    assert!(matches!(
        owner.call("[method]counter.boom", Args::new()).await,
        Err(CallError::Refused(_))
    ));
}

/// Owns counters in Rust.
struct NativeCounters {
    owner: Arc<ResourceOwner>,
    resource: Arc<ResourceName>,
    values: HashMap<u64, u32>,
    made: u64,
}

impl NativeCounters {
    fn new() -> Self {
        let surface = Self::surface().unwrap();
        let identity = InstanceIdentity {
            address: "owner".into(),
            generation: 1,
        };
        Self {
            owner: ResourceOwner::new(identity),
            resource: Arc::clone(&surface.exports[0].resources[0].ty),
            values: HashMap::new(),
            made: 0,
        }
    }
}

impl Actor for NativeCounters {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:res@0.1.0;
             interface counters {
               resource counter {
                 constructor(value: u32);
                 add: func(n: u32) -> u32;
                 try-add: func(n: u32) -> result<u32, string>;
                 spin: func();
                 merge: static func(one: counter, two: counter) -> counter;
               }
               consume: func(one: counter) -> u32;
               live: func() -> u32;
             }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        while let Some(key) = self.owner.next_released() {
            self.values.remove(&key);
        }
        match message.function() {
            "[constructor]counter" => {
                let (value,): (u32,) = message.args()?;
                self.made += 1;
                self.values.insert(self.made, value);
                message.reply((self.owner.issue(self.made, &self.resource),));
            }
            "[method]counter.add" => {
                let (counter, n): (ResourceHandle, u32) = message.args()?;
                let key = self.owner.key_of(&counter)?;
                let value = self.values.get_mut(&key).ok_or("no such counter")?;
                *value += n;
                message.reply((*value,));
            }
            "consume" => {
                let (counter,): (ResourceHandle,) = message.args()?;
                let key = self.owner.redeem(&counter)?;
                message.reply((self.values.remove(&key).ok_or("no such counter")?,));
            }
            "live" => message.reply((u32::try_from(self.values.len())?,)),
            other => return Err(other.to_owned().into()),
        }
        Ok(())
    }
}

impl Drop for NativeCounters {
    fn drop(&mut self) {
        self.owner.close();
    }
}

#[test]
fn a_native_actor_owns_resources_too() {
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let owner = ChildSpec::native(address("owner"), NativeCounters::new);
        let user = ChildSpec::component(address("user"), template(&engine, USER, &[IMPORT]))
            .link(Link::new(IMPORT, address("owner")));
        let refs = system.supervisor().start(vec![owner, user]).await.unwrap();
        let (owner, user) = (&refs[0], &refs[1]);
        assert_eq!(number(user, "once", (7_u32,)).await, 12);
        assert_eq!(number(owner, "live", ()).await, 0);
        number(user, "keep", (1_u32,)).await;
        assert_eq!(number(user, "add", (2_u32,)).await, 3);
        assert_eq!(number(owner, "live", ()).await, 1);
        user.kill();
        started(&mut events, &address("user"), 1).await;
        assert_eq!(number(owner, "live", ()).await, 0);
        number(user, "keep", (1_u32,)).await;
        assert_eq!(number(user, "consume", ()).await, 1);
        assert_eq!(number(owner, "live", ()).await, 0);
    });
}

/// Functions, and a resource, at the root of a component: no interface has them.
const ROOT_OWNER: &str = r#"(component
  (type $box (resource (rep i32)))
  (export $b "box" (type $box))
  (core func $new (canon resource.new $box))
  (core module $m
    (import "r" "new" (func $new (param i32) (result i32)))
    (func (export "pack") (param i32) (result i32) (call $new (local.get 0)))
    (func (export "look") (param i32) (result i32) (local.get 0))
    (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))
  (core instance $m (instantiate $m (with "r" (instance (export "new" (func $new))))))
  (func (export "pack") (param "n" u32) (result (own $b)) (canon lift (core func $m "pack")))
  (func (export "look") (param "b" (borrow $b)) (result u32) (canon lift (core func $m "look")))
  (func (export "twice") (param "n" u32) (result u32) (canon lift (core func $m "twice"))))"#;

const ROOT_USER: &str = r#"(component
  (import "box" (type $b (sub resource)))
  (import "pack" (func $pack (param "n" u32) (result (own $b))))
  (import "look" (func $look (param "b" (borrow $b)) (result u32)))
  (import "twice" (func $twice (param "n" u32) (result u32)))
  (core func $pack (canon lower (func $pack)))
  (core func $look (canon lower (func $look)))
  (core func $twice (canon lower (func $twice)))
  (core func $drop (canon resource.drop $b))
  (core module $m
    (import "h" "pack" (func $pack (param i32) (result i32)))
    (import "h" "look" (func $look (param i32) (result i32)))
    (import "h" "twice" (func $twice (param i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (func (export "go") (param i32) (result i32)
      (local $b i32) (local $n i32)
      (local.set $b (call $pack (call $twice (local.get 0))))
      (local.set $n (call $look (local.get $b)))
      (call $drop (local.get $b))
      (local.get $n)))
  (core instance $m (instantiate $m (with "h" (instance
    (export "pack" (func $pack)) (export "look" (func $look)) (export "twice" (func $twice))
    (export "drop" (func $drop))))))
  (func (export "go") (param "n" u32) (result u32) (canon lift (core func $m "go"))))"#;

#[test]
fn functions_and_resources_at_the_root_are_linked_like_any() {
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let owner = ChildSpec::component(address("owner"), template(&engine, ROOT_OWNER, &[]));
        let user = ChildSpec::component(address("user"), template(&engine, ROOT_USER, &[""]))
            .link(Link::new("", address("owner")));
        let refs = system.supervisor().start(vec![owner, user]).await.unwrap();
        assert_eq!(number(&refs[1], "go", (21_u32,)).await, 42);
        number(&refs[0], "twice", (1_u32,)).await;
        assert_eq!(refs[0].status().resources, 0);
    });
}
