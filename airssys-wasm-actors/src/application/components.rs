//! One component of a manifest: its file, limits, grants, configuration and mailbox.
//!
//! Owns loading each file once, and the linking that says what is still missing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use airssys_wasm::{
    Component, ComponentRef, Grants, InstanceTemplate, Limits, LinkError, LoadErrorKind, Surface,
    TemplateSpec, grant,
};
use toml::Spanned;

use super::ResolvedComponent;
use super::links::Linked;
use super::options::escaped;
use super::resolving::Resolving;
use super::{autoscale, configuration, rollout, supervisors, version};
use crate::address::ActorAddress;
use crate::component::Hooks;
use crate::deployment::ComponentOutline;
use crate::health::HealthCheck;
use crate::mailbox::MailboxConfig;
use crate::manifest::{ComponentSpec, FindingKind, HealthSpec, MailboxSpec, SizeText, suggest};
use crate::passivation::Passivation;
use crate::supervisor::{ChildSpec, REPLICAS_MAX};

const DOWN: &str = "airssys:signals/down#handle-down";
pub(super) const STATE: [&str; 2] = [
    "airssys:actor/state#snapshot",
    "airssys:actor/state#restore",
];

/// A component whose file could be loaded.
pub(super) struct Loaded<'a> {
    pub(super) spec: &'a ComponentSpec,
    pub(super) file: PathBuf,
    pub(super) component: Component,
    pub(super) limits: Limits,
    pub(super) grants: Grants,
}

/// Loads the file, and reads limits and grants; their faults are found even if the file cannot be loaded.
pub(super) fn load<'a>(
    resolving: &mut Resolving<'a>,
    name: &str,
    spec: &'a ComponentSpec,
) -> Option<Loaded<'a>> {
    let limits = spec.limits.limits().unwrap_or_else(|wrong| {
        for (byte, finding) in wrong {
            resolving.find_byte(byte, finding);
        }
        Limits::default()
    });
    let grants = grants(resolving, spec);
    let artifact = resolving.options.artifacts.get(name).cloned();
    let file = artifact.unwrap_or_else(|| resolving.spec.path(spec.file.get_ref()));
    let component = match resolving.files.get(&file) {
        Some(known) => known.clone(),
        None => {
            let component = load_file(resolving, &spec.file, &file);
            resolving.files.insert(file.clone(), component.clone());
            component
        }
    };
    Some(Loaded {
        spec,
        file,
        component: component?,
        limits,
        grants,
    })
}

fn grants(resolving: &mut Resolving<'_>, spec: &ComponentSpec) -> Grants {
    let Some(asked) = &spec.grants else {
        return Grants::none();
    };
    match grant(asked.get_ref(), &resolving.options.policy) {
        Ok(grants) => grants,
        Err(refused) => {
            for refusal in refused.refusals {
                let what = format!("the policy does not allow `{}`", refusal.asked);
                let help = format!("to allow it, add {} to the policy", refusal.add);
                resolving.find_at(asked, FindingKind::GrantRefused, what, Some(help));
            }
            Grants::none()
        }
    }
}

fn load_file(
    resolving: &mut Resolving<'_>,
    named: &Spanned<String>,
    file: &std::path::Path,
) -> Option<Component> {
    let error = match resolving.engine.load(&ComponentRef::File(file.to_owned())) {
        Ok(component) => return Some(component),
        Err(error) => error.kind,
    };
    let name = escaped(named.get_ref());
    match error {
        LoadErrorKind::Read(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is no file `{name}`");
            let help = format!(
                "paths start at the manifest's directory: looked for {}",
                file.display()
            );
            resolving.find_at(named, FindingKind::MissingFile, what, Some(help));
        }
        LoadErrorKind::Read(error) => {
            resolving.find_at(
                named,
                FindingKind::MissingFile,
                format!("`{name}` cannot be read: {error}"),
                None,
            );
        }
        other => {
            let kind = match &other {
                LoadErrorKind::NotCompiled(error) if !error.is_of_component() => {
                    FindingKind::CompilerFailed
                }
                _ => FindingKind::BadComponent,
            };
            let text = other.to_string();
            // The engine's messages are "what; what to do".
            let (what, help) = match text.split_once("; ") {
                Some((what, help)) => (what.to_owned(), Some(help.to_owned())),
                None => (text, None),
            };
            resolving.find_at(named, kind, format!("`{name}` {what}"), help);
        }
    }
    None
}

/// Makes the child of a component, and finds what its links and grants leave missing.
pub(super) fn link(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    name: &str,
    loaded: &Loaded<'_>,
    linked: Vec<Linked>,
    surfaces: &BTreeMap<&str, &Surface>,
    set: Option<&BTreeMap<String, String>>,
) -> Option<ResolvedComponent> {
    let config = configuration::resolve(resolving, name, loaded, set);
    let mailbox = mailbox(resolving, loaded.spec.mailbox.as_ref());
    monitors(resolving, name, loaded);
    let autoscale = autoscale::resolve(resolving, name, loaded);
    let fewest = autoscale.map_or(1, |autoscale| autoscale.min);
    let replicas = replicas(resolving, loaded.spec.replicas.as_ref(), fewest);
    let passivation = passivation(resolving, name, loaded);
    supervisors::check_backoff(resolving, loaded.spec.backoff.as_ref());
    let policy = rollout::resolve(resolving, name, loaded);
    let version = version::resolve(resolving, name, loaded);
    let carries: Vec<_> = linked
        .iter()
        .map(|linked| linked.import.error_as.clone())
        .collect();
    let (imports, links): (Vec<_>, Vec<_>) = linked
        .into_iter()
        .map(|linked| (linked.import, linked.link))
        .unzip();
    let template = TemplateSpec {
        name: name.to_owned(),
        grants: loaded.grants.clone(),
        limits: loaded.limits.clone(),
        links: imports,
    };
    let template = match InstanceTemplate::link(&loaded.component, template) {
        Ok(template) => template,
        Err(error) => {
            unlinkable(resolving, name, loaded, surfaces, error);
            return None;
        }
    };
    let address = application?.join(name).ok()?;
    let mut child = ChildSpec::component(address, template).configuration(config.configuration());
    for link in links {
        child = child.link(link?);
    }
    for monitored in &loaded.spec.monitors {
        let address = application?.join(monitored.get_ref()).ok()?;
        child = child.monitor(address);
    }
    child.restart = loaded.spec.restart.unwrap_or(child.restart);
    child.shutdown = loaded.spec.shutdown.unwrap_or(child.shutdown);
    child.significant = loaded
        .spec
        .significant
        .as_ref()
        .is_some_and(|flag| *flag.get_ref());
    child.backoff = loaded
        .spec
        .backoff
        .as_ref()
        .map(|spec| supervisors::backoff(spec.get_ref()));
    if replicas == 1
        && autoscale.is_none_or(|autoscale| autoscale.max == 1)
        && let Some(health) = &loaded.spec.health
        && let Some(after) = &health.out_of_rotation_after
    {
        let what = format!("`{name}` has no other replicas to take its place in rotation");
        let help = "give it `replicas`, or leave this out".to_owned();
        resolving.find_at(after, FindingKind::BadValue, what, Some(help));
    }
    let asked = loaded.spec.health.as_ref();
    child.health = asked.map(|asked| health(resolving, asked));
    if let Some(within) = &loaded.spec.start_within {
        child.start_within = within.0;
    }
    child.mailbox = mailbox;
    child.replicas = replicas;
    if let Some(passivation) = passivation {
        child = child.passivate(passivation);
    }
    let asked = loaded.spec.grants.as_ref();
    let outline = ComponentOutline {
        version,
        capabilities: asked
            .map(|asked| asked.get_ref().clone())
            .unwrap_or_default(),
        rollout: policy,
        autoscale,
        stateful: loaded
            .spec
            .stateful
            .as_ref()
            .is_some_and(|flag| *flag.get_ref()),
        stateless: loaded.spec.stateless,
        ..ComponentOutline::of(name, &loaded.component, &loaded.limits, &child, &carries)
    };
    Some(ResolvedComponent {
        name: name.to_owned(),
        file: loaded.file.clone(),
        component: loaded.component.clone(),
        grants: loaded.grants.names(),
        child,
        config: Arc::new(config),
        outline: Arc::new(outline),
    })
}

/// Turns what the engine says into findings, one for each thing to change.
fn unlinkable(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
    surfaces: &BTreeMap<&str, &Surface>,
    error: LinkError,
) {
    let file = &loaded.spec.file;
    match error {
        LinkError::Missing(imports) => {
            for import in imports {
                let interface = &import.interface;
                let what = format!(
                    "`{name}` imports `{interface}` ({}), and nothing provides it",
                    import.functions.join(", ")
                );
                let exporter = surfaces
                    .iter()
                    .find(|(_, surface)| surface.exported_interface(interface).is_some());
                let help = match exporter {
                    Some((to, _)) => format!(
                        "`{to}` exports it: add `{{ import = \"{interface}\", to = \"{to}\" }}` to `links` of \
                         `[components.{name}]`"
                    ),
                    None => import.remedy,
                };
                resolving.find_at(file, FindingKind::MissingImport, what, Some(help));
            }
        }
        LinkError::Carry {
            interface,
            functions,
        } => {
            let spec = loaded
                .spec
                .links
                .iter()
                .find(|link| interface.starts_with(link.import.get_ref().as_str()));
            for function in functions {
                let what = format!(
                    "the link of `{name}` for `{interface}` cannot tell failures as it says: {function}"
                );
                let help = "name a case with a `string` or no payload, or leave `error-as` out: then the guest traps".to_owned();
                match spec.and_then(|spec| spec.error_as.as_ref()) {
                    Some(at) => resolving.find_at(at, FindingKind::TypeMismatch, what, Some(help)),
                    None => resolving.find_at(file, FindingKind::TypeMismatch, what, Some(help)),
                }
            }
        }
        LinkError::ExceedsLimits(findings) => {
            for finding in findings {
                let what = format!("`{name}` does not fit its limits: {finding}");
                let help = "choose a larger class, or raise that row in `limits`".to_owned();
                resolving.find_at(file, FindingKind::BadValue, what, Some(help));
            }
        }
        other => resolving.find_at(
            file,
            FindingKind::TypeMismatch,
            format!("`{name}`: {other}"),
            None,
        ),
    }
}

/// What is monitored has to be there, and somebody has to listen.
fn monitors(resolving: &mut Resolving<'_>, name: &str, loaded: &Loaded<'_>) {
    for monitored in &loaded.spec.monitors {
        let whom = escaped(monitored.get_ref());
        if !resolving.is_component(monitored.get_ref()) {
            let what = format!("`{name}` monitors `{whom}`, and there is no such component");
            let help = suggest(
                monitored.get_ref(),
                "components",
                resolving.component_names(),
            );
            resolving.find_at(monitored, FindingKind::UnknownActor, what, Some(help));
        }
        if loaded.component.surface().export(DOWN).is_err() {
            let what =
                format!("`{name}` monitors `{whom}`, and does not export `airssys:signals/down`");
            let help =
                "nothing would be told: take it out, or let the component export that interface";
            let help = Some(help.to_owned());
            resolving.find_at(monitored, FindingKind::UnknownFunction, what, help);
        }
    }
}

/// What a manifest says of how it is asked how it is.
fn health(resolving: &mut Resolving<'_>, spec: &HealthSpec) -> HealthCheck {
    for (name, count) in [
        ("threshold", &spec.threshold),
        ("out-of-rotation-after", &spec.out_of_rotation_after),
    ] {
        if let Some(count) = count.as_ref().filter(|count| *count.get_ref() == 0) {
            let what = format!("`{name}` counts failed answers, and cannot be 0");
            let help = Some("use 1 at least".to_owned());
            resolving.find_at(count, FindingKind::BadValue, what, help);
        }
    }
    let default = HealthCheck::default();
    HealthCheck {
        interval: spec
            .interval
            .as_ref()
            .map_or(default.interval, |text| text.0),
        timeout: spec.timeout.as_ref().map_or(default.timeout, |text| text.0),
        threshold: spec
            .threshold
            .as_ref()
            .map_or(default.threshold, |threshold| *threshold.get_ref()),
        out_of_rotation_after: spec
            .out_of_rotation_after
            .as_ref()
            .map(|after| *after.get_ref()),
    }
}

fn replicas(resolving: &mut Resolving<'_>, asked: Option<&Spanned<u32>>, fewest: u32) -> u32 {
    let Some(asked) = asked else { return fewest };
    let replicas = *asked.get_ref();
    if replicas == 0 || replicas > REPLICAS_MAX {
        let what = format!("a component has 1 to {REPLICAS_MAX} replicas, and not {replicas}");
        let help = match replicas {
            0 => format!("use 1 to {REPLICAS_MAX}, or leave the component out if none is to run"),
            _ => format!("use 1 to {REPLICAS_MAX}"),
        };
        resolving.find_at(asked, FindingKind::BadValue, what, Some(help));
        return 1;
    }
    replicas
}

/// When it gives up its instance, if there is a way to bring it back.
fn passivation(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
) -> Option<Passivation> {
    let after = loaded.spec.passivate_after.as_ref()?;
    let stateless = loaded.spec.stateless;
    let surface = loaded.component.surface();
    if !stateless && STATE.iter().any(|path| surface.export(path).is_err()) {
        let what = format!(
            "`{name}` is to give up its instance when idle, and does not export `airssys:actor/state`"
        );
        let help = "let the component export that interface, or say `stateless = true`".to_owned();
        resolving.find_at(after, FindingKind::UnknownFunction, what, Some(help));
    }
    if Hooks::of(surface).has_messages() {
        let what = format!(
            "`{name}` takes part in the messaging plane, or spawns, and keeps its instance"
        );
        let help = "leave out `passivate-after`: what it holds there would end with its instance";
        resolving.find_at(after, FindingKind::BadValue, what, Some(help.to_owned()));
    }
    if loaded
        .spec
        .replicas
        .as_ref()
        .is_some_and(|replicas| *replicas.get_ref() > 1)
    {
        let what = format!("`{name}` has replicas, which do not give up their instances");
        let help = "leave out `passivate-after`, or `replicas`".to_owned();
        resolving.find_at(after, FindingKind::BadValue, what, Some(help));
    }
    Some(Passivation {
        stateless,
        ..Passivation::new(after.get_ref().0)
    })
}

fn mailbox(resolving: &mut Resolving<'_>, spec: Option<&MailboxSpec>) -> MailboxConfig {
    let mut config = MailboxConfig::default();
    let Some(spec) = spec else { return config };
    config.strategy = spec.strategy;
    if let Some(depth) = &spec.depth {
        config.depth_max = *depth.get_ref();
        if config.depth_max == 0 || config.depth_max > MailboxConfig::DEPTH_LIMIT {
            let help = format!("use 1 to {}", MailboxConfig::DEPTH_LIMIT);
            resolving.find_at(
                depth,
                FindingKind::BadValue,
                "a mailbox of that depth cannot be".to_owned(),
                Some(help),
            );
        }
    }
    let size = |resolving: &mut Resolving<'_>, text: &Option<Spanned<SizeText>>, default: u64| {
        let Some(text) = text else { return default };
        let bytes = text.get_ref().0;
        if bytes > MailboxConfig::BYTES_LIMIT {
            let help = format!("use at most {} MiB", MailboxConfig::BYTES_LIMIT >> 20);
            resolving.find_at(
                text,
                FindingKind::BadValue,
                "a mailbox of that size cannot be".to_owned(),
                Some(help),
            );
        }
        bytes
    };
    config.bytes_max = size(resolving, &spec.bytes, config.bytes_max);
    config.message_bytes_max = size(resolving, &spec.message_bytes, config.message_bytes_max);
    if let Some(text) = &spec.message_bytes
        && config.message_bytes_max > config.bytes_max
    {
        let bytes = config.bytes_max;
        let what = format!("no message of that size fits a mailbox of {bytes} bytes");
        let help = "raise `bytes` too, or lower `message-bytes`".to_owned();
        resolving.find_at(text, FindingKind::BadValue, what, Some(help));
    }
    config
}
