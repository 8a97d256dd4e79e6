//! Standard output and error as lines of the guest's log.
//!
//! Holds at most one line's worth of bytes. Empty writes are ignored without touching memory: wasmtime-wasi's
//! own stdout grows on them.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::guest_log::{GuestLog, Level};

/// Bytes one write may have; the guest asks before it writes.
const WRITE_BYTES_MAX: usize = 64 * 1024;

pub(super) struct LineSink {
    log: Arc<GuestLog>,
    name: &'static str,
    line: Vec<u8>,
    /// The line is already longer than a line may be; the rest of it is not kept.
    overlong: bool,
}

impl LineSink {
    pub(super) fn new(log: Arc<GuestLog>, name: &'static str) -> Self {
        Self {
            log,
            name,
            line: Vec::new(),
            overlong: false,
        }
    }

    fn keep(&mut self, part: &[u8]) {
        // One byte more than a line may have, so that the cut is seen and said.
        let room = self
            .log
            .line_bytes_max()
            .saturating_add(1)
            .saturating_sub(self.line.len());
        let kept = part.get(..room).unwrap_or(part);
        self.overlong |= kept.len() < part.len();
        self.line.extend_from_slice(kept);
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        self.log.line(Level::Info, self.name, text);
        self.line.clear();
        self.overlong = false;
    }
}

#[async_trait]
impl Pollable for LineSink {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for LineSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap(
                "wrote more bytes than `check-write` allows",
            ));
        }
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            if !self.overlong && !part.is_empty() {
                self.keep(part);
            }
            if lines.peek().is_some() {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Drop for LineSink {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}
