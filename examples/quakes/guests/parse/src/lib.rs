//! parse.wasm: a GeoJSON feature of the USGS feeds becomes a typed record.
//!
//! Pure and stateless: nothing is imported, and one call knows nothing of another. The exports are thin; the
//! reading is in [`feature`].

#[rustfmt::skip]
mod bindings;
mod feature;

use bindings::exports::quakes::app::parse::{Guest, ParseError, Quake};

struct Parser;

impl Guest for Parser {
    fn parse(feature: String) -> Result<Quake, ParseError> {
        feature::read(&feature)
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Parser with_types_in bindings);
