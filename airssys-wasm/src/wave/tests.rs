//! WAVE there and back, errors word by word, and JSON.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dynamic::tests::generate::{any_type, any_value};
use crate::surface::Surface;
use crate::value::Value;
use crate::wit::{FunctionType, WitType};

const WIT: &str = r#"
package q:app;
interface all {
    record point { x: f64, y: f32, note: option<string> }
    variant shape { dot(point), nothing, %some(u8) }
    enum colour { red, green, none }
    flags marks { seen, kept, lost }
    scalars: func(a: bool, b: s8, c: u64, d: f64, e: char, f: string);
    shapes: func(s: list<shape>, c: colour, m: marks);
    payload: func(bytes: list<u8>, at: tuple<u8, string>);
    outcome: func(r: result<point, colour>, o: option<option<u8>>, u: result);
}"#;

fn function(name: &str) -> FunctionType {
    let surface = Surface::from_wit(WIT).unwrap();
    let id = surface.export(name).unwrap();
    surface.export_function(id).unwrap().1.ty.clone()
}

#[track_caller]
fn there_and_back(name: &str, texts: &[&str]) -> Vec<Value> {
    let ty = function(name);
    let args = parse_args(&ty, texts).unwrap();
    ty.accepts(&args).unwrap();
    for ((value, (_, ty)), text) in args.values().iter().zip(&ty.params).zip(texts) {
        assert_eq!(format_value(value, ty), *text);
    }
    args.into_values().collect()
}

#[track_caller]
fn error(name: &str, texts: &[&str]) -> String {
    parse_args(&function(name), texts).unwrap_err().to_string()
}

#[test]
fn values_come_back_as_they_were_written() {
    let values = there_and_back(
        "scalars",
        &[
            "true",
            "-128",
            "18446744073709551615",
            "-0.5",
            "'ß'",
            r#""a \"b\"\n""#,
        ],
    );
    assert_eq!(values[2], Value::U64(u64::MAX));
    assert_eq!(values[5], Value::from("a \"b\"\n"));
    there_and_back(
        "scalars",
        &["false", "127", "0", "nan", r"'\''", r#""\u{0}\u{202e}""#],
    );
    there_and_back("scalars", &["false", "127", "0", "-inf", "'x'", r#""""#]);
    there_and_back(
        "shapes",
        &[
            r#"[dot({x: 1, y: 0.1, note: some("n")}), dot({x: 1, y: 2, note: none}), nothing, %some(7)]"#,
            "%none",
            "{seen, lost}",
        ],
    );
    let values = there_and_back("payload", &["[0, 255]", r#"(1, "two")"#]);
    assert_eq!(values[0], Value::from(vec![0u8, 255]));
    there_and_back("outcome", &["err(red)", "some(none)", "ok"]);
}

#[test]
fn options_may_be_bare_or_left_out() {
    let ty = function("shapes");
    let args = parse_args(&ty, &["[dot({y: 1, x: 2})]", "green", "{}"]).unwrap();
    let back = format_value(&args.values()[0], &ty.params[0].1);
    assert_eq!(back, "[dot({x: 2, y: 1, note: none})]");
    let ty = function("outcome");
    let args = parse_args(&ty, &[r#"{x: 1, y: 2, note: "bare"}"#, "some(3)", "err"]).unwrap();
    let back = format_value(&args.values()[0], &ty.params[0].1);
    assert_eq!(back, r#"ok({x: 1, y: 2, note: some("bare")})"#);
}

#[test]
fn errors_name_argument_place_type_and_problem() {
    assert_eq!(
        error("payload", &["[]"]),
        "expected 2 argument(s), got 1: func(bytes: list<u8>, at: tuple<u8, string>)"
    );
    assert_eq!(
        error("payload", &["[1, 256]", "(1, \"\")"]),
        "argument 1 (`bytes`), column 5, at `[1]`: `256` is out of range; expected u8"
    );
    assert_eq!(
        error("payload", &["[]", "(1, two)"]),
        "argument 2 (`at`), column 5, at `[1]`: found a name without quotes; expected string"
    );
    assert_eq!(
        error("shapes", &["[nothing, dot({x: \"1\", y: 2})]", "red", "{}"]),
        "argument 1 (`s`), column 19, at `[1].dot.x`: found a string; expected f64"
    );
    assert_eq!(
        error("shapes", &["[]", "gren", "{}"]),
        "argument 2 (`c`), column 1: there is no case `gren`, did you mean `green`?; \
         expected enum { red, green, none }"
    );
    assert_eq!(
        error("shapes", &["[]", "red", "{seen, missing}"]),
        "argument 3 (`m`), column 1: there is no flag `missing`; expected flags { seen, kept, lost }"
    );
    assert_eq!(
        error("shapes", &["[dot({x: 1})]", "red", "{}"]),
        "argument 1 (`s`), column 6, at `[0].dot`: field `y` is missing; \
         expected record { x: f64, y: f32, note: option<string> }"
    );
    assert!(
        error("shapes", &["[dot({x: 1, y: 1, z: 1})]", "red", "{}"])
            .contains("there is no field `z`")
    );
    assert!(error("shapes", &["[nothing(1)]", "red", "{}"]).contains("`nothing` takes no payload"));
    assert!(error("shapes", &["[dot]", "red", "{}"]).contains("`dot` needs a payload"));
}

#[test]
fn text_that_is_not_wave_is_refused_with_its_place() {
    assert_eq!(
        error("payload", &["[1, ", "(1, \"\")"]),
        "argument 1 (`bytes`), column 5: the text ends too early; expected list<u8>"
    );
    for text in ["", "[1 2]", "]", "\"", "1 2", "{", "\u{0}", "ü"] {
        assert!(
            error("payload", &[text, "(1, \"\")"]).starts_with("argument 1"),
            "{text:?}"
        );
    }
    // Columns count characters, not bytes.
    assert!(
        error("payload", &["[]", "(\"äöü\", 1)"]).contains("column 2, at `[0]`: found a string")
    );
    let deep = "(".repeat(100_000);
    assert!(error("payload", &[&deep, "1"]).contains("nesting"));
}

#[test]
fn a_value_of_another_type_is_printed_not_trusted() {
    let shown = format_value(&Value::U8(1), &WitType::String);
    assert_eq!(shown, "<u8 where string is expected>");
    let two = WitType::Enum(["a".into(), "b".into()].into());
    assert_eq!(format_value(&Value::Enum(9), &two), "<case 9>");
    assert_eq!(to_json(&Value::Enum(9), &two), json!("<case 9>"));
}

#[test]
fn json_has_names_and_order() {
    let ty = function("shapes");
    let args = parse_args(
        &ty,
        &[
            "[dot({x: 1.5, y: 0.1}), nothing, %some(7)]",
            "red",
            "{lost, seen}",
        ],
    )
    .unwrap();
    let values: Vec<_> = args
        .values()
        .iter()
        .zip(&ty.params)
        .map(|(value, (_, ty))| to_json(value, ty))
        .collect();
    assert_eq!(
        values[0].to_string(),
        r#"[{"dot":{"x":1.5,"y":0.1,"note":null}},"nothing",{"some":7}]"#
    );
    assert_eq!(values[1], json!("red"));
    assert_eq!(values[2], json!(["seen", "lost"]));

    let ty = function("outcome");
    let args = parse_args(&ty, &["err(green)", "some(some(3))", "ok"]).unwrap();
    let values: Vec<_> = args
        .values()
        .iter()
        .zip(&ty.params)
        .map(|(value, (_, ty))| to_json(value, ty))
        .collect();
    assert_eq!(
        values,
        [json!({"err": "green"}), json!(3), json!({"ok": null})]
    );

    let bytes = WitType::List(Arc::new(WitType::U8));
    assert_eq!(
        to_json(&Value::from(vec![1u8, 255]), &bytes),
        json!([1, 255])
    );
    assert_eq!(
        to_json(&Value::U64(u64::MAX), &WitType::U64),
        json!(u64::MAX)
    );
    assert_eq!(to_json(&Value::F64(f64::NAN), &WitType::F64), json!(null));
    assert_eq!(
        to_json(&Value::F32(f32::INFINITY), &WitType::F32),
        json!(null)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_type_comes_back(
        (ty, value) in any_type().prop_flat_map(|ty| (Just(ty.clone()), any_value(&ty)))
    ) {
        let text = format_value(&value, &ty);
        let ty = FunctionType { params: vec![("x".to_owned(), ty)], result: None, is_async: false };
        let back = parse_args(&ty, &[&text]).unwrap();
        // Compared as text, since the notation has one NaN and Rust has many.
        prop_assert_eq!(format_value(&back.values()[0], &ty.params[0].1), text);
        prop_assert!(!to_json(&value, &ty.params[0].1).to_string().is_empty());
    }

    #[test]
    fn no_text_is_too_strange_to_refuse(
        ty in any_type(),
        text in prop_oneof![".*", r#"[\[\](){}:,%'"\\a-z0-9u. ]{0,40}"#, r#"["']{1,7}.*"#],
    ) {
        let ty = FunctionType { params: vec![("x".to_owned(), ty)], result: None, is_async: false };
        if let Err(error) = parse_args(&ty, &[&text]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
