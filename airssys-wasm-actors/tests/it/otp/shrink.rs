//! Makes a scenario that shows a difference smaller, as long as the difference stays.

use super::scenario::{Body, Outcome, Scenario};

/// `differs` is given candidates and says which is the first that still shows a difference.
pub(crate) fn least(
    scenario: &Scenario,
    mut differs: impl FnMut(&[Scenario]) -> Option<usize>,
) -> Scenario {
    let mut least = scenario.clone();
    loop {
        let candidates = smaller(&least);
        match differs(&candidates) {
            Some(at) => least = candidates[at].clone(),
            None => return least,
        }
    }
}

/// Every scenario with one thing less, the larger things first.
fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    let mut try_without = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        candidates.push(candidate);
    };
    let steps = scenario.steps.len();
    for half in [0..steps / 2, steps / 2..steps] {
        if !half.is_empty() && half.len() < steps {
            try_without(&|s| drop(s.steps.drain(half.clone())));
        }
    }
    for at in (0..steps).rev() {
        try_without(&|s| drop(s.steps.remove(at)));
    }
    for (number, def) in scenario.defs.iter().enumerate() {
        // A dynamic supervisor needs its template.
        let children = scenario
            .supervisor(number)
            .map_or(0, |sup| match sup.strategy {
                super::scenario::Strategy::SimpleOneForOne => 0,
                _ => sup.children.len(),
            });
        for at in 0..children {
            try_without(&|s| {
                if let Body::Supervisor(sup) = &mut s.defs[number].body {
                    sup.children.remove(at);
                }
            });
        }
        if !def.starts.is_empty() {
            try_without(&|s| s.defs[number].starts.clear());
        }
        for (at, outcome) in def.starts.iter().enumerate() {
            if *outcome != Outcome::Started {
                try_without(&|s| s.defs[number].starts[at] = Outcome::Started);
            }
        }
    }
    for at in 0..scenario.hooks.len() {
        try_without(&|s| drop(s.hooks.remove(at)));
    }
    candidates
}
