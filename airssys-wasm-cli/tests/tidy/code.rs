//! Rust source without its comments and the contents of its literals, so that a rule about code is not
//! misled by prose, by a string, or by the text of a guest in a test.

/// The same text, each line as long as it was, with comments and the contents of literals blanked.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (kept, skipped) = match rest[0] {
            b'/' if rest.starts_with(b"//") => (0, line_comment(rest)),
            b'/' if rest.starts_with(b"/*") => (0, block_comment(rest)),
            b'"' => (1, 1 + quoted(&rest[1..], b'"')),
            b'r' => match raw_opening(rest) {
                Some(hashes) => (0, raw_string(rest, hashes)),
                None => (1, 1),
            },
            b'\'' if is_character(rest) => (1, 1 + quoted(&rest[1..], b'\'')),
            _ => (1, 1),
        };
        out.extend_from_slice(&rest[..kept]);
        let blanked = &rest[kept..skipped];
        out.extend(
            blanked
                .iter()
                .map(|&byte| if byte == b'\n' { byte } else { b' ' }),
        );
        at += skipped;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The first line of an inline `#[cfg(test)] mod …` block, which by custom ends the file.
pub(crate) fn tests_begin(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let at = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    })?;
    Some(at + 1)
}

fn line_comment(rest: &[u8]) -> usize {
    let end = rest.iter().position(|&byte| byte == b'\n');
    end.unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Bytes up to and with the closing quote.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"` or `r#"` with any number of hashes; a raw identifier is not one.
fn raw_opening(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string(rest: &[u8], hashes: usize) -> usize {
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let end = rest[body..]
        .windows(close.len())
        .position(|window| window == close);
    end.map_or(rest.len(), |at| body + at + close.len())
}

/// A character, and not a lifetime.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\' | 0x80..) => true,
        Some(_) => rest.get(2) == Some(&b'\''),
        None => false,
    }
}

#[test]
fn comments_and_literals_are_blanked() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a\"b // c")"#, r#"f("          )"#),
        ("f(r#\"x\"y\"#, 1)", "f(        , 1)"),
        ("r#type 'a 'b' '\\'' c", "r#type 'a '   '    c"),
        ("'\"' + \"d\"", "'   + \"  "),
    ] {
        assert_eq!(code_only(text), code, "{text}");
    }
}

#[test]
fn only_an_inline_test_module_ends_the_code() {
    assert_eq!(tests_begin("a\n#[cfg(test)]\nmod tests;\nb"), None);
    assert_eq!(tests_begin("a\n#[cfg(test)]\nmod tests {\n}"), Some(2));
}
