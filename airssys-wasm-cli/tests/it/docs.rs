//! The pages about the manifest and the command line say what the parser and the command say.

use std::collections::BTreeSet;
use std::path::Path;

use crate::fixture::{App, run};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The first column of the table under a heading, without its back-ticks.
fn keys(page: &str, heading: &str) -> BTreeSet<String> {
    let mut lines = page.lines().skip_while(|line| *line != heading).skip(1);
    let section: Vec<_> = lines
        .by_ref()
        .take_while(|line| !line.starts_with('#'))
        .collect();
    assert!(!section.is_empty(), "no section {heading}");
    section
        .iter()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// The keys that the parser knows in one table: it lists them when it meets one that is like none of them.
fn known(text: &str) -> BTreeSet<String> {
    let app = App::new().file("airssys.toml", text);
    let error = app.run("check", &["--format", "json"]).error();
    let finding = &error["findings"][0];
    assert_eq!(finding["kind"], "unknown-key", "{text}: {error}");
    let hint = finding["hint"].as_str().unwrap();
    hint.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_of_the_manifest_is_documented_and_no_other() {
    let page = page("manifest.md");
    for (heading, text) in [
        (
            "## `[application]`",
            "[application]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        (
            "## `[supervision]`",
            "[supervision]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        (
            "### `restarts`",
            "[supervision]\nrestarts = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "## `[supervisors.NAME]`",
            "[supervisors.a]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        (
            "### `backoff`",
            "[supervisors.a]\nbackoff = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `health`",
            "[components.a]\nhealth = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "## `[components.NAME]`",
            "[components.a]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        (
            "### `links`",
            "[components.a]\nlinks = [ { QQQQQQQQQQQQQQQQQQQQQQ = 1 } ]",
        ),
        (
            "### `breaker`",
            "[components.a]\nlinks = [ { import = \"a:b/c\", to = \"b\", breaker = { QQQQQQQQQQQQQQQQQQQQQQ = 1 } } ]",
        ),
        (
            "### `limits`",
            "[components.a]\nlimits = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `grants`",
            "[components.a]\ngrants = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `mailbox`",
            "[components.a]\nmailbox = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `rollout`",
            "[components.a]\nrollout = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `autoscale`",
            "[components.a]\nautoscale = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `steps`",
            "[components.a]\nrollout = { steps = [ { QQQQQQQQQQQQQQQQQQQQQQ = 1 } ] }",
        ),
        (
            "### `gate`",
            "[components.a]\nrollout = { gate = { QQQQQQQQQQQQQQQQQQQQQQ = 1 } }",
        ),
        (
            "## `[options.NAME]`",
            "[options.a]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        (
            "## `[sources.NAME]`",
            "[sources.a]\nQQQQQQQQQQQQQQQQQQQQQQ = 1",
        ),
        ("## `[report]`", "[report]\nQQQQQQQQQQQQQQQQQQQQQQ = 1"),
        (
            "### `counted`",
            "[report]\ncounted = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }",
        ),
        (
            "### `tables`",
            "[report]\ntables = [ { QQQQQQQQQQQQQQQQQQQQQQ = 1 } ]",
        ),
    ] {
        assert_eq!(keys(&page, heading), known(text), "{heading}");
    }
    // And there is no table beside these.
    let tables = known("QQQQQQQQQQQQQQQQQQQQQQ = 1");
    let documented: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## `["))
        .filter_map(|line| line.split(['.', ']']).next())
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, tables);
}

#[test]
fn every_command_option_and_exit_code_is_documented() {
    let page = page("cli.md");
    let help = run(&["--help"]).stdout;
    let codes = help
        .lines()
        .skip_while(|line| !line.starts_with("Exit codes"))
        .skip(1);
    for code in codes
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.parse::<u8>().is_ok())
    {
        assert!(
            page.contains(&format!("\n| {code} |")),
            "no exit code {code}"
        );
    }
    for command in [
        "up",
        "status",
        "tree",
        "dead-letters",
        "dead-letters list",
        "dead-letters show",
        "dead-letters replay",
        "dead-letters purge",
        "crashes",
        "crashes show",
        "kill",
        "restart",
        "stop",
        "check",
        "call",
        "inspect",
        "doctor",
    ] {
        assert!(
            page.contains(&format!("`airssys {command}")),
            "no command {command}"
        );
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = run(&words).stdout;
        for option in help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2)
        {
            let option = option.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(
                ["--help", "--version"].contains(&option) || page.contains(&format!("`{option}")),
                "no option {option} of {command}"
            );
        }
    }
}
