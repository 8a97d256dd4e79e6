//! Children of supervisors that come and go with a deployment: components, and the supervisors of what components spawn.
//!
//! Owns where such a child belongs and how its supervisor is told, so that one that is made again knows it too.

use std::sync::atomic::Ordering;

use super::parts::{Done, Ground};
use crate::address::ActorAddress;
use crate::application::Application;
use crate::exit::with_sources;
use crate::spawning::family_of;
use crate::supervisor::{ChildSpec, Supervisor, SupervisorSpec, Tuning, links_fit};
use crate::upgrade::Ahead;

/// Looks through the tree of an application's supervisors.
pub(super) fn find<T>(
    spec: &SupervisorSpec,
    wanted: &impl Fn(&SupervisorSpec) -> Option<T>,
) -> Option<T> {
    wanted(spec).or_else(|| {
        let mut below = spec.children.iter().filter_map(ChildSpec::as_supervisor);
        below.find_map(|below| find(below, wanted))
    })
}

pub(super) fn supervisor(ground: &Ground, address: &ActorAddress) -> Result<Supervisor, String> {
    let none = || format!("the supervisor `{address}` is not there");
    ground.system.find_supervisor(address).ok_or_else(none)
}

/// Where a child is.
pub(super) struct Place {
    supervisor: ActorAddress,
    /// All of that one's children, in start order.
    order: Vec<ActorAddress>,
}

/// A child of an application, and where it is in its tree.
pub(super) fn child(
    application: &Application,
    address: &ActorAddress,
) -> Result<(ChildSpec, Place), String> {
    let has = |spec: &SupervisorSpec| {
        let mut children = spec.children.iter();
        let found = children.find(|one| one.address == *address)?;
        let order = spec.children.iter().map(|one| one.address.clone());
        let place = Place {
            supervisor: spec.address.clone(),
            order: order.collect(),
        };
        Some((found.clone(), place))
    };
    let none = || format!("`{address}` is under no supervisor");
    find(application.supervision(), &has).ok_or_else(none)
}

/// One that was not there before.
pub(super) struct StartOne {
    /// It is started before its supervisor asks about its significant children, if that is to come with it.
    spec: ChildSpec,
    significant: bool,
    place: Place,
    started: bool,
    /// It is started when its step is switched, and not before.
    waits: bool,
}

impl StartOne {
    /// A child of the new application.
    pub(super) fn of(new: &Application, address: &ActorAddress) -> Result<Self, String> {
        let (spec, place) = child(new, address)?;
        let significant = spec.significant;
        let spec = ChildSpec {
            significant: false,
            ..spec
        };
        Ok(Self {
            spec,
            significant,
            place,
            started: false,
            waits: false,
        })
    }

    /// Starts it, unless that has to wait for the steps before: because it calls what is not there before they are done, or
    /// because one that comes before it waits.
    pub(super) async fn warm(&mut self, ground: &Ground, ahead: &Ahead) -> Done {
        let shared = ground.system.shared();
        let has_others = ahead.concerns(&self.spec) && !links_fit(shared, &self.spec);
        if has_others || ground.starts_wait.load(Ordering::Acquire) {
            ground.starts_wait.store(true, Ordering::Release);
            self.waits = true;
            return Ok(());
        }
        self.start(ground).await
    }

    /// Starts it now.
    pub(super) async fn start(&mut self, ground: &Ground) -> Done {
        let Place {
            supervisor: address,
            order,
        } = &self.place;
        let supervisor = supervisor(ground, address)?;
        let place = order.iter().position(|one| *one == self.spec.address);
        let later = order.get(place.map_or(order.len(), |at| at + 1)..);
        let later = later.unwrap_or_default().to_vec();
        // Also if nobody says so: it may have been killed after it had done it.
        self.started = true;
        let added = supervisor.add_first(self.spec.clone(), later).await;
        self.started = added.map_err(|why| why.to_string())?;
        if !self.started {
            // A deployment that could not be undone has left it.
            return Ok(());
        }
        let started = supervisor.start_stopped_child(&self.spec.address).await;
        started.map_err(|why| why.to_string())?;
        let actor = ground.system.whereis(&self.spec.address);
        ground.live.added.lock().extend(actor);
        Ok(())
    }

    /// It is what it is to be from now on.
    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        if self.waits {
            self.start(ground).await?;
        }
        self.signify(ground, true)
    }

    /// Its supervisor may be about to ask no more; and what it calls is about to go, if that has come before it.
    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        let back = self.signify(ground, false);
        if self.waits {
            self.stop(ground).await;
        }
        back
    }

    fn signify(&self, ground: &Ground, significant: bool) -> Done {
        let address = &self.spec.address;
        // One that has declined, or has ended for good, is nobody's.
        if !self.significant || ground.system.whereis(address).is_none() {
            return Ok(());
        }
        let to = Tuning::of(&ChildSpec {
            significant,
            ..self.spec.clone()
        });
        let tune = |now: Tuning| now.taking(&["significant"], to);
        let tuned = ground.system.retune_by(address, tune);
        tuned.map(|_| ()).map_err(|why| with_sources(&why))
    }

    /// It does not stay after all.
    pub(super) async fn stop(&mut self, ground: &Ground) {
        if std::mem::take(&mut self.started) {
            stop(ground, &self.place.supervisor, &self.spec.address).await;
        }
    }
}

/// One that is not there any more.
pub(super) struct StopOne {
    address: ActorAddress,
    supervisor: ActorAddress,
}

impl StopOne {
    /// A child of the old application.
    pub(super) fn of(old: &Application, address: &ActorAddress) -> Result<Self, String> {
        let (_, place) = child(old, address)?;
        Ok(Self {
            address: address.clone(),
            supervisor: place.supervisor,
        })
    }

    /// The supervisor of what a component spawned that could, by neither application: a deployment that could not be undone
    /// has left it.
    pub(super) fn left(component: &ActorAddress, ground: &Ground) -> Option<Self> {
        let address = family_of(component)?;
        ground.system.find_supervisor(&address)?;
        let known = [&ground.old, &ground.new];
        // Somebody may have called a supervisor so.
        if known.iter().any(|one| child(one, &address).is_ok()) {
            return None;
        }
        let (_, place) = child(&ground.old, component).ok()?;
        Some(Self {
            address,
            supervisor: place.supervisor,
        })
    }

    pub(super) async fn stop(&self, ground: &Ground) {
        stop(ground, &self.supervisor, &self.address).await;
    }
}

async fn stop(ground: &Ground, under: &ActorAddress, address: &ActorAddress) {
    let Ok(supervisor) = supervisor(ground, under) else {
        return;
    };
    // One that is gone already is what is wanted.
    if let Err(why) = supervisor.forget_child(address).await {
        tracing::debug!(%address, %why, "not stopped by its deployment");
    }
    let mut added = ground.live.added.lock();
    added.retain(|actor| actor.address() != address);
}
