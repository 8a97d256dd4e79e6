//! The engine against real guests: inline WAT, hostile where it can be.
//!
//! Nothing here sleeps or asserts how long something took. Limits are small so that exceeding them is quick;
//! waiting is done on tokio's paused clock.
#![cfg(test)]

mod audit;
mod cache;
mod calls;
mod capacity;
mod compiler;
mod configuration;
mod cpu;
mod faults;
mod guest;
mod links;
mod load;
mod memory;
mod resources;
mod wasi;
