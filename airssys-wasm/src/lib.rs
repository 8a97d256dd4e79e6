//! The engine: bytes → [`Component`] → [`InstanceTemplate`] → [`Instance`] → reply.
//!
//! Owns everything that touches wasmtime: loading and compiling under limits, the authenticated compile
//! cache, linking, instantiating, calling, killing, classifying faults, capabilities and their audit
//! trail. It knows nothing of actors, names or routes, spawns no task, and starts two plain threads: one
//! epoch ticker for each [`Engine`] and one writer for its audit log. While a [`CompilerProcess`] compiles there are three
//! more, for its standard streams.
//!
//! Calls cross the crate's edge as [`Args`]: one opaque owned value in each direction, so that a crate
//! above this one names no wasmtime type.

mod args;
mod artifact;
mod audit;
mod cache;
mod capacity;
mod compiler;
mod component;
mod configuration;
mod dynamic;
mod engine;
mod fault;
mod gate;
mod grants;
mod guest_log;
mod handles;
mod host;
mod instance;
mod limiter;
mod limits;
mod link;
mod log;
mod machine;
mod messaging;
mod outbound;
mod payload;
mod printable;
mod provided;
mod regular;
mod resource;
mod surface;
mod template;
mod value;
mod wasi;
mod wave;
mod wit;

pub use args::{Args, ArgsMismatch, FromArgs, IntoArgs};
pub use audit::{
    Audit, AuditAction, AuditConfig, AuditCounts, AuditError, AuditEvent, AuditSinkConfig,
};
pub use cache::CacheError;
pub use capacity::{CapacityConfig, Needs, Resource};
pub use compiler::{CompileLimits, Compiler, CompilerError, CompilerProcess, serve_compiler};
pub use component::{
    Component, ComponentRef, Digest, DigestError, Finding, LoadError, LoadErrorKind, Loaded,
};
pub use configuration::{
    CONFIG_BYTES_MAX, CONFIG_KEY_BYTES_MAX, CONFIG_KEYS_MAX, CONFIG_VALUE_BYTES_MAX, ConfigPolicy,
    Configuration, ConfigurationError,
};
pub use engine::{Allocation, CacheLocation, Engine, EngineConfig, EngineError, Profile};
pub use fault::{Blame, Fault, FaultClass, Frame, SourceLine, Spent};
pub use gate::{Access, AccessKind, Decision, Gate, InstanceIdentity};
pub use grants::{CapabilityManifest, EnvPolicy, GrantRefused, Grants, Policy, Refusal, grant};
pub use host::carry::ErrorCarry;
pub use host::control::KillSwitch;
pub use instance::{CallOutcome, Instance, Usage};
pub use limits::{ArtifactLimits, LimitClass, Limits, MEMORY_BYTES_HARD_MAX, UnknownLimitClass};
pub use link::{FunctionMismatch, LinkMismatch, LinkTable, check_link};
pub use machine::Machine;
pub use messaging::{
    AddressReach, ConfigReach, Messaging, MessagingError, MessagingManifest, MessagingPolicy,
    MessagingReply, MessagingRequest, Overflow, PatternSyntax, SpawnManifest, TOPIC_BYTES_MAX,
    TOPIC_SEGMENTS_MAX, TopicPattern, check_topic,
};
pub use outbound::{LinkFailure, LinkFailureReason, NoOutbound, Outbound};
pub use printable::printable;
pub use provided::host_interfaces;
pub use regular::open_regular;
pub use resource::{ResourceHandle, ResourceOwner, StaleHandle};
pub use surface::{
    ExportId, Function, ImportId, Interface, InterfaceName, InterfaceResource, NoSuchFunction,
    Surface, WitError,
};
pub use template::{
    CarryMismatch, InstanceTemplate, LinkError, LinkedImport, MissingImport, TemplateSpec,
};
pub use value::{FlagWords, FromValue, IntoPayload, TypedArgs, Value, ValueMismatch, WitTyped};
pub use wave::{WaveError, format_value, parse_args, to_json};
pub use wit::{
    CallRefused, Case, Field, FunctionType, Misfit, ResourceName, ResourceSide, WitType,
};
