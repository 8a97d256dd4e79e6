//! Publish and subscribe by topic.
//!
//! Owns [`Topics`], the table of subscriptions, and the lists of who gets what. A topic's list is worked out once and
//! kept until a subscription that concerns it comes or goes, so that publishing costs one look-up and then one cast a
//! subscriber; the payload is shared. Each [`Subscription`] has a bound and a word on what happens beyond it; a
//! subscriber that is behind never holds up a publisher that does not ask for it. A subscription ends with its actor.

mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{ExportId, PatternSyntax, TopicPattern, Value, check_topic};
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::address::{ActorAddress, ActorId};
use crate::deadline::after;
use crate::mailbox::BackpressureStrategy;
use crate::reference::ActorFunction;
use crate::shared::Shared;
use crate::topics::subscription::{Offered, Publication};
use crate::trace::TraceContext;

pub(crate) use subscription::{RingUnits, Subscription};

/// Topics whose list of subscribers is kept. Beyond it all lists are forgotten and worked out again.
const LISTS_MAX: usize = 1_024;

/// What one subscription may hold, and what happens to a publication beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Most publications sent to the subscriber and not finished. Default 256, so that one busy topic leaves room in
    /// a mailbox of 1,000.
    pub depth_max: u32,
    /// Most bytes of them. Default 4 MiB, a quarter of a mailbox. All subscriptions of an actor that drop the oldest may
    /// hold as many bytes together as its mailbox (`MailboxConfig::bytes_max`); what does not fit for the others is refused.
    pub bytes_max: u64,
    /// What happens beyond that. Default [`BackpressureStrategy::Error`]: the publisher's report says so.
    pub overflow: BackpressureStrategy,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            depth_max: 256,
            bytes_max: 4 << 20,
            overflow: BackpressureStrategy::Error,
        }
    }
}

/// The number of a subscription, never used twice in a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(u64);

/// Why there is no subscription.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The function takes other values than a publication has.
    #[error(
        "`{signature}` cannot be subscribed: it must be `func(list<u8>)` or `airssys:messaging/handler#handle-message`"
    )]
    Signature {
        /// The function's type, as WIT.
        signature: String,
    },
    /// The actor has as many subscriptions as one may have.
    #[error("actor `{address}` has {max} subscriptions, and may have no more")]
    Quota {
        /// The subscriber.
        address: ActorAddress,
        /// The limit, `subscriptions_per_actor_max`.
        max: u32,
    },
    /// The actor has ended.
    #[error("actor `{address}` has ended")]
    Stopped {
        /// The subscriber.
        address: ActorAddress,
    },
}

/// What became of one publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PublishReport {
    /// Subscriptions to its topic.
    pub matched: usize,
    /// Sent to the subscriber.
    pub sent: usize,
    /// Not sent, because there was no room: the subscriber does not get it, and nothing keeps it.
    pub refused: usize,
    /// Kept as a dead letter instead, because the subscription or the subscriber's mailbox drops what is new.
    pub dropped: usize,
}

/// Who owns a subscription or a timer: an actor, or one instance of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) actor: ActorId,
    /// The number of the instance's holdings.
    pub(crate) tenure: Option<u64>,
}

/// Who gets what is published under one topic, which is one because somebody has looked.
pub(crate) struct Listed {
    /// As every subscriber is told it.
    topic: Bytes,
    subscriptions: Box<[Arc<Subscription>]>,
}

pub(crate) type List = Arc<Listed>;

/// All subscriptions of a system.
#[derive(Default)]
pub(crate) struct TopicTable(RwLock<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    subscriptions: BTreeMap<u64, Entry>,
    /// Those that each actor owns or is the subscriber of: an actor that ends concerns no others.
    of_actors: HashMap<ActorId, BTreeSet<u64>>,
    /// How many each actor owns that something is sent to.
    counts: HashMap<ActorId, u32>,
    /// By a hash that is quick for short names: with as few lists as there may be, names that collide cost little.
    lists: HashMap<Box<str>, List, foldhash::fast::RandomState>,
}

struct Entry {
    pattern: TopicPattern,
    owner: Owner,
    standing: Standing,
    subscription: Arc<Subscription>,
}

/// Whether something is sent to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Counts,
    /// Not yet: its owner does not serve.
    Waits,
    /// Not any more: whoever serves after its owner has it with other options.
    Aside,
}

impl Entry {
    /// By what two of them are the same: pattern, function and options.
    fn same(&self) -> (TopicPattern, ExportId, SubscribeOptions) {
        let subscription = &self.subscription;
        let (function, options) = (subscription.function(), subscription.options());
        (self.pattern.clone(), function, options)
    }

    /// Whose end is its own.
    fn concerns(&self) -> [ActorId; 2] {
        [self.owner.actor, self.subscription.target().id()]
    }
}

impl Table {
    fn forget_lists(&mut self, pattern: &TopicPattern) {
        self.lists.retain(|topic, _| !pattern.matches(topic));
    }

    /// What concerns this actor.
    fn about(&self, actor: ActorId) -> impl Iterator<Item = (u64, &Entry)> {
        let ids = self.of_actors.get(&actor).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.subscriptions.get(id)?)))
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = (u64, &Entry)> {
        let all = self.about(owner.actor);
        all.filter(move |(_, entry)| entry.owner == owner)
    }

    fn ids_of(&self, owner: Owner) -> Vec<u64> {
        self.of(owner).map(|(id, _)| id).collect()
    }

    /// How many subscriptions this owner alone has.
    fn count_of(&self, owner: Owner) -> u32 {
        u32::try_from(self.of(owner).count()).unwrap_or(u32::MAX)
    }

    fn insert(&mut self, entry: Entry) -> u64 {
        self.next += 1;
        let id = self.next;
        for actor in entry.concerns() {
            self.of_actors.entry(actor).or_default().insert(id);
        }
        self.forget_lists(&entry.pattern);
        self.count(entry.owner.actor, Standing::Waits, entry.standing);
        self.subscriptions.insert(id, entry);
        id
    }

    /// One of this actor's is another thing than it was.
    fn count(&mut self, actor: ActorId, was: Standing, is: Standing) {
        let count = self.counts.entry(actor).or_default();
        *count += u32::from(is == Standing::Counts);
        *count -= u32::from(was == Standing::Counts);
        if *count == 0 {
            self.counts.remove(&actor);
        }
    }

    fn stand(&mut self, id: u64, standing: Standing) {
        let Some(entry) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let was = std::mem::replace(&mut entry.standing, standing);
        if was != standing {
            let (actor, pattern) = (entry.owner.actor, entry.pattern.clone());
            self.count(actor, was, standing);
            self.forget_lists(&pattern);
        }
    }

    /// What this owner has subscribed is no longer aside.
    fn count_from_now_on(&mut self, owner: Owner) {
        for id in self.ids_of(owner) {
            self.stand(id, Standing::Counts);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.subscriptions.remove(&id)?;
        self.count(entry.owner.actor, entry.standing, Standing::Waits);
        for actor in entry.concerns() {
            if let Some(ids) = self.of_actors.get_mut(&actor) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.of_actors.remove(&actor);
                }
            }
        }
        self.forget_lists(&entry.pattern);
        Some(entry)
    }
}

impl TopicTable {
    /// Lets go of every subscription.
    pub(crate) fn forget_all(&self) {
        let table = std::mem::take(&mut *self.0.write());
        drop(table);
    }

    /// Subscribes `function`; with `owner` the subscription ends with it, else with the function's actor.
    pub(crate) fn subscribe(
        &self,
        pattern: &TopicPattern,
        function: &ActorFunction,
        options: SubscribeOptions,
        owner: Owner,
        max: u32,
    ) -> Result<SubscriptionId, SubscribeError> {
        self.add(pattern, function, options, (owner, Standing::Counts), max)
    }

    /// The same for an owner that does not serve yet: nothing is sent before [`TopicTable::take_over`] or
    /// [`TopicTable::inherit`].
    pub(crate) fn subscribe_aside(
        &self,
        pattern: &TopicPattern,
        function: &ActorFunction,
        options: SubscribeOptions,
        owner: Owner,
        max: u32,
    ) -> Result<SubscriptionId, SubscribeError> {
        self.add(pattern, function, options, (owner, Standing::Waits), max)
    }

    fn add(
        &self,
        pattern: &TopicPattern,
        function: &ActorFunction,
        options: SubscribeOptions,
        (owner, standing): (Owner, Standing),
        max: u32,
    ) -> Result<SubscriptionId, SubscribeError> {
        let subscription = Subscription::new(function, options)?;
        let slot = function.slot();
        let mut table = self.0.write();
        let count = if standing == Standing::Counts {
            table.counts.get(&owner.actor).copied().unwrap_or(0)
        } else {
            table.count_of(owner)
        };
        if count >= max {
            return Err(SubscribeError::Quota {
                address: slot.address().clone(),
                max,
            });
        }
        // Looked at under the lock: a retirement after this finds the subscription.
        if slot.exit_reason().is_some() {
            return Err(SubscribeError::Stopped {
                address: slot.address().clone(),
            });
        }
        Ok(SubscriptionId(table.insert(Entry {
            pattern: pattern.clone(),
            owner,
            standing,
            subscription: Arc::new(subscription),
        })))
    }

    /// Ends a subscription of `owner`, or any if none is given. What has been sent is still handled.
    pub(crate) fn unsubscribe(&self, id: SubscriptionId, owner: Option<Owner>) -> bool {
        let mut table = self.0.write();
        let known = table.subscriptions.get(&id.0);
        if !known.is_some_and(|entry| owner.is_none_or(|owner| entry.owner == owner)) {
            return false;
        }
        let removed = table.remove(id.0);
        drop(table);
        removed.is_some()
    }

    /// What `to` has subscribed counts from now on; what `from` has is its own from now on, and goes on where both
    /// have the same. Where `to` has it with other options, those hold: what `from` has of it is put aside, for the case that
    /// `from` serves again. Returns whether it has anything there.
    pub(crate) fn inherit(&self, from: Owner, to: Owner) -> bool {
        debug_assert_eq!(from.actor, to.actor, "instances of one actor");
        let mut table = self.0.write();
        let of = |table: &Table, owner| -> Vec<_> {
            let all = table.of(owner);
            all.map(|(id, entry)| (id, entry.same())).collect()
        };
        let (old, new) = (of(&table, from), of(&table, to));
        let double = new
            .iter()
            .filter(|(_, new)| old.iter().any(|(_, old)| old == new));
        let removed: Vec<_> = double.filter_map(|(id, _)| table.remove(*id)).collect();
        let mut keeps = false;
        for (id, old) in &old {
            let is_other = new
                .iter()
                .any(|(_, new)| (&new.0, new.1) == (&old.0, old.1))
                && !new.iter().any(|(_, new)| new == old);
            if is_other {
                table.stand(*id, Standing::Aside);
                keeps = true;
            } else if let Some(entry) = table.subscriptions.get_mut(id) {
                entry.owner = to;
            }
        }
        table.count_from_now_on(to);
        drop(table);
        drop(removed);
        keeps
    }

    /// What `to` has subscribed counts from now on, and what `from` has no longer: no publication is sent to both, and
    /// none to neither.
    pub(crate) fn take_over(&self, from: Option<Owner>, to: Owner) {
        let mut table = self.0.write();
        let ended = from.map(|from| table.ids_of(from)).unwrap_or_default();
        let removed: Vec<_> = ended
            .into_iter()
            .filter_map(|id| table.remove(id))
            .collect();
        table.count_from_now_on(to);
        drop(table);
        drop(removed);
    }

    /// Ends what this owner subscribed under `pattern`; how many there were. If it serves, what whoever served before it had
    /// there does not come back either.
    pub(crate) fn unsubscribe_pattern(&self, pattern: &TopicPattern, owner: Owner) -> usize {
        let mut table = self.0.write();
        let of_actor = table
            .about(owner.actor)
            .filter(|(_, entry)| entry.owner.actor == owner.actor && entry.pattern == *pattern);
        let there: Vec<_> = of_actor
            .map(|(id, entry)| (id, entry.owner == owner, entry.standing))
            .collect();
        let serves =
            |(_, own, standing): &(u64, bool, Standing)| *own && *standing == Standing::Counts;
        let serves = there.iter().any(serves);
        let ends = |(_, own, standing): &(u64, bool, Standing)| {
            *own || (serves && *standing == Standing::Aside)
        };
        let removed: Vec<_> = there
            .into_iter()
            .filter(ends)
            .filter_map(|(id, own, _)| Some((own, table.remove(id)?)))
            .collect();
        drop(table);
        removed.iter().filter(|(own, _)| *own).count()
    }

    /// The incarnation is over.
    pub(crate) fn release(&self, owner: Owner) {
        self.remove_where(owner.actor, |entry| entry.owner == owner);
    }

    /// The actor is gone.
    pub(crate) fn forget(&self, actor: ActorId) {
        if !self.0.read().subscriptions.is_empty() {
            self.remove_where(actor, |_| true);
        }
    }

    /// Ends these of what concerns an actor.
    fn remove_where(&self, actor: ActorId, which: impl Fn(&Entry) -> bool) -> usize {
        let mut table = self.0.write();
        let all = table.about(actor);
        let ids: Vec<_> = all
            .filter(|(_, entry)| which(entry))
            .map(|(id, _)| id)
            .collect();
        let removed: Vec<_> = ids.into_iter().filter_map(|id| table.remove(id)).collect();
        drop(table);
        removed.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().subscriptions.len()
    }

    /// The list of a topic, if it is kept.
    fn kept(&self, topic: &str) -> Option<List> {
        self.0.read().lists.get(topic).map(Arc::clone)
    }

    /// Works out who gets a publication under `topic`, in the order they subscribed.
    #[cold]
    fn list(&self, topic: &str) -> List {
        let mut table = self.0.write();
        let subscriptions = table
            .subscriptions
            .values()
            .filter(|entry| entry.standing == Standing::Counts && entry.pattern.matches(topic))
            .map(|entry| Arc::clone(&entry.subscription))
            .collect();
        let list = Arc::new(Listed {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            subscriptions,
        });
        if table.lists.len() >= LISTS_MAX {
            table.lists.clear();
        }
        table.lists.insert(topic.into(), Arc::clone(&list));
        list
    }

    /// Sends a publication to everybody subscribed. Those that ask the publisher to wait for room are in `waiting`; without
    /// it they refuse.
    ///
    /// # Errors
    /// [`PatternSyntax`] when it is not a topic. One whose list is kept has been looked at before.
    fn send(
        &self,
        topic: &str,
        publication: impl FnOnce(List) -> Publication,
        waiting: Option<&mut Option<Waiting>>,
    ) -> Result<PublishReport, PatternSyntax> {
        let list = match self.kept(topic) {
            Some(list) => list,
            None => {
                check_topic(topic)?;
                self.list(topic)
            }
        };
        let publication = publication(list);
        let mut report = PublishReport {
            matched: publication.list.subscriptions.len(),
            ..PublishReport::default()
        };
        let mut subscriptions = Vec::new();
        for subscription in &publication.list.subscriptions {
            match subscription.offer(&publication) {
                Offered::Sent => report.sent += 1,
                Offered::Dropped => report.dropped += 1,
                Offered::Refused => report.refused += 1,
                Offered::Wait => {
                    report.refused += 1;
                    if waiting.is_some() {
                        subscriptions.push(Arc::clone(subscription));
                    }
                }
            }
        }
        if let Some(waiting) = waiting {
            *waiting = Some(Waiting {
                publication,
                subscriptions,
            });
        }
        Ok(report)
    }

    /// Sends a publication to everybody subscribed, without waiting.
    ///
    /// # Errors
    /// As [`TopicTable::send`].
    pub(crate) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        sender: Option<ActorId>,
        trace: Option<TraceContext>,
    ) -> Result<PublishReport, PatternSyntax> {
        let publication = |list| Publication {
            payload: Value::Bytes(payload),
            list,
            sender,
            trace,
        };
        self.send(topic, publication, None)
    }
}

/// A publication that some subscribers have no room for, and ask the publisher to wait.
pub(crate) struct Waiting {
    publication: Publication,
    subscriptions: Vec<Arc<Subscription>>,
}

impl Waiting {
    async fn wait(self, report: &mut PublishReport, until: Instant) {
        for subscription in self.subscriptions {
            let sent = subscription.offer_blocked(&self.publication);
            match tokio::time::timeout_at(until, sent).await {
                Ok(Offered::Sent) => report.sent += 1,
                Ok(Offered::Dropped) => report.dropped += 1,
                Ok(Offered::Refused | Offered::Wait) | Err(_) => continue,
            }
            report.refused -= 1;
        }
    }
}

/// The topics of a system.
///
/// A subscriber is one function of an actor: `airssys:messaging/handler#handle-message`, which is told the topic and
/// the sender, or any function that takes one `list<u8>`. Order holds for each publisher and subscriber.
#[derive(Clone)]
pub struct Topics {
    shared: Arc<Shared>,
}

impl Topics {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends what is published under the pattern to `function`, until its actor is gone; restarts change nothing.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        &self,
        pattern: &TopicPattern,
        function: &ActorFunction,
        options: SubscribeOptions,
    ) -> Result<SubscriptionId, SubscribeError> {
        let owner = Owner {
            actor: function.slot().id(),
            tenure: None,
        };
        let max = self.shared.messaging().subscriptions_per_actor_max;
        self.shared
            .topics()
            .subscribe(pattern, function, options, owner, max)
    }

    /// Ends a subscription; whether there was one. What has been sent is still handled.
    pub fn unsubscribe(&self, id: SubscriptionId) -> bool {
        self.shared.topics().unsubscribe(id, None)
    }

    /// Publishes to everybody subscribed to the topic, without waiting: a subscriber that asks publishers to wait and
    /// has no room refuses. What its mailbox drops as the newest is counted as dropped, and what that refuses as refused.
    ///
    /// # Errors
    /// [`PatternSyntax`] when it is not a topic.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Result<PublishReport, PatternSyntax> {
        self.shared
            .topics()
            .publish(topic, payload.into(), None, None)
    }

    /// As [`Topics::publish`], waiting for room at subscribers that ask for it, by the word of the subscription where that
    /// has no room and by that of the mailbox where the mailbox has none: one after the other and at most `within` in all.
    ///
    /// # Errors
    /// [`PatternSyntax`] when it is not a topic.
    pub async fn publish_within(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        within: Duration,
    ) -> Result<PublishReport, PatternSyntax> {
        let payload = Value::Bytes(payload.into());
        let publication = |list| Publication {
            payload,
            list,
            sender: None,
            trace: None,
        };
        let mut waiting = None;
        let topics = self.shared.topics();
        let mut report = topics.send(topic, publication, Some(&mut waiting))?;
        if let Some(waiting) = waiting {
            let until = after(Instant::now(), within);
            waiting.wait(&mut report, until).await;
        }
        Ok(report)
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.shared.topics().len()
    }
}
