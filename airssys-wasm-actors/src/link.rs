//! Linked calls: an import of one component, satisfied by another actor's exports.
//!
//! Owns [`Link`] (what an operator says), its resolution against the surfaces on both sides, and
//! [`LinkedOutbound`], through which a running instance's imports become messages. Types are
//! compared when the link is made; on the way of a call there is an index, not a name. At most one
//! call is under way per instance, because a guest that calls waits.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use airssys_wasm::{
    Args, ExportId, ImportId, LinkFailure, LinkMismatch, Outbound, Surface, check_link,
};

use tokio::time::Instant;

use crate::address::ActorAddress;
use crate::call::{CallRequest, PendingCall};
use crate::deadline::{LazyTimer, after};
use crate::envelope::CallContext;
use crate::error::CallError;
use crate::reply::ReplyCell;
use crate::slot::Slot;

/// How long a linked call waits for its reply unless the link says otherwise: OTP's default for
/// `gen_server:call`.
pub const REPLY_WITHIN_DEFAULT: Duration = Duration::from_secs(5);

/// One import of a component, and the actor that satisfies it.
#[derive(Debug, Clone)]
pub struct Link {
    /// The imported interface, as in the component (`quakes:app/parse@0.1.0`) or without its
    /// version.
    pub import: String,
    /// The actor whose exports satisfy it.
    pub to: ActorAddress,
    /// Longest wait for a reply, all attempts together; a caller's own reply-by may be earlier.
    pub reply_within: Duration,
    /// Whether a failed call is sent again. Default: no, a message is handled at most once.
    pub retry: Option<Retry>,
}

/// Sending a failed call again, for functions that may be handled twice with the same effect.
///
/// Only an end that a second attempt can change is followed by one: the callee died with the message in
/// hand, or its mailbox was full. The attempts share one reply-by, and the last failure is the call's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first.
    pub times: u32,
    /// Wait before each of them.
    pub backoff: Duration,
}

impl Link {
    /// A link with the default wait.
    #[must_use]
    pub fn new(import: impl Into<String>, to: ActorAddress) -> Self {
        Self {
            import: import.into(),
            to,
            reply_within: REPLY_WITHIN_DEFAULT,
            retry: None,
        }
    }
}

/// Why a link cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkRefused {
    /// Nobody has the address.
    #[error("the link of `{from}` for `{import}` leads to `{to}`, and there is no such actor")]
    NoSuchActor {
        /// The importing actor.
        from: ActorAddress,
        /// The import.
        import: String,
        /// Where the link leads.
        to: ActorAddress,
    },
    /// The two sides do not fit.
    #[error("the link of `{from}` for `{import}` to `{to}` does not fit")]
    Mismatch {
        /// The importing actor.
        from: ActorAddress,
        /// The import.
        import: String,
        /// Where the link leads.
        to: ActorAddress,
        /// What does not fit, function by function.
        #[source]
        why: Box<LinkMismatch>,
    },
}

/// Where one imported function leads.
struct LinkTarget {
    slot: Arc<Slot>,
    export: ExportId,
    within: Duration,
    retry: Option<Retry>,
}

/// The links of one actor, resolved: an entry for each imported function that is linked.
pub(crate) struct LinkTargets(Vec<Option<LinkTarget>>);

impl LinkTargets {
    /// Resolves `links` of the actor `from`.
    pub(crate) fn resolve(
        from: &ActorAddress,
        surface: &Surface,
        links: &[Link],
        find: impl Fn(&ActorAddress) -> Option<Arc<Slot>>,
    ) -> Result<Arc<Self>, LinkRefused> {
        let mut targets = Vec::new();
        for link in links {
            let slot = find(&link.to).ok_or_else(|| LinkRefused::NoSuchActor {
                from: from.clone(),
                import: link.import.clone(),
                to: link.to.clone(),
            })?;
            let table = check_link(surface, &link.import, slot.surface()).map_err(|why| {
                LinkRefused::Mismatch {
                    from: from.clone(),
                    import: link.import.clone(),
                    to: link.to.clone(),
                    why: Box::new(why),
                }
            })?;
            for &(import, export) in table.pairs() {
                let at = import.index();
                if targets.len() <= at {
                    targets.resize_with(at + 1, || None);
                }
                if let Some(target) = targets.get_mut(at) {
                    *target = Some(LinkTarget {
                        slot: Arc::clone(&slot),
                        export,
                        within: link.reply_within,
                        retry: link.retry,
                    });
                }
            }
        }
        Ok(Arc::new(Self(targets)))
    }

    fn get(&self, import: ImportId) -> Option<&LinkTarget> {
        self.0.get(import.index()).and_then(Option::as_ref)
    }
}

/// The way out of one instance.
pub(crate) struct LinkedOutbound {
    slot: Arc<Slot>,
    targets: Arc<LinkTargets>,
    /// The message being handled: what nested calls inherit.
    context: CallContext,
    cell: Arc<ReplyCell>,
    timer: LazyTimer,
    state: State,
    again: Option<Box<Again>>,
}

enum State {
    Quiet,
    Failed(CallError),
    Waiting(PendingCall),
    /// Before the next attempt.
    Backoff(Instant),
}

/// What is needed to send a call again.
struct Again {
    import: ImportId,
    args: Args,
    retry: Retry,
    /// Attempts left.
    left: u32,
    /// How long all attempts may take together, and when that is over.
    within: Duration,
    until: Instant,
}

impl LinkedOutbound {
    pub(crate) fn new(slot: Arc<Slot>, targets: Arc<LinkTargets>) -> Self {
        let cell = ReplyCell::with_edge(slot.edge().clone());
        Self {
            slot,
            targets,
            context: CallContext::default(),
            cell,
            timer: LazyTimer::default(),
            state: State::Quiet,
            again: None,
        }
    }

    /// A message begins: calls made while it is handled are nested in it.
    pub(crate) fn begin(&mut self, context: CallContext) {
        self.context = context;
    }
}

impl LinkedOutbound {
    fn no_answer(&self) -> CallError {
        let address = self.slot.address().clone();
        match &self.again {
            Some(again) => CallError::Deadline {
                address,
                within: again.within,
            },
            None => CallError::NoSuchActor { address },
        }
    }

    fn send(&mut self, import: ImportId, args: Args, within: Option<Duration>) -> State {
        let Some(target) = self.targets.get(import) else {
            return State::Failed(CallError::NoSuchActor {
                address: self.slot.address().clone(),
            });
        };
        State::Waiting(PendingCall::start(CallRequest {
            target: &target.slot,
            caller: Some(&self.slot),
            export: target.export,
            args,
            parent: &self.context,
            within: within.unwrap_or(target.within),
            cell: &self.cell,
        }))
    }

    /// Sends the call again, if there is time left.
    fn resend(&mut self) -> Option<State> {
        let again = self.again.as_deref()?;
        let left = again.until.saturating_duration_since(Instant::now());
        let (import, args) = (again.import, again.args.clone());
        (!left.is_zero()).then(|| self.send(import, args, Some(left)))
    }

    /// When the next attempt is due after `why`, if there is one.
    fn next_attempt(&mut self, why: &CallError) -> Option<Instant> {
        let again = self.again.as_deref_mut()?;
        let may_help = matches!(
            why,
            CallError::CalleeDied { .. }
                | CallError::MailboxFull { .. }
                | CallError::Evicted { .. }
        );
        let due = after(Instant::now(), again.retry.backoff);
        if !may_help || again.left == 0 || due >= again.until {
            return None;
        }
        again.left -= 1;
        Some(due)
    }
}

impl Outbound for LinkedOutbound {
    fn start(&mut self, import: ImportId, args: Args) {
        let retry = self
            .targets
            .get(import)
            .and_then(|target| Some((target.retry?, target.within)));
        self.again = retry.map(|(retry, within)| {
            let (args, until) = (args.clone(), after(Instant::now(), within));
            Box::new(Again {
                import,
                args,
                retry,
                left: retry.times,
                within,
                until,
            })
        });
        self.state = self.send(import, args, None);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        loop {
            let answer = match std::mem::replace(&mut self.state, State::Quiet) {
                State::Waiting(mut call) => match call.poll(&mut self.timer, cx) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => {
                        self.state = State::Waiting(call);
                        return Poll::Pending;
                    }
                },
                State::Backoff(due) => {
                    if !self.timer.poll_reached(due, cx) {
                        self.state = State::Backoff(due);
                        return Poll::Pending;
                    }
                    if let Some(state) = self.resend() {
                        self.state = state;
                        continue;
                    }
                    Err(self.no_answer())
                }
                State::Failed(why) => Err(why),
                State::Quiet => Err(self.no_answer()),
            };
            if let Err(why) = &answer
                && let Some(due) = self.next_attempt(why)
            {
                self.state = State::Backoff(due);
                continue;
            }
            self.again = None;
            return Poll::Ready(answer.map_err(CallError::into_link_failure));
        }
    }
}
