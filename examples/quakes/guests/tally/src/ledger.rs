//! The counts, and the sums made of them. Plain data: one entry a region and severity.
//!
//! Energy is what is radiated as seismic waves, by the relation of Gutenberg and Richter: log10 E = 4.8 + 1.5 M,
//! E in joules (B. Gutenberg and C. F. Richter, "Magnitude and energy of earthquakes", Annali di Geofisica 9,
//! 1956, doi:10.4401/ag-5590, where it stands in ergs: log10 E = 11.8 + 1.5 M). It is made for surface-wave
//! magnitudes; for the local magnitudes of small events, and for blasts, it is an estimate.

use std::collections::BTreeMap;

use crate::bindings::exports::quakes::app::tally::{RegionRow, Row, Severity, Sums};

/// Most regions that are kept apart: a bound on memory, whoever sends the names.
const REGIONS_MAX: usize = 1024;
/// Longest name of a region, in bytes.
const REGION_BYTES_MAX: usize = 256;

/// By region and severity.
pub(crate) type Regions = BTreeMap<String, BTreeMap<Severity, Entry>>;

/// Everything counted so far.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    regions: Regions,
    refused: u64,
}

/// The events of one region and one severity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) count: u64,
    pub(crate) energy_joules: f64,
    pub(crate) strongest: Option<f64>,
}

impl Entry {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.energy_joules += other.energy_joules;
        self.strongest = match (self.strongest, other.strongest) {
            (Some(one), Some(another)) => Some(one.max(another)),
            (one, another) => one.or(another),
        };
    }
}

impl Ledger {
    /// The ledger that has counted this, or why there is none.
    pub(crate) fn of(regions: Regions, refused: u64) -> Result<Self, String> {
        if regions.len() > REGIONS_MAX {
            return Err(format!("more than {REGIONS_MAX} regions"));
        }
        if regions.keys().any(|region| region.len() > REGION_BYTES_MAX) {
            return Err(too_long());
        }
        let mut entries = regions.values().flat_map(BTreeMap::values);
        let counted = entries.try_fold(0_u64, |counted, entry| counted.checked_add(entry.count));
        if counted.is_none() {
            return Err("too many events to be counted".to_owned());
        }
        Ok(Self { regions, refused })
    }

    /// The counts.
    pub(crate) fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Counts one event, or says why it cannot.
    pub(crate) fn record(
        &mut self,
        region: String,
        severity: Severity,
        magnitude: Option<f64>,
    ) -> Result<(), String> {
        if let Err(reason) = self.fits(&region, magnitude) {
            self.refused += 1;
            return Err(reason);
        }
        let energy_joules = magnitude.map_or(0.0, energy_joules);
        let entry = self
            .regions
            .entry(region)
            .or_default()
            .entry(severity)
            .or_default();
        entry.add(Entry {
            count: 1,
            energy_joules,
            strongest: magnitude,
        });
        Ok(())
    }

    fn fits(&self, region: &str, magnitude: Option<f64>) -> Result<(), String> {
        if region.len() > REGION_BYTES_MAX {
            return Err(too_long());
        }
        if !self.regions.contains_key(region) && self.regions.len() >= REGIONS_MAX {
            return Err(format!("there are {REGIONS_MAX} regions already"));
        }
        match magnitude {
            Some(magnitude) if !energy_joules(magnitude).is_finite() => Err(format!(
                "an event of magnitude {magnitude} has no energy to add"
            )),
            _ => Ok(()),
        }
    }

    /// How many events were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// One row a region and severity, most energy first.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self
            .regions
            .iter()
            .flat_map(|(region, entries)| {
                entries
                    .iter()
                    .map(move |(severity, entry)| (region, *severity, *entry))
            })
            .map(
                |(
                    region,
                    severity,
                    Entry {
                        count,
                        energy_joules,
                        strongest,
                    },
                )| Row {
                    region: region.clone(),
                    severity,
                    count,
                    energy_joules,
                    strongest,
                },
            )
            .collect();
        // Stable: rows of the same energy stay in the order of region and severity.
        rows.sort_by(|one, another| another.energy_joules.total_cmp(&one.energy_joules));
        rows
    }

    /// One row a region, most energy first.
    pub(crate) fn by_region(&self) -> Vec<RegionRow> {
        let mut rows: Vec<_> = self
            .regions
            .iter()
            .map(|(region, entries)| region_row(region, entries))
            .collect();
        rows.sort_by(|one, another| another.energy_joules.total_cmp(&one.energy_joules));
        rows
    }

    /// Everything in one row.
    pub(crate) fn sums(&self) -> Sums {
        let total = total(self.regions.values().flat_map(BTreeMap::values));
        Sums {
            counted: total.count,
            regions: u32::try_from(self.regions.len()).unwrap_or(u32::MAX),
            energy_joules: total.energy_joules,
            strongest: total.strongest,
        }
    }
}

fn too_long() -> String {
    format!("the region's name is longer than {REGION_BYTES_MAX} bytes")
}

fn region_row(region: &str, entries: &BTreeMap<Severity, Entry>) -> RegionRow {
    let count = |severity| entries.get(&severity).map_or(0, |entry| entry.count);
    let total = total(entries.values());
    RegionRow {
        region: region.to_owned(),
        events: total.count,
        micro: count(Severity::Micro),
        minor: count(Severity::Minor),
        light: count(Severity::Light),
        moderate: count(Severity::Moderate),
        strong_and_up: count(Severity::Strong) + count(Severity::Major) + count(Severity::Great),
        energy_joules: total.energy_joules,
        strongest: total.strongest,
    }
}

fn total<'a>(entries: impl Iterator<Item = &'a Entry>) -> Entry {
    entries.fold(Entry::default(), |mut total, entry| {
        total.add(*entry);
        total
    })
}

fn energy_joules(magnitude: f64) -> f64 {
    10_f64.powf(4.8 + 1.5 * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(events: &[(&str, Severity, Option<f64>)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (region, severity, magnitude) in events {
            ledger
                .record((*region).to_owned(), *severity, *magnitude)
                .unwrap();
        }
        ledger
    }

    #[test]
    fn two_steps_of_magnitude_are_a_thousand_times_the_energy() {
        let ratio = energy_joules(7.0) / energy_joules(5.0);
        assert!((ratio - 1000.0).abs() < 1e-9 * ratio, "{ratio}");
        assert!((energy_joules(5.0) / 10_f64.powf(12.3) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rows_are_kept_apart_by_region_and_severity_and_sorted_by_energy() {
        let ledger = ledger(&[
            ("Alaska", Severity::Micro, Some(1.0)),
            ("Alaska", Severity::Light, Some(4.5)),
            ("Taiwan", Severity::Strong, Some(6.4)),
            ("Alaska", Severity::Micro, Some(1.5)),
        ]);
        let rows: Vec<_> = ledger
            .rows()
            .into_iter()
            .map(|row| (row.region, row.severity, row.count))
            .collect();
        let expected = [
            ("Taiwan", Severity::Strong, 1),
            ("Alaska", Severity::Light, 1),
            ("Alaska", Severity::Micro, 2),
        ];
        assert_eq!(
            rows,
            expected.map(|(region, severity, count)| (region.to_owned(), severity, count))
        );

        let regions = ledger.by_region();
        assert_eq!(regions[0].region, "Taiwan");
        assert_eq!(regions[0].strong_and_up, 1);
        assert_eq!(
            (regions[1].events, regions[1].micro, regions[1].light),
            (3, 2, 1)
        );
        assert_eq!(regions[1].strongest, Some(4.5));
    }

    #[test]
    fn an_event_without_a_magnitude_counts_and_adds_no_energy() {
        let sums = ledger(&[("Chile", Severity::Unrated, None)]).sums();
        assert_eq!(
            (
                sums.counted,
                sums.regions,
                sums.energy_joules,
                sums.strongest
            ),
            (1, 1, 0.0, None)
        );
    }

    #[test]
    fn what_would_spoil_the_sums_or_the_memory_is_refused_and_counted() {
        let mut ledger = Ledger::default();
        for magnitude in [f64::NAN, f64::INFINITY, 1000.0] {
            assert!(
                ledger
                    .record("Chile".to_owned(), Severity::Great, Some(magnitude))
                    .is_err()
            );
        }
        assert!(
            ledger
                .record("x".repeat(REGION_BYTES_MAX + 1), Severity::Micro, None)
                .is_err()
        );
        for number in 0..REGIONS_MAX {
            ledger
                .record(number.to_string(), Severity::Micro, Some(1.0))
                .unwrap();
        }
        assert!(
            ledger
                .record("one more".to_owned(), Severity::Micro, None)
                .is_err()
        );
        assert!(ledger.record("0".to_owned(), Severity::Minor, None).is_ok());
        assert_eq!((ledger.refused(), ledger.sums().counted), (5, 1025));
    }
}
