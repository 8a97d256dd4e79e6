//! One walk over a component's sections, before the compiler sees it.
//!
//! Counts what makes compiling expensive against the artifact limits and reports everything that exceeds them.
//! Reads section headers and function sizes; validates nothing (wasmtime does), so it costs microseconds for
//! each megabyte.

use wasmparser::{Parser, Payload};

use super::refuse::{Finding, LoadErrorKind, refused_by_parser};
use crate::limits::ArtifactLimits;

#[derive(Default)]
struct Counts {
    functions: u64,
    largest_function_bytes: u64,
    types: u64,
    depth: u64,
    deepest: u64,
}

pub(super) fn check(bytes: &[u8], limits: &ArtifactLimits) -> Result<(), LoadErrorKind> {
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(bytes) {
        counts.take(&payload.map_err(|error| refused_by_parser(&error, bytes.len()))?);
        // Deeper than this, walking itself would be the attack.
        if counts.depth > u64::from(limits.nesting_max) {
            break;
        }
    }
    let rows = [
        ("functions", counts.functions, limits.functions_max),
        (
            "bytes in one function",
            counts.largest_function_bytes,
            limits.function_bytes_max,
        ),
        ("types", counts.types, limits.types_max),
        (
            "levels of nesting",
            counts.deepest,
            limits.nesting_max.into(),
        ),
    ];
    let findings: Vec<_> = rows
        .into_iter()
        .filter(|(_, found, max)| found > max)
        .map(|(what, found, max)| Finding { what, found, max })
        .collect();
    if findings.is_empty() {
        Ok(())
    } else {
        Err(LoadErrorKind::ExceedsLimits(findings))
    }
}

impl Counts {
    fn take(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::TypeSection(section) => self.types += u64::from(section.count()),
            Payload::CoreTypeSection(section) => self.types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => self.types += u64::from(section.count()),
            Payload::FunctionSection(section) => self.functions += u64::from(section.count()),
            Payload::CodeSectionEntry(body) => {
                let bytes = u64::try_from(body.range().len()).unwrap_or(u64::MAX);
                self.largest_function_bytes = self.largest_function_bytes.max(bytes);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    const SMALL: ArtifactLimits = ArtifactLimits {
        bytes_max: 1 << 20,
        functions_max: 2,
        function_bytes_max: 16,
        types_max: 2,
        nesting_max: 2,
    };

    #[test]
    fn every_excess_is_listed() {
        let bytes = component(
            "(component
               (core module (func) (func (param i32) nop nop nop nop nop nop nop nop nop nop nop nop nop nop
                 nop nop nop nop) (func (param i64)))
               (component (component (component))))",
        );
        let Err(LoadErrorKind::ExceedsLimits(findings)) = check(&bytes, &SMALL) else {
            panic!("accepted");
        };
        let what: Vec<_> = findings.iter().map(|finding| finding.what).collect();
        assert_eq!(
            what,
            [
                "functions",
                "bytes in one function",
                "types",
                "levels of nesting"
            ]
        );
    }

    #[test]
    fn siblings_do_not_nest() {
        let bytes = component("(component (component) (component) (component) (core module))");
        assert!(check(&bytes, &SMALL).is_ok());
    }

    #[test]
    fn every_truncation_is_found() {
        let bytes = component("(component (core module (func) (memory 1)) (core module (func)))");
        for length in 9..bytes.len() {
            // A cut between two sections leaves a shorter valid file; all other cuts are errors.
            if let Err(kind) = check(&bytes[..length], &SMALL) {
                assert!(
                    matches!(kind, LoadErrorKind::Truncated { .. }),
                    "cut to {length}: {kind}"
                );
            }
        }
    }
}
