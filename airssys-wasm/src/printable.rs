//! Text that came from a guest, made safe to show on one line.
//!
//! Every message a guest can influence (fault messages, log lines, stdio, audit records, function names in a
//! backtrace, names of imports and exports in errors) passes here before it leaves the engine. Control characters, line breaks, bidirectional
//! overrides and other invisible format characters are written as `\u{…}`; the rest stays as it is. The cost
//! is one pass over at most `bytes_max` bytes. It does not escape for HTML or JSON: whoever writes those
//! formats does that with its own writer.

/// Most bytes of one name in a message: those of real interfaces have some tens.
const NAME_BYTES_MAX: usize = 256;

/// Appended where text was cut.
const CUT: &str = "… (cut)";

/// Returns `text` on one line, with nothing a terminal would act on, in at most about `bytes_max` bytes.
#[must_use]
pub fn printable(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let before = out.len();
        if acts(c) {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                _ => out.extend(c.escape_unicode()),
            }
        } else {
            out.push(c);
        }
        if out.len() > bytes_max {
            out.truncate(before);
            out.push_str(CUT);
            break;
        }
    }
    out
}

/// A name of a component's or a manifest's, as it may stand in a message: an import can be called `url=<…>`, with
/// anything between the brackets.
pub(crate) fn name(text: &str) -> String {
    printable(text, NAME_BYTES_MAX)
}

/// The same for several, with what stands around each and between them.
pub(crate) fn names(texts: &[String], around: &str) -> String {
    let each = |text: &String| format!("{around}{}{around}", name(text));
    texts.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// Whether a terminal or a reader's eye would be led by `c` instead of seeing it.
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

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn plain_text_is_kept() {
        assert_eq!(printable("Tōhoku 9.1 ✓", 100), "Tōhoku 9.1 ✓");
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(
            printable("a\u{1b}[31mb\nINFO forged", 100),
            "a\\u{1b}[31mb\\nINFO forged"
        );
        assert_eq!(
            printable("\u{202e}gpj.exe\0", 100),
            "\\u{202e}gpj.exe\\u{0}"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = printable(&"é".repeat(10_000), 4096);
        assert!(cut.len() <= 4096 + "… (cut)".len());
        assert!(cut.ends_with("… (cut)"));
    }
}
