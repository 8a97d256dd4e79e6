//! Links that fit, and every way one does not.

use super::*;

/// A surface that imports what the WIT text exports.
fn importing(wit: &str) -> Surface {
    let exporting = Surface::from_wit(wit).unwrap();
    Surface::new(exporting.exports, Vec::new())
}

const IMPORT: &str = "package q:app@0.2.0;
    interface other { x: func(); }
    interface calc { add: func(a: u32, b: u32) -> u32; name: func() -> string; }";

#[test]
fn functions_are_paired_by_name() {
    let exporter = Surface::from_wit(
        "package q:app@0.2.3;
         interface calc { more: func(); name: func() -> string; add: func(x: u32, y: u32) -> u32; }",
    )
    .unwrap();
    for import in ["q:app/calc@0.2.0", "q:app/calc@0.2.9", "q:app/calc"] {
        let table = check_link(&importing(IMPORT), import, &exporter).unwrap();
        let pairs: Vec<_> = table
            .pairs()
            .iter()
            .map(|(i, e)| (i.index(), e.index()))
            .collect();
        assert_eq!(pairs, [(1, 2), (2, 1)], "{import}");
        assert_eq!(
            table.export_for(ImportId::from_index(2)).unwrap().index(),
            1
        );
        assert_eq!(table.export_for(ImportId::from_index(0)), None);
    }
}

#[test]
fn every_mismatch_is_listed_with_both_types() {
    let exporter = Surface::from_wit(
        "package q:app@0.2.0; interface calc { add: func(a: u32, b: u64) -> u32; }",
    )
    .unwrap();
    let error = check_link(&importing(IMPORT), "q:app/calc@0.2.0", &exporter).unwrap_err();
    assert_eq!(
        error.to_string(),
        "import `q:app/calc@0.2.0` and export `q:app/calc@0.2.0` do not fit: \
         `add` differs: imported as func(a: u32, b: u32) -> u32, exported as func(a: u32, b: u64) -> u32; \
         `name` is missing, wanted: func() -> string"
    );
}

#[test]
fn versions_that_do_not_fit_are_both_named() {
    let exporter = Surface::from_wit("package q:app@0.3.0; interface calc { x: func(); }").unwrap();
    let error = check_link(&importing(IMPORT), "q:app/calc@0.2.0", &exporter).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the import is `q:app/calc@0.2.0`, exported is `q:app/calc@0.3.0`: these versions do not fit together"
    );
}

#[test]
fn unknown_names_come_with_suggestions() {
    let exporter = Surface::from_wit("package q:app@0.2.0; interface calk { x: func(); }").unwrap();
    let error = check_link(&importing(IMPORT), "q:app/calc@0.2.0", &exporter).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did you mean `q:app/calk@0.2.0`?"),
        "{error}"
    );
    let error = check_link(&importing(IMPORT), "q:app/cala@0.2.0", &exporter).unwrap_err();
    assert!(
        matches!(&error, LinkMismatch::NotImported { nearest: Some(name), .. } if name == "q:app/calc@0.2.0"),
        "{error}"
    );
}

#[test]
fn streams_and_async_functions_are_refused_clearly() {
    let wit = "package q:app;
        interface files {
            resource file;
            open: func(path: string) -> own<file>;
            later: async func() -> string;
            ticks: func() -> stream<u32>;
        }";
    let exporter = Surface::from_wit(wit).unwrap();
    let error = check_link(&importing(wit), "q:app/files", &exporter).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("`open`"), "{text}");
    assert!(
        text.contains("`later` cannot be linked: `async func`"),
        "{text}"
    );
    assert!(
        text.contains("`ticks` cannot be linked: `stream`"),
        "{text}"
    );
}

#[test]
fn resources_are_compared_by_where_they_are_declared() {
    let files = |version: &str, also: &str| {
        format!(
            "package q:app@{version};
            interface files {{ resource file {{ constructor(path: string); size: func() -> u64; }} }}
            interface copy {{ use files.{{file}}; copy: func(%from: borrow<file>) -> file; {also} }}"
        )
    };
    let importer = importing(&files("1.2.0", ""));
    let exporter = Surface::from_wit(&files("1.3.1", "")).unwrap();
    for interface in ["q:app/files", "q:app/copy"] {
        check_link(&importer, interface, &exporter).unwrap();
    }
    let other = "package q:app@1.2.0;
        interface files { resource folder { constructor(path: string); size: func() -> u64; } }
        interface copy { use files.{folder}; copy: func(%from: borrow<folder>) -> folder; }";
    let other = Surface::from_wit(other).unwrap();
    let error = check_link(&importer, "q:app/files", &other).unwrap_err();
    assert!(
        error.to_string().contains("the resource `file` is missing"),
        "{error}"
    );
    let error = check_link(&importer, "q:app/copy", &other).unwrap_err();
    assert!(error.to_string().contains("`copy` differs"), "{error}");
    // A resource of the same name that another interface declares is another resource.
    let local = "package q:app@1.2.0;
        interface copy { resource file; copy: func(%from: borrow<file>) -> file; }";
    let local = Surface::from_wit(local).unwrap();
    let error = check_link(&importer, "q:app/copy", &local).unwrap_err();
    assert!(error.to_string().contains("`copy` differs"), "{error}");
}

#[test]
fn names_are_escaped_in_every_mismatch() {
    const FORGED: &str = "a\n\u{1b}[31m\u{202e}";
    let text = || FORGED.to_owned();
    let wanted = || "func()".to_owned();
    let functions = vec![
        FunctionMismatch::Missing {
            function: text(),
            wanted: wanted(),
        },
        FunctionMismatch::Type {
            function: text(),
            wanted: wanted(),
            found: wanted(),
        },
        FunctionMismatch::Resource { resource: text() },
        FunctionMismatch::Uncarriable {
            function: text(),
            part: "stream".to_owned(),
            wanted: wanted(),
        },
        FunctionMismatch::Async {
            function: text(),
            wanted: wanted(),
        },
    ];
    let mismatches = [
        LinkMismatch::NotImported {
            interface: text(),
            nearest: Some(text()),
            imported: vec![text()],
        },
        LinkMismatch::NotExported {
            interface: text(),
            nearest: Some(text()),
            exported: vec![text()],
        },
        LinkMismatch::Version {
            import: text(),
            exported: vec![text()],
        },
        LinkMismatch::Functions {
            import: text(),
            export: text(),
            functions,
        },
    ];
    for mismatch in mismatches {
        let text = mismatch.to_string();
        assert!(text.contains("`a\\n\\u{1b}[31m\\u{202e}`"), "{text}");
        assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']), "{text:?}");
    }
    let unknown = Surface::default().export(FORGED).unwrap_err().to_string();
    assert!(
        !unknown.contains(['\n', '\u{1b}', '\u{202e}']),
        "{unknown:?}"
    );
}
