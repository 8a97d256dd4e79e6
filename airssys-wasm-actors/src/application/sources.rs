//! The sources of a manifest, each checked against the function it feeds.
//!
//! Owns a source's defaults and the shapes a fed function may have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{FunctionType, Surface, WitType};
use toml::Spanned;

use super::options::escaped;
use super::resolving::Resolving;
use crate::address::ActorAddress;
use crate::mailbox::MailboxConfig;
use crate::manifest::{FindingKind, SizeText, SourceFormat, SourceSpec, in_order, suggest};
use crate::reference::function_path;
use crate::source::{Cutting, Feed, Input, Shape, SourcePlan};

/// Items sent and not yet answered: enough to keep every component of a chain busy.
const IN_FLIGHT_DEFAULT: u32 = 64;

/// More would only queue: a mailbox takes 1,000 messages by default.
const IN_FLIGHT_LIMIT: u32 = 10_000;

/// The largest message a mailbox takes by default, less room for the other arguments.
const ITEM_BYTES_DEFAULT: u64 = (1 << 20) - 1024;

/// A source waits longer than a link: its items queue behind one another.
const REPLY_WITHIN_DEFAULT: Duration = Duration::from_secs(30);

pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    surfaces: &BTreeMap<&str, &Surface>,
    inputs: &BTreeMap<String, Input>,
) -> Vec<Arc<SourcePlan>> {
    let mut plans = Vec::new();
    for (name, spec) in in_order(&resolving.spec.tables.sources) {
        let name = name.get_ref();
        let input = input(resolving, spec, inputs.get(name));
        let cutting = cutting(resolving, spec);
        let in_flight = in_flight(resolving, spec);
        let Some(found) = function(resolving, spec, surfaces) else {
            continue;
        };
        // More calls than the mailbox takes would only be refused and sent again, or wait in no order.
        let in_flight = in_flight.min(depth(resolving, spec.to.get_ref()));
        let Some(application) = application else {
            continue;
        };
        let (Ok(address), Ok(to)) = (application.join(name), application.join(spec.to.get_ref()))
        else {
            continue;
        };
        plans.push(Arc::new(SourcePlan {
            address,
            input,
            cutting,
            to,
            feed: Feed {
                function: found.path,
                shape: found.shape,
                error_cases: found.error_cases,
                rejected_case: spec
                    .rejected_case
                    .as_ref()
                    .map(|case| case.get_ref().clone()),
                in_flight_max: usize::try_from(in_flight).unwrap_or(1),
                reply_within: spec
                    .reply_within
                    .map_or(REPLY_WITHIN_DEFAULT, |within| within.0),
            },
        }));
    }
    plans
}

fn input(resolving: &mut Resolving<'_>, spec: &SourceSpec, given: Option<&Input>) -> Input {
    if let Some(given) = given {
        if let Input::File(path) = given
            && !path.exists()
        {
            resolving.find(
                FindingKind::BadOption,
                format!("there is no input file {}", path.display()),
                Some("paths given as input start at the working directory".to_owned()),
            );
        }
        return given.clone();
    }
    let path = resolving.spec.path(spec.file.get_ref());
    if !path.exists() {
        let what = format!("there is no file `{}`", escaped(spec.file.get_ref()));
        let help = format!(
            "looked for {}; `--input FILE` takes its place for one run",
            path.display()
        );
        resolving.find_at(&spec.file, FindingKind::MissingFile, what, Some(help));
    }
    Input::File(path)
}

fn cutting(resolving: &mut Resolving<'_>, spec: &SourceSpec) -> Cutting {
    let items = spec
        .items
        .as_ref()
        .map(|items| items.get_ref().clone())
        .unwrap_or_default();
    if let Some(at) = &spec.items {
        if spec.format != SourceFormat::Json {
            let what = "`items` is for JSON, and this source reads lines".to_owned();
            resolving.find_at(
                at,
                FindingKind::BadValue,
                what,
                Some("take it out, or set `format = \"json\"`".to_owned()),
            );
        } else if !items.is_empty() && !items.starts_with('/') {
            let what = format!("`{}` is not a JSON pointer", escaped(&items));
            resolving.find_at(
                at,
                FindingKind::BadValue,
                what,
                Some(format!("write \"/{}\"", escaped(&items))),
            );
        }
    }
    Cutting {
        format: spec.format,
        items,
        item_bytes_max: item_bytes(resolving, spec),
    }
}

/// The largest item. One that the target's mailbox could never take is refused here, not item by item.
fn item_bytes(resolving: &mut Resolving<'_>, spec: &SourceSpec) -> u64 {
    let target = spec.to.get_ref();
    let mailbox = resolving
        .spec
        .tables
        .components
        .get(target.as_str())
        .and_then(|component| component.mailbox.as_ref());
    let default = MailboxConfig::default();
    let bytes =
        |size: Option<&Spanned<SizeText>>, other| size.map_or(other, |size| size.get_ref().0);
    let message = bytes(
        mailbox.and_then(|mailbox| mailbox.message_bytes.as_ref()),
        default.message_bytes_max,
    );
    let Some(given) = &spec.item_bytes else {
        return message.min(ITEM_BYTES_DEFAULT);
    };
    let item = given.get_ref().0;
    if item > message {
        let what = format!(
            "an item of {item} bytes does not fit the mailbox of `{}`, which takes messages of {message}",
            escaped(target)
        );
        let help = format!(
            "set `message-bytes` of its `mailbox` to {item} at least, or `item-bytes` to {message} at most"
        );
        resolving.find_at(given, FindingKind::BadValue, what, Some(help));
    }
    item
}

fn in_flight(resolving: &mut Resolving<'_>, spec: &SourceSpec) -> u32 {
    let Some(in_flight) = &spec.in_flight else {
        return IN_FLIGHT_DEFAULT;
    };
    let count = *in_flight.get_ref();
    if count == 0 || count > IN_FLIGHT_LIMIT {
        let help = format!(
            "use 1 to {IN_FLIGHT_LIMIT}; the target's mailbox takes {}",
            MailboxConfig::default().depth_max
        );
        resolving.find_at(
            in_flight,
            FindingKind::BadValue,
            format!("{count} calls cannot be in flight"),
            Some(help),
        );
    }
    count
}

/// The depth of a component's mailbox.
fn depth(resolving: &Resolving<'_>, name: &str) -> u32 {
    let mailbox = resolving
        .spec
        .tables
        .components
        .get(name)
        .and_then(|component| component.mailbox.as_ref());
    let depth = mailbox
        .and_then(|mailbox| mailbox.depth.as_ref())
        .map(|depth| *depth.get_ref());
    depth.unwrap_or(MailboxConfig::default().depth_max).max(1)
}

/// The function a source feeds.
struct Found {
    path: String,
    shape: Shape,
    error_cases: Vec<Box<str>>,
}

fn function(
    resolving: &mut Resolving<'_>,
    spec: &SourceSpec,
    surfaces: &BTreeMap<&str, &Surface>,
) -> Option<Found> {
    let target = spec.to.get_ref().as_str();
    if !resolving.is_component(target) {
        let what = format!(
            "the source feeds `{}`, and there is no such component",
            escaped(target)
        );
        let help = suggest(target, "components", resolving.component_names());
        resolving.find_at(&spec.to, FindingKind::UnknownActor, what, Some(help));
        return None;
    }
    let surface = surfaces.get(target)?;
    let export = match surface.export(spec.function.get_ref()) {
        Ok(export) => export,
        Err(error) => {
            resolving.find_at(
                &spec.function,
                FindingKind::UnknownFunction,
                format!("`{target}`: {error}"),
                None,
            );
            return None;
        }
    };
    let (interface, function) = surface.export_function(export)?;
    let Some(shape) = Shape::of(&function.ty) else {
        let what = format!("`{}` of `{target}` is {}", function.name, function.ty);
        let help =
            "a source calls func(number: u32, item: string) or func(item: string), with any result"
                .to_owned();
        resolving.find_at(&spec.function, FindingKind::TypeMismatch, what, Some(help));
        return None;
    };
    let error_cases = error_cases(&function.ty);
    if let Some(case) = &spec.rejected_case
        && !error_cases.iter().any(|known| **known == **case.get_ref())
    {
        let what = format!(
            "`{}` of `{target}` has no error case `{}`",
            function.name,
            escaped(case.get_ref())
        );
        let help = suggest(
            case.get_ref(),
            "error cases",
            error_cases.iter().map(|case| &**case),
        );
        resolving.find_at(case, FindingKind::UnknownFunction, what, Some(help));
        return None;
    }
    Some(Found {
        path: function_path(interface, &function.name),
        shape,
        error_cases,
    })
}

/// The names of the cases of `E` in `result<_, E>`.
pub(crate) fn error_cases(ty: &FunctionType) -> Vec<Box<str>> {
    let Some(WitType::Result {
        err: Some(error), ..
    }) = &ty.result
    else {
        return Vec::new();
    };
    match &**error {
        WitType::Variant(cases) => cases.iter().map(|case| case.name.clone()).collect(),
        WitType::Enum(names) => names.to_vec(),
        _ => Vec::new(),
    }
}
