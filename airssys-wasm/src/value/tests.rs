//! Conversions there and back, and the byte accounting.

use bytes::Bytes;

use super::*;

fn there_and_back<T>(value: T)
where
    T: Clone + PartialEq + std::fmt::Debug + Into<Value> + FromValue,
{
    let carried: Value = value.clone().into();
    assert_eq!(T::from_value(carried).unwrap(), value);
}

#[test]
fn every_rust_type_comes_back_as_itself() {
    there_and_back(true);
    there_and_back(-5i8);
    there_and_back(250u8);
    there_and_back(i16::MIN);
    there_and_back(u16::MAX);
    there_and_back(i32::MIN);
    there_and_back(u32::MAX);
    there_and_back(i64::MIN);
    there_and_back(u64::MAX);
    there_and_back(1.5f32);
    there_and_back(-0.25f64);
    there_and_back('\u{10FFFF}');
    there_and_back("text".to_owned());
    there_and_back(Bytes::from_static(b"raw"));
    there_and_back(vec![1u8, 2, 3]);
    there_and_back(Some(7u32));
    there_and_back(None::<u32>);
    there_and_back(Ok::<u32, String>(7));
    there_and_back(Err::<u32, String>("no".to_owned()));
    there_and_back(Ok::<(), ()>(()));
    there_and_back((1u8, "two".to_owned(), Some(3.0f64)));
    there_and_back(vec![Value::U32(1), Value::U32(2)]);
}

#[test]
fn lists_of_bytes_are_bytes_and_other_lists_are_lists() {
    assert_eq!(
        Value::from(vec![1u8]),
        Value::Bytes(Bytes::from_static(&[1]))
    );
    let list = Value::List(vec![Value::from("a"), Value::from("b")]);
    assert_eq!(Vec::<String>::from_value(list).unwrap(), ["a", "b"]);
}

#[test]
fn a_record_converts_as_a_tuple_of_its_fields() {
    let record = Value::Record(vec![Value::F64(1.0), Value::from("x")]);
    assert_eq!(
        <(f64, String)>::from_value(record.clone()).unwrap(),
        (1.0, "x".to_owned())
    );
    assert!(<(f64, String, u8)>::from_value(record.clone()).is_err());
    assert!(<(f64, f64)>::from_value(record).is_err());
}

#[test]
fn a_mismatch_names_both_sides() {
    let error = u32::from_value(Value::from("7")).unwrap_err();
    assert_eq!(error.to_string(), "expected u32, found string");
    let error = Result::<u32, ()>::from_value(Value::Result(Ok(None))).unwrap_err();
    assert_eq!(error.to_string(), "expected a payload, found none");
}

#[test]
fn payload_bytes_counts_what_is_on_the_heap() {
    assert_eq!(Value::U64(1).payload_bytes(), 0);
    assert_eq!(Value::from(vec![0u8; 1024]).payload_bytes(), 1024);
    assert_eq!(Value::from("four").payload_bytes(), 4);
    let list = Value::List(vec![Value::from("ab"), Value::U8(1)]);
    assert_eq!(list.payload_bytes(), 2 * NODE_BYTES + 2);
    assert_eq!(Value::from(Some("abc")).payload_bytes(), NODE_BYTES + 3);
}
