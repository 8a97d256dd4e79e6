//! The audit trail: who was granted what, who was denied what, who died of what.
//!
//! Events go through a bounded channel to one writer thread, which writes a JSON object a line. Recording never
//! waits: where the channel is full, denials and deaths are merged by kind into one record with a count (they
//! are never lost), and everything else is dropped and counted. Without a sink there is no thread, only
//! counters. What is not recorded: allowed uses, unless asked for; they are counted, and the counts of a live
//! instance arrive when it ends.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::fault::FaultClass;
use crate::gate::{AccessKind, InstanceIdentity};

mod file;
mod writer;

use writer::Writer;

/// How the audit trail is kept.
#[derive(Debug)]
pub struct AuditConfig {
    /// Where the records go.
    pub sink: AuditSinkConfig,
    /// Whether every allowed use is recorded too (default: no). They are always counted.
    pub uses: bool,
    /// Events the channel to the writer holds (default 4,096: a burst of denials while the disk is slow).
    pub capacity: usize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            sink: AuditSinkConfig::Off,
            uses: false,
            capacity: 4_096,
        }
    }
}

/// Where audit records go.
#[derive(Default)]
pub enum AuditSinkConfig {
    /// Nowhere; events are counted.
    #[default]
    Off,
    /// Appended to this file. A new one is for its owner alone (mode 600). One that is there keeps its mode, and is refused
    /// ([`AuditError::Unsafe`]) if it is no regular file, a symbolic link, of another user (root excepted), writable for
    /// others than its owner, or readable for others than its owner and its group.
    File(PathBuf),
    /// Written to this.
    Writer(Box<dyn Write + Send>),
}

impl fmt::Debug for AuditSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Writer(_) => f.write_str("Writer(..)"),
        }
    }
}

/// Why the audit trail cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The file cannot be opened for appending.
    #[error("cannot open the audit file {}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// What is there is no file for records that others must neither read nor write. It was not changed.
    #[error("{} cannot hold the audit trail: {why}; {remedy}", .path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The writer thread cannot be started.
    #[error("cannot start the audit writer's thread")]
    Thread(#[source] std::io::Error),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditAction {
    /// A template was linked with these grants.
    Granted {
        /// Their names.
        grants: Vec<String>,
    },
    /// An allowed access was used.
    Used {
        /// The kind of access.
        access: AccessKind,
        /// More about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// An access was denied.
    Denied {
        /// The kind of access.
        access: AccessKind,
        /// More about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// What to add, and where, to allow it.
        add: String,
    },
    /// An instance died.
    Died {
        /// Of what.
        #[serde(serialize_with = "class_name")]
        class: FaultClass,
        /// In words.
        message: String,
    },
    /// An entry of the compile cache was refused; the component was compiled again.
    CacheRejected {
        /// The component's digest.
        digest: String,
        /// What is wrong with the entry.
        reason: String,
    },
}

impl AuditAction {
    /// Denials and deaths are never dropped.
    fn must_be_kept(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Died { .. })
    }

    /// Events with equal keys are merged where the channel is full.
    fn key(&self) -> (&'static str, &'static str) {
        match self {
            Self::Granted { .. } => ("granted", ""),
            Self::Used { access, .. } => ("used", access.as_str()),
            Self::Denied { access, .. } => ("denied", access.as_str()),
            Self::Died { class, .. } => ("died", class.as_str()),
            Self::CacheRejected { .. } => ("cache-rejected", ""),
        }
    }
}

/// One record: who, what, when, how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEvent {
    /// Milliseconds since 1970, by the host's clock.
    pub unix_ms: u64,
    /// The component's name.
    #[serde(serialize_with = "text")]
    pub component: Arc<str>,
    /// The instance's address; empty where there is no instance.
    #[serde(serialize_with = "text")]
    pub address: Arc<str>,
    /// The instance's generation.
    pub generation: u64,
    /// What happened.
    #[serde(flatten)]
    pub action: AuditAction,
    /// How often, where several events were merged into one.
    pub times: u64,
}

fn text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

fn class_name<S: Serializer>(class: &FaultClass, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(class)
}

impl AuditEvent {
    /// Makes an event of this moment.
    #[must_use]
    pub fn now(
        component: Arc<str>,
        identity: &InstanceIdentity,
        action: AuditAction,
        times: u64,
    ) -> Self {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        Self {
            unix_ms,
            component,
            address: Arc::clone(&identity.address),
            generation: identity.generation,
            action,
            times,
        }
    }

    /// Makes an event that concerns a component rather than one of its instances.
    #[must_use]
    pub fn of_component(component: Arc<str>, action: AuditAction) -> Self {
        let nobody = InstanceIdentity {
            address: Arc::from(""),
            generation: 0,
        };
        Self::now(component, &nobody, action, 1)
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditCounts {
    /// Allowed accesses of instances that have ended.
    pub uses: u64,
    /// Denied accesses.
    pub denials: u64,
    /// Deaths of instances.
    pub deaths: u64,
    /// Templates linked with grants.
    pub grants: u64,
    /// Entries of the compile cache that were refused.
    pub cache_rejections: u64,
    /// Events merged into another record because the channel was full.
    pub coalesced: u64,
    /// Events dropped because the channel was full.
    pub dropped: u64,
    /// Records the sink did not take.
    pub write_failures: u64,
}

#[derive(Default)]
struct Counters {
    uses: AtomicU64,
    denials: AtomicU64,
    deaths: AtomicU64,
    grants: AtomicU64,
    cache_rejections: AtomicU64,
}

/// The audit trail of one engine; clones share it. The last clone's drop writes what is left and ends the writer.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    counters: Counters,
    writer: Option<Writer>,
    uses: bool,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the sink and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened, what is there is no file for it, or the thread cannot be started.
    pub fn start(config: AuditConfig) -> Result<Self, AuditError> {
        let writer = match config.sink {
            AuditSinkConfig::Off => None,
            AuditSinkConfig::File(path) => {
                let sink = file::open(path)?;
                Some(Writer::start(Box::new(sink), config.capacity).map_err(AuditError::Thread)?)
            }
            AuditSinkConfig::Writer(sink) => {
                Some(Writer::start(sink, config.capacity).map_err(AuditError::Thread)?)
            }
        };
        let shared = Shared {
            counters: Counters::default(),
            uses: config.uses,
            writer,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Records an event. Never waits.
    pub fn record(&self, event: AuditEvent) {
        let counters = &self.shared.counters;
        let counter = match &event.action {
            // Uses are counted by their gate, recorded or not.
            AuditAction::Used { .. } => None,
            AuditAction::Denied { .. } => Some(&counters.denials),
            AuditAction::Died { .. } => Some(&counters.deaths),
            AuditAction::Granted { .. } => Some(&counters.grants),
            AuditAction::CacheRejected { .. } => Some(&counters.cache_rejections),
        };
        if let Some(counter) = counter {
            counter.fetch_add(event.times, Ordering::Relaxed);
        }
        if let Some(writer) = &self.shared.writer {
            writer.record(event);
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> AuditCounts {
        let counters = &self.shared.counters;
        let (coalesced, dropped, write_failures) = self
            .shared
            .writer
            .as_ref()
            .map_or((0, 0, 0), Writer::counts);
        AuditCounts {
            uses: counters.uses.load(Ordering::Relaxed),
            denials: counters.denials.load(Ordering::Relaxed),
            deaths: counters.deaths.load(Ordering::Relaxed),
            grants: counters.grants.load(Ordering::Relaxed),
            cache_rejections: counters.cache_rejections.load(Ordering::Relaxed),
            coalesced,
            dropped,
            write_failures,
        }
    }

    /// Waits until everything recorded before this call was handed to the sink. Blocks the thread.
    pub fn flush(&self) {
        if let Some(writer) = &self.shared.writer {
            writer.flush();
        }
    }

    pub(crate) fn records_uses(&self) -> bool {
        self.shared.uses && self.shared.writer.is_some()
    }

    pub(crate) fn add_uses(&self, uses: u64) {
        if uses > 0 {
            self.shared.counters.uses.fetch_add(uses, Ordering::Relaxed);
        }
    }
}
