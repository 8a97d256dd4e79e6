//! What an instance of the first revision remembers: the counts. Its snapshots are of format 1.

use crate::bindings::exports::quakes::app::tally::Severity;
use crate::ledger::Ledger;
use crate::snapshot::{Format, Reader, Writer};

/// The counts alone.
const FORMAT: Format = Format {
    version: 1,
    readable_from: 1,
};

/// Everything that an instance remembers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Memory {
    ledger: Ledger,
}

impl Memory {
    /// Counts one event, or says why it cannot.
    pub(crate) fn record(
        &mut self,
        region: String,
        severity: Severity,
        magnitude: Option<f64>,
    ) -> Result<(), String> {
        self.ledger.record(region, severity, magnitude)
    }

    /// The counts.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// All of it as bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::new(FORMAT);
        writer.ledger(&self.ledger);
        writer.finish()
    }

    /// What `snapshot` made bytes of; of a later format, the part that this one has.
    pub(crate) fn restore(bytes: &[u8]) -> Result<Self, String> {
        let (mut reader, format) = Reader::open(bytes, FORMAT.version)?;
        let ledger = reader.ledger()?;
        if format.version == FORMAT.version {
            reader.end()?;
        }
        Ok(Self { ledger })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let mut memory = Memory::default();
        for (region, severity, magnitude) in [
            ("Alaska", Severity::Micro, Some(1.5)),
            ("Alaska", Severity::Light, Some(4.5)),
            ("Chile", Severity::Unrated, None),
        ] {
            memory
                .record(region.to_owned(), severity, magnitude)
                .unwrap();
        }
        memory
            .record("Chile".to_owned(), Severity::Great, Some(f64::NAN))
            .unwrap_err();
        memory
    }

    #[test]
    fn what_was_counted_and_refused_comes_back() {
        let restored = Memory::restore(&memory().snapshot()).unwrap();
        assert_eq!(restored, memory());
        assert_eq!(restored.ledger().sums().counted, 3);
        assert_eq!(restored.ledger().refused(), 1);
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let bytes = memory().snapshot();
        for length in 0..bytes.len() {
            assert!(Memory::restore(&bytes[..length]).is_err(), "{length} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Memory::restore(&longer).unwrap_err().contains("for 1 byte"));
    }

    #[test]
    fn a_later_format_is_read_if_it_says_so_and_refused_if_not() {
        let later = |readable_from| {
            let mut writer = Writer::new(Format {
                version: 7,
                readable_from,
            });
            writer.ledger(memory().ledger());
            writer.text("and something new");
            Memory::restore(&writer.finish())
        };
        assert_eq!(later(1).unwrap(), memory());
        let refused = later(2).unwrap_err();
        assert!(
            refused.contains("format 7") && refused.contains("format 2"),
            "{refused}"
        );
    }
}
