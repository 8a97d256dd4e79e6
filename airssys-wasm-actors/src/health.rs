//! How a child is, when asked.
//!
//! Owns the words of [`ChildHealth`]. A component answers through the interface
//! `airssys:actor/health`, where it exports it; everything else that answers at all is healthy.

use airssys_wasm::{Args, Value};

/// What a child says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildHealth {
    /// All is well.
    Healthy,
    /// It works, but not as it should.
    Degraded(String),
    /// It does not work.
    Failed(String),
}

impl ChildHealth {
    /// Reads the result of `airssys:actor/health#check`: `variant { healthy, degraded(string),
    /// failed(string) }`. `None` for anything else.
    pub(crate) fn from_results(results: Args) -> Option<Self> {
        let text = |payload: Option<Box<Value>>| match payload.map(|value| *value) {
            Some(Value::String(text)) => Some(String::from(text)),
            _ => None,
        };
        match results.into_values().next()? {
            Value::Variant(0, None) => Some(Self::Healthy),
            Value::Variant(1, payload) => text(payload).map(Self::Degraded),
            Value::Variant(2, payload) => text(payload).map(Self::Failed),
            _ => None,
        }
    }
}
