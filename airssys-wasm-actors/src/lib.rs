//! Actors for WebAssembly components: mailboxes, links, supervision and the registry.
//!
//! Every component instance lives in an actor that owns its Store; calls between components are
//! messages; what fails is started again by its supervisor while its mailbox stays. Native Rust
//! actors live in the same system by the same rules.
//!
//! The way of a message: a caller (host, native actor or guest) → a [`Link`] or an [`ActorFunction`]
//! → the callee's slot → its mailbox (bounded, outlives the actor) → the drain loop of the
//! incarnation that runs → the guest. This crate names no wasmtime type; it is the only one that
//! names ractor.
//!
//! Start with [`System::start`], [`ChildSpec::component`] or [`ChildSpec::native`], and
//! [`System::spawn`].

mod address;
mod application;
mod autoscaling;
mod batch;
mod call;
mod component;
mod configuration;
mod counters;
mod crashes;
mod dead_letters;
mod deadline;
pub mod deployment;
mod drain;
mod envelope;
mod error;
mod events;
mod exit;
mod fair;
mod groups;
mod health;
mod host;
mod ids;
mod link;
mod mailbox;
mod manifest;
mod messaging;
#[cfg(test)]
#[cfg(feature = "model")]
mod model;
mod monitor;
mod native;
mod passivation;
mod reference;
mod registry;
mod reply;
mod resting;
mod route;
mod scaling;
mod shared;
mod signal;
mod slot;
mod source;
mod spawning;
mod supervisor;
mod sync;
mod system;
mod timers;
mod topics;
mod trace;
mod typed;
mod upgrade;
mod wait_for;

pub use address::{ADDRESS_BYTES_MAX, ActorAddress, ActorId, AddressError};
pub use application::{
    Application, ApplicationEnded, EnvironmentLookup, InputOverride, Loading, LoadingObserver,
    Report, ReportError, ReportTable, ResolveOptions, ResolvedComponent, RunningApplication,
};
pub use autoscaling::{AutoscaleRefused, AutoscaleStatus, Autoscaling};
pub use component::ComponentStart;
pub use configuration::{
    ConfigLayers, ConfigOrder, ConfigOrderRefused, ConfigSettings, ConfigSource, ConfigWay,
};
pub use counters::Counters;
pub use crashes::{
    CrashFilter, CrashLimits, CrashReport, Crashes, MessageOutcome, MessageSender, RECENT_MESSAGES,
    RecentMessage,
};
pub use dead_letters::{
    AddressPattern, DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterSelection,
    DeadLetters, PatternError, PurgeReport, ReplayRefused, ReplayReport,
};
pub use envelope::CALL_DEPTH_MAX;
pub use error::{CallError, SendError};
pub use events::{Event, Events};
pub use exit::{ExitReason, LinkedExit};
pub use groups::{Broadcast, GROUP_MEMBERS_MAX, GROUPS_MAX, Group, GroupError, GroupStatus, Pick};
pub use health::{ChildHealth, HealthCheck};
pub use link::{Link, LinkRefused, REPLY_WITHIN_DEFAULT, Retry};
pub use mailbox::{BackpressureStrategy, MailboxConfig};
pub use manifest::{
    ApplicationSpec, ApplicationTable, AutoscaleSpec, BackoffSpec, BreakerSpec, CanaryStepSpec,
    ComponentSpec, CountedSpec, DurationText, EditError, ErrorAs, Finding, FindingKind, GateSpec,
    HealthSpec, LimitsSpec, LinkSpec, Location, MANIFEST_BYTES_MAX, MANIFEST_FILE, MailboxSpec,
    ManifestErrors, OptionKind, OptionSpec, ReportSpec, RestartsSpec, RetrySpec, RolloutSpec,
    SizeText, SourceFormat, SourceSpec, SupervisionSpec, SupervisorTable, TableSpec, Tables,
    UnitError, parse_duration, parse_size, suggest,
};
pub use messaging::{MessageEnvelope, MessagingLimits};
pub use monitor::Monitor;
pub use native::{Actor, Context, ErrorAction, HEALTH_WITHIN_MAX, Message, Reply};
pub use passivation::Passivation;
pub use reference::{ActorFunction, ActorRef, ActorState, ActorStatus, CallOptions};
pub use registry::{
    Dependency, DeployedComponent, DeployedLink, Deployment, DeploymentPointers, DeploymentState,
    DeploymentStep, FoundRevision, GcReport, Interrupted, JournalEntry, JournalRecord,
    NewDeployment, NewRevision, Provenance, REGISTRY_STEPS, Recovered, Registry, RegistryError,
    RegistryFault, RegistryOptions, RegistryQuery, Retention, Revision, RevisionInterface,
    RevisionState, RevisionSurface, Transition,
};
pub use route::{
    ArmStats, BREAKER_WINDOW_MAX, Breaker, Latencies, RouteChange, ShadowSpec, ShadowStats, Split,
    SplitMode, SplitRefused, SplitSpec, Weight,
};
pub use scaling::{ScaleError, ScaleOptions, Scaled};
pub use signal::{Down, Exit, LINKS_MAX, MONITORS_MAX, MonitorId, Signal, SignalRefused};
pub use source::{Input, ReasonGroup, ReasonMessage, SourceCounts, SourceError};
pub use spawning::Spawning;
pub use supervisor::Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne};
pub use supervisor::{
    AutoShutdown, Backoff, ChildBuilder, ChildCount, ChildInfo, ChildSpec, ChildState, NamedChild,
    NativeStart, REPLICAS_MAX, RestartIntensity, RestartPolicy, RestartWindow, ShutdownPolicy,
    SpecError, Start, StartError, Started, StopError, StopReport, Strategy, Supervisor,
    SupervisorBuilder, SupervisorSpec, SupervisorStart, restarts,
};
pub use system::{System, SystemConfig, SystemError};
pub use timers::{TimerError, TimerId, Timers};
pub use topics::{PublishReport, SubscribeError, SubscribeOptions, SubscriptionId, Topics};
pub use trace::{TraceContext, TraceContextError};
pub use typed::{Call, TypedError};
pub use upgrade::{
    NotReplaced, NotSwitchedBack, StateTaken, Upgrade, UpgradeError, UpgradeOptions, UpgradeOrder,
    UpgradeState, Upgraded,
};
