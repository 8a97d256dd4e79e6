//! How a report is made: at the one place where every end of an incarnation is told to its supervisor.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use airssys_wasm::{Fault, FaultClass, printable};

use super::{CrashReport, Recent};
use crate::exit::ExitReason;
use crate::slot::Slot;
use crate::supervisor::{PreparedChild, Record};

/// What an incarnation leaves with its slot for the report of its end, if it has something to leave.
#[derive(Default)]
pub(crate) struct Left {
    /// The instance's fault, where the reason does not hold it.
    pub(crate) fault: Option<Arc<Fault>>,
    pub(crate) recent: Option<Recent>,
    /// What its supervisor ends it for.
    pub(crate) verdict: Option<ExitReason>,
    /// Its supervisor ends it by a kill in the course of an orderly stop.
    pub(crate) expected: bool,
}

/// An end that was told.
pub(crate) struct Ended<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) incarnation: u64,
    pub(crate) reason: &'a ExitReason,
    /// It was not up yet.
    pub(crate) starting: bool,
    /// Nobody ended it: the runtime it ran in is being dropped, and all actors with it.
    pub(crate) dropped: bool,
}

/// Keeps and logs a report, if the end was abnormal.
pub(crate) fn record(supervisor: &Record, ended: &Ended<'_>) {
    let (up, left) = ended.slot.take_left();
    let left = left.unwrap_or_default();
    let reason = match &left.verdict {
        Some(verdict) if is_by_request(ended.reason) => verdict,
        _ => ended.reason,
    };
    let expected = left.expected && is_by_a_kill(reason, &left);
    if reason.is_normal() || expected || ended.dropped {
        return;
    }
    let report = report(supervisor, ended, reason, up, &left);
    let report = supervisor.shared.crashes().keep(report);
    tracing::warn!(
        crash = report.sequence,
        address = %report.address,
        incarnation = report.incarnation,
        kind = report.kind,
        fault = report.fault.map(tracing::field::display),
        up_ms = u64::try_from(report.up.as_millis()).unwrap_or(u64::MAX),
        restarts = report.restarts,
        supervisor = %report.supervisor,
        at = report.backtrace.first().map(tracing::field::display),
        reason = report.reason,
        "an actor has crashed"
    );
}

/// Whether a kill ended it: that of a start can be told as the failure of its `init`, which it was in.
fn is_by_a_kill(reason: &ExitReason, left: &Left) -> bool {
    let killed = |fault: &Fault| fault.class == FaultClass::Killed;
    match reason {
        ExitReason::Killed => true,
        ExitReason::Fault(fault) => killed(fault),
        ExitReason::StartFailed(_) => left.fault.as_deref().is_some_and(killed),
        _ => false,
    }
}

/// Whether this is how an actor ends that is told to.
fn is_by_request(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Killed | ExitReason::Shutdown)
}

#[cold]
fn report(
    supervisor: &Record,
    ended: &Ended<'_>,
    reason: &ExitReason,
    up: Duration,
    left: &Left,
) -> CrashReport {
    let slot = ended.slot;
    let fault = match reason {
        ExitReason::Fault(fault) => Some(fault),
        ExitReason::Killed | ExitReason::StartFailed(_) => left.fault.as_ref(),
        _ => None,
    };
    let mut report = CrashReport {
        sequence: 0,
        address: slot.address().clone(),
        incarnation: ended.incarnation,
        at: SystemTime::now(),
        up,
        starting: ended.starting,
        kind: reason.kind(),
        reason: text(supervisor, slot, reason),
        fault: fault.map(|fault| fault.class),
        backtrace: fault.map_or_else(Vec::new, |fault| fault.backtrace.clone()),
        spent: fault.and_then(|fault| fault.spent.as_deref().copied()),
        recent: left
            .recent
            .as_ref()
            .map_or_else(Vec::new, |recent| recent.messages(slot)),
        restarts: slot.counters().read().restarts,
        supervisor: supervisor.address().clone(),
        bytes: 0,
    };
    report.bytes = size(&report);
    report
}

/// What a report takes, so that the store's bound is one of memory.
fn size(report: &CrashReport) -> usize {
    let frames = report.backtrace.iter().map(|frame| {
        let source = frame.source.as_ref().map_or(0, |source| source.file.len());
        size_of_val(frame) + frame.function.len() + source
    });
    let messages = report
        .recent
        .iter()
        .map(|message| size_of_val(message) + message.function.len());
    let text = report.reason.len() + report.address.as_str().len();
    size_of::<CrashReport>() + text + frames.sum::<usize>() + messages.sum::<usize>()
}

/// The reason in words, without what is nobody's business.
fn text(supervisor: &Record, slot: &Slot, reason: &ExitReason) -> String {
    if let ExitReason::Linked(exit) = reason {
        // The words are another actor's, whose secrets are not known here.
        return format!(
            "linked to `{}`, which ended: {}",
            exit.from,
            exit.reason.kind()
        );
    }
    let text = reason.to_string();
    match supervisor.child(slot.id()) {
        Some(PreparedChild::Actor(actor)) => actor.spec.without_values(text),
        // Forgotten meanwhile: what it was made of is not known any more, and a guest may have had the word.
        _ if matches!(reason, ExitReason::StartFailed(_)) => "start failed".to_owned(),
        _ => text,
    }
}

/// What stands where a value was.
const LEFT_OUT: &str = "[left out]";

/// What stands where a text was cut ([`printable`]).
const CUT: &str = "… (cut)";

/// Values of fewer bytes are in many a longer word: they are left out where they are a word of their own.
const ANYWHERE_BYTES_MIN: usize = 4;

/// `text` without these values, and without the beginning of one at a cut. A value of fewer than
/// [`ANYWHERE_BYTES_MIN`] bytes is left out where no letter, digit or `_` is beside it, any other wherever it is.
pub(crate) fn without<'a>(text: String, values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<_> = values
        .filter(|value| !value.is_empty())
        .map(|value| {
            (
                printable(value, usize::MAX),
                value.len() < ANYWHERE_BYTES_MIN,
            )
        })
        .collect();
    let text = replaced(text, &values);
    // What is before a mark was cut there, maybe within a value, whose beginning is there then.
    let mut pieces = text.split(CUT).peekable();
    let mut shown = String::with_capacity(text.len());
    while let Some(piece) = pieces.next() {
        let is_cut = pieces.peek().is_some();
        match begun(piece, &values).filter(|_| is_cut) {
            Some(bytes) => {
                let whole = piece.get(..piece.len().saturating_sub(bytes));
                shown.push_str(whole.unwrap_or_default());
                shown.push_str(LEFT_OUT);
            }
            None => {
                shown.push_str(piece);
                shown.push_str(if is_cut { CUT } else { "" });
            }
        }
    }
    shown
}

/// How many bytes at the end of this piece are the beginning of a value, if any are.
fn begun(piece: &str, values: &[(String, bool)]) -> Option<usize> {
    let of_one = |(value, short): &(String, bool)| {
        let ends = value.char_indices().map(|(at, _)| at).skip(1);
        let is_there = |at: &usize| {
            let there = value.get(..*at).is_some_and(|part| piece.ends_with(part));
            let before = piece.get(..piece.len().saturating_sub(*at));
            there && !(*short && before.is_some_and(ends_in_word))
        };
        // A longer one is not in it.
        let ends = ends.take_while(|at| *at <= piece.len());
        ends.filter(is_there).last()
    };
    values.iter().filter_map(of_one).max()
}

/// Each value with whether it has to be a word of its own. All are looked for in the text as it is, since one may be
/// a part of another or overlap it.
fn replaced(text: String, values: &[(String, bool)]) -> String {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (value, short) in values {
        for (start, _) in text.char_indices() {
            let (before, after) = text.split_at(start);
            let Some(after) = after.strip_prefix(value.as_str()) else {
                continue;
            };
            if !(*short && (ends_in_word(before) || after.starts_with(of_word))) {
                found.push((start, start + value.len()));
            }
        }
    }
    if found.is_empty() {
        return text;
    }
    found.sort_unstable();
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in found {
        if start >= done {
            shown.push_str(text.get(done..start).unwrap_or_default());
            shown.push_str(LEFT_OUT);
        }
        done = done.max(end);
    }
    shown.push_str(text.get(done..).unwrap_or_default());
    shown
}

fn of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(of_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::REASON_BYTES_MAX;

    #[test]
    fn values_are_left_out_also_where_the_text_was_cut_within_one() {
        let values = ["hunter2-long", "hunter2", "two\nlines"];
        let without = |text: &str| without(text.to_owned(), values.into_iter());
        assert_eq!(
            without("on: hunter2-long, then hunter2, and two\\nlines"),
            "on: [left out], then [left out], and [left out]"
        );
        let overlapping = super::without("abcdefgh".to_owned(), ["abcd", "cdefgh"].into_iter());
        assert_eq!(overlapping, "[left out]");
        let secret = "s3cret-".repeat(20);
        for padding in REASON_BYTES_MAX - 150..REASON_BYTES_MAX + 10 {
            let whole = format!("{}{secret}", "x".repeat(padding));
            let cut = printable(&whole, REASON_BYTES_MAX);
            let shown = super::without(cut, [secret.as_str()].into_iter());
            assert!(!shown.contains("s3c"), "{padding}: {shown}");
        }
    }

    /// What was left out before the cut makes the text shorter than one that is cut.
    #[test]
    fn a_value_at_the_cut_is_left_out_whatever_was_left_out_before() {
        let secret = "s3cret-".repeat(20);
        for padding in REASON_BYTES_MAX - 300..REASON_BYTES_MAX - 130 {
            let whole = format!("{secret} {} {secret}", "x".repeat(padding));
            let cut = printable(&whole, REASON_BYTES_MAX);
            // In a sentence, too.
            let said = format!("`init` refused: {cut}, so it is not up");
            for text in [cut, said] {
                let shown = without(text, [secret.as_str()].into_iter());
                assert!(!shown.contains("s3c"), "{padding}: {shown}");
                assert!(shown.contains("xxx"), "{padding}: {shown}");
            }
        }
    }

    #[test]
    fn a_short_value_is_left_out_where_it_is_a_word() {
        let values = ["abc", "out", "7", ""];
        let without = |text: &str| without(text.to_owned(), values.into_iter());
        for (text, shown) in [
            ("poison = `abc`", "poison = `[left out]`"),
            ("abc", "[left out]"),
            ("x=7,y=77", "x=[left out],y=77"),
            ("abcd, xabc, abc_d, routes", "abcd, xabc, abc_d, routes"),
            ("out of abc: out", "[left out] of [left out]: [left out]"),
        ] {
            assert_eq!(without(text), shown);
        }
        let cut = printable(
            &format!("{} abc", "x".repeat(REASON_BYTES_MAX)),
            REASON_BYTES_MAX,
        );
        assert_eq!(without(&cut), cut);
    }
}
