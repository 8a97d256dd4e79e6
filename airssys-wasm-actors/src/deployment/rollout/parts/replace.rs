//! A component that gets new instances: an upgrade, with a candidate beside it where traffic is split first.
//!
//! Owns what a rollout keeps of one replacement: the instances that wait, the old ones that can come back, the candidate and
//! its share, what was counted, and how many replicas there are to be. More of them come before anything is switched, and
//! fewer once nothing is undone any more: meanwhile there are as many as the larger number.

use std::sync::Arc;
use std::time::Duration;

use super::rescale::Rescale;
use super::{Done, Ground};
use crate::address::ActorAddress;
use crate::deployment::gate::Interval;
use crate::deployment::plan::Replacement;
use crate::deployment::rollout::arms::StepArms;
use crate::deployment::rollout::children::{StartOne, StopOne};
use crate::deployment::rollout::endings::Endings;
use crate::deployment::rollout::reading::{self, Reading};
use crate::deployment::rollout::told::{all_back, left_by};
use crate::deployment::share::Share;
use crate::deployment::strategy::{RolloutStrategy, StateHandling};
use crate::exit::{bounded, with_sources};
use crate::health::ChildHealth;
use crate::reference::ActorRef;
use crate::route::{Split, SplitMode, SplitSpec, Weight};
use crate::supervisor::{ChildSpec, RestartIntensity, Start, Supervisor, SupervisorSpec};
use crate::upgrade::{
    Ahead, Upgrade, UpgradeError, UpgradeOptions, UpgradeOrder, UpgradeState, Upgraded,
};

/// How long a candidate may take to finish what it has accepted.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// The last parts of the addresses of a candidate and of its supervisor, below its component's.
const CANDIDATE: &str = "next";
const TRIAL: &str = "trial";

/// How often a candidate is restarted before it is no longer tried; the gate has its word long before that.
const TRIAL_RESTARTS: RestartIntensity = RestartIntensity {
    max: 100,
    within: Duration::from_secs(10),
};

/// A component that gets new instances.
pub(super) struct Replace {
    spec: ChildSpec,
    /// What its supervisor is to know otherwise, by the manifest's keys.
    retuned: Vec<&'static str>,
    options: UpgradeOptions,
    strategy: RolloutStrategy,
    /// What the steps before it change.
    ahead: Ahead,
    upgrade: Option<Upgrade>,
    upgraded: Option<Upgraded>,
    /// Replicas of the new revision that could not be switched back.
    left: Vec<ActorAddress>,
    candidate: Option<(Supervisor, ActorRef)>,
    /// The candidate would call what is not there before the steps before this one are done: it is started after them.
    candidate_waits: bool,
    endings: Endings,
    split: Option<Arc<Split>>,
    rescale: Option<Rescale>,
    /// What was counted when the interval began.
    since: Reading,
    /// The memory of the largest instance of the old revision when the new one took its place; 0 if it is not known.
    memory_before: u64,
    /// Who was last seen to serve: one that has ended for good is looked for in vain, and has its counts.
    serving: Option<ActorRef>,
    /// The supervisor of what it spawns, if it could not spawn before.
    family: Option<StartOne>,
    /// The same, if it cannot any more.
    family_gone: Option<StopOne>,
}

impl Replace {
    pub(super) fn new(
        old: &ChildSpec,
        spec: ChildSpec,
        replacement: &Replacement,
        ahead: &Ahead,
        ground: &Ground,
    ) -> Result<Self, String> {
        let mut options = UpgradeOptions {
            wait_max: replacement.handles_within,
            regardless: true,
            ..UpgradeOptions::default()
        };
        if replacement.state == StateHandling::Discard {
            options.state = UpgradeState::Discard;
        }
        match &replacement.strategy {
            RolloutStrategy::Recreate => options.instead = true,
            RolloutStrategy::Rolling {
                max_surge,
                max_unavailable,
            } => {
                options.order = UpgradeOrder::Rolling {
                    at_once: (*max_surge).max(*max_unavailable).max(1),
                };
            }
            _ => options.order = UpgradeOrder::Together,
        }
        let (family, family_gone) = match (old.spawns(), spec.spawns()) {
            (None, Some(new)) => (Some(StartOne::of(&ground.new, new.supervisor())?), None),
            (Some(old), None) => (None, Some(StopOne::of(&ground.old, old.supervisor())?)),
            (None, None) => (None, StopOne::left(&spec.address, ground)),
            // The supervisor is the same, whatever may be spawned.
            _ => (None, None),
        };
        let address = spec.address.clone();
        Ok(Self {
            spec,
            retuned: replacement.retuned.clone(),
            options,
            strategy: replacement.strategy.clone(),
            ahead: ahead.clone(),
            upgrade: None,
            upgraded: None,
            left: Vec::new(),
            candidate: None,
            candidate_waits: false,
            endings: ground.endings.clone(),
            split: None,
            rescale: Rescale::of(address, replacement.replicas),
            since: Reading::default(),
            memory_before: 0,
            serving: None,
            family,
            family_gone,
        })
    }

    pub(super) async fn warm(&mut self, ground: &Ground) -> Done {
        // Before its instance, which may spawn in its `init`.
        if let Some(family) = &mut self.family {
            family.start(ground).await?;
        }
        if let Some(rescale) = &mut self.rescale {
            rescale.grow(ground).await?;
        }
        let is_gradual = self.strategy.is_gradual();
        let mut upgrade = match self.prepare(ground, &self.ahead) {
            Ok(upgrade) => upgrade,
            // What it is linked to comes in the steps before it, and what it is itself has been compared with that.
            Err(why) if self.ahead.awaits(&why) => {
                self.candidate_waits = is_gradual;
                return Ok(());
            }
            Err(why) => return Err(with_sources(&why)),
        };
        if is_gradual {
            // Its instances are made again when it is switched: the candidate has its own.
            self.candidate_waits = upgrade.is_ahead();
            return match self.candidate_waits {
                true => Ok(()),
                false => self.start_candidate(ground).await,
            };
        }
        upgrade.warm().await.map_err(|why| why.to_string())?;
        self.upgrade = Some(upgrade);
        Ok(())
    }

    fn prepare(&self, ground: &Ground, ahead: &Ahead) -> Result<Upgrade, UpgradeError> {
        let mut spec = self.spec.clone();
        // As many as there are: how many there are to be is not the upgrade's to say.
        if let Some(replicas) = ground.system.replicas(&spec.address) {
            spec.replicas = replicas;
        }
        let (options, retuned) = (self.options, &self.retuned);
        let system = &ground.system;
        system.upgrade_as_tuned(spec, options, retuned, ahead)
    }

    /// Starts the candidate, if it has waited for the steps before.
    pub(super) async fn begin_trial(&mut self, ground: &Ground) -> Done {
        match std::mem::take(&mut self.candidate_waits) {
            true => self.start_candidate(ground).await,
            false => Ok(()),
        }
    }

    /// Starts an actor of the new revision beside the old one, with a mailbox of its own.
    async fn start_candidate(&mut self, ground: &Ground) -> Done {
        let address = &self.spec.address;
        let Some(stable) = ground.system.whereis(address) else {
            return Err(format!("there is no actor `{address}`"));
        };
        let mut spec = self.spec.clone();
        spec.address = address.join(CANDIDATE).map_err(|why| why.to_string())?;
        if let Start::Component(start) = &mut spec.start {
            start.template = start.template.numbered_after(&stable.surface());
        }
        let start_within = spec.start_within;
        let candidate = spec.address.clone();
        // The one of the deployment before may still be at its last messages.
        self.endings.over(&candidate).await;
        // Of its own: however often it ends, the application does not end with it.
        let trial = SupervisorSpec {
            intensity: TRIAL_RESTARTS,
            children: vec![spec],
            ..SupervisorSpec::new(address.join(TRIAL).map_err(|why| why.to_string())?)
        };
        let supervisor = ground.system.supervise(trial).await;
        let supervisor = supervisor.map_err(|why| {
            // What its `init` says, without what it was given.
            self.spec.without_values(with_sources(&why))
        })?;
        let Some(actor) = ground.system.whereis(&candidate) else {
            supervisor.stop().await;
            return Err("the candidate has ended".to_owned());
        };
        self.candidate = Some((supervisor, actor.clone()));
        match actor.health(start_within).await {
            Ok(ChildHealth::Failed(text)) => {
                let text = self.spec.without_values(bounded(&text).to_string());
                Err(format!("the new revision is not well: {text}"))
            }
            Ok(_) => Ok(()),
            Err(why) => Err(why.to_string()),
        }
    }

    pub(super) fn split(&mut self, share: Share, mode: SplitMode) -> Done {
        let weight = Weight::new(share.ten_thousandths()).unwrap_or(Weight::ALL);
        let why = self.strategy.to_string();
        if let Some(split) = &self.split {
            split.set_weight(weight, &why);
            return Ok(());
        }
        let Some((supervisor, candidate)) = &self.candidate else {
            return Err("there is no candidate".to_owned());
        };
        let Some(stable) = supervisor.system_actor(&self.spec.address) else {
            return Err(format!("there is no actor `{}`", self.spec.address));
        };
        let sticky = match &self.strategy {
            RolloutStrategy::Canary { sticky, .. } => sticky.clone(),
            _ => None,
        };
        let spec = SplitSpec {
            mode,
            weight,
            sticky,
            // Few requests are enough for the gate to compare.
            sample_every: 1,
            why,
            ..SplitSpec::default()
        };
        let split = stable.split(candidate, spec);
        self.split = Some(split.map_err(|why| why.to_string())?);
        Ok(())
    }

    pub(super) fn unsplit(&mut self, why: &str) {
        if let Some(split) = &self.split {
            split.remove(why);
        }
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        // One whose callees are not what they were to be by now calls what they do not have.
        let upgrade = match self.upgrade.take().filter(Upgrade::is_current) {
            Some(upgrade) => upgrade,
            None => {
                let prepared = self.prepare(ground, &Ahead::NOTHING);
                let mut upgrade = prepared.map_err(|why| with_sources(&why))?;
                upgrade.warm().await.map_err(|why| why.to_string())?;
                upgrade
            }
        };
        // Those that were to be replaced before have been.
        let checked = upgrade.check_callers(&Ahead::NOTHING);
        checked.map_err(|why| with_sources(&why))?;
        // From now on there is nothing of the old revision to look at.
        let actor = ground.system.whereis(&self.spec.address);
        self.memory_before = actor.as_ref().map_or(0, reading::memory);
        self.serving = actor;
        let upgraded = upgrade.switch().await.map_err(|why| {
            self.left = left_by(&why);
            why.to_string()
        })?;
        self.upgraded = Some(upgraded);
        self.end_candidate("the new revision serves alone").await;
        Ok(())
    }

    pub(super) async fn switch_back(&mut self) -> Done {
        let back = match self.upgraded.take() {
            Some(upgraded) => {
                let back = upgraded.roll_back().await;
                back.map(|_| ()).map_err(|why| why.to_string())
            }
            None => all_back(&self.left),
        };
        self.end_candidate("the old revision serves alone").await;
        back
    }

    /// Lets go of the revision before.
    pub(super) async fn release_old(&mut self, ground: &Ground) {
        if let Some(upgraded) = self.upgraded.take() {
            upgraded.release().await;
        }
        if let Some(family) = &self.family_gone {
            family.stop(ground).await;
        }
        if let Some(rescale) = &self.rescale {
            rescale.shrink(ground).await;
        }
    }

    /// Lets go of the revision that does not come.
    pub(super) async fn release_new(&mut self, ground: &Ground) {
        self.upgrade = None;
        self.end_candidate("the deployment is undone").await;
        if let Some(family) = &mut self.family {
            family.stop(ground).await;
        }
        if let Some(rescale) = &mut self.rescale
            && let Err(why) = rescale.undo(ground).await
        {
            tracing::warn!(address = %self.spec.address, %why, "not scaled back");
        }
    }

    /// The application is stopped.
    pub(super) async fn abandon(&mut self) {
        self.end_candidate("the application is stopped").await;
    }

    pub(super) fn begin_interval(&mut self, ground: &Ground) {
        if let Some(actor) = ground.system.whereis(&self.spec.address) {
            self.serving = Some(actor);
        }
        self.since = self.reading(ground);
    }

    /// What the old revision and the new one did since.
    pub(super) fn measure(&self, ground: &Ground) -> (Interval, Interval) {
        self.reading(ground).since(&self.since)
    }

    pub(super) fn weight(&self) -> Option<u16> {
        Some(self.split.as_ref()?.weight().parts())
    }

    pub(super) fn arms(&self) -> Option<StepArms> {
        Some(StepArms::of(self.split.as_ref()?.stats()))
    }

    /// Nothing more goes to the candidate; what it has accepted it finishes, and then it is stopped.
    async fn end_candidate(&mut self, why: &str) {
        let split = self.split.take();
        if let Some(split) = &split {
            split.remove(why);
        }
        let Some((supervisor, actor)) = self.candidate.take() else {
            return;
        };
        let address = actor.address().clone();
        let ending = async move {
            if let Some(split) = split {
                // One that hangs on is ended by its own limits, or here.
                let _ = tokio::time::timeout(DRAIN_WITHIN, split.drained()).await;
            }
            drop(actor);
            supervisor.stop().await;
        };
        // Only another candidate waits for the last of its messages.
        self.endings.begin(address, ending);
    }

    fn reading(&self, ground: &Ground) -> Reading {
        let actor = ground.system.whereis(&self.spec.address);
        let actor = actor.or_else(|| self.serving.clone());
        if let (Some(split), Some((_, candidate))) = (&self.split, &self.candidate) {
            return Reading::of_split(split, actor.as_ref(), candidate);
        }
        Reading::alone(actor.as_ref(), self.memory_before)
    }
}
