//! What is asked of a supervisor: children to start, stop, restart, forget and change.
//!
//! Each request is checked against what the supervisor knows, and refused whole or put to the machine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FlagsEdit, Request, StartReply, State, StopReply, Team, flags};
use crate::address::{ActorAddress, ActorId};
use crate::exit::ExitReason;
use crate::passivation::Sweep;
use crate::supervisor::actor::Reply;
use crate::supervisor::child::{PreparedChild, PreparedSupervisor};
use crate::supervisor::machine::{Input, NotStopped};
use crate::supervisor::prepare::{prepare, successor};
use crate::supervisor::record::SupervisorFlags;
use crate::supervisor::spec::{SpecError, Strategy, SupervisorSpec};
use crate::supervisor::tuning::Altered;
use crate::supervisor::{ChildSpec, RestartPolicy, StartError, StopError, StopReport};

impl State {
    pub(super) fn start(&mut self, specs: Vec<ChildSpec>, reply: StartReply) {
        match self.prepare(specs) {
            Ok(ids) => {
                let token = self.token(Reply::Start(reply));
                self.tell(Input::Add(ids, token));
            }
            // The asker may have left; nothing was started.
            Err(why) => drop(reply.send(Err(why))),
        }
    }

    /// Reserves every name and resolves every link, or does nothing.
    pub(super) fn prepare(&mut self, specs: Vec<ChildSpec>) -> Result<Vec<ActorId>, StartError> {
        let supervisor = self.record.address();
        if self.machine.is_ending() {
            return Err(StartError::SupervisorEnded(supervisor.clone()));
        }
        let flags = *self.record.flags.lock();
        SupervisorSpec {
            strategy: flags.strategy,
            auto_shutdown: flags.auto_shutdown,
            ..SupervisorSpec::new(supervisor.clone())
        }
        .check_children(&specs)?;
        for spec in &specs {
            let Some(first) = self.ids_of(&spec.address, None).first().copied() else {
                continue;
            };
            return Err(match self.machine.stopped(first) {
                // It has a spec and no process: OTP does not say that it is being restarted.
                Ok(()) | Err(NotStopped::Restarting) => {
                    StartError::AlreadyPresent(spec.address.clone())
                }
                Err(NotStopped::Running) => StartError::AlreadyStarted(spec.address.clone()),
            });
        }
        let parent = Arc::downgrade(&self.record);
        let prepared = prepare(&self.record.shared, &parent, specs, false)?;
        let mut ids = Vec::with_capacity(prepared.len());
        for child in prepared {
            let (id, policy) = (child.id(), self.policy(&child));
            let backoff = child.spec().backoff;
            self.machine.insert(id, policy, backoff, 0);
            self.record.children.lock().insert(id, child);
            ids.push(id);
        }
        Ok(ids)
    }

    /// The children behind an address: one, or the replicas of one spec. None if `id` is given and is another's.
    pub(super) fn ids_of(&self, address: &ActorAddress, id: Option<ActorId>) -> Vec<ActorId> {
        let shared = &self.record.shared;
        let found = match shared.supervisor(address) {
            Some(record) if id.is_some_and(|id| id != record.id()) => return Vec::new(),
            Some(record) => vec![record.id()],
            None => {
                let Some(slot) = shared.whereis(address) else {
                    return Vec::new();
                };
                if id.is_some_and(|id| id != slot.id()) {
                    return Vec::new();
                }
                // Its own, if it drains its queue itself; what is not a child is left out below.
                let mut ids = vec![slot.id()];
                if let Some(replicas) = slot.replicas() {
                    ids.extend(replicas.iter().map(|replica| replica.id));
                }
                ids
            }
        };
        let children = self.record.children.lock();
        let ours = found.into_iter().filter(|id| children.contains_key(id));
        ours.collect()
    }

    pub(super) fn request(
        &mut self,
        address: ActorAddress,
        id: Option<ActorId>,
        request: Request,
        reply: StopReply,
    ) {
        match self.checked(&address, id, request) {
            Err(why) => drop(reply.send(Err(why))),
            Ok((ids, request)) => {
                if request == Request::Delete {
                    let done = self.delete(&address, &ids);
                    self.act();
                    let _ = reply.send(done.map(|()| StopReport::default()));
                    return;
                }
                if request == Request::Revive {
                    self.forgive(&ids);
                }
                let token = self.token(Reply::Stop(reply, address));
                let children = ids;
                self.tell(match request {
                    Request::Terminate | Request::Stop => Input::Terminate {
                        children,
                        forget: request == Request::Stop,
                        token,
                    },
                    Request::Revive => Input::Revive(children, token),
                    Request::Restart | Request::Delete => Input::Renew(children, token),
                });
            }
        }
    }

    /// Whoever asks for a child by name takes it out of quarantine.
    fn forgive(&mut self, ids: &[ActorId]) {
        let children: Vec<_> = ids.iter().filter_map(|id| self.child(*id)).collect();
        for child in children {
            child.standing().blamed.store(0, Ordering::Relaxed);
            let policy = self.policy(&child);
            self.machine.set_policy(child.id(), policy);
        }
    }

    /// Whom a request is about, and what it comes down to.
    pub(super) fn checked(
        &self,
        address: &ActorAddress,
        id: Option<ActorId>,
        request: Request,
    ) -> Result<(Vec<ActorId>, Request), StopError> {
        let supervisor = self.record.address().clone();
        let simple = self.record.flags.lock().strategy == Strategy::SimpleOneForOne;
        if simple && matches!(request, Request::Delete | Request::Revive) {
            return Err(StopError::Simple(supervisor));
        }
        let ids = self.ids_of(address, id);
        let Some(child) = ids.first().and_then(|id| self.child(*id)) else {
            return Err(StopError::NotFound {
                supervisor,
                child: address.clone(),
            });
        };
        match request {
            Request::Terminate | Request::Stop => {}
            Request::Delete | Request::Revive => {
                for id in &ids {
                    self.must_be_stopped(address, *id)?;
                }
            }
            Request::Restart => {
                // Of a team only some may be down: those that are up are stopped first.
                if ids.iter().all(|id| self.machine.stopped(*id).is_ok()) {
                    return Ok((ids, Request::Revive));
                }
                if child.spec().restart == RestartPolicy::Temporary {
                    return Err(StopError::Temporary(address.clone()));
                }
            }
        }
        Ok((ids, request))
    }

    pub(super) fn must_be_stopped(
        &self,
        address: &ActorAddress,
        id: ActorId,
    ) -> Result<(), StopError> {
        self.machine.stopped(id).map_err(|why| match why {
            NotStopped::Running => StopError::Running(address.clone()),
            NotStopped::Restarting => StopError::Restarting(address.clone()),
        })
    }

    pub(super) fn delete(
        &mut self,
        address: &ActorAddress,
        ids: &[ActorId],
    ) -> Result<(), StopError> {
        for id in ids {
            self.must_be_stopped(address, *id)?;
        }
        for id in ids {
            // Each has just been found to be stopped.
            let _ = self.machine.delete(*id);
        }
        Ok(())
    }

    /// Whether it can have this strategy from now on.
    fn can_have(&self, strategy: Strategy) -> Result<(), StartError> {
        let address = || self.record.address().clone();
        if self.machine.is_ending() {
            return Err(StartError::SupervisorEnded(address()));
        }
        let before = self.record.flags.lock().strategy;
        let simple = |strategy| strategy == Strategy::SimpleOneForOne;
        if simple(before) != simple(strategy) {
            return Err(SpecError::SimpleChange(address()).into());
        }
        Ok(())
    }

    /// Takes over other flags and specs: what runs keeps running, what is new is not started, and what is not
    /// mentioned is kept. All of it, or nothing.
    pub(super) fn change(&mut self, spec: SupervisorSpec) -> Result<(), StartError> {
        spec.check()?;
        self.can_have(spec.strategy)?;
        let (mut there, mut new) = (Vec::new(), Vec::new());
        for child in &spec.children {
            let ids = self.ids_of(&child.address, None);
            if ids.is_empty() {
                new.push(child.clone());
            }
            there.extend(ids.into_iter().map(|id| (id, child)));
        }
        // Before any name is taken.
        self.all_changed(&there)?;
        let parent = Arc::downgrade(&self.record);
        let new = prepare(&self.record.shared, &parent, new, true)?;
        let adopted = self.adopt(&there, || {
            *self.record.flags.lock() = SupervisorFlags::of(&spec);
            self.record.first.lock().clone_from(&spec.children);
        });
        let adopted = adopted.inspect_err(|_| {
            for child in &new {
                child.retire(&ExitReason::Shutdown);
            }
        })?;
        self.machine.set_flags(flags(&self.record));
        adopted.iter().for_each(|child| self.adopted(child));
        self.add_stopped(new);
        self.reorder();
        Ok(())
    }

    /// Has the flags that `edit` makes of those it has; its children stay what they are.
    pub(super) fn reflag(
        &mut self,
        edit: FlagsEdit,
    ) -> Result<Altered<SupervisorFlags>, StartError> {
        // Whoever retunes a child has them locked, and looks at the flags.
        let children = self.record.children.lock();
        let before = *self.record.flags.lock();
        let now = edit(before);
        self.can_have(now.strategy)?;
        let spec = SupervisorSpec {
            children: self.record.first.lock().clone(),
            ..now.spec(self.record.address().clone())
        };
        spec.check()?;
        *self.record.flags.lock() = now;
        let ids: Vec<_> = children.keys().copied().collect();
        drop(children);
        self.machine.set_flags(flags(&self.record));
        // Who is in quarantine may be another.
        ids.into_iter().for_each(|id| self.respecced(id));
        Ok(Altered { before, now })
    }

    /// Starts those that `order` names in that order from now on; where `only_if` is given, if they have that one by now.
    pub(super) fn reorder_first(
        &mut self,
        order: &[ActorAddress],
        only_if: Option<&[ActorAddress]>,
    ) -> Result<Altered<Vec<ActorAddress>>, StartError> {
        let strategy = self.record.flags.lock().strategy;
        self.can_have(strategy)?;
        let altered = self.record.order_first(order, only_if);
        self.reorder();
        Ok(altered)
    }

    /// Starts with one child more, which is not started yet, before the first of those that are `later`. Says whether it did
    /// not start with it before.
    pub(super) fn add_first(
        &mut self,
        child: ChildSpec,
        later: &[ActorAddress],
    ) -> Result<bool, StartError> {
        let insert = |first: &mut Vec<ChildSpec>| {
            if first.iter().any(|one| one.address == child.address) {
                return false;
            }
            let at = first.iter().position(|one| later.contains(&one.address));
            first.insert(at.unwrap_or(first.len()), child.clone());
            true
        };
        let flags = *self.record.flags.lock();
        self.can_have(flags.strategy)?;
        let mut first = self.record.first.lock().clone();
        if !insert(&mut first) {
            return Ok(false);
        }
        let spec = SupervisorSpec {
            children: first,
            ..flags.spec(self.record.address().clone())
        };
        spec.check()?;
        // One that was added later stays with it from now on.
        let ids = self.ids_of(&child.address, None);
        let there: Vec<_> = ids.iter().map(|id| (*id, &child)).collect();
        let new = if there.is_empty() {
            let parent = Arc::downgrade(&self.record);
            prepare(&self.record.shared, &parent, vec![child.clone()], true)?
        } else {
            Vec::new()
        };
        let adopted = self.adopt(&there, || {
            self.record.edit_first(|first| {
                insert(first);
            });
        })?;
        adopted.iter().for_each(|child| self.adopted(child));
        self.add_stopped(new);
        self.reorder();
        Ok(true)
    }

    /// Children that are to be there and not to be started.
    fn add_stopped(&mut self, new: Vec<PreparedChild>) {
        for child in new {
            let (id, policy) = (child.id(), self.policy(&child));
            let backoff = child.spec().backoff;
            self.machine.insert(id, policy, backoff, 0);
            child.suspend(&ExitReason::Shutdown);
            self.record.children.lock().insert(id, child);
        }
    }

    /// Those it starts with are in their order, and the others after them.
    fn reorder(&mut self) {
        let first = self.record.first.lock().clone();
        let ids = first
            .iter()
            .flat_map(|spec| self.ids_of(&spec.address, None));
        let order: Vec<_> = ids.collect();
        self.machine.reorder(&order);
        // What is not named is there until this supervisor ends.
        let named: HashSet<_> = first.iter().map(|child| &child.address).collect();
        let children = self.record.children.lock();
        for (place, id) in (1..).zip(self.machine.in_order()) {
            if let Some(child) = children.get(&id) {
                let is_first = named.contains(&child.shared_address());
                child.standing().is_first.store(is_first, Ordering::Relaxed);
                child.standing().place.store(place, Ordering::Relaxed);
            }
        }
    }

    /// These children by these specs.
    fn all_changed(
        &self,
        specs: &[(ActorId, &ChildSpec)],
    ) -> Result<Vec<PreparedChild>, StartError> {
        let changed = specs.iter().map(|(id, spec)| self.changed(*id, spec));
        changed.collect()
    }

    /// These children are what these specs say, whichever revision of them runs by then; `also` is done at the same moment.
    fn adopt(
        &self,
        specs: &[(ActorId, &ChildSpec)],
        also: impl Fn(),
    ) -> Result<Vec<Altered<PreparedChild>>, StartError> {
        loop {
            let changed = self.all_changed(specs)?;
            if let Some(adopted) = self.record.adopt(&changed, &also) {
                return Ok(adopted);
            }
        }
    }

    /// A child is what its spec says now.
    fn adopted(&mut self, child: &Altered<PreparedChild>) {
        self.respecced(child.now.id());
        let before = child.before.spec();
        match &child.now {
            PreparedChild::Supervisor(one) => one.record.specced(before, &one.spec),
            PreparedChild::Actor(one) => {
                let after = |spec: &ChildSpec| spec.passivation().map(|asked| asked.after);
                let idle = after(&one.spec);
                if idle != after(before) {
                    Sweep::change(&one.slot, idle);
                }
            }
        }
    }

    /// Before anything starts: its children are those of this spec, whose flags it has, and no others.
    pub(super) fn become_spec(&mut self, spec: &SupervisorSpec) -> Result<(), StartError> {
        self.machine.set_flags(flags(&self.record));
        let named: HashMap<_, _> = spec
            .children
            .iter()
            .map(|one| (&one.address, one))
            .collect();
        let children: Vec<_> = self.record.children.lock().values().cloned().collect();
        let mut kept = Vec::with_capacity(children.len());
        for child in children {
            match named.get(&child.shared_address()) {
                Some(spec) if self.is_alike(&child, spec) => kept.push((child.id(), *spec)),
                _ => self.remove(child.id(), &ExitReason::Shutdown),
            }
        }
        self.complete_first()?;
        for child in self.adopt(&kept, || {})? {
            let standing = child.now.standing();
            standing.is_first.store(true, Ordering::Relaxed);
            self.adopted(&child);
        }
        self.record.tune_as_first();
        Ok(())
    }

    /// Whether a child can become what this spec says: one of the same kind, with the same functions.
    fn is_alike(&self, child: &PreparedChild, spec: &ChildSpec) -> bool {
        let PreparedChild::Actor(actor) = child else {
            return spec.as_supervisor().is_some();
        };
        let same_kind =
            std::mem::discriminant(&spec.start) == std::mem::discriminant(&actor.spec.start);
        let alone = actor.slot.front().is_none() && actor.slot.replicas().is_none();
        let replicas = if alone {
            1
        } else {
            let address = actor.slot.front().unwrap_or(&actor.slot).address();
            Team::of(self.record.actors_at(address)).len()
        };
        let surface = actor.slot.surface();
        let same_surface = spec
            .surface()
            .is_ok_and(|other| **other == *surface || other.numbered_after(&surface) == *surface);
        same_kind && replicas == spec.replicas && same_surface
    }

    /// The same child by another spec.
    fn changed(&self, id: ActorId, spec: &ChildSpec) -> Result<PreparedChild, StartError> {
        let other = || SpecError::OtherSurface(spec.address.clone());
        match self.child(id) {
            Some(PreparedChild::Actor(actor)) => {
                let again = successor(&actor, spec.clone())?;
                if !self.is_alike(&PreparedChild::Actor(actor), spec) {
                    return Err(other().into());
                }
                Ok(PreparedChild::Actor(Arc::new(again)))
            }
            Some(PreparedChild::Supervisor(one)) if spec.as_supervisor().is_some() => {
                let again = PreparedSupervisor {
                    spec: spec.clone(),
                    record: Arc::clone(&one.record),
                    standing: Arc::clone(&one.standing),
                };
                Ok(PreparedChild::Supervisor(Arc::new(again)))
            }
            _ => Err(other().into()),
        }
    }
}
