//! Values as text: WAVE for people and command lines, JSON for programs.
//!
//! Owns: [`parse_args`] (text → [`Args`], by a function's type), [`format_value`] and [`to_json`] (a value → text, by
//! its type), and [`WaveError`]. WAVE is the component model's own notation for values, a superset of JSON's:
//! `{name: "x", tags: [a, b]}`, `some(3)`, `ok("done")`.
//!
//! Costs: parsing builds a tree of the text first; nesting is bounded by the parser (100) and by the type.
//!
//! Deliberately absent: a way to write resources, which are no data; and base64 for `list<u8>`, which is a list of
//! numbers in both notations, as in every other tool of the component model.

mod json;
mod parse;
mod print;

pub use json::to_json;
pub use parse::{WaveError, parse_args};
pub use print::format_value;

#[cfg(test)]
mod tests;
