//! From TOML to keys and values: a manifest's `config`, and the file that `config-file` names.
//!
//! Owns how a value is written as text, how nested tables become one key, and the reading of a file within bounds.

use std::io::{self, Read};
use std::path::Path;

use super::layers::Values;

/// Largest file read, in bytes. A configuration is smaller by far; this bounds a mistaken path.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Deepest nesting of tables.
const DEPTH_MAX: usize = 16;

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    #[error("there is no such file")]
    Missing,
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("has more than 1 MiB")]
    TooLarge,
    /// The place, and what is wrong, without what stands there.
    #[error("line {line} is not TOML: {what}")]
    Syntax { line: usize, what: String },
    #[error(transparent)]
    Value(#[from] NoValue),
}

/// What is in a table and is no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoValue {
    #[error(
        "`{0}` is a list: a value is a text, a number, a boolean or a date; write one text, and take it apart"
    )]
    List(String),
    #[error("`{0}` is there twice: once with its dots in quotes, and once as tables")]
    Twice(String),
    #[error("`{0}` is nested in more than 16 tables")]
    Deep(String),
}

/// The keys of a table, those of tables in it joined to theirs by dots; values are the text that TOML has for them.
pub(crate) fn flat(table: &toml::Table) -> Result<Values, NoValue> {
    let mut values = Values::new();
    add(&mut values, "", table, 0)?;
    Ok(values)
}

fn add(
    values: &mut Values,
    prefix: &str,
    table: &toml::Table,
    depth: usize,
) -> Result<(), NoValue> {
    for (name, value) in table {
        let key = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => value.to_string(),
            toml::Value::Array(_) => return Err(NoValue::List(key)),
            toml::Value::Table(_) if depth == DEPTH_MAX => return Err(NoValue::Deep(key)),
            toml::Value::Table(table) => {
                add(values, &key, table, depth + 1)?;
                continue;
            }
        };
        if values.contains_key(&key) {
            return Err(NoValue::Twice(key));
        }
        values.insert(key, text);
    }
    Ok(())
}

/// Reads a configuration file. Blocks.
pub(crate) fn read(path: &Path) -> Result<Values, ConfigFileError> {
    let mut text = String::new();
    let read = airssys_wasm::open_regular(path).and_then(|open| {
        open.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map(|_| ())
    });
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfigFileError::Missing,
        _ => ConfigFileError::Unreadable(error),
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(ConfigFileError::TooLarge);
    }
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        ConfigFileError::Syntax {
            line: before.matches('\n').count() + 1,
            what: error.message().replace('\n', "; "),
        }
    })?;
    Ok(flat(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<(String, String)>, NoValue> {
        let table = toml::from_str(text).unwrap();
        flat(&table).map(|values| values.into_iter().collect())
    }

    #[test]
    fn tables_are_dots_and_values_are_text() {
        let text = "a = 1\nb = 1.5\nc = true\nd = \"x\"\ne = 2026-01-02\nnone = \"\"\n[db]\nhost = \"h\"\n[db.tls]\non = false\n";
        let seen = of(text).unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            seen,
            [
                "a=1",
                "b=1.5",
                "c=true",
                "d=x",
                "db.host=h",
                "db.tls.on=false",
                "e=2026-01-02",
                "none="
            ]
        );
    }

    #[test]
    fn what_is_no_value_is_named() {
        assert_eq!(of("[a]\nb = [1]"), Err(NoValue::List("a.b".to_owned())));
        assert_eq!(
            of("\"a.b\" = 1\n[a]\nb = 2"),
            Err(NoValue::Twice("a.b".to_owned()))
        );
        let deep = format!("{} = 1", vec!["a"; 18].join("."));
        assert!(matches!(of(&deep), Err(NoValue::Deep(_))));
        assert!(of(&format!("{} = 1", vec!["a"; 17].join("."))).is_ok());
    }
}
