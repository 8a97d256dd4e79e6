//! What is to be deployed, and what becomes of it.
//!
//! Owns [`Deploying`], what a host gives to have its application deployed to, and the orders: each request to deploy is one,
//! goes on in the runtime of the host whether or not its client waits, and can be asked for until newer ones take its place.
//! Reading, compiling and the registry block, and do so on threads for that; one manifest is compiled at a time.

pub(super) mod refusals;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airssys_wasm_actors::deployment::{
    Action, CommandRefused, DeployError, DeployOptions, Deployer, Gate, OrderNote, Plan,
    PlanOptions, Rollout, RolloutStrategy, StateHandling, Turn, artifacts_of,
};
use airssys_wasm_actors::{
    Application, ApplicationSpec, ConfigOrder, ConfigSettings, ManifestErrors, REPLICAS_MAX,
    Registry,
};
use axum::http::StatusCode;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::ACTION_WITHIN;
use super::answer::Refusal;
use crate::api::{
    CancelRequest, ConfigRequest, CurrentDeployment, DeployAnswer, DeployPhase, DeployRequest,
    RollbackRequest, ScaleRequest, WaitingView,
};
use words::{note, plan_options, recorded};

/// Most orders that are remembered, and that can be under way or waiting. As many commands to what is under way are remembered beside
/// them: none of those is refused for want of a place.
pub const ORDERS_MAX: usize = 64;

/// What of an application is not in its manifest.
#[derive(Default)]
pub struct Beside {
    /// Files of components in the place of those that the manifest names.
    pub artifacts: BTreeMap<String, PathBuf>,
    /// Values of configurations that were set.
    pub settings: ConfigSettings,
}

/// No values, which can be secrets.
impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside")
            .field("artifacts", &self.artifacts)
            .field("settings", &self.settings.keys())
            .finish()
    }
}

/// Makes an application of a manifest, and of what is not in it. Blocks.
pub type ResolveManifest =
    Box<dyn Fn(&ApplicationSpec, Beside) -> Result<Application, ManifestErrors> + Send + Sync>;

/// What a host gives to have its application deployed to.
pub struct Deploying {
    /// Deploys to it.
    pub deployer: Deployer,
    /// The manifest it was started from: what a manifest of the registry is taken to lie at.
    pub manifest: PathBuf,
    /// Where deployments run: the runtime of the host, never the server's.
    pub runtime: Handle,
    /// As the host resolved the manifest it was started from.
    pub resolve: ResolveManifest,
}

impl std::fmt::Debug for Deploying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deploying")
            .field("deployer", &self.deployer)
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

/// The orders of one host.
pub(super) struct Orders {
    deploying: Arc<Deploying>,
    /// Requests write, and so does nobody else; held for a few steps.
    kept: Mutex<Kept>,
    compiling: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    orders: VecDeque<Arc<Order>>,
    /// Those that gave up what was under way. They had their effect when they came.
    commands: VecDeque<Arc<Order>>,
}

/// One request to deploy.
pub(super) struct Order {
    number: u64,
    progress: watch::Sender<Progress>,
}

#[derive(Clone)]
struct Progress {
    phase: DeployPhase,
    plan: Option<Arc<Plan>>,
    refusal: Option<Refusal>,
    rollout: Option<Rollout>,
    /// The number it waits under.
    waiting: Option<u64>,
    /// The number that cancels it: while it waits, and at its turn until it begins.
    order: Option<u64>,
}

/// Where what is deployed comes from.
#[derive(Clone)]
enum From {
    Manifest(PathBuf),
    /// A deployment of the registry; its rollback target if no number is said.
    Registry(Option<u64>),
    /// What runs, with so many replicas of one component.
    Replicas(String, u32),
    /// What runs, configured otherwise.
    Running(ConfigOrder),
}

#[derive(Clone)]
struct Job {
    from: From,
    /// What is said of it while it waits.
    note: OrderNote,
    options: DeployOptions,
    plan_only: bool,
}

/// What fits what runs.
struct Ready {
    application: Application,
    /// What ran when it was prepared.
    base: Arc<Application>,
    /// It is what runs with this done to it, and at its turn that can be another.
    order: Option<ConfigOrder>,
    plan: Option<Plan>,
    options: DeployOptions,
}

impl Order {
    fn new(number: u64, phase: DeployPhase, rollout: Option<Rollout>) -> Self {
        Self {
            number,
            progress: watch::Sender::new(Progress {
                phase,
                plan: None,
                refusal: None,
                rollout,
                waiting: None,
                order: None,
            }),
        }
    }

    fn refuse(&self, refusal: Refusal) {
        self.progress.send_modify(|progress| {
            progress.waiting = None;
            progress.order = None;
            progress.phase = DeployPhase::Refused;
            progress.refusal = Some(refusal);
        });
    }

    fn phase(&self) -> DeployPhase {
        self.progress.borrow().phase_now()
    }

    /// What has become of it.
    pub(super) fn answer(&self) -> DeployAnswer {
        let progress = self.progress.borrow().clone();
        let plan = progress.plan.as_deref();
        DeployAnswer {
            request: self.number,
            phase: progress.phase_now(),
            plan: plan.and_then(|plan| serde_json::to_value(plan).ok()),
            text: plan.map(ToString::to_string),
            refusal: progress
                .refusal
                .as_ref()
                .map(|refusal| refusal.report().clone()),
            rollout: progress.rollout.map(|rollout| rollout.status().into()),
            waiting: progress.waiting,
            order: progress.order,
        }
    }

    /// The answer once it is checked, or when that has taken long enough; a refusal is one of the request.
    pub(super) async fn checked(&self) -> Result<DeployAnswer, Refusal> {
        let mut progress = self.progress.subscribe();
        let checked = progress.wait_for(|progress| progress.phase != DeployPhase::Checking);
        let checked = tokio::time::timeout(ACTION_WITHIN, checked).await;
        if let Ok(Ok(progress)) = checked
            && let Some(refusal) = &progress.refusal
        {
            return Err(refusal.clone());
        }
        Ok(self.answer())
    }
}

impl Progress {
    fn phase_now(&self) -> DeployPhase {
        let over = |rollout: &Rollout| rollout.status().end.is_some();
        match self.phase {
            DeployPhase::RollingOut if self.rollout.as_ref().is_some_and(over) => DeployPhase::Over,
            phase => phase,
        }
    }
}

impl Kept {
    fn number(&mut self, phase: DeployPhase, rollout: Option<Rollout>) -> Arc<Order> {
        self.last += 1;
        Arc::new(Order::new(self.last, phase, rollout))
    }
}

impl Orders {
    pub(super) fn new(deploying: Deploying) -> Self {
        Self {
            deploying: Arc::new(deploying),
            kept: Mutex::default(),
            compiling: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) fn deployer(&self) -> &Deployer {
        &self.deploying.deployer
    }

    pub(super) fn registry(&self) -> Result<&Registry, Refusal> {
        self.deployer().registry().ok_or_else(refusals::no_registry)
    }

    pub(super) fn current(&self) -> CurrentDeployment {
        let deployer = self.deployer();
        CurrentDeployment {
            number: deployer.current_number(),
            registry: deployer.registry().is_some(),
            rollout: deployer.rollout().map(|rollout| rollout.status().into()),
            preparing: deployer.preparing().map(Into::into),
            waiting: deployer.waiting().into_iter().map(Into::into).collect(),
        }
    }

    /// Takes an order that waits out of the line, or the turn from one that has not begun.
    pub(super) fn cancel(&self, request: &CancelRequest) -> Result<WaitingView, Refusal> {
        let CancelRequest { order, by, why } = request;
        let cancelled = self.deployer().cancel(*order, by, why);
        cancelled
            .map(Into::into)
            .map_err(|refused| refusals::of_cancel(&refused))
    }

    /// The order of a number.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Order>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut orders = kept.orders.iter().chain(&kept.commands);
        orders.find(|order| order.number == number).cloned()
    }

    /// A place for what is to be done, if there is one.
    fn keep(&self) -> Result<Arc<Order>, Refusal> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.orders.len() >= ORDERS_MAX {
            let done = kept.orders.iter();
            let done = done.map(|order| order.phase().is_final());
            let Some(oldest) = done.into_iter().position(|done| done) else {
                return Err(refusals::too_many());
            };
            kept.orders.remove(oldest);
        }
        let order = kept.number(DeployPhase::Checking, None);
        kept.orders.push_back(Arc::clone(&order));
        Ok(order)
    }

    /// A place for what has been done, always: the oldest one is forgotten for it.
    fn keep_command(&self, rollout: Rollout) -> Arc<Order> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.commands.len() >= ORDERS_MAX {
            kept.commands.pop_front();
        }
        let order = kept.number(DeployPhase::RollingOut, Some(rollout));
        kept.commands.push_back(Arc::clone(&order));
        order
    }

    /// Begins to deploy a manifest.
    pub(super) fn deploy(&self, request: DeployRequest) -> Result<Arc<Order>, Refusal> {
        let manifest = PathBuf::from(&request.manifest);
        if !manifest.is_absolute() {
            let what = format!("`{}` is no absolute path", request.manifest.escape_debug());
            return Err(Refusal::bad(what).hint("the host may be in another directory"));
        }
        let what = format!("deploy {}", request.manifest);
        let note = note(&what, &request.by, &request.why);
        let options = DeployOptions {
            plan: plan_options(&request.rollout)?,
            by: request.by,
            why: request.why,
            source: request.manifest,
            queue: request.queue,
        };
        self.begin(Job {
            from: From::Manifest(manifest),
            note,
            options,
            plan_only: request.plan_only,
        })
    }

    /// Rolls back what is under way, or deploys what was before.
    pub(super) async fn roll_back(&self, request: RollbackRequest) -> Result<Arc<Order>, Refusal> {
        if request.to.is_none()
            && let Some(rollout) = self.deployer().rollout()
            && rollout.status().end.is_none()
        {
            if request.plan_only {
                return Err(refusals::nothing_to_plan());
            }
            let by = match request.by.as_str() {
                "" => "request",
                by => by,
            };
            let why = match request.why.as_str() {
                "" => format!("rolled back by {by}"),
                why => format!("rolled back by {by}: {why}"),
            };
            commanded(rollout.roll_back(&why)).await?;
            // What is done cannot be refused any more.
            return Ok(self.keep_command(rollout));
        }
        self.registry()?;
        let mut words = request.rollout;
        let others = [
            &words.soak,
            &words.steps,
            &words.sticky,
            &words.share,
            &words.pause,
        ];
        if others.iter().any(|said| said.is_some()) {
            words
                .strategy
                .get_or_insert_with(|| "blue-green".to_owned());
        }
        let mut plan = plan_options(&words)?;
        plan.strategy
            .get_or_insert_with(|| RolloutStrategy::BlueGreen {
                soak: Duration::ZERO,
                gate: Gate::default(),
            });
        let what = match request.to {
            Some(to) => format!("rollback to {to}"),
            None => "rollback".to_owned(),
        };
        let note = note(&what, &request.by, &request.why);
        let options = DeployOptions {
            plan,
            by: request.by,
            why: request.why,
            source: String::new(),
            queue: request.queue,
        };
        self.begin(Job {
            from: From::Registry(request.to),
            note,
            options,
            plan_only: request.plan_only,
        })
    }

    /// Begins to deploy what runs with another number of replicas.
    pub(super) fn scale(&self, request: ScaleRequest) -> Result<Arc<Order>, Refusal> {
        let ScaleRequest {
            component,
            replicas,
            discard_state,
            by,
            why,
            queue,
            plan_only,
        } = request;
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            let what = format!("there cannot be {replicas} replicas");
            return Err(Refusal::bad(what).hint(format!("use 1 to {REPLICAS_MAX}")));
        }
        let current = self.deployer().current();
        let prefix = format!("{}/", current.name());
        let name = component.strip_prefix(&prefix).unwrap_or(&component);
        let plan = PlanOptions {
            state: discard_state.then_some(StateHandling::Discard),
            ..PlanOptions::default()
        };
        let what = format!("scale {name} to {replicas}");
        let note = note(&what, &by, &why);
        let why = recorded(&what, &why);
        self.begin(Job {
            from: From::Replicas(name.to_owned(), replicas),
            note,
            options: DeployOptions {
                plan,
                by,
                why,
                source: String::new(),
                queue,
            },
            plan_only,
        })
    }

    /// Begins to configure what runs otherwise.
    pub(super) fn configure(&self, request: ConfigRequest) -> Result<Arc<Order>, Refusal> {
        let ConfigRequest {
            component,
            set,
            unset,
            reload,
            by,
            why,
            queue,
            plan_only,
        } = request;
        let order = ConfigOrder {
            component,
            set,
            unset,
            reload,
        };
        let what = order.to_string();
        let note = note(&what, &by, &why);
        let why = recorded(&what, &why);
        let options = DeployOptions {
            by,
            why,
            source: "config".to_owned(),
            queue,
            ..DeployOptions::default()
        };
        self.begin(Job {
            from: From::Running(order),
            note,
            options,
            plan_only,
        })
    }

    fn begin(&self, job: Job) -> Result<Arc<Order>, Refusal> {
        let order = self.keep()?;
        let (deploying, compiling) = (Arc::clone(&self.deploying), Arc::clone(&self.compiling));
        let working = Arc::clone(&order);
        self.deploying.runtime.spawn(async move {
            if let Err(refusal) = carry_out(&working, deploying, &compiling, job).await {
                working.refuse(refusal);
            }
        });
        Ok(order)
    }
}

/// Does what an order says; a refusal where nothing was changed.
async fn carry_out(
    order: &Order,
    deploying: Arc<Deploying>,
    compiling: &Semaphore,
    job: Job,
) -> Result<(), Refusal> {
    let (plan_only, note) = (job.plan_only, job.note.clone());
    let prepared = async || {
        // It is never closed.
        let _one_at_a_time = compiling.acquire().await;
        let (deploying, job) = (Arc::clone(&deploying), job.clone());
        let preparing = tokio::task::spawn_blocking(move || prepare(&deploying, job));
        preparing.await.map_err(|_| refusals::broken())?
    };
    let mut ready = prepared().await?;
    let queue = ready.options.queue;
    order.progress.send_modify(|progress| {
        progress.plan = ready.plan.take().map(Arc::new);
        if plan_only {
            progress.phase = DeployPhase::Planned;
        }
    });
    if plan_only {
        return Ok(());
    }
    let deployer = &deploying.deployer;
    let turn = match deployer.turn_for(note.clone()) {
        Err(DeployError::UnderWay) if queue => waited(order, deployer, note).await,
        turn => turn,
    };
    let turn = turn.map_err(|error| refusals::of_deploy(&error))?;
    order
        .progress
        .send_modify(|progress| progress.order = turn.order());
    let rollout = match ready.order {
        Some(asked) => deployer.configure_at(turn, asked, ready.options).await,
        None => {
            // What it is built on can be another by now: what was set, how many there are, of which revision.
            if !Arc::ptr_eq(&ready.base, &deployer.current()) {
                ready = prepared().await?;
            }
            let begun = deployer.deploy_at(turn, ready.application, ready.options);
            begun.map(Some)
        }
    };
    let Some(rollout) = rollout.map_err(|error| refusals::of_deploy(&error))? else {
        // It is configured so already.
        order.progress.send_modify(|progress| {
            progress.phase = DeployPhase::Planned;
            progress.order = None;
        });
        return Ok(());
    };
    order.progress.send_modify(|progress| {
        progress.order = None;
        // What it does, which is not what it would have done when it was asked for.
        progress.plan = Some(Arc::new(rollout.plan().clone()));
        progress.phase = DeployPhase::RollingOut;
        progress.rollout = Some(rollout);
    });
    Ok(())
}

/// The turn of an order, which is listed until it comes.
async fn waited(order: &Order, deployer: &Deployer, note: OrderNote) -> Result<Turn, DeployError> {
    let waiting = deployer.queue(note)?;
    order.progress.send_modify(|progress| {
        progress.phase = DeployPhase::Waiting;
        progress.waiting = Some(waiting.id());
        progress.order = progress.waiting;
    });
    let turn = waiting.turn().await;
    order
        .progress
        .send_modify(|progress| progress.waiting = None);
    turn
}

/// Reads, compiles and plans. Blocks.
fn prepare(deploying: &Deploying, job: Job) -> Result<Ready, Refusal> {
    let deployer = &deploying.deployer;
    let base = deployer.current();
    let mut options = job.options;
    let scales = matches!(job.from, From::Replicas(..));
    let resolved = |spec: &ApplicationSpec, beside: Beside| {
        let resolved = (deploying.resolve)(spec, beside);
        resolved.map_err(|errors| refusals::of_manifest(&errors))
    };
    let mut order = None;
    let application = match job.from {
        From::Running(asked) => {
            let configured = deployer.current().configured(&asked);
            order = Some(asked);
            configured.map_err(|error| refusals::of_deploy(&error.into()))?
        }
        From::Manifest(path) => {
            let spec = ApplicationSpec::read(&path);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            let beside = Beside {
                settings: deployer.current().settings(),
                ..Beside::default()
            };
            resolved(&spec, beside)?
        }
        From::Registry(to) => {
            let registry = deployer.registry().ok_or_else(refusals::no_registry)?;
            let refused = |error| refusals::of_registry(&error);
            let application = deployer.current();
            let name = application.name();
            let number = match to {
                Some(number) => number,
                None => {
                    let pointers = registry.pointers(name).map_err(refused)?;
                    pointers.rollback_target.ok_or_else(refusals::no_target)?
                }
            };
            let deployment = registry.deployment(name, number).map_err(refused)?;
            let artifacts = artifacts_of(registry, &deployment).map_err(refused)?;
            let settings = deployment.settings;
            let spec = ApplicationSpec::parse(deploying.manifest.clone(), deployment.manifest);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            options.why = recorded(&format!("rollback to {number}"), &options.why);
            options.source = format!("deployment {number}");
            let beside = Beside {
                artifacts,
                settings,
            };
            resolved(&spec, beside)?
        }
        From::Replicas(name, replicas) => {
            let current = deployer.current();
            let text = current.manifest().to_owned();
            let spec = ApplicationSpec::parse(deploying.manifest.clone(), text);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            let spec = spec.with_replicas(&name, replicas);
            let spec = spec.map_err(|error| refusals::of_edit(&error))?;
            let beside = Beside {
                artifacts: files_of(deployer, &current)?,
                settings: current.settings(),
            };
            resolved(&spec, beside)?
        }
    };
    let under_way = || {
        let newest = deployer.rollout();
        newest.is_some_and(|rollout| rollout.status().end.is_none())
    };
    let plan = match deployer.plan(&application, &options.plan) {
        Ok(plan) => Some(plan),
        // It is planned again at its turn, when something else runs.
        Err(_) if options.queue && !job.plan_only && under_way() => None,
        Err(error) => return Err(refusals::of_deploy(&error)),
    };
    let more = |plan: &&Plan| {
        let mut parts = plan.steps.iter().flat_map(|step| &step.parts);
        parts.any(|part| !matches!(part.action, Action::Scale { .. }))
    };
    if scales && let Some(plan) = plan.as_ref().filter(more) {
        return Err(refusals::not_scaled(&plan.to_string()));
    }
    Ok(Ready {
        application,
        base,
        order,
        plan,
        options,
    })
}

/// The files that what runs was made of: those of the registry, which nobody changes, or where there is none those that it
/// was read from.
fn files_of(
    deployer: &Deployer,
    current: &Application,
) -> Result<BTreeMap<String, PathBuf>, Refusal> {
    if let (Some(registry), Some(number)) = (deployer.registry(), deployer.current_number()) {
        let refused = |error| refusals::of_registry(&error);
        let deployment = registry
            .deployment(current.name(), number)
            .map_err(refused)?;
        return artifacts_of(registry, &deployment).map_err(refused);
    }
    let all = current.components().iter().chain(current.spawned());
    Ok(all
        .map(|one| (one.name.clone(), one.file.clone()))
        .collect())
}

/// An answer to a command, within its time.
pub(super) async fn commanded(
    command: impl Future<Output = Result<(), CommandRefused>>,
) -> Result<(), Refusal> {
    match tokio::time::timeout(ACTION_WITHIN, command).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(refusals::of_command(refused)),
        Err(_) => Err(Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "the rollout is ending, and has not answered in time",
        )),
    }
}
