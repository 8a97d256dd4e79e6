//! What can be done to one actor.

use serde::{Deserialize, Serialize};

/// Which actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorRequest {
    /// Its address.
    pub address: String,
}

/// An incarnation was ended in the middle of whatever it did. Its supervisor decides what follows, and counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KillAnswer {
    /// The actor.
    pub address: String,
    /// The incarnation that was told to end.
    pub incarnation: u64,
}

/// An incarnation has ended in order, and the next one has begun on the same mailbox. Not counted by the supervisor's
/// intensity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestartAnswer {
    /// The actor.
    pub address: String,
    /// Whether its time to end was up, and it was killed.
    pub killed: bool,
    /// The incarnation that began.
    pub incarnation: u64,
    /// `running`, or `starting` or `down` if it was not up when this was answered.
    pub state: String,
}

/// An actor has been stopped and forgotten: its address is free, and its mailbox closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StopAnswer {
    /// The actor.
    pub address: String,
    /// Whether its time to end was up, and it was killed.
    pub killed: bool,
}
