//! Groups of actors that can stand in for one another, as OTP's `pg`.
//!
//! Owns who is in which group ([`Groups`]) and the handle to one ([`Group`]): join, leave, pick a member, send to one
//! or to all. Membership is of a registration: it outlives restarts and stops, and ends with the name. A pick takes a snapshot
//! under a short lock, and whatever is sent is sent after that; a member that is stopped is not picked, which is seen by its
//! closed mailbox. A group exists while it has members; nothing here watches their load or their health.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use airssys_wasm::{Args, IntoArgs};
use parking_lot::RwLock;

use crate::address::{ActorAddress, ActorId};
use crate::error::{CallError, SendError};
use crate::events::Event;
use crate::reference::ActorRef;
use crate::shared::Shared;
use crate::slot::Slot;

/// Most groups in one system.
pub const GROUPS_MAX: usize = 1_024;

/// Most members of one group: a pick by key looks at each.
pub const GROUP_MEMBERS_MAX: usize = 1_024;

/// Why an actor did not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The actor's registration has ended.
    #[error("actor `{0}` has ended: it joins no group")]
    Gone(ActorAddress),
    /// The group is full.
    #[error("group `{group}` has {max} members, the most there may be")]
    TooManyMembers {
        /// The group.
        group: ActorAddress,
        /// [`GROUP_MEMBERS_MAX`].
        max: usize,
    },
    /// The group would be a new one.
    #[error("there are {max} groups, the most there may be; `{group}` was not made")]
    TooManyGroups {
        /// The group.
        group: ActorAddress,
        /// [`GROUPS_MAX`].
        max: usize,
    },
}

/// Which member gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pick<'a> {
    /// Each in turn, in the order they joined.
    RoundRobin,
    /// Any, by the handle's own generator: see [`Group::seeded`].
    Random,
    /// The one this key belongs to, by rendezvous hashing of key and address: the same for as long as it is a member,
    /// whoever else joins or leaves, and in every system with the same addresses. While it is stopped, the others have its
    /// keys.
    Key(&'a [u8]),
}

/// What came of a message to all members.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Broadcast {
    /// Members that accepted it.
    pub accepted: usize,
    /// Members that did not, and why.
    pub refused: Vec<(ActorAddress, SendError)>,
}

#[derive(Clone)]
struct Member {
    slot: Arc<Slot>,
    /// Of its address.
    hash: u64,
}

type Members = Arc<[Member]>;

/// All groups of a system.
#[derive(Default)]
pub(crate) struct Groups(RwLock<Membership>);

#[derive(Default)]
struct Membership {
    groups: HashMap<ActorAddress, Members>,
    /// The groups of each actor that is in one.
    of: HashMap<ActorId, Vec<ActorAddress>>,
}

impl Groups {
    /// Lets go of every member.
    pub(crate) fn forget_all(&self) {
        let members = std::mem::take(&mut *self.0.write());
        drop(members);
    }

    fn members(&self, group: &ActorAddress) -> Members {
        let found = self.0.read().groups.get(group).cloned();
        found.unwrap_or_else(|| Members::from([]))
    }

    /// Returns whether it was not a member before.
    fn join(&self, group: &ActorAddress, slot: &Arc<Slot>) -> Result<bool, GroupError> {
        let mut all = self.0.write();
        // Under the lock: an actor that ends now leaves after this.
        if slot.is_retired() {
            return Err(GroupError::Gone(slot.address().clone()));
        }
        let groups = all.groups.len();
        let before = all.groups.get(group).map_or(&[][..], |members| members);
        if before.iter().any(|member| member.slot.id() == slot.id()) {
            return Ok(false);
        }
        if before.len() >= GROUP_MEMBERS_MAX {
            return Err(GroupError::TooManyMembers {
                group: group.clone(),
                max: GROUP_MEMBERS_MAX,
            });
        }
        if before.is_empty() && groups >= GROUPS_MAX {
            return Err(GroupError::TooManyGroups {
                group: group.clone(),
                max: GROUPS_MAX,
            });
        }
        let member = Member {
            slot: Arc::clone(slot),
            hash: hash(slot.address().as_str().as_bytes()),
        };
        let after: Members = before.iter().cloned().chain([member]).collect();
        all.groups.insert(group.clone(), after);
        all.of.entry(slot.id()).or_default().push(group.clone());
        Ok(true)
    }

    /// Returns whether it was a member.
    fn leave(&self, group: &ActorAddress, id: ActorId) -> bool {
        let mut all = self.0.write();
        let left = all.remove(group, id);
        if left && let Some(of) = all.of.get_mut(&id) {
            of.retain(|other| other != group);
            if of.is_empty() {
                all.of.remove(&id);
            }
        }
        left
    }

    /// The registration of an actor has ended. Returns the groups it was in.
    pub(crate) fn leave_all(&self, id: ActorId) -> Vec<ActorAddress> {
        if !self.0.read().of.contains_key(&id) {
            return Vec::new();
        }
        let mut all = self.0.write();
        let groups = all.of.remove(&id).unwrap_or_default();
        for group in &groups {
            all.remove(group, id);
        }
        groups
    }

    /// Every group with its members, by name.
    fn list(&self) -> Vec<GroupStatus> {
        let all = self.0.read();
        let mut list: Vec<_> = all
            .groups
            .iter()
            .map(|(name, members)| GroupStatus {
                name: name.clone(),
                members: members
                    .iter()
                    .map(|member| member.slot.address().clone())
                    .collect(),
            })
            .collect();
        drop(all);
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }
}

impl Membership {
    fn remove(&mut self, group: &ActorAddress, id: ActorId) -> bool {
        let Some(before) = self.groups.get(group) else {
            return false;
        };
        let after: Members = before
            .iter()
            .filter(|member| member.slot.id() != id)
            .cloned()
            .collect();
        let left = after.len() < before.len();
        if after.is_empty() {
            self.groups.remove(group);
        } else if left {
            self.groups.insert(group.clone(), after);
        }
        left
    }
}

/// A group and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Its name.
    pub name: ActorAddress,
    /// Its members, in the order they joined.
    pub members: Vec<ActorAddress>,
}

/// A handle on one group, whether or not it has members. Clones take turns together; other handles on the same group
/// have turns of their own.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
    name: ActorAddress,
    turns: Arc<Turns>,
}

struct Turns {
    next: AtomicUsize,
    random: AtomicU64,
}

impl Group {
    pub(crate) fn new(shared: Arc<Shared>, name: ActorAddress) -> Self {
        let seed = hash(name.as_str().as_bytes());
        Self {
            shared,
            name,
            turns: Turns::new(seed),
        }
    }

    pub(crate) fn list(shared: &Shared) -> Vec<GroupStatus> {
        shared.groups().list()
    }

    /// The same group with turns of its own, whose random picks follow from `seed` alone. Without a seed they follow
    /// from the group's name.
    #[must_use]
    pub fn seeded(&self, seed: u64) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            name: self.name.clone(),
            turns: Turns::new(seed),
        }
    }

    /// Its name. Groups have a space of names of their own.
    #[must_use]
    pub fn name(&self) -> &ActorAddress {
        &self.name
    }

    /// Its members, in the order they joined.
    #[must_use]
    pub fn members(&self) -> Vec<ActorRef> {
        let members = self.shared.groups().members(&self.name);
        members
            .iter()
            .map(|member| ActorRef::new(Arc::clone(&member.slot)))
            .collect()
    }

    /// Adds an actor, until it leaves or its registration ends. Returns whether it was not a member before: joining
    /// twice is joining once.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn join(&self, actor: &ActorRef) -> Result<bool, GroupError> {
        let joined = self.shared.groups().join(&self.name, actor.slot())?;
        if joined {
            self.shared.emit(Event::Joined {
                group: self.name.clone(),
                address: actor.address().clone(),
            });
        }
        Ok(joined)
    }

    /// Takes an actor out. Returns whether it was a member.
    pub fn leave(&self, actor: &ActorRef) -> bool {
        let left = self.shared.groups().leave(&self.name, actor.slot().id());
        if left {
            self.shared.emit(Event::Left {
                group: self.name.clone(),
                address: actor.address().clone(),
            });
        }
        left
    }

    /// The member that gets the next message, of those that are not stopped; `None` if there is none.
    #[must_use]
    pub fn pick(&self, how: Pick<'_>) -> Option<ActorRef> {
        let members = self.shared.groups().members(&self.name);
        let member = match how {
            Pick::RoundRobin => {
                open_one(&members, || self.turns.next.fetch_add(1, Ordering::Relaxed))
            }
            Pick::Random => open_one(&members, || self.turns.random()),
            Pick::Key(key) => {
                let key = hash(key);
                let open = members.iter().filter(|member| member.is_open());
                open.max_by_key(|member| mixed(key ^ member.hash))
            }
        };
        member.map(|member| ActorRef::new(Arc::clone(&member.slot)))
    }

    /// Calls one member and waits for the reply, at most 5 s. A member that fails is not replaced by another: whether
    /// that is safe, only the caller knows.
    ///
    /// # Errors
    /// [`CallError::EmptyGroup`], or as [`ActorRef::call`].
    pub async fn call(
        &self,
        how: Pick<'_>,
        path: &str,
        args: impl IntoArgs,
    ) -> Result<Args, CallError> {
        match self.pick(how) {
            Some(member) => member.call(path, args).await,
            None => Err(self.empty()),
        }
    }

    /// Sends one member a message nobody waits for.
    ///
    /// # Errors
    /// [`SendError`]: with the arguments when the group is empty, else as [`ActorRef::cast`].
    pub fn cast(&self, how: Pick<'_>, path: &str, args: impl IntoArgs) -> Result<(), SendError> {
        match self.pick(how) {
            Some(member) => member.cast(path, args),
            None => Err(SendError {
                why: Box::new(self.empty()),
                args: Some(Box::new(args.into_args())),
            }),
        }
    }

    /// Sends every member the same message, in the order they joined; those that are stopped are left out.
    pub fn broadcast(&self, path: &str, args: impl IntoArgs) -> Broadcast {
        let args = args.into_args();
        let mut done = Broadcast::default();
        let members = self.shared.groups().members(&self.name);
        for member in members.iter().filter(|member| member.is_open()) {
            let member = ActorRef::new(Arc::clone(&member.slot));
            match member.cast(path, args.clone()) {
                Ok(()) => done.accepted += 1,
                Err(why) => done.refused.push((member.address().clone(), why)),
            }
        }
        done
    }

    fn empty(&self) -> CallError {
        CallError::EmptyGroup {
            group: self.name.clone(),
        }
    }
}

impl Member {
    /// Whether it takes messages. One that is being restarted does.
    fn is_open(&self) -> bool {
        !self.slot.mailbox().is_closed()
    }
}

/// The member whose turn it is. The turns of those that are stopped are passed on, so that the others have equally many.
fn open_one(members: &[Member], mut turn: impl FnMut() -> usize) -> Option<&Member> {
    for _ in members {
        let one = members.get(turn().checked_rem(members.len())?)?;
        if one.is_open() {
            return Some(one);
        }
    }
    // By chance, or because others take turns, it was never one that is open.
    members.iter().find(|member| member.is_open())
}

impl Turns {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicUsize::new(0),
            random: AtomicU64::new(seed),
        })
    }

    /// Vigna's SplitMix64: a counter, mixed.
    fn random(&self) -> usize {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.random.fetch_add(STEP, Ordering::Relaxed);
        let random = mixed(state.wrapping_add(STEP));
        // The upper half: enough for any number of members, on every platform.
        usize::try_from(random >> 32).unwrap_or(usize::MAX)
    }
}

/// FNV-1a: the same in every process and version, unlike the hasher of a map.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// SplitMix64's finalizer: every bit of the input counts for every bit of the output.
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
