//! Who is told when an incarnation ends: its monitors and its links.
//!
//! Owns the [`Bonds`] of a slot: who watches the incarnation that runs, whom that incarnation watches, and whom
//! it is linked to. They lie behind the slot's life lock, so that a monitor comes either before an end or after
//! it, and are made at the first use. The locks of two slots are never held together.
//!
//! An end is told once its supervisor has decided: when the successor begins, or when the registration ends.
//! By then the name is free, or leads to the next incarnation (`docs/design/0005-signals.md`). Nothing is sent here
//! under a lock. A link with a name that replicas share is one with all of them: it lies with the name, and an exit is passed
//! on to each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Life, Slot};
use crate::address::{ActorAddress, ActorId};
use crate::envelope::Envelope;
use crate::exit::ExitReason;
use crate::signal::{Down, Exit, MonitorId, Posted, Signal, SignalPermit, SignalRefused};

/// One incarnation of one actor.
type Incarnation = (ActorId, u64);

/// The bonds of one slot.
#[derive(Default)]
pub(super) struct Bonds {
    /// Whether exits of linked actors come as signals, and do not end this one.
    traps_exits: bool,
    /// Who watches the incarnation that runs.
    watchers: BTreeMap<MonitorId, Watcher>,
    /// Whom it watches, until the end is received; `None` for a name nobody had.
    watching: HashMap<MonitorId, Option<Arc<Slot>>>,
    links: HashMap<Incarnation, Bond>,
    /// The exit that ends this incarnation, if it is ended by a link.
    exit: Option<ExitReason>,
    /// The newest end that nobody has been told of yet.
    departed: Option<Departed>,
}

/// What a monitor does where no incarnation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Tells so at once.
    Runs,
    /// Waits for the next one, until the registration ends.
    Registered,
}

/// One side of a link.
struct Bond {
    peer: Arc<Slot>,
    /// Room for the exit signal; with the signal once that is in the mailbox.
    permit: Option<SignalPermit>,
}

/// Who is told of an end.
pub(crate) enum Watcher {
    /// An actor, by the permit it took.
    Actor(SignalPermit),
    /// A task of the host.
    Host(oneshot::Sender<Down>),
}

/// An incarnation that has ended, and who is to be told.
pub(super) struct Departed {
    incarnation: u64,
    reason: ExitReason,
    watchers: BTreeMap<MonitorId, Watcher>,
    /// With the incarnation that was linked.
    peers: Vec<(Arc<Slot>, u64)>,
}

impl Life {
    fn bonds(&mut self) -> &mut Bonds {
        self.bonds.get_or_insert_default()
    }

    /// Takes the bonds of an incarnation that has ended out of the way of the next. Returns the reason to
    /// report, and whom it watched.
    pub(super) fn part(
        &mut self,
        incarnation: u64,
        reason: ExitReason,
    ) -> (ExitReason, HashMap<MonitorId, Option<Arc<Slot>>>) {
        let (reason, watching) = self.hand_on(reason);
        let Some(bonds) = &mut self.bonds else {
            return (reason, watching);
        };
        let links = std::mem::take(&mut bonds.links);
        let departed = Departed {
            incarnation,
            reason: reason.clone(),
            watchers: std::mem::take(&mut bonds.watchers),
            peers: links
                .into_iter()
                .map(|((_, incarnation), bond)| (bond.peer, incarnation))
                .collect(),
        };
        bonds.departed = Some(departed);
        (reason, watching)
    }

    /// The incarnation has ended, and others go on under its name: who monitors it or is linked to it is so with them.
    /// Returns the reason to report, and whom it watched.
    pub(super) fn hand_on(
        &mut self,
        reason: ExitReason,
    ) -> (ExitReason, HashMap<MonitorId, Option<Arc<Slot>>>) {
        let Some(bonds) = &mut self.bonds else {
            return (reason, HashMap::new());
        };
        let reason = match (reason, bonds.exit.take()) {
            // The kill was a link's.
            (ExitReason::Killed, Some(exit)) => exit,
            (reason, _) => reason,
        };
        bonds.traps_exits = false;
        (reason, std::mem::take(&mut bonds.watching))
    }

    /// Whether somebody watches, or is linked to, an incarnation whose end is not known of yet.
    pub(super) fn is_awaited(&self) -> bool {
        let awaited = |bonds: &Bonds| !bonds.watchers.is_empty() || !bonds.links.is_empty();
        self.bonds.as_deref().is_some_and(awaited)
    }

    /// The end to tell of, if there is one.
    pub(super) fn departed(&mut self) -> Option<Departed> {
        self.bonds.as_mut()?.departed.take()
    }
}

impl Slot {
    /// Watches the incarnation of `target` that runs, for the incarnation of this actor that runs.
    pub(crate) fn monitor(
        self: &Arc<Self>,
        target: &Arc<Self>,
    ) -> Result<MonitorId, SignalRefused> {
        self.monitor_when(target, When::Runs)
    }

    /// The same, or the next incarnation where none runs and the registration goes on.
    pub(crate) fn monitor_registered(
        self: &Arc<Self>,
        target: &Arc<Self>,
    ) -> Result<MonitorId, SignalRefused> {
        self.monitor_when(target, When::Registered)
    }

    fn monitor_when(
        self: &Arc<Self>,
        target: &Arc<Self>,
        when: When,
    ) -> Result<MonitorId, SignalRefused> {
        let permit = SignalPermit::monitor(self)?;
        let id = self.shared.next_monitor();
        // Known here before it is known there: an end that comes at once is not taken for a stale one.
        let watched = Some(Arc::clone(target));
        self.life.lock().bonds().watching.insert(id, watched);
        target.watch_when(id, Watcher::Actor(permit), when);
        Ok(id)
    }

    /// The same for a name that nobody has: the end comes at once.
    pub(crate) fn monitor_nobody(
        self: &Arc<Self>,
        address: &ActorAddress,
    ) -> Result<MonitorId, SignalRefused> {
        let permit = SignalPermit::monitor(self)?;
        let monitor = self.shared.next_monitor();
        self.life.lock().bonds().watching.insert(monitor, None);
        let down = Down {
            monitor,
            address: address.clone(),
            incarnation: 0,
            reason: ExitReason::NoSuchActor,
        };
        Watcher::Actor(permit).tell(down, ActorId::NOBODY);
        Ok(monitor)
    }

    /// Takes a monitor back: its end is not received from now on. Returns whether it had not been yet.
    pub(crate) fn demonitor(&self, id: MonitorId) -> bool {
        let watched = self
            .life
            .lock()
            .bonds
            .as_mut()
            .and_then(|bonds| bonds.watching.remove(&id));
        if let Some(Some(target)) = &watched {
            target.unwatch(id);
        }
        watched.is_some()
    }

    /// Tells `watcher` of the end of the incarnation that runs; at once if there is none.
    pub(crate) fn watch(&self, id: MonitorId, watcher: Watcher) {
        self.watch_when(id, watcher, When::Runs);
    }

    /// Whether there is somebody under its name. Between the last incarnation of its own and the moment its replicas have
    /// the name alone, none of its own is active.
    fn is_there(&self, life: &Life) -> bool {
        life.active || (self.hands_on() && life.gone.is_none())
    }

    fn watch_when(&self, id: MonitorId, watcher: Watcher, when: When) {
        let mut life = self.life.lock();
        if self.is_there(&life) {
            life.bonds().watchers.insert(id, watcher);
            return;
        }
        // It has ended and nobody has been told yet: this one is told with the others.
        if let Some(departed) = life
            .bonds
            .as_mut()
            .and_then(|bonds| bonds.departed.as_mut())
        {
            departed.watchers.insert(id, watcher);
            return;
        }
        // Not told of one that is stopped and keeps its name: whoever is told watches again, and would be told again.
        if when == When::Registered && !life.retired {
            life.bonds().watchers.insert(id, watcher);
            return;
        }
        drop(life);
        let down = Down {
            monitor: id,
            address: self.address.clone(),
            incarnation: self.incarnation(),
            reason: ExitReason::NoSuchActor,
        };
        watcher.tell(down, self.id);
    }

    /// The registration of an actor that was stopped before has ended: who waited for its next incarnation is told.
    pub(super) fn tell_waiting(&self) {
        let mut life = self.life.lock();
        let waiting = !life.active && life.is_awaited();
        let parted = waiting.then(|| life.part(self.incarnation(), ExitReason::NoSuchActor));
        let departed = life.departed();
        drop(life);
        drop(parted);
        if let Some(departed) = departed {
            self.tell(departed);
        }
    }

    /// Forgets a watcher.
    pub(crate) fn unwatch(&self, id: MonitorId) {
        let mut life = self.life.lock();
        let forgotten = life.bonds.as_mut().map(|bonds| {
            let departed = bonds.departed.as_mut();
            (
                bonds.watchers.remove(&id),
                departed.and_then(|departed| departed.watchers.remove(&id)),
            )
        });
        drop(life);
        drop(forgotten);
    }

    /// Links the incarnation of this actor that runs with the one of `peer` that runs; once, however often it
    /// is asked. If there is none, this actor gets the exit at once.
    pub(crate) fn link(self: &Arc<Self>, peer: &Arc<Self>) -> Result<(), SignalRefused> {
        if self.id == peer.id {
            return Ok(());
        }
        let (own, theirs) = ((self.id, self.incarnation()), (peer.id, peer.incarnation()));
        if self.is_bound(theirs) {
            return Ok(());
        }
        let (permit, peers) = (SignalPermit::link(self)?, SignalPermit::link(peer)?);
        // Known here before it is known there, as for monitors.
        self.bind(theirs, peer, permit);
        if peer.bind_active(own, theirs.1, self, peers) {
            return Ok(());
        }
        self.exit(own.1, theirs, peer.address(), &ExitReason::NoSuchActor);
        Ok(())
    }

    /// Takes back the links with `peer`, on both sides: neither receives an exit of the other from now on.
    pub(crate) fn unlink(&self, peer: &Slot) {
        self.unbind(peer.id);
        peer.unbind(self.id);
    }

    fn is_bound(&self, peer: Incarnation) -> bool {
        let life = self.life.lock();
        life.bonds
            .as_ref()
            .is_some_and(|bonds| bonds.links.contains_key(&peer))
    }

    fn bind(&self, key: Incarnation, peer: &Arc<Self>, permit: SignalPermit) {
        let bond = Bond {
            peer: Arc::clone(peer),
            permit: Some(permit),
        };
        let mut life = self.life.lock();
        // The other side may have been quicker: its bond stands.
        let spare = match life.bonds().links.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(bond);
                None
            }
            Entry::Occupied(_) => Some(bond),
        };
        drop(life);
        drop(spare);
    }

    /// The same, if `incarnation` of this actor is there. Says whether it is.
    fn bind_active(
        &self,
        key: Incarnation,
        incarnation: u64,
        peer: &Arc<Self>,
        permit: SignalPermit,
    ) -> bool {
        let bond = Bond {
            peer: Arc::clone(peer),
            permit: Some(permit),
        };
        let mut life = self.life.lock();
        if !self.is_there(&life) || self.incarnation() != incarnation {
            drop(life);
            return false;
        }
        let spare = match life.bonds().links.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(bond);
                None
            }
            Entry::Occupied(_) => Some(bond),
        };
        drop(life);
        drop(spare);
        true
    }

    fn unbind(&self, peer: ActorId) {
        let mut life = self.life.lock();
        let unbound: Vec<Bond> = life
            .bonds
            .as_mut()
            .map(|bonds| {
                let gone: Vec<_> = bonds
                    .links
                    .keys()
                    .filter(|(id, _)| *id == peer)
                    .copied()
                    .collect();
                gone.iter()
                    .filter_map(|key| bonds.links.remove(key))
                    .collect()
            })
            .unwrap_or_default();
        drop(life);
        drop(unbound);
    }

    /// Chooses whether exits of linked actors come as signals. Returns what it was before.
    pub(crate) fn trap_exits(&self, trap: bool) -> bool {
        std::mem::replace(&mut self.life.lock().bonds().traps_exits, trap)
    }

    /// `from`, linked to `incarnation` of this actor, has ended: ends this one too, or tells it. Of a name that replicas
    /// share, each of them is ended or told.
    fn exit(
        self: &Arc<Self>,
        incarnation: u64,
        from: Incarnation,
        address: &ActorAddress,
        reason: &ExitReason,
    ) {
        let mut life = self.life.lock();
        if !self.is_there(&life) || self.incarnation() != incarnation {
            return;
        }
        let Some(bonds) = &mut life.bonds else { return };
        if let Some(replicas) = self.replicas() {
            let bond = bonds.links.remove(&from);
            drop(life);
            let Some(Bond { peer, permit }) = bond else {
                return;
            };
            drop(permit);
            let own = (!self.is_vacant()).then(|| Arc::clone(self));
            // Whose end it is has ended already.
            let team = own.into_iter().chain(replicas.slots());
            for one in team.filter(|one| one.id != from.0) {
                one.exit_of_team(from, &peer, reason);
            }
            return;
        }
        if bonds.traps_exits {
            // The bond stays until the signal is received: an unlink before that still counts.
            let permit = bonds
                .links
                .get_mut(&from)
                .and_then(|bond| bond.permit.take());
            drop(life);
            if let Some(permit) = permit {
                post_exit(permit, from, address, reason);
            }
            return;
        }
        let bond = bonds.links.remove(&from);
        if bond.is_some() {
            self.end_with(&mut life, address, reason);
        }
        drop(life);
        drop(bond);
    }

    /// `peer`, linked to the name this one drains for, has ended: ends the incarnation that runs, or tells it.
    fn exit_of_team(self: &Arc<Self>, from: Incarnation, peer: &Arc<Self>, reason: &ExitReason) {
        let permit = SignalPermit::link(self);
        let mut life = self.life.lock();
        // The name may have become its replicas' alone since it was found to be its own too: then nothing of it runs, though
        // the name is there.
        if !life.active || self.is_vacant() {
            return;
        }
        if !life.bonds().traps_exits {
            self.end_with(&mut life, peer.address(), reason);
            return;
        }
        let Ok(permit) = permit else {
            drop(life);
            let (address, from) = (&self.address, peer.address());
            tracing::warn!(%address, %from, "a replica has too many links to be told of an exit");
            return;
        };
        // One that is linked itself is told by its own link. This one is there until the signal is received.
        let bond = Bond {
            peer: Arc::clone(peer),
            permit: None,
        };
        let is_new = match life.bonds().links.entry(from) {
            Entry::Vacant(entry) => {
                entry.insert(bond);
                true
            }
            Entry::Occupied(_) => false,
        };
        drop(life);
        if is_new {
            post_exit(permit, from, peer.address(), reason);
        }
    }

    /// The incarnation that runs ends for the exit of `from`, to which it was linked.
    fn end_with(&self, life: &mut Life, from: &ActorAddress, reason: &ExitReason) {
        if !matches!(reason, ExitReason::Normal) && !self.lane.killed() {
            life.bonds().exit = Some(reason.clone().through_link(from));
            self.kill_living(life);
        }
    }

    /// Takes a signal out of the mailbox; `None` if it was taken back, or was for an earlier incarnation.
    pub(crate) fn receive(&self, posted: Posted) -> Option<Signal> {
        let Posted {
            signal,
            subject,
            permit,
        } = posted;
        let mut life = self.life.lock();
        let bonds = life.bonds.as_mut()?;
        let (watched, bond) = match &signal {
            Signal::Down(down) => (bonds.watching.remove(&down.monitor), None),
            Signal::Exit(exit) => (None, bonds.links.remove(&(subject, exit.incarnation))),
        };
        drop(life);
        let meant = watched.is_some() || bond.is_some();
        drop((watched, bond, permit));
        meant.then_some(signal)
    }

    /// Tells of an end.
    pub(super) fn tell(&self, departed: Departed) {
        let Departed {
            incarnation,
            reason,
            watchers,
            peers,
        } = departed;
        for (monitor, watcher) in watchers {
            let down = Down {
                monitor,
                address: self.address.clone(),
                incarnation,
                reason: reason.clone(),
            };
            watcher.tell(down, self.id);
        }
        for (peer, theirs) in peers {
            peer.exit(theirs, (self.id, incarnation), &self.address, &reason);
        }
    }
}

impl Watcher {
    fn tell(self, down: Down, subject: ActorId) {
        match self {
            Self::Actor(permit) => post(permit, Signal::Down(down), subject),
            // The task may have left.
            Self::Host(task) => drop(task.send(down)),
        }
    }
}

fn post_exit(permit: SignalPermit, from: Incarnation, address: &ActorAddress, reason: &ExitReason) {
    let exit = Exit {
        from: address.clone(),
        incarnation: from.1,
        reason: reason.clone(),
    };
    post(permit, Signal::Exit(exit), from.0);
}

fn post(permit: SignalPermit, signal: Signal, subject: ActorId) {
    let holder = Arc::clone(permit.holder());
    let posted = Posted {
        signal,
        subject,
        permit,
    };
    holder
        .mailbox
        .push_signal(Envelope::signal(Arc::clone(&holder), Box::new(posted)));
}

#[cfg(test)]
mod tests;
