//! The writer of the audit trail: one thread behind a bounded channel.
//!
//! What does not fit the channel and must not be lost is merged in a small table under a mutex, held for a map
//! operation and never while writing. The table is bounded too: past [`MERGED_MAX`] keys, events of further
//! components are merged without their names.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::AuditEvent;

/// Kinds of merged events kept apart by component; a kind is some tens of bytes.
const MERGED_MAX: usize = 1_024;

/// Bytes that are collected before they are written. They are written earlier where nothing else is queued.
const BUFFER_BYTES: usize = 8 << 10;

type Key = (Arc<str>, (&'static str, &'static str));

enum Message {
    Event(Box<AuditEvent>),
    /// Look at the merged events.
    Wake,
    Flush(Sender<()>),
}

#[derive(Default)]
struct Overflow {
    merged: Mutex<BTreeMap<Key, AuditEvent>>,
    coalesced: AtomicU64,
    dropped: AtomicU64,
    write_failures: AtomicU64,
}

impl Overflow {
    fn merge(&self, event: AuditEvent) {
        self.coalesced.fetch_add(event.times, Ordering::Relaxed);
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (Arc::clone(&event.component), event.action.key());
        if merged.len() >= MERGED_MAX && !merged.contains_key(&key) {
            key.0 = Arc::from("");
        }
        match merged.get_mut(&key) {
            Some(kept) => kept.times = kept.times.saturating_add(event.times),
            None => {
                let component = Arc::clone(&key.0);
                merged.insert(key, AuditEvent { component, ..event });
            }
        }
    }

    fn take(&self) -> BTreeMap<Key, AuditEvent> {
        std::mem::take(&mut *self.merged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sending side; its drop closes the channel and waits for the thread to have written everything.
pub(super) struct Writer {
    sender: Option<Sender<Message>>,
    overflow: Arc<Overflow>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(sink: Box<dyn Write + Send>, capacity: usize) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(capacity.max(1));
        let overflow = Arc::new(Overflow::default());
        let theirs = Arc::clone(&overflow);
        let thread = std::thread::Builder::new()
            .name("airssys-audit".to_owned())
            .spawn(move || run(&receiver, sink, &theirs))?;
        Ok(Self {
            sender: Some(sender),
            overflow,
            thread: Some(thread),
        })
    }

    pub(super) fn record(&self, event: AuditEvent) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(Message::Event(Box::new(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Event(event))) if event.action.must_be_kept() => {
                self.overflow.merge(*event);
                // If this does not fit either, a message is still queued, and the writer looks at the merged
                // events after every message.
                let _full_is_fine = sender.try_send(Message::Wake);
            }
            Err(_) => {
                self.overflow.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn flush(&self) {
        let (done, wait) = bounded(1);
        if let Some(sender) = &self.sender
            && sender.send(Message::Flush(done)).is_ok()
        {
            let _writer_gone = wait.recv();
        }
    }

    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let overflow = &self.overflow;
        (
            load(&overflow.coalesced),
            load(&overflow.dropped),
            load(&overflow.write_failures),
        )
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit writer panicked; records may be missing");
        }
    }
}

fn run(receiver: &Receiver<Message>, sink: Box<dyn Write + Send>, overflow: &Overflow) {
    let mut lines = Lines::new(sink, overflow);
    while let Ok(message) = receiver.recv() {
        let flushed = match message {
            Message::Event(event) => {
                lines.add(&event);
                None
            }
            Message::Wake => None,
            Message::Flush(done) => Some(done),
        };
        for event in overflow.take().into_values() {
            lines.add(&event);
        }
        if receiver.is_empty() || flushed.is_some() {
            lines.write();
        }
        if let Some(done) = flushed {
            let _caller_gone = done.send(());
        }
    }
    for event in overflow.take().into_values() {
        lines.add(&event);
    }
    lines.write();
    let lost = overflow.write_failures.load(Ordering::Relaxed);
    if lost > 0 {
        tracing::error!(
            lost,
            "the audit trail is not whole: records could not be written"
        );
    }
}

/// Records that are written together.
struct Lines<'a> {
    sink: Box<dyn Write + Send>,
    bytes: Vec<u8>,
    /// The sink took a part of a line, and no more.
    torn: bool,
    overflow: &'a Overflow,
    /// How many must be lost before it is said again.
    say_at: u64,
}

impl<'a> Lines<'a> {
    fn new(sink: Box<dyn Write + Send>, overflow: &'a Overflow) -> Self {
        Self {
            sink,
            bytes: Vec::with_capacity(BUFFER_BYTES),
            torn: false,
            overflow,
            say_at: 1,
        }
    }

    fn add(&mut self, event: &AuditEvent) {
        let before = self.bytes.len();
        if let Err(error) = serde_json::to_writer(&mut self.bytes, event) {
            self.bytes.truncate(before);
            self.lose(1, &error.into());
            return;
        }
        self.bytes.push(b'\n');
        if self.bytes.len() >= BUFFER_BYTES {
            self.write();
        }
    }

    /// Hands everything to the sink. What it does not take is lost and counted: keeping it would need a bound too.
    fn write(&mut self) {
        if self.torn && !self.bytes.is_empty() {
            // What was begun is ended, so that the next record has a line of its own.
            match self.sink.write_all(b"\n") {
                Ok(()) => self.torn = false,
                Err(error) => {
                    let lost = ends(&self.bytes);
                    self.bytes.clear();
                    return self.lose(lost, &error);
                }
            }
        }
        let mut taken = 0;
        let written = loop {
            let left = self.bytes.get(taken..).unwrap_or_default();
            if left.is_empty() {
                break self.sink.flush();
            }
            match self.sink.write(left) {
                Ok(0) => break Err(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => taken += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = written {
            let whole = taken == self.bytes.len();
            let (done, left) = self.bytes.split_at(taken.min(self.bytes.len()));
            self.torn = done.last().is_some_and(|last| *last != b'\n');
            // A sink that took all and cannot flush it has kept nobody knows how much of it.
            let lost = ends(if whole { &self.bytes } else { left });
            self.lose(lost, &error);
        }
        self.bytes.clear();
    }

    fn lose(&mut self, records: u64, error: &std::io::Error) {
        let lost = &self.overflow.write_failures;
        let lost = lost.fetch_add(records, Ordering::Relaxed) + records;
        if records > 0 && lost >= self.say_at {
            tracing::error!(%error, lost, "cannot write the audit trail: records are lost");
            self.say_at = lost.saturating_mul(10);
        }
    }
}

/// Records that end in these bytes.
fn ends(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(ends).unwrap_or(u64::MAX)
}
