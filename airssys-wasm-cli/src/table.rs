//! Tables of records on a terminal.
//!
//! Owns how a value of a WIT type looks in a cell, and how columns are aligned: numbers to the right, the rest to
//! the left, by the width a terminal gives each character. A column of floats has one notation for all its
//! values, so that they can be compared by eye.

use airssys_wasm::{Value, WitType, format_value};
use airssys_wasm_actors::ReportTable;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::output;
use crate::text::printable;

/// Widest cell, in columns of the terminal; longer text is cut. A guest writes it.
const CELL_WIDTH_MAX: usize = 60;

/// What a column of text is not cut below to fit a terminal.
const TEXT_WIDTH_MIN: usize = 6;

/// … and not before columns that are needed less have been left out.
const TEXT_WIDTH_GOOD: usize = 16;

/// What the column that rows are known by is not cut below; it is the last that is cut.
const KEY_WIDTH_MIN: usize = 24;

/// Where a number of a column is written as a power of ten: from this size on…
const SCIENTIFIC_FROM: f64 = 1e6;

/// … and below this, but for zero.
const SCIENTIFIC_BELOW: f64 = 1e-3;

/// Decimals of a float that is not written as a power of ten, at most.
const DECIMALS_MAX: usize = 3;

/// Writes a table: heading, names of columns, a rule, rows.
pub(crate) fn render(table: &ReportTable) -> String {
    let mut columns = Vec::new();
    for (at, (name, ty)) in table.columns.iter().enumerate() {
        let values: Vec<_> = table.rows.iter().map(|row| row.get(at)).collect();
        columns.push(Column::new(name, ty, &values));
    }
    fit(&mut columns, output::width());
    format!(
        "{}\n{}",
        printable(&table.title),
        draw(&columns, table.rows.len())
    )
}

/// Which side of its column a cell stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// What gives way where a table is wider than the terminal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Narrow<'a> {
    /// The column that rows are known by.
    pub(crate) key: &'a str,
    /// Columns that can be left out, those that are needed least first.
    pub(crate) drop: &'a [&'a str],
}

/// Writes rows of text under their heads, no wider than `width` as far as text can be cut.
pub(crate) fn grid(heads: &[(&str, Side)], rows: Vec<Vec<String>>, width: Option<usize>) -> String {
    narrow_grid(heads, rows, width, Narrow::default())
}

/// The same with columns that can be left out. Which ones were is said below the table.
pub(crate) fn narrow_grid(
    heads: &[(&str, Side)],
    rows: Vec<Vec<String>>,
    width: Option<usize>,
    narrow: Narrow<'_>,
) -> String {
    let count = rows.len();
    let mut columns: Vec<_> = heads
        .iter()
        .map(|(head, side)| Column::of(head, *side == Side::Right, Vec::with_capacity(count)))
        .collect();
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            let cell = cut(&printable(&cell), CELL_WIDTH_MAX);
            column.width = column.width.max(cell.width());
            column.cells.push(cell);
        }
    }
    let mut left_out = Vec::new();
    if let Some(width) = width {
        if !narrow.key.is_empty() {
            cut_to(&mut columns, width, TEXT_WIDTH_GOOD, narrow.key);
        }
        for name in narrow.drop {
            if over(&columns, width) == 0 {
                break;
            }
            columns.retain(|column| column.head != **name);
            left_out.push(*name);
        }
        cut_to(&mut columns, width, TEXT_WIDTH_MIN, narrow.key);
        let key = columns
            .iter_mut()
            .position(|column| column.head == narrow.key);
        let over = over(&columns, width);
        if let Some(key) = key.and_then(|at| columns.get_mut(at))
            && over > 0
        {
            key.narrow_from_the_front(key.width.saturating_sub(over).max(KEY_WIDTH_MIN));
        }
    }
    let mut text = draw(&columns, count);
    if !left_out.is_empty() {
        text.push_str(&format!(
            "left out for width: {} (`--json` has all)\n",
            left_out.join(", ")
        ));
    }
    text
}

/// By how much the columns are wider than the terminal.
fn over(columns: &[Column], width: usize) -> usize {
    let gaps = 2 * columns.len().saturating_sub(1);
    let all: usize = columns.iter().map(|column| column.width).sum();
    (all + gaps).saturating_sub(width)
}

/// Makes the widest columns of text narrower until all fit. Numbers are never cut.
fn fit(columns: &mut [Column], width: Option<usize>) {
    if let Some(width) = width {
        cut_to(columns, width, TEXT_WIDTH_MIN, "");
    }
}

/// The same, but for one column, and not below a width.
fn cut_to(columns: &mut [Column], width: usize, least: usize, key: &str) {
    while over(columns, width) > 0 {
        let text = columns
            .iter_mut()
            .filter(|column| !column.right && (key.is_empty() || column.head != key));
        let Some(widest) = text.max_by_key(|column| column.width) else {
            return;
        };
        if widest.width <= least {
            return;
        }
        // One at a time, so that two long columns end up alike.
        widest.narrow(widest.width - 1);
    }
}

fn draw(columns: &[Column], rows: usize) -> String {
    let mut text = line(columns, |column| &column.head);
    let rule: Vec<_> = columns
        .iter()
        .map(|column| "─".repeat(column.width))
        .collect();
    text.push_str(&format!("{}\n", rule.join("──")));
    for row in 0..rows {
        text.push_str(&line(columns, |column| {
            column.cells.get(row).map_or("", String::as_str)
        }));
    }
    text
}

/// Names to the left, numbers to the right: a short list of counts.
pub(crate) fn counts(rows: &[(&str, String)]) -> String {
    let name = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let number = rows
        .iter()
        .map(|(_, number)| number.width())
        .max()
        .unwrap_or(0);
    rows.iter()
        .map(|(text, value)| format!("{}  {}\n", pad(text, name, false), pad(value, number, true)))
        .collect()
}

struct Column {
    head: String,
    right: bool,
    width: usize,
    cells: Vec<String>,
}

impl Column {
    fn of(head: &str, right: bool, cells: Vec<String>) -> Self {
        let head = cut(&printable(head), CELL_WIDTH_MAX);
        let width = cells
            .iter()
            .map(|cell| cell.width())
            .chain([head.width()])
            .max()
            .unwrap_or(0);
        Self {
            head,
            right,
            width,
            cells,
        }
    }

    fn narrow(&mut self, width: usize) {
        self.width = width;
        self.head = cut(&self.head, width);
        for cell in &mut self.cells {
            if cell.width() > width {
                *cell = cut(cell, width);
            }
        }
    }

    /// The end of an address says more than its beginning.
    fn narrow_from_the_front(&mut self, width: usize) {
        self.width = width.min(self.width);
        for cell in &mut self.cells {
            if cell.width() <= width {
                continue;
            }
            let mut room = width.saturating_sub(1);
            let end = cell.char_indices().rev().take_while(|(_, c)| {
                let fits = c.width().unwrap_or(0) <= room;
                room = room.saturating_sub(c.width().unwrap_or(0));
                fits
            });
            let start = end.last().map_or(cell.len(), |(at, _)| at);
            *cell = format!("…{}", cell.get(start..).unwrap_or_default());
        }
    }

    fn new(name: &str, ty: &WitType, values: &[Option<&Value>]) -> Self {
        let inner = match ty {
            WitType::Option(inner) => inner,
            ty => ty,
        };
        let notation = Notation::of(values);
        let cells: Vec<_> = values
            .iter()
            .map(|value| value.map_or_else(String::new, |value| cell(value, ty, &notation)))
            .collect();
        Self::of(name, is_number(inner), cells)
    }
}

fn line<'a>(columns: &'a [Column], text: impl Fn(&'a Column) -> &'a str) -> String {
    let cells: Vec<_> = columns
        .iter()
        .map(|column| pad(text(column), column.width, column.right))
        .collect();
    format!("{}\n", cells.join("  ").trim_end())
}

fn pad(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    if right {
        format!("{space}{text}")
    } else {
        format!("{text}{space}")
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if short.width() + next >= width {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

fn is_number(ty: &WitType) -> bool {
    use WitType::{F32, F64, S8, S16, S32, S64, U8, U16, U32, U64};
    matches!(ty, U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64 | F32 | F64)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        Value::Option(Some(inner)) => float(inner),
        _ => None,
    }
}

fn cell(value: &Value, ty: &WitType, notation: &Notation) -> String {
    match (value, ty) {
        (Value::Option(None), _) => "–".to_owned(),
        (Value::Option(Some(value)), WitType::Option(ty)) => cell(value, ty, notation),
        (Value::F32(_) | Value::F64(_), _) => float(value)
            .map(|number| notation.write(number))
            .unwrap_or_default(),
        (Value::String(text), _) => cut(&printable(text), CELL_WIDTH_MAX),
        (value, ty) => cut(&printable(&format_value(value, ty)), CELL_WIDTH_MAX),
    }
}

/// How the floats of one column are written.
enum Notation {
    Scientific,
    Decimals(usize),
}

impl Notation {
    fn of(values: &[Option<&Value>]) -> Self {
        let floats: Vec<_> = values
            .iter()
            .filter_map(|value| float((*value)?))
            .filter(|number| number.is_finite())
            .collect();
        let extreme = |number: &f64| {
            let size = number.abs();
            size >= SCIENTIFIC_FROM || (size > 0.0 && size < SCIENTIFIC_BELOW)
        };
        if floats.iter().any(extreme) {
            return Self::Scientific;
        }
        let decimals = floats.iter().map(|number| {
            let text = format!("{number:.DECIMALS_MAX$}");
            text.trim_end_matches('0')
                .split_once('.')
                .map_or(0, |(_, decimals)| decimals.len())
        });
        Self::Decimals(decimals.max().unwrap_or(0))
    }

    fn write(&self, number: f64) -> String {
        match self {
            Self::Scientific if number.is_finite() && number != 0.0 => format!("{number:.2e}"),
            Self::Decimals(decimals) if number.is_finite() => format!("{number:.decimals$}"),
            _ => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rows(columns: Vec<(&str, WitType)>, rows: Vec<Vec<Value>>) -> ReportTable {
        let columns = columns
            .into_iter()
            .map(|(name, ty)| (name.to_owned(), ty))
            .collect();
        ReportTable {
            title: "Table".to_owned(),
            columns,
            rows,
        }
    }

    fn some(value: Value) -> Value {
        Value::Option(Some(Box::new(value)))
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let table = rows(
            vec![
                ("region", WitType::String),
                ("events", WitType::U64),
                ("energy-joules", WitType::F64),
                ("strongest", WitType::Option(Arc::new(WitType::F64))),
            ],
            vec![
                vec![
                    "Alaska".into(),
                    1_234u64.into(),
                    6.31e13.into(),
                    some(6.4.into()),
                ],
                vec![
                    "Tōhoku 東北".into(),
                    7u64.into(),
                    0.0.into(),
                    Value::Option(None),
                ],
            ],
        );
        assert_eq!(
            render(&table),
            "Table\n\
             region       events  energy-joules  strongest\n\
             ─────────────────────────────────────────────\n\
             Alaska         1234        6.31e13        6.4\n\
             Tōhoku 東北       7              0          –\n"
        );
    }

    #[test]
    fn one_column_has_one_notation() {
        let floats = |numbers: &[f64]| {
            let values: Vec<Value> = numbers.iter().map(|number| (*number).into()).collect();
            let values: Vec<_> = values.iter().map(Some).collect();
            let notation = Notation::of(&values);
            numbers
                .iter()
                .map(|number| notation.write(*number))
                .collect::<Vec<_>>()
        };
        assert_eq!(floats(&[1.0, 2.5, 3.125]), ["1.000", "2.500", "3.125"]);
        assert_eq!(floats(&[1.0, 2.0]), ["1", "2"]);
        assert_eq!(floats(&[1.0, 2e6]), ["1.00e0", "2.00e6"]);
        assert_eq!(floats(&[f64::NAN, 2.0]), ["NaN", "2"]);
    }

    #[test]
    fn what_a_guest_writes_stays_in_its_cell() {
        let long = "x".repeat(1_000);
        let table = rows(
            vec![("a\u{1b}[2J", WitType::String)],
            vec![
                vec!["one\ntwo\u{1b}[31m".into()],
                vec![long.as_str().into()],
            ],
        );
        let text = render(&table);
        assert_eq!(text.lines().count(), 5);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.width() <= CELL_WIDTH_MAX));
    }

    #[test]
    fn a_narrow_terminal_cuts_text_and_never_numbers() {
        let heads = [
            ("actor", Side::Left),
            ("function", Side::Left),
            ("calls", Side::Right),
        ];
        let row = |actor: &str, calls: &str| {
            vec![
                actor.to_owned(),
                "a:b/c#function".to_owned(),
                calls.to_owned(),
            ]
        };
        let rows = || {
            vec![
                row("quakes/classify", "123456789"),
                row("東北東北東北", "7"),
            ]
        };
        let wide = grid(&heads, rows(), None);
        assert!(
            wide.contains("quakes/classify  a:b/c#function  123456789\n"),
            "{wide}"
        );
        for width in [42, 41, 40, 30, 25] {
            let text = grid(&heads, rows(), Some(width));
            let widest = text.lines().map(|line| line.width()).max().unwrap();
            assert_eq!(widest, width, "{text}");
            assert!(
                text.contains("123456789") && text.contains('…') == (width < 42),
                "{text}"
            );
        }
        // There is an end to what can be cut.
        let text = grid(&heads, rows(), Some(3));
        assert!(text.contains("quake…  a:b/c…  123456789"), "{text}");
        assert!(text.contains("東北…   a:b/c…          7"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_leaves_out_what_is_needed_least_and_cuts_names_last() {
        let heads = [
            ("actor", Side::Left),
            ("state", Side::Left),
            ("calls", Side::Right),
            ("dead letters", Side::Right),
            ("bytes", Side::Right),
        ];
        let long = format!("quakes/{}/classify", "x".repeat(30));
        let grid = |width| {
            let row = |actor: &str| {
                let row = [actor, "running", "1707", "0", "16.5 KiB"];
                row.map(str::to_owned).to_vec()
            };
            let narrow = Narrow {
                key: "actor",
                drop: &["bytes", "dead letters"],
            };
            narrow_grid(
                &heads,
                vec![row("quakes/a"), row(&long)],
                Some(width),
                narrow,
            )
        };
        let wide = grid(120);
        assert!(
            wide.contains("bytes") && !wide.contains("left out"),
            "{wide}"
        );
        let text = grid(80);
        assert!(
            text.contains(&long) && text.contains("dead letters"),
            "{text}"
        );
        assert!(
            text.ends_with("left out for width: bytes (`--json` has all)\n"),
            "{text}"
        );
        let text = grid(62);
        assert!(text.contains(&long) && text.contains("running"), "{text}");
        let text = grid(45);
        let cut = "…xxxxxxxxxxxxxxxxxxxx/classify  runni…   1707\n";
        assert!(text.contains(cut), "{text}");
        assert!(
            grid(3).contains("…xxxxxxxxxxxxxx/classify  runni…   1707\n"),
            "{}",
            grid(3)
        );
    }

    #[test]
    fn counts_are_aligned() {
        assert_eq!(
            counts(&[
                ("events in", "1707".to_owned()),
                ("failed", "25".to_owned())
            ]),
            "events in  1707\nfailed       25\n"
        );
    }
}
