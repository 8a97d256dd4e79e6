//! Surfaces of components and of WIT text, versions, paths.

use super::*;

const WAT: &str = r#"
(component
  (import "quakes:app/sink@0.1.0" (instance $sink
    (export "put" (func (param "line" string) (result bool)))
    (export "store" (type $s (sub resource)))
    (export "[method]store.size" (func (param "self" (borrow $s)) (result u64)))))
  (import "root-import" (func (param "n" u8)))
  (core module $m
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "noop")))
  (core instance $i (instantiate $m))
  (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func $noop (canon lift (core func $i "noop")))
  (export "noop" (func $noop))
  (instance $calc (export "add" (func $add)) (export "noop" (func $noop)))
  (export "quakes:app/calc@0.2.1" (instance $calc)))
"#;

fn compiled(wat: &str) -> Surface {
    let engine = wasmtime::Engine::default();
    let bytes = wat::parse_str(wat).unwrap();
    Surface::of(&wasmtime::component::Component::from_binary(&engine, &bytes).unwrap())
}

/// A name is in a component once, and in its surface once for each function of its type.
#[test]
fn names_of_parameters_are_within_the_budget_of_a_component() {
    let name = "a".repeat(50_000);
    let imports = (0..2_000).map(|n| format!("(import \"f{n}\" (func (type $t)))"));
    let surface = compiled(&format!(
        "(component (type $t (func (param \"{name}\" u32))) {})",
        imports.collect::<String>()
    ));
    let functions = surface.imports.iter().flat_map(|one| &one.functions);
    let params: Vec<_> = functions.flat_map(|one| &one.ty.params).collect();
    assert_eq!(params.len(), 2_000);
    let bytes = params.iter().map(|(name, _)| name.len()).sum::<usize>();
    assert!(bytes <= 32 << 20, "{bytes}");
    let over = params.iter().filter(|(name, _)| name.is_empty());
    assert!(over.clone().count() > 1_000);
    for (_, ty) in over {
        assert!(matches!(ty, crate::WitType::Other(_)), "{ty}");
    }
}

#[test]
fn a_component_shows_its_imports_and_exports() {
    let surface = compiled(WAT);
    let sink = surface.imported_interface("quakes:app/sink@0.1.5").unwrap();
    assert_eq!(sink.resources.len(), 1);
    assert_eq!(sink.resources[0].name, "store");
    let types: Vec<String> = sink
        .functions
        .iter()
        .map(|f| format!("{}: {}", f.name, f.ty))
        .collect();
    assert_eq!(
        types,
        [
            "put: func(line: string) -> bool",
            "[method]store.size: func(self: borrow<store>) -> u64"
        ]
    );
    let names: Vec<&str> = surface.imports.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["", "quakes:app/sink@0.1.0"]);

    let (id, ..) = surface
        .export_functions()
        .find(|(_, _, f)| f.name == "add")
        .unwrap();
    assert_eq!(id.index(), 1);
    let (name, function) = surface.export_function(id).unwrap();
    assert_eq!(name.as_str(), "quakes:app/calc@0.2.1");
    assert_eq!(function.ty.to_string(), "func(a: u32, b: u32) -> u32");
    assert!(surface.export_function(ExportId::from_index(3)).is_none());
    let (name, function) = surface.import_function(ImportId::from_index(1)).unwrap();
    assert_eq!((name.interface(), function.name.as_str()), ("sink", "put"));
}

#[test]
fn paths_may_be_short_where_that_is_clear() {
    let surface = compiled(WAT);
    for path in [
        "quakes:app/calc@0.2.1#add",
        "quakes:app/calc@0.2.7#add",
        "quakes:app/calc#add",
        "calc#add",
        "add",
    ] {
        assert_eq!(surface.export(path).unwrap().index(), 1, "{path}");
    }
    // At the root and in an interface: the bare name is the root's full name.
    assert_eq!(surface.export("noop").unwrap().index(), 0);
    assert_eq!(surface.export("calc#noop").unwrap().index(), 2);
}

#[test]
fn an_unknown_path_names_the_nearest() {
    let surface = compiled(WAT);
    let error = surface.export("calc#ad").unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("quakes:app/calc@0.2.1#add"));
    let error = surface.export("quakes:app/calc@1.0.0#add").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did you mean `quakes:app/calc@0.2.1#add`?"),
        "{error}"
    );
    let error = surface.export("something-else").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("exported: noop, quakes:app/calc@0.2.1#add"),
        "{error}"
    );
}

#[test]
fn an_ambiguous_path_names_the_candidates() {
    let surface = Surface::from_wit(
        "package a:b; interface one { go: func(); } interface two { go: func(); }",
    )
    .unwrap();
    let error = surface.export("go").unwrap_err();
    assert_eq!(error.ambiguous, ["a:b/one#go", "a:b/two#go"]);
}

#[test]
fn wit_text_and_a_component_agree_on_types() {
    let wit = r#"
        package quakes:app@0.2.0;
        interface shapes {
            record point { x: f64, y: f64 }
            type alias = point;
            variant shape { dot(alias), line(tuple<point, point>), nothing }
            enum colour { red, green }
            flags marks { a, b }
            draw: func(s: list<shape>, c: option<colour>, m: marks) -> result<string, colour>;
        }"#;
    let surface = Surface::from_wit(wit).unwrap();
    let id = surface.export("shapes#draw").unwrap();
    let (_, function) = surface.export_function(id).unwrap();
    assert_eq!(
        function.ty.to_string(),
        "func(s: list<variant { dot(record { x: f64, y: f64 }), line(tuple<record { x: f64, y: f64 }, \
         record { x: f64, y: f64 }>), nothing }>, c: option<enum { red, green }>, m: flags { a, b }) \
         -> result<string, enum { red, green }>"
    );
    let wat = r#"(component
      (import "quakes:app/shapes@0.2.0" (instance
        (type $p (record (field "x" f64) (field "y" f64))) (export "point" (type $point (eq $p)))
        (type $s (variant (case "dot" $point) (case "line" (tuple $point $point)) (case "nothing")))
        (export "shape" (type $shape (eq $s)))
        (type $c (enum "red" "green")) (export "colour" (type $colour (eq $c)))
        (type $m (flags "a" "b")) (export "marks" (type $marks (eq $m)))
        (export "draw" (func (param "s" (list $shape)) (param "c" (option $colour)) (param "m" $marks)
          (result (result string (error $colour))))))))"#;
    let imported = compiled(wat);
    let (_, imported) = imported.import_function(ImportId::from_index(0)).unwrap();
    assert_eq!(imported.ty, function.ty);
}

#[test]
fn wit_errors_say_where() {
    let error = Surface::from_wit("package a:b;\ninterface x { go: fnc(); }").unwrap_err();
    assert!(error.to_string().contains("2:"), "{error}");
}

#[test]
fn versions_fit_on_one_track_in_either_direction() {
    let accepts = |import: &str, export: &str| {
        InterfaceName::new(import).accepts(&InterfaceName::new(export))
    };
    assert!(accepts("a:b/c@0.2.0", "a:b/c@0.2.6"));
    assert!(accepts("a:b/c@0.2.6", "a:b/c@0.2.0"));
    assert!(accepts("a:b/c@1.4.0", "a:b/c@1.0.0"));
    assert!(accepts("a:b/c", "a:b/c"));
    assert!(!accepts("a:b/c@0.2.0", "a:b/c@0.3.0"));
    assert!(!accepts("a:b/c@0.0.1", "a:b/c@0.0.2"));
    assert!(!accepts("a:b/c@1.0.0", "a:b/c@2.0.0"));
    assert!(!accepts("a:b/c@0.2.0-rc.1", "a:b/c@0.2.0"));
    assert!(accepts("a:b/c@0.2.0-rc.1", "a:b/c@0.2.0-rc.1"));
    assert!(!accepts("a:b/c", "a:b/c@0.2.0"));
    assert!(!accepts("a:b/c@0.2.0", "a:b/d@0.2.0"));
}

#[test]
fn names_come_apart() {
    let name = InterfaceName::new("quakes:app/parse@0.1.0-rc.1");
    assert_eq!(name.namespace(), Some("quakes"));
    assert_eq!(name.package(), Some("app"));
    assert_eq!(name.interface(), "parse");
    assert_eq!(name.unversioned(), "quakes:app/parse");
    assert_eq!(name.version().unwrap().to_string(), "0.1.0-rc.1");
    let plain = InterfaceName::new("run");
    assert_eq!((plain.namespace(), plain.interface()), (None, "run"));
}

#[test]
fn a_type_that_expands_without_bound_is_cut() {
    // 24 levels of pairs: some 16 million nodes if expanded.
    let mut types = "(type $t0 (tuple u8 u8))".to_owned();
    for level in 1..18 {
        let below = level - 1;
        types.push_str(&format!("(type $t{level} (tuple $t{below} $t{below}))"));
    }
    let surface = compiled(&format!(
        r#"(component {types} (import "f" (func (param "x" $t17))))"#
    ));
    let (_, function) = surface.import_function(ImportId::from_index(0)).unwrap();
    assert!(function.ty.uncarriable().is_some());
}

#[test]
fn a_type_that_nests_without_sense_is_cut() {
    let nested = |levels: usize| {
        let ty = format!("{}u8{}", "(list ".repeat(levels), ")".repeat(levels));
        let surface = compiled(&format!(
            r#"(component (import "f" (func (param "x" {ty}))))"#
        ));
        let (_, function) = surface.import_function(ImportId::from_index(0)).unwrap();
        function.ty.uncarriable().is_some()
    };
    assert!(!nested(60));
    assert!(nested(70));
}
