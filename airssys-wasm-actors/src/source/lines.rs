//! Items that are the lines of a text.
//!
//! Owns the cutting of lines within a limit. A line's end (`\n` or `\r\n`) is not part of the item, and blank
//! lines are none. At most one line is in memory.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use super::input::{Sink, SourceError, Stop};

pub(super) fn read(
    reader: impl Read,
    item_bytes_max: u64,
    sink: Sink<'_>,
) -> Result<ControlFlow<Stop>, SourceError> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut number: usize = 0;
    let mut after: u64 = 0;
    loop {
        line.clear();
        number += 1;
        // Two more than the limit, so that a full item with its line end is told from a larger one.
        let read = reader
            .by_ref()
            .take(item_bytes_max.saturating_add(2))
            .read_until(b'\n', &mut line)
            .map_err(|source| SourceError::Read { after, source })?;
        if read == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let item = line.strip_suffix(b"\n").unwrap_or(&line);
        let item = item.strip_suffix(b"\r").unwrap_or(item);
        if u64::try_from(item.len()).unwrap_or(u64::MAX) > item_bytes_max {
            return Err(SourceError::ItemTooLarge {
                number: after,
                bytes_max: item_bytes_max,
            });
        }
        let text = std::str::from_utf8(item).map_err(|error| SourceError::Malformed {
            line: number,
            column: error.valid_up_to() + 1,
            message: "not UTF-8".to_owned(),
            after,
        })?;
        if text.trim().is_empty() {
            continue;
        }
        if let Err(stop) = sink(text.to_owned()) {
            return Ok(ControlFlow::Break(stop));
        }
        after += 1;
    }
}
