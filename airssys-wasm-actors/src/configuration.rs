//! Configuration of components: where its values come from, and how a change of it reaches what runs.
//!
//! Owns the decision between the two ways of a change ([`ConfigWay`]), which is pure, and [`System::reconfigure`], which
//! goes it for one actor. What an instance reads is a snapshot in its Store; the actor's spec has the newest, so that
//! whatever is started, for whatever reason, begins with that. A change is the upgrade of an actor to the revision that it
//! is already: the same drain, the same way around actors that are busy, down or gone, the same way back.

pub(crate) mod file;
mod layers;
mod order;

use std::sync::Arc;

use airssys_wasm::{ConfigReach, Configuration, Surface};
use serde::Serialize;
use tokio::sync::oneshot;

pub use layers::{ConfigLayers, ConfigSource};
pub(crate) use layers::{FileLayer, Values};
pub use order::{ConfigOrder, ConfigOrderRefused, ConfigSettings};

use crate::address::ActorAddress;
use crate::component::Hooks;
use crate::supervisor::Start;
use crate::system::System;
use crate::upgrade::{Ahead, UpgradeError, UpgradeOptions, spec_of};

/// How a change of configuration reaches the instances of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConfigWay {
    /// Nothing is to be done: every value is what it was.
    Nothing,
    /// Each instance goes on, and is told by `airssys:config/config-changed` between two messages.
    Hook,
    /// New instances take their place, one replica after the other: mailbox, order and state stay.
    Instances,
}

impl ConfigWay {
    /// Its name in plans and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Hook => "hook",
            Self::Instances => "instances",
        }
    }

    /// The way for a component of this surface that may read these keys. An instance that cannot read a key that has
    /// changed would be told of what it cannot act on: it is replaced.
    pub(crate) fn of<'a>(
        surface: &Surface,
        reads: &[ConfigReach],
        changed: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut changed = changed.into_iter().peekable();
        if changed.peek().is_none() {
            return Self::Nothing;
        }
        let readable = |key: &str| reads.iter().any(|reach| reach.matches(key));
        if Hooks::of(surface).hears_of_config() && changed.all(readable) {
            Self::Hook
        } else {
            Self::Instances
        }
    }
}

impl System {
    /// Gives the component at `address` another configuration: all of it, by its values. Its instances are told where it
    /// exports `airssys:config/config-changed` and may read every key that changes; otherwise new ones take their place
    /// as `options` say. Of several replicas all have the new configuration when this returns, or all the old one.
    ///
    /// It goes on to its end when the future is dropped.
    ///
    /// # Errors
    /// [`UpgradeError`]: the old configuration holds. A hook that refuses, or traps, is
    /// [`NotReplaced::ConfigRefused`](crate::NotReplaced::ConfigRefused).
    pub async fn reconfigure(
        &self,
        address: &ActorAddress,
        config: Configuration,
        options: UpgradeOptions,
    ) -> Result<ConfigWay, UpgradeError> {
        config.check().map_err(|why| UpgradeError::Configuration {
            address: address.clone(),
            why,
        })?;
        let Some(actor) = self.whereis(address) else {
            return Err(UpgradeError::NoSuchActor(address.clone()));
        };
        let (answer, answered) = oneshot::channel();
        let (system, of) = (self.clone(), address.clone());
        actor.slot().shared().spawn(async move {
            // Whoever asked may have left: half of it is never done.
            let _ = answer.send(system.changed(of, config, options).await);
        });
        let gone = |_| Err(UpgradeError::NoSuchActor(address.clone()));
        answered.await.unwrap_or_else(gone)
    }

    async fn changed(
        &self,
        address: ActorAddress,
        config: Configuration,
        options: UpgradeOptions,
    ) -> Result<ConfigWay, UpgradeError> {
        let Some(mut spec) = spec_of(self, &address) else {
            return Err(UpgradeError::NoSuchActor(address));
        };
        let Start::Component(start) = &mut spec.start else {
            return Err(UpgradeError::NotComponent(address));
        };
        let changed = start.config.changed(&config);
        let (surface, reads) = (start.template.surface(), start.template.grants().config());
        let way = ConfigWay::of(surface, reads, changed);
        if way == ConfigWay::Nothing {
            return Ok(way);
        }
        start.config = Arc::new(config);
        let mut upgrade = self.upgrade_as_tuned(spec, options, &[], &Ahead::NOTHING)?;
        if way == ConfigWay::Hook {
            upgrade = upgrade.by_hook();
        }
        upgrade.warm().await?;
        upgrade.switch().await?.release().await;
        Ok(way)
    }
}
