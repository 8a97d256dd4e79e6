//! Outlines made by hand.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{CapabilityManifest, Digest, Interface, Limits, Surface};

use crate::deployment::outline::*;
use crate::deployment::strategy::RolloutPolicy;
use crate::mailbox::MailboxConfig;
use crate::supervisor::{AutoShutdown, RestartIntensity, RestartPolicy, ShutdownPolicy, Strategy};

const STATE: &str = "package airssys:actor@0.1.0; interface state { snapshot: func() -> result<list<u8>, string>; \
                     restore: func(from-version: string, bytes: list<u8>) -> result<_, string>; }";

/// What takes part in the messaging plane.
pub(super) const MESSAGING: &str =
    "package airssys:messaging@0.1.0; interface timers { cancel: func(timer: u64); }";

pub(super) fn digest(name: &str, bytes: u8) -> Digest {
    Digest::of(format!("{name} {bytes}").as_bytes())
}

/// The interface of a component, by its functions.
fn api(name: &str, functions: &str) -> Vec<Interface> {
    let wit = format!("package app:{name}@0.1.0; interface api {{ {functions} }}");
    Surface::from_wit(&wit).unwrap().exports
}

/// Exports these functions, and imports what is in this WIT.
pub(super) fn surface(name: &str, functions: &str, imports: &str) -> Arc<Surface> {
    let imports = match imports {
        "" => Vec::new(),
        wit => Surface::from_wit(wit).unwrap().exports,
    };
    Arc::new(Surface::new(imports, api(name, functions)))
}

/// A component with one function.
pub(super) fn component(name: &str, bytes: u8) -> ComponentOutline {
    interface(name, bytes, "f: func();")
}

/// A component with these functions.
pub(super) fn interface(name: &str, bytes: u8, functions: &str) -> ComponentOutline {
    ComponentOutline {
        name: name.to_owned(),
        digest: digest(name, bytes),
        version: None,
        surface: surface(name, functions, ""),
        capabilities: CapabilityManifest::default(),
        limits: Limits::default(),
        config: Vec::new(),
        links: Vec::new(),
        monitors: Vec::new(),
        passivation: None,
        mailbox: MailboxConfig::default(),
        replicas: 1,
        running: None,
        autoscale: None,
        tuning: Tuning {
            restart: RestartPolicy::Permanent,
            shutdown: ShutdownPolicy::default(),
            significant: false,
            backoff: None,
            health: None,
            start_within: Duration::from_secs(30),
        },
        rollout: RolloutPolicy::default(),
        stateful: false,
        stateless: false,
        mixed: Vec::new(),
        unsettled: Vec::new(),
    }
}

/// The same with other functions.
pub(super) fn exporting(mut one: ComponentOutline, functions: &str) -> ComponentOutline {
    let mut surface = (*one.surface).clone();
    surface.exports = api(&one.name, functions);
    one.surface = Arc::new(surface);
    one
}

/// A component that calls these functions of another.
pub(super) fn linked(name: &str, bytes: u8, to: &str, functions: &str) -> ComponentOutline {
    let mut one = component(name, bytes);
    link(&mut one, to, functions);
    one
}

pub(super) fn link(one: &mut ComponentOutline, to: &str, functions: &str) {
    let mut surface = (*one.surface).clone();
    surface.imports.extend(api(to, functions));
    one.surface = Arc::new(surface);
    one.links.push(LinkOutline {
        import: format!("app:{to}/api"),
        to: to.to_owned(),
        reply_within: Duration::from_secs(5),
        retry: None,
        error_as: None,
    });
}

/// A component that hears of changes of its configuration, and may read these keys of it.
pub(super) fn hearing(name: &str, reads: &[&str]) -> ComponentOutline {
    let mut one = component(name, 1);
    let mut surface = (*one.surface).clone();
    let wit = "package airssys:config@0.1.0; interface config-changed { \
               on-config-changed: func(changed: list<string>) -> result<_, string>; }";
    let hook = Surface::from_wit(wit).unwrap().exports;
    surface.exports.extend(hook);
    one.surface = Arc::new(surface);
    let reads = reads.iter().map(|text| text.parse().unwrap());
    one.capabilities.config = reads.collect();
    one
}

/// A component that exports its state.
pub(super) fn state(name: &str, bytes: u8) -> ComponentOutline {
    let mut one = component(name, bytes);
    let mut surface = (*one.surface).clone();
    let state = Surface::from_wit(STATE).unwrap().exports;
    surface.exports.extend(state);
    one.surface = Arc::new(surface);
    one
}

pub(super) fn messaging() -> CapabilityManifest {
    serde_json::from_str(r#"{"messaging": {"timers": true}}"#).unwrap()
}

pub(super) fn spawns(name: &str) -> CapabilityManifest {
    serde_json::from_str(&format!(r#"{{"spawn": {{"components": ["{name}"]}}}}"#)).unwrap()
}

pub(super) fn source(name: &str, to: &str, file: &str) -> SourceOutline {
    SourceOutline {
        name: name.to_owned(),
        to: to.to_owned(),
        calls: None,
        words: vec![("file", file.to_owned())],
    }
}

/// A source that calls this function with an item alone.
pub(super) fn calling(mut source: SourceOutline, path: &str) -> SourceOutline {
    source.calls = Some(FedFunction {
        path: path.to_owned(),
        numbered: false,
        error_cases: Vec::new(),
    });
    source.words.push(("function", path.to_owned()));
    source
}

/// An application of these, all under its own supervisor.
pub(super) fn application(components: Vec<ComponentOutline>) -> ApplicationOutline {
    placed(ApplicationOutline {
        components,
        ..ApplicationOutline::nothing("app".parse().unwrap())
    })
}

/// The same with every component under the application's own supervisor, and no other.
pub(super) fn placed(mut application: ApplicationOutline) -> ApplicationOutline {
    let children = application.components.iter();
    let children = children.map(|one| application.name.join(&one.name).unwrap());
    application.supervisors = vec![SupervisorOutline {
        address: application.name.clone(),
        strategy: Strategy::OneForOne,
        intensity: RestartIntensity::default(),
        auto_shutdown: AutoShutdown::Never,
        quarantine_after: None,
        tuning: None,
        children: children.collect(),
        unsettled: Vec::new(),
    }];
    application
}

/// Puts a component under a supervisor of its own.
pub(super) fn add_supervisor(application: &mut ApplicationOutline, name: &str, child: &str) {
    let address = application.name.join(name).unwrap();
    let child = application.name.join(child).unwrap();
    let own = &mut application.supervisors[0];
    own.children.retain(|one| *one != child);
    own.children.push(address.clone());
    let below = SupervisorOutline {
        address,
        children: vec![child],
        tuning: Some(application.components[0].tuning),
        ..own.clone()
    };
    application.supervisors.push(below);
}
