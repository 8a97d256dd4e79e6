//! Documents well and badly formed, read to the end or not.

use super::*;

/// Reads a whole text; the items, and how it ended.
fn items(
    text: &str,
    pointer: &str,
    max: u64,
) -> (Vec<String>, Result<ControlFlow<Stop>, SourceError>) {
    let mut items = Vec::new();
    let end = read(text.as_bytes(), pointer, max, &mut |item| {
        items.push(item);
        Ok(())
    });
    (items, end)
}

#[test]
fn elements_come_as_they_stand_in_the_text() {
    let text = r#"{"metadata": {"features": [1, 2]}, "features": [ {"a" : "x"}, [1 ,2], "s\u00e9", null ], "end": 1}"#;
    let (found, end) = items(text, "/features", 100);
    assert!(matches!(end, Ok(ControlFlow::Continue(()))));
    assert_eq!(found, [r#"{"a" : "x"}"#, "[1 ,2]", r#""s\u00e9""#, "null"]);
}

#[test]
fn the_pointer_may_be_empty_deep_escaped_or_an_index() {
    assert_eq!(items("[1,2]", "", 10).0, ["1", "2"]);
    assert_eq!(items(r#"{"a/b":{"c~d":[3]}}"#, "/a~1b/c~0d", 10).0, ["3"]);
    assert_eq!(items(r#"[0, {"x": [4, 5]}, 6]"#, "/1/x", 10).0, ["4", "5"]);
    assert_eq!(items(r#"{"":[7]}"#, "/", 10).0, ["7"]);
}

#[test]
fn a_pointer_to_nothing_is_an_error() {
    let (found, end) = items(r#"{"other": [1]}"#, "/features", 10);
    assert!(found.is_empty());
    assert!(matches!(end, Err(SourceError::NoItems { .. })), "{end:?}");
    assert!(matches!(
        items("[1]", "/3", 10).1,
        Err(SourceError::NoItems { .. })
    ));
}

#[test]
fn what_is_no_array_is_said_with_its_place() {
    let (_, end) = items("{\n \"features\": {\"a\": 1}}", "/features", 100);
    let error = end.unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("expected the array of items"),
        "{error}"
    );
    let error = items("17", "/features", 100).1.unwrap_err().to_string();
    assert!(
        error.contains("expected an object with the key `features`"),
        "{error}"
    );
}

#[test]
fn bad_json_keeps_what_was_read_before() {
    let (found, end) = items("{\"f\": [1, 2,\n @]}", "/f", 10);
    assert_eq!(found, ["1", "2"]);
    match end {
        Err(SourceError::Malformed {
            line: 2,
            column: 2,
            after: 2,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_cut_off_is_an_error_wherever_it_is_cut() {
    let text = r#"{"f": [1, {"a": [2]}], "g": {"h": "i"}}"#;
    for cut in 1..text.len() {
        let end = items(text.get(..cut).unwrap(), "/f", 100).1;
        assert!(
            matches!(end, Err(SourceError::Malformed { .. })),
            "{cut}: {end:?}"
        );
    }
    assert!(items(text, "/f", 100).1.is_ok());
    let more = format!("{text} x");
    assert!(matches!(
        items(&more, "/f", 100).1,
        Err(SourceError::Malformed { .. })
    ));
}

#[test]
fn the_same_key_twice_is_an_error() {
    let (found, end) = items(r#"{"f": [1], "f": [2]}"#, "/f", 10);
    assert_eq!(found, ["1"]);
    assert!(end.unwrap_err().to_string().contains("twice"));
}

#[test]
fn only_what_is_kept_is_limited() {
    let long = "x".repeat(10_000);
    let skipped = format!(r#"{{"a": ["{long}"], "f": [1, 2], "z": "{long}"}}"#);
    let (found, end) = items(&skipped, "/f", 20);
    assert_eq!(found, ["1", "2"]);
    assert!(end.is_ok(), "{end:?}");

    let (found, end) = items(&format!(r#"{{"f": [1, "{long}", 3]}}"#), "/f", 20);
    assert_eq!(found, ["1"]);
    assert!(
        matches!(
            end,
            Err(SourceError::ItemTooLarge {
                number: 1,
                bytes_max: 20
            })
        ),
        "{end:?}"
    );

    for hostile in [format!(r#"{{"{long}": 1}}"#), format!("\"{long}\"")] {
        let end = items(&hostile, "/f", 20).1;
        assert!(
            matches!(end, Err(SourceError::ItemTooLarge { .. })),
            "{end:?}"
        );
    }
}

#[test]
fn reading_stops_when_nobody_wants_more() {
    let mut left = 2;
    let end = read(&b"[1,2,3,4,5]"[..], "", 10, &mut |_| {
        left -= 1;
        if left == 0 {
            Err(Stop::Unwanted)
        } else {
            Ok(())
        }
    });
    assert!(matches!(end, Ok(ControlFlow::Break(Stop::Unwanted))));
}

#[test]
fn deep_nesting_is_no_stack_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let (found, end) = items(
        &format!(r#"{{"skip": {deep}, "f": [{deep}]}}"#),
        "/f",
        1 << 20,
    );
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(found.len(), 1);
}
