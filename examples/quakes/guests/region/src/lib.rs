//! region.wasm: coordinates become the name of a region.
//!
//! Pure and stateless: nothing is imported. The table is in [`gazetteer`], the geometry in [`shape`].

#[rustfmt::skip]
mod bindings;
mod gazetteer;
mod shape;

use bindings::exports::quakes::app::region::{Guest, RegionError};

struct Gazetteer;

impl Guest for Gazetteer {
    fn region(longitude: f64, latitude: f64) -> Result<String, RegionError> {
        gazetteer::name(longitude, latitude)
            .map(str::to_owned)
            .ok_or_else(|| RegionError::NoSuchPlace(format!("{longitude} east, {latitude} north")))
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Gazetteer with_types_in bindings);
