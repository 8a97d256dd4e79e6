//! Between which bounds a component has replicas, as its manifest says it: checked against what the component is.
//!
//! Owns the findings about `autoscale`, one for each value that cannot be and one for whatever replicas could not be scaled
//! for: what [`System::scale`](crate::System::scale) would refuse is refused here, before anything starts.

use toml::Spanned;

use super::components::{Loaded, STATE};
use super::resolving::Resolving;
use crate::deployment::{Autoscale, AutoscaleError, StateHandling};
use crate::manifest::{AutoscaleSpec, FindingKind};
use crate::supervisor::REPLICAS_MAX;

/// What the manifest says, if it says anything and it can be.
pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
) -> Option<Autoscale> {
    let at = loaded.spec.autoscale.as_ref()?;
    let (table, config) = (at.get_ref(), at.get_ref().autoscale());
    if let Err(error) = config.check() {
        wrong(resolving, name, at, error);
        return None;
    }
    let Autoscale { min, max, .. } = config;
    let mut find = |at: &Spanned<AutoscaleSpec>, what: String, help: &str| {
        let help = Some(help.to_owned());
        resolving.find_at(at, FindingKind::BadValue, what, help);
    };
    if loaded.spec.spawned {
        let what = format!("`{name}` is spawned, and says `autoscale`");
        let help = "others start it as often as they need it: leave it out";
        find(at, what, help);
        return None;
    }
    if max > 1 && loaded.spec.passivate_after.is_some() {
        let what = format!("`{name}` is autoscaled, and replicas do not give up their instances");
        let help = "to have none while it is idle leave `autoscale` out, to have several leave `passivate-after` out";
        find(at, what, help);
    }
    let starts_with = loaded.spec.replicas.as_ref();
    let starts_with = starts_with.map_or(min, |replicas| *replicas.get_ref());
    let surface = loaded.component.surface();
    if max > 1 && starts_with == 1 && surface.owns_resources() {
        let what = format!(
            "`{name}` is autoscaled and starts alone, and owns resources, which end when it becomes several"
        );
        let help = "start it with several: say `min = 2`, or leave `autoscale` out";
        find(at, what, help);
    }
    let exports_state = STATE.iter().any(|path| surface.export(path).is_ok());
    let keeps = loaded
        .spec
        .stateful
        .as_ref()
        .is_some_and(|flag| *flag.get_ref())
        || (exports_state && !loaded.spec.stateless);
    let rollout = loaded.spec.rollout.as_ref();
    let state = rollout.and_then(|table| table.get_ref().state.as_ref());
    let discards = state.is_some_and(|state| *state.get_ref() == StateHandling::Discard);
    if min < max && keeps && !discards {
        let what = format!(
            "`{name}` is autoscaled, and what an instance holds in memory ends with each replica that is one too many"
        );
        let help = "say `stateless = true`, or `state = \"discard\"` in its `rollout` table, if that may be; otherwise leave \
                    `autoscale` out";
        find(at, what, help);
    }
    if let Some(replicas) = &loaded.spec.replicas
        && !(min..=max).contains(replicas.get_ref())
    {
        let place = |key: &Option<Spanned<u32>>| key.as_ref().map(|at| at.span().start);
        let (what, key, place) = match *replicas.get_ref() < min {
            true => ("fewer", format!("at least {min}"), place(&table.min)),
            false => ("more", format!("at most {max}"), place(&table.max)),
        };
        let line = resolving.spec.line(place.unwrap_or(at.span().start));
        let what =
            format!("`{name}` starts with {what} replicas than `autoscale` in line {line} allows");
        let help = format!("say {key}, or leave `replicas` out: it starts with the fewest then");
        resolving.find_at(replicas, FindingKind::BadValue, what, Some(help));
    }
    Some(config)
}

/// One finding, at the value that is to be another.
fn wrong(
    resolving: &mut Resolving<'_>,
    name: &str,
    at: &Spanned<AutoscaleSpec>,
    error: AutoscaleError,
) {
    let table = at.get_ref();
    let Autoscale { min, max, .. } = table.autoscale();
    let start = |place: Option<usize>| place.unwrap_or(at.span().start);
    let number = |key: &Option<Spanned<u32>>| key.as_ref().map(|key| key.span().start);
    let part = |key: &Option<Spanned<f64>>| key.as_ref().map(|key| key.span().start);
    let (place, what, help) = match error {
        AutoscaleError::Bounds if min == 0 => (
            number(&table.min),
            format!("`{name}` cannot have no replicas"),
            "use at least 1; to have none while it is idle say `passivate-after` instead of `autoscale`".to_owned(),
        ),
        AutoscaleError::Bounds if max > REPLICAS_MAX => (
            number(&table.max),
            format!("`{name}` cannot have {max} replicas"),
            format!("use at most {REPLICAS_MAX}"),
        ),
        AutoscaleError::Bounds => (
            number(&table.max).or(number(&table.min)),
            format!("`{name}` is to have at least {min} replicas and at most {max}"),
            "use a `min` of at most `max`".to_owned(),
        ),
        AutoscaleError::Aim => {
            let queue = table.queue_per_replica.as_ref();
            let queue = queue.filter(|count| *count.get_ref() == 0);
            (
                queue.map(|key| key.span().start).or(part(&table.utilisation)),
                format!("`{name}` has an aim of nothing, or of more than there can be"),
                "use a `queue-per-replica` of at least 1, and a `utilisation` above 0 and at most 1".to_owned(),
            )
        }
        AutoscaleError::Tolerance => (
            part(&table.tolerance),
            format!("`{name}` has a tolerance that hides everything, or less than none"),
            "use a `tolerance` of at least 0 and below 1".to_owned(),
        ),
    };
    let finding = crate::manifest::Finding::new(FindingKind::BadValue, what).help(help);
    resolving.find_byte(start(place), finding);
}
