//! Instances are refused before anything runs out, what lives goes on, and there is room again afterwards.
//!
//! Tests that change the limits of their process, or that fill it, run in a process of their own.

use std::process::Command;

use airssys_wasm::{
    Allocation, CacheLocation, CapacityConfig, Engine, EngineConfig, Fault, FaultClass, Instance,
    InstanceTemplate, NoOutbound, Resource,
};
use rustix::process::{Resource as Limited, Rlimit, getrlimit, setrlimit};

use crate::guest::{call, identity, returned, run, spec, template};

/// A memory with an initial image, which is all a guest can need of mappings.
const GUEST: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 0) "image")
    (func (export "go") (i32.store8 (i32.const 70) (i32.const 1))))
  (core instance $i (instantiate $m))
  (func (export "go") (canon lift (core func $i "go"))))"#;

/// Set in the process of one test.
const ALONE: &str = "AIRSSYS_TEST_ALONE";

/// Runs `body` in a process that runs nothing else.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{text}\n{errors}", out.status);
    assert!(text.contains("1 passed"), "{text}");
}

fn engine(pool_instances_max: u32, capacity: CapacityConfig) -> Engine {
    Engine::new(EngineConfig {
        pool_instances_max,
        capacity,
        cache: CacheLocation::Off,
        ..EngineConfig::default()
    })
    .unwrap()
}

async fn start(template: &InstanceTemplate) -> Result<Instance, Fault> {
    template.instantiate(identity(), Box::new(NoOutbound)).await
}

async fn called(template: &InstanceTemplate, instance: Instance) -> Instance {
    returned(call(template, instance, "go", ()).await).0
}

/// Fills the engine, shows that what lives still answers, and that half of it gone leaves room for as many.
fn fill(engine: &Engine, resource: Resource) -> usize {
    run(async {
        let template = template(engine, GUEST, spec());
        let mut live = Vec::new();
        let fault = loop {
            match start(&template).await {
                // The half that is called is the half whose stacks are made.
                Ok(instance) if live.len() % 2 == 0 => live.push(called(&template, instance).await),
                Ok(instance) => live.push(instance),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault.class, FaultClass::NoCapacity(resource), "{fault}");
        let full = live.len();
        assert!(full > 2, "{fault}");
        let mut again = Vec::with_capacity(full);
        for instance in live {
            again.push(called(&template, instance).await);
        }
        again.truncate(full / 2);
        while again.len() < full / 2 * 2 {
            let instance = start(&template).await.unwrap();
            again.push(called(&template, instance).await);
        }
        full
    })
}

#[test]
fn an_engines_own_limits_hold() {
    let instances = CapacityConfig {
        instances_max: Some(20),
        ..CapacityConfig::default()
    };
    for pool in [0, 100] {
        assert_eq!(fill(&engine(pool, instances), Resource::Instances), 20);
    }
    let mappings = CapacityConfig {
        mappings_max: Some(50),
        ..CapacityConfig::default()
    };
    // Three for the memory; without a pool four, and two for the stack.
    assert_eq!(fill(&engine(0, mappings), Resource::Mappings), 8);
    assert_eq!(fill(&engine(100, mappings), Resource::Mappings), 16);
}

#[test]
fn a_pool_is_full_when_it_is() {
    assert_eq!(
        fill(&engine(10, CapacityConfig::default()), Resource::Instances),
        10
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_filled_with_mappings_and_lives() {
    alone(
        "capacity::the_process_is_filled_with_mappings_and_lives",
        || {
            let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
            let limit: u64 = limit.trim().parse().unwrap();
            // Where the kernel allows very many, only a part of them, to be done in seconds.
            let capacity = CapacityConfig {
                mappings_reserve: limit.saturating_sub(62_000).max(3_000),
                ..CapacityConfig::default()
            };
            let full = fill(&engine(0, capacity), Resource::Mappings);
            assert!(full > 8_000, "{full}");
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_address_space_refuses_instances() {
    alone(
        "capacity::a_limit_of_address_space_refuses_instances",
        || {
            let limit = Rlimit {
                current: Some(100 << 30),
                maximum: getrlimit(Limited::As).maximum,
            };
            setrlimit(Limited::As, limit).unwrap();
            let engine = engine(0, CapacityConfig::default());
            let full = fill(&engine, Resource::AddressSpace);
            assert!((15..25).contains(&full), "{full}");
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_are_kept_for_what_serves() {
    alone("capacity::descriptors_are_kept_for_what_serves", || {
        let set = |current: u64| {
            let limit = Rlimit {
                current: Some(current),
                maximum: getrlimit(Limited::Nofile).maximum,
            };
            setrlimit(Limited::Nofile, limit).unwrap();
        };
        let engine = engine(0, CapacityConfig::default());
        let template = template(&engine, GUEST, spec());
        set(40);
        let fault = run(start(&template)).unwrap_err();
        let none = FaultClass::NoCapacity(Resource::Descriptors);
        assert_eq!(fault.class, none, "{fault}");
        assert_eq!(fault.class.as_str(), "no-capacity");
        assert!(fault.message.contains("airssys doctor"), "{fault}");
        set(1_000);
        let instance = run(start(&template)).unwrap();
        assert_eq!(engine.instances(), 1);
        run(called(&template, instance));
    });
}

#[test]
fn a_pool_the_machine_has_cut_says_so() {
    let engine = engine(4, CapacityConfig::default());
    assert!(matches!(engine.allocation(), Allocation::OnDemand { .. }));
    assert_eq!(engine.instances(), 0);
}
