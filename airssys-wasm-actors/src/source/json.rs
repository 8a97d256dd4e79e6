//! Items that are the elements of an array somewhere in one JSON document.
//!
//! Owns the walk along a JSON pointer (RFC 6901) to the array, and the handing on of its elements as they stand
//! in the text. The document is read as a stream: what the pointer does not lead through is skipped without being
//! kept, and of the array one element is in memory. Everything that serde_json would keep is metered: an element,
//! or a key on the way, that is larger than the limit ends the reading. What comes after the array is still
//! checked to be JSON.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::input::{Sink, SourceError, Stop};

pub(super) fn read(
    reader: impl Read,
    pointer: &str,
    item_bytes_max: u64,
    sink: Sink<'_>,
) -> Result<ControlFlow<Stop>, SourceError> {
    let meter = Meter {
        left: Cell::new(Some(item_bytes_max)),
        item_bytes_max,
        exceeded: Cell::new(false),
    };
    let path = segments(pointer);
    let mut progress = Progress {
        sink,
        meter: &meter,
        read: 0,
        found: false,
        stopped: None,
    };
    let metered = Metered {
        reader: BufReader::new(reader),
        meter: &meter,
    };
    let mut document = serde_json::Deserializer::from_reader(metered);
    let walked = Walk {
        path: &path,
        progress: &mut progress,
    }
    .deserialize(&mut document)
    .and_then(|()| document.end());
    let Progress {
        read,
        found,
        stopped,
        ..
    } = progress;
    match (walked, stopped) {
        (_, Some(stop)) => Ok(ControlFlow::Break(stop)),
        (Err(_), None) if meter.exceeded.get() => Err(SourceError::ItemTooLarge {
            number: read,
            bytes_max: item_bytes_max,
        }),
        (Err(error), None) if error.is_io() => Err(SourceError::Read {
            after: read,
            source: error.into(),
        }),
        (Err(error), None) => Err(malformed(&error, read)),
        (Ok(()), None) if !found => Err(SourceError::NoItems {
            pointer: pointer.to_owned(),
        }),
        (Ok(()), None) => Ok(ControlFlow::Continue(())),
    }
}

/// The parts of a JSON pointer, unescaped. The empty pointer has none: the document is the array.
fn segments(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn malformed(error: &serde_json::Error, after: u64) -> SourceError {
    let text = error.to_string();
    // serde_json appends the place, which is told apart here.
    let message = text
        .split(" at line ")
        .next()
        .unwrap_or(&text)
        .escape_debug()
        .to_string();
    SourceError::Malformed {
        line: error.line(),
        column: error.column(),
        message,
        after,
    }
}

/// How many bytes may still be read before somebody has to say "go on".
struct Meter {
    /// `None`: nothing is kept of what is read, so any amount may be.
    left: Cell<Option<u64>>,
    item_bytes_max: u64,
    exceeded: Cell<bool>,
}

impl Meter {
    /// Something that is kept begins.
    fn keep(&self) {
        self.left.set(Some(self.item_bytes_max));
    }

    /// Something that is not kept begins.
    fn skip(&self) {
        self.left.set(None);
    }
}

struct Metered<'a, R> {
    reader: BufReader<R>,
    meter: &'a Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.meter.left.get() else {
            return self.reader.read(buffer);
        };
        if left == 0 {
            self.meter.exceeded.set(true);
            return Err(io::Error::other("larger than the limit"));
        }
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self
            .reader
            .read(buffer.get_mut(..most).unwrap_or_default())?;
        self.meter.left.set(Some(
            left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX)),
        ));
        Ok(read)
    }
}

struct Progress<'a> {
    sink: Sink<'a>,
    meter: &'a Meter,
    read: u64,
    found: bool,
    stopped: Option<Stop>,
}

/// Goes down the path, and reads the array at its end.
struct Walk<'a, 'b> {
    path: &'a [String],
    progress: &'a mut Progress<'b>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.progress.meter.keep();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.first() {
            None => f.write_str("the array of items"),
            Some(key) => write!(f, "an object with the key `{}`", key.escape_debug()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else {
            return Err(A::Error::custom(
                "invalid type: map, expected the array of items",
            ));
        };
        let progress = self.progress;
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted && !progress.found {
                map.next_value_seed(Walk {
                    path: rest,
                    progress,
                })?;
            } else if key == *wanted {
                return Err(A::Error::custom(format_args!(
                    "the key `{}` is here twice",
                    key.escape_debug()
                )));
            } else {
                progress.meter.skip();
                map.next_value::<IgnoredAny>()?;
            }
            progress.meter.keep();
        }
        progress.meter.skip();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let progress = self.progress;
        if let Some((wanted, rest)) = self.path.split_first() {
            let index = wanted.parse::<u64>().ok();
            let mut at = 0;
            loop {
                let more = if index == Some(at) {
                    seq.next_element_seed(Walk {
                        path: rest,
                        progress,
                    })?
                    .is_some()
                } else {
                    progress.meter.skip();
                    seq.next_element::<IgnoredAny>()?.is_some()
                };
                if !more {
                    return Ok(());
                }
                at += 1;
            }
        }
        progress.found = true;
        progress.meter.keep();
        while let Some(item) = seq.next_element::<Box<RawValue>>()? {
            let text = String::from(Box::<str>::from(item));
            if let Err(stop) = (progress.sink)(text) {
                progress.stopped = Some(stop);
                return Err(A::Error::custom("stopped"));
            }
            progress.read += 1;
            progress.meter.keep();
        }
        progress.meter.skip();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
