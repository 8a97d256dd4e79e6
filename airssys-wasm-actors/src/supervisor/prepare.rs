//! What happens to child specs before anything starts: names, slots, links.
//!
//! Owns the step from [`ChildSpec`]s to [`PreparedChild`]ren, whole or not at all and whatever supervisors are among
//! them: every name of the tree is reserved and every link resolved, or nothing is kept. A spec with replicas becomes
//! one child for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use airssys_wasm::Surface;
use parking_lot::Mutex;

use super::child::{PreparedActor, PreparedChild, PreparedSupervisor, Scaling, Standing};
use super::record::Record;
use super::tuning::Tuning;
use crate::address::ActorAddress;
use crate::component::Hooks;
use crate::exit::ExitReason;
use crate::link::{Found, LinkTargets};
use crate::passivation::Sweep;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::{ChildSpec, REPLICAS_MAX, Start, StartError};
use crate::upgrade::{Ahead, Presumed};

/// The children of a tree while their names are not registered.
struct Tree<'a> {
    shared: &'a Arc<Shared>,
    /// What is registered.
    named: Vec<Arc<Slot>>,
    supervisors: Vec<Arc<Record>>,
}

/// A child whose links are not resolved.
enum Made {
    Actor(Vec<Arc<Slot>>),
    Supervisor(Arc<Record>, Vec<(ChildSpec, Made)>),
}

/// Reserves every name and resolves every link of `specs`, which are to be children of `parent`.
pub(crate) fn prepare(
    shared: &Arc<Shared>,
    parent: &Weak<Record>,
    specs: Vec<ChildSpec>,
    is_first: bool,
) -> Result<Vec<PreparedChild>, StartError> {
    let mut tree = Tree {
        shared,
        named: Vec::with_capacity(specs.len()),
        supervisors: Vec::new(),
    };
    let made = tree.make_all(parent, specs)?;
    let Tree {
        named, supervisors, ..
    } = tree;
    shared
        .register(&named, &supervisors)
        .map_err(StartError::AddressTaken)?;
    link_all(shared, made, is_first).inspect_err(|_| {
        for slot in &named {
            slot.retire(&ExitReason::Shutdown);
        }
        for record in &supervisors {
            record.retire(&ExitReason::Shutdown);
        }
    })
}

/// The same actor by a spec with the same functions, its links resolved anew.
pub(crate) fn respec(actor: &PreparedActor, spec: ChildSpec) -> Result<PreparedActor, StartError> {
    let slot = Arc::clone(&actor.slot);
    let find = found(slot.shared());
    let targets = LinkTargets::resolve(slot.address(), &slot.surface(), &spec, find)?;
    Ok(PreparedActor {
        hooks: hooks(&spec, &slot.surface()),
        targets,
        tuned_from: Tuning::of(&actor.spec),
        spec: ChildSpec {
            address: slot.address().clone(),
            ..spec
        },
        follows: slot.revision(),
        slot,
        standing: Arc::clone(&actor.standing),
        // It is the same component.
        kept: actor.kept.clone(),
    })
}

/// The same actor as another revision of its component, whose functions are numbered after those it has now.
pub(crate) fn successor(
    actor: &PreparedActor,
    spec: ChildSpec,
) -> Result<PreparedActor, StartError> {
    successor_after(actor, spec, &Ahead::NOTHING).map(|(successor, _)| successor)
}

/// The same with links that fit either what there is, or what there will be by the time that it takes its place; and what
/// it is that they fit in that case.
pub(crate) fn successor_after(
    actor: &PreparedActor,
    mut spec: ChildSpec,
    ahead: &Ahead,
) -> Result<(PreparedActor, Presumed), StartError> {
    let slot = Arc::clone(&actor.slot);
    if let Start::Component(start) = &mut spec.start {
        start.template = start.template.numbered_after(&slot.surface());
    }
    let surface = spec.surface().map_err(|why| StartError::Surface {
        address: spec.address.clone(),
        why: Arc::clone(why),
    })?;
    passivation(&spec, surface)?;
    let shared = slot.shared();
    let mut presumed = Presumed::default();
    let mut targets = LinkTargets::resolve(slot.address(), surface, &spec, found(shared));
    if targets.is_err() && ahead.concerns(&spec) {
        presumed = Presumed::of(shared, &spec, ahead);
        let find = |address: &ActorAddress| {
            let slot = shared.whereis(address)?;
            let surface = presumed.surface(&slot);
            Some((slot, surface))
        };
        targets = LinkTargets::resolve(slot.address(), surface, &spec, find);
    }
    let successor = PreparedActor {
        hooks: hooks(&spec, surface),
        targets: targets?,
        tuned_from: Tuning::of(&actor.spec),
        spec: ChildSpec {
            address: slot.address().clone(),
            ..spec
        },
        follows: slot.revision(),
        slot,
        standing: Arc::clone(&actor.standing),
        kept: None,
    };
    Ok((successor, presumed))
}

/// Whether the links of what is to be started fit what there is now.
pub(crate) fn links_fit(shared: &Shared, spec: &ChildSpec) -> bool {
    spec.surface().is_ok_and(|surface| {
        LinkTargets::resolve(&spec.address, surface, spec, found(shared)).is_ok()
    })
}

/// Who is behind an address now.
pub(super) fn found(shared: &Shared) -> impl Fn(&ActorAddress) -> Option<Found> + '_ {
    |address| {
        let slot = shared.whereis(address)?;
        let surface = slot.surface();
        Some((slot, surface))
    }
}

/// What an actor was before it became `now`, to take that back, and nothing that came later. Its links are as they were,
/// and so is how it is supervised, where that has not been changed since; its functions are numbered after those that it has now,
/// so that nobody's number comes to mean another one, and have the numbers that they had: an instance that was kept knows those.
pub(crate) fn predecessor(now: &PreparedActor, before: &PreparedActor) -> PreparedActor {
    let mut spec = before.spec.clone();
    let mut hooks = before.hooks;
    if let Start::Component(start) = &mut spec.start {
        start.template = start.template.numbered_after(&now.slot.surface());
        hooks = Hooks::of(start.template.surface());
    }
    PreparedActor {
        spec,
        slot: Arc::clone(&before.slot),
        targets: Arc::clone(&before.targets),
        hooks,
        standing: Arc::clone(&before.standing),
        follows: now.follows + 1,
        tuned_from: Tuning::of(&now.spec),
        kept: None,
    }
}

/// The hooks of what the spec says. Only components have some.
fn hooks(spec: &ChildSpec, surface: &Surface) -> Hooks {
    match spec.start {
        Start::Component(_) => Hooks::of(surface),
        Start::Native(_) | Start::Supervisor(_) => Hooks::default(),
    }
}

impl Tree<'_> {
    fn make_all(
        &mut self,
        parent: &Weak<Record>,
        specs: Vec<ChildSpec>,
    ) -> Result<Vec<(ChildSpec, Made)>, StartError> {
        let mut all = Vec::with_capacity(specs.len());
        for spec in specs {
            let made = self.make(parent, &spec)?;
            all.push((spec, made));
        }
        Ok(all)
    }

    fn make(&mut self, parent: &Weak<Record>, spec: &ChildSpec) -> Result<Made, StartError> {
        if let Some(supervisor) = spec.as_supervisor() {
            let record = Record::new(supervisor, self.shared, parent.clone(), spec.restart);
            let children = supervisor.children.clone();
            let children = self.make_all(&Arc::downgrade(&record), children)?;
            self.supervisors.push(Arc::clone(&record));
            return Ok(Made::Supervisor(record, children));
        }
        let surface = spec.surface().map_err(|why| StartError::Surface {
            address: spec.address.clone(),
            why: Arc::clone(why),
        })?;
        passivation(spec, surface)?;
        let slots = slots(self.shared, spec, surface)?;
        self.named.extend(slots.front);
        self.named.extend(slots.run.iter().cloned());
        Ok(Made::Actor(slots.run))
    }
}

/// Whether it can be brought back, if it is to give up its instance.
fn passivation(spec: &ChildSpec, surface: &Surface) -> Result<(), StartError> {
    let Some(asked) = spec.passivation() else {
        return Ok(());
    };
    let address = || spec.address.clone();
    if spec.replicas > 1 {
        return Err(StartError::PassiveReplicas(address()));
    }
    let hooks = Hooks::of(surface);
    if hooks.has_messages() {
        return Err(StartError::PassiveMessages(address()));
    }
    if !asked.stateless && !hooks.has_state() {
        return Err(StartError::Passivation(address()));
    }
    Ok(())
}

struct Slots {
    /// If it is not among those that run.
    front: Option<Arc<Slot>>,
    run: Vec<Arc<Slot>>,
}

fn slots(
    shared: &Arc<Shared>,
    spec: &ChildSpec,
    surface: &Arc<Surface>,
) -> Result<Slots, StartError> {
    let rests = matches!(spec.start, Start::Component(_));
    let address = spec.address.clone();
    if spec.replicas == 1 {
        let slot = Slot::new(shared, address, Arc::clone(surface), spec.mailbox, rests);
        return Ok(Slots {
            front: None,
            run: vec![slot],
        });
    }
    if spec.replicas == 0 || spec.replicas > REPLICAS_MAX {
        return Err(StartError::Replicas {
            address,
            replicas: spec.replicas,
            max: REPLICAS_MAX,
        });
    }
    let front = Slot::vacant(shared, address, Arc::clone(surface), spec.mailbox);
    let run = replicas_of(&front, 0..spec.replicas, rests)?;
    front.join(&run);
    Ok(Slots {
        front: Some(front),
        run,
    })
}

/// The slots of the replicas with these numbers.
fn replicas_of(
    front: &Arc<Slot>,
    numbers: impl IntoIterator<Item = u32>,
    rests: bool,
) -> Result<Vec<Arc<Slot>>, StartError> {
    let mut slots = Vec::new();
    for number in numbers {
        let address = front.address().join(&number.to_string())?;
        slots.push(front.replica(address, rests));
    }
    Ok(slots)
}

/// More replicas of what `like` is, with these numbers: named, linked and in its team, and not begun.
pub(crate) fn more_replicas(
    like: &PreparedActor,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<Vec<Arc<PreparedActor>>, StartError> {
    let front = like.slot.front().unwrap_or(&like.slot);
    let rests = matches!(like.spec.start, Start::Component(_));
    let slots = replicas_of(front, numbers, rests)?;
    // None of them takes a message before all of them are up.
    slots.iter().for_each(|slot| slot.lane().hold(true));
    let shared = front.shared();
    shared
        .register(&slots, &[])
        .map_err(StartError::AddressTaken)?;
    let linked = slots.iter().map(|slot| {
        let find = found(shared);
        let targets = LinkTargets::resolve(slot.address(), &slot.surface(), &like.spec, find)?;
        Ok(Arc::new(PreparedActor {
            hooks: like.hooks,
            follows: slot.revision(),
            slot: Arc::clone(slot),
            targets,
            tuned_from: Tuning::of(&like.spec),
            spec: ChildSpec {
                address: slot.address().clone(),
                ..like.spec.clone()
            },
            standing: Arc::new(Standing {
                scaling: Mutex::new(Scaling::Joining),
                ..Standing::new(like.standing.is_first())
            }),
            kept: None,
        }))
    });
    let linked: Result<Vec<_>, StartError> = linked.collect();
    match linked {
        Ok(_) => front.join(&slots),
        Err(_) => slots
            .iter()
            .for_each(|slot| slot.retire(&ExitReason::Shutdown)),
    }
    linked
}

fn link_all(
    shared: &Arc<Shared>,
    made: Vec<(ChildSpec, Made)>,
    is_first: bool,
) -> Result<Vec<PreparedChild>, StartError> {
    let mut prepared = Vec::with_capacity(made.len());
    let standing = || Arc::new(Standing::new(is_first));
    for (spec, made) in made {
        match made {
            Made::Supervisor(record, children) => {
                let children = link_all(shared, children, true)?;
                let children: BTreeMap<_, _> = children
                    .into_iter()
                    .map(|child| (child.id(), child))
                    .collect();
                *record.children.lock() = children;
                prepared.push(PreparedChild::Supervisor(Arc::new(PreparedSupervisor {
                    spec,
                    record,
                    standing: standing(),
                })));
            }
            Made::Actor(slots) => {
                for slot in slots {
                    let find = found(shared);
                    let targets =
                        LinkTargets::resolve(slot.address(), &slot.surface(), &spec, find)?;
                    let spec = ChildSpec {
                        address: slot.address().clone(),
                        ..spec.clone()
                    };
                    if let Some(passivation) = spec.passivation() {
                        Sweep::watch(&slot, passivation.after);
                    }
                    prepared.push(PreparedChild::Actor(Arc::new(PreparedActor {
                        hooks: hooks(&spec, &slot.surface()),
                        follows: slot.revision(),
                        slot,
                        targets,
                        tuned_from: Tuning::of(&spec),
                        spec,
                        standing: standing(),
                        kept: None,
                    })));
                }
            }
        }
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::mailbox::MailboxConfig;
    use crate::native::Actor;
    use crate::supervisor::{RestartPolicy, SupervisorMessage, SupervisorSpec};
    use crate::upgrade::NotReplaced;

    struct Idle;

    impl Actor for Idle {
        type Error = std::convert::Infallible;

        fn surface() -> Result<Surface, airssys_wasm::WitError> {
            Surface::from_wit("package test:t; interface idle { f: func(); }")
        }

        async fn handle_message(
            &mut self,
            _message: &mut crate::native::Message,
            _ctx: &mut crate::native::Context,
        ) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    fn idle() -> ChildSpec {
        ChildSpec::native("idle".parse().unwrap(), || Idle)
    }

    /// A supervisor's record with one child.
    fn record() -> (Arc<Record>, Arc<PreparedActor>) {
        let shared = Arc::clone(crate::slot::testing::slot(MailboxConfig::default()).shared());
        let above = SupervisorSpec::new("above".parse().unwrap());
        let record = Record::new(&above, &shared, Weak::new(), RestartPolicy::default());
        let made = prepare(&shared, &Arc::downgrade(&record), vec![idle()], true);
        let [PreparedChild::Actor(now)] = &made.unwrap()[..] else {
            panic!("one child is one actor");
        };
        let child = PreparedChild::Actor(Arc::clone(now));
        record.children.lock().insert(child.id(), child);
        (record, Arc::clone(now))
    }

    #[test]
    fn of_two_successors_of_one_the_second_is_refused_from_the_first_moment_on() {
        let (record, now) = record();
        let [one, two] = [(), ()].map(|()| Arc::new(successor(&now, idle()).unwrap()));
        record.respec(&one).unwrap();
        let refused = record.respec(&two).unwrap_err();
        assert!(matches!(refused, NotReplaced::Superseded), "{refused}");
        let back = Arc::new(predecessor(&one, &now));
        record.respec(&back).unwrap();
        let refused = record.respec(&back).unwrap_err();
        assert!(matches!(refused, NotReplaced::Superseded), "{refused}");
    }

    /// Where callers resolve functions is what the newer one offers: what is older would have other numbers at its next start.
    #[test]
    fn a_change_that_was_prepared_for_an_older_revision_is_not_adopted() {
        let (record, now) = record();
        let changed = |spec| {
            let child = successor(&now, spec).unwrap();
            [PreparedChild::Actor(Arc::new(child))]
        };
        let restart = |record: &Record| record.child(now.slot.id()).unwrap().spec().restart;
        let stale = changed(idle().restart_temporary());
        let newer = Arc::new(successor(&now, idle()).unwrap());
        record.respec(&newer).unwrap();
        let adopted = record.adopt(&stale, || panic!("nothing else is changed then"));
        assert!(adopted.is_none());
        assert_eq!(restart(&record), RestartPolicy::Permanent);
        let mut also = false;
        let adopted = record.adopt(&changed(idle().restart_temporary()), || also = true);
        let before = adopted.unwrap().pop().unwrap().before;
        assert_eq!(before.spec().restart, RestartPolicy::Permanent);
        assert_eq!((also, restart(&record)), (true, RestartPolicy::Temporary));
    }

    /// A supervisor that counts how often it is told of children, until it is told of flags.
    struct Ear;

    impl ractor::Actor for Ear {
        type Msg = SupervisorMessage;
        type State = (u32, mpsc::Sender<u32>);
        type Arguments = mpsc::Sender<u32>;

        async fn pre_start(
            &self,
            _myself: ractor::ActorRef<SupervisorMessage>,
            told: Self::Arguments,
        ) -> Result<Self::State, ractor::ActorProcessingErr> {
            Ok((0, told))
        }

        async fn handle(
            &self,
            _myself: ractor::ActorRef<SupervisorMessage>,
            message: SupervisorMessage,
            (count, told): &mut Self::State,
        ) -> Result<(), ractor::ActorProcessingErr> {
            match message {
                SupervisorMessage::Flags => told.send(std::mem::take(count)).await?,
                _ => *count += 1,
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_supervisor_is_told_once_of_all_that_is_retuned_before_it_looks() {
        let (record, child) = record();
        let (told, mut heard) = mpsc::channel(1);
        let spawned = <Ear as ractor::Actor>::spawn(None, Ear, told).await;
        let (ear, joined) = spawned.unwrap();
        assert!(record.serve(&ear));
        for round in 1..=2 {
            for n in 1..=1_000 {
                let time = Duration::from_secs(round * 10_000 + n);
                let tuning = Tuning::of(&idle().shutdown_graceful(time));
                let tuned = record.retune(child.slot.address(), |_| tuning);
                assert_eq!(tuned.unwrap().unwrap().now, tuning);
            }
            assert!(record.tell(SupervisorMessage::Flags));
            assert_eq!(heard.recv().await, Some(1));
            assert_eq!(record.take_respecced(), BTreeSet::from([child.slot.id()]));
        }
        ear.stop(None);
        joined.await.unwrap();
    }

    /// Whoever retunes one while its supervisor is made of another spec has changed what that says.
    #[test]
    fn what_is_retuned_while_a_supervisor_becomes_another_holds() {
        let (record, now) = record();
        let before = SupervisorSpec::new(record.address().clone());
        let after = before.clone().with(idle());
        let [before, after] = [before, after].map(ChildSpec::supervisor);
        record.specced(&before, &after);
        let spec = record.become_next().unwrap();
        let changed = successor(&now, spec.children[0].clone()).unwrap();
        let changed = [PreparedChild::Actor(Arc::new(changed))];
        let tuning = Tuning::of(&idle().restart_temporary());
        record.retune(now.slot.address(), |_| tuning).unwrap();
        record.adopt(&changed, || {}).unwrap();
        record.tune_as_first();
        let restart = |spec: &ChildSpec| spec.restart;
        let child = record.child(now.slot.id()).unwrap();
        assert_eq!(restart(child.spec()), RestartPolicy::Temporary);
        // One that could not be made of it is told so at its next start.
        record.leave_next(spec);
        let again = record.become_next().unwrap();
        assert_eq!(restart(&again.children[0]), RestartPolicy::Temporary);
    }

    #[test]
    fn what_is_retuned_while_more_replicas_are_made_holds_for_them_too() {
        let (record, like) = record();
        let more = more_replicas(&like, [0, 1]).unwrap();
        let tuning = Tuning::of(&idle().restart_temporary());
        let tuned = record.retune(like.slot.address(), |_| tuning).unwrap();
        assert!(tuned.is_some());
        let added = record.add_like(&like, more);
        assert_eq!(added.len(), 2);
        for one in added {
            assert_eq!(one.spec().restart, RestartPolicy::Temporary);
            let known = record.child(one.id()).unwrap();
            assert_eq!(known.spec().restart, RestartPolicy::Temporary);
        }
    }
}
