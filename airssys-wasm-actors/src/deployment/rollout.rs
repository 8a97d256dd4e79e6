//! Deployments carried out: what the machine says is done to the application that runs.
//!
//! Owns [`Deployer`], one for a running application, and [`Rollout`], the handle on one deployment. A task drives each
//! rollout: it tells the machine what happened, has done what it says, and never waits on anything but the next
//! event. One rollout at a time changes an application. What is decided is decided by the plan, the machine and the gate;
//! what is done to instances is done by upgrades and routes.

mod arms;
mod bounds;
mod children;
mod component_file;
mod driver;
mod endings;
mod hanging;
mod healing;
mod journal;
mod mixed;
mod parts;
mod reading;
mod told;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

pub use arms::{ArmCounts, StepArms};
pub use healing::{HealedArtifact, heal_artifacts};
pub use journal::{NOTE_BYTES_MAX, RegisterError, artifacts_of, register_first};
pub use turns::{CancelRefused, OrderNote, Turn, Waiting, WaitingOrder};

use super::machine::{Command, CommandRefused, RolloutEnd, StepId};
use super::outline::{ApplicationOutline, SourceOutline};
use super::plan::{Plan, PlanOptions, PlanRefused, plan};
use crate::application::running::Live;
use crate::application::{Application, RunningApplication};
use crate::configuration::{ConfigOrder, ConfigOrderRefused};
use crate::registry::DeploymentState;
use crate::registry::{Registry, RegistryError};
use crate::system::System;
use crate::upgrade::Ahead;
use driver::Driver;
use endings::Endings;
use mixed::Mixed;
use parts::{Ground, StepParts};
use turns::{Turns, too_long};

/// Rollouts that are remembered.
const ROLLOUTS_KEPT: usize = 64;

/// What is said of a deployment beside what it deploys.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// What is said beside the manifest.
    pub plan: PlanOptions,
    /// Who deploys.
    pub by: String,
    /// Why.
    pub why: String,
    /// Where the manifest came from.
    pub source: String,
    /// Whether it waits its turn while another one is under way, instead of being refused.
    pub queue: bool,
    /// What was done for it before: the first notes of its log.
    pub notes: Vec<String>,
}

/// Why nothing is deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// What runs cannot become what is asked for.
    #[error(transparent)]
    Refused(#[from] PlanRefused),
    /// The plan holds what cannot be done while the application runs.
    #[error("{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// The configuration is not to be changed so.
    #[error(transparent)]
    Configuration(#[from] ConfigOrderRefused),
    /// Who deploys, or why, is told at too great a length.
    #[error("`{what}` has {bytes} bytes; use {NOTE_BYTES_MAX} at most")]
    TooLong {
        /// `by` or `why`; `what` of an order that is to wait.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// The host is going down.
    #[error("the host is going down")]
    GoingDown,
    /// Another deployment is under way.
    #[error("another deployment is under way: wait for it, roll it back, or queue this one")]
    UnderWay,
    /// Somebody has cancelled it while it waited for its turn, or had it and had not begun.
    #[error("cancelled before it began{}", by_whom(by, why))]
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

/// By whom and why, as far as it was said.
fn by_whom(by: &str, why: &str) -> String {
    let mut text = String::new();
    if !by.is_empty() {
        text.push_str(&format!(", by `{by}`"));
    }
    if !why.is_empty() {
        text.push_str(&format!(": {why}"));
    }
    text
}

/// The plan, with what of `before` does not run.
fn planned(
    before: &ApplicationOutline,
    new: &ApplicationOutline,
    options: &PlanOptions,
) -> Result<Plan, PlanRefused> {
    let stopped = before.components.iter();
    let stopped = stopped.filter(|one| one.running.is_none() && new.component(&one.name).is_some());
    Ok(Plan {
        stopped: stopped.map(|one| one.name.clone()).collect(),
        ..plan(before, new, options)?
    })
}

/// Deploys to one running application. Clones are the same.
#[derive(Clone)]
pub struct Deployer {
    inner: Arc<Inner>,
}

struct Inner {
    system: System,
    live: Arc<Live>,
    registry: Option<Registry>,
    current: Mutex<Current>,
    turns: Turns,
    rollouts: Mutex<VecDeque<Rollout>>,
    endings: Endings,
    /// A deployment of its own may stand in the registry whose last record was not written.
    unended: AtomicBool,
}

/// What runs.
#[derive(Clone)]
struct Current {
    application: Arc<Application>,
    /// The number of its deployment.
    number: Option<u64>,
    /// What of it may be otherwise.
    mixed: Mixed,
}

impl Current {
    fn outline(&self) -> ApplicationOutline {
        let mut outline = self.application.outline();
        self.mixed.put_into(&mut outline);
        outline
    }
}

impl std::fmt::Debug for Deployer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployer")
            .field("application", self.current().name())
            .finish_non_exhaustive()
    }
}

impl Deployer {
    /// Deploys to `running`, which was started from `application`. With a registry, every deployment is recorded there;
    /// `number` is the one that runs.
    #[must_use]
    pub fn new(
        running: &RunningApplication,
        application: Application,
        registry: Option<(Registry, u64)>,
    ) -> Self {
        let (registry, number) = registry.unzip();
        Self {
            inner: Arc::new(Inner {
                system: running.system().clone(),
                live: Arc::clone(running.live()),
                registry,
                current: Mutex::new(Current {
                    application: Arc::new(application),
                    number,
                    mixed: Mixed::default(),
                }),
                turns: Turns::default(),
                rollouts: Mutex::default(),
                endings: Endings::default(),
                unended: AtomicBool::new(false),
            }),
        }
    }

    /// The application that runs, as it was deployed last. What a failed deployment could not put back may be otherwise,
    /// which [`Deployer::plan`] says.
    #[must_use]
    pub fn current(&self) -> Arc<Application> {
        Arc::clone(&self.inner.current.lock().application)
    }

    /// The number of the deployment that runs, if there is a registry.
    #[must_use]
    pub fn current_number(&self) -> Option<u64> {
        self.inner.current.lock().number
    }

    /// Where its deployments are recorded.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        self.inner.registry.as_ref()
    }

    /// What leads from what runs to `new`, changing nothing.
    ///
    /// # Errors
    /// [`DeployError`] with everything that stands in the way.
    pub fn plan(&self, new: &Application, options: &PlanOptions) -> Result<Plan, DeployError> {
        let current = self.runs();
        let plan = planned(&self.outline(&current), &new.outline(), options)?;
        let ground = self.ground(&current.application, &Arc::new(new.clone()));
        self.steps(&plan, &ground)?;
        Ok(plan)
    }

    fn runs(&self) -> Current {
        self.inner.current.lock().clone()
    }

    /// What runs, and how many replicas there are by now.
    fn outline(&self, current: &Current) -> ApplicationOutline {
        let mut outline = current.outline();
        for component in &mut outline.components {
            let address = outline.name.join(&component.name);
            component.running = address.ok().and_then(|it| self.inner.system.replicas(&it));
        }
        // One that was kept, or not put back, is not what was deployed last.
        let sources = self.inner.live.feeding.plans().into_iter();
        outline.sources = sources.map(|plan| SourceOutline::of(&plan)).collect();
        outline
    }

    fn ground(&self, old: &Arc<Application>, new: &Arc<Application>) -> Ground {
        Ground {
            system: self.inner.system.clone(),
            live: Arc::clone(&self.inner.live),
            old: Arc::clone(old),
            new: Arc::clone(new),
            endings: self.inner.endings.clone(),
            starts_wait: Arc::default(),
        }
    }

    fn steps(&self, plan: &Plan, ground: &Ground) -> Result<Vec<StepParts>, DeployError> {
        let mut steps = Vec::with_capacity(plan.steps.len());
        let mut unsupported = Vec::new();
        let mut ahead = Ahead::default();
        for step in &plan.steps {
            if !step.together.is_empty() {
                let names: Vec<_> = step.parts.iter().map(|part| part.name.as_str()).collect();
                unsupported.push(format!(
                    "`{}` fit each other only when all of them change at once, which cannot be done while they run: \
                     deploy a revision in between that fits both, or stop the application and start it anew",
                    names.join("`, `")
                ));
                continue;
            }
            match StepParts::of(step, ground, &mut ahead) {
                Ok(parts) => steps.push(parts),
                Err(why) => unsupported.push(why),
            }
        }
        if unsupported.is_empty() {
            Ok(steps)
        } else {
            Err(DeployError::Unsupported(unsupported))
        }
    }

    /// Begins to roll out `new`. Everything that can be known before is checked first; what follows is the rollout's. What
    /// is in every word what runs already ends at once, and is recorded only if the registry would boot another.
    ///
    /// # Errors
    /// [`DeployError`], with nothing changed.
    pub async fn deploy(
        &self,
        new: Application,
        options: DeployOptions,
    ) -> Result<Rollout, DeployError> {
        let what = match options.source.as_str() {
            "" => "deploy".to_owned(),
            source => format!("deploy {source}"),
        };
        let turn = self.turn_of(&options, what).await?;
        self.deploy_at(turn, new, options)
    }

    /// As [`Deployer::deploy`], in a turn that was taken before.
    ///
    /// # Errors
    /// [`DeployError`], with nothing changed; the turn is given back. [`DeployError::Cancelled`] if it was taken away.
    pub fn deploy_at(
        &self,
        turn: Turn,
        new: Application,
        options: DeployOptions,
    ) -> Result<Rollout, DeployError> {
        self.begin(new, options, turn)
    }

    /// Begins to deploy the application that runs at its turn, with another configuration. `None` if that is no other one.
    ///
    /// # Errors
    /// [`DeployError`], with nothing changed.
    pub async fn configure(
        &self,
        order: ConfigOrder,
        options: DeployOptions,
    ) -> Result<Option<Rollout>, DeployError> {
        let turn = self.turn_of(&options, order.to_string()).await?;
        self.configure_at(turn, order, options).await
    }

    /// As [`Deployer::configure`], in a turn that was taken before.
    ///
    /// # Errors
    /// [`DeployError`], with nothing changed; the turn is given back.
    pub async fn configure_at(
        &self,
        turn: Turn,
        order: ConfigOrder,
        mut options: DeployOptions,
    ) -> Result<Option<Rollout>, DeployError> {
        // It is of components, and of no source that was kept as it was.
        options.plan.keep_sources = true;
        let before = self.runs();
        let current = Arc::clone(&before.application);
        let configured = tokio::task::spawn_blocking(move || current.configured(&order)).await;
        let new = configured.map_err(|_| DeployError::GoingDown)??;
        let same = new.settings() == before.application.settings();
        if same && plan(&before.outline(), &new.outline(), &options.plan)?.is_empty() {
            return Ok(None);
        }
        self.begin(new, options, turn).map(Some)
    }

    fn begin(
        &self,
        new: Application,
        options: DeployOptions,
        turn: Turn,
    ) -> Result<Rollout, DeployError> {
        let notes = [("by", &*options.by), ("why", &*options.why)];
        if let Some((what, bytes)) = too_long(&notes) {
            return Err(DeployError::TooLong { what, bytes });
        }
        let (runs, new) = (self.runs(), Arc::new(new));
        let before = self.outline(&runs);
        let current = runs.application;
        let plan = Arc::new(planned(&before, &new.outline(), &options.plan)?);
        let ground = self.ground(&current, &new);
        let steps = self.steps(&plan, &ground)?;
        // Of what does not differ a record would be what the next rollback goes back from, to the very same.
        let differs = !plan.is_empty()
            || new.manifest() != current.manifest()
            || new.settings() != current.settings();
        // One that begins after this is told of the stop, and waited for.
        let stopping = self.inner.live.stopping.subscribe();
        if *stopping.borrow() {
            return Err(DeployError::GoingDown);
        }
        turn.begin()?;
        let turn = (turn, stopping);
        let (rollout, driver) =
            Driver::new(self.clone(), plan, ground, steps, options, turn, differs);
        {
            let mut rollouts = self.inner.rollouts.lock();
            if rollouts.len() >= ROLLOUTS_KEPT {
                rollouts.pop_front();
            }
            rollouts.push_back(rollout.clone());
        }
        tokio::spawn(driver.run());
        Ok(rollout)
    }

    /// The rollout that was begun last, if there has been one since the host began.
    #[must_use]
    pub fn rollout(&self) -> Option<Rollout> {
        self.inner.rollouts.lock().back().cloned()
    }

    /// Every rollout since the host began that is remembered, oldest first: the last 64.
    #[must_use]
    pub fn rollouts(&self) -> Vec<Rollout> {
        self.inner.rollouts.lock().iter().cloned().collect()
    }

    /// Ends what its own deployments have left in the registry without an end, if they have; for whoever has the turn. `note`
    /// says why.
    /// Blocks the thread for as long as the disk takes.
    fn end_lost(
        &self,
        registry: &Registry,
        note: fn(DeploymentState) -> String,
    ) -> Result<(), RegistryError> {
        if self.inner.unended.load(Ordering::Acquire) {
            let name = self.current().name().clone();
            journal::end_unfinished(registry, &name, note)?;
            self.inner.unended.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// The new application runs from now on, and nothing of any other.
    fn became(&self, new: &Arc<Application>, number: Option<u64>) {
        *self.inner.current.lock() = Current {
            application: Arc::clone(new),
            number,
            mixed: Mixed::default(),
        };
    }

    /// What these steps of a plan that led to `new` have changed stays.
    fn left(&self, plan: &Plan, steps: &[StepId], new: &Application) {
        let new = new.outline();
        self.inner.current.lock().mixed.add(plan, steps, &new);
    }
}

/// One deployment on its way. Clones are the same; dropping them stops nothing.
#[derive(Clone)]
pub struct Rollout {
    plan: Arc<Plan>,
    status: watch::Receiver<RolloutStatus>,
    commands: mpsc::Sender<(Command, oneshot::Sender<Result<(), CommandRefused>>)>,
}

impl std::fmt::Debug for Rollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollout")
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

/// Where a rollout stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RolloutStatus {
    /// The application.
    pub application: String,
    /// The number of the deployment, if there is a registry and it has come so far.
    pub number: Option<u64>,
    /// Who deployed.
    pub by: String,
    /// Why.
    pub why: String,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// The newest record.
    pub state: Option<DeploymentState>,
    /// Whether its clocks stand still.
    pub paused: bool,
    /// What holds it up that no command ends, if something does: the registry does not say whether the last record is
    /// written, or does not answer. Until then nobody else has the turn.
    pub held: Option<String>,
    /// Each step of the plan.
    pub steps: Vec<StepStatus>,
    /// How it ended, if it has.
    pub end: Option<RolloutOutcome>,
    /// What has happened, oldest first; the last 256.
    pub log: VecDeque<RolloutNote>,
}

/// Where one step of a rollout stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct StepStatus {
    /// What it changes.
    pub parts: Vec<String>,
    /// Where it is.
    pub state: StepState,
    /// The new revision's share of the traffic in ten thousandths, while it is split.
    pub weight: Option<u16>,
    /// What each revision did while it is split, or copied, as it was when the last interval ended.
    pub arms: Option<StepArms>,
}

/// Where one step of a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepState {
    /// Nothing has been done.
    Waiting,
    /// The new revision is warm.
    Warm,
    /// The new revision is tried with a part of the traffic, or with copies.
    Trial,
    /// It is being switched.
    Switching,
    /// The new revision serves.
    Switched,
    /// The old revision is being put back.
    SwitchingBack,
    /// The old revision serves again.
    SwitchedBack,
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RolloutOutcome {
    /// The new revisions serve.
    Permanent,
    /// The old revisions serve again.
    RolledBack {
        /// What made it so.
        reason: String,
    },
    /// Nothing was switched, or something could not be switched back.
    Failed {
        /// What made it so.
        reason: String,
        /// What could not be switched back, and why not.
        stuck: Vec<String>,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RolloutNote {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What.
    pub what: String,
}

impl Rollout {
    /// What it does.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> RolloutStatus {
        self.status.borrow().clone()
    }

    /// Waits until it is over; says how it ended.
    pub async fn finished(&self) -> RolloutOutcome {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| status.end.is_some()).await;
        let end = ended.ok().and_then(|status| status.end.clone());
        // Its task was dropped with the runtime.
        end.unwrap_or_else(|| RolloutOutcome::Failed {
            reason: "the host went down".to_owned(),
            stuck: Vec::new(),
        })
    }

    /// Waits until its status fulfils a condition, or the rollout is over; returns the status.
    pub async fn until(&self, condition: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        let mut status = self.status.clone();
        let met = status
            .wait_for(|status| status.end.is_some() || condition(status))
            .await;
        met.map_or_else(|_| self.status(), |status| status.clone())
    }

    async fn command(&self, command: Command) -> Result<(), CommandRefused> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send((command, reply)).await.is_err() {
            return Err(CommandRefused::Over);
        }
        answer.await.unwrap_or(Err(CommandRefused::Over))
    }

    /// Skips what is left of the step's time, or of the soak; ends a pause.
    ///
    /// # Errors
    /// [`CommandRefused`].
    pub async fn promote(&self) -> Result<(), CommandRefused> {
        self.command(Command::Promote).await
    }

    /// Stops its clocks; no further step begins.
    ///
    /// # Errors
    /// [`CommandRefused`].
    pub async fn pause(&self) -> Result<(), CommandRefused> {
        self.command(Command::Pause).await
    }

    /// Lets its clocks go on.
    ///
    /// # Errors
    /// [`CommandRefused`].
    pub async fn resume(&self) -> Result<(), CommandRefused> {
        self.command(Command::Resume).await
    }

    /// Puts the old revisions back. Returns at once; [`Rollout::finished`] waits for it. Of a reason of more than 4 KiB the
    /// journal keeps the beginning.
    ///
    /// # Errors
    /// [`CommandRefused`].
    pub async fn roll_back(&self, why: &str) -> Result<(), CommandRefused> {
        let why = why.to_owned();
        self.command(Command::RollBack { why }).await
    }
}

impl RolloutOutcome {
    fn of(end: RolloutEnd, plan: &Plan) -> Self {
        match end {
            RolloutEnd::Permanent => Self::Permanent,
            RolloutEnd::RolledBack { why, unjournaled } => Self::RolledBack {
                reason: with_journal(why, unjournaled),
            },
            RolloutEnd::Failed {
                why,
                stuck,
                unjournaled,
            } => Self::Failed {
                reason: with_journal(why, unjournaled),
                stuck: stuck
                    .into_iter()
                    .map(|(step, why)| {
                        let parts = plan.steps.get(step.0).map(|step| &step.parts);
                        let names = parts.into_iter().flatten().map(|part| part.name.as_str());
                        format!("{}: {why}", names.collect::<Vec<_>>().join(", "))
                    })
                    .collect(),
            },
        }
    }
}

fn with_journal(why: String, unjournaled: Option<String>) -> String {
    match unjournaled {
        Some(lost) => format!("{why} (and the journal does not say so: {lost})"),
        None => why,
    }
}
