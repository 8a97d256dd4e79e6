//! Deployments: what changes of a running application, in which order and how carefully, and what is undone when
//! something fails.
//!
//! Owns the decisions, and decides purely: no module here but `rollout` starts an actor, waits or reads a clock. An
//! [`ApplicationOutline`] is what there is to compare of an [`Application`](crate::Application); [`plan()`] says what
//! leads from one to another, or why nothing does; the machine goes through the steps of a plan, and [`judge`] says
//! whether a new revision does as well as the old one. What is decided is carried out by `rollout`.

mod autoscale;
mod gate;
mod machine;
mod outline;
mod plan;
mod rollout;
mod share;
mod strategy;

pub use autoscale::{Autoscale, AutoscaleError, Autoscaler, Load};
pub use gate::{Gate, Interval, Judge, Latency, Verdict, Why, judge};
pub use machine::CommandRefused;
pub use outline::{
    ApplicationOutline, ComponentOutline, FedFunction, LinkOutline, SourceOutline,
    SupervisorOutline, Tuning,
};
pub use plan::{
    Action, AutoscaleChange, Because, ConfigChange, GrantsChange, LimitChange, Part, Plan,
    PlanOptions, PlanRefusal, PlanRefused, PlannedRevision, Replacement, Scale, Step, plan,
};
pub use rollout::{
    ArmCounts, CancelRefused, DeployError, DeployOptions, Deployer, HealedArtifact, NOTE_BYTES_MAX,
    OrderNote, RegisterError, Rollout, RolloutNote, RolloutOutcome, RolloutStatus, StepArms,
    StepState, StepStatus, Turn, Waiting, WaitingOrder, artifacts_of, heal_artifacts,
    register_first,
};
pub use share::{Share, ShareError};
pub use strategy::{
    CanaryStep, RollingMove, RolloutPolicy, RolloutStrategy, StateHandling, StrategyError,
    StrategyKind, StrategyParts, StrategyWords, rolling_moves,
};

pub(crate) use strategy::Nature;
