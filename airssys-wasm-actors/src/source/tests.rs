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
    let mut receiver = start(Input::File(path.clone()), cutting(format), 0).unwrap();
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
        0,
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
    let plan = plan(Input::Stdin);
    let run = SourceRun::new(Arc::new(plan), Arc::default(), Arc::default());
    drop(EndGuard(Arc::clone(&run)));
    run.end(Ok(()));
    assert!(matches!(
        &*run.ended().await.unwrap_err(),
        SourceError::Stopped
    ));
}

fn plan(input: Input) -> SourcePlan {
    SourcePlan {
        address: "app/feed".parse().unwrap(),
        input,
        cutting: cutting(SourceFormat::Lines),
        to: "app/sink".parse().unwrap(),
        feed: Feed {
            function: "put".to_owned(),
            shape: Shape::Plain,
            error_cases: Vec::new(),
            rejected_case: None,
            in_flight_max: 1,
            reply_within: std::time::Duration::from_secs(1),
        },
    }
}

async fn next_of(reader: &mut place::Reader) -> Option<(u32, String)> {
    match reader.items.recv().await {
        Some(Reading::Item { number, text }) => Some((number, text)),
        _ => None,
    }
}

#[tokio::test]
async fn an_input_is_gone_on_with_where_it_was_left() {
    let path = std::env::temp_dir().join(format!("airssys-places-{}", std::process::id()));
    std::fs::write(&path, "a\nb\nc\nd\n").unwrap();
    let places = Places::default();
    let one = plan(Input::File(path.clone()));
    let (next, mut reader) = places.open(&one).unwrap();
    assert_eq!(next_of(&mut reader).await, Some((0, "a".to_owned())));
    next.store(1, Ordering::Release);
    // The very same, as long as it is kept.
    places.put_back(&one, reader, &Err(SourceError::Stopped));
    let (_, mut reader) = places.open(&one).unwrap();
    assert_eq!(next_of(&mut reader).await, Some((1, "b".to_owned())));
    next.store(2, Ordering::Release);
    // Opened anew and read over, where it was closed, or is to be read otherwise.
    places.put_back(&one, reader, &Err(SourceError::Stopped));
    places.close();
    let (_, mut reader) = places.open(&one).unwrap();
    assert_eq!(next_of(&mut reader).await, Some((2, "c".to_owned())));
    next.store(3, Ordering::Release);
    places.put_back(&one, reader, &Err(SourceError::Stopped));
    let mut larger = one.clone();
    larger.cutting.item_bytes_max += 1;
    let (_, mut reader) = places.open(&larger).unwrap();
    assert_eq!(next_of(&mut reader).await, Some((3, "d".to_owned())));
    // Another input has its own place.
    let mut json = one.clone();
    json.cutting.format = SourceFormat::Json;
    assert_eq!(places.open(&json).unwrap().0.load(Ordering::Acquire), 0);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_again_is_not_begun_in_its_middle() {
    let places = Places::default();
    let stdin = plan(Input::Stdin);
    assert!(places.refuses(&stdin, None).is_none());
    let (_, reader) = places.open(&stdin).unwrap();
    // Whoever runs hands it on.
    assert!(places.refuses(&stdin, Some(&stdin)).is_none());
    let mut larger = stdin.clone();
    larger.cutting.item_bytes_max += 1;
    assert!(matches!(
        places.refuses(&larger, Some(&stdin)),
        Some(SourceError::NotAgain { .. })
    ));
    places.put_back(&stdin, reader, &Err(SourceError::Stopped));
    assert!(places.refuses(&stdin, None).is_none());
    places.close();
    assert!(matches!(
        places.refuses(&stdin, None),
        Some(SourceError::NotAgain { from: 0, .. })
    ));
    assert!(matches!(
        places.open(&stdin),
        Err(SourceError::NotAgain { .. })
    ));
}
