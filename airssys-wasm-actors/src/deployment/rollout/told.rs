//! A component of which only the configuration changes, and whose instances are told.
//!
//! Owns what of such a step is switched and switched back. There is nothing to warm, nothing to try with a part of the
//! traffic, and nothing of the old revision to keep.

use super::parts::Ground;
use crate::address::ActorAddress;
use crate::exit::with_sources;
use crate::supervisor::ChildSpec;
use crate::upgrade::{Ahead, UpgradeError, UpgradeOptions, Upgraded};

/// One component that is told.
pub(super) struct Told {
    spec: ChildSpec,
    /// What its supervisor is to know otherwise, by the manifest's keys.
    retuned: Vec<&'static str>,
    upgraded: Option<Upgraded>,
    /// Replicas that go on with the new configuration, whatever was tried.
    left: Vec<ActorAddress>,
}

impl Told {
    pub(super) fn new(spec: ChildSpec, retuned: &[&'static str]) -> Self {
        Self {
            spec,
            retuned: retuned.to_vec(),
            upgraded: None,
            left: Vec::new(),
        }
    }

    /// Tells each replica; when one refuses, those before it have been told of the old configuration again.
    pub(super) async fn switch(&mut self, ground: &Ground) -> Result<(), String> {
        let mut spec = self.spec.clone();
        // As many as there are: how many there are to be is not said here.
        if let Some(replicas) = ground.system.replicas(&spec.address) {
            spec.replicas = replicas;
        }
        let options = UpgradeOptions::default();
        let system = &ground.system;
        let upgrade = system.upgrade_as_tuned(spec, options, &self.retuned, &Ahead::NOTHING);
        let upgrade = upgrade.map_err(|why| with_sources(&why))?.by_hook();
        let upgraded = upgrade.switch().await.map_err(|why| {
            self.left = left_by(&why);
            why.to_string()
        })?;
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
            None => all_back(&self.left),
        }
    }
}

/// Replicas that a switch which failed could not switch back.
pub(super) fn left_by(why: &UpgradeError) -> Vec<ActorAddress> {
    match why {
        UpgradeError::NotReplaced { left, .. } => left.clone(),
        _ => Vec::new(),
    }
}

/// Whether there are none of these.
pub(super) fn all_back(left: &[ActorAddress]) -> Result<(), String> {
    if left.is_empty() {
        return Ok(());
    }
    let left: Vec<_> = left.iter().map(ActorAddress::as_str).collect();
    Err(format!(
        "`{}` could not be switched back",
        left.join("`, `")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::NotReplaced;

    #[test]
    fn what_could_not_be_switched_back_is_named() {
        let left = ["app/a/0", "app/a/1"].map(|name| name.parse().unwrap());
        let why = UpgradeError::NotReplaced {
            address: "app/a/2".parse().unwrap(),
            why: NotReplaced::Busy,
            left: left.to_vec(),
        };
        let said = all_back(&left_by(&why)).unwrap_err();
        assert_eq!(said, "`app/a/0`, `app/a/1` could not be switched back");
        let none = UpgradeError::Scaling("app/a".parse().unwrap());
        assert_eq!(all_back(&left_by(&none)), Ok(()));
    }
}
