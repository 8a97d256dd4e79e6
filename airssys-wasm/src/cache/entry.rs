//! One entry of the compile cache: a small header, then the artifact.
//!
//! The header is encoded with bincode 2, here and nowhere else, behind a magic and a version of our own: the
//! encoder can be replaced by raising the version. All fields are authenticated with the artifact.

use bincode::{Decode, Encode};

use super::key::Key;
use crate::artifact::Artifact;

const MAGIC: [u8; 8] = *b"AIRSYSWC";

/// Raised when the header or what is hashed changes.
pub(super) const VERSION: u16 = 2;

/// Headers are about 150 bytes; a bound for the decoder, which reads lengths from the file.
const HEADER_BYTES_MAX: usize = 1_024;

/// What the artifact was compiled from and for.
pub(super) struct Subject {
    pub(super) source: [u8; 32],
    pub(super) configuration: [u8; 32],
}

#[derive(Encode, Decode)]
struct Header {
    magic: [u8; 8],
    version: u16,
    source: [u8; 32],
    configuration: [u8; 32],
    wasmtime: String,
    artifact_bytes: u64,
    reexports: bool,
    seal: [u8; 32],
}

/// Why an entry was not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryRefused {
    #[error("it does not begin like an entry of this cache")]
    NotAnEntry,
    #[error("it was written in format {found}, not {VERSION}")]
    Version { found: u16 },
    #[error("it belongs to another component")]
    OtherSource,
    #[error("it was compiled for another engine configuration")]
    OtherConfiguration,
    #[error("it was compiled by wasmtime {found:?}")]
    OtherWasmtime { found: String },
    #[error("it should have {expected} bytes of code and has {found}")]
    Length { expected: u64, found: u64 },
    #[error(
        "its seal does not match: it was changed after it was written, or written with another key"
    )]
    Seal,
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<HEADER_BYTES_MAX>()
}

pub(super) struct Entry;

impl Entry {
    /// Returns the header that seals the artifact.
    pub(super) fn seal(
        artifact: &Artifact<'_>,
        reexports: bool,
        key: &Key,
        subject: &Subject,
    ) -> Result<Vec<u8>, bincode::error::EncodeError> {
        let artifact = artifact.bytes();
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            source: subject.source,
            configuration: subject.configuration,
            wasmtime: wasmtime_version().to_owned(),
            artifact_bytes: u64::try_from(artifact.len()).unwrap_or(u64::MAX),
            reexports,
            seal: *seal(artifact, reexports, key, subject).as_bytes(),
        };
        bincode::encode_to_vec(header, configuration())
    }
}

/// Verifies an entry; returns its artifact, and whether that was compiled with what it exports again.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    key: &Key,
    subject: &Subject,
) -> Result<(Artifact<'a>, bool), EntryRefused> {
    let (header, used): (Header, usize) =
        bincode::decode_from_slice(bytes, configuration()).map_err(|_| EntryRefused::NotAnEntry)?;
    if header.magic != MAGIC {
        return Err(EntryRefused::NotAnEntry);
    }
    if header.version != VERSION {
        return Err(EntryRefused::Version {
            found: header.version,
        });
    }
    if header.source != subject.source {
        return Err(EntryRefused::OtherSource);
    }
    if header.configuration != subject.configuration {
        return Err(EntryRefused::OtherConfiguration);
    }
    if header.wasmtime != wasmtime_version() {
        let found = crate::printable::printable(&header.wasmtime, 64);
        return Err(EntryRefused::OtherWasmtime { found });
    }
    let artifact = bytes.get(used..).unwrap_or_default();
    let found = u64::try_from(artifact.len()).unwrap_or(u64::MAX);
    if header.artifact_bytes != found {
        return Err(EntryRefused::Length {
            expected: header.artifact_bytes,
            found,
        });
    }
    // `Hash` compares in constant time.
    if seal(artifact, header.reexports, key, subject) != blake3::Hash::from_bytes(header.seal) {
        return Err(EntryRefused::Seal);
    }
    Ok((Artifact::sealed(artifact), header.reexports))
}

fn seal(artifact: &[u8], reexports: bool, key: &Key, subject: &Subject) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key.bytes());
    hasher
        .update(&MAGIC)
        .update(&VERSION.to_le_bytes())
        .update(&subject.source)
        .update(&subject.configuration)
        .update(
            &u64::try_from(wasmtime_version().len())
                .unwrap_or(u64::MAX)
                .to_le_bytes(),
        )
        .update(wasmtime_version().as_bytes())
        .update(&[u8::from(reexports)])
        .update(artifact);
    hasher.finalize()
}

/// The exact version the workspace pins; wasmtime exports no constant of it. A test compares the two.
pub(super) const fn wasmtime_version() -> &'static str {
    "48.0.8"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            source: [7; 32],
            configuration: [9; 32],
        }
    }

    fn sealed(artifact: &[u8], key: &Key) -> Vec<u8> {
        let artifact = Artifact::sealed(artifact);
        let mut bytes = Entry::seal(&artifact, true, key, &subject()).unwrap();
        bytes.extend_from_slice(artifact.bytes());
        bytes
    }

    fn opened<'a>(
        bytes: &'a [u8],
        key: &Key,
        subject: &Subject,
    ) -> Result<(&'a [u8], bool), EntryRefused> {
        open(bytes, key, subject).map(|(artifact, reexports)| (artifact.bytes(), reexports))
    }

    #[test]
    fn an_entry_opens_with_its_key_and_subject_only() {
        let key = Key::from_bytes([1; 32]);
        let bytes = sealed(b"code", &key);
        assert_eq!(opened(&bytes, &key, &subject()), Ok((&b"code"[..], true)));
        assert_eq!(
            opened(&bytes, &Key::from_bytes([2; 32]), &subject()),
            Err(EntryRefused::Seal)
        );
        let other = Subject {
            source: [8; 32],
            ..subject()
        };
        assert_eq!(opened(&bytes, &key, &other), Err(EntryRefused::OtherSource));
        let other = Subject {
            configuration: [8; 32],
            ..subject()
        };
        assert_eq!(
            opened(&bytes, &key, &other),
            Err(EntryRefused::OtherConfiguration)
        );
    }

    #[test]
    fn no_byte_of_an_entry_can_be_changed() {
        let key = Key::from_bytes([1; 32]);
        let bytes = sealed(b"some native code", &key);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                assert!(
                    opened(&changed, &key, &subject()).is_err(),
                    "byte {at} flipped by {flip:#x}"
                );
            }
        }
    }

    #[test]
    fn no_entry_can_be_cut_or_lengthened() {
        let key = Key::from_bytes([1; 32]);
        let bytes = sealed(b"some native code", &key);
        for length in 0..bytes.len() {
            assert!(
                opened(&bytes[..length], &key, &subject()).is_err(),
                "cut to {length}"
            );
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(matches!(
            opened(&longer, &key, &subject()),
            Err(EntryRefused::Length { .. })
        ));
    }

    #[test]
    fn an_older_format_is_named() {
        let key = Key::from_bytes([1; 32]);
        let mut header: Header = bincode::decode_from_slice(&sealed(b"", &key), configuration())
            .unwrap()
            .0;
        header.version = 0;
        let bytes = bincode::encode_to_vec(header, configuration()).unwrap();
        assert_eq!(
            opened(&bytes, &key, &subject()),
            Err(EntryRefused::Version { found: 0 })
        );
    }

    #[test]
    fn the_version_is_the_one_the_workspace_pins() {
        let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
        let pinned = format!(
            "name = \"wasmtime\"\nversion = \"{}\"\n",
            wasmtime_version()
        );
        assert!(
            lock.contains(&pinned),
            "change `wasmtime_version` with the pin"
        );
    }
}
