//! `limits = "standard"` or `limits = { class = "standard", memory = "32MiB", … }`.
//!
//! Owns both forms and how single rows change a class. The rows and what they mean are the engine's.

use std::fmt;

use airssys_wasm::{LimitClass, Limits, MEMORY_BYTES_HARD_MAX};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::finding::{Finding, FindingKind};
use super::units::{DurationText, SizeText};

/// What an instance may consume: a class, and rows that differ from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsSpec {
    class: LimitClass,
    rows: Rows,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rows {
    #[serde(default, deserialize_with = "class")]
    class: Option<LimitClass>,
    cpu_per_call: Option<DurationText>,
    wall_per_call: Option<DurationText>,
    memory: Option<Spanned<SizeText>>,
    memories: Option<Spanned<u32>>,
    tables: Option<Spanned<u32>>,
    core_instances: Option<Spanned<u32>>,
    table_elements: Option<Spanned<u32>>,
    hostcall_bytes: Option<SizeText>,
    handles: Option<u32>,
    resources: Option<u32>,
    random_bytes: Option<SizeText>,
    log_bytes_per_second: Option<Spanned<SizeText>>,
    log_line_bytes: Option<Spanned<SizeText>>,
}

impl LimitsSpec {
    /// The limits, or what is wrong with them and the byte of the text where it is.
    pub(crate) fn limits(&self) -> Result<Limits, Vec<(usize, Finding)>> {
        let mut limits = self.class.limits();
        let mut wrong = Vec::new();
        let rows = &self.rows;
        set(
            &mut limits.cpu_per_call,
            rows.cpu_per_call.map(|text| text.0),
        );
        set(
            &mut limits.wall_per_call,
            rows.wall_per_call.map(|text| text.0),
        );
        set(
            &mut limits.memory_bytes_max,
            rows.memory.as_ref().map(|text| text.get_ref().0),
        );
        // The pool is made for the largest class: a row above it would promise what no instance can have.
        let most = LimitClass::Trusted.limits();
        for (row, count, name, max) in [
            (
                &mut limits.memories_max,
                &rows.memories,
                "memories",
                most.memories_max,
            ),
            (
                &mut limits.tables_max,
                &rows.tables,
                "tables",
                most.tables_max,
            ),
            (
                &mut limits.core_instances_max,
                &rows.core_instances,
                "core-instances",
                most.core_instances_max,
            ),
            (
                &mut limits.table_elements_max,
                &rows.table_elements,
                "table-elements",
                most.table_elements_max,
            ),
        ] {
            let Some(count) = count else { continue };
            *row = *count.get_ref();
            if *row > max {
                let finding = too_large(name).help(format!("the most is {max}"));
                wrong.push((count.span().start, finding));
            }
        }
        set(
            &mut limits.hostcall_bytes_max,
            rows.hostcall_bytes.map(|text| text.0),
        );
        set(&mut limits.handles_max, rows.handles);
        set(&mut limits.resources_max, rows.resources);
        set(
            &mut limits.random_bytes_max,
            rows.random_bytes.map(|text| text.0),
        );
        for (row, text, name) in [
            (
                &mut limits.log_bytes_per_second,
                &rows.log_bytes_per_second,
                "log-bytes-per-second",
            ),
            (
                &mut limits.log_line_bytes_max,
                &rows.log_line_bytes,
                "log-line-bytes",
            ),
        ] {
            let Some(text) = text else { continue };
            match u32::try_from(text.get_ref().0) {
                Ok(bytes) => *row = bytes,
                Err(_) => wrong.push((
                    text.span().start,
                    too_large_bytes(name, u64::from(u32::MAX)),
                )),
            }
        }
        if let Some(memory) = &rows.memory
            && memory.get_ref().0 > MEMORY_BYTES_HARD_MAX
        {
            wrong.push((
                memory.span().start,
                too_large_bytes("memory", MEMORY_BYTES_HARD_MAX),
            ));
        }
        if wrong.is_empty() {
            Ok(limits)
        } else {
            Err(wrong)
        }
    }
}

fn set<T>(row: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *row = value;
    }
}

fn too_large(name: &str) -> Finding {
    Finding::new(
        FindingKind::BadValue,
        format!("the limit `{name}` is larger than any instance may have"),
    )
}

fn too_large_bytes(name: &str, max: u64) -> Finding {
    too_large(name).help(format!("the most is {} MiB", max >> 20))
}

fn class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LimitClass>, D::Error> {
    deserializer.deserialize_str(ClassVisitor).map(Some)
}

fn parse_class<E: de::Error>(text: &str) -> Result<LimitClass, E> {
    text.parse()
        .map_err(|_| E::unknown_variant(text, &["tiny", "standard", "large", "trusted"]))
}

struct ClassVisitor;

impl Visitor<'_> for ClassVisitor {
    type Value = LimitClass;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit class")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LimitClass, E> {
        parse_class(text)
    }
}

impl<'de> Deserialize<'de> for LimitsSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitsVisitor)
    }
}

struct LimitsVisitor;

impl<'de> Visitor<'de> for LimitsVisitor {
    type Value = LimitsSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit class, or a table of limits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LimitsSpec, E> {
        Ok(LimitsSpec {
            class: parse_class(text)?,
            rows: Rows::default(),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitsSpec, A::Error> {
        let rows = Rows::deserialize(MapAccessDeserializer::new(map))?;
        Ok(LimitsSpec {
            class: rows.class.unwrap_or_default(),
            rows,
        })
    }
}
