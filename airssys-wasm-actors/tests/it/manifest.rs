//! What a manifest may say, and what it is told when it says something else.
#![cfg(test)]

use std::time::Duration;

use airssys_wasm_actors::{
    ApplicationSpec, BackpressureStrategy, ErrorAs, Finding, FindingKind, Location,
    MANIFEST_BYTES_MAX, ManifestErrors, OptionKind, RestartPolicy, ShutdownPolicy, SourceFormat,
};

const FULL: &str = r#"
[application]
name = "quakes"
description = "earthquakes"
[supervision]
strategy = "one-for-one"
restarts = { max = 2000, within = "60s" }
[components.classify]
file = "components/classify.wasm"
limits = { class = "tiny", memory = "2MiB", cpu-per-call = "100ms", log-line-bytes = "1KiB", handles = 7 }
grants = { log = true }
config = { poison = "0" }
after = ["parse"]
restart = "transient"
shutdown = "250ms"
mailbox = { depth = 10, bytes = "1MiB", message-bytes = "64KiB", strategy = "drop-oldest" }
links = [ { import = "quakes:app/parse", to = "parse", error-as = "case:unavailable", reply-within = "2s", retry = { times = 2, backoff = "10ms" }, breaker = { failures = 3, window = 20, open-for = "1min", trial = 2 } } ]
[components.parse]
file = "components/parse.wasm"
limits = "large"
shutdown = "brutal"
[options.poison]
sets = "classify.poison"
type = "integer"
help = "trap"
[sources.feed]
file = "data/earthquakes.json"
format = "json"
items = "/features"
to = "intake"
function = "feed"
rejected-case = "rejected"
in-flight = 64
[report]
counted = { component = "tally", function = "totals", field = "counted" }
tables = [ { title = "By region", component = "tally", function = "report" } ]
"#;

const LEAST: &str = "[application]\nname = \"a\"\n[components.b]\nfile = \"b.wasm\"\n";

fn parse(text: &str) -> Result<ApplicationSpec, ManifestErrors> {
    ApplicationSpec::parse("dir/airssys.toml".into(), text.to_owned())
}

/// The only finding in a manifest made of the least one and some more text.
fn finding(more: &str) -> Finding {
    let errors = parse(&format!("{LEAST}{more}")).unwrap_err();
    assert_eq!(errors.findings.len(), 1, "{errors}");
    errors.findings.into_iter().next().unwrap()
}

#[test]
fn every_key_is_read() {
    let spec = parse(FULL).unwrap();
    let tables = &spec.tables;
    assert_eq!(tables.application.name.get_ref(), "quakes");
    let restarts = tables.supervision.restarts.as_ref().unwrap();
    assert_eq!(
        (restarts.max, restarts.within.0),
        (2000, Duration::from_secs(60))
    );
    let classify = &tables.components["classify"];
    assert!(classify.grants.as_ref().unwrap().get_ref().log);
    assert_eq!(
        classify.config.as_ref().unwrap().get_ref()["poison"].as_str(),
        Some("0")
    );
    assert_eq!(classify.after[0].get_ref(), "parse");
    assert_eq!(classify.restart, Some(RestartPolicy::Transient));
    assert_eq!(
        classify.shutdown,
        Some(ShutdownPolicy::Timeout(Duration::from_millis(250)))
    );
    let mailbox = classify.mailbox.as_ref().unwrap();
    assert_eq!(*mailbox.depth.as_ref().unwrap().get_ref(), 10);
    assert_eq!(mailbox.bytes.as_ref().unwrap().get_ref().0, 1 << 20);
    assert_eq!(mailbox.strategy, BackpressureStrategy::DropOldest);
    let link = &classify.links[0];
    assert_eq!(
        (link.import.get_ref().as_str(), link.to.get_ref().as_str()),
        ("quakes:app/parse", "parse")
    );
    assert_eq!(
        *link.error_as.as_ref().unwrap().get_ref(),
        ErrorAs::Case("unavailable".to_owned())
    );
    assert_eq!(link.reply_within.unwrap().0, Duration::from_secs(2));
    let breaker = link.breaker.as_ref().unwrap();
    let number = |number: &Option<toml::Spanned<u32>>| *number.as_ref().unwrap().get_ref();
    assert_eq!(
        [&breaker.failures, &breaker.window, &breaker.trial].map(number),
        [3, 20, 2]
    );
    assert_eq!(breaker.open_for.unwrap().0, Duration::from_secs(60));
    assert_eq!(
        tables.components["parse"].shutdown,
        Some(ShutdownPolicy::Brutal)
    );
    assert_eq!(tables.options["poison"].kind, OptionKind::Integer);
    let feed = &tables.sources["feed"];
    assert_eq!(feed.format, SourceFormat::Json);
    assert_eq!(*feed.in_flight.as_ref().unwrap().get_ref(), 64);
    assert_eq!(
        tables
            .report
            .counted
            .as_ref()
            .unwrap()
            .field
            .as_ref()
            .unwrap()
            .get_ref(),
        "counted"
    );
    assert_eq!(tables.report.tables[0].title, "By region");
    assert_eq!(spec.path("b.wasm"), std::path::Path::new("dir/b.wasm"));
}

#[test]
fn little_is_needed() {
    let spec = parse(LEAST).unwrap();
    assert!(spec.tables.sources.is_empty() && spec.tables.report.tables.is_empty());
    assert!(spec.tables.components["b"].mailbox.is_none());
}

#[test]
fn an_unknown_key_is_an_error_in_every_table() {
    for (more, line, key, meant) in [
        ("mailbx = {}", 5, "mailbx", "mailbox"),
        ("[suprevision]", 5, "suprevision", "supervision"),
        ("[application.x]", 5, "x", ""),
        ("[supervision]\nrestart = 1", 6, "restart", "restarts"),
        (
            "[supervision]\nrestarts = { max = 1, wihtin = \"1s\" }",
            6,
            "wihtin",
            "within",
        ),
        ("limits = { memroy = \"1MiB\" }", 5, "memroy", "memory"),
        ("grants = { logs = true }", 5, "logs", "log"),
        ("mailbox = { dept = 1 }", 5, "dept", "depth"),
        (
            "links = [ { imports = \"a:b/c\", to = \"b\" } ]",
            5,
            "imports",
            "import",
        ),
        ("[options.o]\nset = \"b.x\"", 6, "set", "sets"),
        ("[sources.s]\ninflight = 1", 6, "inflight", "in-flight"),
        (
            "links = [ { import = \"a:b/c\", to = \"b\", breaker = { failure = 3 } } ]",
            5,
            "failure",
            "failures",
        ),
        ("[report]\ntable = []", 6, "table", "tables"),
        (
            "[report]\ncounted = { componnt = \"b\" }",
            6,
            "componnt",
            "component",
        ),
    ] {
        let finding = finding(more);
        assert_eq!(finding.kind, FindingKind::UnknownKey, "{more}: {finding:?}");
        assert_eq!(finding.what, format!("unknown key `{key}`"), "{more}");
        assert_eq!(finding.at.unwrap().line, line, "{more}");
        let help = finding.help.unwrap();
        assert!(
            meant.is_empty() || help == format!("did you mean `{meant}`?"),
            "{more}: {help}"
        );
    }
}

#[test]
fn a_finding_points_at_the_line_and_the_character() {
    let finding = finding("# é é\nlimits = { class = \"tiny\", memroy = \"1MiB\" }");
    assert_eq!(
        finding.at,
        Some(Location {
            line: 6,
            column: 28
        })
    );
}

#[test]
fn a_bad_value_says_what_is_good() {
    for (more, wanted) in [
        ("limits = \"standrad\"", "did you mean `standard`?"),
        (
            "limits = { class = \"huge\" }",
            "`tiny`, `standard`, `large`, `trusted`",
        ),
        ("limits = { memory = \"64MB\" }", "64MiB"),
        (
            "limits = { cpu-per-call = 5 }",
            "a duration such as \"500ms\"",
        ),
        ("limits = 5", "a limit class, or a table of limits"),
        (
            "restart = \"always\"",
            "`permanent`, `transient`, `temporary`",
        ),
        ("shutdown = \"soon\"", "brutal"),
        ("mailbox = { strategy = \"drop\" }", "`drop-newest`"),
        (
            "links = [ { import = \"a:b/c\", to = \"b\", breaker = { open-for = 10 } } ]",
            "a duration such as",
        ),
        (
            "links = [ { import = \"a:b/c\", to = \"b\", error-as = \"case\" } ]",
            "case:NAME",
        ),
        (
            "[supervision]\nstrategy = \"one-for-on\"",
            "did you mean `one-for-one`?",
        ),
        (
            "[supervision]\nrestarts = { max = -1, within = \"1s\" }",
            "-1",
        ),
        ("[options.o]\nsets = \"b.c\"\ntype = \"int\"", "`integer`"),
        ("after = \"b\"", "a sequence"),
    ] {
        let finding = finding(more);
        let all = format!("{} {}", finding.what, finding.help.as_deref().unwrap_or(""));
        assert!(all.contains(wanted), "{more}: {all}");
        assert!(finding.at.is_some(), "{more}");
    }
}

#[test]
fn a_missing_key_is_named() {
    for (text, key) in [
        ("[components.b]\nfile = \"b\"", "application"),
        ("[application]\nname = \"a\"", "components"),
        ("[application]\n[components.b]\nfile = \"b\"", "name"),
        ("[application]\nname = \"a\"\n[components.b]", "file"),
    ] {
        let finding = parse(text).unwrap_err().findings.remove(0);
        assert_eq!(finding.kind, FindingKind::MissingKey, "{text}");
        assert!(
            finding.what.contains(&format!("`{key}`")),
            "{}",
            finding.what
        );
    }
}

#[test]
fn a_name_given_twice_is_an_error_with_its_place() {
    for (more, line) in [
        ("[components.b]\nfile = \"c\"", 5),
        ("file = \"c\"", 5),
        ("[application]", 5),
    ] {
        let finding = finding(more);
        assert_eq!(
            finding.kind,
            FindingKind::DuplicateName,
            "{more}: {finding:?}"
        );
        assert_eq!(finding.at.unwrap().line, line, "{more}");
    }
}

#[test]
fn text_that_is_no_toml_is_said_with_its_place() {
    let finding = finding("links = [ {");
    assert_eq!(finding.kind, FindingKind::Syntax);
    assert_eq!(finding.at.unwrap().line, 5);
}

#[test]
fn a_manifest_is_found_in_its_directory() {
    let directory = std::env::temp_dir().join(format!("airssys-manifest-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let kind = |path: &std::path::Path| ApplicationSpec::read(path).unwrap_err().findings.remove(0);
    let missing = kind(&directory);
    assert_eq!(missing.kind, FindingKind::Unreadable);
    assert!(missing.help.unwrap().contains("airssys.toml"));
    assert_eq!(
        kind(&directory.join("nothing.toml")).kind,
        FindingKind::Unreadable
    );

    std::fs::write(directory.join("airssys.toml"), LEAST).unwrap();
    let spec = ApplicationSpec::read(&directory).unwrap();
    assert_eq!(spec.file, directory.join("airssys.toml"));
    std::fs::write(directory.join("airssys.toml"), b"\xff\xfe").unwrap();
    assert_eq!(kind(&directory).kind, FindingKind::Syntax);
    let long = "#".repeat(usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1);
    std::fs::write(directory.join("airssys.toml"), long).unwrap();
    let long = kind(&directory);
    assert_eq!(long.kind, FindingKind::Syntax);
    assert!(long.what.contains("1 MiB"));
    std::fs::remove_dir_all(directory).unwrap();
}
