//! Linear memory, tables and instances: what a guest may hold, summed.

use airssys_wasm::{
    CacheLocation, Engine, EngineConfig, FaultClass, InstanceTemplate, Limits, LinkError,
    NoOutbound, Profile, TemplateSpec,
};

use crate::guest::{
    call, component, core, death, died, engine, identity, link_error, returned, run, small, spec,
    start, template,
};

#[test]
fn a_memory_without_pages_has_no_bytes() {
    let fault = death(
        &core("(memory 0) (func (export \"go\") (drop (i32.load8_u (i32.const 0))))"),
        spec(),
    );
    assert_eq!(fault.class, FaultClass::MemoryOutOfBounds);
}

#[test]
fn no_load_reaches_beyond_memory_at_any_width_or_offset() {
    let engine = engine();
    for load in [
        "i32.load8_u",
        "i32.load16_u",
        "i32.load",
        "i64.load",
        "v128.load",
    ] {
        for (address, offset) in [
            (0xffff_ffff_u32, 0_u32),
            (0xffff_ffff, 0xffff_ffff),
            (0, 0xffff_ffff),
            (65_536, 0),
        ] {
            let wat = core(&format!(
                "(memory 1) (func (export \"go\") (drop ({load} offset={offset} (i32.const {address}))))"
            ));
            let fault = run(async {
                let template = template(&engine, &wat, spec());
                died(call(&template, start(&template).await, "go", ()).await)
            });
            assert_eq!(
                fault.class,
                FaultClass::MemoryOutOfBounds,
                "{load} {address}+{offset}"
            );
        }
    }
}

/// In the dense profile a memory has room for 16 MiB, also of who may hold more in all: what is refused is not counted.
#[test]
fn a_memory_that_the_profile_has_no_room_for_is_refused_and_not_counted() {
    run(async {
        let engine = Engine::new(EngineConfig {
            profile: Profile::Dense,
            pool_instances_max: 8,
            cache: CacheLocation::Off,
            ..EngineConfig::default()
        })
        .unwrap();
        let wat = "(component
           (core module $m (memory 1)
             (func (export \"go\") (param i32) (result i32) (memory.grow (local.get 0))))
           (core instance $i (instantiate $m))
           (func (export \"go\") (param \"pages\" u32) (result s32) (canon lift (core func $i \"go\"))))";
        let template = template(&engine, wat, TemplateSpec::new("guest"));
        let mut instance = start(&template).await;
        let mut grown = Vec::new();
        for pages in [320_u32, 320, 320, 320, 65_536, 100, 155, 1] {
            let (left, result) = returned(call(&template, instance, "go", (pages,)).await);
            grown.push(result.into_typed::<(i32,)>().unwrap().0);
            instance = left;
        }
        assert_eq!(grown, [-1, -1, -1, -1, -1, 1, 101, -1]);
        assert_eq!(instance.usage().memory_bytes, 16 << 20);
    });
}

/// Grows each of `memories` memories by a page until refused, and returns the pages they got.
fn grower(memories: usize) -> String {
    let declared: String = (0..memories)
        .map(|at| format!("(memory $m{at} 0)"))
        .collect();
    let loops: String = (0..memories)
        .map(|at| {
            format!(
                "(block $done{at} (loop $more{at}
                   (br_if $done{at} (i32.eq (memory.grow $m{at} (i32.const 1)) (i32.const -1)))
                   (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
                   (br $more{at})))"
            )
        })
        .collect();
    format!(
        "(component
           (core module $m {declared}
             (func (export \"go\") (result i32) (local $pages i32) {loops} (local.get $pages)))
           (core instance $i (instantiate $m))
           (func (export \"go\") (result u32) (canon lift (core func $i \"go\"))))"
    )
}

#[test]
fn memories_share_one_limit() {
    run(async {
        let engine = engine();
        for memories in [1, 8] {
            let template = template(&engine, &grower(memories), spec());
            let (instance, pages) =
                returned(call(&template, start(&template).await, "go", ()).await);
            assert_eq!(
                pages.values(),
                [airssys_wasm::Value::U32(16)],
                "{memories} memories"
            );
            assert_eq!(instance.usage().memory_bytes, 16 * 65_536);
        }
    });
}

#[test]
fn what_an_instance_holds_is_seen_from_outside_until_it_is_gone() {
    let held = |memory_bytes, table_elements| {
        let mut usage = airssys_wasm::Usage::default();
        (usage.memory_bytes, usage.table_elements) = (memory_bytes, table_elements);
        usage
    };
    run(async {
        let engine = engine();
        let template = template(
            &engine,
            &core(
                "(memory 2) (table 30 funcref)
                 (func (export \"go\")
                   (if (i32.eq (memory.size) (i32.const 5)) (then unreachable))
                   (drop (memory.grow (i32.const 3))))",
            ),
            spec(),
        );
        let first = start(&template).await;
        let switch = first.kill_switch();
        assert_eq!(switch.usage(), held(2 * 65_536, 30));
        let (first, _) = returned(call(&template, first, "go", ()).await);
        assert_eq!(switch.usage(), held(5 * 65_536, 30));
        assert_eq!(switch.usage(), first.usage());
        // Another one is another's.
        let second = start(&template).await;
        assert_eq!(second.kill_switch().usage(), held(2 * 65_536, 30));
        assert_eq!(switch.usage(), held(5 * 65_536, 30));
        drop(first);
        assert_eq!(switch.usage(), held(0, 0));
        // A trap leaves nothing behind either.
        let switch = second.kill_switch();
        let (second, _) = returned(call(&template, second, "go", ()).await);
        assert_eq!(switch.usage(), held(5 * 65_536, 30));
        let died = call(&template, second, "go", ()).await;
        assert!(matches!(died, airssys_wasm::CallOutcome::Died(_)));
        assert_eq!(switch.usage(), held(0, 0));
    });
}

#[test]
fn giving_up_after_a_refused_growth_is_memory() {
    let fault = death(
        &core(
            "(memory 1) (func (export \"go\")
               (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable)))",
        ),
        spec(),
    );
    assert_eq!(fault.class, FaultClass::Memory, "{fault}");
    assert!(fault.message.contains("memory-bytes-max"), "{fault}");
}

#[test]
fn a_refused_growth_of_an_earlier_call_is_not_remembered() {
    let wat = "(component
        (core module $m (memory 1)
          (func (export \"grow\") (drop (memory.grow (i32.const 64))))
          (func (export \"go\") unreachable))
        (core instance $i (instantiate $m))
        (func (export \"grow\") (canon lift (core func $i \"grow\")))
        (func (export \"go\") (canon lift (core func $i \"go\"))))";
    run(async {
        let template = template(&engine(), wat, spec());
        let (instance, _) = returned(call(&template, start(&template).await, "grow", ()).await);
        assert_eq!(
            died(call(&template, instance, "go", ()).await).class,
            FaultClass::Unreachable
        );
    });
}

/// A component of `modules` core instances, each with a memory of `pages`.
fn modules(modules: usize, pages: usize) -> String {
    let instances: String = (0..modules)
        .map(|_| "(core instance (instantiate $m))".to_owned())
        .collect();
    format!("(component (core module $m (memory {pages})) {instances})")
}

async fn birth_fault(template: &InstanceTemplate) -> airssys_wasm::Fault {
    template
        .instantiate(identity(), Box::new(NoOutbound))
        .await
        .unwrap_err()
}

#[test]
fn modules_that_each_fit_do_not_fit_together() {
    run(async {
        let template = template(&engine(), &modules(8, 3), spec());
        let fault = birth_fault(&template).await;
        assert_eq!(fault.class, FaultClass::Memory, "{fault}");
        assert!(fault.message.contains("memory-bytes-max"), "{fault}");
    });
}

#[test]
fn more_instances_than_allowed_are_counted_out() {
    run(async {
        let limits = Limits {
            core_instances_max: 3,
            ..small()
        };
        let template = template(&engine(), &modules(4, 0), TemplateSpec { limits, ..spec() });
        let fault = birth_fault(&template).await;
        assert_eq!(fault.class, FaultClass::InstanceLimit, "{fault}");
        assert!(
            fault.message.contains("instance count too high at 4"),
            "{fault}"
        );
    });
}

#[test]
fn an_instance_that_the_host_adds_does_not_count() {
    // What is lifted is exported again by one more core instance.
    let three = "(component (core module $m (func (export \"go\") (result i32) i32.const 7))
        (core instance (instantiate $m)) (core instance (instantiate $m)) (core instance $i (instantiate $m))
        (func (export \"go\") (result u32) (canon lift (core func $i \"go\"))))";
    run(async {
        let with_room_for = |core_instances_max| {
            let limits = Limits {
                core_instances_max,
                ..small()
            };
            template(&engine(), three, TemplateSpec { limits, ..spec() })
        };
        let enough = with_room_for(3);
        let (_, reply) = returned(call(&enough, start(&enough).await, "go", ()).await);
        assert_eq!(reply.values(), [airssys_wasm::Value::U32(7)]);
        let fault = birth_fault(&with_room_for(2)).await;
        assert_eq!(fault.class, FaultClass::InstanceLimit, "{fault}");
    });
}

#[test]
fn what_is_known_before_is_refused_when_linked() {
    let limits = Limits {
        memories_max: 2,
        table_elements_max: 10,
        ..small()
    };
    let wat = "(component
        (core module $m (memory 17)) (core module $t (table 11 funcref))
        (core instance (instantiate $m)) (core instance (instantiate $m)) (core instance (instantiate $m))
        (core instance (instantiate $t)))";
    let LinkError::ExceedsLimits(findings) = link_error(wat, TemplateSpec { limits, ..spec() })
    else {
        panic!("another error");
    };
    let what: Vec<_> = findings
        .iter()
        .map(|finding| (finding.what, finding.found, finding.max))
        .collect();
    assert_eq!(
        what,
        [
            ("memories", 3, 2),
            ("initial bytes of a memory", 17 * 65_536, 16 * 65_536),
            ("initial elements of a table", 11, 10)
        ]
    );
}

#[test]
fn more_memory_than_any_class_may_have_is_refused_when_linked() {
    let limits = Limits {
        memory_bytes_max: 1 << 40,
        ..small()
    };
    let error = link_error("(component)", TemplateSpec { limits, ..spec() });
    assert!(matches!(error, LinkError::ExceedsLimits(_)), "{error}");
}

#[test]
fn tables_share_one_limit_too() {
    let wat = "(component
        (core module $m (table $a 0 funcref) (table $b 0 funcref)
          (func $grow (param i32) (result i32) (local $n i32)
            (loop $more
              (if (i32.ne (table.grow $a (ref.null func) (i32.const 100)) (i32.const -1))
                (then (local.set $n (i32.add (local.get $n) (i32.const 100))) (br $more))))
            (loop $more
              (if (i32.ne (table.grow $b (ref.null func) (i32.const 100)) (i32.const -1))
                (then (local.set $n (i32.add (local.get $n) (i32.const 100))) (br $more))))
            (local.get $n))
          (func (export \"go\") (result i32) (call $grow (i32.const 0))))
        (core instance $i (instantiate $m))
        (func (export \"go\") (result u32) (canon lift (core func $i \"go\"))))";
    run(async {
        let limits = Limits {
            table_elements_max: 1_000,
            ..small()
        };
        let template = template(&engine(), wat, TemplateSpec { limits, ..spec() });
        let (instance, elements) =
            returned(call(&template, start(&template).await, "go", ()).await);
        assert_eq!(elements.values(), [airssys_wasm::Value::U32(1_000)]);
        assert_eq!(instance.usage().table_elements, 1_000);
    });
}

#[test]
fn a_table_of_four_thousand_million_elements_is_refused() {
    let engine = engine();
    let bytes = crate::guest::bytes(
        "(component (core module $m (table 0xffffffff funcref)) (core instance (instantiate $m)))",
    );
    let refused = engine
        .load(&airssys_wasm::ComponentRef::Bytes(bytes.into()))
        .unwrap_err();
    assert!(
        matches!(refused.kind, airssys_wasm::LoadErrorKind::TooDemanding(_)),
        "{refused}"
    );
}

#[test]
fn a_neighbours_secret_is_never_seen_in_a_reused_slot() {
    let wat = "(component
        (core module $m (memory 2) (global $g (mut i64) (i64.const 0)) (table 4 funcref)
          (func $f)
          (elem declare func $f)
          (func (export \"write\")
            (global.set $g (i64.const 0x5ec2e7))
            (table.set (i32.const 3) (ref.func $f))
            (memory.fill (i32.const 0) (i32.const 0x5e) (i32.const 131072)))
          (func (export \"read\") (result i32) (local $at i32) (local $seen i32)
            (loop $more
              (local.set $seen (i32.or (local.get $seen) (i32.load (local.get $at))))
              (local.set $at (i32.add (local.get $at) (i32.const 4)))
              (br_if $more (i32.lt_u (local.get $at) (i32.const 131072))))
            (if (i64.ne (global.get $g) (i64.const 0)) (then (local.set $seen (i32.const 1))))
            (if (i32.eqz (ref.is_null (table.get (i32.const 3)))) (then (local.set $seen (i32.const 2))))
            (local.get $seen)))
        (core instance $i (instantiate $m))
        (func (export \"write\") (canon lift (core func $i \"write\")))
        (func (export \"read\") (result u32) (canon lift (core func $i \"read\"))))";
    run(async {
        let template = template(
            &engine(),
            wat,
            TemplateSpec {
                limits: Limits::default(),
                ..spec()
            },
        );
        for _ in 0..200 {
            let (instance, seen) =
                returned(call(&template, start(&template).await, "read", ()).await);
            assert_eq!(seen.values(), [airssys_wasm::Value::U32(0)]);
            let (instance, _) = returned(call(&template, instance, "write", ()).await);
            drop(instance);
        }
    });
    drop(component(&engine(), "(component)"));
}
