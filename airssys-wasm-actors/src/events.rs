//! What happens to actors, for whoever wants to know.
//!
//! Owns [`Event`] and a bounded broadcast of them. Sending never waits: a subscriber that does not
//! keep up loses the oldest events and is told how many. Nothing in the system depends on a
//! subscriber, and supervision does not run over this channel.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::address::ActorAddress;
use crate::deployment::Load;
use crate::exit::ExitReason;
use crate::health::ChildHealth;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// An incarnation is up and takes messages.
    Started {
        /// The actor.
        address: ActorAddress,
        /// 1 for the first incarnation under this registration.
        incarnation: u64,
    },
    /// An incarnation has ended; its Store is gone.
    Exited {
        /// The actor.
        address: ActorAddress,
        /// Which incarnation.
        incarnation: u64,
        /// Why.
        reason: ExitReason,
    },
    /// An incarnation could not be started.
    StartFailed {
        /// The actor.
        address: ActorAddress,
        /// Which incarnation it would have been.
        incarnation: u64,
        /// Why not.
        reason: ExitReason,
    },
    /// The registration has ended: the name is free, and the mailbox is closed.
    Gone {
        /// The actor.
        address: ActorAddress,
        /// Why.
        reason: ExitReason,
    },
    /// Another revision of the component serves, in the same incarnation: its mailbox, monitors and links are as they were.
    Upgraded {
        /// The actor; of a component with replicas, the one of them.
        address: ActorAddress,
        /// Which incarnation.
        incarnation: u64,
        /// SHA-256 of the component that serves now, in hexadecimal digits.
        digest: Arc<str>,
    },
    /// There is another number of replicas of an actor. What is one too many may still finish what it has in hand.
    Scaled {
        /// The actor: the name that they share.
        address: ActorAddress,
        /// How many there were.
        from: u32,
        /// How many there are.
        to: u32,
    },
    /// There is another number of replicas of an actor, because of what they had to do. After [`Event::Scaled`], once those
    /// that were too many are gone.
    Autoscaled {
        /// The actor: the name that they share.
        address: ActorAddress,
        /// How many there were.
        from: u32,
        /// How many there are.
        to: u32,
        /// What they had to do in the second before it was decided.
        load: Load,
    },
    /// There should be another number of replicas of an actor, and cannot be; it is tried again later.
    NotAutoscaled {
        /// The actor: the name that they share.
        address: ActorAddress,
        /// How many there are.
        from: u32,
        /// How many there should be.
        to: u32,
        /// What they had to do in the second before it was decided.
        load: Load,
        /// Why not.
        why: Arc<str>,
    },
    /// An instance has another configuration, and was told of it.
    Configured {
        /// The actor; of a component with replicas, the one of them.
        address: ActorAddress,
        /// Which incarnation.
        incarnation: u64,
        /// The number of the configuration that holds now.
        revision: u64,
    },
    /// A child says of itself something else than it did when its supervisor asked before.
    Health {
        /// The actor.
        address: ActorAddress,
        /// What it says.
        health: ChildHealth,
    },
    /// An incarnation of a supervisor is up, and the children it starts with.
    SupervisorStarted {
        /// Its address.
        address: ActorAddress,
        /// 1 for the first.
        incarnation: u64,
    },
    /// An incarnation of a supervisor has ended, and nothing of its tree is left.
    SupervisorExited {
        /// Its address.
        address: ActorAddress,
        /// Which incarnation.
        incarnation: u64,
        /// Why.
        reason: ExitReason,
    },
    /// A supervisor has ended, and nobody starts it again by itself.
    SupervisorEnded {
        /// Its address.
        address: ActorAddress,
        /// Why.
        reason: ExitReason,
    },
    /// A child that was asked to end has not done so in the time it had, and is killed; of a supervisor, with all that
    /// is left of its tree.
    Overdue {
        /// The child.
        address: ActorAddress,
    },
    /// An actor has joined a group.
    Joined {
        /// The group.
        group: ActorAddress,
        /// The actor.
        address: ActorAddress,
    },
    /// An actor is no longer in a group: it left, or its registration has ended.
    Left {
        /// The group.
        group: ActorAddress,
        /// The actor.
        address: ActorAddress,
    },
    /// An actor has given up its instance, and takes messages all the same.
    Passivated {
        /// The actor.
        address: ActorAddress,
        /// Its incarnation, which goes on.
        incarnation: u64,
    },
    /// A message has brought a passive actor's instance back.
    Activated {
        /// The actor.
        address: ActorAddress,
        /// Its incarnation, still the same.
        incarnation: u64,
    },
    /// An idle actor keeps its instance, because there is no snapshot of it.
    SnapshotFailed {
        /// The actor.
        address: ActorAddress,
        /// Why not.
        why: Arc<str>,
    },
    /// Too many of the last calls through a link have failed: its breaker refuses calls for a while.
    CircuitOpened {
        /// The actor whose link it is.
        from: ActorAddress,
        /// Where it leads.
        to: ActorAddress,
        /// What is linked, as the link says it.
        import: Arc<str>,
    },
    /// The breaker of a link has refused calls for long enough, and lets some through to try it.
    CircuitHalfOpened {
        /// The actor whose link it is.
        from: ActorAddress,
        /// Where it leads.
        to: ActorAddress,
        /// What is linked, as the link says it.
        import: Arc<str>,
    },
    /// A link has been tried with success, and all calls go through it again.
    CircuitClosed {
        /// The actor whose link it is.
        from: ActorAddress,
        /// Where it leads.
        to: ActorAddress,
        /// What is linked, as the link says it.
        import: Arc<str>,
    },
    /// A cast became a dead letter.
    DeadLetter {
        /// Whom it was for.
        address: ActorAddress,
        /// The kind of the error, as [`CallError::kind`](crate::CallError::kind).
        kind: &'static str,
    },
    /// A dead letter that was sent again has been handled, and is no longer kept.
    DeadLetterHandled {
        /// Who handled it.
        address: ActorAddress,
        /// Its number.
        sequence: u64,
    },
    /// This subscriber was too slow: so many events before the next one are lost to it.
    Lagged(u64),
}

/// A subscription, from the moment it was made.
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the system is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Event::Lagged(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next event that has come already, if there is one.
    pub fn try_recv(&mut self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(lost)) => Some(Event::Lagged(lost)),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }
}
