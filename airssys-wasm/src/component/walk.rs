//! One walk over a component's sections, before the compiler sees it.
//!
//! Counts what makes compiling expensive against the artifact limits and reports everything that exceeds them.
//! Reads section headers, function sizes and what component types declare; validates nothing (wasmtime does), so it costs
//! microseconds for each megabyte.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentExternName, ComponentImport,
    ComponentType, ComponentTypeRef, CoreType, InstanceTypeDeclaration, Parser, Payload,
};

use super::refuse::{Finding, LoadErrorKind, refused_by_parser};
use crate::limits::ArtifactLimits;

#[derive(Default)]
struct Counts {
    functions: u64,
    largest_function_bytes: u64,
    types: u64,
    items: u64,
    depth: u64,
    deepest: u64,
}

pub(super) fn check(bytes: &[u8], limits: &ArtifactLimits) -> Result<(), LoadErrorKind> {
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let refused = |error: BinaryReaderError| refused_by_parser(&error, bytes.len());
        let payload = payload.map_err(refused)?;
        counts.take(&payload);
        if let Payload::ComponentTypeSection(section) = payload {
            let range = section.range();
            let section = bytes.get(range.clone()).unwrap_or_default();
            let reader = BinaryReader::new(section, range.start);
            counts
                .declared(reader, limits.nesting_max)
                .map_err(refused)?;
        }
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
        ("items", counts.items, limits.items_max),
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
            Payload::ImportSection(section) => self.items += u64::from(section.count()),
            Payload::ExportSection(section) => self.items += u64::from(section.count()),
            Payload::InstanceSection(section) => self.items += u64::from(section.count()),
            Payload::ComponentImportSection(section) => self.items += u64::from(section.count()),
            Payload::ComponentExportSection(section) => self.items += u64::from(section.count()),
            Payload::ComponentInstanceSection(section) => self.items += u64::from(section.count()),
            Payload::ComponentAliasSection(section) => self.items += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => self.items += u64::from(section.count()),
            Payload::CodeSectionEntry(body) => {
                let bytes = u64::try_from(body.range().len()).unwrap_or(u64::MAX);
                self.largest_function_bytes = self.largest_function_bytes.max(bytes);
            }
            _ => {}
        }
    }
}

/// What encloses declarations of types, and how many are left of them.
#[derive(Clone, Copy)]
enum Enclosing {
    Section,
    Instance,
    Component,
}

impl Counts {
    /// What the types of instances and components in this section declare, down to `depth_max` levels. The readers of
    /// wasmparser call themselves for a type in a type, as deep as it goes: so no type is read by them that is deeper.
    fn declared(
        &mut self,
        mut reader: BinaryReader<'_>,
        depth_max: u32,
    ) -> Result<(), BinaryReaderError> {
        let mut open = vec![(Enclosing::Section, reader.read_var_u32()?)];
        while let Some((enclosing, left)) = open.last_mut() {
            let Some(rest) = left.checked_sub(1) else {
                open.pop();
                continue;
            };
            *left = rest;
            if !is_type(&mut reader, *enclosing)? {
                continue;
            }
            let inner = match reader.clone().read_u8()? {
                0x41 => Enclosing::Component,
                0x42 => Enclosing::Instance,
                _ => {
                    reader.read::<ComponentType<'_>>()?;
                    continue;
                }
            };
            reader.read_u8()?;
            let declared = reader.read_var_u32()?;
            self.types += u64::from(declared);
            let depth = u64::try_from(open.len()).unwrap_or(u64::MAX);
            self.deepest = self.deepest.max(depth);
            if depth > u64::from(depth_max) {
                return Ok(());
            }
            open.push((inner, declared));
        }
        Ok(())
    }
}

/// Whether the next declaration is a type, which is still to be read; any other has been.
fn is_type(reader: &mut BinaryReader<'_>, enclosing: Enclosing) -> Result<bool, BinaryReaderError> {
    if matches!(enclosing, Enclosing::Section) {
        return Ok(true);
    }
    let mut unread = reader.clone();
    match (reader.read_u8()?, enclosing) {
        (0x00, _) => reader.read::<CoreType<'_>>().map(drop)?,
        (0x01, _) => return Ok(true),
        (0x02, _) => reader.read::<ComponentAlias<'_>>().map(drop)?,
        (0x03, Enclosing::Component) => reader.read::<ComponentImport<'_>>().map(drop)?,
        (0x04, _) => {
            reader.read::<ComponentExternName<'_>>()?;
            reader.read::<ComponentTypeRef>()?;
        }
        // None of these: what is wrong with it is said as the engine would say it.
        _ => drop(unread.read::<InstanceTypeDeclaration<'_>>()?),
    }
    Ok(false)
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
        items_max: 4,
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
    fn what_types_declare_and_what_names_is_counted() {
        let excess = |text: &str| match check(&component(text), &SMALL) {
            Err(LoadErrorKind::ExceedsLimits(findings)) => {
                findings.iter().map(|one| (one.what, one.found)).collect()
            }
            Ok(()) => Vec::new(),
            Err(other) => panic!("{other}"),
        };
        let resources = |count: usize| {
            let all = (0..count).map(|n| format!("(export \"r{n}\" (type (sub resource)))"));
            format!(
                "(component (import \"a:b/c\" (instance {})))",
                all.collect::<String>()
            )
        };
        assert_eq!(excess(&resources(1)), []);
        assert_eq!(excess(&resources(2)), [("types", 3)]);
        let nested = "(component (type (component (type (instance (type u8) (type u8))))))";
        assert_eq!(excess(nested), [("types", 4)]);
        let drops = |count: usize| {
            let all = "(core func (canon resource.drop $r))".repeat(count);
            format!("(component (import \"r\" (type $r (sub resource))) {all})")
        };
        assert_eq!(excess(&drops(3)), []);
        assert_eq!(excess(&drops(4)), [("items", 5)]);
    }

    /// Types in types are as deep as a file has bytes, and whoever reads them calls itself for each.
    #[test]
    fn types_do_not_nest_deeper_than_components() {
        let nested = |opening: u8, depth: usize| {
            let mut section = vec![1];
            for _ in 0..depth {
                section.extend([opening, 1, 1]);
            }
            section.push(0x7f);
            let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
            wasm_encoder::Encode::encode(&section.len(), &mut bytes);
            bytes.extend(section);
            bytes
        };
        for opening in [0x41, 0x42] {
            let limits = &ArtifactLimits::DEFAULT;
            assert!(check(&nested(opening, 32), limits).is_ok());
            let Err(LoadErrorKind::ExceedsLimits(findings)) =
                check(&nested(opening, 1_000_000), limits)
            else {
                panic!("accepted");
            };
            assert_eq!(findings[0].what, "levels of nesting");
            let bytes = nested(opening, 32);
            for length in 9..bytes.len() {
                assert!(check(&bytes[..length], limits).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_declaration_that_is_none_is_said_to_be() {
        // One type, of an instance with one declaration, whose kind there is not; and an import, which is a component's.
        for kind in [5, 3] {
            let bytes = [
                b"\0asm\x0d\0\x01\0\x07\x05\x01\x42\x01".as_slice(),
                &[kind, 0],
            ]
            .concat();
            let refused = check(&bytes, &SMALL).unwrap_err().to_string();
            assert!(refused.contains("invalid leading byte"), "{refused}");
        }
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
