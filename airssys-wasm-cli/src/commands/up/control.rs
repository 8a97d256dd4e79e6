//! The control socket of `airssys up`: where it is served, and what to do when it cannot be.

use std::path::PathBuf;

use airssys_wasm_actors::{ActorAddress, ApplicationSpec};
use airssys_wasm_console::{ControlServer, ControlSocket, SocketDirectory, SocketError};

use crate::args::Up;
use crate::failure::{Failure, FailureKind};

/// Serves the socket, before anything that takes long or starts: two hosts of one application are told apart
/// here. `None` if there is to be none.
pub(super) fn serve(up: &Up, spec: &ApplicationSpec) -> Result<Option<ControlServer>, Failure> {
    if up.no_control {
        return Ok(None);
    }
    let name = spec.tables.application.name.get_ref();
    // What is no address is no name of a file either; the manifest is refused for it in a moment.
    if name.parse::<ActorAddress>().is_err() {
        return Ok(None);
    }
    let path = match &up.control {
        Some(path) => path.clone(),
        None => default_path(name).map_err(|error| refused(&error))?,
    };
    let socket = ControlSocket::bind(&path).map_err(|error| refused(&error))?;
    tracing::debug!(path = %path.display(), "serving the control socket");
    let server =
        ControlServer::start(socket, name).map_err(|error| Failure::of(FailureKind::Io, &error))?;
    Ok(Some(server))
}

fn default_path(name: &str) -> Result<PathBuf, SocketError> {
    let directory = SocketDirectory::of_user();
    directory.prepare()?;
    Ok(directory.socket_of(name))
}

fn refused(error: &SocketError) -> Failure {
    let elsewhere = "serve the control socket elsewhere with `--control PATH`, or not at all with `--no-control`";
    match error {
        SocketError::Live { .. } => Failure::of(FailureKind::Control, error)
            .detail("control", "live")
            .hint(format!(
                "the application, or another of its name, is running already: see `airssys status`\n{elsewhere}"
            )),
        SocketError::Foreign(_) | SocketError::NotASocket(_) => {
            Failure::of(FailureKind::Control, error)
                .detail("control", "in-the-way")
                .hint(elsewhere)
        }
        _ => Failure::of(FailureKind::Io, error).hint(elsewhere),
    }
}
