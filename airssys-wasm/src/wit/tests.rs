//! Text form, shape comparison and fitting.

use super::*;
use crate::args::{Args, IntoArgs};
use crate::surface::InterfaceName;
use crate::value::Value;

fn record(fields: &[(&str, WitType)]) -> WitType {
    WitType::Record(
        fields
            .iter()
            .map(|(name, ty)| Field {
                name: (*name).into(),
                ty: ty.clone(),
            })
            .collect(),
    )
}

fn function(params: &[(&str, WitType)], result: Option<WitType>) -> FunctionType {
    FunctionType {
        params: params
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), ty.clone()))
            .collect(),
        result,
        is_async: false,
    }
}

#[test]
fn types_print_as_wit() {
    let ty = function(
        &[
            ("a", WitType::List(Arc::new(WitType::U8))),
            ("b", record(&[("x", WitType::F64), ("y", WitType::String)])),
        ],
        Some(WitType::Result {
            ok: None,
            err: Some(Arc::new(WitType::Enum(
                ["no".into(), "never".into()].into(),
            ))),
        }),
    );
    assert_eq!(
        ty.to_string(),
        "func(a: list<u8>, b: record { x: f64, y: string }) -> result<_, enum { no, never }>"
    );
}

#[test]
fn a_hostile_number_of_members_is_cut() {
    let names: Arc<[Box<str>]> = (0..100_000).map(|n| format!("c{n}").into()).collect();
    let text = WitType::Enum(names).to_string();
    assert!(
        text.len() < 1_000 && text.ends_with("… 99936 more }"),
        "{text}"
    );
}

#[test]
fn parameter_names_do_not_count_but_types_do() {
    let one = function(&[("a", WitType::U32)], None);
    assert!(one.same_shape(&function(&[("b", WitType::U32)], None)));
    assert!(!one.same_shape(&function(&[("a", WitType::U64)], None)));
    assert!(!one.same_shape(&function(&[("a", WitType::U32)], Some(WitType::Bool))));
}

#[test]
fn handles_are_found_wherever_they_hide() {
    let file = ResourceName::new(&InterfaceName::new("a:b/c"), "file", ResourceSide::Exported);
    let hidden = record(&[("x", WitType::Option(Arc::new(WitType::Own(file))))]);
    let ty = function(&[("a", WitType::List(Arc::new(hidden)))], None);
    assert!(ty.has_handles() && ty.uncarriable().is_none());
    assert_eq!(ty.find_resource(|_| true).unwrap().name(), "file");
    let hidden = record(&[("x", WitType::Option(Arc::new(WitType::Stream)))]);
    let ty = function(&[("a", WitType::List(Arc::new(hidden)))], None);
    assert_eq!(ty.uncarriable().unwrap().to_string(), "stream");
}

#[test]
fn arguments_that_fit_are_accepted() {
    let point = record(&[
        ("x", WitType::F64),
        ("tag", WitType::Option(Arc::new(WitType::String))),
    ]);
    let ty = function(
        &[("n", WitType::U32), ("ps", WitType::List(Arc::new(point)))],
        None,
    );
    let good = Value::Record(vec![Value::F64(1.0), Value::from(Some("t"))]);
    ty.accepts(&(1u32, vec![good.clone()]).into_args()).unwrap();

    let bad = Value::Record(vec![Value::F64(1.0), Value::from(Some(3u8))]);
    let error = ty
        .accepts(&(1u32, vec![good, bad]).into_args())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 2 (`ps`): at `[1].tag`: expected string, found u8"
    );
    let error = ty.accepts(&Args::new()).unwrap_err();
    assert!(matches!(
        error,
        CallRefused::Count {
            expected: 2,
            given: 0,
            ..
        }
    ));
}

#[test]
fn cases_and_flags_out_of_range_do_not_fit() {
    let variant = WitType::Variant(
        [
            Case {
                name: "a".into(),
                ty: None,
            },
            Case {
                name: "b".into(),
                ty: Some(WitType::U32),
            },
        ]
        .into(),
    );
    let ty = function(&[("v", variant)], None);
    let call = |value: Value| ty.accepts(&[value].into_iter().collect());
    call(Value::Variant(0, None)).unwrap();
    call(Value::Variant(1, Some(Box::new(Value::U32(1))))).unwrap();
    call(Value::Variant(2, None)).unwrap_err();
    call(Value::Variant(1, None)).unwrap_err();
    call(Value::Variant(0, Some(Box::new(Value::U32(1))))).unwrap_err();

    let names: Arc<[Box<str>]> = (0..33).map(|n| format!("f{n}").into()).collect();
    let ty = function(&[("f", WitType::Flags(names))], None);
    let call = |words: &[u32]| ty.accepts(&[Value::Flags(words.into())].into_iter().collect());
    call(&[u32::MAX, 1]).unwrap();
    call(&[0, 2]).unwrap_err();
    call(&[1]).unwrap_err();
}

#[test]
fn a_byte_list_is_bytes_and_nothing_else() {
    let ty = function(&[("b", WitType::List(Arc::new(WitType::U8)))], None);
    ty.accepts(&(vec![1u8],).into_args()).unwrap();
    ty.accepts(&(vec![Value::U8(1)],).into_args()).unwrap_err();
}
