//! The handles of one Store: what it has given away, and what it holds of others.
//!
//! Owns [`Handles`]: the resources of the guest that others have handles to, by key, and the proxies that stand in the
//! guest for resources of others, by the number the guest's own table knows them by. Both are bounded by the limit
//! `resources`. Dropping it with its Store lets go of every proxy and makes every handle given away stale;
//! no destructor of the guest runs.
//!
//! Deliberately absent: values. `dynamic` walks them and asks here.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::{ResourceAny, ResourceTableError};

use crate::resource::{ResourceHandle, ResourceOwner, StaleHandle};
use crate::wit::ResourceName;

/// The tables of one Store.
pub(crate) struct Handles {
    owner: Option<Arc<ResourceOwner>>,
    /// Imported resources that stand for others'; the place of each is its type number.
    proxied: Arc<[Arc<ResourceName>]>,
    given: HashMap<u64, ResourceAny>,
    next_key: u64,
    held: HashMap<u32, ResourceHandle>,
    next_rep: u32,
    max: usize,
}

impl Handles {
    /// `owner` is who the Store is to others, if its component has resources of its own.
    pub(crate) fn new(
        owner: Option<Arc<ResourceOwner>>,
        proxied: Arc<[Arc<ResourceName>]>,
        max: u32,
    ) -> Self {
        Self {
            owner,
            proxied,
            given: HashMap::new(),
            next_key: 0,
            held: HashMap::new(),
            next_rep: 0,
            max: usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn owner(&self) -> Option<&Arc<ResourceOwner>> {
        self.owner.as_ref()
    }

    /// The number of an imported resource's type.
    pub(crate) fn type_number(&self, resource: &ResourceName) -> Option<u32> {
        let place = self.proxied.iter().position(|known| **known == *resource)?;
        u32::try_from(place).ok()
    }

    /// How many more resources it may give away.
    pub(crate) fn room_to_give(&self) -> usize {
        self.max.saturating_sub(self.given.len())
    }

    /// How many more proxies it may hold.
    pub(crate) fn room_to_hold(&self) -> usize {
        self.max.saturating_sub(self.held.len())
    }

    /// The limit of both.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Gives a resource of the guest away.
    pub(crate) fn give(
        &mut self,
        any: ResourceAny,
        resource: &Arc<ResourceName>,
    ) -> Result<ResourceHandle, ResourceTableError> {
        let Some(owner) = self.owner.as_ref().filter(|_| self.given.len() < self.max) else {
            return Err(ResourceTableError::Full);
        };
        self.next_key = self.next_key.wrapping_add(1);
        self.given.insert(self.next_key, any);
        Ok(owner.issue(self.next_key, resource))
    }

    /// Looks a resource up that is lent back for a call.
    pub(crate) fn given(&self, handle: &ResourceHandle) -> Result<ResourceAny, StaleHandle> {
        let owner = self.owner.as_ref().ok_or(StaleHandle::Spent)?;
        let key = owner.key_of(handle)?;
        self.given.get(&key).copied().ok_or(StaleHandle::Spent)
    }

    /// Takes a resource back that is handed over.
    pub(crate) fn take_back(
        &mut self,
        handle: &ResourceHandle,
    ) -> Result<ResourceAny, StaleHandle> {
        let owner = self.owner.as_ref().ok_or(StaleHandle::Spent)?;
        let key = owner.redeem(handle)?;
        self.given.remove(&key).ok_or(StaleHandle::Spent)
    }

    /// Takes the next resource nobody holds any more, to be destroyed.
    pub(crate) fn next_released(&mut self) -> Option<ResourceAny> {
        let owner = self.owner.as_ref()?;
        loop {
            let key = owner.next_released()?;
            if let Some(any) = self.given.remove(&key) {
                return Some(any);
            }
        }
    }

    /// Takes a proxy in; returns what stands for it in the guest's table.
    pub(crate) fn hold(&mut self, handle: ResourceHandle) -> Result<u32, ResourceTableError> {
        if self.held.len() >= self.max {
            return Err(ResourceTableError::Full);
        }
        loop {
            self.next_rep = self.next_rep.wrapping_add(1);
            if !self.held.contains_key(&self.next_rep) {
                self.held.insert(self.next_rep, handle);
                return Ok(self.next_rep);
            }
        }
    }

    pub(crate) fn held(&self, rep: u32) -> Option<&ResourceHandle> {
        self.held.get(&rep)
    }

    /// Lets go of a proxy, or hands it on.
    pub(crate) fn let_go(&mut self, rep: u32) -> Option<ResourceHandle> {
        self.held.remove(&rep)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            owner.close();
        }
    }
}
