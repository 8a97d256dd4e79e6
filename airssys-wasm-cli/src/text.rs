//! Text made safe for a terminal.
//!
//! Owns the one function that everything from outside passes before it is printed: control characters, line
//! breaks and the invisible characters that change the direction or the look of what follows are written as
//! escapes.

/// `text` on one line, with nothing that a terminal acts on.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if acts(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A size in the unit a person would use.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes >> shift > 0 {
            // Tenths, rounded down: no floats, and 64 MiB stays `64 MiB`.
            let tenths = ((bytes % (1 << shift)) * 10) >> shift;
            let whole = bytes >> shift;
            return if tenths == 0 {
                format!("{whole} {unit}")
            } else {
                format!("{whole}.{tenths} {unit}")
            };
        }
    }
    format!("{bytes} B")
}

/// A time in the unit a person would use.
pub(crate) fn time(took: std::time::Duration) -> String {
    let micros = took.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A stretch of time in milliseconds, in the two largest units that a person would use.
pub(crate) fn ago(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match hours {
        0 if minutes > 0 => two(minutes, "m", seconds % 60, "s"),
        0 if seconds > 0 => format!("{seconds} s"),
        0 => format!("{millis} ms"),
        1..24 => two(hours, "h", minutes % 60, "m"),
        _ => two(hours / 24, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        assert_eq!(printable("Tōhoku 9.1 ✓"), "Tōhoku 9.1 ✓");
        assert_eq!(
            printable("a\u{1b}[31m\nb\t\u{202e}c"),
            "a\\u{1b}[31m\\nb\\t\\u{202e}c"
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (16_900, "16.5 KiB"),
            (64 << 20, "64 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_999, "59 s"),
            (60_000, "1 m"),
            (192_000, "3 m 12 s"),
            (7_500_000, "2 h 5 m"),
            (360_000_000, "4 d 4 h"),
        ] {
            assert_eq!(ago(millis), text);
        }
        for (micros, text) in [
            (7, "7 µs"),
            (1_234, "1.2 ms"),
            (412_300, "412 ms"),
            (2_150_000, "2.1 s"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }
}
