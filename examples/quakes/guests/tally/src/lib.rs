//! tally.wasm: counts events, and the energy they released, by region and severity.
//!
//! The one component of the example with a memory: the counts live in the instance, and are gone with it.
//! Nobody else's crash can touch them.

#[rustfmt::skip]
mod bindings;
mod ledger;

use std::cell::RefCell;

use bindings::airssys::actor::log::{Level, log};
use bindings::exports::airssys::actor::{health, shutdown};
use bindings::exports::quakes::app::tally::{Guest, RegionRow, Row, Severity, Sums, TallyError};
use ledger::Ledger;

thread_local! {
    // An instance has one thread, and is not entered while it runs.
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

struct Tally;

impl Guest for Tally {
    fn record(
        region: String,
        severity: Severity,
        magnitude: Option<f64>,
    ) -> Result<(), TallyError> {
        LEDGER
            .with_borrow_mut(|ledger| ledger.record(region, severity, magnitude))
            .map_err(TallyError::Refused)
    }

    fn report() -> Vec<Row> {
        LEDGER.with_borrow(Ledger::rows)
    }

    fn by_region() -> Vec<RegionRow> {
        LEDGER.with_borrow(Ledger::by_region)
    }

    fn totals() -> Sums {
        LEDGER.with_borrow(Ledger::sums)
    }
}

impl health::Guest for Tally {
    fn check() -> health::Health {
        match LEDGER.with_borrow(Ledger::refused) {
            0 => health::Health::Healthy,
            refused => health::Health::Degraded(format!("{refused} events could not be counted")),
        }
    }
}

impl shutdown::Guest for Tally {
    fn shutdown(_reason: shutdown::Reason) {
        let Sums {
            counted, regions, ..
        } = LEDGER.with_borrow(Ledger::sums);
        log(
            Level::Info,
            &format!("stops with {counted} events counted in {regions} regions"),
        );
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Tally with_types_in bindings);
