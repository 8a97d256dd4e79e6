//! Snapshots of the tally as bytes: what every revision of it writes and reads.
//!
//! ```text
//! "TALY"  version: u16  readable-from: u16   counts   what a later version adds
//! ```
//!
//! All numbers are little-endian. `version` is the format that was written. `readable-from` is the oldest format
//! whose readers get along with it: a version that only adds something at the end keeps it, so that a rollback can
//! hand the counts back to an older revision, which leaves out what it does not know. A version that changes what
//! is there raises it, and older readers refuse. (SQLite's header has the same two numbers, for writing and reading.)

use std::collections::BTreeMap;

use crate::bindings::exports::quakes::app::tally::Severity;
use crate::ledger::{Entry, Ledger};

const MAGIC: [u8; 4] = *b"TALY";

/// By the number that stands for each of them.
const SEVERITIES: [Severity; 8] = [
    Severity::Unrated,
    Severity::Micro,
    Severity::Minor,
    Severity::Light,
    Severity::Moderate,
    Severity::Strong,
    Severity::Major,
    Severity::Great,
];

/// What a snapshot says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The format it is written in.
    pub(crate) version: u16,
    /// The oldest format whose readers can read it.
    pub(crate) readable_from: u16,
}

/// Makes a snapshot.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A snapshot with nothing in it.
    pub(crate) fn new(format: Format) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(format.version.to_le_bytes());
        bytes.extend(format.readable_from.to_le_bytes());
        Self { bytes }
    }

    /// Adds the counts.
    pub(crate) fn ledger(&mut self, ledger: &Ledger) {
        self.u64(ledger.refused());
        self.length(ledger.regions().len());
        for (region, entries) in ledger.regions() {
            self.text(region);
            self.length(entries.len());
            for (severity, entry) in entries {
                self.severity(*severity);
                self.u64(entry.count);
                self.f64(entry.energy_joules);
                self.optional(entry.strongest, Self::f64);
            }
        }
    }

    /// Adds how many of something follow. The ledger keeps its sizes far below the greatest number there is.
    pub(crate) fn length(&mut self, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_le_bytes());
    }

    /// Adds a text, its length first.
    pub(crate) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
    }

    /// Adds a severity.
    pub(crate) fn severity(&mut self, severity: Severity) {
        self.bytes.push(severity as u8);
    }

    /// Adds whether there is a value, and the value.
    pub(crate) fn optional<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T)) {
        self.bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            add(self, value);
        }
    }

    /// Adds a whole number.
    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    /// Adds a number, to the last bit.
    pub(crate) fn f64(&mut self, number: f64) {
        self.u64(number.to_bits());
    }

    /// The snapshot.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a snapshot. Bytes come from outside, so nothing that they say is believed before it is checked.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads what a snapshot says about itself, as a reader of format `version`.
    pub(crate) fn open(bytes: &'a [u8], version: u16) -> Result<(Self, Format), String> {
        let mut reader = Self { rest: bytes };
        if reader.array() != Ok(MAGIC) {
            return Err("not a snapshot of the tally".to_owned());
        }
        let format = Format {
            version: u16::from_le_bytes(reader.array()?),
            readable_from: u16::from_le_bytes(reader.array()?),
        };
        if format.readable_from > version {
            return Err(format!(
                "the snapshot is of format {}, which can be read from format {} on; this revision reads format \
                 {version}",
                format.version, format.readable_from
            ));
        }
        Ok((reader, format))
    }

    /// Reads the counts.
    pub(crate) fn ledger(&mut self) -> Result<Ledger, String> {
        let refused = self.u64()?;
        let mut regions = BTreeMap::new();
        for _ in 0..self.length()? {
            let region = self.text()?.to_owned();
            let mut entries = BTreeMap::new();
            for _ in 0..self.length()? {
                let severity = self.severity()?;
                let entry = Entry {
                    count: self.u64()?,
                    energy_joules: self.f64()?,
                    strongest: self.optional(Self::f64)?,
                };
                if entries.insert(severity, entry).is_some() {
                    return Err(format!("the snapshot has a severity of {region} twice"));
                }
            }
            if regions.insert(region, entries).is_some() {
                return Err("the snapshot has a region twice".to_owned());
            }
        }
        Ledger::of(regions, refused)
    }

    /// How many of something follow.
    pub(crate) fn length(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads a text.
    pub(crate) fn text(&mut self) -> Result<&'a str, String> {
        let length = usize::try_from(self.length()?).map_err(|_| cut_short())?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|error| format!("the snapshot has a text that is none: {error}"))
    }

    /// Reads a severity.
    pub(crate) fn severity(&mut self) -> Result<Severity, String> {
        let [number] = self.array()?;
        let severity = SEVERITIES.get(usize::from(number));
        severity
            .copied()
            .ok_or_else(|| format!("the snapshot has a severity {number}, which there is not"))
    }

    /// Reads a value that need not be there.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.array()? {
            [0] => Ok(None),
            [1] => read(self).map(Some),
            [other] => Err(format!("the snapshot has {other} where 0 or 1 is due")),
        }
    }

    /// Reads a whole number.
    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a number; one that is none or infinite is refused, because no sum survives it.
    pub(crate) fn f64(&mut self) -> Result<f64, String> {
        let number = f64::from_bits(self.u64()?);
        if number.is_finite() {
            Ok(number)
        } else {
            Err(format!("the snapshot has a number {number}"))
        }
    }

    /// Refuses what is left over.
    pub(crate) fn end(self) -> Result<(), String> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!(
                "the snapshot goes on for {left} byte(s) after its end"
            )),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| cut_short())
    }
}

fn cut_short() -> String {
    "the snapshot is cut short".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        version: 1,
        readable_from: 1,
    };

    /// Reads the counts of a snapshot that `write` makes.
    fn counts(write: impl FnOnce(&mut Writer)) -> Result<Ledger, String> {
        let mut writer = Writer::new(FORMAT);
        write(&mut writer);
        let bytes = writer.finish();
        let (mut reader, format) = Reader::open(&bytes, FORMAT.version)?;
        assert_eq!(format, FORMAT);
        let ledger = reader.ledger()?;
        reader.end()?;
        Ok(ledger)
    }

    fn entry(writer: &mut Writer, severity: u8, count: u64, energy: f64) {
        writer.bytes.push(severity);
        writer.u64(count);
        writer.f64(energy);
        writer.optional(Some(1.0), Writer::f64);
    }

    #[test]
    fn every_severity_has_its_number() {
        for severity in SEVERITIES {
            let mut writer = Writer::new(FORMAT);
            writer.severity(severity);
            let bytes = writer.finish();
            let (mut reader, _) = Reader::open(&bytes, 1).unwrap();
            assert_eq!(reader.severity(), Ok(severity));
        }
    }

    #[test]
    fn what_no_ledger_can_be_is_refused() {
        let one = |severity, count, energy| {
            counts(|writer| {
                writer.u64(0);
                writer.length(1);
                writer.text("Chile");
                writer.length(1);
                entry(writer, severity, count, energy);
            })
        };
        assert_eq!(one(7, 1, 2.0).unwrap().sums().counted, 1);
        assert!(one(8, 1, 2.0).unwrap_err().contains("severity 8"));
        assert!(one(7, 1, f64::NAN).unwrap_err().contains("NaN"));

        let two = |region: &str, severity, count| {
            counts(|writer| {
                writer.u64(0);
                writer.length(2);
                writer.text("Chile");
                writer.length(2);
                entry(writer, 1, u64::MAX - 1, 2.0);
                entry(writer, severity, 1, 2.0);
                writer.text(region);
                writer.length(1);
                entry(writer, 1, count, 2.0);
            })
        };
        assert_eq!(two("Peru", 2, 0).unwrap().sums().counted, u64::MAX);
        assert!(two("Peru", 2, 1).unwrap_err().contains("too many"));
        assert!(two("Peru", 1, 0).unwrap_err().contains("Chile twice"));
        assert!(two("Chile", 2, 0).unwrap_err().contains("region twice"));
        assert!(two(&"x".repeat(257), 2, 0).unwrap_err().contains("256"));
    }

    #[test]
    fn bytes_of_something_else_are_refused() {
        for bytes in [&b""[..], b"TAL", b"\0asm\x01\0\0\0"] {
            let refused = Reader::open(bytes, 1).map(|_| ()).unwrap_err();
            assert_eq!(refused, "not a snapshot of the tally");
        }
    }
}
