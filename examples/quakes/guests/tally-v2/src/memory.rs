//! What an instance of the second revision remembers: the counts, and the strongest events. Its snapshots are of
//! format 2: format 1, and the strongest events at the end, which a reader of format 1 leaves out.

use crate::bindings::exports::quakes::app::tally::Severity;
use crate::extremes::Extremes;
use crate::ledger::Ledger;
use crate::snapshot::{Format, Reader, Writer};

/// The counts, and the strongest events.
const FORMAT: Format = Format {
    version: 2,
    readable_from: 1,
};

/// Everything that an instance remembers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Memory {
    ledger: Ledger,
    extremes: Extremes,
    /// How many events the ledger has, so that it need not be asked for each.
    counted: u64,
}

impl Memory {
    /// Counts one event, or says why it cannot.
    pub(crate) fn record(
        &mut self,
        region: String,
        severity: Severity,
        magnitude: Option<f64>,
    ) -> Result<(), String> {
        self.ledger.record(region.clone(), severity, magnitude)?;
        self.counted += 1;
        if let Some(magnitude) = magnitude {
            self.extremes
                .note(&region, severity, magnitude, Some(self.counted));
        }
        Ok(())
    }

    /// The counts.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The strongest events.
    pub(crate) fn extremes(&self) -> &Extremes {
        &self.extremes
    }

    /// All of it as bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::new(FORMAT);
        writer.ledger(&self.ledger);
        self.extremes.write(&mut writer);
        writer.finish()
    }

    /// What `snapshot` made bytes of, in this revision or in the first one; of a later format, the part that this
    /// one has.
    pub(crate) fn restore(bytes: &[u8]) -> Result<Self, String> {
        let (mut reader, format) = Reader::open(bytes, FORMAT.version)?;
        let ledger = reader.ledger()?;
        let extremes = if format.version < FORMAT.version {
            Extremes::of(&ledger)
        } else {
            Extremes::read(&mut reader, &ledger)?
        };
        if format.version <= FORMAT.version {
            reader.end()?;
        }
        Ok(Self {
            counted: ledger.sums().counted,
            ledger,
            extremes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::first;

    const EVENTS: [(&str, Severity, Option<f64>); 5] = [
        ("Alaska", Severity::Micro, Some(1.5)),
        ("Alaska", Severity::Light, Some(4.5)),
        ("Chile", Severity::Unrated, None),
        ("Taiwan", Severity::Strong, Some(6.4)),
        ("Taiwan", Severity::Major, Some(6.4)),
    ];

    fn memory() -> Memory {
        let mut memory = Memory::default();
        for (region, severity, magnitude) in EVENTS {
            memory
                .record(region.to_owned(), severity, magnitude)
                .unwrap();
        }
        memory
    }

    fn first() -> first::Memory {
        let mut memory = first::Memory::default();
        for (region, severity, magnitude) in EVENTS {
            memory
                .record(region.to_owned(), severity, magnitude)
                .unwrap();
        }
        memory
    }

    /// Region, magnitude, severity and number of each row.
    fn rows(memory: &Memory) -> Vec<(String, f64, Severity, Option<u64>)> {
        let rows = memory.extremes().rows().into_iter();
        rows.map(|row| (row.region, row.magnitude, row.severity, row.counted_as))
            .collect()
    }

    #[test]
    fn the_strongest_event_of_each_region_is_noted() {
        let expected = [
            ("Taiwan".to_owned(), 6.4, Severity::Strong, Some(4)),
            ("Alaska".to_owned(), 4.5, Severity::Light, Some(2)),
        ];
        assert_eq!(rows(&memory()), expected);
    }

    #[test]
    fn what_was_remembered_comes_back() {
        assert_eq!(Memory::restore(&memory().snapshot()).unwrap(), memory());
    }

    #[test]
    fn it_goes_on_from_the_first_revision() {
        let mut memory = Memory::restore(&first().snapshot()).unwrap();
        assert_eq!(memory.ledger(), first().ledger());
        // Of two severities of the same magnitude, the lower one: which came first was not noted.
        let expected = [
            ("Taiwan".to_owned(), 6.4, Severity::Strong, None),
            ("Alaska".to_owned(), 4.5, Severity::Light, None),
        ];
        assert_eq!(rows(&memory), expected);

        memory
            .record("Alaska".to_owned(), Severity::Moderate, Some(5.1))
            .unwrap();
        let alaska = ("Alaska".to_owned(), 5.1, Severity::Moderate, Some(6));
        assert_eq!(rows(&memory)[1], alaska);
    }

    #[test]
    fn the_first_revision_goes_on_from_it() {
        let back = first::Memory::restore(&memory().snapshot()).unwrap();
        assert_eq!(back, first());
    }

    #[test]
    fn what_is_cut_short_or_does_not_agree_is_refused() {
        let bytes = memory().snapshot();
        for length in 0..bytes.len() {
            assert!(Memory::restore(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut writer = Writer::new(FORMAT);
        writer.ledger(&Ledger::default());
        memory().extremes().write(&mut writer);
        let refused = Memory::restore(&writer.finish()).unwrap_err();
        assert!(refused.contains("Alaska"), "{refused}");
    }
}
