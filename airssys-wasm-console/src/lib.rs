//! The control API of a running host: HTTP and JSON over a unix socket, its server and its client.
//!
//! What flows: a command or any HTTP client → a [`ControlSocket`] that only its owner and root can use → the
//! [`ControlServer`], on a thread and a runtime of its own → a [`System`](airssys_wasm_actors::System). Requests and
//! answers are the types of [`api`], shared with the [`ControlClient`].
//!
//! The server never shares a thread or a queue with messages: a client that is slow, or many of them, hold up
//! each other at most, and each is bounded in connections, bytes and time. Costs nothing while nobody asks.
//!
//! Deliberately absent: decisions. What can be done to actors is the actors crate's; who may do it is who may open
//! the socket.

pub mod api;
mod client;
mod server;
mod socket;

pub use client::{CONNECT_WITHIN, ControlClient, ControlError, REQUEST_WITHIN};
pub use server::{
    ACTION_WITHIN, BODY_BYTES_MAX, BODY_WITHIN, Beside, CONNECTION_WITHIN, CONNECTIONS_MAX,
    ControlServer, Deploying, HEAD_BYTES_MAX, HEAD_WITHIN, ORDERS_MAX, ResolveManifest,
    STATUS_ACTORS_DEFAULT, STATUS_ACTORS_MAX, ServeError,
};
pub use socket::{ControlSocket, FoundSocket, SOCKET_PATH_BYTES_MAX, SocketDirectory, SocketError};
