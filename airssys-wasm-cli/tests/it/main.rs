//! The command as a user has it: the real binary, on the example and on small applications of its own.
#![cfg(test)]

mod bad_files;
mod bad_guests;
mod bad_manifests;
#[cfg(feature = "bench")]
mod bench;
mod call;
mod compiling;
mod configuring;
mod control;
mod dead_letters;
mod deploying;
mod docs;
mod doctor;
mod fed_again;
mod fixture;
mod inspect;
mod quakes;
mod running;
mod running_host;
mod usage;
