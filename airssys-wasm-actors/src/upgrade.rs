//! Upgrades: another revision of a component in the place of the one that runs, while its actor goes on.
//!
//! Owns [`Upgrade`] and [`Upgraded`]: what is checked and made before anything changes, the switch, and the way back. An
//! upgrade is a swap of instances between two messages of one incarnation, so the mailbox with its order, the name,
//! monitors, links, subscriptions and timers stay; the instance that ran is kept until it is let go, and a rollback is the
//! same swap the other way round. When and why to upgrade is not decided here.

mod ahead;
mod kept;
mod replacement;
mod slots;
mod upgraded;

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Configuration, ConfigurationError, ExportId, Surface};
use futures_util::future::join_all;
use tokio::time::Instant;

pub(crate) use ahead::{Ahead, Presumed};
pub(crate) use kept::Kept;
use replacement::make;
use replacement::{Fresh, Replaced};
pub use replacement::{NotReplaced, StateTaken};
pub(crate) use replacement::{Replacement, become_revision, replace};
use slots::Place;
use upgraded::Switched;
pub use upgraded::{NotSwitchedBack, Upgraded};

use crate::address::ActorAddress;
use crate::deadline::after;
use crate::passivation::ComponentBehaviour;
use crate::reference::function_path;
use crate::scaling::Alteration;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::{
    Altered, ChildSpec, PreparedActor, PreparedChild, Record, SpecError, Start, StartError, Tuning,
    successor_after,
};
use crate::system::System;

/// How an upgrade is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeOptions {
    /// What becomes of the state that the instance holds in memory.
    pub state: UpgradeState,
    /// In which order replicas are upgraded.
    pub order: UpgradeOrder,
    /// The instance that runs is dropped before its successor is made, which then has its place in the pool. The pause is
    /// longer, and there is nothing to go back to but another start. Default: it is not.
    pub instead: bool,
    /// How long a message in hand, handles to its resources and calls it owes answers to are waited for. Default 30 s.
    pub wait_max: Duration,
    /// Handles and calls that are still there then do not stop the upgrade: handles dangle, which is a typed error for
    /// who uses one, and calls fail. Default: they do.
    pub regardless: bool,
}

impl Default for UpgradeOptions {
    fn default() -> Self {
        Self {
            state: UpgradeState::default(),
            order: UpgradeOrder::default(),
            instead: false,
            wait_max: Duration::from_secs(30),
            regardless: false,
        }
    }
}

/// What becomes of the state in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeState {
    /// The new instance gets it, by `airssys:actor/state`, where the revision that runs exports `snapshot` and the new one
    /// `restore`; otherwise it begins afresh. The default, with at most 16 MiB.
    HandOver {
        /// Largest state in bytes.
        bytes_max: u64,
    },
    /// The new instance begins afresh.
    Discard,
}

impl Default for UpgradeState {
    fn default() -> Self {
        Self::HandOver {
            bytes_max: 16 << 20,
        }
    }
}

/// In which order replicas are upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeOrder {
    /// So many at a time, at least one. The default is one.
    Rolling {
        /// Replicas that may pause at the same time.
        at_once: u32,
    },
    /// All at one moment: once a replica of the new revision has begun a message, none of the old one begins another.
    Together,
}

impl Default for UpgradeOrder {
    fn default() -> Self {
        Self::Rolling { at_once: 1 }
    }
}

/// Why there is no upgrade. Whatever the reason, the revision that ran goes on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Nobody has the address.
    #[error("there is no actor `{0}` to upgrade")]
    NoSuchActor(ActorAddress),
    /// The actor, or what is to take its place, is native Rust or a supervisor.
    #[error(
        "`{0}` is not a component on both sides of the upgrade; stop it and start the other instead"
    )]
    NotComponent(ActorAddress),
    /// The number of replicas differs.
    #[error("`{address}` has {now} replicas, and the new spec has {new}; scale it first, or after")]
    Replicas {
        /// The actor.
        address: ActorAddress,
        /// How many there are.
        now: u32,
        /// How many there would be.
        new: u32,
    },
    /// A caller is linked to a function that the new revision does not have, or has with another type.
    #[error(
        "`{caller}` is linked to `{function}` of `{address}`, which the new revision does not have with that type; \
         upgrade the caller first, or keep the function"
    )]
    Breaks {
        /// The actor to upgrade.
        address: ActorAddress,
        /// Who is linked.
        caller: ActorAddress,
        /// The function.
        function: String,
    },
    /// The number of its replicas is being changed.
    #[error("`{0}` is being scaled; upgrade it after that")]
    Scaling(ActorAddress),
    /// The spec cannot be started: a link of it leads nowhere, for instance.
    #[error("the new revision of `{address}` cannot be started")]
    Spec {
        /// The actor.
        address: ActorAddress,
        /// What is wrong with it.
        #[source]
        why: Box<StartError>,
    },
    /// The configuration is too large, or has what is no key.
    #[error("`{address}` cannot be configured so")]
    Configuration {
        /// The actor.
        address: ActorAddress,
        /// What is wrong with it.
        #[source]
        why: ConfigurationError,
    },
    /// It is to be supervised as no child is started.
    #[error("`{address}` cannot be supervised so")]
    Tuning {
        /// The actor.
        address: ActorAddress,
        /// What is wrong with it.
        #[source]
        why: SpecError,
    },
    /// An instance did not take another's place; those that had been switched have been switched back.
    #[error("`{address}` is not upgraded: {why}")]
    NotReplaced {
        /// The actor; of a component with replicas, the one of them.
        address: ActorAddress,
        /// Why not.
        why: NotReplaced,
        /// Replicas that could not be switched back: they run the new revision.
        left: Vec<ActorAddress>,
    },
}

/// One actor of an upgrade.
struct Pair {
    record: Arc<Record>,
    before: Arc<PreparedActor>,
    successor: Arc<PreparedActor>,
    warm: Option<ComponentBehaviour>,
}

/// A checked upgrade of one component, of all its replicas, that has changed nothing yet. Dropped, it never does.
pub struct Upgrade {
    address: ActorAddress,
    slot: Arc<Slot>,
    options: UpgradeOptions,
    pairs: Vec<Pair>,
    /// What its links were resolved against; of replicas, of each the same.
    presumed: Presumed,
    /// Instances go on, and are told of their configuration.
    by_hook: bool,
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl System {
    /// Checks whether the component at `spec.address` can be upgraded to `spec`: that its links lead somewhere, that
    /// everybody linked to it finds the functions it uses, and that its supervisor can supervise it so.
    ///
    /// # Errors
    /// [`UpgradeError`].
    pub fn upgrade(
        &self,
        spec: ChildSpec,
        options: UpgradeOptions,
    ) -> Result<Upgrade, UpgradeError> {
        let upgrade = self.upgrade_to(spec, options, &Ahead::NOTHING, |_, _| {})?;
        upgrade.check_tuning()?;
        Ok(upgrade)
    }

    /// The same to what differs in nothing of how it is supervised but what a manifest calls so, whatever else `spec` says of
    /// that. `ahead` is what changes before it is switched: what fits that, and what is there now does not, is checked
    /// against that.
    pub(crate) fn upgrade_as_tuned(
        &self,
        spec: ChildSpec,
        options: UpgradeOptions,
        but: &[&str],
        ahead: &Ahead,
    ) -> Result<Upgrade, UpgradeError> {
        self.upgrade_to(spec, options, ahead, |spec, before| {
            let tuning = Tuning::of(before).taking(but, Tuning::of(spec));
            tuning.put_into(spec);
        })
    }

    fn upgrade_to(
        &self,
        spec: ChildSpec,
        options: UpgradeOptions,
        ahead: &Ahead,
        adapt: impl Fn(&mut ChildSpec, &ChildSpec),
    ) -> Result<Upgrade, UpgradeError> {
        let address = spec.address.clone();
        let Some(actor) = self.whereis(&address) else {
            return Err(UpgradeError::NoSuchActor(address));
        };
        let shared = Arc::clone(actor.slot().shared());
        let children = children_of(&shared, &address);
        let now = u32::try_from(children.len()).unwrap_or(u32::MAX);
        if now == 0 {
            return Err(UpgradeError::NoSuchActor(address));
        }
        if now != spec.replicas {
            return Err(UpgradeError::Replicas {
                address,
                now,
                new: spec.replicas,
            });
        }
        let spec = configured(&shared, &children, spec);
        let mut pairs = Vec::with_capacity(children.len());
        let mut presumed = Presumed::default();
        for (record, before) in children {
            let is_component = |spec: &ChildSpec| matches!(spec.start, Start::Component(_));
            if !is_component(&before.spec) || !is_component(&spec) {
                return Err(UpgradeError::NotComponent(address));
            }
            let mut spec = spec.clone();
            adapt(&mut spec, &before.spec);
            let successor;
            (successor, presumed) = prepare(&before, spec, ahead)?;
            pairs.push(Pair {
                record,
                before,
                successor,
                warm: None,
            });
        }
        let upgrade = Upgrade {
            address,
            slot: Arc::clone(actor.slot()),
            options,
            pairs,
            presumed,
            by_hook: false,
        };
        upgrade.check_callers(ahead)?;
        Ok(upgrade)
    }
}

impl System {
    /// Changes what only the supervisor of an actor, or of another supervisor, knows of it: when it is restarted, how it is stopped, asked how it is,
    /// and how long that may take. No instance is touched, and it is that from now on, of whichever revision runs: an upgrade
    /// that was prepared before, or is taken back after, leaves what has changed by this as it is. Nothing else of `spec` is
    /// looked at.
    ///
    /// # Errors
    /// [`UpgradeError::NoSuchActor`]: nobody has the address; one of several replicas is known by that of all of them.
    /// [`UpgradeError::Tuning`]: its supervisor would not start it so. Then nothing has changed.
    pub fn retune(&self, spec: ChildSpec) -> Result<(), UpgradeError> {
        let tuning = Tuning::of(&spec);
        self.retune_by(&spec.address, |_| tuning).map(|_| ())
    }

    /// The same to what `tune` makes of how it is supervised now. Returns both; of replicas, of the first.
    pub(crate) fn retune_by(
        &self,
        address: &ActorAddress,
        tune: impl Fn(Tuning) -> Tuning,
    ) -> Result<Altered<Tuning>, UpgradeError> {
        let records = self.shared().records();
        let mut tuned = records
            .iter()
            .filter_map(|record| record.retune(address, &tune).transpose());
        match tuned.next() {
            None => Err(UpgradeError::NoSuchActor(address.clone())),
            Some(tuned) => tuned.map_err(|why| UpgradeError::Tuning {
                address: address.clone(),
                why,
            }),
        }
    }
}

/// The spec of the actor at this address, as it is started from now on.
pub(crate) fn spec_of(system: &System, address: &ActorAddress) -> Option<ChildSpec> {
    let actor = system.whereis(address)?;
    let children = children_of(actor.slot().shared(), address);
    let (_, first) = children.first()?;
    // One of several replicas has an address of its own, and does not know how many there are by now.
    Some(ChildSpec {
        address: address.clone(),
        replicas: u32::try_from(children.len()).unwrap_or(u32::MAX),
        ..first.spec.clone()
    })
}

/// The children that have this address, or share it.
fn children_of(
    shared: &Arc<Shared>,
    address: &ActorAddress,
) -> Vec<(Arc<Record>, Arc<PreparedActor>)> {
    let mut found = Vec::new();
    for record in shared.records() {
        for child in record.in_order() {
            if let PreparedChild::Actor(actor) = &child
                && child.shared_address() == *address
            {
                found.push((Arc::clone(&record), Arc::clone(actor)));
            }
        }
    }
    found
}

/// The spec with a configuration that has the number of the one that runs, if it is the same, and otherwise one that no
/// other has.
fn configured(
    shared: &Shared,
    children: &[(Arc<Record>, Arc<PreparedActor>)],
    mut spec: ChildSpec,
) -> ChildSpec {
    let before = children.first().map(|(_, before)| &before.spec.start);
    if let (Some(Start::Component(before)), Start::Component(start)) = (before, &mut spec.start) {
        start.config = if before.config.changed(&start.config).is_empty() {
            Arc::clone(&before.config)
        } else {
            let config = Configuration::clone(&start.config);
            Arc::new(config.with_revision(shared.next_config()))
        };
    }
    spec
}

fn prepare(
    before: &PreparedActor,
    spec: ChildSpec,
    ahead: &Ahead,
) -> Result<(Arc<PreparedActor>, Presumed), UpgradeError> {
    let address = spec.address.clone();
    successor_after(before, spec, ahead)
        .map(|(successor, presumed)| (Arc::new(successor), presumed))
        .map_err(|why| UpgradeError::Spec {
            address,
            why: Box::new(why),
        })
}

/// Whether somebody else is linked to what the new revision does not have, and will be when it is switched.
fn breaks(
    shared: &Shared,
    target: &Arc<Slot>,
    address: &ActorAddress,
    surface: &Surface,
    ahead: &Ahead,
) -> Result<(), UpgradeError> {
    let now = target.surface();
    for record in shared.records() {
        for child in record.in_order() {
            let PreparedChild::Actor(caller) = child else {
                continue;
            };
            let gone = |export: &ExportId| surface.export_function(*export).is_none();
            let own = caller.slot.front().unwrap_or(&caller.slot);
            if own.id() != target.id()
                && !ahead.is_replaced(own.address())
                && let Some(export) = caller.targets.calls_of(target.id()).find(gone)
            {
                let function = now.export_function(export);
                return Err(UpgradeError::Breaks {
                    address: address.clone(),
                    caller: caller.slot.address().clone(),
                    function: function.map_or_else(String::new, |(interface, function)| {
                        function_path(interface, &function.name)
                    }),
                });
            }
        }
    }
    Ok(())
}

impl Upgrade {
    /// The actor to upgrade.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        &self.address
    }

    /// The instances go on and are told of their new configuration, which is all that may differ.
    pub(crate) fn by_hook(mut self) -> Self {
        self.by_hook = true;
        self
    }

    /// Whether its links lead to what is not there yet: until it is, no instance may begin a message.
    pub(crate) fn is_ahead(&self) -> bool {
        !self.presumed.is_empty()
    }

    /// Whether its links lead where they were to lead by now; otherwise it has to be prepared again.
    pub(crate) fn is_current(&self) -> bool {
        self.presumed.holds()
    }

    /// Whether everybody who is linked to it finds the functions it uses, but for those who are replaced before.
    pub(crate) fn check_callers(&self, ahead: &Ahead) -> Result<(), UpgradeError> {
        match self.pairs.first().map(|pair| pair.successor.spec.surface()) {
            Some(Ok(surface)) => {
                let shared = self.slot.shared();
                breaks(shared, &self.slot, &self.address, surface, ahead)
            }
            _ => Ok(()),
        }
    }

    /// Whether the new instance gets the state of the one before it.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.bytes_max().is_some()
    }

    fn bytes_max(&self) -> Option<u64> {
        if self.by_hook {
            return None;
        }
        let UpgradeState::HandOver { bytes_max } = self.options.state else {
            return None;
        };
        let both = |pair: &Pair| pair.before.hooks.snapshots() && pair.successor.hooks.restores();
        self.pairs.iter().all(both).then_some(bytes_max)
    }

    /// Makes the instances of the new revision and asks them how they are, while the old ones go on. Those that cannot
    /// be made beside the old ones are made during the switch: an instance that takes over state, one that takes part in
    /// the messaging plane, and one that may call others before its first message.
    ///
    /// # Errors
    /// [`UpgradeError::NotReplaced`], with nothing changed.
    pub async fn warm(&mut self) -> Result<(), UpgradeError> {
        if self.hands_over() || self.options.instead || self.by_hook {
            return Ok(());
        }
        for pair in &mut self.pairs {
            if pair.warm.is_some() || !pair.successor.may_be_warm() {
                continue;
            }
            match make(&pair.record, &pair.successor, None).await {
                Ok(live) => pair.warm = Some(ComponentBehaviour::Live(live)),
                Err(why) => {
                    return Err(UpgradeError::NotReplaced {
                        address: pair.successor.slot.address().clone(),
                        why,
                        left: Vec::new(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether each of its supervisors can supervise what it becomes as that is to be supervised, by now.
    fn check_tuning(&self) -> Result<(), UpgradeError> {
        for pair in &self.pairs {
            let id = pair.successor.slot.id();
            let successor = match pair.record.child(id) {
                Some(PreparedChild::Actor(now)) => pair.successor.in_place_of(&now),
                _ => continue,
            };
            let auto_shutdown = pair.record.flags.lock().auto_shutdown;
            let tuning = Tuning::of(&successor.spec);
            let checked = tuning.check(&self.address, pair.record.address(), auto_shutdown);
            checked.map_err(|why| UpgradeError::Tuning {
                address: self.address.clone(),
                why,
            })?;
        }
        Ok(())
    }

    /// It may have been scaled since this was prepared.
    fn covers_all(&self) -> Result<(), UpgradeError> {
        let children = children_of(self.slot.shared(), &self.address);
        let known = |id| self.pairs.iter().any(|pair| pair.successor.slot.id() == id);
        if children.iter().all(|(_, child)| known(child.slot.id())) {
            return Ok(());
        }
        let count = |len| u32::try_from(len).unwrap_or(u32::MAX);
        Err(UpgradeError::Replicas {
            address: self.address.clone(),
            now: count(children.len()),
            new: count(self.pairs.len()),
        })
    }

    /// Switches every replica, waiting for the message each has in hand.
    ///
    /// # Errors
    /// [`UpgradeError::NotReplaced`]: those that had been switched have been switched back. [`UpgradeError::Scaling`],
    /// [`UpgradeError::Replicas`] and [`UpgradeError::Tuning`], with nothing changed.
    pub async fn switch(mut self) -> Result<Upgraded, UpgradeError> {
        let Some(alteration) = Alteration::revision(&self.slot) else {
            return Err(UpgradeError::Scaling(self.address));
        };
        self.covers_all()?;
        self.check_tuning()?;
        let bytes_max = self.bytes_max();
        let until = after(Instant::now(), self.options.wait_max);
        let by_hook = self.by_hook;
        let pairs = std::mem::take(&mut self.pairs);
        let at_once = match self.options.order {
            UpgradeOrder::Together => pairs.len(),
            UpgradeOrder::Rolling { at_once } => usize::try_from(at_once).unwrap_or(usize::MAX),
        };
        let together = self.options.order == UpgradeOrder::Together && pairs.len() > 1;
        let mut upgraded = Upgraded {
            address: self.address.clone(),
            options: self.options,
            switched: Vec::with_capacity(pairs.len()),
            _alteration: alteration,
        };
        let mut failed = None;
        // None of them takes what they share until it is of the new revision.
        let mut holds: Vec<_> = pairs
            .iter()
            .map(|pair| together.then(|| Hold::new(&pair.successor.slot)))
            .collect();
        let mut rest = pairs.into_iter().zip(holds.iter_mut()).peekable();
        while rest.peek().is_some() && failed.is_none() {
            let group: Vec<_> = rest.by_ref().take(at_once.max(1)).collect();
            let options = self.options;
            let each = group.into_iter().map(|(pair, hold)| async move {
                let switched = switch_one(pair, options, by_hook, bytes_max, until).await;
                // One that could not be switched waits for the others to be switched back.
                if switched.is_ok() {
                    *hold = None;
                }
                switched
            });
            for switched in join_all(each).await {
                match switched {
                    Ok(switched) => upgraded.switched.push(switched),
                    Err(why) => failed = failed.or(Some(why)),
                }
            }
        }
        drop(rest);
        let Some((address, why)) = failed else {
            return Ok(upgraded);
        };
        let back = upgraded.roll_back().await;
        drop(holds);
        let left = back.err().map_or_else(Vec::new, |left| left.left);
        Err(UpgradeError::NotReplaced { address, why, left })
    }
}

/// Keeps one replica from the queue that all share.
struct Hold(Arc<Slot>);

impl Hold {
    fn new(slot: &Arc<Slot>) -> Self {
        slot.lane().hold(true);
        Self(Arc::clone(slot))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lane().hold(false);
    }
}

async fn switch_one(
    pair: Pair,
    options: UpgradeOptions,
    by_hook: bool,
    bytes_max: Option<u64>,
    until: Instant,
) -> Result<Switched, (ActorAddress, NotReplaced)> {
    let Pair {
        record,
        before,
        successor,
        warm,
    } = pair;
    let again = || match bytes_max {
        _ if by_hook => Fresh::Tell,
        Some(bytes_max) => Fresh::HandOver { bytes_max },
        None if options.instead => Fresh::Instead,
        None => Fresh::Make,
    };
    let place = Place {
        record: &record,
        successor: &successor,
        until,
        regardless: options.regardless,
    };
    let fresh = warm.map_or_else(again, Fresh::Ready);
    match place.replace(fresh, again).await {
        Ok(Replaced { aside, state }) => Ok(Switched {
            record,
            before,
            now: successor,
            by_hook,
            aside,
            state,
        }),
        Err(why) => Err((successor.slot.address().clone(), why)),
    }
}
