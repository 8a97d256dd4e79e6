//! The table of a manifest that says between which bounds a component has replicas.
//!
//! Owns its shape, and what holds where a key is left out. What the values may be is checked where the library's are.

use serde::Deserialize;
use toml::Spanned;

use super::units::DurationText;
use crate::deployment::Autoscale;

/// `[components.NAME.autoscale]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AutoscaleSpec {
    /// The fewest replicas.
    pub min: Option<Spanned<u32>>,
    /// The most.
    pub max: Option<Spanned<u32>>,
    /// Messages that may wait for each.
    pub queue_per_replica: Option<Spanned<u32>>,
    /// The part of its time that each may be busy.
    pub utilisation: Option<Spanned<f64>>,
    /// How far off the aim nothing is done, as a part of the aim.
    pub tolerance: Option<Spanned<f64>>,
    /// After a change, how long until there may be more.
    pub up_cooldown: Option<DurationText>,
    /// How long fewer must have been wanted before there are fewer.
    pub down_cooldown: Option<DurationText>,
}

impl AutoscaleSpec {
    /// What it says; where it says nothing, what holds for anybody.
    pub(crate) fn autoscale(&self) -> Autoscale {
        let default = Autoscale::default();
        let number = |said: &Option<Spanned<u32>>, other| {
            said.as_ref().map_or(other, |number| *number.get_ref())
        };
        let part = |said: &Option<Spanned<f64>>, other| {
            said.as_ref().map_or(other, |part| *part.get_ref())
        };
        let time = |said: &Option<DurationText>, other| said.as_ref().map_or(other, |text| text.0);
        Autoscale {
            min: number(&self.min, default.min),
            max: number(&self.max, default.max),
            queue_per_replica: number(&self.queue_per_replica, default.queue_per_replica),
            utilisation: part(&self.utilisation, default.utilisation),
            tolerance: part(&self.tolerance, default.tolerance),
            up_cooldown: time(&self.up_cooldown, default.up_cooldown),
            down_cooldown: time(&self.down_cooldown, default.down_cooldown),
        }
    }
}
