//! Files of components, read again.
//!
//! Owns the bounds of that: what is read is a regular file and has no more bytes than a component may have, as when it was
//! loaded. A pipe that has taken its place holds up no thread, and a device has no end that would be waited for.

use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

use airssys_wasm::{ArtifactLimits, open_regular};

/// The bytes of a file, if it can be a component's. Blocks.
pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    let most = ArtifactLimits::DEFAULT.bytes_max;
    let mut bytes = Vec::new();
    open_regular(file)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        let what = format!("it has more than {} MiB", most >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}
