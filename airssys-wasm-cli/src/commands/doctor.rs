//! `airssys doctor`: what this machine allows, against what so many actors need.
//!
//! Owns how the findings are written. They are decided in [`mod@decide`] over plain data, which is read by the
//! engine's [`Machine`]. It changes nothing: it says which command would.

mod decide;

use std::process::ExitCode;

use airssys_wasm::{Machine, Needs, Profile};
use serde_json::{Value, json};

use crate::args::{Doctor, EngineProfile, Format, Globals};
use crate::failure::Failure;
use crate::output;
use decide::{Row, Unit, Verdict, decide};

pub(super) fn run(globals: &Globals, doctor: &Doctor) -> Result<ExitCode, Failure> {
    let profile = match doctor.profile {
        EngineProfile::Strict => Profile::Strict,
        EngineProfile::Dense => Profile::Dense,
    };
    let needs = Needs::of(profile, doctor.actors.into());
    let rows = decide(&Machine::read(), &needs, profile);
    let fits = rows.iter().all(|row| row.verdict != Verdict::TooLow);
    if doctor.json || globals.format == Format::Json {
        output::print_json(&json!({
            "actors": needs.actors,
            "profile": profile.as_str(),
            "fits": fits,
            "limits": rows.iter().map(row_json).collect::<Vec<_>>(),
        }))?;
    } else {
        output::print(&text(&rows, &needs, profile))?;
    }
    Ok(if fits {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row_json(row: &Row) -> Value {
    json!({
        "name": row.name,
        "source": row.source,
        "unit": match row.unit {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
        },
        "present": row.present,
        "needed": row.needed,
        "verdict": row.verdict.as_str(),
        "note": row.note,
        "raise": row.raise,
    })
}

fn text(rows: &[Row], needs: &Needs, profile: Profile) -> String {
    let cells: Vec<[String; 5]> = rows.iter().map(cells).collect();
    let head = ["limit", "present", "needed", "verdict", "from"];
    let width = |at: usize| {
        let widths = cells.iter().filter_map(|row| row.get(at)).map(String::len);
        let own = head.get(at).map_or(0, |text| text.len());
        widths.max().unwrap_or(0).max(own)
    };
    let line = |row: [&str; 5]| {
        let [name, present, needed, verdict, from] = row;
        let text = format!(
            "{name:<w0$}  {present:>w1$}  {needed:>w2$}  {verdict:<w3$}  {from}",
            w0 = width(0),
            w1 = width(1),
            w2 = width(2),
            w3 = width(3),
        );
        format!("{}\n", text.trim_end())
    };
    let mut out = line(head);
    for row in &cells {
        out.push_str(&line(row.each_ref().map(String::as_str)));
    }
    let too_low = rows.iter().filter(|row| row.verdict == Verdict::TooLow);
    let what = format!("{} actors in profile {}", needs.actors, profile.as_str());
    out.push_str(&match too_low.count() {
        0 => format!("\n{what}: this machine has room for them\n"),
        1 => format!("\n{what}: one limit is too low\n"),
        many => format!("\n{what}: {many} limits are too low\n"),
    });
    for row in rows {
        if let Some(note) = &row.note {
            out.push_str(&format!("\n{}: {note}\n", row.name));
        }
        if let Some(raise) = &row.raise {
            out.push_str(&format!("\n{}:\n  {raise}\n", row.name));
        }
    }
    out
}

fn cells(row: &Row) -> [String; 5] {
    let written = |value: Option<u64>| match value {
        None => "–".to_owned(),
        Some(value) => match row.unit {
            Unit::Count => value.to_string(),
            Unit::Bytes => bytes(value),
        },
    };
    [
        row.name.to_owned(),
        written(row.present),
        written(row.needed),
        row.verdict.as_str().to_owned(),
        row.source.to_owned(),
    ]
}

/// A size with its binary unit, rounded down.
fn bytes(value: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in units {
        // From ten on: one digit alone would say too little.
        if value >> shift >= 10 {
            return format!("{} {unit}", value >> shift);
        }
    }
    format!("{value} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits_at_least() {
        assert_eq!(bytes(9), "9 B");
        assert_eq!(bytes(10 << 10), "10 KiB");
        assert_eq!(bytes(9 << 30), "9216 MiB");
        assert_eq!(bytes(128 << 40), "128 TiB");
    }

    #[test]
    fn what_is_too_low_comes_with_its_command() {
        let mut machine = Machine::default();
        machine.mappings_max = Some(65_530);
        let needs = Needs::of(Profile::Dense, 100_000);
        let rows = decide(&machine, &needs, Profile::Dense);
        let text = text(&rows, &needs, Profile::Dense);
        assert!(
            text.contains("sysctl -w vm.max_map_count=1048576"),
            "{text}"
        );
        assert!(text.contains("2 limits are too low"), "{text}");
    }
}
