//! A disk in memory, as redb's storage: it remembers every write, fills up, and can lose what was not synced.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

/// Something that was done to the disk.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Write(u64, Vec<u8>),
    Resize(u64),
    Sync,
}

/// Called when a database lets go of the disk.
type OnClose = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    log: Vec<Operation>,
    /// Writes and resizes until the disk is full; `None` is never.
    room: Option<u64>,
    on_close: Option<Arc<OnClose>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// The disk. Clones are the same one; what lies on it stays when a database is closed.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct Disk(Arc<Mutex<Contents>>);

#[derive(Debug)]
pub(in crate::registry) struct Backend(Disk);

impl Disk {
    pub(in crate::registry) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().bytes.is_empty()
    }

    pub(in crate::registry) fn backend(&self) -> Backend {
        Backend(self.clone())
    }

    /// A disk with these bytes.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().bytes = bytes;
        disk
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// The operations since the last call.
    pub(super) fn take_log(&self) -> Vec<Operation> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    pub(super) fn log_len(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    /// From now on so many writes, and then none; or as many as there are.
    pub(super) fn set_room(&self, room: Option<u64>) {
        self.0.lock().unwrap().room = room;
    }

    /// Calls this, from now on or no longer, whenever a database lets go of the disk.
    pub(super) fn on_close(&self, call: Option<OnClose>) {
        self.0.lock().unwrap().on_close = call.map(Arc::new);
    }

    /// What is left of the room.
    pub(super) fn room(&self) -> Option<u64> {
        self.0.lock().unwrap().room
    }

    fn change(&self, operation: Operation) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        // What is there already can be written over and synced on a full disk by some file systems and not by others.
        if !matches!(operation, Operation::Sync)
            && let Some(room) = &mut contents.room
        {
            *room = room
                .checked_sub(1)
                .ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        }
        apply(&mut contents.bytes, &operation);
        contents.log.push(operation);
        Ok(())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let on_close = self.0.0.lock().unwrap().on_close.clone();
        if let Some(call) = on_close {
            call();
        }
    }
}

/// Does an operation to the bytes of a disk.
pub(super) fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            let end = at + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(data);
        }
        Operation::Resize(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Operation::Sync => {}
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.0.0.lock().unwrap();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let found = at
            .checked_add(out.len())
            .and_then(|end| contents.bytes.get(at..end));
        out.copy_from_slice(found.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change(Operation::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.change(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.change(Operation::Write(offset, data.to_vec()))
    }
}
