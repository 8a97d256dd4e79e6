//! Actors that a component starts itself, by `airssys:actor/spawn`.
//!
//! Owns what a component may start ([`Spawning`]), and which of what was started is whose. All that an actor and its
//! descendants have spawned are children of one simple-one-for-one supervisor, which restarts and counts them as any
//! other does; they end with the incarnation that spawned them. Quotas are of the whole family, so that it does not
//! matter who of it asks. Deliberately absent: who may ask for what, which is the gate's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use airssys_wasm::{Configuration, ConfigurationError, MessagingError, MessagingReply};
use parking_lot::Mutex;

use crate::address::{ActorAddress, ActorId};
use crate::manifest::name_shown;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::{ChildSpec, Start, StartError, StopError, Supervisor};

/// What a component actor may start, and where.
#[derive(Clone)]
pub struct Spawning {
    family: Arc<Family>,
    /// How many generations may follow.
    depth_left: u32,
}

/// The address of the supervisor of what a component of a manifest spawns; `None` where it would be too long for one.
pub(crate) fn family_of(component: &ActorAddress) -> Option<ActorAddress> {
    format!("{component}.spawned").parse().ok()
}

struct Family {
    supervisor: ActorAddress,
    /// By the names that guests give.
    templates: BTreeMap<String, ChildSpec>,
    children_max: u32,
    depth_max: u32,
    /// Being started, and perhaps among the supervisor's children.
    starting: AtomicU32,
}

impl Spawning {
    /// The children of `supervisor`, which is simple-one-for-one and does not wait for who spawns, are made from
    /// `templates`: their addresses and numbers of replicas are not used. At most `children_max` are there at a time, at most `depth_max`
    /// generations deep.
    #[must_use]
    pub fn new(
        supervisor: ActorAddress,
        templates: BTreeMap<String, ChildSpec>,
        children_max: u32,
        depth_max: u32,
    ) -> Self {
        Self {
            family: Arc::new(Family {
                supervisor,
                templates,
                children_max,
                depth_max,
                starting: AtomicU32::new(0),
            }),
            depth_left: depth_max,
        }
    }

    /// The supervisor of what is spawned.
    #[must_use]
    pub fn supervisor(&self) -> &ActorAddress {
        &self.family.supervisor
    }

    /// Of an actor spawned by this one.
    fn deeper(&self) -> Self {
        Self {
            family: Arc::clone(&self.family),
            depth_left: self.depth_left.saturating_sub(1),
        }
    }
}

impl std::fmt::Debug for Spawning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawning")
            .field("supervisor", &self.family.supervisor)
            .field("templates", &self.family.templates.keys())
            .field("children_max", &self.family.children_max)
            .field("depth_left", &self.depth_left)
            .finish()
    }
}

type Told = Result<MessagingReply, MessagingError>;

/// What is asked of the supervisor, until it has answered.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Told> + Send>>;

/// What one incarnation has spawned. Dropped with it, it has everything stopped.
pub(crate) struct Nursery {
    slot: Arc<Slot>,
    spawning: Spawning,
    owned: Arc<Mutex<Owned>>,
}

/// Its children, also those that are being started: of these it is not known yet which actor has the name.
type Owned = BTreeMap<ActorAddress, Option<ActorId>>;

/// Counts a start while it lasts.
struct Starting(Arc<Family>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Nursery {
    pub(crate) fn new(slot: &Arc<Slot>, spawning: Spawning) -> Self {
        Self {
            slot: Arc::clone(slot),
            spawning,
            owned: Arc::default(),
        }
    }

    /// The children of `before` are its own from now on.
    pub(crate) fn inherit(&mut self, mut before: Self) {
        self.owned = std::mem::take(&mut before.owned);
    }

    fn supervisor(&self) -> Result<Supervisor, MessagingError> {
        let supervisor = &self.spawning.family.supervisor;
        let record = self.slot.shared().supervisor(supervisor);
        record.map(Supervisor::new).ok_or(MessagingError::NotUp)
    }

    fn address(&self, name: &str) -> Result<ActorAddress, MessagingError> {
        if name.contains('/') {
            let why = "the name of a child is one part of an address, without `/`";
            return Err(MessagingError::BadName(why.to_owned()));
        }
        let joined = self.slot.address().join(name);
        joined.map_err(|why| MessagingError::BadName(why.to_string()))
    }

    /// Starts a child.
    pub(crate) fn spawn(
        &mut self,
        component: &str,
        name: &str,
        config: Vec<(String, String)>,
    ) -> Result<Asked, MessagingError> {
        let family = &self.spawning.family;
        let Some(template) = family.templates.get(component) else {
            let component = name_shown(component);
            let why = format!("no component `{component}` is declared to be spawned");
            return Err(MessagingError::Rejected(why));
        };
        let address = self.address(name)?;
        if self.spawning.depth_left == 0 {
            let why = format!("depth: {} generations may be spawned", family.depth_max);
            return Err(MessagingError::Quota(why));
        }
        let supervisor = self.supervisor()?;
        family.starting.fetch_add(1, Ordering::AcqRel);
        let starting = Starting(Arc::clone(family));
        // One that is being started may be counted twice, which errs on the side of the quota.
        let there = supervisor.children_now();
        let with_starts = there.saturating_add(family.starting.load(Ordering::Acquire) as usize);
        if with_starts > family.children_max as usize {
            let why = format!("children: {} may be there at a time", family.children_max);
            return Err(MessagingError::Quota(why));
        }
        let mut owned = self.owned.lock();
        if owned.contains_key(&address) && self.slot.shared().whereis(&address).is_some() {
            let why = format!("there is a child `{name}` already");
            return Err(MessagingError::BadName(why));
        }
        // Those that have ended by themselves are not to pile up.
        if owned.len() >= family.children_max as usize {
            forget_ended(&mut owned, self.slot.shared());
        }
        owned.insert(address.clone(), None);
        drop(owned);
        let spec = match self.spec(template, address.clone(), config) {
            Ok(spec) => spec,
            Err(why) => {
                self.owned.lock().remove(&address);
                return Err(MessagingError::Rejected(why.to_string()));
            }
        };
        let (shared, owned) = (Arc::clone(self.slot.shared()), Arc::clone(&self.owned));
        Ok(Box::pin(async move {
            let _starting = starting;
            if let Some(there) = shared.whereis(&address) {
                // Of the incarnation before, which is having it stopped. Of anybody else's it says `NotFound`.
                let _ = supervisor.stop_this(&address, Some(there.id())).await;
            }
            let started = match supervisor.start_child(spec).await {
                Ok(started) => started,
                Err(why) => {
                    owned.lock().remove(&address);
                    return Err(not_started(why));
                }
            };
            let told = MessagingReply::Address(address.as_str().into());
            owned.lock().insert(address, Some(started.id()));
            Ok(told)
        }))
    }

    fn spec(
        &self,
        template: &ChildSpec,
        address: ActorAddress,
        config: Vec<(String, String)>,
    ) -> Result<ChildSpec, ConfigurationError> {
        let mut spec = template.clone();
        spec.address = address;
        // It counts as one.
        spec.replicas = 1;
        if let Start::Component(start) = &mut spec.start {
            let own = start.config.iter();
            let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let config = Configuration::new(1, own.chain(config));
            config.check()?;
            start.config = Arc::new(config);
            start.spawn = Some(self.spawning.deeper());
        }
        Ok(spec)
    }

    /// Stops a child.
    pub(crate) fn stop(&mut self, name: &str) -> Result<Asked, MessagingError> {
        let address = self.address(name)?;
        let Some(id) = self.owned.lock().remove(&address) else {
            return Err(MessagingError::NoSuchActor);
        };
        let supervisor = self.supervisor()?;
        Ok(Box::pin(async move {
            match supervisor.stop_this(&address, id).await {
                Ok(_) => Ok(MessagingReply::Done),
                Err(StopError::SupervisorEnded(_)) => Err(MessagingError::NotUp),
                // It has ended by itself.
                Err(_) => Err(MessagingError::NoSuchActor),
            }
        }))
    }

    /// The names of those that are there.
    pub(crate) fn names(&mut self) -> MessagingReply {
        let shared = self.slot.shared();
        let mut owned = self.owned.lock();
        forget_ended(&mut owned, shared);
        // One that is being started may not be there yet.
        let there = owned
            .keys()
            .filter(|address| shared.whereis(address).is_some());
        let name = |address: &ActorAddress| address.as_str().rsplit('/').next().map(Box::from);
        MessagingReply::Names(there.filter_map(name).collect())
    }
}

/// Those that are being started stay: whoever drops the nursery has to have them stopped.
fn forget_ended(owned: &mut Owned, shared: &Shared) {
    owned.retain(|address, id| id.is_none() || shared.whereis(address).is_some());
}

fn not_started(why: StartError) -> MessagingError {
    match why {
        StartError::AddressTaken(address) => {
            MessagingError::BadName(format!("`{address}` is taken"))
        }
        StartError::SupervisorEnded(_) => MessagingError::NotUp,
        why => MessagingError::Rejected(why.to_string()),
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let owned = std::mem::take(&mut *self.owned.lock());
        let Ok(supervisor) = self.supervisor() else {
            return;
        };
        let mut known = Vec::with_capacity(owned.len());
        for (address, id) in owned {
            match id {
                Some(id) => known.push((address, id)),
                // Asked for now: what the next incarnation starts under this name comes after it.
                None => supervisor.have_stopped(address, None),
            }
        }
        if known.is_empty() {
            return;
        }
        self.slot.shared().spawn(async move {
            // One after the other, so that what the next incarnation asks does not wait for all of them.
            for (address, id) in known {
                // One that is gone is no error.
                let _ = supervisor.stop_this(&address, Some(id)).await;
            }
        });
    }
}

#[cfg(test)]
mod tests;
