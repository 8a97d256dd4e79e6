//! SIGINT, SIGTERM and SIGHUP.
//!
//! Owns their streams: the first signal stops things in order, the second hurries. SIGHUP is taken as SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, FailureKind};

/// The signals, from the moment this is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it stays as it is.
    hangup: Option<Signal>,
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
            hangup: hangup_counts()
                .then(|| listen(SignalKind::hangup()))
                .transpose()?,
        })
    }

    /// Waits for one of them; says what a command that was not finished ends with.
    pub(crate) async fn next(&mut self) -> FailureKind {
        tokio::select! {
            _ = self.interrupt.recv() => FailureKind::Interrupted,
            _ = self.terminate.recv() => FailureKind::Terminated,
            () = received(self.hangup.as_mut()) => FailureKind::Terminated,
        }
    }
}

/// Waits for a signal; for ever where it is not listened to.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP was not set to be ignored by whoever started this, as `nohup` does: listening would undo that. Where
/// the system does not say, it is left alone.
fn hangup_counts() -> bool {
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & HANGUP == 0)
}
