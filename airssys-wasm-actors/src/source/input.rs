//! Where a source's input comes from, and the thread that reads it.
//!
//! Owns opening the input, cutting it into items and handing them on through a bounded channel: a reader that is
//! ahead waits, so at most a few items are in memory whatever the size of the input. The reader is a plain
//! thread, not one of tokio's blocking ones: a read of a terminal or a pipe cannot be interrupted, and must not
//! hold up the end of the runtime.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{json, lines};
use crate::manifest::SourceFormat;

/// Items read ahead of the ones being sent. Reading is faster than any call; a few keep it from being waited for.
const READ_AHEAD: usize = 16;

/// What a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A file, or anything else that a path names.
    File(PathBuf),
    /// The process's standard input.
    Stdin,
}

impl Input {
    /// What can be known without opening it: that it is there, is of a kind that is read, and may be.
    pub(crate) fn can_be_opened(&self) -> Result<(), SourceError> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let failed = |source: io::Error| SourceError::Open {
            input: self.clone(),
            source,
        };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt as _;
            if kind.is_socket() {
                return Err(failed(io::Error::other("it is a socket")));
            }
            let access = rustix::fs::access(path, rustix::fs::Access::READ_OK);
            access.map_err(|why| failed(why.into()))?;
        }
        Ok(())
    }

    /// Whether it can be read again from its beginning, with the same in it: a pipe or a terminal cannot.
    pub(crate) fn is_rereadable(&self) -> bool {
        match self {
            Self::File(path) => std::fs::metadata(path).is_ok_and(|about| about.is_file()),
            Self::Stdin => false,
        }
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// How the input is cut into items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cutting {
    pub(crate) format: SourceFormat,
    /// The pointer to the array, for JSON.
    pub(crate) items: String,
    /// Largest item, in bytes.
    pub(crate) item_bytes_max: u64,
}

/// Why an input ended before its end. What had been sent before stays sent and accounted for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {input}: {source}")]
    Open {
        /// The input.
        input: Input,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read on after item {after}: {source}")]
    Read {
        /// Items read before.
        after: u64,
        /// Why.
        source: io::Error,
    },
    /// The input is not what its format says.
    #[error("line {line}, column {column}: {message} (after item {after})")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// Items read before.
        after: u64,
    },
    /// The pointer leads nowhere.
    #[error("the document has no `{pointer}`; set `items` to the JSON pointer of the array")]
    NoItems {
        /// The pointer.
        pointer: String,
    },
    /// One item is larger than allowed.
    #[error("item {number} is larger than {bytes_max} bytes; raise `item-bytes` if it is right")]
    ItemTooLarge {
        /// Its number, from 0.
        number: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// More items than can be numbered.
    #[error("more than {} items", u32::MAX)]
    TooMany,
    /// The component that is fed is not there.
    #[error("cannot feed `{to}`: {reason}")]
    NoTarget {
        /// The address.
        to: String,
        /// Why not.
        reason: String,
    },
    /// It has been read before, and cannot be read again from where that ended.
    #[error(
        "{input} cannot be read again from item {from} on: it is no regular file; write it to one, or give the source another name"
    )]
    NotAgain {
        /// The input.
        input: Input,
        /// The first item that was not sent.
        from: u64,
    },
    /// The source has had too many inputs.
    #[error("the source has read {inputs_max} inputs since the host began; give it another name")]
    TooManyInputs {
        /// The limit.
        inputs_max: usize,
    },
    /// The source was stopped before the end of its input.
    #[error("stopped before the end of the input")]
    Stopped,
    /// The thread that reads could not be started, or has died.
    #[error("the reader of the input has died")]
    ReaderDied,
}

/// What the reader hands on.
pub(crate) enum Reading {
    /// The next item, numbered from 0.
    Item { number: u32, text: String },
    /// No more items.
    End(Result<(), SourceError>),
}

/// Takes one item; says whether another is wanted.
pub(super) type Sink<'a> = &'a mut dyn FnMut(String) -> Result<(), Stop>;

/// Why reading stops without a fault in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody takes items any more.
    Unwanted,
    /// The next item would have no number.
    TooMany,
}

/// Starts the reader. Items before `from` are read over. It ends when the input does, or soon after the receiver is dropped.
pub(crate) fn start(
    input: Input,
    cutting: Cutting,
    from: u64,
) -> Result<mpsc::Receiver<Reading>, SourceError> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = move || {
        let mut number: Option<u32> = Some(0);
        let mut sink = |text| {
            let this = number.ok_or(Stop::TooMany)?;
            number = this.checked_add(1);
            if u64::from(this) < from {
                return if sender.is_closed() {
                    Err(Stop::Unwanted)
                } else {
                    Ok(())
                };
            }
            sender
                .blocking_send(Reading::Item { number: this, text })
                .map_err(|_| Stop::Unwanted)
        };
        let end = match cut(&input, &cutting, &mut sink) {
            Ok(ControlFlow::Break(Stop::Unwanted)) => return,
            Ok(ControlFlow::Break(Stop::TooMany)) => Err(SourceError::TooMany),
            Ok(ControlFlow::Continue(())) => Ok(()),
            Err(error) => Err(error),
        };
        // Nobody left to tell is no fault.
        let _ = sender.blocking_send(Reading::End(end));
    };
    match std::thread::Builder::new()
        .name("airssys-source".to_owned())
        .spawn(reader)
    {
        Ok(_) => Ok(receiver),
        Err(_) => Err(SourceError::ReaderDied),
    }
}

fn cut(input: &Input, cutting: &Cutting, sink: Sink<'_>) -> Result<ControlFlow<Stop>, SourceError> {
    let reader: Box<dyn Read> = match input {
        Input::File(path) => Box::new(File::open(path).map_err(|source| SourceError::Open {
            input: input.clone(),
            source,
        })?),
        Input::Stdin => Box::new(io::stdin()),
    };
    let reader = without_mark(reader).map_err(|source| SourceError::Read { after: 0, source })?;
    match cutting.format {
        SourceFormat::Json => json::read(reader, &cutting.items, cutting.item_bytes_max, sink),
        SourceFormat::Lines => lines::read(reader, cutting.item_bytes_max, sink),
    }
}

/// What some editors and exports write before UTF-8 text; it says nothing, and is no part of an item.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The input without a byte-order mark. It is looked at byte by byte: the first item of a pipe may be shorter than a
/// mark.
fn without_mark(mut reader: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut seen = Vec::with_capacity(MARK.len());
    while seen.len() < MARK.len() && MARK.starts_with(&seen) {
        if reader.by_ref().take(1).read_to_end(&mut seen)? == 0 {
            break;
        }
    }
    if seen == MARK {
        return Ok(reader);
    }
    Ok(Box::new(io::Cursor::new(seen).chain(reader)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_mark_at_the_very_beginning_is_left_out() {
        for (bytes, rest) in [
            (b"\xef\xbb\xbfa".as_slice(), b"a".as_slice()),
            (b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb\xbf"),
            (b"a\xef\xbb\xbf", b"a\xef\xbb\xbf"),
            (b"\xef\xbba", b"\xef\xbba"),
            (b"\xef", b"\xef"),
            (b"", b""),
            (b"\xef\xbb\xbf", b""),
        ] {
            let mut read = Vec::new();
            let mut without = without_mark(Box::new(bytes)).unwrap();
            without.read_to_end(&mut read).unwrap();
            assert_eq!(read, rest, "{bytes:?}");
        }
    }

    /// Gives one byte, and then would block for ever.
    struct Typed(bool);

    impl Read for Typed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!std::mem::replace(&mut self.0, true), "it waited for more");
            buffer[0] = b'7';
            Ok(1)
        }
    }

    #[test]
    fn one_byte_that_begins_no_mark_is_enough() {
        let mut first = [0; 1];
        let mut reader = without_mark(Box::new(Typed(false))).unwrap();
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"7");
    }
}
