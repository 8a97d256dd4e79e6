//! What a native actor has of the messaging plane: topics and timers of its own, and messages of bytes.
//!
//! Everything here belongs to the incarnation that asked for it and ends with it.

use std::time::Duration;

use airssys_wasm::{
    Args, ArgsMismatch, FromArgs, IntoArgs, NoSuchFunction, PatternSyntax, TopicPattern, Value,
};
use bytes::Bytes;

use super::{Context, Message};
use crate::messaging::MessageEnvelope;
use crate::reference::{ActorFunction, ActorRef};
use crate::timers::{Due, Setter, TimerError, TimerId, fitting};
use crate::topics::{PublishReport, SubscribeError, SubscribeOptions, SubscriptionId};

/// The fields of `airssys:messaging/handler`'s record `message`, as an actor that calls the function itself gives
/// them. All but the payload are the host's to say.
type Declared = (Option<String>, Option<String>, Option<u64>, Bytes);

impl Message {
    /// The message as one of the messaging plane: of `handle-message`, or of a function that takes one `list<u8>`.
    ///
    /// # Errors
    /// [`ArgsMismatch`] when it is neither, or its arguments have been taken before.
    pub fn envelope(&mut self) -> Result<MessageEnvelope, ArgsMismatch> {
        let args = self.args.take().unwrap_or_default();
        let mut values = args.values().iter();
        let (payload, topic) = match (values.next(), values.next(), values.next()) {
            (Some(Value::Bytes(payload)), None, _) => (payload.clone(), None),
            (Some(Value::Bytes(payload)), Some(Value::Bytes(topic)), None) => {
                (payload.clone(), Some(String::from_utf8_lossy(topic).into()))
            }
            _ => {
                let ((_, _, _, payload),) = <(Declared,)>::from_args(args)?;
                (payload, None)
            }
        };
        Ok(MessageEnvelope {
            sender: self.sender(),
            topic,
            payload,
            wants_reply: !self.is_cast(),
        })
    }
}

impl Context {
    /// One of this actor's own functions, for its timers and subscriptions.
    ///
    /// # Errors
    /// [`NoSuchFunction`] with the nearest names.
    pub fn function(&self, path: &str) -> Result<ActorFunction, NoSuchFunction> {
        ActorRef::new(self.slot.clone()).function(path)
    }

    /// Sends what is published under the pattern to `function`, one of its own, until this incarnation ends.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        &mut self,
        pattern: &TopicPattern,
        function: &ActorFunction,
        options: SubscribeOptions,
    ) -> Result<SubscriptionId, SubscribeError> {
        let owner = self.holdings.used();
        let shared = self.slot.shared();
        let max = shared.messaging().subscriptions_per_actor_max;
        shared
            .topics()
            .subscribe(pattern, function, options, owner, max)
    }

    /// Ends a subscription of this incarnation; whether there was one.
    pub fn unsubscribe(&self, id: SubscriptionId) -> bool {
        let owner = self.holdings.owner;
        self.slot.shared().topics().unsubscribe(id, Some(owner))
    }

    /// Ends the subscriptions of this incarnation to this pattern, however it is written; how many there were.
    pub fn unsubscribe_pattern(&self, pattern: &TopicPattern) -> usize {
        let owner = self.holdings.owner;
        let topics = self.slot.shared().topics();
        topics.unsubscribe_pattern(pattern, owner)
    }

    /// Publishes in this actor's name to everybody subscribed to the topic, without waiting.
    ///
    /// # Errors
    /// [`PatternSyntax`] when it is not a topic.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Result<PublishReport, PatternSyntax> {
        let (sender, trace) = (Some(self.slot.id()), self.context.trace);
        let topics = self.slot.shared().topics();
        topics.publish(topic, payload.into(), sender, trace)
    }

    fn timer(
        &mut self,
        delay: Duration,
        function: &ActorFunction,
        args: Args,
        every: Option<Duration>,
    ) -> Result<TimerId, TimerError> {
        fitting(function, &args)?;
        let owner = self.holdings.used();
        let due = Due {
            target: function.slot().clone(),
            export: function.export(),
            args,
            sender: Some(self.slot.id()),
            every,
        };
        let shared = self.slot.shared();
        let setter = Setter {
            owner,
            slot: &self.slot,
            aside: false,
        };
        shared.timers().set(shared, setter, delay, due)
    }

    /// Sends a message nobody waits for after `delay`, in this actor's name, if this incarnation still runs then.
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn send_after(
        &mut self,
        delay: Duration,
        function: &ActorFunction,
        args: impl IntoArgs,
    ) -> Result<TimerId, TimerError> {
        self.timer(delay, function, args.into_args(), None)
    }

    /// Sends the same message again and again, the first time after `every`, as long as this incarnation runs.
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn interval(
        &mut self,
        every: Duration,
        function: &ActorFunction,
        args: impl IntoArgs,
    ) -> Result<TimerId, TimerError> {
        self.timer(every, function, args.into_args(), Some(every))
    }

    /// Takes a timer of this incarnation back; whether it was still to come.
    pub fn cancel(&self, id: TimerId) -> bool {
        let owner = self.holdings.owner;
        self.slot.shared().timers().cancel(id, Some(owner))
    }
}
