//! SIGINT and SIGTERM.
//!
//! Owns the two streams: the first signal stops things in order, the second hurries.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, FailureKind};

/// Both signals, from the moment this is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    FailureKind::Io,
                    format!("cannot listen to signals: {error}"),
                )
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them; says what a command that was not finished ends with.
    pub(crate) async fn next(&mut self) -> FailureKind {
        tokio::select! {
            _ = self.interrupt.recv() => FailureKind::Interrupted,
            _ = self.terminate.recv() => FailureKind::Terminated,
        }
    }
}
