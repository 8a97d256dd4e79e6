//! Values as WAVE text.
//!
//! Text that a guest chose is escaped: control characters, quotes and invisible or bidirectional formatting never
//! reach a terminal as they are.

use std::fmt::{self, Write};

use wasm_wave::lex::Keyword;

use crate::value::Value;
use crate::wit::WitType;

/// Prints a value as WAVE, on one line.
///
/// A value that is not of type `ty` is printed as far as it goes, with `<…>` where it does not fit: a printer is
/// used when something has already gone wrong.
#[must_use]
pub fn format_value(value: &Value, ty: &WitType) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_value(&mut text, value, ty);
    text
}

fn write_value(out: &mut String, value: &Value, ty: &WitType) -> fmt::Result {
    match (value, ty) {
        (Value::Bool(value), WitType::Bool) => write!(out, "{value}"),
        (Value::S8(value), WitType::S8) => write!(out, "{value}"),
        (Value::U8(value), WitType::U8) => write!(out, "{value}"),
        (Value::S16(value), WitType::S16) => write!(out, "{value}"),
        (Value::U16(value), WitType::U16) => write!(out, "{value}"),
        (Value::S32(value), WitType::S32) => write!(out, "{value}"),
        (Value::U32(value), WitType::U32) => write!(out, "{value}"),
        (Value::S64(value), WitType::S64) => write!(out, "{value}"),
        (Value::U64(value), WitType::U64) => write!(out, "{value}"),
        (Value::F32(value), WitType::F32) if value.is_nan() => out.write_str("nan"),
        (Value::F64(value), WitType::F64) if value.is_nan() => out.write_str("nan"),
        (Value::F32(value), WitType::F32) => write!(out, "{value}"),
        (Value::F64(value), WitType::F64) => write!(out, "{value}"),
        (Value::Char(value), WitType::Char) => quoted(out, '\'', std::iter::once(*value)),
        (Value::String(text), WitType::String) => quoted(out, '"', text.chars()),
        (Value::Bytes(bytes), WitType::List(_)) => {
            let bytes = bytes.iter().copied();
            separated(out, ('[', ']'), bytes, |out, byte| write!(out, "{byte}"))
        }
        (Value::List(nodes), WitType::List(element)) => {
            separated(out, ('[', ']'), nodes, |out, node| {
                write_value(out, node, element)
            })
        }
        (Value::Tuple(nodes), WitType::Tuple(types)) => {
            let parts = nodes.iter().zip(types.iter());
            separated(out, ('(', ')'), parts, |out, (node, ty)| {
                write_value(out, node, ty)
            })
        }
        (Value::Record(nodes), WitType::Record(fields)) => {
            if fields.is_empty() {
                return out.write_str("{:}");
            }
            let parts = nodes.iter().zip(fields.iter());
            separated(out, ('{', '}'), parts, |out, (node, field)| {
                write!(out, "{}: ", field.name)?;
                write_value(out, node, &field.ty)
            })
        }
        (Value::Variant(case, payload), WitType::Variant(cases)) => match at(*case, cases) {
            Some(case) => write_case(out, &case.name, payload.as_deref(), case.ty.as_ref()),
            None => write!(out, "<case {case}>"),
        },
        (Value::Enum(case), WitType::Enum(names)) => match at(*case, names) {
            Some(name) => label(out, name),
            None => write!(out, "<case {case}>"),
        },
        (Value::Option(None), WitType::Option(_)) => out.write_str("none"),
        (Value::Option(Some(value)), WitType::Option(ty)) => {
            parenthesized(out, "some", Some(value), Some(ty))
        }
        (Value::Result(Ok(payload)), WitType::Result { ok, .. }) => {
            parenthesized(out, "ok", payload.as_deref(), ok.as_deref())
        }
        (Value::Result(Err(payload)), WitType::Result { err, .. }) => {
            parenthesized(out, "err", payload.as_deref(), err.as_deref())
        }
        (Value::Flags(words), WitType::Flags(names)) => {
            let set = flags_set(words, names);
            separated(out, ('{', '}'), set, |out, name| out.write_str(name))
        }
        (value, ty) => write!(out, "<{} where {ty} is expected>", value.kind()),
    }
}

fn at<T>(case: u32, cases: &[T]) -> Option<&T> {
    cases.get(usize::try_from(case).ok()?)
}

/// The names of the flags that are set.
pub(super) fn flags_set<'n>(words: &[u32], names: &'n [Box<str>]) -> impl Iterator<Item = &'n str> {
    names
        .iter()
        .enumerate()
        .filter(|(at, _)| {
            words
                .get(at / 32)
                .is_some_and(|word| word >> (at % 32) & 1 == 1)
        })
        .map(|(_, name)| &**name)
}

fn separated<T>(
    out: &mut String,
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T) -> fmt::Result,
) -> fmt::Result {
    out.write_char(open)?;
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.write_str(", ")?;
        }
        each(out, item)?;
    }
    out.write_char(close)
}

/// A name that is also a word of the notation is marked.
fn label(out: &mut String, name: &str) -> fmt::Result {
    if Keyword::decode(name).is_some() {
        out.write_char('%')?;
    }
    out.write_str(name)
}

fn write_case(
    out: &mut String,
    name: &str,
    payload: Option<&Value>,
    ty: Option<&WitType>,
) -> fmt::Result {
    label(out, name)?;
    parenthesized(out, "", payload, ty)
}

fn parenthesized(
    out: &mut String,
    name: &str,
    payload: Option<&Value>,
    ty: Option<&WitType>,
) -> fmt::Result {
    out.write_str(name)?;
    match (payload, ty) {
        (Some(value), Some(ty)) => {
            out.write_char('(')?;
            write_value(out, value, ty)?;
            out.write_char(')')
        }
        (None, None) => Ok(()),
        _ => out.write_str("<payload>"),
    }
}

fn quoted(out: &mut String, quote: char, letters: impl Iterator<Item = char>) -> fmt::Result {
    out.write_char(quote)?;
    for letter in letters {
        match letter {
            '\\' | '"' | '\'' | '\t' | '\r' | '\n' => write!(out, "{}", letter.escape_default())?,
            // The notation knows no \0.
            letter if letter.is_control() => write!(out, "{}", letter.escape_unicode())?,
            letter => write!(out, "{}", letter.escape_debug())?,
        }
    }
    out.write_char(quote)
}
