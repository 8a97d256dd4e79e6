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

use crate::address::ActorAddress;
use crate::call::{CallRequest, PendingCall};
use crate::deadline::LazyTimer;
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
    /// Longest wait for a reply; a caller's own reply-by may be earlier.
    pub reply_within: Duration,
}

impl Link {
    /// A link with the default wait.
    #[must_use]
    pub fn new(import: impl Into<String>, to: ActorAddress) -> Self {
        Self {
            import: import.into(),
            to,
            reply_within: REPLY_WITHIN_DEFAULT,
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
}

enum State {
    Quiet,
    Failed(CallError),
    Waiting(PendingCall),
}

impl LinkedOutbound {
    pub(crate) fn new(slot: Arc<Slot>, targets: Arc<LinkTargets>) -> Self {
        Self {
            slot,
            targets,
            context: CallContext::default(),
            cell: Arc::default(),
            timer: LazyTimer::default(),
            state: State::Quiet,
        }
    }

    /// A message begins: calls made while it is handled are nested in it.
    pub(crate) fn begin(&mut self, context: CallContext) {
        self.context = context;
    }
}

impl Outbound for LinkedOutbound {
    fn start(&mut self, import: ImportId, args: Args) {
        let targets = Arc::clone(&self.targets);
        let Some(target) = targets.get(import) else {
            self.state = State::Failed(CallError::NoSuchActor {
                address: self.slot.address().clone(),
            });
            return;
        };
        self.state = State::Waiting(PendingCall::start(CallRequest {
            target: &target.slot,
            caller: Some(&self.slot),
            export: target.export,
            args,
            parent: &self.context,
            within: target.within,
            cell: &self.cell,
        }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        let answer = match &mut self.state {
            State::Waiting(call) => std::task::ready!(call.poll(&mut self.timer, cx)),
            State::Failed(_) | State::Quiet => {
                match std::mem::replace(&mut self.state, State::Quiet) {
                    State::Failed(why) => Err(why),
                    _ => Err(CallError::NoSuchActor {
                        address: self.slot.address().clone(),
                    }),
                }
            }
        };
        self.state = State::Quiet;
        Poll::Ready(answer.map_err(CallError::into_link_failure))
    }
}
