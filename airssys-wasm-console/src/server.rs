//! The server: a thread, a runtime of its own, and bounds on everything a client can do.
//!
//! Owns [`ControlServer`] and the loop that accepts. Every connection carries one request, and has a bounded time for
//! its head, its body, its answer, and all of it together. The loop does nothing that can wait for a client.
//! The socket is removed when the server stops; requests in hand then have a moment to finish, and none is waited for longer.

mod actors;
mod answer;
mod configuration;
mod connection;
mod crashes;
mod deployments;
mod letters;
mod orders;
mod registry;
mod routes;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm_actors::System;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::api::Phase;
use crate::socket::ControlSocket;
use orders::Orders;

pub use actors::ACTION_WITHIN;
pub use connection::{BODY_BYTES_MAX, BODY_WITHIN, CONNECTION_WITHIN, HEAD_BYTES_MAX, HEAD_WITHIN};
pub use orders::{Beside, Deploying, ORDERS_MAX, ResolveManifest};
pub use routes::{STATUS_ACTORS_DEFAULT, STATUS_ACTORS_MAX};

/// Most connections at a time; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 64;

/// How long requests in hand have to finish when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// How long the loop rests when the machine refuses a connection: it is out of descriptors or memory.
const REST: Duration = Duration::from_millis(50);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The machine refuses a thread, a runtime, or the listener.
    #[error("cannot start the control server: {0}")]
    Io(#[from] std::io::Error),
}

/// What requests are answered from.
struct HostState {
    application: String,
    began: Instant,
    began_at: SystemTime,
    /// Written by the host a few times in its life.
    phase: RwLock<Phase>,
    system: OnceLock<System>,
    orders: OnceLock<Arc<Orders>>,
}

impl HostState {
    fn phase(&self) -> Phase {
        *self.phase.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that runs. Dropping it stops it and removes its socket.
pub struct ControlServer {
    state: Arc<HostState>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Serves a socket; the application is still being loaded.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(socket: ControlSocket, application: &str) -> Result<Self, ServeError> {
        let state = Arc::new(HostState {
            application: application.to_owned(),
            began: Instant::now(),
            began_at: SystemTime::now(),
            phase: RwLock::new(Phase::Loading),
            system: OnceLock::new(),
            orders: OnceLock::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(socket.listener()?)?
        };
        let serving = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("airssys-control".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listener, socket, serving, stopped));
                // A thread that waits for the disk is left behind: it may never come back.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The system that requests are about, once there is one. A second is ignored.
    pub fn attach(&self, system: &System) {
        let _ = self.state.system.set(system.clone());
    }

    /// What deploys, once the application runs. A second is ignored.
    pub fn attach_deploying(&self, deploying: Deploying) {
        let _ = self.state.orders.set(Arc::new(Orders::new(deploying)));
    }

    /// Where the host is with its application.
    pub fn enter(&self, phase: Phase) {
        *self
            .state
            .phase
            .write()
            .unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // Dropping the sender would stop it too.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the control server had panicked");
        }
    }
}

async fn serve(
    listener: UnixListener,
    socket: ControlSocket,
    state: Arc<HostState>,
    mut stop: oneshot::Receiver<()>,
) {
    let router = routes::router(state);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // As many again are told; whoever comes then is closed without a word.
    let refusals = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        if !connection::admits(&stream) {
            continue;
        }
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            connections.spawn(connection::run(stream, router.clone(), permit));
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(connection::refuse(stream, permit));
        }
    }
    drop(listener);
    drop(socket);
    let finish = async { while connections.join_next().await.is_some() {} };
    // What is not done by then is dropped with the runtime.
    let _ = tokio::time::timeout(STOP_WITHIN, finish).await;
}
