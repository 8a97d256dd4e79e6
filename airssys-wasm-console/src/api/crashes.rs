//! Crash reports: listed and shown.

use std::time::{Duration, SystemTime};

use airssys_wasm::{Frame, Spent};
use airssys_wasm_actors::{CrashFilter, CrashReport, MessageSender, PatternError, RecentMessage};
use serde::{Deserialize, Serialize};

/// Which reports are wanted. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashQuery {
    /// Who crashed: a pattern of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Only reports of a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Most reports, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl TryFrom<CrashQuery> for CrashFilter {
    type Error = PatternError;

    fn try_from(query: CrashQuery) -> Result<Self, PatternError> {
        Ok(Self {
            address: query.address.map(|text| text.parse()).transpose()?,
            after: query.after,
            limit: query.limit,
        })
    }
}

/// The reports that pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrashList {
    /// Oldest first.
    pub crashes: Vec<CrashView>,
    /// Reports kept, those that do not pass included.
    pub kept: usize,
    /// Their bytes.
    pub kept_bytes: usize,
    /// Reports ever, those no longer kept included.
    pub total: u64,
    /// Reports that were forgotten for newer ones.
    pub dropped: u64,
}

/// One report in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrashView {
    /// Its number in this host, never used twice.
    pub sequence: u64,
    /// Who crashed.
    pub address: String,
    /// Which incarnation.
    pub incarnation: u64,
    /// When, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
    /// How long ago that was.
    pub age_ms: u64,
    /// How long the incarnation was there.
    pub up_ms: u64,
    /// Whether it ended before it was up.
    pub starting: bool,
    /// The kind of its reason.
    pub kind: String,
    /// The reason in words.
    pub message: String,
    /// The class of the fault that its instance died of; `null` if that was not what ended it.
    pub fault: Option<String>,
    /// The innermost function, with its source line where there is one.
    pub at: Option<String>,
    /// How often it had been started again.
    pub restarts: u64,
    /// Who supervises it.
    pub supervisor: String,
}

impl CrashView {
    pub(crate) fn new(report: &CrashReport, now: SystemTime) -> Self {
        let since =
            |from: SystemTime, to: SystemTime| millis(to.duration_since(from).unwrap_or_default());
        Self {
            sequence: report.sequence,
            address: report.address.to_string(),
            incarnation: report.incarnation,
            at_unix_ms: since(SystemTime::UNIX_EPOCH, report.at),
            age_ms: since(report.at, now),
            up_ms: millis(report.up),
            starting: report.starting,
            kind: report.kind.to_owned(),
            message: report.reason.clone(),
            fault: report.fault.map(|class| class.to_string()),
            at: report.backtrace.first().map(ToString::to_string),
            restarts: report.restarts,
            supervisor: report.supervisor.to_string(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One report, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrashDetail {
    /// The report in short.
    pub crash: CrashView,
    /// The guest's functions, innermost first.
    pub backtrace: Vec<FrameView>,
    /// What its instance had used; `null` if that is not known.
    pub spent: Option<SpentView>,
    /// The headers of the last messages it was given, the newest last.
    pub recent: Vec<MessageView>,
}

impl CrashDetail {
    pub(crate) fn new(report: &CrashReport, now: SystemTime) -> Self {
        Self {
            crash: CrashView::new(report, now),
            backtrace: report.backtrace.iter().map(FrameView::from).collect(),
            spent: report.spent.as_ref().map(SpentView::from),
            recent: report.recent.iter().map(MessageView::from).collect(),
        }
    }
}

/// One function of a backtrace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrameView {
    /// Its name.
    pub function: String,
    /// The file its code comes from; `null` without debug information.
    pub file: Option<String>,
    /// The line in the file.
    pub line: Option<u32>,
    /// The column in the line, where it is known.
    pub column: Option<u32>,
}

impl From<&Frame> for FrameView {
    fn from(frame: &Frame) -> Self {
        let source = frame.source.as_ref();
        Self {
            function: frame.function.clone(),
            file: source.map(|source| source.file.clone()),
            line: source.map(|source| source.line),
            column: source
                .map(|source| source.column)
                .filter(|column| *column > 0),
        }
    }
}

/// What an instance had used when it died, and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpentView {
    /// Linear memory, over all memories.
    pub memory_bytes: u64,
    /// The limit of the same.
    pub memory_bytes_max: u64,
    /// Table elements, over all tables.
    pub table_elements: u64,
    /// The limit of the same.
    pub table_elements_max: u64,
    /// CPU of the call in which it died.
    pub cpu_ms: u64,
    /// The limit of the same.
    pub cpu_per_call_ms: u64,
    /// The limit of a call's time by the wall clock.
    pub wall_per_call_ms: u64,
}

impl From<&Spent> for SpentView {
    fn from(spent: &Spent) -> Self {
        Self {
            memory_bytes: spent.held.memory_bytes,
            memory_bytes_max: spent.memory_bytes_max,
            table_elements: spent.held.table_elements,
            table_elements_max: spent.table_elements_max,
            cpu_ms: millis(spent.cpu),
            cpu_per_call_ms: millis(spent.cpu_per_call),
            wall_per_call_ms: millis(spent.wall_per_call),
        }
    }
}

/// The header of a message. Its arguments are nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageView {
    /// Who sent it: an address; `null` for a task of the host, or an actor that is gone.
    pub sender: Option<String>,
    /// Whether a task of the host sent it.
    pub by_host: bool,
    /// The function, as `interface#function`.
    pub function: String,
    /// Whether nobody waited for an answer.
    pub cast: bool,
    /// What its arguments were charged in the mailbox.
    pub bytes: u64,
    /// How long before the end it was begun.
    pub before_ms: u64,
    /// `in-hand`, `handled` or `failed`.
    pub outcome: String,
}

impl From<&RecentMessage> for MessageView {
    fn from(message: &RecentMessage) -> Self {
        Self {
            sender: match &message.sender {
                MessageSender::Actor(address) => Some(address.to_string()),
                _ => None,
            },
            by_host: message.sender == MessageSender::Host,
            function: message.function.clone(),
            cast: message.cast,
            bytes: message.bytes,
            before_ms: millis(message.before),
            outcome: message.outcome.as_str().to_owned(),
        }
    }
}
