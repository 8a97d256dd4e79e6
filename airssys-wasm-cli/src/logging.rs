//! Logs, on standard error.
//!
//! Owns the level: `--log` before `AIRSSYS_LOG` before `warn`, which is `error` with `--quiet`, in `bench` and with
//! `--format json`, where standard error is for programs. Both take a level or
//! tracing's directives (`airssys_wasm_actors=debug`). The guests' own lines are among them, escaped by the engine.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::args::{Format, Globals};
use crate::failure::{Failure, FailureKind};

/// The environment variable that sets the level.
pub(crate) const VARIABLE: &str = "AIRSSYS_LOG";

/// With `few`, only errors are written unless the user says otherwise.
pub(crate) fn start(globals: &Globals, few: bool) -> Result<(), Failure> {
    let variable = std::env::var(VARIABLE).ok();
    let few = few || globals.quiet || globals.format == Format::Json;
    let (directives, from) = match (globals.log.as_deref(), &variable) {
        (Some(level), _) => (level, "--log"),
        (None, Some(level)) if !level.is_empty() => (level.as_str(), VARIABLE),
        _ if few => ("error", ""),
        _ => ("warn", ""),
    };
    let filter = EnvFilter::builder().parse(directives).map_err(|error| {
        Failure::new(FailureKind::Usage, format!("{from}: `{directives}` is not a level: {error}"))
            .hint("use error, warn, info, debug, trace or off, or directives such as `airssys_wasm=debug`")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    // Only a test that runs two commands in one process could have set one before.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
