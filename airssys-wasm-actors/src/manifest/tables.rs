//! The tables of a manifest, one struct each, one field a key.
//!
//! Owns the shape alone: defaults that are another part's (limits, mailboxes, restart intensity) are left
//! `None` here and filled in where they belong.

use std::collections::BTreeMap;

use airssys_wasm::CapabilityManifest;
use serde::Deserialize;
use toml::Spanned;

use super::autoscale::AutoscaleSpec;
use super::grammar::{self, ErrorAs, Named, OptionKind, SourceFormat};
use super::limits::LimitsSpec;
use super::rollout::RolloutSpec;
use super::supervision::{BackoffSpec, HealthSpec, SupervisionSpec, SupervisorTable};
use super::units::{DurationText, SizeText};
use crate::mailbox::BackpressureStrategy;
use crate::supervisor::{RestartPolicy, ShutdownPolicy};

/// A whole manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tables {
    /// `[application]`
    pub application: ApplicationTable,
    /// `[supervision]`
    #[serde(default)]
    pub supervision: SupervisionSpec,
    /// `[supervisors.NAME]`
    #[serde(default)]
    pub supervisors: Named<SupervisorTable>,
    /// `[components.NAME]`
    pub components: Named<ComponentSpec>,
    /// `[options.NAME]`
    #[serde(default)]
    pub options: Named<OptionSpec>,
    /// `[sources.NAME]`
    #[serde(default)]
    pub sources: Named<SourceSpec>,
    /// `[report]`
    #[serde(default)]
    pub report: ReportSpec,
}

/// `[application]`: what it is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApplicationTable {
    /// The first part of every address in it.
    pub name: Spanned<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// `[components.NAME]`: a component and the actor it becomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ComponentSpec {
    /// The `.wasm` file, from the manifest's directory.
    pub file: Spanned<String>,
    /// Its version, for people; what the component carries if not said.
    pub version: Option<Spanned<String>>,
    /// What its instance may consume.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// It is not started with the application: others start it, as often as they need it.
    #[serde(default)]
    pub spawned: bool,
    /// What it may do.
    pub grants: Option<Spanned<CapabilityManifest>>,
    /// What it is configured with; tables in it are dots in keys.
    pub config: Option<Spanned<toml::Table>>,
    /// A TOML file whose values take the place of these, from the manifest's directory.
    pub config_file: Option<Spanned<String>>,
    /// Variables of the host's environment whose values take the place of both, by key.
    #[serde(default)]
    pub config_env: BTreeMap<String, Spanned<String>>,
    /// The supervisor it is a child of; the application's own if not said.
    pub under: Option<Spanned<String>>,
    /// Components and supervisors that have to be started before it.
    #[serde(default)]
    pub after: Vec<Spanned<String>>,
    /// Where its imports lead.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// The limits of its mailbox.
    pub mailbox: Option<MailboxSpec>,
    /// Components whose ends it is told.
    #[serde(default)]
    pub monitors: Vec<Spanned<String>>,
    /// How many of it drain its mailbox when it starts; 1 if not said, or the fewest that `autoscale` says.
    pub replicas: Option<Spanned<u32>>,
    /// Between which bounds their number follows what they have to do.
    pub autoscale: Option<Spanned<AutoscaleSpec>>,
    /// How long it is idle before it gives up its instance.
    pub passivate_after: Option<Spanned<DurationText>>,
    /// A new instance of it is as good as the one before.
    #[serde(default)]
    pub stateless: bool,
    /// It holds what must not be lost when it is replaced.
    pub stateful: Option<Spanned<bool>>,
    /// How it is replaced.
    pub rollout: Option<Spanned<RolloutSpec>>,
    /// When it is restarted; permanent if not said.
    #[serde(default, deserialize_with = "grammar::restart")]
    pub restart: Option<RestartPolicy>,
    /// How long it may take to stop.
    #[serde(default, deserialize_with = "grammar::shutdown")]
    pub shutdown: Option<ShutdownPolicy>,
    /// Whether its end by itself may end its supervisor.
    pub significant: Option<Spanned<bool>>,
    /// How long its restarts wait.
    pub backoff: Option<Spanned<BackoffSpec>>,
    /// How it is asked how it is.
    pub health: Option<HealthSpec>,
    /// How long it may take to start.
    pub start_within: Option<DurationText>,
}

/// One of `links`: an import and the actor whose export answers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkSpec {
    /// The imported interface; the version may be left out.
    pub import: Spanned<String>,
    /// The component it leads to.
    pub to: Spanned<String>,
    /// How a failed call reaches the guest; without it, the guest traps.
    pub error_as: Option<Spanned<ErrorAs>>,
    /// How long a call waits, all attempts together.
    pub reply_within: Option<DurationText>,
    /// Whether a failed call is sent again.
    pub retry: Option<RetrySpec>,
    /// When it refuses calls for a while.
    pub breaker: Option<BreakerSpec>,
}

/// `retry = { times = N, backoff = "…" }` of a link.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetrySpec {
    /// Attempts after the first.
    pub times: u32,
    /// Wait before each of them.
    pub backoff: DurationText,
}

/// `breaker = { failures = N, open-for = "…" }` of a link; what is left out is as [`Breaker`](crate::Breaker)'s
/// default has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BreakerSpec {
    /// Failures that open it.
    pub failures: Option<Spanned<u32>>,
    /// Of so many of the last calls; failures in a row if not said.
    pub window: Option<Spanned<u32>>,
    /// How long it refuses calls.
    pub open_for: Option<DurationText>,
    /// Calls that then have to succeed.
    pub trial: Option<Spanned<u32>>,
}

/// `mailbox = { … }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MailboxSpec {
    /// Most messages.
    pub depth: Option<Spanned<u32>>,
    /// Most bytes.
    pub bytes: Option<Spanned<SizeText>>,
    /// Largest message.
    pub message_bytes: Option<Spanned<SizeText>>,
    /// What happens when it is full.
    #[serde(default, deserialize_with = "grammar::backpressure")]
    pub strategy: BackpressureStrategy,
}

/// `[options.NAME]`: an option of the command line that sets a component's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptionSpec {
    /// `component.key`
    pub sets: Spanned<String>,
    /// What values it takes.
    #[serde(rename = "type", deserialize_with = "grammar::option_kind")]
    pub kind: OptionKind,
    /// For `--help`.
    #[serde(default)]
    pub help: String,
}

/// `[sources.NAME]`: input that is fed to a component, item by item.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceSpec {
    /// The input, from the manifest's directory.
    pub file: Spanned<String>,
    /// How it is cut into items.
    #[serde(default, deserialize_with = "grammar::source_format")]
    pub format: SourceFormat,
    /// JSON only: the pointer (RFC 6901) to the array.
    pub items: Option<Spanned<String>>,
    /// The component that is fed.
    pub to: Spanned<String>,
    /// Its function.
    pub function: Spanned<String>,
    /// The error case that means that the item is bad, not the application.
    pub rejected_case: Option<Spanned<String>>,
    /// Most items sent and not yet answered.
    pub in_flight: Option<Spanned<u32>>,
    /// Largest item.
    pub item_bytes: Option<Spanned<SizeText>>,
    /// How long an answer is waited for.
    pub reply_within: Option<DurationText>,
}

/// `[report]`: what is asked when every source has ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReportSpec {
    /// The application's own count of items.
    pub counted: Option<CountedSpec>,
    /// Tables to show.
    #[serde(default)]
    pub tables: Vec<TableSpec>,
}

/// `counted = { component, function, field }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CountedSpec {
    /// Who is asked.
    pub component: Spanned<String>,
    /// The function, without parameters.
    pub function: Spanned<String>,
    /// The field of its record; without it, the result itself is the number.
    pub field: Option<Spanned<String>>,
}

/// One of `tables`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TableSpec {
    /// Its heading.
    pub title: String,
    /// Who is asked.
    pub component: Spanned<String>,
    /// The function: no parameters, returns a list of records.
    pub function: Spanned<String>,
}
