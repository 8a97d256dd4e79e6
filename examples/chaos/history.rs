//! The event log, read as it is written: who began and ended when.

use std::collections::HashMap;

use airssys_wasm_actors::{ActorAddress, Event, Events, ExitReason};

/// Wrong things that are written down; the rest only counts.
const WRITTEN_MAX: usize = 20;

/// One actor's incarnations.
#[derive(Default)]
struct Life {
    /// The newest that has begun.
    newest: u64,
    /// It has not ended.
    runs: bool,
}

/// What the events have told so far.
#[derive(Default)]
pub(crate) struct History {
    actors: HashMap<ActorAddress, Life>,
    supervisors: HashMap<ActorAddress, Life>,
    pub(crate) started: u64,
    pub(crate) supervisors_started: u64,
    /// Events that this log has not seen.
    pub(crate) lost: u64,
    wrong: u64,
    pub(crate) written: Vec<String>,
}

impl History {
    /// Reads until the system has ended.
    pub(crate) async fn of(mut events: Events) -> Self {
        let mut history = Self::default();
        while let Some(event) = events.recv().await {
            match event {
                Event::Started {
                    address,
                    incarnation,
                } => {
                    history.started += 1;
                    let wrong = begin(&mut history.actors, address, incarnation);
                    history.write(wrong);
                }
                Event::Exited {
                    address,
                    incarnation,
                    reason,
                } => {
                    // A trap would be a goal's: a message was out of order.
                    if !matches!(reason, ExitReason::Killed | ExitReason::Shutdown) {
                        history.write(Some(format!("`{address}` has ended: {reason}")));
                    }
                    let wrong = end(&mut history.actors, &address, incarnation);
                    history.write(wrong);
                }
                Event::StartFailed {
                    address, reason, ..
                } if !matches!(reason, ExitReason::Killed) => {
                    history.write(Some(format!("`{address}` was not started: {reason}")));
                }
                Event::SupervisorStarted {
                    address,
                    incarnation,
                } => {
                    history.supervisors_started += 1;
                    let wrong = begin(&mut history.supervisors, address, incarnation);
                    history.write(wrong);
                }
                Event::SupervisorExited { address, .. } => {
                    // One that was killed before it was up has begun nothing.
                    history.supervisors.entry(address).or_default().runs = false;
                }
                Event::Lagged(lost) => history.lost += lost,
                Event::SupervisorEnded { address, .. } if address.as_str() == "root" => break,
                _ => {}
            }
        }
        history
    }

    fn write(&mut self, wrong: Option<String>) {
        let Some(wrong) = wrong else { return };
        self.wrong += 1;
        if self.written.len() < WRITTEN_MAX {
            self.written.push(wrong);
        }
    }

    pub(crate) fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Wrong things that were not written down.
    pub(crate) fn unwritten(&self) -> u64 {
        let written = u64::try_from(self.written.len()).unwrap_or(u64::MAX);
        self.wrong.saturating_sub(written)
    }

    /// Actors that have begun and not ended.
    pub(crate) fn running(&self) -> usize {
        self.actors.values().filter(|life| life.runs).count()
    }
}

/// An incarnation is up: what is wrong with that.
fn begin(
    lives: &mut HashMap<ActorAddress, Life>,
    address: ActorAddress,
    incarnation: u64,
) -> Option<String> {
    let life = lives.entry(address.clone()).or_default();
    let before = std::mem::replace(
        life,
        Life {
            newest: incarnation,
            runs: true,
        },
    );
    if before.runs {
        return Some(format!(
            "incarnation {incarnation} of `{address}` began before {} had ended",
            before.newest
        ));
    }
    (incarnation <= before.newest).then(|| {
        let newest = before.newest;
        format!("incarnation {incarnation} of `{address}` began after {newest}")
    })
}

/// An incarnation is gone: what is wrong with that.
fn end(
    lives: &mut HashMap<ActorAddress, Life>,
    address: &ActorAddress,
    incarnation: u64,
) -> Option<String> {
    let life = lives.get_mut(address);
    match life {
        Some(life) if life.runs && life.newest == incarnation => {
            life.runs = false;
            None
        }
        _ => Some(format!(
            "incarnation {incarnation} of `{address}` ended and was not there"
        )),
    }
}
