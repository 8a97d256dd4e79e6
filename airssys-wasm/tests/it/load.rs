//! Loading: what is not a component is refused by what it is.

use airssys_wasm::{ComponentRef, LoadError, LoadErrorKind, Loaded};

use crate::guest::{bytes, component, engine};

fn refused(bytes: impl Into<Vec<u8>>) -> LoadError {
    engine()
        .load(&ComponentRef::Bytes(bytes.into().into()))
        .unwrap_err()
}

#[test]
fn a_component_knows_its_surface_its_size_and_its_digest() {
    let wat = crate::guest::core("(func (export \"go\"))");
    let loaded = component(&engine(), &wat);
    assert!(loaded.surface().export("go").is_ok());
    assert_eq!(
        loaded.size_bytes(),
        u64::try_from(bytes(&wat).len()).unwrap()
    );
    assert!(loaded.digest().to_string().starts_with("sha256:"));
    assert_eq!(loaded.digest().hex().len(), 64);
    assert!(matches!(loaded.loaded(), Loaded::Compiled { .. }));
}

#[test]
fn the_digest_is_sha256() {
    // `sha256sum` of the eight bytes of an empty component.
    let empty = component(&engine(), "(component)");
    assert_eq!(
        empty.digest().to_string(),
        "sha256:24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29"
    );
}

#[test]
fn a_core_module_is_named() {
    let error = refused(bytes("(module)"));
    assert!(matches!(error.kind, LoadErrorKind::CoreModule));
    assert!(
        error.to_string().contains("wasm-tools component new"),
        "{error}"
    );
}

#[test]
fn text_is_never_parsed() {
    assert!(matches!(refused(*b"(component)").kind, LoadErrorKind::Text));
}

#[test]
fn a_precompiled_artifact_is_never_loaded_whatever_it_is_called() {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    let raw = wasmtime::Engine::new(&config).unwrap();
    let artifact = raw.precompile_component(&bytes("(component)")).unwrap();
    assert!(matches!(refused(artifact).kind, LoadErrorKind::Precompiled));
    let artifact = raw.precompile_module(&bytes("(module)")).unwrap();
    assert!(matches!(refused(artifact).kind, LoadErrorKind::Precompiled));
}

#[test]
fn a_native_file_is_named() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(matches!(refused(&own[..4096]).kind, LoadErrorKind::Elf));
}

#[test]
fn an_empty_file_is_named() {
    assert!(matches!(refused([]).kind, LoadErrorKind::Empty));
}

#[test]
fn every_truncation_is_refused() {
    let whole = bytes(&crate::guest::core(
        "(memory 1) (func (export \"go\") (drop (i32.const 1)))",
    ));
    let engine = engine();
    for length in 1..whole.len() {
        let cut = whole[..length].to_vec();
        // A cut between two sections leaves a smaller component that may well be valid.
        let between = wasmparser::Parser::new(0)
            .parse_all(&cut)
            .all(|payload| payload.is_ok());
        match engine.load(&ComponentRef::Bytes(cut.into())) {
            Err(error) => assert!(
                matches!(error.kind, LoadErrorKind::Truncated { .. }) || between,
                "cut to {length}: {error}"
            ),
            Ok(_) => assert!(between, "cut to {length}"),
        }
    }
}

#[test]
fn a_file_too_large_is_refused_before_it_is_read_whole() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("too-large.wasm");
    let file = std::fs::File::create(&path).unwrap();
    // Sparse: takes no disk, and would take a terabyte of memory if it were read.
    file.set_len(1 << 40).unwrap();
    let error = engine()
        .load(&ComponentRef::File(path.clone()))
        .unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert!(
        matches!(
            error.kind,
            LoadErrorKind::TooLarge {
                bytes_max: 67_108_864
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let error = engine()
        .load(&ComponentRef::File("no/such.wasm".into()))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no/such.wasm: cannot be read"),
        "{error}"
    );
    let error = engine()
        .load(&ComponentRef::File("/dev/zero".into()))
        .unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_function_too_large_is_found_before_it_is_compiled() {
    let body = "(drop (i32.const 1))".repeat(400_000);
    let error = refused(bytes(&crate::guest::core(&format!(
        "(func (export \"go\") {body})"
    ))));
    let LoadErrorKind::ExceedsLimits(findings) = &error.kind else {
        panic!("{error}")
    };
    assert_eq!(findings[0].what, "bytes in one function");
}

#[test]
fn features_that_are_off_are_refused() {
    for (feature, module) in [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("tail calls", "(func $f (return_call $f))"),
        ("exceptions", "(tag)"),
        ("gc", "(type (struct))"),
        ("function references", "(func (param (ref func)))"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        (
            "relaxed simd",
            "(func (param v128 v128) (result v128)
               (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
        ),
    ] {
        let error = refused(bytes(&format!("(component (core module {module}))")));
        assert!(
            matches!(error.kind, LoadErrorKind::Invalid(_)),
            "{feature}: {error}"
        );
    }
}

#[test]
fn async_and_streams_are_refused_clearly() {
    for wat in [
        "(component (import \"f\" (func async)))",
        "(component (import \"f\" (func (param \"s\" (stream u8)))))",
        "(component (import \"f\" (func (param \"s\" (future)))))",
    ] {
        let error = refused(bytes(wat));
        assert!(error.to_string().contains("async"), "{error}");
    }
}

#[test]
fn more_memories_than_any_class_allows_are_refused() {
    let with = |count: usize| {
        let memories = "(memory 0)".repeat(count);
        bytes(&format!(
            "(component (core module $m {memories}) (core instance (instantiate $m)))"
        ))
    };
    let error = refused(with(9));
    assert!(
        matches!(error.kind, LoadErrorKind::TooDemanding(_)),
        "{error}"
    );
    let error = refused(with(101));
    assert!(
        error.to_string().contains("memories count exceeds limit"),
        "{error}"
    );
}
