//! Copies of requests, whose answers nobody gets.
//!
//! Owns what a split in shadow mode does beside the request itself: a copy of it is pushed to the candidate in the same
//! breath, so that copies stand in its mailbox in the order in which the requests were made, and a task of the system
//! waits for its answer and for the stable one's, and compares the two. So many copies may be under way at once, and
//! what comes beyond is skipped, because the candidate may be slower than the stable one. In the accounting a copy is a
//! call to the candidate, made by the host.

use std::fmt::{self, Write};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use airssys_wasm::{Args, ExportId, Value};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::call::{CallRequest, PendingCall};
use crate::deadline::LazyTimer;
use crate::envelope::CallContext;
use crate::exit::bounded;
use crate::reply::{Answer, Ending};
use crate::route::way::Lease;
use crate::route::{Routed, Split};

/// Of each of the two answers, as it is written into a difference: enough to see what it is about.
const ANSWER_BYTES_MAX: usize = 256;

/// How shadow copies are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowSpec {
    /// Most copies under way at once; what comes beyond is skipped. Default 64.
    pub in_flight_max: u32,
    /// Differences that are kept as text, the first ones. Default 16. The text contains what the arms answered.
    pub differences_max: usize,
    /// How long a copy's answer is waited for. Default 5 s.
    pub within: Duration,
}

impl Default for ShadowSpec {
    fn default() -> Self {
        Self {
            in_flight_max: 64,
            differences_max: 16,
            within: crate::link::REPLY_WITHIN_DEFAULT,
        }
    }
}

/// What became of the copies: those sent are the same, different, failed, unpaired, or under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowStats {
    /// Copies sent to the candidate.
    pub copies: u64,
    /// Both arms gave the same answer, or both failed.
    pub same: u64,
    /// The answers differ, or only the stable arm failed.
    pub different: u64,
    /// The stable arm answered, or nobody waited for an answer, and the candidate failed.
    pub candidate_errors: u64,
    /// The candidate answered and there is nothing to compare that with: a cast, or a caller that has left.
    pub unpaired: u64,
    /// Not copied, because there is a handle among the arguments: it leads to one resource of one arm.
    pub skipped_handles: u64,
    /// Not copied, because too many copies were under way.
    pub skipped_busy: u64,
    /// Not copied, because the candidate's mailbox took nothing.
    pub skipped_refused: u64,
    /// The first differences, as text that is cut.
    pub differences: Vec<Arc<str>>,
}

/// What the stable arm answered, if it did.
type Theirs = Option<Args>;

/// Where the stable arm's answer goes. Dropped, there is none.
pub(super) struct Pair(oneshot::Sender<Theirs>);

impl Pair {
    pub(super) fn answered(self, answer: Ending<'_>) {
        // Nobody is there once the runtime is gone.
        let _ = self.0.send(answer.ok().cloned());
    }
}

/// The copies of one split.
#[derive(Default)]
pub(super) struct Shadow {
    spec: ShadowSpec,
    in_flight: AtomicU32,
    copies: AtomicU64,
    same: AtomicU64,
    different: AtomicU64,
    candidate_errors: AtomicU64,
    unpaired: AtomicU64,
    skipped_handles: AtomicU64,
    skipped_busy: AtomicU64,
    skipped_refused: AtomicU64,
    differences: Mutex<Vec<Arc<str>>>,
}

impl Shadow {
    pub(super) fn new(spec: ShadowSpec) -> Self {
        Self {
            spec,
            ..Self::default()
        }
    }

    pub(super) fn read(&self) -> ShadowStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ShadowStats {
            copies: read(&self.copies),
            same: read(&self.same),
            different: read(&self.different),
            candidate_errors: read(&self.candidate_errors),
            unpaired: read(&self.unpaired),
            skipped_handles: read(&self.skipped_handles),
            skipped_busy: read(&self.skipped_busy),
            skipped_refused: read(&self.skipped_refused),
            differences: self.differences.lock().clone(),
        }
    }

    /// The answers of both arms are there.
    fn compare(&self, function: impl FnOnce() -> String, stable: &Theirs, candidate: &Answer) {
        match (stable, candidate) {
            (Some(stable), Ok(candidate)) if alike(stable, candidate) => one_more(&self.same),
            (None, Err(_)) => one_more(&self.same),
            (Some(_), Err(_)) => one_more(&self.candidate_errors),
            (stable, Ok(candidate)) => {
                let mut differences = self.differences.lock();
                if differences.len() < self.spec.differences_max {
                    differences.push(difference(&function(), stable.as_ref(), candidate));
                }
                drop(differences);
                // After it is kept: whoever reads the count finds it.
                one_more(&self.different);
            }
        }
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// One copy under way.
struct InFlight(Arc<Split>);

impl InFlight {
    fn begin(split: &Arc<Split>) -> Option<Self> {
        let shadow = &split.shadow;
        let one_more = |now| (now < shadow.spec.in_flight_max).then(|| now + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let begun = shadow.in_flight.fetch_update(set, fetch, one_more);
        begun.ok().map(|_| Self(Arc::clone(split)))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.shadow.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a copy of a request to the candidate, if that can be done now. Returns where the stable arm's answer goes.
pub(super) fn copy(split: &Arc<Split>, export: ExportId, args: &Args) -> Option<Pair> {
    let shadow = &split.shadow;
    if args.values().iter().any(has_handle) {
        one_more(&shadow.skipped_handles);
        return None;
    }
    let Some(in_flight) = InFlight::begin(split) else {
        one_more(&shadow.skipped_busy);
        return None;
    };
    let request = CallRequest {
        target: &split.candidate,
        caller: None,
        export,
        parent: &CallContext::default(),
        within: shadow.spec.within,
        cell: None,
    };
    let (lease, nth) = Lease::begin(Arc::clone(split))?;
    let mut call = PendingCall::start_by(&request, args.clone(), Routed::Own);
    PendingCall::send_all(std::slice::from_mut(&mut call));
    if !call.is_sent() {
        one_more(&shadow.skipped_refused);
        lease.turn_back();
        return None;
    }
    one_more(&shadow.copies);
    let began = split.candidate_arm.times(nth, split.sampling);
    drop(lease);
    let (pair, stable) = oneshot::channel();
    let waiting = async move {
        let split = &in_flight.0;
        let mut timer = LazyTimer::default();
        let candidate = poll_fn(|cx| call.poll(&mut timer, cx)).await;
        split
            .candidate_arm
            .ended(candidate.as_ref(), began, split.err_is_error);
        match (stable.await, &candidate) {
            (Ok(stable), _) => {
                let function = || split.function(export);
                split.shadow.compare(function, &stable, &candidate);
            }
            (Err(_), Ok(_)) => one_more(&split.shadow.unpaired),
            (Err(_), Err(_)) => one_more(&split.shadow.candidate_errors),
        }
    };
    split.candidate.shared().spawn(waiting);
    Some(Pair(pair))
}

fn has_handle(value: &Value) -> bool {
    match value {
        Value::Handle(_) => true,
        Value::List(values) | Value::Record(values) | Value::Tuple(values) => {
            values.iter().any(has_handle)
        }
        Value::Variant(_, payload)
        | Value::Option(payload)
        | Value::Result(Ok(payload) | Err(payload)) => payload.as_deref().is_some_and(has_handle),
        _ => false,
    }
}

fn alike(one: &Args, other: &Args) -> bool {
    all_alike(one.values(), other.values())
}

fn all_alike(one: &[Value], other: &[Value]) -> bool {
    let mut both = one.iter().zip(other);
    one.len() == other.len() && both.all(|(one, other)| value_alike(one, other))
}

/// Whether two values say the same: every not-a-number does, and of handles only that they are there, because each
/// arm has resources of its own.
fn value_alike(one: &Value, other: &Value) -> bool {
    let payload = |one: &Option<Box<Value>>, other: &Option<Box<Value>>| match (one, other) {
        (Some(one), Some(other)) => value_alike(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    match (one, other) {
        (Value::F32(one), Value::F32(other)) => one == other || (one.is_nan() && other.is_nan()),
        (Value::F64(one), Value::F64(other)) => one == other || (one.is_nan() && other.is_nan()),
        (Value::Handle(one), Value::Handle(other)) => one.is_own() == other.is_own(),
        (Value::List(one), Value::List(other))
        | (Value::Record(one), Value::Record(other))
        | (Value::Tuple(one), Value::Tuple(other)) => all_alike(one, other),
        (Value::Variant(case, one), Value::Variant(others, other)) => {
            case == others && payload(one, other)
        }
        (Value::Option(one), Value::Option(other))
        | (Value::Result(Ok(one)), Value::Result(Ok(other)))
        | (Value::Result(Err(one)), Value::Result(Err(other))) => payload(one, other),
        (one, other) => one == other,
    }
}

/// A difference in words.
fn difference(function: &str, stable: Option<&Args>, candidate: &Args) -> Arc<str> {
    let stable = stable.map_or_else(|| "an error".to_owned(), short);
    let candidate = short(candidate);
    bounded(&format!(
        "{function}: stable answered {stable}, the candidate {candidate}"
    ))
}

/// The beginning of an answer. What is cut off is never written.
fn short(answer: &Args) -> String {
    let mut text = Cut(String::new());
    // An error means that there was no room for all of it.
    if write!(text, "{:?}", answer.values()).is_err() {
        text.0.push('…');
    }
    text.0
}

struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if self.0.len() + char.len_utf8() > ANSWER_BYTES_MAX {
                return Err(fmt::Error);
            }
            self.0.push(char);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_wasm::IntoArgs;

    #[test]
    fn answers_are_alike_by_what_they_say() {
        let some = |value| Value::Option(Some(Box::new(value)));
        let alike = |one: Value, other: Value| alike(&(one,).into_args(), &(other,).into_args());
        let nan = || Value::List(vec![Value::F64(f64::NAN)]);
        assert!(alike(nan(), nan()));
        assert!(alike(some(Value::U32(1)), some(Value::U32(1))));
        assert!(!alike(some(Value::U32(1)), some(Value::U32(2))));
        assert!(!alike(some(Value::U32(1)), Value::Option(None)));
        let ok = || Value::Result(Ok(None));
        assert!(alike(ok(), ok()));
        assert!(!alike(ok(), Value::Result(Err(None))));
        let list = |n: u32| Value::List((0..n).map(Value::U32).collect());
        assert!(!alike(list(2), list(3)));
        assert!(!alike(Value::Variant(1, None), Value::Variant(2, None)));
    }

    #[test]
    fn a_difference_is_short_whatever_was_answered() {
        let bytes = |byte| (Value::Bytes(vec![byte; 1 << 20].into()),).into_args();
        let text = difference("test:t/f#f", Some(&bytes(1)), &bytes(2));
        assert!(text.len() < 700, "{}", text.len());
        assert!(text.starts_with("test:t/f#f: stable answered ["), "{text}");
        assert!(text.ends_with('…'));
        let text = difference("f", None, &(7_u32,).into_args());
        assert_eq!(
            &*text,
            "f: stable answered an error, the candidate [U32(7)]"
        );
    }

    #[test]
    fn each_pair_is_counted_once_and_only_the_first_differences_are_kept() {
        let shadow = Shadow::new(ShadowSpec {
            differences_max: 2,
            ..ShadowSpec::default()
        });
        let answer = |n: u32| (n,).into_args();
        let failed = || Err(crate::CallError::Cycle { path: vec![] });
        let function = || "f".to_owned();
        shadow.compare(function, &Some(answer(1)), &Ok(answer(1)));
        shadow.compare(function, &None, &failed());
        shadow.compare(function, &Some(answer(1)), &failed());
        for n in 2..6 {
            shadow.compare(function, &Some(answer(1)), &Ok(answer(n)));
        }
        shadow.compare(function, &None, &Ok(answer(1)));
        let read = shadow.read();
        let counts = (read.same, read.candidate_errors, read.different);
        assert_eq!(counts, (2, 1, 5));
        assert_eq!(read.differences.len(), 2);
        assert!(read.differences[1].contains("U32(3)"));
    }
}
