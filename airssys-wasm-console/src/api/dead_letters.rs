//! Casts that nobody handled: listed, shown, sent again, thrown away.

use std::time::{Duration, SystemTime};

use airssys_wasm_actors::{
    DeadLetter, DeadLetterFilter, DeadLetterSelection, PatternError, PurgeReport, ReplayReport,
};
use serde::{Deserialize, Serialize};

/// Which letters are wanted. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterQuery {
    /// Whom they are for: a pattern of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The kind of their reason, such as `mailbox-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// They became dead letters longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_ms: Option<u64>,
    /// They became dead letters no longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than_ms: Option<u64>,
    /// Whether they are poison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poison: Option<bool>,
    /// Most letters, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl TryFrom<DeadLetterQuery> for DeadLetterFilter {
    type Error = PatternError;

    fn try_from(query: DeadLetterQuery) -> Result<Self, PatternError> {
        Ok(Self {
            target: query.address.map(|text| text.parse()).transpose()?,
            kind: query.reason,
            older_than: query.older_than_ms.map(Duration::from_millis),
            newer_than: query.newer_than_ms.map(Duration::from_millis),
            poison: query.poison,
            limit: query.limit,
        })
    }
}

/// The letters that something is to be done with. All of them are `{"filter": {}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// These, by number.
    Sequences(Vec<u64>),
    /// Those that pass.
    Filter(DeadLetterQuery),
}

impl TryFrom<Selection> for DeadLetterSelection {
    type Error = PatternError;

    fn try_from(selection: Selection) -> Result<Self, PatternError> {
        Ok(match selection {
            Selection::Sequences(sequences) => Self::Sequences(sequences),
            Selection::Filter(query) => Self::Filter(query.try_into()?),
        })
    }
}

/// The letters that pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterList {
    /// Oldest first.
    pub letters: Vec<DeadLetterView>,
    /// Letters kept, those that do not pass included.
    pub kept: usize,
    /// The bytes of their arguments.
    pub kept_bytes: usize,
    /// Dead letters ever, those no longer kept and each failure of a replay included.
    pub total: u64,
}

/// One letter, without its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterView {
    /// Its number in this host, never used twice.
    pub sequence: u64,
    /// Whom it is for.
    pub target: String,
    /// The function, as `interface#function`.
    pub function: String,
    /// The actor that sent it; `null` for a task of the host.
    pub sender: Option<String>,
    /// The kind of its reason.
    pub reason: String,
    /// The reason in words.
    pub message: String,
    /// When it became a dead letter, the first time, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
    /// How long ago that was.
    pub age_ms: u64,
    /// How often it has been sent, the first time included.
    pub attempts: u32,
    /// How often it has ended the actor that handled it.
    pub deaths: u32,
    /// Whether that is too often to be sent again unless it is forced.
    pub poison: bool,
    /// Whether it has been sent again and is not handled yet.
    pub under_way: bool,
    /// The bytes of its arguments.
    pub bytes: usize,
}

impl DeadLetterView {
    pub(crate) fn new(letter: &DeadLetter, now: SystemTime) -> Self {
        let since = |from: SystemTime, to: SystemTime| {
            let time = to.duration_since(from).unwrap_or_default();
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            sequence: letter.sequence,
            target: letter.target.to_string(),
            function: letter.function.clone(),
            sender: letter.sender.as_ref().map(ToString::to_string),
            reason: letter.why.kind().to_owned(),
            message: letter.why.to_string(),
            at_unix_ms: since(SystemTime::UNIX_EPOCH, letter.at),
            age_ms: since(letter.at, now),
            attempts: letter.attempts,
            deaths: letter.deaths,
            poison: letter.poison,
            under_way: letter.under_way,
            bytes: letter.bytes,
        }
    }
}

/// One letter with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterDetail {
    /// The letter.
    pub letter: DeadLetterView,
    /// Its arguments in WAVE, one text each; `null` when nobody has the address now, whose types they are written by.
    pub args: Option<Vec<String>>,
    /// Whether they are cut.
    pub cut: bool,
}

/// Send letters again, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Which.
    pub select: Selection,
    /// Poison too.
    #[serde(default)]
    pub force: bool,
}

/// What became of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplayAnswer {
    /// Letters sent again. Each leaves the store when it has been handled.
    pub accepted: Vec<u64>,
    /// Letters that were not.
    pub refused: Vec<RefusedLetter>,
}

/// A letter that was not sent again. It is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedLetter {
    /// Its number.
    pub sequence: u64,
    /// A stable kebab-case name.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl From<ReplayReport> for ReplayAnswer {
    fn from(report: ReplayReport) -> Self {
        let refused = report.refused.iter().map(|why| RefusedLetter {
            sequence: why.sequence(),
            kind: why.kind().to_owned(),
            message: why.to_string(),
        });
        Self {
            refused: refused.collect(),
            accepted: report.accepted,
        }
    }
}

/// Throw letters away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// Which.
    pub select: Selection,
}

/// What became of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PurgeAnswer {
    /// Letters thrown away.
    pub purged: usize,
    /// Letters that were chosen and stay, because they are under way.
    pub under_way: usize,
}

impl From<PurgeReport> for PurgeAnswer {
    fn from(report: PurgeReport) -> Self {
        Self {
            purged: report.purged,
            under_way: report.under_way,
        }
    }
}
