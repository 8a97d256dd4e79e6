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
    Args, ExportId, ImportId, Interface, InterfaceName, LinkFailure, LinkMismatch, Messaging,
    Outbound, ResourceName, ResourceSide, Surface, check_link,
};

use tokio::time::Instant;

use crate::address::{ActorAddress, ActorId};
use crate::call::{Begun, CallRequest, PendingCall, begin};
use crate::deadline::{LazyTimer, after};
use crate::envelope::CallContext;
use crate::error::CallError;
use crate::manifest::name_shown;
use crate::messaging::Plane;
use crate::reply::{Answer, Ending, ReplyCell};
use crate::route::{Breaker, Known, LinkCircuit, Pass};
use crate::slot::Slot;
use crate::supervisor::ChildSpec;

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
    /// When it refuses calls at once, because the callee has failed too often. Default: never. A breaker is one actor's,
    /// as the link is: of several replicas each has its own.
    pub breaker: Option<Breaker>,
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
            breaker: None,
        }
    }
}

/// Why a link cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkRefused {
    /// Nobody has the address.
    #[error(
        "the link of `{from}` for `{}` leads to `{to}`, and there is no such actor",
        name_shown(import)
    )]
    NoSuchActor {
        /// The importing actor.
        from: ActorAddress,
        /// The import.
        import: String,
        /// Where the link leads.
        to: ActorAddress,
    },
    /// The component's calls over an import are to go to an actor, and nobody says to which.
    #[error(
        "`{from}` has no link for `{}`, which its template answers by calls to another actor: name the actor \
         with `ChildSpec::link`, or take the import out of `TemplateSpec::links`",
        name_shown(import)
    )]
    NoLink {
        /// The importing actor.
        from: ActorAddress,
        /// The import.
        import: String,
    },
    /// The two sides do not fit.
    #[error(
        "the link of `{from}` for `{}` to `{to}` does not fit",
        name_shown(import)
    )]
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
    /// A resource of one actor would be handed to another that has its own of that name.
    #[error(
        "the link of `{from}` for `{}` to `{to}` passes handles to `{}`, which is declared in \
         `{}` and comes from elsewhere: link both interfaces to one actor",
        name_shown(import),
        name_shown(resource),
        name_shown(declared_in)
    )]
    Stranger {
        /// The importing actor.
        from: ActorAddress,
        /// The import.
        import: String,
        /// Where the link leads.
        to: ActorAddress,
        /// The resource.
        resource: String,
        /// The interface it is declared in.
        declared_in: String,
    },
}

/// Where one imported function leads.
struct LinkTarget {
    slot: Arc<Slot>,
    export: ExportId,
    within: Duration,
    retry: Option<Retry>,
    circuit: Option<Arc<LinkCircuit>>,
}

/// An actor that a link leads to, and what it exports.
pub(crate) type Found = (Arc<Slot>, Arc<Surface>);

/// The links of one actor, resolved: an entry for each imported function that is linked.
pub(crate) struct LinkTargets(Vec<Option<LinkTarget>>);

impl LinkTargets {
    /// Resolves the links of `spec`, which the actor `from` with this surface is started by; `find` says who is behind an
    /// address, and what is called there.
    pub(crate) fn resolve(
        from: &ActorAddress,
        surface: &Surface,
        spec: &ChildSpec,
        find: impl Fn(&ActorAddress) -> Option<Found>,
    ) -> Result<Arc<Self>, LinkRefused> {
        let links = spec.links();
        let mut targets = Vec::new();
        let mut made: Vec<(&Link, &Interface, Found)> = Vec::with_capacity(links.len());
        for link in links {
            let (slot, callee) = find(&link.to).ok_or_else(|| LinkRefused::NoSuchActor {
                from: from.clone(),
                import: link.import.clone(),
                to: link.to.clone(),
            })?;
            let table = check_link(surface, &link.import, &callee).map_err(|why| {
                LinkRefused::Mismatch {
                    from: from.clone(),
                    import: link.import.clone(),
                    to: link.to.clone(),
                    why: Box::new(why),
                }
            })?;
            if let Some(interface) = imported(surface, link) {
                made.push((link, interface, (Arc::clone(&slot), callee)));
            }
            let breaker = link.breaker;
            let circuit = breaker.map(|rule| LinkCircuit::new(rule, &link.import, link.to.clone()));
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
                        circuit: circuit.clone(),
                    });
                }
            }
        }
        refuse_strangers(from, &made)?;
        let targets = Self(targets);
        targets.refuse_unlinked(from, surface, spec.linked())?;
        Ok(Arc::new(targets))
    }

    /// Every function of the imports that are answered by calls leads somewhere.
    fn refuse_unlinked(
        &self,
        from: &ActorAddress,
        surface: &Surface,
        linked: &[InterfaceName],
    ) -> Result<(), LinkRefused> {
        let mut unlinked = surface
            .import_functions()
            .filter(|(id, interface, _)| linked.contains(interface) && self.get(*id).is_none());
        match unlinked.next() {
            None => Ok(()),
            Some((_, interface, _)) => Err(LinkRefused::NoLink {
                from: from.clone(),
                import: interface.to_string(),
            }),
        }
    }

    /// The functions of `target` that are called by these links.
    pub(crate) fn calls_of(&self, target: ActorId) -> impl Iterator<Item = ExportId> + '_ {
        let linked = self.0.iter().flatten();
        let of_target = linked.filter(move |linked| linked.slot.id() == target);
        of_target.map(|linked| linked.export)
    }

    /// Whether one of those that it leads to has been forgotten. Another actor may have its name.
    pub(crate) fn have_gone(&self) -> bool {
        let mut before: Option<&Arc<Slot>> = None;
        self.0.iter().flatten().any(|target| {
            // The functions of one link follow each other.
            let is_same = before.is_some_and(|before| Arc::ptr_eq(before, &target.slot));
            before = Some(&target.slot);
            !is_same && target.slot.is_retired()
        })
    }

    /// Whether nothing is linked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, import: ImportId) -> Option<&LinkTarget> {
        self.0.get(import.index()).and_then(Option::as_ref)
    }
}

/// The imported interface a link is for.
fn imported<'a>(surface: &'a Surface, link: &Link) -> Option<&'a Interface> {
    let name = InterfaceName::new(&link.import);
    let fits = |interface: &&Interface| {
        interface.name == name
            || interface.name.accepts(&name)
            || (!name.is_root() && interface.name.unversioned() == link.import)
    };
    surface.imports.iter().find(fits)
}

/// A resource that an actor has itself must come to it from nobody but itself: where an interface uses a resource
/// of another one, and its callee exports that other one too, both links must lead to it. A callee that
/// imports the resource as well gets it passed on.
fn refuse_strangers(
    from: &ActorAddress,
    links: &[(&Link, &Interface, Found)],
) -> Result<(), LinkRefused> {
    for (link, interface, (slot, surface)) in links {
        let exports = &surface.exports;
        let stranger = |resource: &ResourceName| {
            let its_own = exports
                .iter()
                .flat_map(|interface| &interface.resources)
                .any(|own| own.ty.side() == ResourceSide::Exported && *own.ty == *resource);
            let elsewhere = links.iter().any(|(_, declaring, (other, _))| {
                declaring.name == *resource.interface() && other.id() != slot.id()
            });
            its_own && elsewhere
        };
        let functions = &mut interface.functions.iter();
        if let Some(resource) = functions.find_map(|function| function.ty.find_resource(stranger)) {
            return Err(LinkRefused::Stranger {
                from: from.clone(),
                import: link.import.clone(),
                to: link.to.clone(),
                resource: resource.to_string(),
                declared_in: resource.interface().to_string(),
            });
        }
    }
    Ok(())
}

/// The way out of one instance.
pub(crate) struct LinkedOutbound {
    pub(crate) slot: Arc<Slot>,
    targets: Arc<LinkTargets>,
    /// The message being handled: what nested calls inherit.
    pub(crate) context: CallContext,
    pub(crate) cell: Arc<ReplyCell>,
    pub(crate) timer: LazyTimer,
    /// What is to be sent.
    next: Next,
    state: State,
    again: Option<Box<Again>>,
    /// What the link's breaker, if it has one, has let through and is to be told the end of.
    pass: Pass,
    /// The split that its last call to a candidate went through.
    known: Known,
    /// The messaging plane, where the component uses it.
    pub(crate) plane: Option<Box<Plane>>,
}

/// A call that has not been sent.
struct Next {
    /// `None` before the first.
    import: Option<ImportId>,
    args: Args,
    /// The longest wait, if that is not the link's own.
    within: Option<Duration>,
}

enum State {
    Quiet,
    /// The next call is to be sent.
    New,
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
    pub(crate) fn new(
        slot: Arc<Slot>,
        targets: Arc<LinkTargets>,
        plane: Option<Box<Plane>>,
    ) -> Self {
        let cell = ReplyCell::with_edge(slot.edge().clone());
        Self {
            slot,
            targets,
            context: CallContext::default(),
            cell,
            timer: LazyTimer::default(),
            next: Next {
                import: None,
                args: Args::new(),
                within: None,
            },
            state: State::Quiet,
            again: None,
            pass: Pass::None,
            known: Known::default(),
            plane,
        }
    }

    /// What its imports lead to from now on.
    pub(crate) fn link(&mut self, targets: &Arc<LinkTargets>) {
        self.targets = Arc::clone(targets);
    }

    /// A message begins: calls made while it is handled are nested in it.
    pub(crate) fn begin(&mut self, context: CallContext) {
        self.slot.resting().begin();
        if let Some(plane) = &mut self.plane {
            plane.is_up();
        }
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

    fn send(&mut self, cx: &mut Context<'_>) -> Begun {
        let Next {
            import,
            args,
            within,
        } = &mut self.next;
        let Some(target) = import.and_then(|import| self.targets.get(import)) else {
            return Begun::Ended(Err(Box::new(CallError::NoSuchActor {
                address: self.slot.address().clone(),
            })));
        };
        if let Some(circuit) = &target.circuit {
            match circuit.admit(&self.slot) {
                Ok(pass) => self.pass = pass,
                Err(why) => return Begun::Ended(Err(Box::new(why))),
            }
        }
        self.context.reply_by = self.slot.resting().reply_by(self.context.reply_by);
        let request = CallRequest {
            target: &target.slot,
            caller: Some(&self.slot),
            export: target.export,
            parent: &self.context,
            within: within.unwrap_or(target.within),
            cell: Some(&self.cell),
        };
        let begun = begin(&request, args, &mut self.known, cx);
        // Nobody was asked: it says nothing of whom it was for, and leaves its place to the next.
        if target.circuit.is_some() && begun.is_late() {
            self.pass = Pass::None;
        }
        begun
    }

    /// A call, or an attempt, has ended: the link's breaker is told.
    #[inline(never)]
    fn tell_circuit(&mut self, answer: Ending<'_>) {
        let pass = std::mem::take(&mut self.pass);
        let target = self.next.import.and_then(|import| self.targets.get(import));
        if let Some(circuit) = target.and_then(|target| target.circuit.as_ref()) {
            circuit.ended(pass, answer, &self.slot);
        }
    }

    /// Gets ready to send the call again, if there is time left.
    fn resend(&mut self) -> bool {
        let Some(again) = self.again.as_deref() else {
            return false;
        };
        let left = again.until.saturating_duration_since(Instant::now());
        self.next = Next {
            import: Some(again.import),
            args: again.args.clone(),
            within: Some(left),
        };
        !left.is_zero()
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
    fn messaging(&mut self) -> Option<&mut dyn Messaging> {
        match self.plane {
            Some(_) => Some(self),
            None => None,
        }
    }

    fn start(&mut self, import: ImportId, args: Args) {
        if self.again.is_some() {
            self.again = None;
        }
        if let Some(target) = self.targets.get(import)
            && let Some(retry) = target.retry
        {
            let within = target.within;
            self.keep_for_retry(import, &args, retry, within);
        }
        self.next.import = Some(import);
        self.next.within = None;
        self.next.args = args;
        self.state = State::New;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        if !matches!(self.state, State::New) {
            return self.poll_on(None, cx);
        }
        match self.send(cx) {
            Begun::Ended(Ok(())) => {
                self.state = State::Quiet;
                // With the arguments it kept.
                if self.again.is_some() {
                    self.again = None;
                }
                let results = std::mem::take(&mut self.next.args);
                if !matches!(self.pass, Pass::None) {
                    self.tell_circuit(Ok(&results));
                }
                Poll::Ready(Ok(results))
            }
            Begun::Ended(Err(why)) => self.poll_on(Some(Err(*why)), cx),
            Begun::Waiting(call) => self.wait(call, cx),
        }
    }
}

impl LinkedOutbound {
    #[cold]
    fn keep_for_retry(&mut self, import: ImportId, args: &Args, retry: Retry, within: Duration) {
        self.again = Some(Box::new(Again {
            import,
            args: args.clone(),
            retry,
            left: retry.times,
            within,
            until: after(Instant::now(), within),
        }));
    }

    #[inline(never)]
    fn wait(&mut self, call: PendingCall, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        self.state = State::Waiting(call);
        self.poll_on(None, cx)
    }

    /// Polls a call that did not end at once, or one whose first attempt has `ended` and is perhaps not the last.
    #[inline(never)]
    fn poll_on(
        &mut self,
        mut ended: Option<Answer>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Args, LinkFailure>> {
        loop {
            let answer = match (ended.take(), &mut self.state) {
                (Some(answer), _) => answer,
                (None, State::New) => {
                    match self.send(cx) {
                        Begun::Ended(in_place) => {
                            let args = &mut self.next.args;
                            let results = in_place.map(|()| std::mem::take(args));
                            ended = Some(results.map_err(|why| *why));
                        }
                        Begun::Waiting(call) => self.state = State::Waiting(call),
                    }
                    continue;
                }
                (None, State::Waiting(call)) => match call.poll(&mut self.timer, cx) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => return Poll::Pending,
                },
                (None, State::Backoff(due)) => {
                    if !self.timer.poll_reached(*due, cx) {
                        return Poll::Pending;
                    }
                    if self.resend() {
                        self.state = State::New;
                        continue;
                    }
                    Err(self.no_answer())
                }
                (None, State::Quiet) => Err(self.no_answer()),
            };
            self.state = State::Quiet;
            if !matches!(self.pass, Pass::None) {
                self.tell_circuit(answer.as_ref());
            }
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
