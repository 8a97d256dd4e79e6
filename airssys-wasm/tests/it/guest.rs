//! Engines, guests and calls for the tests.

use std::time::Duration;

use airssys_wasm::{
    Args, AuditConfig, CacheLocation, CallOutcome, CapabilityManifest, Component, ComponentRef,
    Engine, EngineConfig, Fault, Grants, Instance, InstanceIdentity, InstanceTemplate, IntoArgs,
    Limits, LinkError, LinkedImport, NoOutbound, Outbound, Policy, TemplateSpec, grant,
};

/// A small engine of the test's own: 16 instances, no cache.
pub(crate) fn engine() -> Engine {
    engine_with(AuditConfig::default(), CacheLocation::Off)
}

pub(crate) fn engine_with(audit: AuditConfig, cache: CacheLocation) -> Engine {
    Engine::new(EngineConfig {
        pool_instances_max: 16,
        cache,
        audit,
        ..EngineConfig::default()
    })
    .unwrap()
}

pub(crate) fn bytes(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"))
}

pub(crate) fn component(engine: &Engine, wat: &str) -> Component {
    engine
        .load(&ComponentRef::Bytes(bytes(wat).into()))
        .unwrap()
}

/// Limits that are reached quickly.
pub(crate) fn small() -> Limits {
    Limits {
        cpu_per_call: Duration::from_millis(20),
        memory_bytes_max: 16 * 65_536,
        ..Limits::default()
    }
}

pub(crate) fn spec() -> TemplateSpec {
    TemplateSpec {
        name: "guest".to_owned(),
        grants: Grants::none(),
        limits: small(),
        links: Vec::new(),
    }
}

pub(crate) fn granted(asked: &CapabilityManifest) -> TemplateSpec {
    TemplateSpec {
        grants: grant(asked, &Policy::permissive()).unwrap(),
        ..spec()
    }
}

pub(crate) fn linked(interface: &str) -> TemplateSpec {
    let link = LinkedImport {
        interface: interface.to_owned(),
        error_as: None,
    };
    TemplateSpec {
        links: vec![link],
        ..spec()
    }
}

pub(crate) fn template(engine: &Engine, wat: &str, spec: TemplateSpec) -> InstanceTemplate {
    InstanceTemplate::link(&component(engine, wat), spec).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn link_error(wat: &str, spec: TemplateSpec) -> LinkError {
    InstanceTemplate::link(&component(&engine(), wat), spec).unwrap_err()
}

pub(crate) fn identity() -> InstanceIdentity {
    InstanceIdentity {
        address: "test/guest".into(),
        generation: 1,
    }
}

pub(crate) async fn start(template: &InstanceTemplate) -> Instance {
    start_with(template, NoOutbound).await
}

pub(crate) async fn start_with(template: &InstanceTemplate, outbound: impl Outbound) -> Instance {
    template
        .instantiate(identity(), Box::new(outbound))
        .await
        .unwrap()
}

pub(crate) async fn call(
    template: &InstanceTemplate,
    instance: Instance,
    function: &str,
    args: impl IntoArgs,
) -> CallOutcome {
    let export = template.surface().export(function).unwrap();
    instance.call(export, args.into_args()).await
}

pub(crate) fn returned(outcome: CallOutcome) -> (Instance, Args) {
    match outcome {
        CallOutcome::Returned(instance, args) => (instance, args),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn died(outcome: CallOutcome) -> Fault {
    match outcome {
        CallOutcome::Died(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// Loads, links, starts, calls `go` once, and returns how it died.
pub(crate) fn death(wat: &str, spec: TemplateSpec) -> Fault {
    run(async {
        let template = template(&engine(), wat, spec);
        let instance = start(&template).await;
        died(call(&template, instance, "go", ()).await)
    })
}

/// A component of one core module whose function `go` it exports.
pub(crate) fn core(module: &str) -> String {
    format!(
        "(component
           (core module $m {module})
           (core instance $i (instantiate $m))
           (func (export \"go\") (canon lift (core func $i \"go\"))))"
    )
}

/// Runs a future on one thread, with the real clock.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    runtime(false).block_on(future)
}

/// Runs a future on one thread, with a clock that jumps to the next timer when nothing else is to be done.
pub(crate) fn run_paused<T>(future: impl Future<Output = T>) -> T {
    runtime(true).block_on(future)
}

fn runtime(paused: bool) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(paused)
        .build()
        .unwrap()
}
