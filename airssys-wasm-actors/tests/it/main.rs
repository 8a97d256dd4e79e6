//! Actors as a user has them: real components, a real system.
#![cfg(test)]

mod application;
mod calls;
mod capacity;
mod containment;
mod corners;
mod crashes;
mod cycles;
mod dead_letters;
mod declared_trees;
mod groups;
mod guests;
mod hooks;
mod hostile;
mod manifest;
mod messaging;
mod native;
mod otp;
mod passivation;
mod plans;
mod replicas;
mod resources;
mod restarts;
mod retry;
mod sending;
mod short_road;
mod signals;
mod spawning;
mod storm;
mod stress;
mod supervision;
mod timers;
mod topics;
mod trees;
