//! What is to be deployed, and what becomes of it.
//!
//! Owns [`Deploying`], what a host gives to have its application deployed to, and the orders: each request to deploy is one,
//! goes on in the runtime of the host whether or not its client waits, and can be asked for until newer ones take its place.
//! Reading, compiling and the registry block, and do so on threads for that; one manifest is compiled at a time.

mod preparing;
pub(super) mod refusals;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airssys_wasm_actors::deployment::{
    CommandRefused, DeployError, DeployOptions, Deployer, Gate, OrderNote, Plan, PlanOptions,
    Rollout, RolloutStrategy, StateHandling, Turn, Waiting,
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
use preparing::{Ready, prepare, prepare_in_line};
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
    /// The number that cancels it: while it is compiled and waits, and at its turn until it begins.
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

    /// What cancels it.
    fn is_number(&self, order: Option<u64>) {
        self.progress.send_modify(|progress| progress.order = order);
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
            ..DeployOptions::default()
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
            ..DeployOptions::default()
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
            // It is of a component, and of no source that was kept as it was.
            keep_sources: true,
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
                queue,
                ..DeployOptions::default()
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
        let checked = order.check();
        checked.map_err(|why| refusals::of_deploy(&why.into()))?;
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
            if let Err(refusal) = carry_out(&working, &deploying, &compiling, job).await {
                working.refuse(refusal);
            }
        });
        Ok(order)
    }
}

/// Does what an order says; a refusal where nothing was changed. Its place in line is of when it came, however long it takes
/// to compile: from then on it is listed, and can be cancelled.
async fn carry_out(
    order: &Order,
    deploying: &Arc<Deploying>,
    compiling: &Arc<Semaphore>,
    job: Job,
) -> Result<(), Refusal> {
    let prepared = async || aside(deploying, compiling, &job, prepare).await;
    if job.plan_only {
        let ready = prepared().await?;
        order.progress.send_modify(|progress| {
            progress.plan = ready.plan.map(Arc::new);
            progress.phase = DeployPhase::Planned;
        });
        return Ok(());
    }
    let deployer = &deploying.deployer;
    let refused = |error: DeployError| refusals::of_deploy(&error);
    let (turn, ready) = match deployer.turn_for(job.note.clone()) {
        Ok(turn) => {
            order.is_number(turn.order());
            let ready = prepared().await?;
            (turn, ready)
        }
        Err(DeployError::UnderWay) if job.options.queue => {
            let waiting = deployer.queue(job.note.clone()).map_err(refused)?;
            let early = aside(deploying, compiling, &job, prepare_in_line);
            let (turn, early) = waited(order, waiting, early).await?;
            // What it is built on can be another by now: what was set, how many there are, of which revision.
            let ready = match early {
                Some(ready) if Arc::ptr_eq(&ready.base, &deployer.current()) => ready,
                early => prepared().await?.after(early),
            };
            (turn, ready)
        }
        Err(DeployError::UnderWay) => return Err(refusals::under_way(deployer.preparing())),
        Err(error) => return Err(refused(error)),
    };
    let rollout = match ready.order {
        Some(asked) => deployer.configure_at(turn, asked, ready.options).await,
        None => {
            let begun = deployer.deploy_at(turn, ready.application, ready.options);
            begun.map(Some)
        }
    };
    let rollout = rollout.map_err(refused)?;
    order.progress.send_modify(|progress| {
        progress.order = None;
        match rollout {
            // It is configured so already.
            None => {
                progress.plan = ready.plan.map(Arc::new);
                progress.phase = DeployPhase::Planned;
            }
            Some(rollout) => {
                // What it does, which is not what it would have done when it was asked for.
                progress.plan = Some(Arc::new(rollout.plan().clone()));
                progress.phase = DeployPhase::RollingOut;
                progress.rollout = Some(rollout);
            }
        }
    });
    Ok(())
}

/// The turn of an order that waits for it, and what was prepared meanwhile; a refusal as soon as it is cancelled, or found to be
/// wrong whatever runs.
async fn waited(
    order: &Order,
    waiting: Waiting,
    prepared: impl Future<Output = Result<Option<Ready>, Refusal>>,
) -> Result<(Turn, Option<Ready>), Refusal> {
    let number = waiting.id();
    order.is_number(Some(number));
    let refused = |error: DeployError| refusals::of_deploy(&error);
    let (mut turn, mut prepared) = (pin!(waiting.turn()), pin!(prepared));
    let ready = tokio::select! {
        biased;
        turn = &mut turn => {
            let turn = turn.map_err(refused)?;
            return Ok((turn, prepared.await?));
        }
        ready = &mut prepared => ready?,
    };
    order.progress.send_modify(|progress| {
        let plan = ready.as_ref().and_then(|ready| ready.plan.clone());
        progress.plan = plan.map(Arc::new);
        progress.phase = DeployPhase::Waiting;
        progress.waiting = Some(number);
    });
    let turn = turn.await;
    order
        .progress
        .send_modify(|progress| progress.waiting = None);
    Ok((turn.map_err(refused)?, ready))
}

/// Reads and compiles on a thread for that, one order after the other.
async fn aside<T: Send + 'static>(
    deploying: &Arc<Deploying>,
    compiling: &Arc<Semaphore>,
    job: &Job,
    work: fn(&Deploying, Job) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    // It is never closed.
    let one_at_a_time = Arc::clone(compiling).acquire_owned().await;
    let (deploying, job) = (Arc::clone(deploying), job.clone());
    let working = tokio::task::spawn_blocking(move || {
        // Also where whoever asked has gone.
        let _until_it_is_done = one_at_a_time;
        work(&deploying, job)
    });
    working.await.map_err(|_| refusals::broken())?
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
