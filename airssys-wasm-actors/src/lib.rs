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
mod call;
mod component;
mod counters;
mod dead_letters;
mod deadline;
mod drain;
mod envelope;
mod error;
mod events;
mod exit;
mod health;
mod host;
mod link;
mod mailbox;
mod manifest;
mod native;
mod reference;
mod reply;
mod resting;
mod shared;
mod slot;
mod source;
mod supervisor;
mod system;
mod trace;
mod wait_for;

pub use address::{ADDRESS_BYTES_MAX, ActorAddress, ActorId, AddressError};
pub use application::{
    Application, ApplicationEnded, InputOverride, Loading, LoadingObserver, Report, ReportError,
    ReportTable, ResolveOptions, ResolvedComponent, RunningApplication,
};
pub use component::ComponentStart;
pub use counters::Counters;
pub use dead_letters::{
    AddressPattern, DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterSelection,
    DeadLetters, PatternError, PurgeReport, ReplayRefused, ReplayReport,
};
pub use envelope::CALL_DEPTH_MAX;
pub use error::{CallError, SendError};
pub use events::{Event, Events};
pub use exit::ExitReason;
pub use health::ChildHealth;
pub use link::{Link, LinkRefused, REPLY_WITHIN_DEFAULT, Retry};
pub use mailbox::{BackpressureStrategy, MailboxConfig};
pub use manifest::{
    ApplicationSpec, ApplicationTable, ComponentSpec, CountedSpec, DurationText, ErrorAs, Finding,
    FindingKind, LimitsSpec, LinkSpec, Location, MANIFEST_BYTES_MAX, MANIFEST_FILE, MailboxSpec,
    ManifestErrors, OptionKind, OptionSpec, ReportSpec, RestartsSpec, RetrySpec, SizeText,
    SourceFormat, SourceSpec, SupervisionSpec, TableSpec, Tables, UnitError, parse_duration,
    parse_size,
};
pub use native::{Actor, Context, ErrorAction, Message};
pub use reference::{ActorFunction, ActorRef, ActorStatus, CallOptions};
pub use source::{Input, ReasonGroup, ReasonMessage, SourceCounts, SourceError};
pub use supervisor::{
    ChildSpec, NativeStart, RestartIntensity, RestartPolicy, RestartWindow, ShutdownPolicy, Start,
    StartError, StopError, StopReport, Strategy, Supervisor, SupervisorSpec, Verdict, decide,
};
pub use system::{System, SystemConfig, SystemError};
pub use trace::{TraceContext, TraceContextError};
