//! What every revision of the tally exports. What an instance remembers is the revision's `memory`.

use std::cell::RefCell;

use crate::bindings::airssys::actor::log::{Level, log};
use crate::bindings::exports::airssys::actor::{health, shutdown, state};
use crate::bindings::exports::quakes::app::tally::{
    Guest, RegionRow, Row, Severity, Sums, TallyError,
};
use crate::ledger::Ledger;
use crate::memory::Memory;

thread_local! {
    // An instance has one thread, and is not entered while it runs.
    pub(crate) static MEMORY: RefCell<Memory> = RefCell::default();
}

pub(crate) struct Tally;

fn ask<T>(question: impl FnOnce(&Ledger) -> T) -> T {
    MEMORY.with_borrow(|memory| question(memory.ledger()))
}

/// `12 events counted in 3 regions`.
fn summary(ledger: &Ledger) -> String {
    let Sums {
        counted, regions, ..
    } = ledger.sums();
    format!("{counted} events counted in {regions} regions")
}

impl Guest for Tally {
    fn record(
        region: String,
        severity: Severity,
        magnitude: Option<f64>,
    ) -> Result<(), TallyError> {
        MEMORY
            .with_borrow_mut(|memory| memory.record(region, severity, magnitude))
            .map_err(TallyError::Refused)
    }

    fn report() -> Vec<Row> {
        ask(Ledger::rows)
    }

    fn by_region() -> Vec<RegionRow> {
        ask(Ledger::by_region)
    }

    fn totals() -> Sums {
        ask(Ledger::sums)
    }
}

impl health::Guest for Tally {
    fn check() -> health::Health {
        match ask(Ledger::refused) {
            0 => health::Health::Healthy,
            refused => health::Health::Degraded(format!("{refused} events could not be counted")),
        }
    }
}

impl shutdown::Guest for Tally {
    fn shutdown(_reason: shutdown::Reason) {
        log(Level::Info, &format!("stops with {}", ask(summary)));
    }
}

impl state::Guest for Tally {
    fn snapshot() -> Result<Vec<u8>, String> {
        Ok(MEMORY.with_borrow(Memory::snapshot))
    }

    fn restore(from_version: String, bytes: Vec<u8>) -> Result<(), String> {
        let memory = Memory::restore(&bytes)?;
        // Of another revision or of this one: what can be read is said by the snapshot, not by who took it.
        let from = from_version.get(..12).unwrap_or(&from_version);
        let summary = summary(memory.ledger());
        log(Level::Info, &format!("goes on from {from} with {summary}"));
        MEMORY.set(memory);
        Ok(())
    }
}
