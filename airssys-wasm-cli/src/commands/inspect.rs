//! `airssys inspect`: what a component is, offers and needs.
//!
//! Owns sorting its imports: what the host has (and the grant it takes to use it), and what is left to be linked;
//! and the table of limit classes, with what of the component does not fit each.

mod limits;

use std::process::ExitCode;

use airssys_wasm::{
    Component, ComponentRef, InstanceTemplate, Interface, LimitClass, LinkError, LoadErrorKind,
    Loaded, TemplateSpec,
};
use serde_json::{Value, json};

use super::hosting;
use crate::args::{Format, Globals, Inspect};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::progress::Progress;
use crate::text::{printable, size, time};

pub(super) fn run(globals: &Globals, inspect: &Inspect) -> Result<ExitCode, Failure> {
    let progress = Progress::new(globals.quiet);
    progress.say(format!(
        "loading {}",
        printable(&inspect.file.display().to_string())
    ));
    let engine = hosting::engine(None)?;
    let component = engine
        .load(&ComponentRef::File(inspect.file.clone()))
        .map_err(|error| {
            let kind = match &error.kind {
                LoadErrorKind::Read(_) => FailureKind::Io,
                LoadErrorKind::NotCompiled(error) if !error.is_of_component() => FailureKind::Io,
                _ => FailureKind::Component,
            };
            let told = error.to_string();
            // The engine's messages are "what; what to do".
            match told.split_once("; ") {
                Some((what, help)) => Failure::new(kind, what).hint(help),
                None if inspect.file.is_dir() => {
                    Failure::new(kind, told).hint("it is a directory: name a component in it")
                }
                None => Failure::new(kind, told),
            }
        })?;
    drop(progress);
    let needs = needs(&component);
    match globals.format {
        Format::Text => output::print(&text(
            &inspect.file.display().to_string(),
            &component,
            &needs,
        ))?,
        Format::Json => output::print_json(&json(
            &inspect.file.display().to_string(),
            &component,
            &needs,
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Who answers an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    /// The host, without more ado.
    Host,
    /// The host, if this is in the component's `grants`.
    Granted(&'static str),
    /// The host, which denies every use of it: nothing can be granted yet.
    Denied,
    /// Nobody has to: it declares types and no functions.
    Types,
    /// A link to another component.
    Link,
    /// Nobody: the host has no such interface of its own family.
    Nobody,
}

impl Provider {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Granted(_) => "grant",
            Self::Denied => "denied",
            Self::Types => "types",
            Self::Link => "link",
            Self::Nobody => "nobody",
        }
    }

    fn text(self) -> String {
        match self {
            Self::Host => "from the host, nothing to grant".to_owned(),
            Self::Granted(grant) => format!("from the host, if `grants` has `{grant}`"),
            Self::Denied => "from the host, which denies every use of it".to_owned(),
            Self::Types => "types alone, nothing to provide".to_owned(),
            Self::Link => "to be linked".to_owned(),
            Self::Nobody => "not provided by this host".to_owned(),
        }
    }

    fn grant(self) -> Option<&'static str> {
        match self {
            Self::Granted(grant) => Some(grant),
            _ => None,
        }
    }
}

/// What to write for the grant that the entry points of a host interface ask for. An interface whose
/// functions only use what another one gave asks for nothing.
const GRANTS: &[(&str, &str)] = &[
    ("airssys:actor/log", "log = true"),
    ("airssys:actor/spawn", "spawn = { components = […] }"),
    ("airssys:config/store", "config = […]"),
    ("airssys:messaging/messages", "messaging = { send = […] }"),
    ("airssys:messaging/timers", "messaging = { timers = true }"),
    (
        "airssys:messaging/topics",
        "messaging = { publish = […], subscribe = […] }",
    ),
    ("wasi:cli/environment", "args = […]` or `env = {…}"),
    ("wasi:cli/stderr", "stdio = true"),
    ("wasi:cli/stdout", "stdio = true"),
    ("wasi:clocks/monotonic-clock", "clocks = true"),
    ("wasi:clocks/wall-clock", "clocks = true"),
    ("wasi:config/store", "config = […]"),
    ("wasi:random/insecure", "random = true"),
    ("wasi:random/insecure-seed", "random = true"),
    ("wasi:random/random", "random = true"),
];

/// Interfaces whose entry points no grant opens.
const DENIED: &[&str] = &[
    "wasi:cli/stdin",
    "wasi:filesystem/preopens",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp-create-socket",
];

/// Who answers each import, in the component's order: what linking without links leaves missing is not the host's.
fn needs(component: &Component) -> Vec<Provider> {
    let mut spec = TemplateSpec::new("inspect");
    spec.limits = LimitClass::Trusted.limits();
    let missing = match InstanceTemplate::link(component, spec) {
        Err(LinkError::Missing(missing)) => missing,
        _ => Vec::new(),
    };
    let imports = component.surface().imports.iter().map(|interface| {
        let name = interface.name.unversioned();
        if interface.functions.is_empty() && interface.resources.is_empty() {
            return Provider::Types;
        }
        if missing
            .iter()
            .any(|missing| missing.interface == interface.name.as_str())
        {
            return match interface.name.namespace() {
                Some("wasi" | "airssys") => Provider::Nobody,
                _ => Provider::Link,
            };
        }
        match GRANTS.iter().find(|(known, _)| *known == name) {
            Some((_, grant)) => Provider::Granted(grant),
            None if DENIED.contains(&name) => Provider::Denied,
            None => Provider::Host,
        }
    });
    imports.collect()
}

/// What of the component is known not to fit a class of limits, before it runs.
fn too_much(component: &Component, class: LimitClass) -> Vec<String> {
    let mut spec = TemplateSpec::new("inspect");
    spec.limits = class.limits();
    match InstanceTemplate::link(component, spec) {
        Err(LinkError::ExceedsLimits(findings)) => {
            findings.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    }
}

fn loaded(component: &Component) -> (&'static str, std::time::Duration) {
    match component.loaded() {
        Loaded::Compiled { took } => ("compiled", took),
        Loaded::Cached { took } => ("cached", took),
    }
}

fn text(file: &str, component: &Component, needs: &[Provider]) -> String {
    let (how, took) = loaded(component);
    let how = if how == "cached" {
        "from the cache"
    } else {
        "by compiling"
    };
    let mut text = format!(
        "{}\n{}, {}, loaded {how} in {}\n",
        printable(file),
        component.digest(),
        size(component.size_bytes()),
        time(took)
    );
    let surface = component.surface();
    text.push_str("\nexports\n");
    if surface.exports.is_empty() {
        text.push_str("  nothing\n");
    }
    for interface in &surface.exports {
        functions(&mut text, interface, None);
    }
    text.push_str("\nimports\n");
    if surface.imports.is_empty() {
        text.push_str("  nothing\n");
    }
    for (interface, provider) in surface.imports.iter().zip(needs) {
        functions(&mut text, interface, Some(*provider));
    }
    text.push_str("\nlimits\n");
    let unfit = LimitClass::ALL.map(|class| (class, too_much(component, class)));
    let fits = |class| {
        unfit
            .iter()
            .any(|(one, why)| *one == class && why.is_empty())
    };
    for line in limits::text(fits, output::width().map(|width| width.saturating_sub(2))).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    for (class, why) in unfit.iter().filter(|(_, why)| !why.is_empty()) {
        let why = printable(&why.join("; "));
        text.push_str(&format!("  does not fit {}: {why}\n", class.as_str()));
    }
    text
}

fn functions(text: &mut String, interface: &Interface, provider: Option<Provider>) {
    let name = if interface.name.is_root() {
        "(root)"
    } else {
        interface.name.as_str()
    };
    let provider = provider
        .map(|provider| format!("  — {}", provider.text()))
        .unwrap_or_default();
    text.push_str(&format!("  {}{provider}\n", printable(name)));
    for resource in &interface.resources {
        text.push_str(&format!("    resource {}\n", printable(&resource.name)));
    }
    for function in &interface.functions {
        text.push_str(&format!(
            "    {}: {}\n",
            printable(&function.name),
            printable(&function.ty.to_string())
        ));
    }
}

fn json(file: &str, component: &Component, needs: &[Provider]) -> Value {
    let (how, took) = loaded(component);
    let interface = |interface: &Interface| {
        let functions = interface
            .functions
            .iter()
            .map(|function| json!({ "name": function.name, "type": function.ty.to_string() }))
            .collect::<Vec<_>>();
        let resources = interface.resources.iter().map(|resource| &resource.name);
        let resources = resources.collect::<Vec<_>>();
        json!({ "interface": interface.name.as_str(), "functions": functions, "resources": resources })
    };
    let surface = component.surface();
    let imports = surface.imports.iter().zip(needs).map(|(import, provider)| {
        let mut import = interface(import);
        if let Some(import) = import.as_object_mut() {
            import.insert("provided-by".to_owned(), provider.as_str().into());
            import.insert("grant".to_owned(), provider.grant().into());
        }
        import
    });
    json!({
        "file": file,
        "digest": component.digest().to_string(),
        "size_bytes": component.size_bytes(),
        "loaded": how,
        "load_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "imports": imports.collect::<Vec<_>>(),
        "exports": surface.exports.iter().map(interface).collect::<Vec<_>>(),
        "limits": limits::json(),
        "does-not-fit": LimitClass::ALL
            .into_iter()
            .map(|class| (class.as_str().to_owned(), Value::from(too_much(component, class))))
            .collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use airssys_wasm::host_interfaces;

    use super::*;

    /// What only uses what another interface has given, or gives nothing.
    const FREE: &[&str] = &[
        "airssys:messaging/types",
        "wasi:cli/exit",
        "wasi:cli/terminal-input",
        "wasi:cli/terminal-output",
        "wasi:cli/terminal-stderr",
        "wasi:cli/terminal-stdin",
        "wasi:cli/terminal-stdout",
        "wasi:filesystem/types",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:sockets/instance-network",
        "wasi:sockets/network",
        "wasi:sockets/tcp",
        "wasi:sockets/udp",
    ];

    #[test]
    fn of_every_interface_of_the_host_it_is_known_what_to_grant() {
        let name = |full: &'static str| full.split_once('@').map_or(full, |(name, _)| name);
        let mut there: Vec<_> = host_interfaces().map(name).collect();
        let granted = GRANTS.iter().map(|(name, _)| *name);
        let mut known: Vec<_> = granted.chain(DENIED.iter().chain(FREE).copied()).collect();
        there.sort_unstable();
        known.sort_unstable();
        assert_eq!(there, known);
    }
}
