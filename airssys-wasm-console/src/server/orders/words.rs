//! What an order says, in words: of its strategy, and for who looks and for the history.
//!
//! Owns what the host itself writes. It is cut to its bound, so that no order is refused for it; what whoever asked says is told in full
//! or not at all.

use airssys_wasm_actors::deployment::{
    NOTE_BYTES_MAX, OrderNote, PlanOptions, StateHandling, StrategyWords,
};

use super::refusals;
use crate::api::RolloutWords;
use crate::server::answer::Refusal;

/// What stands at the end of what was cut.
const MORE: &str = "…";

/// Fewest bytes of a beginning that still says something.
const LEAST_BYTES: usize = 16;

/// What is said of an order while it waits.
pub(super) fn note(what: &str, by: &str, why: &str) -> OrderNote {
    OrderNote {
        what: cut(what, NOTE_BYTES_MAX),
        by: by.to_owned(),
        why: why.to_owned(),
    }
}

/// Why, for the history, of what has no manifest that says what it is: as much of `what` as `why` leaves room for.
pub(super) fn recorded(what: &str, why: &str) -> String {
    if why.is_empty() {
        return cut(what, NOTE_BYTES_MAX);
    }
    let room = NOTE_BYTES_MAX.saturating_sub(why.len() + ": ".len());
    match cut(what, room) {
        what if what.is_empty() => why.to_owned(),
        what => format!("{what}: {why}"),
    }
}

/// The beginning of a text that is too long; nothing where there is no room for one that says anything.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MORE.len()));
    match text.get(..end) {
        Some(beginning) if end >= LEAST_BYTES => format!("{beginning}{MORE}"),
        _ => String::new(),
    }
}

pub(super) fn plan_options(words: &RolloutWords) -> Result<PlanOptions, Refusal> {
    let strategy = StrategyWords {
        strategy: words.strategy.as_deref(),
        steps: words.steps.as_deref(),
        soak: words.soak.as_deref(),
        max_surge: words.max_surge,
        max_unavailable: words.max_unavailable,
        share: words.share.as_deref(),
        pause: words.pause.as_deref(),
        sticky: words.sticky.as_deref(),
    };
    let strategy = strategy.read().map_err(refusals::of_words)?;
    let state = match words.state.as_deref() {
        None => None,
        Some(text) => {
            let all = [StateHandling::HandOver, StateHandling::Discard];
            let known = all.into_iter().find(|handling| handling.as_str() == text);
            let what = || format!("`{}` is nothing to do with state", text.escape_debug());
            let refusal = || Refusal::bad(what()).hint("there are `hand-over` and `discard`");
            Some(known.ok_or_else(refusal)?)
        }
    };
    Ok(PlanOptions {
        strategy,
        state,
        keep_sources: words.keep_sources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_is_cut_and_what_others_say_is_not() {
        let long = "é".repeat(3_000);
        assert_eq!(recorded("scale one to 2", ""), "scale one to 2");
        assert_eq!(recorded("scale one to 2", "ho"), "scale one to 2: ho");
        let said = recorded(&long, "ho");
        assert!(said.ends_with("é…: ho"), "{said}");
        assert!((NOTE_BYTES_MAX - 1..=NOTE_BYTES_MAX).contains(&said.len()));
        assert_eq!(recorded(&long, "").len(), NOTE_BYTES_MAX - 1);
        for room in 0..40 {
            let why = "w".repeat(NOTE_BYTES_MAX - room);
            let said = recorded("rollback to 18446744073709551615", &why);
            assert!(
                said.ends_with(&why) && said.len() <= NOTE_BYTES_MAX,
                "{room}"
            );
        }
        // That it is too long is said of what was said, and by whom it is refused.
        let why = "w".repeat(NOTE_BYTES_MAX + 1);
        assert_eq!(recorded("rollback", &why), why);
        assert_eq!(note(&long, "", "").what.len(), NOTE_BYTES_MAX - 1);
    }
}
