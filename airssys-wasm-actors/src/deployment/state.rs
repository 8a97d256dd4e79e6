//! The states of a rollout, as its journal has them.
//!
//! Owns the words, and which may follow which.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the journal says of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Everything is loaded and fits.
    Prepared,
    /// Every new revision is warm.
    Warmed,
    /// A step is about to be switched; once for each.
    Switching,
    /// Everything is switched, and the old revisions are kept.
    Soaking,
    /// The old revisions are not kept any more.
    Permanent,
    /// The old revisions are being put back.
    RollingBack,
    /// The old revisions serve again.
    RolledBack,
    /// Nothing was switched, or something could not be switched back.
    Failed,
}

impl RolloutState {
    /// Its name in records and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Warmed => "warmed",
            Self::Switching => "switching",
            Self::Soaking => "soaking",
            Self::Permanent => "permanent",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::RolledBack | Self::Failed)
    }

    /// Whether this record may be the next one after `before`.
    #[must_use]
    pub const fn may_follow(self, before: Option<Self>) -> bool {
        match before {
            None => matches!(self, Self::Prepared),
            Some(Self::Prepared) => matches!(self, Self::Warmed | Self::Failed),
            Some(Self::Warmed) => matches!(self, Self::Switching | Self::Failed),
            Some(Self::Switching) => matches!(
                self,
                Self::Switching | Self::Soaking | Self::RollingBack | Self::Failed
            ),
            Some(Self::Soaking) => {
                matches!(self, Self::Permanent | Self::RollingBack | Self::Failed)
            }
            Some(Self::RollingBack) => matches!(self, Self::RolledBack | Self::Failed),
            Some(Self::Permanent | Self::RolledBack | Self::Failed) => false,
        }
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
