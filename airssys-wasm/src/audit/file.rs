//! Opening the file of the audit trail.
//!
//! Owns what such a file has to be: a regular one, under its own name, of the host's user or of root, that nobody else
//! may write and that only its owner and its group may read. It is looked at before it is opened, because opening
//! some devices does something, and asked again once it is open, so that nothing can take its place in between. What
//! is there is refused and never changed: its mode may be meant for somebody, and what others could write before is no
//! trail.

use std::fs::{File, Metadata, OpenOptions};
use std::path::{Path, PathBuf};

use super::AuditError;

const ANOTHER_FILE: &str = "name a file that is not there yet, and one for its owner alone is made";

/// Opens a file for appending, without waiting for anybody; a new one is for its owner alone.
pub(super) fn open(path: PathBuf) -> Result<File, AuditError> {
    if let Ok(metadata) = std::fs::symlink_metadata(&path) {
        check(&path, &metadata)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // A regular file is written the same with them.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    let opened = options.open(&path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    match opened {
        Ok((file, metadata)) => check(&path, &metadata).map(|()| file),
        Err(source) => Err(AuditError::Open { path, source }),
    }
}

/// Refuses what is no file for records that others must neither read nor write.
fn check(path: &Path, metadata: &Metadata) -> Result<(), AuditError> {
    let refuse = |why: String, remedy| {
        let path = path.to_owned();
        Err(AuditError::Unsafe { path, why, remedy })
    };
    if metadata.is_symlink() {
        let why = "it is a symbolic link".to_owned();
        return refuse(why, "name the file that it leads to");
    }
    if !metadata.is_file() {
        let why = format!("it is {}", kind(metadata));
        return refuse(why, ANOTHER_FILE);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let us = rustix::process::geteuid().as_raw();
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
        if owner != us && owner != 0 {
            let why = format!("it belongs to user {owner}, not to user {us}");
            return refuse(why, ANOTHER_FILE);
        }
        if mode & 0o022 != 0 {
            let why = format!("its mode is {mode:o}, so others could have written it");
            return refuse(why, ANOTHER_FILE);
        }
        if mode & 0o004 != 0 {
            let why = format!("its mode is {mode:o}, so everybody can read it");
            return refuse(
                why,
                "take that away with `chmod o-rwx`; its group may read it (mode 640)",
            );
        }
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        return "a directory";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    "no regular file"
}
