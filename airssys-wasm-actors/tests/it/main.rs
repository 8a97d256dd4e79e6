//! Actors as a user has them: real components, a real system.
#![cfg(test)]

mod application;
mod calls;
mod corners;
mod cycles;
mod dead_letters;
mod guests;
mod hooks;
mod manifest;
mod native;
mod retry;
mod short_road;
mod storm;
mod supervision;
