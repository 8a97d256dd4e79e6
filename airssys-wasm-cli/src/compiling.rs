//! Where components are compiled: in a process of this same program each, unless the environment says otherwise.
//!
//! Owns the word that makes this program such a process, which no help shows and nobody types, and the variable.

use std::ffi::{OsStr, OsString};

use airssys_wasm::{Compiler, CompilerProcess};

use crate::failure::{Failure, FailureKind};
use crate::text::printable;

/// The environment variable that says where.
const VARIABLE: &str = "AIRSSYS_COMPILER";

const COMMAND: &str = "compile-for-host";

/// Whether this process was started to compile.
pub(crate) fn is_asked_for(argv: &[OsString]) -> bool {
    matches!(argv, [_, command] if command == COMMAND)
}

/// Who compiles for this one.
pub(crate) fn compiler() -> Result<Compiler, Failure> {
    chosen(std::env::var_os(VARIABLE).as_deref())
}

fn chosen(asked: Option<&OsStr>) -> Result<Compiler, Failure> {
    match asked.map(OsStr::to_string_lossy).as_deref() {
        None | Some("" | "process") => {
            let process = CompilerProcess::of_this_program([COMMAND]).map_err(|error| {
                let what = format!("cannot find this program to compile with: {error}");
                Failure::new(FailureKind::Io, what)
            })?;
            Ok(Compiler::Process(process))
        }
        Some("in-process") => Ok(Compiler::InProcess),
        Some(other) => {
            let what = format!("{VARIABLE}: there is no compiler `{}`", printable(other));
            Err(Failure::new(FailureKind::Usage, what)
                .hint("use `process`, which is the default, or `in-process`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_this_program_unless_it_is_said_otherwise() {
        for process in [None, Some(""), Some("process")] {
            let Ok(Compiler::Process(process)) = chosen(process.map(OsStr::new)) else {
                panic!("{process:?}")
            };
            let same = |path| std::fs::canonicalize(path).unwrap();
            assert_eq!(
                same(process.program),
                same(std::env::current_exe().unwrap())
            );
            let argv: Vec<_> = [OsString::from("airssys")]
                .into_iter()
                .chain(process.args)
                .collect();
            assert!(is_asked_for(&argv));
        }
        assert_eq!(
            chosen(Some(OsStr::new("in-process"))).unwrap(),
            Compiler::InProcess
        );
        assert!(chosen(Some(OsStr::new("nobody"))).is_err());
        assert!(!is_asked_for(&[
            "airssys".into(),
            "up".into(),
            COMMAND.into()
        ]));
    }
}
