//! Handles that cross the engine's edge: what an owner gives away, what an importer holds, and what hostile hands do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use airssys_wasm::{
    Args, CallOutcome, CallRefused, Fault, FaultClass, ImportId, Instance, InstanceIdentity,
    InstanceTemplate, IntoArgs, Limits, LinkFailure, LinkFailureReason, Outbound, ResourceHandle,
    ResourceName, ResourceOwner, StaleHandle, Surface, TemplateSpec, Value,
};

use crate::guest::{
    call, died, engine, linked, returned, run, small, spec, start, start_with, template,
};

const COUNTERS: &str = include_str!("resources/counters.wat");
const USER: &str = include_str!("resources/user.wat");
const NEW: &str = "[constructor]counter";
const ADD: &str = "[method]counter.add";
const MERGE: &str = "[static]counter.merge";

/// An owner of counters and its template.
async fn owner() -> (InstanceTemplate, Instance, Arc<ResourceOwner>) {
    let template = template(&engine(), COUNTERS, spec());
    let mut instance = start(&template).await;
    let owner = instance.resource_owner().unwrap();
    (template, instance, owner)
}

fn one<T: airssys_wasm::FromValue>(results: Args) -> T {
    results.into_typed::<(T,)>().unwrap().0
}

fn refused(outcome: CallOutcome) -> (Instance, CallRefused) {
    match outcome {
        CallOutcome::Refused(instance, why) => (instance, why),
        other => panic!("{other:?}"),
    }
}

/// Destroys everything nobody holds any more.
async fn release(mut instance: Instance, owner: &ResourceOwner) -> Instance {
    while owner.has_released() {
        instance = instance.release().await.unwrap();
    }
    instance
}

#[test]
fn a_resource_is_made_used_and_destroyed_from_outside() {
    run(async {
        let (template, instance, owner) = owner().await;
        let (instance, made) = returned(call(&template, instance, NEW, (7u32,)).await);
        let counter: ResourceHandle = one(made);
        assert!(counter.is_own() && !counter.is_stale());
        assert_eq!(counter.to_string(), "own<counter> of test/guest/1");
        let (instance, sum) =
            returned(call(&template, instance, ADD, (counter.lend(), 5u32)).await);
        assert_eq!((one::<u32>(sum), owner.held()), (12, 1));

        drop(counter);
        assert!(owner.has_released());
        let instance = release(instance, &owner).await;
        assert_eq!(owner.held(), 0);
        let (instance, live) = returned(call(&template, instance, "live", ()).await);
        let (_, last) = returned(call(&template, instance, "last", ()).await);
        assert_eq!((one::<u32>(live), one::<u32>(last)), (0, 12));
    });
}

#[test]
fn owning_handles_move_into_the_owner_and_are_spent() {
    run(async {
        let (template, instance, owner) = owner().await;
        let (instance, many) = returned(call(&template, instance, "many", (3u32,)).await);
        let mut counters: Vec<ResourceHandle> = one(many);
        let (one_of, two) = (counters.remove(1), counters.remove(1));
        let clone = one_of.clone();
        let (instance, merged) = returned(call(&template, instance, MERGE, (one_of, two)).await);
        assert_eq!(owner.held(), 2);

        let (instance, why) = refused(call(&template, instance, "consume", (clone,)).await);
        assert!(
            matches!(
                why,
                CallRefused::StaleHandle {
                    why: StaleHandle::Spent,
                    ..
                }
            ),
            "{why}"
        );
        let merged: ResourceHandle = one(merged);
        let twice = call(&template, instance, MERGE, (merged.clone(), merged.clone())).await;
        let (instance, why) = refused(twice);
        assert!(matches!(why, CallRefused::StaleHandle { .. }), "{why}");
        // The refused call had taken it, so it is released, and the other clones are stale.
        assert!(merged.is_stale());
        drop((merged, counters));
        let instance = release(instance, &owner).await;
        let (_, live) = returned(call(&template, instance, "live", ()).await);
        assert_eq!((one::<u32>(live), owner.held()), (0, 0));
    });
}

#[test]
fn what_is_not_such_a_handle_is_refused_and_the_owner_lives() {
    run(async {
        let (template, instance, _) = owner().await;
        let (instance, made) = returned(call(&template, instance, NEW, (7u32,)).await);
        let counter: ResourceHandle = one(made);
        // Own where a borrow is asked for, a borrow where own is, and a number.
        let (instance, why) =
            refused(call(&template, instance, ADD, (counter.clone(), 1u32)).await);
        assert!(matches!(why, CallRefused::Argument { .. }), "{why}");
        let (instance, why) =
            refused(call(&template, instance, "consume", (counter.lend(),)).await);
        assert!(matches!(why, CallRefused::Argument { .. }), "{why}");
        let (instance, why) = refused(call(&template, instance, "consume", (1u32,)).await);
        assert!(matches!(why, CallRefused::Argument { .. }), "{why}");
        let (_, sum) = returned(call(&template, instance, ADD, (counter.lend(), 1u32)).await);
        assert_eq!(one::<u32>(sum), 8);
    });
}

#[test]
fn a_handle_of_a_gone_incarnation_or_of_another_owner_is_stale() {
    run(async {
        let template = template(&engine(), COUNTERS, spec());
        let at = |address: &str, generation| InstanceIdentity {
            address: address.into(),
            generation,
        };
        let no_links = || Box::new(airssys_wasm::NoOutbound);
        let old = template.instantiate(at("a", 1), no_links()).await.unwrap();
        let (old, made) = returned(call(&template, old, NEW, (7u32,)).await);
        let counter: ResourceHandle = one(made);
        drop(old);
        assert!(counter.is_stale());

        let new = template.instantiate(at("a", 2), no_links()).await.unwrap();
        let (new, why) = refused(call(&template, new, ADD, (counter.lend(), 1u32)).await);
        assert_eq!(
            why.to_string(),
            "a handle to `counter` is stale: its owner `a` has been restarted (it was incarnation 1, and now is 2)"
        );
        let other = template.instantiate(at("b", 1), no_links()).await.unwrap();
        let (_, why) = refused(call(&template, other, ADD, (counter.lend(), 1u32)).await);
        assert!(
            matches!(
                why,
                CallRefused::StaleHandle {
                    why: StaleHandle::Foreign { .. },
                    ..
                }
            ),
            "{why}"
        );
        drop(counter);
        returned(call(&template, new, "live", ()).await);
    });
}

#[test]
fn an_owner_gives_away_no_more_than_its_limit() {
    run(async {
        let limits = Limits {
            resources_max: 2,
            ..small()
        };
        let template = template(&engine(), COUNTERS, TemplateSpec { limits, ..spec() });
        let instance = start(&template).await;
        let (instance, many) = returned(call(&template, instance, "many", (2u32,)).await);
        let counters: Vec<ResourceHandle> = one(many);
        let (mut instance, why) = refused(call(&template, instance, NEW, (7u32,)).await);
        assert_eq!(why, CallRefused::Resources { resources_max: 2 });
        let owner = instance.resource_owner().unwrap();
        drop(counters);
        let instance = release(instance, &owner).await;
        // What it does in one call against the limit is its own fault.
        let fault = died(call(&template, instance, "many", (3u32,)).await);
        assert_eq!(fault.class, FaultClass::Resources);
    });
}

#[test]
fn a_destructor_that_traps_ends_the_owner() {
    run(async {
        let (template, instance, owner) = owner().await;
        let (instance, made) = returned(call(&template, instance, NEW, (666u32,)).await);
        drop(made);
        let fault = instance.release().await.unwrap_err();
        assert_eq!(fault.class, FaultClass::Unreachable);
        assert_eq!(owner.held(), 0);
        let _ = template;
    });
}

/// Counters written in Rust, for a guest that imports them.
#[derive(Clone)]
struct Peer {
    surface: Arc<Surface>,
    owner: Arc<ResourceOwner>,
    resource: Arc<ResourceName>,
    counters: Arc<Mutex<HashMap<u64, u32>>>,
    answer: Option<Result<Args, LinkFailure>>,
    /// Answers a constructor with a handle it keeps a clone of.
    keeps: Option<ResourceHandle>,
}

impl Peer {
    fn new(user: &InstanceTemplate) -> Self {
        let surface =
            Surface::from_wit("package test:res@0.1.0; interface counters { resource counter; }")
                .unwrap();
        let identity = InstanceIdentity {
            address: "peer".into(),
            generation: 1,
        };
        Self {
            surface: Arc::clone(user.surface()),
            owner: ResourceOwner::new(identity),
            resource: Arc::clone(&surface.exports[0].resources[0].ty),
            counters: Arc::default(),
            answer: None,
            keeps: None,
        }
    }

    fn make(&self, value: u32) -> ResourceHandle {
        let mut counters = self.counters.lock().unwrap();
        let key = u64::try_from(counters.len()).unwrap() + 1;
        counters.insert(key, value);
        self.owner.issue(key, &self.resource)
    }

    fn add(&self, handle: &ResourceHandle, n: u32) -> Result<u32, LinkFailure> {
        let stale = |why: StaleHandle| LinkFailure {
            reason: LinkFailureReason::StaleHandle,
            message: why.to_string(),
        };
        let key = self.owner.key_of(handle).map_err(stale)?;
        let mut counters = self.counters.lock().unwrap();
        let counter = counters.get_mut(&key).unwrap();
        *counter += n;
        Ok(*counter)
    }
}

impl Outbound for Peer {
    fn start(&mut self, import: ImportId, args: Args) {
        let (_, function) = self.surface.import_function(import).unwrap();
        let answer = match function.name.as_str() {
            NEW => match self.keeps.clone() {
                Some(kept) => Ok((kept,).into_args()),
                None => Ok((self.make(one(args)),).into_args()),
            },
            ADD => {
                let (handle, n): (ResourceHandle, u32) = args.into_typed().unwrap();
                assert!(!handle.is_own());
                self.add(&handle, n).map(|sum| (sum,).into_args())
            }
            "[method]counter.try-add" => {
                let (handle, n): (ResourceHandle, u32) = args.into_typed().unwrap();
                self.add(&handle, n)
                    .map(|sum| (Value::from(Ok::<u32, String>(sum)),).into_args())
            }
            "consume" => {
                let handle: ResourceHandle = one(args);
                assert!(handle.is_own());
                let key = self.owner.redeem(&handle).unwrap();
                let value = self.counters.lock().unwrap().remove(&key).unwrap();
                Ok((value,).into_args())
            }
            other => panic!("{other}"),
        };
        self.answer = Some(answer);
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        Poll::Ready(self.answer.take().unwrap())
    }
}

async fn user() -> (InstanceTemplate, Instance, Peer) {
    let template = template(&engine(), USER, linked("test:res/counters"));
    let peer = Peer::new(&template);
    let instance = start_with(&template, peer.clone()).await;
    (template, instance, peer)
}

#[test]
fn a_guest_uses_a_resource_of_another_through_a_proxy() {
    run(async {
        let (template, instance, peer) = user().await;
        let (instance, sum) = returned(call(&template, instance, "once", (7u32,)).await);
        assert_eq!(one::<u32>(sum), 12);
        assert_eq!(peer.owner.next_released(), Some(1));

        let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        let (instance, sum) = returned(call(&template, instance, "add", (2u32,)).await);
        assert_eq!((one::<u32>(sum), peer.owner.held()), (3, 1));
        let (instance, value) = returned(call(&template, instance, "consume", ()).await);
        assert_eq!((one::<u32>(value), peer.owner.held()), (3, 0));

        // What it still holds at its end is let go.
        let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        assert!(!peer.owner.has_released());
        drop(instance);
        assert!(peer.owner.has_released());
    });
}

#[test]
fn handles_pass_through_a_guest_that_does_not_own_them() {
    run(async {
        let (template, instance, peer) = user().await;
        let given = peer.make(40);
        let (instance, sum) = returned(call(&template, instance, "take", (given.clone(),)).await);
        assert_eq!(one::<u32>(sum), 40);
        assert!(given.is_stale());
        let (instance, back) = returned(call(&template, instance, "give", ()).await);
        let back: ResourceHandle = one(back);
        let (_, sum) = returned(call(&template, instance, "peek", (back.lend(),)).await);
        assert_eq!((one::<u32>(sum), peer.owner.held()), (41, 1));
        drop(back);
        assert!(peer.owner.has_released());
    });
}

#[test]
fn a_borrow_ends_with_its_call() {
    run(async {
        for (function, text) in [
            (
                "hoard",
                "borrow handles still remain at the end of the call",
            ),
            ("steal", "borrow"),
        ] {
            let (template, instance, peer) = user().await;
            let given = peer.make(40);
            let fault = died(call(&template, instance, function, (given.lend(),)).await);
            assert_eq!(fault.class, FaultClass::Abi, "{fault}");
            assert!(fault.message.contains(text), "{fault}");
            assert!(!given.is_stale() && !peer.owner.has_released());
            drop(given);
            assert!(peer.owner.has_released());
        }
    });
}

#[test]
fn misused_handles_end_the_guest_and_nobody_else() {
    run(async {
        let fault = |first: &'static str, then: &'static str| async move {
            let (template, instance, peer) = user().await;
            let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
            let (instance, _) = returned(call(&template, instance, first, ()).await);
            let args = match then {
                "add" => (1u32,).into_args(),
                _ => Args::new(),
            };
            let fault = died(call(&template, instance, then, args).await);
            assert_eq!(peer.owner.held(), usize::from(peer.owner.has_released()));
            fault
        };
        let all: [(&str, &str); 4] = [
            ("drop", "drop"),
            ("drop", "add"),
            ("consume", "consume"),
            ("give", "give"),
        ];
        for (first, then) in all {
            let fault: Fault = fault(first, then).await;
            assert_eq!(fault.class, FaultClass::Abi, "{first}, {then}: {fault}");
        }
        for forged in [0u32, 2, 1 << 31, u32::MAX] {
            let (template, instance, _) = user().await;
            let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
            let fault = died(call(&template, instance, "forge", (forged,)).await);
            assert_eq!(fault.class, FaultClass::Abi, "{forged}: {fault}");
        }
    });
}

#[test]
fn an_importer_holds_no_more_than_its_limit() {
    run(async {
        let limits = Limits {
            resources_max: 2,
            ..small()
        };
        let spec = TemplateSpec {
            limits,
            ..linked("test:res/counters")
        };
        let template = template(&engine(), USER, spec);
        let peer = Peer::new(&template);
        let mut instance = start_with(&template, peer.clone()).await;
        for _ in 0..2 {
            (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        }
        let given = peer.make(1);
        let (instance, why) = refused(call(&template, instance, "take", (given,)).await);
        assert_eq!(why, CallRefused::Resources { resources_max: 2 });
        let fault = died(call(&template, instance, "keep", (1u32,)).await);
        assert_eq!(fault.class, FaultClass::Resources);
        // All four: the refused one, the one too many, and what it had.
        assert_eq!(std::iter::from_fn(|| peer.owner.next_released()).count(), 4);
    });
}

#[test]
fn what_finds_no_room_in_the_tables_goes_back() {
    run(async {
        let limits = Limits {
            handles_max: 2,
            ..small()
        };
        let spec = TemplateSpec {
            limits,
            ..linked("test:res/counters")
        };
        let template = template(&engine(), USER, spec);
        let peer = Peer::new(&template);
        let mut instance = start_with(&template, peer.clone()).await;
        for _ in 0..2 {
            (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        }
        // Far more often than there is room, were one to stay.
        for _ in 0..10 {
            for (function, own) in [("take", true), ("peek", false)] {
                let given = peer.make(1);
                let handle = if own { given.clone() } else { given.lend() };
                let (left, why) = refused(call(&template, instance, function, (handle,)).await);
                assert!(matches!(why, CallRefused::Handles { .. }), "{why}");
                assert!(why.to_string().contains("`handles`"), "{why}");
                instance = left;
                // Handed over, it is the owner's to destroy; lent, it is still its holder's.
                assert_eq!(given.is_stale(), own);
                drop(given);
                assert_eq!(std::iter::from_fn(|| peer.owner.next_released()).count(), 1);
            }
        }
        // Where there is room for one of two, neither is taken.
        (instance, _) = returned(call(&template, instance, "drop", ()).await);
        assert_eq!(std::iter::from_fn(|| peer.owner.next_released()).count(), 1);
        for _ in 0..10 {
            let two = (peer.make(1), peer.make(2));
            let (left, why) = refused(call(&template, instance, "take-two", two).await);
            assert!(matches!(why, CallRefused::Handles { .. }), "{why}");
            assert_eq!(std::iter::from_fn(|| peer.owner.next_released()).count(), 2);
            instance = left;
        }
        let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        drop(instance);
        assert_eq!(std::iter::from_fn(|| peer.owner.next_released()).count(), 2);
    });
}

#[test]
fn a_reply_with_a_handle_that_was_given_away_ends_the_caller() {
    run(async {
        let template = template(&engine(), USER, linked("test:res/counters"));
        let mut peer = Peer::new(&template);
        peer.keeps = Some(peer.make(1));
        let instance = start_with(&template, peer.clone()).await;
        let (instance, _) = returned(call(&template, instance, "keep", (1u32,)).await);
        let fault = died(call(&template, instance, "keep", (1u32,)).await);
        assert_eq!(fault.class, FaultClass::LinkFailed, "{fault}");
    });
}
