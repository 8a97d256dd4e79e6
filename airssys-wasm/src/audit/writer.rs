//! The writer of the audit trail: one thread behind a bounded channel.
//!
//! What does not fit the channel and must not be lost is merged in a small table under a mutex, held for a map
//! operation and never while writing. The table is bounded too: past [`MERGED_MAX`] keys, events of further
//! components are merged without their names.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::AuditEvent;

/// Kinds of merged events kept apart by component; a kind is some tens of bytes.
const MERGED_MAX: usize = 1_024;

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
            .spawn(move || run(&receiver, BufWriter::new(sink), &theirs))?;
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

/// Opens a file for appending, readable by its owner only.
pub(super) fn open(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn run<W: Write>(receiver: &Receiver<Message>, mut sink: W, overflow: &Overflow) {
    let write = |sink: &mut W, event: &AuditEvent| {
        let written = serde_json::to_vec(event)
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                sink.write_all(&line)
            });
        if let Err(error) = written
            && overflow.write_failures.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::error!(%error, "cannot write the audit trail; further failures are counted");
        }
    };
    while let Ok(message) = receiver.recv() {
        let flushed = match message {
            Message::Event(event) => {
                write(&mut sink, &event);
                None
            }
            Message::Wake => None,
            Message::Flush(done) => Some(done),
        };
        for event in overflow.take().into_values() {
            write(&mut sink, &event);
        }
        if receiver.is_empty() || flushed.is_some() {
            flush(&mut sink, overflow);
        }
        if let Some(done) = flushed {
            let _caller_gone = done.send(());
        }
    }
    for event in overflow.take().into_values() {
        write(&mut sink, &event);
    }
    flush(&mut sink, overflow);
}

fn flush<W: Write>(sink: &mut W, overflow: &Overflow) {
    if sink.flush().is_err() {
        overflow.write_failures.fetch_add(1, Ordering::Relaxed);
    }
}
