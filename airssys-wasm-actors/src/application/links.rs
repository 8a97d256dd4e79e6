//! The links of one component: each checked against the exports it leads to.
//!
//! Owns the findings about links. A link to nowhere still counts as satisfying its import, so that the import is
//! not found missing as well.

use std::collections::BTreeMap;

use airssys_wasm::{ErrorCarry, LinkMismatch, LinkedImport, Surface, check_link};
use toml::Spanned;

use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use crate::address::ActorAddress;
use crate::link::{Link, REPLY_WITHIN_DEFAULT, Retry};
use crate::manifest::{BreakerSpec, ErrorAs, FindingKind, LinkSpec, suggest};
use crate::route::{BREAKER_WINDOW_MAX, Breaker};

/// One link: what the engine is told, and what the actor is; `None` for a link with a finding.
pub(super) struct Linked {
    pub(super) import: LinkedImport,
    pub(super) link: Option<Link>,
}

pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    name: &str,
    loaded: &Loaded<'_>,
    surfaces: &BTreeMap<&str, &Surface>,
) -> Vec<Linked> {
    let mut linked: Vec<Linked> = Vec::new();
    for spec in &loaded.spec.links {
        let import = spec.import.get_ref();
        let Some(declared) = declared(loaded.component.surface(), import) else {
            let imports = loaded
                .component
                .surface()
                .imports
                .iter()
                .map(|interface| interface.name.as_str());
            let what = format!("`{name}` does not import `{}`", escaped(import));
            let help = Some(suggest(import, "imports", imports));
            resolving.find_at(&spec.import, FindingKind::BadLink, what, help);
            continue;
        };
        if linked
            .iter()
            .any(|known| known.import.interface == declared)
        {
            let what = format!("`{name}` has two links for `{declared}`");
            let help = Some("an import leads to one component; remove one of the two".to_owned());
            resolving.find_at(&spec.import, FindingKind::BadLink, what, help);
            continue;
        }
        let wall = loaded.limits.wall_per_call;
        if let Some(within) = spec.reply_within.filter(|within| within.0 >= wall) {
            let within = within.0;
            let what = format!(
                "the link for `{declared}` waits up to {within:?}, and `{name}` itself ends after {wall:?}"
            );
            let help = "give `reply-within` less than `wall-per-call`, or the caller dies before it is told";
            resolving.find_at(
                &spec.import,
                FindingKind::BadLink,
                what,
                Some(help.to_owned()),
            );
        }
        let breaker = spec.breaker.as_ref().map(|spec| breaker(resolving, spec));
        let fits = to(resolving, name, loaded, surfaces, spec);
        let address = application.and_then(|application| application.join(spec.to.get_ref()).ok());
        let link = match (fits, address) {
            (true, Some(to)) => Some(Link {
                import: import.clone(),
                to,
                reply_within: spec.reply_within.map_or_else(
                    || REPLY_WITHIN_DEFAULT.min(wall * 9 / 10),
                    |within| within.0,
                ),
                retry: spec.retry.map(|retry| Retry {
                    times: retry.times,
                    backoff: retry.backoff.0,
                }),
                breaker,
            }),
            _ => None,
        };
        let error_as = spec.error_as.as_ref().map(|carry| match carry.get_ref() {
            ErrorAs::Text => ErrorCarry::Text,
            ErrorAs::Case(case) => ErrorCarry::Case(case.clone()),
        });
        linked.push(Linked {
            import: LinkedImport {
                interface: declared,
                error_as,
            },
            link,
        });
    }
    linked
}

/// The breaker of a link; the findings are made here.
fn breaker(resolving: &mut Resolving<'_>, spec: &BreakerSpec) -> Breaker {
    let default = Breaker::default();
    let mut number = |given: &Option<Spanned<u32>>, key: &str, least: u32, most, otherwise| {
        let Some(given) = given else { return otherwise };
        let number = *given.get_ref();
        if !(least..=most).contains(&number) {
            let what = format!("a breaker cannot have a `{key}` of {number}");
            let help = format!("use {least} to {most}");
            resolving.find_at(given, FindingKind::BadValue, what, Some(help));
            return otherwise;
        }
        number
    };
    let window = BREAKER_WINDOW_MAX;
    let failures = number(&spec.failures, "failures", 1, window, default.failures);
    let window = number(&spec.window, "window", failures, window, failures);
    let trial = number(&spec.trial, "trial", 1, u32::MAX, default.trial);
    Breaker {
        failures,
        window,
        open_for: spec.open_for.map_or(default.open_for, |text| text.0),
        trial,
    }
}

/// The import as the component names it.
fn declared(surface: &Surface, import: &str) -> Option<String> {
    let named = surface.imported_interface(import).or_else(|| {
        let mut of_that_name = surface
            .imports
            .iter()
            .filter(|interface| interface.name.unversioned() == import);
        of_that_name
            .next()
            .filter(|_| of_that_name.next().is_none())
    });
    named.map(|interface| interface.name.to_string())
}

/// Checks where a link leads; the findings are made here.
fn to(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
    surfaces: &BTreeMap<&str, &Surface>,
    spec: &LinkSpec,
) -> bool {
    let (import, target) = (spec.import.get_ref(), spec.to.get_ref());
    if !resolving.is_component(target) {
        let what = format!(
            "the link of `{name}` for `{import}` leads to `{}`, and there is no such component",
            escaped(target)
        );
        let sources = &resolving.spec.tables.sources;
        let help = if sources.keys().any(|source| source.get_ref() == target) {
            "that is a source, and a source has no exports".to_owned()
        } else {
            suggest(target, "components", resolving.component_names())
        };
        resolving.find_at(&spec.to, FindingKind::UnknownActor, what, Some(help));
        return false;
    }
    // A target whose file cannot be loaded has its own finding.
    let Some(exporter) = surfaces.get(target.as_str()) else {
        return false;
    };
    let Err(mismatch) = check_link(loaded.component.surface(), import, exporter) else {
        return true;
    };
    let kind = match &mismatch {
        LinkMismatch::NotExported { .. } => FindingKind::UnknownFunction,
        LinkMismatch::NotImported { .. } => FindingKind::BadLink,
        _ => FindingKind::TypeMismatch,
    };
    let help = match &mismatch {
        LinkMismatch::NotExported { .. } => "link it to a component that exports the interface",
        LinkMismatch::NotImported { .. } => "name the import as the component does",
        _ => "build both components against one version of the interface's WIT",
    };
    resolving.find_at(
        &spec.import,
        kind,
        format!("`{name}` to `{target}`: {mismatch}"),
        Some(help.to_owned()),
    );
    false
}
