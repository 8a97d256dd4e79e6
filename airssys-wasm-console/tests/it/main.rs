//! The control API over real sockets, on real systems.
#![cfg(test)]

mod actors;
mod crashes;
mod deployments;
mod fixture;
mod hostile;
mod letters;
mod looking;
mod sockets;
