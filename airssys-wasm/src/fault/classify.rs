//! The one classifier: an error of wasmtime's becomes a fault class.
//!
//! Most causes are typed (traps, our own [`EndedByHost`], full tables and pools). A few are private to
//! wasmtime and known only by their text; those texts are the constants below, and each class has a test that
//! makes a real guest fail that way, so that an upgrade which changes a text fails the build and not a user.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::{BACKTRACE_FRAMES_MAX, EndedByHost, FRAME_BYTES_MAX, Fault, FaultClass, Frame};
use crate::capacity::Resource;
use crate::component::SourceLines;
use crate::dynamic::AbiViolation;
use crate::limiter::Refused;
use crate::printable::printable;

/// The budget for host calls is used up.
const TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// Texts of errors whose types wasmtime 48 keeps to itself.
const TEXTS: &[(&str, FaultClass)] = &[
    (TOO_LARGE, FaultClass::HostcallBytes),
    ("store handle limit exceeded", FaultClass::Handles),
    ("cannot allocate another handle", FaultClass::Handles),
    ("resource limit exceeded:", FaultClass::InstanceLimit),
    ("exceeds memory limits", FaultClass::Memory),
    ("exceeds table limits", FaultClass::TableElements),
];

/// Parts of the texts of errors raised while values are lifted, lowered or handles looked up. They only tell
/// a broken ABI from an unknown cause, so a loose match does no harm.
const ABI_TEXTS: &[&str] = &[
    "utf-8",
    "utf8",
    "utf-16",
    "utf16",
    "out of bounds",
    "out-of-bounds",
    "aligned",
    "discriminant",
    "handle",
    "`char`",
    "is not a resource",
    "is not an own resource",
    "is not a borrow",
    "lend resource",
    "borrow",
    "while borrowed",
    "invalid realloc",
    "realloc",
    "resource not present",
    "resource is of another type",
    "flags",
];

/// Whether a value was not lifted because the budget for host calls has no room for it.
#[cold]
pub(crate) fn is_too_large(error: &wasmtime::Error) -> bool {
    format!("{error:#}").contains(TOO_LARGE)
}

/// Decides the class of an error that ended a call or an instantiation.
///
/// `refused` is what the limiter refused in the same call: a guest answers a refused growth with
/// `unreachable`, and its real cause is the limit.
pub(crate) fn classify(
    error: &wasmtime::Error,
    refused: Option<Refused>,
    lines: &SourceLines,
) -> Fault {
    let (class, message) = cause(error, refused);
    let mut fault = Fault::new(class, message);
    fault.backtrace = backtrace(error, lines);
    fault
}

fn cause(error: &wasmtime::Error, refused: Option<Refused>) -> (FaultClass, String) {
    if let Some(ended) = error.downcast_ref::<EndedByHost>() {
        return (ended_class(ended), ended.to_string());
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return (
            FaultClass::Exited(exit.0),
            format!("exited with status {}", exit.0),
        );
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let class = trap_class(*trap);
        if class == FaultClass::Unreachable
            && let Some(refused) = refused
        {
            return refused_cause(refused, "the guest gave up after");
        }
        return (class, trap_text(*trap));
    }
    let text = error.root_cause().to_string();
    if let Some(violation) = error.downcast_ref::<AbiViolation>() {
        let class = match violation {
            // The reply of a linked call had another type than the link promised.
            AbiViolation::Unfit { .. } => FaultClass::LinkFailed,
            _ => FaultClass::Abi,
        };
        return (class, text);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (
            FaultClass::NoCapacity(Resource::Instances),
            format!("the engine's pool is full: {text}; raise `pool_instances_max`"),
        );
    }
    if let Some(table) = error.downcast_ref::<ResourceTableError>() {
        return match table {
            ResourceTableError::Full => (
                FaultClass::Resources,
                "more host resources (streams, pollables) than `resources-max` allows".to_owned(),
            ),
            _ => (FaultClass::Abi, text),
        };
    }
    for (part, class) in TEXTS {
        if text.contains(part) {
            return match (class, refused) {
                (FaultClass::Memory | FaultClass::TableElements, Some(refused)) => {
                    refused_cause(refused, "instantiation stopped at")
                }
                _ => (*class, text),
            };
        }
    }
    let lower = text.to_lowercase();
    let class = if ABI_TEXTS.iter().any(|part| lower.contains(part)) {
        FaultClass::Abi
    } else {
        FaultClass::Other
    };
    (class, text)
}

fn refused_cause(refused: Refused, how: &str) -> (FaultClass, String) {
    match refused {
        Refused::Memory {
            wanted_bytes,
            held_bytes,
        } => (
            FaultClass::Memory,
            format!(
                "{how} a memory of {wanted_bytes} bytes while holding {held_bytes}; more than \
                 `memory-bytes-max` allows"
            ),
        ),
        Refused::Table { wanted, held } => (
            FaultClass::TableElements,
            format!(
                "{how} a table of {wanted} elements while holding {held}; more than \
                 `table-elements-max` allows"
            ),
        ),
    }
}

fn ended_class(ended: &EndedByHost) -> FaultClass {
    match ended {
        EndedByHost::CpuDeadline { .. } => FaultClass::CpuDeadline,
        EndedByHost::Killed => FaultClass::Killed,
        EndedByHost::Denied { .. } => FaultClass::Denied,
        EndedByHost::RandomBytes { .. } => FaultClass::RandomBytes,
        EndedByHost::LinkFailed { .. } => FaultClass::LinkFailed,
        EndedByHost::Exited(status) => FaultClass::Exited(*status),
    }
}

fn trap_class(trap: Trap) -> FaultClass {
    match trap {
        Trap::UnreachableCodeReached => FaultClass::Unreachable,
        Trap::MemoryOutOfBounds => FaultClass::MemoryOutOfBounds,
        Trap::TableOutOfBounds => FaultClass::TableOutOfBounds,
        Trap::BadSignature => FaultClass::IndirectCall,
        Trap::IndirectCallToNull => FaultClass::IndirectCallNull,
        Trap::IntegerDivisionByZero => FaultClass::IntegerDivideByZero,
        Trap::IntegerOverflow => FaultClass::IntegerOverflow,
        Trap::BadConversionToInteger => FaultClass::BadConversion,
        Trap::HeapMisaligned => FaultClass::UnalignedAtomic,
        Trap::StackOverflow => FaultClass::StackOverflow,
        Trap::CannotEnterComponent => FaultClass::CannotEnter,
        Trap::CannotLeaveComponent => FaultClass::CannotLeave,
        // Epochs end a guest through our own callback; this is wasmtime's default for a Store without one.
        Trap::Interrupt => FaultClass::CpuDeadline,
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer => FaultClass::Abi,
        Trap::NullReference
        | Trap::ArrayOutOfBounds
        | Trap::AllocationTooLarge
        | Trap::CastFailure
        | Trap::UnhandledTag
        | Trap::ContinuationAlreadyConsumed
        | Trap::AtomicWaitNonSharedMemory
        | Trap::DisabledOpcode
        | Trap::NoAsyncResult
        | Trap::AsyncDeadlock
        | Trap::OutOfFuel => FaultClass::DisabledFeature,
        _ => FaultClass::Other,
    }
}

fn trap_text(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ")
        .map_or(text.clone(), str::to_owned)
}

fn backtrace(error: &wasmtime::Error, lines: &SourceLines) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    backtrace
        .frames()
        .iter()
        .take(BACKTRACE_FRAMES_MAX)
        .map(|frame| Frame {
            function: match frame.func_name() {
                Some(name) => printable(
                    &format!("{:#}", rustc_demangle::demangle(name)),
                    FRAME_BYTES_MAX,
                ),
                None => format!("<wasm function {}>", frame.func_index()),
            },
            // Counted from the beginning of the component, also in a module within it.
            source: frame.module_offset().and_then(|place| lines.find(place)),
        })
        .collect()
}
