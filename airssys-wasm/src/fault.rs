//! Why an instance died: one class, one message, a short backtrace, what it had used.
//!
//! A [`Fault`] is what is left of an instance after its Store was dropped. It owns its text (escaped, at most
//! 4 KiB) and at most 20 frames; no host address and no guest memory is in it. The class is what
//! policies, counters and the audit trail go by; `fault/classify.rs` is the one place that decides it.

use std::fmt;
use std::time::Duration;

use crate::capacity::Resource;
use crate::instance::Usage;

pub(crate) mod classify;
mod ended;

pub(crate) use classify::{classify, is_too_large};
pub(crate) use ended::EndedByHost;

/// Bytes of a fault's message (4 KiB): a guest can make its error text as long as it likes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Frames of a fault's backtrace: enough to see the cause, few enough to log.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 20;

/// Bytes of one name in a backtrace, of a function or of a file: C++ and Rust generics produce names of many kilobytes.
pub(crate) const FRAME_BYTES_MAX: usize = 256;

/// Why an instance ended. The instance is gone; a new one can be made from its template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Fault {
    /// The kind of death, for decisions and counters.
    pub class: FaultClass,
    /// What happened, on one line of at most about 4 KiB, with control characters escaped.
    pub message: String,
    /// The guest's functions, innermost first, at most 20. Empty if no guest code was running.
    pub backtrace: Vec<Frame>,
    /// What it had used, and might have; `None` if it was never there.
    pub spent: Option<Box<Spent>>,
}

/// One function of a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name, escaped, or its number where it has none.
    pub function: String,
    /// Where its code comes from, if the component has debug information.
    pub source: Option<SourceLine>,
}

/// A place in the source of a guest, as its debug information has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// The file, escaped.
    pub file: String,
    /// The line, from 1; 0 for code of no line.
    pub line: u32,
    /// The column, from 1; 0 if it is not known.
    pub column: u32,
}

/// What an instance had used when it died, beside the limits of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// What it held.
    pub held: Usage,
    /// Its limit `memory-bytes-max`.
    pub memory_bytes_max: u64,
    /// Its limit `table-elements-max`.
    pub table_elements_max: u64,
    /// CPU of the call in which it died, in whole ticks.
    pub cpu: Duration,
    /// Its limit `cpu-per-call`.
    pub cpu_per_call: Duration,
    /// Its limit `wall-per-call`.
    pub wall_per_call: Duration,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match &self.source {
            Some(source) => write!(f, " at {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.column {
            0 => Ok(()),
            column => write!(f, ":{column}"),
        }
    }
}

impl Fault {
    pub(crate) fn new(class: FaultClass, message: impl AsRef<str>) -> Self {
        Self {
            class,
            message: crate::printable::printable(message.as_ref(), MESSAGE_BYTES_MAX),
            backtrace: Vec::new(),
            spent: None,
        }
    }
}

/// Who has to change something so that a fault does not happen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The guest's code: it trapped, or broke the component model's rules.
    Guest,
    /// The guest wanted more than its limits or grants allow; the operator may raise them.
    Limits,
    /// The host: a panic in a host function, a full pool, a kill.
    Host,
    /// A component or actor this one is linked to.
    Linked,
}

/// The kinds of death. `as_str` gives the name used in logs, audit records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultClass {
    /// The guest ran `unreachable`: a panic or an abort in most languages.
    Unreachable,
    /// A load or store outside linear memory.
    MemoryOutOfBounds,
    /// A table access outside the table.
    TableOutOfBounds,
    /// An indirect call to a function of another type.
    IndirectCall,
    /// An indirect call through an empty table slot.
    IndirectCallNull,
    /// An integer division by zero.
    IntegerDivideByZero,
    /// An integer operation whose result does not fit.
    IntegerOverflow,
    /// A float that has no integer value was converted to one.
    BadConversion,
    /// An atomic access to an unaligned address.
    UnalignedAtomic,
    /// The guest's stack (512 KiB) is used up.
    StackOverflow,
    /// The guest was entered while it was already running.
    CannotEnter,
    /// The guest called out where the component model forbids it (in post-return, for example).
    CannotLeave,
    /// A trap of a wasm feature that the engine does not enable.
    DisabledFeature,
    /// The call used more CPU time than its limit.
    CpuDeadline,
    /// The call took longer than its wall-clock limit.
    Timeout,
    /// Linear memory would exceed its limit.
    Memory,
    /// Table elements would exceed their limit.
    TableElements,
    /// More memories, tables or core instances than the limits allow.
    InstanceLimit,
    /// More bytes handed to the host in one call than the limit allows.
    HostcallBytes,
    /// More component-model handles than the limit allows.
    Handles,
    /// More host resources (streams, pollables) than the limit allows.
    Resources,
    /// More random bytes in one call than the limit allows.
    RandomBytes,
    /// A host function was called that was not granted.
    Denied,
    /// A linked call failed and the function has no way to say so.
    LinkFailed,
    /// The guest exited, with this status.
    Exited(i32),
    /// The instance was killed from outside.
    Killed,
    /// The host stopped waiting for the call (its future was dropped).
    Abandoned,
    /// A host function panicked.
    HostPanic,
    /// The guest broke the canonical ABI: bad pointers, text that is not UTF-8, invalid handles.
    Abi,
    /// There is no room for another instance; the resource is what there is too little of.
    NoCapacity(Resource),
    /// Anything else; the message says what.
    Other,
}

impl FaultClass {
    /// Returns the class's name in kebab case, without an exit status or a resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::MemoryOutOfBounds => "memory-out-of-bounds",
            Self::TableOutOfBounds => "table-out-of-bounds",
            Self::IndirectCall => "indirect-call",
            Self::IndirectCallNull => "indirect-call-null",
            Self::IntegerDivideByZero => "integer-divide-by-zero",
            Self::IntegerOverflow => "integer-overflow",
            Self::BadConversion => "bad-conversion",
            Self::UnalignedAtomic => "unaligned-atomic",
            Self::StackOverflow => "stack-overflow",
            Self::CannotEnter => "cannot-enter",
            Self::CannotLeave => "cannot-leave",
            Self::DisabledFeature => "disabled-feature",
            Self::CpuDeadline => "cpu-deadline",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::TableElements => "table-elements",
            Self::InstanceLimit => "instance-limit",
            Self::HostcallBytes => "hostcall-bytes",
            Self::Handles => "handles",
            Self::Resources => "resources",
            Self::RandomBytes => "random-bytes",
            Self::Denied => "denied",
            Self::LinkFailed => "link-failed",
            Self::Exited(_) => "exited",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
            Self::HostPanic => "host-panic",
            Self::Abi => "abi",
            Self::NoCapacity(_) => "no-capacity",
            Self::Other => "other",
        }
    }

    /// Returns who has to change something so that this does not happen again.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::CpuDeadline
            | Self::Timeout
            | Self::Memory
            | Self::TableElements
            | Self::InstanceLimit
            | Self::HostcallBytes
            | Self::Handles
            | Self::Resources
            | Self::RandomBytes
            | Self::Denied => Blame::Limits,
            Self::Killed | Self::Abandoned | Self::HostPanic | Self::NoCapacity(_) => Blame::Host,
            Self::LinkFailed => Blame::Linked,
            _ => Blame::Guest,
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited({status})"),
            Self::NoCapacity(resource) => write!(f, "no-capacity({resource})"),
            class => f.write_str(class.as_str()),
        }
    }
}
