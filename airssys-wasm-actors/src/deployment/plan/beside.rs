//! Whether two revisions of a component can be asked the same, side by side.
//!
//! Owns what a gradual replacement needs of both surfaces: a message can go to either revision, and the parameter that decides which one has
//! to be one of theirs.

use airssys_wasm::{Function, InterfaceName};

use super::refusal::PlanRefusal;
use crate::deployment::outline::ComponentOutline;
use crate::deployment::strategy::RolloutStrategy;
use crate::manifest::{name_shown, suggest};
use crate::reference::function_path;
use crate::route::Standing;

/// What of the new revision is in the way of its being tried beside those that run.
pub(super) fn unfit(
    strategy: &RolloutStrategy,
    old: &ComponentOutline,
    new: &ComponentOutline,
) -> Vec<PlanRefusal> {
    let refused = |(what, help)| PlanRefusal::Strategy {
        component: new.name.clone(),
        what,
        help,
    };
    let missing = old.revisions().find_map(|old| missing(old, new));
    let missing = missing.map(|function| {
        let function = name_shown(&function);
        let kind = strategy.kind();
        let what = format!(
            "it cannot be replaced by `{kind}`: a message can go to either revision, and the new one does not have \
             `{function}` as the old one has it"
        );
        let help = "use `rolling` or `blue-green`, or keep the function until all of them are replaced";
        (what, help.to_owned())
    });
    let unsticky = match strategy {
        RolloutStrategy::Canary {
            sticky: Some(parameter),
            ..
        } => old
            .revisions()
            .find_map(|old| unsticky(old, new, parameter)),
        _ => None,
    };
    missing.into_iter().chain(unsticky).map(refused).collect()
}

/// What the new revision has in the place of a function of the old one.
fn successor<'a>(
    new: &'a ComponentOutline,
    interface: &InterfaceName,
    function: &Function,
) -> Option<&'a Function> {
    let interface = new.surface.exported_interface(interface.as_str())?;
    let mut others = interface.functions.iter();
    others.find(|other| other.name == function.name && other.ty.same_shape(&function.ty))
}

/// The first function of the old revision that the new one does not have, or of another type.
fn missing(old: &ComponentOutline, new: &ComponentOutline) -> Option<String> {
    let mut functions = old.surface.export_functions();
    let missing =
        functions.find(|(_, interface, function)| successor(new, interface, function).is_none());
    missing.map(|(_, interface, function)| function_path(interface, &function.name))
}

/// Why no request could be routed by a parameter, and what to do.
fn unsticky(
    old: &ComponentOutline,
    new: &ComponentOutline,
    parameter: &str,
) -> Option<(String, String)> {
    let mut is_there = false;
    for (_, interface, function) in old.surface.export_functions() {
        let other = successor(new, interface, function).map(|other| &other.ty);
        match Standing::of(parameter, &function.ty, other) {
            Standing::Nowhere => {}
            Standing::At(_) => is_there = true,
            Standing::Apart(_) => {
                let path = function_path(interface, &function.name);
                let what = format!(
                    "it cannot be sticky by `{parameter}`: `{parameter}` is another parameter of `{path}` in the new revision"
                );
                let help = "leave `sticky` out, or give the parameter the place it had";
                return Some((what, help.to_owned()));
            }
        }
    }
    if is_there {
        return None;
    }
    let parameter = parameter.escape_debug().to_string();
    let what = format!(
        "it cannot be sticky by `{parameter}`: no function that runs now has a parameter `{parameter}`"
    );
    let functions = old.surface.export_functions();
    let names = functions.flat_map(|(_, _, function)| &function.ty.params);
    let mut names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Some((what, suggest(&parameter, "parameters", names)))
}
