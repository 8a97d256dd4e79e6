//! What host and compiler say to each other: one request, one answer, each a header of fixed size and a body.
//!
//! Magic and version come first in both, in every version. Neither side reads more than it has bounds for, or makes room
//! for what it was only told of; an answer has a checksum, so that what something else in the child has printed is not
//! taken for code. Numbers are little-endian.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::engine::Profile;
use crate::limits::ArtifactLimits;

const REQUEST: [u8; 8] = *b"AIRSSYSQ";
const ANSWER: [u8; 8] = *b"AIRSSYSA";

/// Raised when anything of what is said changes.
const VERSION: u16 = 1;

/// The most code one answer may hold (1 GiB): sixteen times what a component may have.
const ARTIFACT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The most text of a refusal (16 KiB); of it 2 KiB are shown.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// What is to be compiled, and for what.
pub(super) struct Request {
    pub(super) profile: Profile,
    /// Whether to compile it with what it exports again, if that can be.
    pub(super) reexport: bool,
    pub(super) memory_bytes: u64,
    pub(super) cpu_seconds: u64,
    /// The configuration of the engine that the code is for.
    pub(super) configuration: [u8; 32],
    pub(super) bytes: Bytes,
}

/// What has become of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Compiled { artifact: Vec<u8>, reexports: bool },
    Refused(String),
}

/// What the child answers with.
pub(super) enum Reply<'a> {
    Compiled { artifact: &'a [u8], reexports: bool },
    Refused(&'a str),
    Memory,
    OtherBuild,
}

/// Why what was read is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It ended within.
    Ended,
    /// It is something else.
    Nonsense(String),
    /// The child had not the memory.
    Memory,
    /// The child is of another build.
    OtherBuild,
    /// It could not be read.
    Read(io::Error),
}

impl Request {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(&REQUEST);
        head.extend_from_slice(&VERSION.to_le_bytes());
        let profile = match self.profile {
            Profile::Strict => 0,
            Profile::Dense => 1,
        };
        head.extend_from_slice(&[profile, u8::from(self.reexport)]);
        head.extend_from_slice(&self.memory_bytes.to_le_bytes());
        head.extend_from_slice(&self.cpu_seconds.to_le_bytes());
        head.extend_from_slice(&self.configuration);
        head.extend_from_slice(&length(&self.bytes).to_le_bytes());
        to.write_all(&head)?;
        to.write_all(&self.bytes)?;
        to.flush()
    }

    /// Reads the header; the body is for [`read_body`](Self::read_body), and its length stands in the second place. `None`
    /// if it is of another version.
    pub(super) fn read_head(from: &mut impl Read) -> io::Result<Option<(Self, u64)>> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if array(from)? != REQUEST {
            return Err(wrong("what came by standard input is no request"));
        }
        if u16::from_le_bytes(array(from)?) != VERSION {
            return Ok(None);
        }
        let [profile, reexport] = array(from)?;
        let profile = match profile {
            0 => Profile::Strict,
            1 => Profile::Dense,
            _ => return Err(wrong("a profile that there is not")),
        };
        let request = Self {
            profile,
            reexport: reexport == 1,
            memory_bytes: u64::from_le_bytes(array(from)?),
            cpu_seconds: u64::from_le_bytes(array(from)?),
            configuration: array(from)?,
            bytes: Bytes::new(),
        };
        let length = u64::from_le_bytes(array(from)?);
        if length > ArtifactLimits::DEFAULT.bytes_max {
            return Err(wrong("more bytes than a component may have"));
        }
        Ok(Some((request, length)))
    }

    pub(super) fn read_body(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))?;
        from.take(length).read_to_end(&mut bytes)?;
        if self::length(&bytes) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

impl Reply<'_> {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, body): (u8, &[u8]) = match self {
            Self::Compiled {
                artifact,
                reexports,
            } => (u8::from(*reexports), artifact),
            Self::Refused(why) => {
                let why = why.as_bytes();
                (2, why.get(..REFUSAL_BYTES_MAX).unwrap_or(why))
            }
            Self::Memory => (3, &[]),
            Self::OtherBuild => (4, &[]),
        };
        let mut head = Vec::with_capacity(64);
        head.extend_from_slice(&ANSWER);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.push(kind);
        head.extend_from_slice(&length(body).to_le_bytes());
        head.extend_from_slice(checksum(kind, body).as_bytes());
        to.write_all(&head)?;
        to.write_all(body)?;
        to.flush()
    }
}

impl Answer {
    /// Reads an answer, and that nothing follows it.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, NoAnswer> {
        // Whatever it is that begins otherwise, it is told from what ends too early.
        let begins: [u8; 8] = array(from)?;
        if begins != ANSWER {
            let begins = String::from_utf8_lossy(&begins).into_owned();
            let begins = crate::printable::printable(&begins, 64);
            return Err(NoAnswer::Nonsense(format!("it begins with \"{begins}\"")));
        }
        if u16::from_le_bytes(array(from)?) != VERSION {
            return Err(NoAnswer::OtherBuild);
        }
        let [kind] = array(from)?;
        let expected = u64::from_le_bytes(array(from)?);
        let hash = blake3::Hash::from_bytes(array(from)?);
        let max = match kind {
            0 | 1 => ARTIFACT_BYTES_MAX,
            2 => u64::try_from(REFUSAL_BYTES_MAX).unwrap_or(u64::MAX),
            3 => return Err(NoAnswer::Memory),
            4 => return Err(NoAnswer::OtherBuild),
            kind => return Err(NoAnswer::Nonsense(format!("its kind is {kind}"))),
        };
        if expected > max {
            let what = format!("it is to have {expected} bytes, and may have {max}");
            return Err(NoAnswer::Nonsense(what));
        }
        // One more, to see that there is none.
        let mut body = Vec::new();
        from.take(expected + 1).read_to_end(&mut body)?;
        let found = length(&body);
        if found < expected {
            return Err(NoAnswer::Ended);
        }
        if found > expected {
            return Err(NoAnswer::Nonsense("there is more behind it".to_owned()));
        }
        if checksum(kind, &body) != hash {
            return Err(NoAnswer::Nonsense("its checksum is wrong".to_owned()));
        }
        Ok(match kind {
            2 => Self::Refused(String::from_utf8_lossy(&body).into_owned()),
            kind => Self::Compiled {
                artifact: body,
                reexports: kind == 1,
            },
        })
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Read(error),
        }
    }
}

fn checksum(kind: u8, body: &[u8]) -> blake3::Hash {
    blake3::Hasher::new()
        .update(&[kind])
        .update(body)
        .finalize()
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Vec<u8> {
        let mut bytes = Vec::new();
        let reply = Reply::Compiled {
            artifact: b"native code",
            reexports: true,
        };
        reply.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let answer = Answer::read(&mut &reply()[..]).unwrap();
        let compiled = Answer::Compiled {
            artifact: b"native code".to_vec(),
            reexports: true,
        };
        assert_eq!(answer, compiled);
        let mut bytes = Vec::new();
        let long = "x".repeat(100_000);
        Reply::Refused(&long).write(&mut bytes).unwrap();
        let answer = Answer::read(&mut &bytes[..]).unwrap();
        assert_eq!(answer, Answer::Refused("x".repeat(REFUSAL_BYTES_MAX)));
        let request = Request {
            profile: Profile::Dense,
            reexport: true,
            memory_bytes: 7,
            cpu_seconds: 9,
            configuration: [3; 32],
            bytes: Bytes::from_static(b"component"),
        };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        let mut from = &bytes[..];
        let (read, length) = Request::read_head(&mut from).unwrap().unwrap();
        assert_eq!((read.profile, read.reexport), (Profile::Dense, true));
        assert_eq!((read.memory_bytes, read.cpu_seconds), (7, 9));
        assert_eq!(read.configuration, [3; 32]);
        let body = Request::read_body(&mut from, length).unwrap();
        assert_eq!(body, b"component");
        assert!(Request::read_body(&mut &body[..], length + 1).is_err());
    }

    #[test]
    fn an_answer_that_ends_anywhere_is_none() {
        let whole = reply();
        for length in 0..whole.len() {
            let read = Answer::read(&mut &whole[..length]);
            assert!(matches!(read, Err(NoAnswer::Ended)), "{length}: {read:?}");
        }
    }

    #[test]
    fn no_byte_of_an_answer_can_be_another() {
        let whole = reply();
        for at in 0..whole.len() {
            for flip in [0x01, 0x02, 0x10, 0x80] {
                let mut bad = whole.clone();
                bad[at] ^= flip;
                let read = Answer::read(&mut &bad[..]);
                assert!(read.is_err(), "byte {at} flipped by {flip:#x}: {read:?}");
            }
        }
        let longer = [&whole[..], b"\n"].concat();
        let read = Answer::read(&mut &longer[..]);
        assert!(matches!(read, Err(NoAnswer::Nonsense(_))), "{read:?}");
    }

    #[test]
    fn what_is_announced_and_never_comes_takes_no_memory() {
        let mut head = reply();
        head.truncate(11);
        head.extend_from_slice(&ARTIFACT_BYTES_MAX.to_le_bytes());
        head.extend_from_slice(&[0; 32]);
        let read = Answer::read(&mut &head[..]);
        assert!(matches!(read, Err(NoAnswer::Ended)), "{read:?}");
        head[11..19].copy_from_slice(&(ARTIFACT_BYTES_MAX + 1).to_le_bytes());
        let read = Answer::read(&mut &head[..]);
        assert!(matches!(read, Err(NoAnswer::Nonsense(_))), "{read:?}");
    }
}
