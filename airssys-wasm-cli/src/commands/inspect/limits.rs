//! The table of limit classes, row by row, as a manifest names the rows.

use airssys_wasm::{LimitClass, Limits};
use serde_json::{Map, Value};

use crate::table::{Side, grid};
use crate::text::{size, time};

/// What a row holds.
enum Amount {
    Time(std::time::Duration),
    Bytes(u64),
    Count(u32),
}

/// Every row of a class. A row that is new in the engine does not compile until it is here.
fn rows(class: LimitClass) -> Vec<(&'static str, Amount)> {
    let Limits {
        cpu_per_call,
        wall_per_call,
        memory_bytes_max,
        memories_max,
        tables_max,
        core_instances_max,
        table_elements_max,
        hostcall_bytes_max,
        handles_max,
        resources_max,
        random_bytes_max,
        log_bytes_per_second,
        log_line_bytes_max,
    } = class.limits();
    vec![
        ("cpu-per-call", Amount::Time(cpu_per_call)),
        ("wall-per-call", Amount::Time(wall_per_call)),
        ("memory", Amount::Bytes(memory_bytes_max)),
        ("memories", Amount::Count(memories_max)),
        ("tables", Amount::Count(tables_max)),
        ("core-instances", Amount::Count(core_instances_max)),
        ("table-elements", Amount::Count(table_elements_max)),
        ("hostcall-bytes", Amount::Bytes(hostcall_bytes_max)),
        ("handles", Amount::Count(handles_max)),
        ("resources", Amount::Count(resources_max)),
        ("random-bytes", Amount::Bytes(random_bytes_max)),
        (
            "log-bytes-per-second",
            Amount::Bytes(u64::from(log_bytes_per_second)),
        ),
        (
            "log-line-bytes",
            Amount::Bytes(u64::from(log_line_bytes_max)),
        ),
    ]
}

/// One row a limit, one column a class, and under each class whether the component fits it.
pub(super) fn text(fits: impl Fn(LimitClass) -> bool, width: Option<usize>) -> String {
    let mut heads = vec![("per instance", Side::Left)];
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut verdict = vec!["the component".to_owned()];
    for class in LimitClass::ALL {
        heads.push((class.as_str(), Side::Right));
        for (at, (name, amount)) in rows(class).into_iter().enumerate() {
            let cell = match amount {
                Amount::Time(limit) => time(limit),
                Amount::Bytes(bytes) => size(bytes),
                Amount::Count(count) => count.to_string(),
            };
            match lines.get_mut(at) {
                Some(line) => line.push(cell),
                None => lines.push(vec![name.to_owned(), cell]),
            }
        }
        verdict.push(if fits(class) { "fits" } else { "does not fit" }.to_owned());
    }
    lines.push(verdict);
    grid(&heads, lines, width)
}

/// The same for programs: times in milliseconds, sizes in bytes.
pub(super) fn json() -> Value {
    let class = |class: LimitClass| {
        let rows = rows(class).into_iter().map(|(name, amount)| match amount {
            Amount::Time(limit) => {
                let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                (format!("{name}-ms"), Value::from(millis))
            }
            Amount::Bytes(bytes) => (name.to_owned(), Value::from(bytes)),
            Amount::Count(count) => (name.to_owned(), Value::from(count)),
        });
        (
            class.as_str().to_owned(),
            Value::Object(rows.collect::<Map<_, _>>()),
        )
    };
    Value::Object(LimitClass::ALL.into_iter().map(class).collect())
}
