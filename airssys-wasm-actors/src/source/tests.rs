//! Inputs read as a source reads them.

use std::io::Write;
use std::ops::ControlFlow;

use super::input::{Reading, Stop, start};
use super::lines;
use super::*;
use crate::manifest::SourceFormat;

fn cutting(format: SourceFormat) -> Cutting {
    Cutting {
        format,
        items: String::new(),
        item_bytes_max: 100,
    }
}

/// Reads a file with the given text as a source would.
async fn readings(
    format: SourceFormat,
    text: &[u8],
) -> (Vec<(u32, String)>, Result<(), SourceError>) {
    let path =
        std::env::temp_dir().join(format!("airssys-source-{}-{:p}", std::process::id(), text));
    std::fs::File::create(&path)
        .unwrap()
        .write_all(text)
        .unwrap();
    let mut receiver = start(Input::File(path.clone()), cutting(format)).unwrap();
    let mut items = Vec::new();
    let end = loop {
        match receiver.recv().await {
            Some(Reading::Item { number, text }) => items.push((number, text)),
            Some(Reading::End(end)) => break end,
            None => panic!("the reader died"),
        }
    };
    std::fs::remove_file(path).unwrap();
    (items, end)
}

#[tokio::test]
async fn items_are_numbered_from_zero() {
    let (items, end) = readings(SourceFormat::Json, b"[10, 20, 30]").await;
    assert!(end.is_ok());
    assert_eq!(
        items,
        [
            (0, "10".to_owned()),
            (1, "20".to_owned()),
            (2, "30".to_owned())
        ]
    );
}

#[tokio::test]
async fn lines_are_cut_at_either_line_end_and_blank_ones_are_none() {
    let (items, end) = readings(SourceFormat::Lines, b"a\r\n\n  \nb c\nlast").await;
    assert!(end.is_ok());
    let texts: Vec<_> = items.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["a", "b c", "last"]);
    assert_eq!(items[2].0, 2);
}

#[test]
fn a_line_is_limited_to_the_byte() {
    let read = |text: String| {
        let mut items = 0;
        let end = lines::read(text.as_bytes(), 10, &mut |_| {
            items += 1;
            Ok(())
        });
        (items, end)
    };
    let ten = "x".repeat(10);
    assert!(matches!(
        read(format!("{ten}\n{ten}\r\n{ten}")),
        (3, Ok(ControlFlow::Continue(())))
    ));
    assert!(matches!(
        read(format!("{ten}\n{ten}x\n")),
        (
            1,
            Err(SourceError::ItemTooLarge {
                number: 1,
                bytes_max: 10
            })
        )
    ));
    assert!(matches!(
        read("x".repeat(1 << 20)),
        (0, Err(SourceError::ItemTooLarge { number: 0, .. }))
    ));
}

#[test]
fn a_line_that_is_no_text_is_named() {
    let end = lines::read(&b"good\nb\xffd\n"[..], 10, &mut |_| Ok(()));
    assert!(
        matches!(
            end,
            Err(SourceError::Malformed {
                line: 2,
                column: 2,
                after: 1,
                ..
            })
        ),
        "{end:?}"
    );
    let end = lines::read(&b"a\nb\n"[..], 10, &mut |_| Err(Stop::TooMany));
    assert!(matches!(end, Ok(ControlFlow::Break(Stop::TooMany))));
}

#[tokio::test]
async fn an_input_that_is_not_there_says_so() {
    let mut receiver = start(
        Input::File("no/such/file".into()),
        cutting(SourceFormat::Json),
    )
    .unwrap();
    let Some(Reading::End(Err(error))) = receiver.recv().await else {
        panic!("an end")
    };
    assert!(
        error.to_string().starts_with("cannot open no/such/file: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_source_ends_once() {
    let state = SourceState::new();
    drop(EndGuard(Arc::clone(&state)));
    state.end(Ok(()));
    assert!(matches!(
        &*state.ended().await.unwrap_err(),
        SourceError::Stopped
    ));
}
