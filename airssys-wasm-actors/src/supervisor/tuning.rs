//! How a child is supervised, as opposed to what it is.
//!
//! Owns [`Tuning`], the part of a [`ChildSpec`] that no revision has: it is changed by itself, while any revision runs, and
//! stays when that is taken back. A revision that comes with another tuning changes it, and takes back what of that nobody
//! has changed since. The flags of a supervisor are changed in the same way. Costs a copy of a spec each time; a supervisor
//! is told once of however many changes it has not looked at yet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::actor::SupervisorMessage;
use super::child::{ChildSpec, PreparedActor, PreparedChild, PreparedSupervisor, ShutdownPolicy};
use super::decide::RestartPolicy;
use super::record::{Record, SupervisorFlags};
use super::spec::{AutoShutdown, Backoff, SpecError, SupervisorSpec};
use crate::address::{ActorAddress, ActorId};
use crate::health::HealthCheck;

/// What has been changed, on both sides of the change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Altered<T> {
    pub(crate) before: T,
    pub(crate) now: T,
}

/// What only the supervisor of a child knows of it, and no revision of it: it is changed by itself, at any time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    restart: RestartPolicy,
    shutdown: ShutdownPolicy,
    significant: bool,
    backoff: Option<Backoff>,
    health: Option<HealthCheck>,
    start_within: Duration,
}

impl Tuning {
    pub(crate) fn of(spec: &ChildSpec) -> Self {
        Self {
            restart: spec.restart,
            shutdown: spec.shutdown,
            significant: spec.significant,
            backoff: spec.backoff,
            health: spec.health,
            start_within: spec.start_within,
        }
    }

    pub(crate) fn put_into(self, spec: &mut ChildSpec) {
        let Self {
            restart,
            shutdown,
            significant,
            backoff,
            health,
            start_within,
        } = self;
        spec.restart = restart;
        spec.shutdown = shutdown;
        spec.significant = significant;
        spec.backoff = backoff;
        spec.health = health;
        spec.start_within = start_within;
    }

    /// This one, with what is not any more as it was `before` as it is `now`.
    fn after(self, before: Self, now: Self) -> Self {
        Self {
            restart: unless_changed(self.restart, before.restart, now.restart),
            shutdown: unless_changed(self.shutdown, before.shutdown, now.shutdown),
            significant: unless_changed(self.significant, before.significant, now.significant),
            backoff: unless_changed(self.backoff, before.backoff, now.backoff),
            health: unless_changed(self.health, before.health, now.health),
            start_within: unless_changed(self.start_within, before.start_within, now.start_within),
        }
    }

    /// Whether what a manifest calls so is a part of it.
    pub(crate) fn has(key: &str) -> bool {
        const KEYS: [&str; 6] = [
            "restart",
            "shutdown",
            "significant",
            "backoff",
            "health",
            "start-within",
        ];
        KEYS.contains(&key)
    }

    /// This one, with what a manifest calls so as it is in `other`.
    pub(crate) fn taking(mut self, keys: &[&str], other: Self) -> Self {
        for key in keys {
            match *key {
                "restart" => self.restart = other.restart,
                "shutdown" => self.shutdown = other.shutdown,
                "significant" => self.significant = other.significant,
                "backoff" => self.backoff = other.backoff,
                "health" => self.health = other.health,
                "start-within" => self.start_within = other.start_within,
                // What no supervisor knows.
                _ => {}
            }
        }
        self
    }

    /// Whether a supervisor that ends so with its children can supervise `child` so.
    ///
    /// # Errors
    /// [`SpecError`]: the first thing that is wrong.
    pub(crate) fn check(
        &self,
        child: &ActorAddress,
        supervisor: &ActorAddress,
        auto_shutdown: AutoShutdown,
    ) -> Result<(), SpecError> {
        if self.significant && self.restart == RestartPolicy::Permanent {
            return Err(SpecError::SignificantPermanent(child.clone()));
        }
        if self.significant && auto_shutdown == AutoShutdown::Never {
            return Err(SpecError::SignificantNever {
                supervisor: supervisor.clone(),
                child: child.clone(),
            });
        }
        if self.backoff.is_some_and(|backoff| !backoff.is_sound()) {
            return Err(SpecError::Backoff(child.clone()));
        }
        Ok(())
    }
}

fn unless_changed<T: PartialEq>(wanted: T, before: T, now: T) -> T {
    if now == before { wanted } else { now }
}

impl Altered<Tuning> {
    /// What it was before, but for what is another by `now` than this made of it.
    pub(crate) fn undone(self, now: Tuning) -> Tuning {
        self.before.after(self.now, now)
    }
}

impl SupervisorFlags {
    /// These, with what a manifest calls so as it is in `other`.
    pub(crate) fn taking(mut self, keys: &[&str], other: Self) -> Self {
        for key in keys {
            match *key {
                "strategy" => self.strategy = other.strategy,
                "restarts" => self.intensity = other.intensity,
                "auto-shutdown" => self.auto_shutdown = other.auto_shutdown,
                "quarantine-after" => self.quarantine_after = other.quarantine_after,
                // What is no flag.
                _ => {}
            }
        }
        self
    }

    /// A supervisor with these, and no children.
    pub(crate) fn spec(self, address: ActorAddress) -> SupervisorSpec {
        let Self {
            strategy,
            intensity,
            auto_shutdown,
            quarantine_after,
        } = self;
        SupervisorSpec {
            strategy,
            intensity,
            auto_shutdown,
            quarantine_after,
            ..SupervisorSpec::new(address)
        }
    }
}

impl Altered<SupervisorFlags> {
    /// What they were before, but for what is another by `now` than this made of it.
    pub(crate) fn undone(self, now: SupervisorFlags) -> SupervisorFlags {
        let (was, is) = (self.before, self.now);
        SupervisorFlags {
            strategy: unless_changed(was.strategy, is.strategy, now.strategy),
            intensity: unless_changed(was.intensity, is.intensity, now.intensity),
            auto_shutdown: unless_changed(was.auto_shutdown, is.auto_shutdown, now.auto_shutdown),
            quarantine_after: unless_changed(
                was.quarantine_after,
                is.quarantine_after,
                now.quarantine_after,
            ),
        }
    }
}

impl PreparedActor {
    /// The same actor, supervised so.
    pub(crate) fn tuned(&self, tuning: Tuning) -> Self {
        let mut spec = self.spec.clone();
        tuning.put_into(&mut spec);
        Self {
            spec,
            slot: Arc::clone(&self.slot),
            targets: Arc::clone(&self.targets),
            hooks: self.hooks,
            standing: Arc::clone(&self.standing),
            follows: self.follows,
            tuned_from: tuning,
            kept: self.kept.clone(),
        }
    }

    /// The same actor in the place of the one that runs: what has been changed of how that is supervised since this was
    /// prepared stays.
    pub(crate) fn in_place_of(self: &Arc<Self>, now: &Self) -> Arc<Self> {
        let wanted = Tuning::of(&self.spec);
        let tuning = wanted.after(self.tuned_from, Tuning::of(&now.spec));
        if tuning == wanted {
            return Arc::clone(self);
        }
        Arc::new(self.tuned(tuning))
    }
}

impl PreparedChild {
    /// The same child, supervised so.
    fn tuned(&self, tuning: Tuning) -> Self {
        match self {
            Self::Actor(actor) => Self::Actor(Arc::new(actor.tuned(tuning))),
            Self::Supervisor(one) => {
                let mut spec = one.spec.clone();
                tuning.put_into(&mut spec);
                Self::Supervisor(Arc::new(PreparedSupervisor {
                    spec,
                    record: Arc::clone(&one.record),
                    standing: Arc::clone(&one.standing),
                }))
            }
        }
    }

    /// It has taken the place of one that was supervised otherwise. Whether a supervisor returns is its own to know.
    fn is_tuned(&self, before: &ChildSpec) {
        if let Self::Supervisor(one) = self {
            one.record.specced(before, &one.spec);
        }
    }
}

impl Record {
    /// The actors that have this address, or share it, or the supervisor that has it, are supervised from now on as `tune` makes of how they are. `None` if
    /// there are none.
    ///
    /// # Errors
    /// [`SpecError`]: none of its children is started so. Then nothing has changed.
    pub(crate) fn retune(
        &self,
        address: &ActorAddress,
        tune: impl Fn(Tuning) -> Tuning,
    ) -> Result<Option<Altered<Tuning>>, SpecError> {
        let mut children = self.children.lock();
        let auto_shutdown = self.flags.lock().auto_shutdown;
        let (mut tuned, mut altered) = (Vec::new(), None);
        for child in children.values() {
            if child.shared_address() == *address {
                let before = Tuning::of(child.spec());
                let now = tune(before);
                altered.get_or_insert(Altered { before, now });
                if now == before {
                    continue;
                }
                now.check(address, self.address(), auto_shutdown)?;
                tuned.push(child.tuned(now));
            }
        }
        if altered.is_none() {
            return Ok(None);
        }
        let ids: Vec<_> = tuned.iter().map(PreparedChild::id).collect();
        let swap = |now: PreparedChild| {
            let before = children.insert(now.id(), now.clone())?;
            now.is_tuned(before.spec());
            Some(before)
        };
        let before: Vec<_> = tuned.into_iter().filter_map(swap).collect();
        self.edit_first(|first| {
            if let Some(spec) = first.iter_mut().find(|spec| spec.address == *address) {
                tune(Tuning::of(spec)).put_into(spec);
            }
        });
        drop(children);
        drop(before);
        self.respecced(ids);
        Ok(altered)
    }

    /// Its children are supervised as what it starts with says: by whoever has retuned one while that was made of its spec.
    pub(crate) fn tune_as_first(&self) {
        let mut children = self.children.lock();
        let first = self.first.lock();
        for child in children.values_mut() {
            let address = child.shared_address();
            let spec = first.iter().find(|spec| spec.address == address);
            if let Some(spec) = spec
                && Tuning::of(spec) != Tuning::of(child.spec())
            {
                let before = std::mem::replace(child, child.tuned(Tuning::of(spec)));
                child.is_tuned(before.spec());
            }
        }
    }

    /// These children are what they are to be from now on, unless another revision has taken the place of one since it was
    /// prepared: then none of them is, and it says `None`. `also` is done at the same moment. Returns each with what it was.
    pub(crate) fn adopt(
        &self,
        changed: &[PreparedChild],
        also: impl FnOnce(),
    ) -> Option<Vec<Altered<PreparedChild>>> {
        let mut children = self.children.lock();
        let is_current = |child: &PreparedChild| match child {
            PreparedChild::Actor(actor) => actor.follows == actor.slot.revision(),
            PreparedChild::Supervisor(_) => true,
        };
        if !changed.iter().all(is_current) {
            return None;
        }
        also();
        let adopted = changed.iter().filter_map(|now| {
            let before = children.insert(now.id(), now.clone())?;
            let now = now.clone();
            Some(Altered { before, now })
        });
        Some(adopted.collect())
    }

    /// It is to hear that it supervises these otherwise: once, however often that is said before it does.
    pub(crate) fn respecced(&self, children: impl IntoIterator<Item = ActorId>) {
        let mut unheard = self.unheard.lock();
        let is_told = !unheard.is_empty();
        unheard.extend(children);
        let is_to_be_told = !is_told && !unheard.is_empty();
        drop(unheard);
        if is_to_be_told {
            // One that is not there looks at all of its children when it is made.
            self.tell(SupervisorMessage::Respecced);
        }
    }

    /// Whom it supervises otherwise than it has heard. Whatever is changed from now on it is told of.
    pub(crate) fn take_respecced(&self) -> BTreeSet<ActorId> {
        std::mem::take(&mut *self.unheard.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Tuning as Outlined;
    use crate::supervisor::{RestartIntensity, Strategy};

    /// Two of how a child is supervised that are alike in nothing.
    fn two() -> [ChildSpec; 2] {
        let one = ChildSpec::supervisor(SupervisorSpec::new("one".parse().unwrap()));
        let two = ChildSpec {
            health: Some(HealthCheck::default()),
            start_within: Duration::from_secs(1),
            ..one.clone()
        };
        let two = two.restart_temporary().shutdown_brutal().significant();
        [one, two.backoff(Backoff::default())]
    }

    #[test]
    fn what_a_plan_names_is_taken_and_nothing_else() {
        let [one, two] = two();
        let keys = Outlined::of(&one).differing(&Outlined::of(&two));
        assert_eq!(keys.len(), 6);
        let (from, to) = (Tuning::of(&one), Tuning::of(&two));
        assert_eq!(from.taking(&keys, to), to);
        for key in &keys {
            assert!(Tuning::has(key));
            let mut taken = one.clone();
            from.taking(&[key], to).put_into(&mut taken);
            assert_eq!(Outlined::of(&one).differing(&Outlined::of(&taken)), [*key]);
        }
        assert_eq!(from.taking(&["rollout", "autoscale"], to), from);
        assert!(!Tuning::has("rollout"));
    }

    #[test]
    fn what_is_undone_leaves_what_has_been_changed_since() {
        let [one, two] = two();
        let (before, now) = (Tuning::of(&one), Tuning::of(&two));
        let altered = Altered { before, now };
        assert_eq!(altered.undone(now), before);
        let mut since = two.clone().restart_transient();
        let undone = altered.undone(Tuning::of(&since));
        assert_eq!(undone, Tuning::of(&one.restart_transient()));
        // Nothing of it is left.
        undone.put_into(&mut since);
        assert_eq!(altered.undone(Tuning::of(&since)), undone);
    }

    #[test]
    fn flags_are_taken_and_undone_likewise() {
        let flags = |spec: SupervisorSpec| SupervisorFlags::of(&spec);
        let one = SupervisorSpec::new("one".parse().unwrap());
        let mut two = one.clone().strategy(Strategy::OneForAll);
        two.intensity = RestartIntensity {
            max: 77,
            ..two.intensity
        };
        two.auto_shutdown = AutoShutdown::AnySignificant;
        two.quarantine_after = Some(7);
        let (before, to) = (flags(one), flags(two));
        let keys = ["strategy", "restarts", "auto-shutdown", "quarantine-after"];
        assert_eq!(before.taking(&keys, to), to);
        let now = before.taking(&["restarts", "after"], to);
        assert_eq!(now.intensity, to.intensity);
        let altered = Altered { before, now };
        let since = now.taking(&["strategy", "quarantine-after"], to);
        let undone = altered.undone(since);
        assert_eq!(undone, before.taking(&["strategy", "quarantine-after"], to));
    }
}
