//! What is not a component, told apart by what it is.
//!
//! Decides on the first bytes, before a parser sees them, so that the answer names the file's real kind and
//! what to do about it.

use std::fmt;

use crate::compiler::CompilerError;
use crate::printable::printable;

/// Bytes of a message of wasmtime's that are shown.
const DETAIL_BYTES_MAX: usize = 2 * 1024;

/// Why something could not be loaded as a component.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {kind}")]
pub struct LoadError {
    /// Where it came from.
    pub from: String,
    /// Why, and what to do.
    pub kind: LoadErrorKind,
}

/// The reasons a load is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// There is nothing in it.
    #[error("is empty; build the component again")]
    Empty,
    /// It has more bytes than an artifact may have.
    #[error("is larger than {bytes_max} bytes, the most a component may have")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// It is a core wasm module.
    #[error(
        "is a core wasm module, not a component; make a component of it with `wasm-tools component new`, or \
         build for a target that makes components"
    )]
    CoreModule,
    /// It is wasm's text format.
    #[error("is wasm text (WAT), not a component; encode it with `wasm-tools parse`")]
    Text,
    /// It is native code that wasmtime made.
    #[error(
        "is a precompiled wasmtime artifact; those run unchecked and are never loaded: give the component \
         (.wasm) it was compiled from"
    )]
    Precompiled,
    /// It is a native executable or library.
    #[error("is a native ELF file, not a component; build it for a wasm target")]
    Elf,
    /// It is wasm of an encoding version that is neither a module's nor a component's.
    #[error("is wasm of an unknown encoding ({version:#010x}); build it with a current toolchain")]
    UnknownEncoding {
        /// The version word of the header.
        version: u32,
    },
    /// It ends too early.
    #[error("is truncated: it ends at byte {at}, within {what}; copy or build it again")]
    Truncated {
        /// Where it ends.
        at: u64,
        /// Within what.
        what: String,
    },
    /// It does not look like wasm at all.
    #[error("is not wasm (it begins with {begins})")]
    NotWasm {
        /// Its first bytes.
        begins: String,
    },
    /// It exceeds what an artifact may be; all findings.
    #[error("exceeds the limits of an artifact: {}", list(.0))]
    ExceedsLimits(Vec<Finding>),
    /// It needs more memories, tables or instances than any class of limits allows.
    #[error("needs more than any class of limits allows: {0}")]
    TooDemanding(String),
    /// It is a component, but not a valid one for this engine.
    #[error("is not a component this engine accepts: {0}")]
    Invalid(String),
    /// The process that compiles did not.
    #[error("{0}")]
    NotCompiled(CompilerError),
}

/// One limit of an artifact that is exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What there is too much of.
    pub what: &'static str,
    /// How much there is, at least.
    pub found: u64,
    /// How much there may be.
    pub max: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at most {})", self.what, self.found, self.max)
    }
}

fn list(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Refuses everything but bytes that begin as a component does.
pub(super) fn refuse_what_is_no_component(bytes: &[u8]) -> Result<(), LoadErrorKind> {
    // Version and layer, as one little-endian word.
    const MODULE: u32 = 0x0000_0001;
    const COMPONENT: u32 = 0x0001_000d;
    if bytes.is_empty() {
        return Err(LoadErrorKind::Empty);
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadErrorKind::Precompiled);
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(LoadErrorKind::Elf);
    }
    let truncated = || LoadErrorKind::Truncated {
        at: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        what: "the header".to_owned(),
    };
    match bytes.split_first_chunk::<4>() {
        Some((b"\0asm", rest)) => match rest
            .first_chunk::<4>()
            .map(|word| u32::from_le_bytes(*word))
        {
            Some(COMPONENT) => Ok(()),
            Some(MODULE) => Err(LoadErrorKind::CoreModule),
            Some(version) => Err(LoadErrorKind::UnknownEncoding { version }),
            None => Err(truncated()),
        },
        None if b"\0asm".starts_with(bytes) => Err(truncated()),
        _ if is_wat(bytes) => Err(LoadErrorKind::Text),
        _ => {
            let begins = String::from_utf8_lossy(bytes.get(..16).unwrap_or(bytes)).into_owned();
            Err(LoadErrorKind::NotWasm {
                begins: format!("\"{}\"", printable(&begins, 64)),
            })
        }
    }
}

/// Whether this is text whose first token, after comments, is `(component` or `(module`.
fn is_wat(bytes: &[u8]) -> bool {
    let Ok(mut text) = std::str::from_utf8(bytes) else {
        return false;
    };
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(";;") {
            text = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(rest) = text.strip_prefix("(;") {
            // Nested comments are rare enough to be called "not wasm".
            text = rest.split_once(";)").map_or("", |(_, rest)| rest);
        } else {
            let Some(rest) = text.strip_prefix('(') else {
                return false;
            };
            let rest = rest.trim_start();
            return rest.starts_with("component") || rest.starts_with("module");
        }
    }
}

/// What wasmtime says of bytes that begin as a component does, in this process or in the one that compiles.
pub(crate) fn refused_by_wasmtime(text: &str) -> LoadErrorKind {
    let text = printable(text, DETAIL_BYTES_MAX);
    // The pool's caps are the largest class's; its refusals have no type of their own.
    if text.contains("pooling allocator") {
        LoadErrorKind::TooDemanding(text)
    } else {
        LoadErrorKind::Invalid(text)
    }
}

/// What the parser says while the sections are walked.
pub(super) fn refused_by_parser(
    error: &wasmparser::BinaryReaderError,
    bytes: usize,
) -> LoadErrorKind {
    let message = error.message();
    // Whatever is found wrong at the very end is wrong because there should be more.
    if message.contains("unexpected end") || error.offset() >= bytes {
        return LoadErrorKind::Truncated {
            at: u64::try_from(error.offset()).unwrap_or(u64::MAX),
            what: "a section".to_owned(),
        };
    }
    LoadErrorKind::Invalid(printable(
        &format!("{message} (at byte {:#x})", error.offset()),
        DETAIL_BYTES_MAX,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> LoadErrorKind {
        refuse_what_is_no_component(bytes).unwrap_err()
    }

    #[test]
    fn each_kind_of_file_is_named() {
        assert!(matches!(refusal(b""), LoadErrorKind::Empty));
        assert!(matches!(
            refusal(b"\0asm\x01\0\0\0"),
            LoadErrorKind::CoreModule
        ));
        assert!(matches!(
            refusal(b"\0asm\x0c\0\x01\0"),
            LoadErrorKind::UnknownEncoding { .. }
        ));
        assert!(matches!(
            refusal(b"\0as"),
            LoadErrorKind::Truncated { at: 3, .. }
        ));
        assert!(matches!(
            refusal(b"\0asm\x0d\0"),
            LoadErrorKind::Truncated { at: 6, .. }
        ));
        assert!(matches!(
            refusal(b"\x7fELF\x02\x01\x01"),
            LoadErrorKind::Elf
        ));
        assert!(matches!(refusal(b"(component)"), LoadErrorKind::Text));
        assert!(matches!(
            refusal(b";; note\n (; more ;)\n( module)"),
            LoadErrorKind::Text
        ));
        assert!(matches!(
            refusal(b"PK\x03\x04"),
            LoadErrorKind::NotWasm { .. }
        ));
        assert!(refuse_what_is_no_component(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn what_is_shown_of_a_strange_file_is_escaped() {
        assert!(
            refusal(b"\x1b[2Jhello")
                .to_string()
                .contains("\\u{1b}[2Jhello")
        );
    }
}
