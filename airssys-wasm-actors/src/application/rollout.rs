//! How a component is replaced, as its manifest says it: checked against what the component is.
//!
//! Owns the findings about `rollout` and `stateful`. A strategy is checked when the application is resolved, not
//! when it is first needed: a canary that cannot be is found by `airssys check`.

use std::collections::BTreeSet;

use airssys_wasm::Surface;

use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use crate::deployment::{Nature, RolloutPolicy, StateHandling, StrategyError};
use crate::manifest::{Finding, FindingKind, RolloutSpec, suggest};

/// What the manifest says of it, or what holds if it says nothing.
pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
) -> RolloutPolicy {
    let spec = loaded.spec;
    if let Some(stateful) = spec.stateful.as_ref().filter(|flag| *flag.get_ref())
        && spec.stateless
    {
        let what = format!("`{name}` is both stateful and stateless");
        let help = "leave out one of the two".to_owned();
        resolving.find_at(stateful, FindingKind::BadValue, what, Some(help));
    }
    let Some(table) = &spec.rollout else {
        return RolloutPolicy::default();
    };
    if spec.spawned {
        let what = format!("`{name}` is spawned, and says `rollout`");
        let help = "a new one of it is what is spawned next, and the others end with who spawned them: leave it out";
        resolving.find_at(table, FindingKind::BadValue, what, Some(help.to_owned()));
    }
    let (byte, table) = (table.span().start, table.get_ref());
    let nature = Nature::of(loaded.component.surface(), !spec.links.is_empty());
    let mut policy = RolloutPolicy::default();
    let wrong = match table.parts().build() {
        Ok(strategy) => {
            let unfit = strategy.unfit(nature);
            policy.strategy = strategy;
            unfit
        }
        Err(wrong) => wrong,
    };
    for StrategyError { part, what, help } in wrong {
        let finding = Finding::new(FindingKind::BadValue, format!("`{name}`: {what}")).help(help);
        resolving.find_byte(table.place(part).unwrap_or(byte), finding);
    }
    sticky(resolving, name, loaded.component.surface(), table);
    if let Some(state) = &table.state {
        policy.state = Some(*state.get_ref());
        if *state.get_ref() == StateHandling::HandOver && !nature.has_state {
            let what = format!(
                "the state of `{name}` is to be handed over, and it does not export `airssys:actor/state`"
            );
            let help = "let the component export that interface, or say `state = \"discard\"`";
            let help = Some(help.to_owned());
            resolving.find_at(state, FindingKind::UnknownFunction, what, help);
        }
    }
    if let Some(within) = table.handles_within {
        policy.handles_within = within.0;
    }
    policy
}

/// The parameter has to be one of some function, or all messages would be taken for one caller's.
fn sticky(resolving: &mut Resolving<'_>, name: &str, surface: &Surface, table: &RolloutSpec) {
    let Some(sticky) = &table.sticky else { return };
    let functions = surface.export_functions();
    let parameters: BTreeSet<&str> = functions
        .flat_map(|(_, _, function)| &function.ty.params)
        .map(|(parameter, _)| &**parameter)
        .collect();
    if !parameters.contains(sticky.get_ref().as_str()) {
        let what = format!(
            "no function of `{name}` has a parameter `{}`",
            escaped(sticky.get_ref())
        );
        let help = suggest(sticky.get_ref(), "parameters", parameters.iter().copied());
        resolving.find_at(sticky, FindingKind::UnknownFunction, what, Some(help));
    }
}
