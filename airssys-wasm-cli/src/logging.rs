//! Logs, on standard error.
//!
//! Owns the level: `--log` before `AIRSSYS_LOG` before `warn`, which is `error` with `--quiet`, in `bench` and with
//! `--format json`, where standard error is for programs. Both take a level or
//! tracing's directives (`airssys_wasm_actors=debug`). The guests' own lines are among them, escaped by the engine.

use std::io::IsTerminal as _;

use airssys_wasm_actors::suggest;
use tracing_subscriber::EnvFilter;

use crate::args::{Format, Globals};
use crate::failure::{Failure, FailureKind};
use crate::text::printable;

/// The environment variable that sets the level.
pub(crate) const VARIABLE: &str = "AIRSSYS_LOG";

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

const HINT: &str =
    "use error, warn, info, debug, trace or off, or directives such as `airssys_wasm=debug`";

/// What tracing would take a mistyped level for is a crate of that name, of which nothing is ever logged, and nothing
/// of any other: a word of its own has to be a level, and what stands before a `=` to look like a path of modules.
fn check(directives: &str) -> Result<(), (String, String)> {
    for directive in directives.split(',').map(str::trim) {
        let is_level = |word: &str| {
            let number = matches!(word, "0" | "1" | "2" | "3" | "4" | "5");
            number || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
        };
        // What has a span or a field in it is tracing's to read, commas included.
        if directive.contains(['[', ']', '{', '}']) || is_level(directive) {
            continue;
        }
        let Some((target, level)) = directive.split_once('=') else {
            let what = match directive {
                "" => "a level is missing".to_owned(),
                word => format!("there is no level `{}`", printable(word)),
            };
            return Err((what, nearest(directive)));
        };
        let name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let path = target
            .split("::")
            .all(|part| !part.is_empty() && part.chars().all(name));
        if !path {
            let what = format!("`{}` names no module", printable(target));
            return Err((what, HINT.to_owned()));
        }
        if !is_level(level) {
            let what = format!("there is no level `{}`", printable(level));
            return Err((what, nearest(level)));
        }
    }
    Ok(())
}

fn nearest(word: &str) -> String {
    match suggest(&word.to_ascii_lowercase(), "levels", LEVELS) {
        meant if meant.starts_with("did you mean") => meant,
        _ => HINT.to_owned(),
    }
}

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
    let wrong = |why: String| {
        let said = format!("`{}`", printable(directives));
        let what = match why.contains(&said) {
            true => format!("{from}: {why}"),
            false => format!("{from}: {said} is not a level: {why}"),
        };
        Failure::new(FailureKind::Usage, what)
    };
    if let Err((why, hint)) = check(directives) {
        return Err(wrong(why).hint(hint));
    }
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| wrong(error.to_string()).hint(HINT))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    // Only a test that runs two commands in one process could have set one before.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_word_of_its_own_is_a_level_and_a_target_a_path() {
        for right in [
            "warn",
            "OFF",
            "airssys_wasm=debug",
            "info,airssys_wasm::audit=trace, tokio=off",
            "app[span{field=1,other=2}]=debug",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, says) in [
            ("warm", "did you mean `warn`?"),
            ("foo", "use error, warn"),
            ("", "use error, warn"),
            ("info,", "use error, warn"),
            ("nonsense=", "use error, warn"),
            ("airssys_wasm=debg", "did you mean `debug`?"),
            ("a::=debug", "use error, warn"),
            ("=debug", "use error, warn"),
        ] {
            let (_, hint) = check(wrong).unwrap_err();
            assert!(hint.starts_with(says), "{wrong}: {hint}");
        }
    }
}
