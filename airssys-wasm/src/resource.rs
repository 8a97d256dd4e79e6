//! Resources that have left their Store: who owns them, and what stands for them outside.
//!
//! Owns [`ResourceHandle`], the value of a handle on its way, and [`ResourceOwner`], what the rest of the world knows of
//! the instance (or native actor) in which the resource itself stays. A handle is a claim on one entry of its
//! owner's table, counted by reference: whoever holds it (a message, an importer's table, a task of the host) and
//! however that ends, the last one that lets go tells the owner. So nothing has to be swept up after anybody, and
//! the drop cannot overtake a message that carries the handle.
//!
//! What flows through: keys of entries whose last holder is gone, from any thread to the owner, which is woken
//! once for a batch and destroys the resources between two messages.
//!
//! Costs: one allocation for each transfer of ownership. A component without resources has none of this.
//!
//! Deliberately absent: the resources themselves, and the tables on both sides (`handles`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use wasmtime::component::ResourceAny;

use crate::gate::InstanceIdentity;
use crate::wit::ResourceName;

/// The owner of resources, seen from outside: one incarnation of one actor.
pub struct ResourceOwner {
    identity: InstanceIdentity,
    /// Entries others have handles to.
    held: AtomicUsize,
    released: Mutex<Released>,
    on_release: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Released {
    keys: VecDeque<u64>,
    /// The owner is gone, and its resources with it.
    closed: bool,
}

impl ResourceOwner {
    /// An owner that has given nothing away.
    #[must_use]
    pub fn new(identity: InstanceIdentity) -> Arc<Self> {
        Arc::new(Self {
            identity,
            held: AtomicUsize::new(0),
            released: Mutex::default(),
            on_release: OnceLock::new(),
        })
    }

    /// Returns who it is.
    #[must_use]
    pub fn identity(&self) -> &InstanceIdentity {
        &self.identity
    }

    /// Returns how many of its resources others hold, those it has yet to destroy included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Has `wake` called, on any thread, whenever the first of a batch of resources is released. Only the first
    /// `wake` counts. It must not hold the owner.
    pub fn on_release(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_release.set(Box::new(wake));
        if self.has_released() {
            self.wake();
        }
    }

    /// Returns whether there is a resource nobody holds any more.
    #[must_use]
    pub fn has_released(&self) -> bool {
        !self.released().keys.is_empty()
    }

    /// Takes the key of the next resource that nobody holds any more; it is the owner's to destroy.
    pub fn next_released(&self) -> Option<u64> {
        let key = self.released().keys.pop_front()?;
        self.held.fetch_sub(1, Ordering::Relaxed);
        Some(key)
    }

    /// Gives a handle away that owns the resource of this key.
    ///
    /// Keys are the owner's choice; one must not be issued again before it was released or redeemed.
    #[must_use]
    pub fn issue(self: &Arc<Self>, key: u64, resource: &Arc<ResourceName>) -> ResourceHandle {
        self.held.fetch_add(1, Ordering::Relaxed);
        ResourceHandle(Stage::Own(Arc::new(Claim {
            owner: Arc::clone(self),
            resource: Arc::clone(resource),
            key,
            spent: AtomicBool::new(false),
        })))
    }

    /// Returns the key behind a handle to one of its resources, and leaves the handle as it is.
    ///
    /// # Errors
    /// [`StaleHandle`] if the resource is gone, or not this owner's.
    pub fn key_of(self: &Arc<Self>, handle: &ResourceHandle) -> Result<u64, StaleHandle> {
        let claim = handle.claim().ok_or(StaleHandle::Spent)?;
        claim.check(self)?;
        if claim.spent.load(Ordering::Acquire) {
            return Err(StaleHandle::Spent);
        }
        Ok(claim.key)
    }

    /// Takes a resource back from the handle that owns it; all clones of the handle are stale from then on.
    ///
    /// # Errors
    /// [`StaleHandle`] if the resource is gone, lent and not owned by the handle, or not this owner's.
    pub fn redeem(self: &Arc<Self>, handle: &ResourceHandle) -> Result<u64, StaleHandle> {
        let claim = handle.claim().ok_or(StaleHandle::Spent)?;
        claim.check(self)?;
        if !handle.is_own() || !claim.spend() {
            return Err(StaleHandle::Spent);
        }
        self.held.fetch_sub(1, Ordering::Relaxed);
        Ok(claim.key)
    }

    /// The resources are gone: whoever still has a handle to one has a stale handle.
    pub fn close(&self) {
        let left = {
            let mut released = self.released();
            released.closed = true;
            std::mem::take(&mut released.keys)
        };
        self.held.store(0, Ordering::Relaxed);
        drop(left);
    }

    /// Held to move a few numbers, never while waking.
    fn released(&self) -> MutexGuard<'_, Released> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.released().closed
    }

    fn release(&self, key: u64) {
        let first = {
            let mut released = self.released();
            if released.closed {
                return;
            }
            released.keys.push_back(key);
            released.keys.len() == 1
        };
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(wake) = self.on_release.get() {
            wake();
        }
    }
}

impl fmt::Debug for ResourceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceOwner")
            .field("identity", &self.identity)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// Why a handle leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StaleHandle {
    /// The instance that had the resource has ended.
    #[error(
        "its owner `{address}` has been restarted (it was incarnation {was}, and now is {now})"
    )]
    Restarted {
        /// The owner's address.
        address: String,
        /// The incarnation that had the resource.
        was: u64,
        /// The one that runs now.
        now: u64,
    },
    /// The resource is another actor's.
    #[error("it belongs to `{owner}`, not to `{asked}`")]
    Foreign {
        /// Whose it is.
        owner: String,
        /// Who was given it as its own.
        asked: String,
    },
    /// It was given to somebody else before, or is only lent.
    #[error("it was given away before")]
    Spent,
}

/// What a handle holds on to: one entry of its owner's table.
struct Claim {
    owner: Arc<ResourceOwner>,
    resource: Arc<ResourceName>,
    key: u64,
    /// The entry is somebody else's business now.
    spent: AtomicBool,
}

impl Claim {
    /// Takes the claim; only the first one gets it.
    fn spend(&self) -> bool {
        !self.spent.swap(true, Ordering::AcqRel)
    }

    fn check(&self, owner: &Arc<ResourceOwner>) -> Result<(), StaleHandle> {
        if Arc::ptr_eq(&self.owner, owner) {
            return Ok(());
        }
        let (mine, theirs) = (&owner.identity, &self.owner.identity);
        Err(if mine.address == theirs.address {
            StaleHandle::Restarted {
                address: mine.address.to_string(),
                was: theirs.generation,
                now: mine.generation,
            }
        } else {
            StaleHandle::Foreign {
                owner: theirs.address.to_string(),
                asked: mine.address.to_string(),
            }
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !*self.spent.get_mut() {
            self.owner.release(self.key);
        }
    }
}

/// A handle to a resource of another instance, outside of any Store.
///
/// It either owns the resource or borrows it. Clones share one claim: when the last of them is dropped, and the
/// resource was not handed on, its owner destroys it. Passing an owning handle as an `own` argument hands it on, and
/// leaves its clones stale; passing it where a `borrow` is asked for needs [`ResourceHandle::lend`].
#[derive(Clone)]
pub struct ResourceHandle(Stage);

#[derive(Clone)]
enum Stage {
    Own(Arc<Claim>),
    Borrow(Arc<Claim>),
    /// Between a Store's tables and ours; never leaves the engine.
    Lifted(Box<ResourceAny>),
}

impl ResourceHandle {
    /// Returns a handle that borrows what this one owns or borrows. While it is somewhere, in a message for
    /// instance, the resource is not destroyed.
    #[must_use]
    pub fn lend(&self) -> Self {
        Self(match &self.0 {
            Stage::Own(claim) | Stage::Borrow(claim) => Stage::Borrow(Arc::clone(claim)),
            Stage::Lifted(any) => Stage::Lifted(Box::clone(any)),
        })
    }

    /// Returns whether it owns its resource.
    #[must_use]
    pub fn is_own(&self) -> bool {
        match &self.0 {
            Stage::Own(_) => true,
            Stage::Borrow(_) => false,
            Stage::Lifted(any) => any.owned(),
        }
    }

    /// Returns whether it leads nowhere any more: its owner has ended, or the resource was handed on.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.claim()
            .is_none_or(|claim| claim.spent.load(Ordering::Acquire) || claim.owner.is_closed())
    }

    /// Returns who has the resource.
    #[must_use]
    pub fn owner(&self) -> Option<&InstanceIdentity> {
        self.claim().map(|claim| claim.owner.identity())
    }

    /// Returns what it is a handle to.
    #[must_use]
    pub fn resource(&self) -> Option<&Arc<ResourceName>> {
        self.claim().map(|claim| &claim.resource)
    }

    /// Takes the claim of an owning handle for whoever gets it next; `None` if it was taken before.
    pub(crate) fn take(&self) -> Option<ResourceHandle> {
        let Stage::Own(claim) = &self.0 else {
            return None;
        };
        claim.spend().then(|| {
            Self(Stage::Own(Arc::new(Claim {
                owner: Arc::clone(&claim.owner),
                resource: Arc::clone(&claim.resource),
                key: claim.key,
                spent: AtomicBool::new(false),
            })))
        })
    }

    /// Whether [`ResourceHandle::take`] or a redemption would find it spent.
    pub(crate) fn is_spent(&self) -> bool {
        self.claim()
            .is_none_or(|claim| claim.spent.load(Ordering::Acquire))
    }

    pub(crate) fn lifted(any: ResourceAny) -> Self {
        Self(Stage::Lifted(Box::new(any)))
    }

    pub(crate) fn as_lifted(&self) -> Option<ResourceAny> {
        match &self.0 {
            Stage::Lifted(any) => Some(**any),
            _ => None,
        }
    }

    fn claim(&self) -> Option<&Claim> {
        match &self.0 {
            Stage::Own(claim) | Stage::Borrow(claim) => Some(claim),
            Stage::Lifted(_) => None,
        }
    }
}

impl PartialEq for ResourceHandle {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Stage::Own(one), Stage::Own(two)) | (Stage::Borrow(one), Stage::Borrow(two)) => {
                Arc::ptr_eq(one, two)
            }
            (Stage::Lifted(one), Stage::Lifted(two)) => one == two,
            _ => false,
        }
    }
}

impl fmt::Display for ResourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_own() { "own" } else { "borrow" };
        match self.claim() {
            Some(claim) => {
                let InstanceIdentity {
                    address,
                    generation,
                } = &claim.owner.identity;
                write!(f, "{kind}<{}> of {address}/{generation}", claim.resource)
            }
            None => f.write_str(kind),
        }
    }
}

impl fmt::Debug for ResourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::InterfaceName;
    use crate::wit::ResourceSide;

    fn owner(address: &str, generation: u64) -> Arc<ResourceOwner> {
        ResourceOwner::new(InstanceIdentity {
            address: address.into(),
            generation,
        })
    }

    fn counter() -> Arc<ResourceName> {
        ResourceName::new(
            &InterfaceName::new("a:b/c"),
            "counter",
            ResourceSide::Exported,
        )
    }

    #[test]
    fn the_last_holder_that_lets_go_wakes_the_owner_once_a_batch() {
        let owner = owner("a", 1);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        owner.on_release(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (one, two) = (owner.issue(1, &counter()), owner.issue(2, &counter()));
        let lent = one.lend();
        drop(one);
        assert_eq!((owner.held(), owner.has_released()), (2, false));
        drop(lent);
        drop(two);
        assert_eq!((woken.load(Ordering::Relaxed), owner.held()), (1, 2));
        assert_eq!(
            (owner.next_released(), owner.next_released()),
            (Some(1), Some(2))
        );
        assert_eq!((owner.held(), owner.next_released()), (0, None));
    }

    #[test]
    fn a_resource_is_redeemed_once_and_its_clones_are_stale() {
        let owner = owner("a", 1);
        let handle = owner.issue(7, &counter());
        let clone = handle.clone();
        assert_eq!(owner.key_of(&handle.lend()), Ok(7));
        assert_eq!(owner.redeem(&handle.lend()), Err(StaleHandle::Spent));
        assert_eq!(owner.redeem(&handle), Ok(7));
        assert_eq!(owner.redeem(&clone), Err(StaleHandle::Spent));
        assert!(clone.is_stale());
        drop((handle, clone));
        assert_eq!((owner.held(), owner.has_released()), (0, false));
    }

    #[test]
    fn handing_on_moves_the_claim() {
        let owner = owner("a", 1);
        let handle = owner.issue(7, &counter());
        let next = handle.take().unwrap();
        assert!(handle.take().is_none());
        drop(handle);
        assert!(!owner.has_released());
        drop(next);
        assert_eq!(owner.next_released(), Some(7));
    }

    #[test]
    fn stale_handles_say_why_and_their_drop_is_silent() {
        let (old, new, other) = (owner("a", 1), owner("a", 2), owner("b", 1));
        let handle = old.issue(7, &counter());
        old.close();
        assert!(handle.is_stale());
        assert!(matches!(
            new.key_of(&handle),
            Err(StaleHandle::Restarted { was: 1, now: 2, .. })
        ));
        assert!(matches!(
            other.redeem(&handle),
            Err(StaleHandle::Foreign { .. })
        ));
        drop(handle);
        assert_eq!((old.held(), old.has_released()), (0, false));
    }
}
