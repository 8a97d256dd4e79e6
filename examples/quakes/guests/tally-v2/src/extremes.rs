//! The strongest event of each region. Plain data, bounded as the ledger beside it is: no region is here that it
//! does not have.

use std::collections::BTreeMap;

use crate::bindings::exports::quakes::app::extremes::Extreme;
use crate::bindings::exports::quakes::app::tally::Severity;
use crate::ledger::Ledger;
use crate::snapshot::{Reader, Writer};

/// The strongest event of each region that has one with a magnitude.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Extremes {
    regions: BTreeMap<String, Strongest>,
}

/// The strongest event of one region.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Strongest {
    magnitude: f64,
    severity: Severity,
    /// Which of all counted events it was, from 1, if anybody noted it.
    counted_as: Option<u64>,
}

impl Extremes {
    /// What can be said about events that are counted already: of each region the greatest magnitude, and the
    /// severity it had, but not which event it was.
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let mut extremes = Self::default();
        for (region, entries) in ledger.regions() {
            for (severity, entry) in entries {
                if let Some(magnitude) = entry.strongest {
                    extremes.note(region, *severity, magnitude, None);
                }
            }
        }
        extremes
    }

    /// Looks at one more event; of two of the same magnitude the first one stays.
    pub(crate) fn note(
        &mut self,
        region: &str,
        severity: Severity,
        magnitude: f64,
        counted_as: Option<u64>,
    ) {
        let stays = self.regions.get(region);
        if stays.is_some_and(|strongest| strongest.magnitude >= magnitude) {
            return;
        }
        let strongest = Strongest {
            magnitude,
            severity,
            counted_as,
        };
        self.regions.insert(region.to_owned(), strongest);
    }

    /// One row a region, strongest first.
    pub(crate) fn rows(&self) -> Vec<Extreme> {
        let rows = self.regions.iter().map(|(region, strongest)| Extreme {
            region: region.clone(),
            magnitude: strongest.magnitude,
            severity: strongest.severity,
            counted_as: strongest.counted_as,
        });
        let mut rows: Vec<_> = rows.collect();
        // Stable: rows of the same magnitude stay in the order of regions.
        rows.sort_by(|one, another| another.magnitude.total_cmp(&one.magnitude));
        rows
    }

    /// Adds them to a snapshot.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.length(self.regions.len());
        for (region, strongest) in &self.regions {
            writer.text(region);
            writer.f64(strongest.magnitude);
            writer.severity(strongest.severity);
            writer.optional(strongest.counted_as, Writer::u64);
        }
    }

    /// Reads them from a snapshot that has `ledger` too.
    pub(crate) fn read(reader: &mut Reader<'_>, ledger: &Ledger) -> Result<Self, String> {
        let mut regions = BTreeMap::new();
        for _ in 0..reader.length()? {
            let region = reader.text()?;
            let strongest = Strongest {
                magnitude: reader.f64()?,
                severity: reader.severity()?,
                counted_as: reader.optional(Reader::u64)?,
            };
            if !ledger.regions().contains_key(region) {
                return Err(format!(
                    "the snapshot has a strongest event of {region}, where none was counted"
                ));
            }
            if regions.insert(region.to_owned(), strongest).is_some() {
                return Err(format!("the snapshot has two strongest events of {region}"));
            }
        }
        Ok(Self { regions })
    }
}
