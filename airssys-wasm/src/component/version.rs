//! The version that a component carries for people.
//!
//! Owns the reading of one custom section of the outermost component, `version`, which `wasm-tools metadata add
//! --version` writes and other tools with it. What is nested is passed over unread, so it costs a step for each section. It is
//! the publisher's word and decides nothing: one that is not a semantic version is as none.

use semver::Version;
use wasmparser::{Chunk, Parser, Payload};

/// Longest text that is taken for a version.
const VERSION_BYTES_MAX: usize = 256;

/// The first version that a component says, if it says a semantic one.
pub(super) fn of(component: &[u8]) -> Option<Version> {
    let mut parser = Parser::new(0);
    let mut at = 0_usize;
    loop {
        let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(component.get(at..)?, true)
        else {
            return None;
        };
        at = at.checked_add(consumed)?;
        match payload {
            // The parser that was returned would read them; this one goes on behind them.
            Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } => at = unchecked_range.end,
            Payload::CustomSection(section) if section.name() == "version" => {
                let text = std::str::from_utf8(section.data()).ok()?;
                let short = text.len() <= VERSION_BYTES_MAX;
                return short.then(|| text.parse().ok()).flatten();
            }
            Payload::End(_) => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with other sections before a custom one of this name and data.
    fn component(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = wat::parse_str(
            "(component
               (core module (func) (@custom \"version\" \"9.9.9\"))
               (component (core module (func))))",
        )
        .unwrap();
        let leb = |mut n: usize| {
            let mut bytes = Vec::new();
            while n > 127 {
                bytes.push((n & 127) as u8 | 128);
                n >>= 7;
            }
            bytes.push(n as u8);
            bytes
        };
        let mut section = leb(name.len());
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(data);
        bytes.push(0);
        bytes.extend(leb(section.len()));
        bytes.extend(section);
        bytes
    }

    #[test]
    fn the_outermost_component_says_it() {
        let said = of(&component("version", b"1.2.3-rc.1+build"));
        assert_eq!(said, Some("1.2.3-rc.1+build".parse().unwrap()));
        // A nested module's is its own.
        assert_eq!(of(&component("revision", b"1.2.3")), None);
    }

    #[test]
    fn what_is_no_version_is_as_none() {
        let long = format!("1.2.3-{}", "a".repeat(VERSION_BYTES_MAX));
        for data in [
            b"" as &[u8],
            b"v1.2.3",
            b"1.2",
            b"1.2.3\n",
            b"\xff\xfe",
            long.as_bytes(),
        ] {
            assert_eq!(of(&component("version", data)), None, "{data:?}");
        }
    }

    #[test]
    fn no_cut_and_no_wrong_byte_is_an_error() {
        let whole = component("version", b"1.2.3");
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), None, "cut to {length}");
        }
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 0xff;
            // Whatever it says, it ends.
            let _ = of(&wrong);
        }
    }
}
