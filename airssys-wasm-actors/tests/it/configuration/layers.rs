//! What a manifest says of a configuration: its layers, and everything that can be wrong with them.

use std::ffi::OsString;

use airssys_wasm::{EnvPolicy, Policy};
use airssys_wasm_actors::{
    Application, ApplicationSpec, ConfigSource, FindingKind, ManifestErrors, ResolveOptions,
};

use super::CONFIGURED;
use crate::application::{Directory, SINK};
use crate::guests::engine;

pub(super) fn written(directory: &Directory, tables: &str) -> ApplicationSpec {
    std::fs::write(directory.0.join("configured.wasm"), CONFIGURED).unwrap();
    // Answers the import, and is never asked.
    let decider = r#"(component
      (core module $m (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "ask") (param i32 i32) (result i32) (i32.store (i32.const 20) (i32.const 0)) (i32.const 16)))
      (core instance $i (instantiate $m))
      (func $ask (param "what" string) (result string)
        (canon lift (core func $i "ask") (memory $i "memory") (realloc (func $i "realloc"))))
      (instance (export "test:probe/decider@0.1.0") (export "ask" (func $ask))))"#;
    let decider = wat::parse_str(decider).unwrap();
    std::fs::write(directory.0.join("decider.wasm"), decider).unwrap();
    let text = format!(
        "[application]\nname = \"app\"\n[components.decider]\nfile = \"decider.wasm\"\n\
         [components.one]\nfile = \"configured.wasm\"\n\
         links = [{{ import = \"test:probe/decider\", to = \"decider\" }}]\n{tables}"
    );
    ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap()
}

/// A host with one variable, `PASSWORD`, and one that is no text.
pub(super) fn options(policy: Policy) -> ResolveOptions {
    ResolveOptions {
        policy,
        environment: Some(Box::new(|name| match name {
            "PASSWORD" => Some("hunter2".into()),
            "BYTES" => Some(std::os::unix::ffi::OsStringExt::from_vec(vec![0xff])),
            _ => None::<OsString>,
        })),
        ..ResolveOptions::default()
    }
}

fn resolve(
    directory: &Directory,
    tables: &str,
    policy: Policy,
) -> Result<Application, ManifestErrors> {
    written(directory, tables).resolve(&engine(), &options(policy))
}

#[test]
fn a_file_counts_more_than_the_manifest_and_the_environment_more_than_both() {
    let directory = Directory::new("");
    let file = "mode = \"file\"\n[db]\nport = 5432\npassword = \"file\"\n";
    std::fs::write(directory.0.join("one.toml"), file).unwrap();
    let tables = "config = { mode = \"manifest\", level = 3, db = { host = \"h\", tls = true } }\n\
        config-file = \"one.toml\"\nconfig-env = { \"db.password\" = \"PASSWORD\" }\n\
        grants = { config = [\"**\"] }\n";
    let application = resolve(&directory, tables, Policy::permissive()).unwrap();
    let one = application
        .components()
        .iter()
        .find(|one| one.name == "one")
        .unwrap();
    let values: Vec<_> = one.config.values().collect();
    assert_eq!(
        values,
        [
            ("db.host", "h", ConfigSource::Manifest),
            ("db.password", "hunter2", ConfigSource::Environment),
            ("db.port", "5432", ConfigSource::File),
            ("db.tls", "true", ConfigSource::Manifest),
            ("level", "3", ConfigSource::Manifest),
            ("mode", "file", ConfigSource::File),
        ]
    );
    assert_eq!(one.outline.config.len(), values.len());
    assert!(one.grants.contains(&"config"));
}

#[test]
fn everything_that_is_wrong_with_a_layer_has_its_finding_and_no_value_is_in_it() {
    let directory = Directory::new("");
    std::fs::write(directory.0.join("bad.toml"), "a = 1\nb = hunter2\n").unwrap();
    std::fs::write(directory.0.join("list.toml"), "[a]\nb = [1]\n").unwrap();
    let large = format!("a = \"{}\"\n", "x".repeat(65_537));
    std::fs::write(directory.0.join("large.toml"), large).unwrap();
    let huge = format!("# {}\n", "x".repeat(1 << 20));
    std::fs::write(directory.0.join("huge.toml"), huge).unwrap();
    let names = Policy {
        config_env: EnvPolicy::Names(["OTHER".to_owned()].into()),
        ..Policy::permissive()
    };
    let any = Policy::permissive;
    for (tables, policy, kind, words) in [
        (
            "config-file = \"none.toml\"\n",
            any(),
            FindingKind::MissingFile,
            "there is no such file",
        ),
        // It has no end, and others have no beginning.
        (
            "config-file = \"/dev/zero\"\n",
            any(),
            FindingKind::MissingFile,
            "not a regular file",
        ),
        (
            "config-file = \"bad.toml\"\n",
            any(),
            FindingKind::BadValue,
            "line 2 is not TOML",
        ),
        (
            "config-file = \"list.toml\"\n",
            any(),
            FindingKind::BadValue,
            "`a.b` is a list",
        ),
        (
            "config-file = \"large.toml\"\n",
            any(),
            FindingKind::BadValue,
            "has 65537 bytes",
        ),
        (
            "config-file = \"huge.toml\"\n",
            any(),
            FindingKind::BadValue,
            "more than 1 MiB",
        ),
        (
            "config = { a = [1] }\n",
            any(),
            FindingKind::BadValue,
            "`a` is a list",
        ),
        (
            "config = { \"\" = 1 }\n",
            any(),
            FindingKind::BadValue,
            "is no key",
        ),
        (
            "config-env = { a = \"NONE\" }\n",
            any(),
            FindingKind::BadValue,
            "no variable `NONE`",
        ),
        (
            "config-env = { a = \"BYTES\" }\n",
            any(),
            FindingKind::BadValue,
            "no UTF-8 text",
        ),
        (
            "config-env = { a = \"PASSWORD\" }\n",
            names,
            FindingKind::GrantRefused,
            "`config-env.names`",
        ),
    ] {
        let errors = resolve(&directory, tables, policy).err().unwrap();
        let [finding] = errors.findings.as_slice() else {
            panic!("{tables}: {errors}");
        };
        let text = format!("{finding:?}");
        assert_eq!(finding.kind, kind, "{tables}: {text}");
        assert!(text.contains(words), "{tables}: {text}");
        assert!(finding.at.is_some(), "{tables}: {text}");
        assert!(!text.contains("hunter2"), "{tables}: {text}");
    }
    let denied = resolve(
        &directory,
        "grants = { config = [\"a\"] }\n",
        Policy::default(),
    );
    let errors = denied.err().unwrap().to_string();
    assert!(errors.contains("config.within"), "{errors}");
}

#[test]
fn a_configuration_that_nobody_would_read_is_a_finding() {
    let directory = Directory::new("");
    let sink = wat::parse_str(SINK).unwrap();
    std::fs::write(directory.0.join("sink.wasm"), sink).unwrap();
    let tables = "[components.sink]\nfile = \"sink.wasm\"\nconfig-env = { a = \"PASSWORD\" }\n\
        grants = { config = [\"a\"] }\n";
    let errors = resolve(&directory, tables, Policy::permissive())
        .err()
        .unwrap();
    let text = errors.to_string();
    assert!(
        text.contains("`sink` is configured, and does not export"),
        "{text}"
    );
}

#[test]
fn a_configuration_of_keys_that_it_may_not_read_is_a_finding() {
    let directory = Directory::new("");
    // It has no `init`, and can read what it is granted.
    let reader = "(component (import \"airssys:config/store@0.1.0\" (instance)))";
    std::fs::write(
        directory.0.join("reader.wasm"),
        wat::parse_str(reader).unwrap(),
    )
    .unwrap();
    for (grants, is_read) in [("", false), ("\"db.*\"", false), ("\"mode\"", true)] {
        let tables = format!(
            "[components.reader]\nfile = \"reader.wasm\"\nconfig = {{ mode = \"x\" }}\n\
             grants = {{ config = [{grants}] }}\n"
        );
        let resolved = resolve(&directory, &tables, Policy::permissive());
        let refused = resolved.err().map(|errors| errors.to_string());
        assert_eq!(refused.is_none(), is_read, "{grants}: {refused:?}");
        if let Some(text) = refused {
            assert!(text.contains("may not read any of it"), "{text}");
        }
    }
}
