//! One guest for each fault class: the texts and types of wasmtime's that the classifier relies on.

use airssys_wasm::{
    Args, ComponentRef, Fault, FaultClass, InstanceTemplate, Limits, TemplateSpec, Value,
};

use crate::guest::{
    call, core, death, died, engine, linked, returned, run, small, spec, start, template,
};

#[test]
fn each_trap_is_its_own_class() {
    for (body, class) in [
        ("unreachable", FaultClass::Unreachable),
        (
            "(drop (i32.load (i32.const 65536)))",
            FaultClass::MemoryOutOfBounds,
        ),
        (
            "(drop (table.get (i32.const 7)))",
            FaultClass::TableOutOfBounds,
        ),
        (
            "(call_indirect (type $other) (i32.const 1) (i32.const 0))",
            FaultClass::IndirectCall,
        ),
        (
            "(call_indirect (type $go) (i32.const 1))",
            FaultClass::IndirectCallNull,
        ),
        (
            "(call_indirect (type $go) (i32.const 9))",
            FaultClass::TableOutOfBounds,
        ),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            FaultClass::IntegerDivideByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            FaultClass::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            FaultClass::BadConversion,
        ),
        (
            "(drop (i64.trunc_f64_u (f64.const 1e300)))",
            FaultClass::IntegerOverflow,
        ),
        ("(call $recurse)", FaultClass::StackOverflow),
    ] {
        let fault = death(
            &core(&format!(
                "(type $go (func)) (type $other (func (param i32)))
                 (memory 1) (table 2 funcref) (elem (i32.const 0) $go)
                 (func $recurse (call $recurse))
                 (func $go (type $go) {body})
                 (export \"go\" (func $go))"
            )),
            spec(),
        );
        assert_eq!(fault.class, class, "{body}: {fault}");
        assert!(!fault.message.is_empty(), "{body}");
        assert!(
            !fault.backtrace.is_empty() && fault.backtrace.len() <= 20,
            "{fault:?}"
        );
    }
}

#[test]
fn a_backtrace_names_functions_escaped_and_no_addresses() {
    let fault = death(
        &core(
            "(func $_ZN5inner4boom17h0123456789abcdefE unreachable)
             (func $\"evil\\1b[31m\\nframe\" (call $_ZN5inner4boom17h0123456789abcdefE))
             (func (export \"go\") (call $\"evil\\1b[31m\\nframe\"))",
        ),
        spec(),
    );
    let frames: Vec<_> = fault.backtrace.iter().map(ToString::to_string).collect();
    assert_eq!(
        frames,
        [
            "inner::boom",
            "evil\\u{1b}[31m\\nframe",
            "<wasm function 2>"
        ]
    );
    assert!(!format!("{fault:?}").contains("0x"), "{fault:?}");
}

#[test]
fn a_deep_recursion_with_a_host_call_at_every_depth_overflows_the_stack_and_nothing_else() {
    let fault = death(
        r#"(component
             (import "airssys:actor/log@0.1.0" (instance $log
               (type $l (enum "trace" "debug" "info" "warn" "error"))
               (export "level" (type $level (eq $l)))
               (export "log" (func (param "level" $level) (param "message" string)))))
             (core module $libc (memory (export "memory") 1))
             (core instance $libc (instantiate $libc))
             (core func $say (canon lower (func $log "log") (memory $libc "memory")))
             (core module $m
               (import "h" "say" (func $say (param i32 i32 i32)))
               (func $go (export "go") (call $say (i32.const 2) (i32.const 0) (i32.const 4)) (call $go)))
             (core instance $i (instantiate $m (with "h" (instance (export "say" (func $say))))))
             (func (export "go") (canon lift (core func $i "go"))))"#,
        TemplateSpec {
            limits: Limits::default(),
            ..spec()
        },
    );
    assert_eq!(fault.class, FaultClass::StackOverflow, "{fault}");
    assert_eq!(fault.backtrace.len(), 20);
}

#[test]
fn too_many_handles_is_handles() {
    let wat = r#"(component
         (type $r (resource (rep i32)))
         (core func $new (canon resource.new $r))
         (core module $m
           (import "h" "new" (func $new (param i32) (result i32)))
           (func (export "go") (loop (drop (call $new (i32.const 1))) (br 0))))
         (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
         (func (export "go") (canon lift (core func $i "go"))))"#;
    let limits = Limits {
        handles_max: 100,
        cpu_per_call: Limits::default().cpu_per_call,
        ..small()
    };
    let fault = death(wat, TemplateSpec { limits, ..spec() });
    assert_eq!(fault.class, FaultClass::Handles, "{fault}");
}

#[test]
fn too_many_host_resources_is_resources() {
    let wat = r#"(component
         (import "wasi:io/streams@0.2.0" (instance $streams
           (export "output-stream" (type (sub resource)))))
         (alias export $streams "output-stream" (type $os))
         (import "wasi:cli/stdout@0.2.0" (instance $stdout
           (alias outer 1 $os (type $os1))
           (export "output-stream" (type $os2 (eq $os1)))
           (export "get-stdout" (func (result (own $os2))))))
         (core func $get (canon lower (func $stdout "get-stdout")))
         (core module $m
           (import "h" "get" (func $get (result i32)))
           (func (export "go") (loop (drop (call $get)) (br 0))))
         (core instance $i (instantiate $m (with "h" (instance (export "get" (func $get))))))
         (func (export "go") (canon lift (core func $i "go"))))"#;
    let limits = Limits {
        resources_max: 50,
        cpu_per_call: Limits::default().cpu_per_call,
        ..small()
    };
    let fault = death(wat, TemplateSpec { limits, ..spec() });
    assert_eq!(fault.class, FaultClass::Resources, "{fault}");
}

/// A guest that hands `length` bytes at `at` to a linked import.
fn sender(ty: &str, at: u32, length: u32) -> String {
    format!(
        r#"(component
             (import "test:sink/sink" (instance $sink (export "put" (func (param "data" {ty})))))
             (core module $libc (memory (export "memory") 4)
               (data (i32.const 0) "\ff\fe"))
             (core instance $libc (instantiate $libc))
             (core func $put (canon lower (func $sink "put") (memory $libc "memory")))
             (core module $m
               (import "h" "put" (func $put (param i32 i32)))
               (func (export "go") (call $put (i32.const {at}) (i32.const {length}))))
             (core instance $i (instantiate $m (with "h" (instance (export "put" (func $put))))))
             (func (export "go") (canon lift (core func $i "go"))))"#
    )
}

#[test]
fn too_many_bytes_in_one_host_call_is_hostcall_bytes() {
    let limits = Limits {
        hostcall_bytes_max: 100_000,
        ..small()
    };
    for (ty, length) in [
        ("(list u8)", 100_001),
        ("string", 100_001),
        ("(list u32)", 10_000),
    ] {
        let wat = sender(ty, 8, length);
        let fault = death(
            &wat,
            TemplateSpec {
                limits: limits.clone(),
                ..linked("test:sink/sink")
            },
        );
        assert_eq!(fault.class, FaultClass::HostcallBytes, "{ty}: {fault}");
    }
    let inside = sender("(list u8)", 8, 99_000);
    let fault = death(
        &inside,
        TemplateSpec {
            limits,
            ..linked("test:sink/sink")
        },
    );
    assert_eq!(
        fault.class,
        FaultClass::LinkFailed,
        "the call itself went out: {fault}"
    );
}

#[test]
fn an_answer_with_a_bound_of_its_own_is_no_end_and_other_calls_have_their_limit() {
    let wat = r#"(component
      (core module $m
        (memory (export "memory") 4)
        (func (export "go") (result i32)
          (i32.store (i32.const 8) (i32.const 16))
          (i32.store (i32.const 12) (i32.const 200000))
          (i32.const 8)))
      (core instance $i (instantiate $m))
      (func (export "go") (result (list u8)) (canon lift (core func $i "go") (memory $i "memory"))))"#;
    let limits = Limits {
        hostcall_bytes_max: 100_000,
        ..small()
    };
    run(async {
        let template = template(&engine(), wat, TemplateSpec { limits, ..spec() });
        let go = template.surface().export("go").unwrap();
        let instance = start(&template).await;
        let instance = instance.call_bounded(go, 199_999 - 1_000).await;
        let instance = instance.unwrap_err();
        let (instance, answer) = returned(instance.call_bounded(go, 200_000).await.unwrap());
        match answer.into_values().next() {
            Some(Value::Bytes(bytes)) => assert_eq!(bytes.len(), 200_000),
            other => panic!("{other:?}"),
        }
        let fault = died(instance.call(go, Args::new()).await);
        assert_eq!(fault.class, FaultClass::HostcallBytes, "{fault}");
    });
}

#[test]
fn a_broken_abi_is_abi() {
    for (ty, at, length) in [
        ("string", 0, 2),                 // not UTF-8
        ("string", 262_144, 1),           // outside memory
        ("(list u8)", 0xffff_fff0, 0x20), // wraps around
        ("(list u32)", 2, 1),             // unaligned
        ("(list u64)", 0, 0x4000_0000),   // length overflows
    ] {
        let fault = death(&sender(ty, at, length), linked("test:sink/sink"));
        assert_eq!(
            fault.class,
            FaultClass::Abi,
            "{ty} at {at}, {length}: {fault}"
        );
    }
}

#[test]
fn a_call_out_of_post_return_is_cannot_leave() {
    let fault = death(
        r#"(component
             (import "test:sink/sink" (instance $sink (export "put" (func))))
             (core func $put (canon lower (func $sink "put")))
             (core module $m
               (import "h" "put" (func $put))
               (func (export "go"))
               (func (export "post") (call $put)))
             (core instance $i (instantiate $m (with "h" (instance (export "put" (func $put))))))
             (func (export "go") (canon lift (core func $i "go") (post-return (func $i "post")))))"#,
        linked("test:sink/sink"),
    );
    assert_eq!(fault.class, FaultClass::CannotLeave, "{fault}");
}

#[test]
fn entering_oneself_is_cannot_enter() {
    let fault = death(
        r#"(component
             (core module $leaf (func (export "f")))
             (core instance $leaf (instantiate $leaf))
             (func $f (canon lift (core func $leaf "f")))
             (component $child
               (import "f" (func $f))
               (core func $f (canon lower (func $f)))
               (core module $m (import "h" "f" (func $f)) (func (export "g") (call $f)))
               (core instance $i (instantiate $m (with "h" (instance (export "f" (func $f))))))
               (func (export "g") (canon lift (core func $i "g"))))
             (instance $child (instantiate $child (with "f" (func $f))))
             (core func $g (canon lower (func $child "g")))
             (core module $m (import "h" "g" (func $g)) (func (export "go") (call $g)))
             (core instance $i (instantiate $m (with "h" (instance (export "g" (func $g))))))
             (func (export "go") (canon lift (core func $i "go"))))"#,
        spec(),
    );
    assert_eq!(fault.class, FaultClass::CannotEnter, "{fault}");
}

#[test]
fn a_full_pool_has_no_capacity_and_empties_again() {
    run(async {
        let template = template(
            &crate::guest::engine(),
            &core("(func (export \"go\"))"),
            spec(),
        );
        let mut live = Vec::new();
        let fault = loop {
            let outbound = Box::new(airssys_wasm::NoOutbound);
            match template
                .instantiate(crate::guest::identity(), outbound)
                .await
            {
                Ok(instance) => live.push(instance),
                Err(fault) => break fault,
            }
        };
        let full = FaultClass::NoCapacity(airssys_wasm::Resource::Instances);
        assert_eq!(fault.class, full, "{fault}");
        assert_eq!(live.len(), 16);
        live.truncate(8);
        for _ in 0..8 {
            live.push(start(&template).await);
        }
    });
}

#[test]
fn classes_are_shown_in_kebab_case() {
    assert_eq!(FaultClass::Exited(3).to_string(), "exited(3)");
    assert_eq!(FaultClass::CpuDeadline.to_string(), "cpu-deadline");
    assert_eq!(FaultClass::HostcallBytes.to_string(), "hostcall-bytes");
}

/// A component in the text format whose debug information leads back to the text, as a file of that name.
fn with_debug_information(file: &str, wat: &str, style: wat::GenerateDwarf) -> Vec<u8> {
    wat::Parser::new()
        .generate_dwarf(style)
        .parse_str(Some(std::path::Path::new(file)), wat)
        .unwrap()
}

async fn fault_of(engine: &airssys_wasm::Engine, bytes: Vec<u8>, function: &str) -> Fault {
    let from = ComponentRef::Bytes(bytes.into());
    let component = engine.load(&from).unwrap();
    let template = InstanceTemplate::link(&component, spec()).unwrap();
    died(call(&template, start(&template).await, function, ()).await)
}

const TWO_MODULES: &str = r#"(component
  (core module $other
    (func $never (export "never") (nop) (nop) (nop)))
  (core module $m
    (func $inner
      unreachable)
    (func $outer (export "go")
      (call $inner)))
  (core instance (instantiate $other))
  (core instance $i (instantiate $m))
  (func (export "go") (canon lift (core func $i "go"))))"#;

#[tokio::test]
async fn a_component_with_debug_information_has_source_lines() {
    let engine = engine();
    for style in [wat::GenerateDwarf::Lines, wat::GenerateDwarf::Full] {
        let bytes = with_debug_information("src/deep/gu\u{202e}est.wat", TWO_MODULES, style);
        let fault = fault_of(&engine, bytes, "go").await;
        let frames: Vec<_> = fault.backtrace.iter().map(ToString::to_string).collect();
        assert_eq!(
            frames,
            [
                "inner at src/deep/gu\\u{202e}est.wat:6:7",
                "outer at src/deep/gu\\u{202e}est.wat:8:8",
            ]
        );
    }
    // Without it there are names, and no lines.
    let fault = fault_of(&engine, wat::parse_str(TWO_MODULES).unwrap(), "go").await;
    let frames: Vec<_> = fault.backtrace.iter().map(ToString::to_string).collect();
    assert_eq!(frames, ["inner", "outer"]);
}

#[tokio::test]
async fn broken_debug_information_costs_the_lines_and_nothing_else() {
    let engine = engine();
    let whole = with_debug_information("a.wat", TWO_MODULES, wat::GenerateDwarf::Lines);
    let name = b".debug_line";
    let at = whole
        .windows(name.len())
        .rposition(|bytes| bytes == name)
        .unwrap()
        + name.len();
    let end = (at + 120).min(whole.len());
    for place in at..end {
        for value in [0x00, 0x7f, 0xff] {
            let mut broken = whole.clone();
            broken[place] = value;
            // What follows the section may be broken too, and the component is none then.
            let Ok(component) = engine.load(&ComponentRef::Bytes(broken.into())) else {
                continue;
            };
            let template = InstanceTemplate::link(&component, spec()).unwrap();
            let fault = died(call(&template, start(&template).await, "go", ()).await);
            assert_eq!(fault.class, FaultClass::Unreachable);
            assert_eq!(fault.backtrace[0].function, "inner");
        }
    }
}

#[tokio::test]
async fn line_tables_beyond_their_bounds_are_not_read() {
    let engine = engine();
    let section = |bytes: usize| {
        // A unit of DWARF 5 whose header is all that there is, and claims a file name for each byte.
        let length = u32::try_from(bytes).unwrap();
        let mut unit = length.to_le_bytes().to_vec();
        unit.extend([5, 0, 4, 0]);
        unit.extend((length - 8).to_le_bytes());
        unit.resize(bytes + 4, 1);
        unit.iter()
            .map(|byte| format!("\\{byte:02x}"))
            .collect::<String>()
    };
    for bytes in [1_000, 200_000, 5_000_000] {
        let wat = format!(
            r#"(component
              (core module $m
                (func $go (export "go") unreachable)
                (@custom ".debug_line" "{}"))
              (core instance $i (instantiate $m))
              (func (export "go") (canon lift (core func $i "go"))))"#,
            section(bytes)
        );
        let fault = fault_of(&engine, wat::parse_str(&wat).unwrap(), "go").await;
        assert_eq!(fault.backtrace[0].to_string(), "go", "{bytes}");
    }
}

#[tokio::test]
async fn a_fault_says_what_was_used_and_what_the_limits_were() {
    let engine = engine();
    let wat = core("(memory 3) (func (export \"go\") (loop (br 0)))");
    let template = template(&engine, &wat, spec());
    let fault = died(call(&template, start(&template).await, "go", ()).await);
    assert_eq!(fault.class, FaultClass::CpuDeadline);
    let spent = fault.spent.unwrap();
    assert_eq!(spent.held.memory_bytes, 3 * 65_536);
    assert_eq!(spent.memory_bytes_max, 16 * 65_536);
    assert!(spent.cpu > spent.cpu_per_call, "{spent:?}");
    assert_eq!(spent.cpu_per_call, small().cpu_per_call);
    assert_eq!(spent.wall_per_call, small().wall_per_call);
}
