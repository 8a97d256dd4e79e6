//! The tables of a manifest that say what happens when something ends.
//!
//! Owns their shape alone, as `tables` does for the others.

use serde::Deserialize;
use toml::Spanned;

use super::grammar;
use super::units::DurationText;
use crate::supervisor::{AutoShutdown, RestartPolicy, ShutdownPolicy, Strategy};

/// `[supervision]`: what the application's own supervisor does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SupervisionSpec {
    /// Which children restart together.
    #[serde(default, deserialize_with = "grammar::strategy")]
    pub strategy: Strategy,
    /// How many restarts are too many.
    pub restarts: Option<RestartsSpec>,
    /// Whether it ends with its significant children.
    #[serde(default, deserialize_with = "grammar::auto_shutdown")]
    pub auto_shutdown: AutoShutdown,
    /// How often one child may be the reason for it to give up.
    pub quarantine_after: Option<u32>,
}

/// `[supervisors.NAME]`: a supervisor below the application's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SupervisorTable {
    /// The supervisor it is a child of; the application's own if not said.
    pub under: Option<Spanned<String>>,
    /// Components and supervisors that have to be started before it.
    #[serde(default)]
    pub after: Vec<Spanned<String>>,
    /// Which of its children restart together.
    #[serde(default, deserialize_with = "grammar::strategy")]
    pub strategy: Strategy,
    /// How many restarts are too many.
    pub restarts: Option<RestartsSpec>,
    /// Whether it ends with its significant children.
    #[serde(default, deserialize_with = "grammar::auto_shutdown")]
    pub auto_shutdown: AutoShutdown,
    /// How often one child may be the reason for it to give up.
    pub quarantine_after: Option<u32>,
    /// When it is restarted; permanent if not said.
    #[serde(default, deserialize_with = "grammar::restart")]
    pub restart: Option<RestartPolicy>,
    /// How long it may take to stop; as long as its children take if not said.
    #[serde(default, deserialize_with = "grammar::shutdown")]
    pub shutdown: Option<ShutdownPolicy>,
    /// Whether its end by itself may end its own supervisor.
    pub significant: Option<Spanned<bool>>,
    /// How long its restarts wait.
    pub backoff: Option<Spanned<BackoffSpec>>,
}

/// `restarts = { max = 5, within = "30s" }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestartsSpec {
    /// Restarts allowed.
    pub max: u32,
    /// In any stretch of this length.
    pub within: DurationText,
}

/// `backoff = { … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BackoffSpec {
    /// Before the first restart in a row.
    pub initial: Option<DurationText>,
    /// How many times longer each next one waits.
    pub factor: Option<f64>,
    /// The longest wait.
    pub max: Option<DurationText>,
    /// The part of the wait that is left to chance.
    pub jitter: Option<f64>,
    /// One that has run for so long begins at `initial` again.
    pub reset_after: Option<DurationText>,
}

/// `health = { … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HealthSpec {
    /// From one answer to the next question.
    pub interval: Option<DurationText>,
    /// How long an answer may take.
    pub timeout: Option<DurationText>,
    /// How many failed answers in a row end it.
    pub threshold: Option<Spanned<u32>>,
    /// How many failed answers in a row take a replica out of rotation.
    pub out_of_rotation_after: Option<Spanned<u32>>,
}
