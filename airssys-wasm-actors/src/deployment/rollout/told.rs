//! A component of which only the configuration changes, and whose instances are told.
//!
//! Owns what of such a step is switched and switched back. There is nothing to warm, nothing to try with a part of the
//! traffic, and nothing of the old revision to keep.

use super::parts::Ground;
use crate::error::with_sources;
use crate::supervisor::ChildSpec;
use crate::upgrade::{UpgradeOptions, Upgraded};

/// One component that is told.
pub(super) struct Told {
    spec: ChildSpec,
    upgraded: Option<Upgraded>,
}

impl Told {
    pub(super) fn new(spec: ChildSpec) -> Self {
        Self {
            spec,
            upgraded: None,
        }
    }

    /// Tells each replica; when one refuses, those before it have been told of the old configuration again.
    pub(super) async fn switch(&mut self, ground: &Ground) -> Result<(), String> {
        let mut spec = self.spec.clone();
        // As many as there are: how many there are to be is not said here.
        if let Some(replicas) = ground.system.replicas(&spec.address) {
            spec.replicas = replicas;
        }
        let upgrade = ground.system.upgrade(spec, UpgradeOptions::default());
        let upgrade = upgrade.map_err(|why| with_sources(&why))?.by_hook();
        let upgraded = upgrade.switch().await.map_err(|why| why.to_string())?;
        self.upgraded = Some(upgraded);
        Ok(())
    }

    /// Nothing is undone any more, and there can be another number of replicas.
    pub(super) fn release_old(&mut self) {
        self.upgraded = None;
    }

    pub(super) async fn switch_back(&mut self) -> Result<(), String> {
        match self.upgraded.take() {
            Some(upgraded) => {
                let back = upgraded.roll_back().await;
                back.map(|_| ()).map_err(|why| why.to_string())
            }
            None => Ok(()),
        }
    }
}
