//! How a child is, when asked.
//!
//! Owns the words of [`ChildHealth`], and how often a supervisor asks ([`HealthCheck`]). A component answers through the interface
//! `airssys:actor/health`, where it exports it; everything else that answers at all is healthy.

use std::time::Duration;

use airssys_wasm::{Args, Value};

use crate::exit::bounded;

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

/// How a supervisor asks a child how it is. Asked between two messages: a child that is busy is not late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// From one answer to the next question.
    pub interval: Duration,
    /// How long an answer may take while the child has no message or signal in hand. Messages that wait do not make it longer.
    pub timeout: Duration,
    /// How many answers in a row that it has failed, or that do not come in time, end it: its supervisor stops it by
    /// its shutdown policy, and then does what it does about an abnormal exit.
    pub threshold: u32,
    /// How many such answers in a row take a replica out of rotation: it takes none of the messages that replicas share
    /// until it is well again, or is restarted. Says nothing to a child without replicas. Default `None`: never.
    /// With all of them out, messages wait.
    pub out_of_rotation_after: Option<u32>,
}

impl Default for HealthCheck {
    /// Every 10 s, 1 s for an answer, and three of them; never out of rotation.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            threshold: 3,
            out_of_rotation_after: None,
        }
    }
}

impl ChildHealth {
    /// Reads the result of `airssys:actor/health#check`: `variant { healthy, degraded(string),
    /// failed(string) }`. `None` for anything else. Operators read the text: it is cut, and then `clean` takes out of it
    /// what they are not to read.
    pub(crate) fn from_results(results: Args, clean: impl Fn(String) -> String) -> Option<Self> {
        let text = |payload: Option<Box<Value>>| match payload.map(|value| *value) {
            Some(Value::String(text)) => Some(clean(bounded(&text).to_string())),
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
