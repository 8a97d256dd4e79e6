//! Standard output.
//!
//! Owns the only writes to it. A reader that has gone away (`airssys … | head`) is not a failure.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use crate::failure::{Failure, FailureKind};

/// Writes a result.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            FailureKind::Io,
            format!("cannot write the result: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a result as one JSON document.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Columns of the terminal that standard output is; `None` where it is something else, which has any width.
pub(crate) fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (_, columns) = console::Term::stdout().size_checked()?;
    Some(usize::from(columns))
}
