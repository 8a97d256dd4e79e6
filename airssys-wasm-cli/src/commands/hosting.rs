//! What the commands that host something have in common: an engine, a runtime, a system that is stopped again.

use std::future::Future;
use std::path::Path;

use airssys_wasm::{
    Audit, AuditConfig, AuditError, AuditSinkConfig, Engine, EngineConfig, EngineError, Policy,
};
use airssys_wasm_actors::{
    ActorAddress, Application, ApplicationSpec, EnvironmentLookup, Event, ManifestErrors,
    ResolveOptions, RunningApplication, StartError, System, SystemConfig,
};

use crate::args;
use crate::compiling;
use crate::failure::{Failure, FailureKind};
use crate::progress::Progress;
use crate::signals::Signals;

/// An engine; its audit trail goes to a file if one is named, and is only counted if not.
pub(super) fn engine(audit: Option<&Path>) -> Result<Engine, Failure> {
    let sink = audit.map_or(AuditSinkConfig::Off, |file| {
        AuditSinkConfig::File(file.to_owned())
    });
    let config = EngineConfig {
        compiler: compiling::compiler()?,
        audit: AuditConfig {
            sink,
            ..AuditConfig::default()
        },
        ..EngineConfig::default()
    };
    Engine::new(config).map_err(|error| match &error {
        EngineError::Audit(AuditError::Unsafe { path, why, remedy }) => {
            let what = format!("{} cannot hold the audit trail: {why}", path.display());
            Failure::new(FailureKind::Io, what).hint(*remedy)
        }
        error => Failure::of(FailureKind::Io, error),
    })
}

/// Writes what is left of the audit trail. A command that was done is a failure if records of it were lost; one that
/// failed has its own reason, and the loss is said before it.
pub(super) fn audited<T>(
    done: Result<T, Failure>,
    audit: &Audit,
    file: Option<&Path>,
) -> Result<T, Failure> {
    audit.flush();
    let (Some(file), lost) = (file, audit.counts().write_failures) else {
        return done;
    };
    if lost == 0 {
        return done;
    }
    let records = if lost == 1 { "record" } else { "records" };
    let file = file.display();
    let what = format!("{lost} {records} of the audit trail could not be written to {file}");
    match done {
        Ok(_) => Err(Failure::new(FailureKind::Io, what)
            .detail("audit_lost", lost)
            .hint("everything else was done; the log says why they could not be written")),
        Err(failure) => {
            tracing::error!("{what}");
            Err(failure.detail("audit_lost", lost))
        }
    }
}

/// Resolves a manifest on this machine: whoever runs the command wrote or chose the manifest, so what it grants
/// is granted.
pub(super) fn resolve(
    spec: &ApplicationSpec,
    engine: &Engine,
    options: ResolveOptions,
    progress: &Progress,
) -> Result<Application, Failure> {
    args::check_options(spec)?;
    Ok(spec.resolve(engine, &granting(options, progress))?)
}

/// The same, away from this thread, so that a signal is heard while components are compiled. What is compiling then
/// goes on until the process ends, which is soon.
pub(super) async fn resolve_aside(
    spec: &ApplicationSpec,
    engine: &Engine,
    options: ResolveOptions,
    progress: &Progress,
    signals: &mut Signals,
) -> Result<Application, Failure> {
    args::check_options(spec)?;
    let options = granting(options, progress);
    let (spec, engine) = (spec.clone(), engine.clone());
    let resolving = tokio::task::spawn_blocking(move || spec.resolve(&engine, &options));
    tokio::select! {
        resolved = resolving => match resolved {
            Ok(resolved) => Ok(resolved?),
            Err(error) => Err(Failure::new(FailureKind::Io, format!("loading panicked: {error}"))),
        },
        kind = signals.next() => Err(Failure::new(kind, "stopped while the application was being loaded")),
    }
}

/// The same for a manifest that is deployed to an application that runs; nothing shows how far it is.
pub(super) fn resolve_later(
    spec: &ApplicationSpec,
    engine: &Engine,
    options: ResolveOptions,
) -> Result<Application, ManifestErrors> {
    args::check_options(spec)?;
    let options = ResolveOptions {
        policy: Policy::permissive(),
        environment: environment(),
        ..options
    };
    spec.resolve(engine, &options)
}

/// The variables that a manifest's `config-env` names are taken from this process.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is a field of the options as it stands there"
)]
fn environment() -> Option<EnvironmentLookup> {
    Some(Box::new(|name| std::env::var_os(name)))
}

fn granting(options: ResolveOptions, progress: &Progress) -> ResolveOptions {
    ResolveOptions {
        policy: Policy::permissive(),
        environment: environment(),
        loading: Some(progress.loading()),
        ..options
    }
}

/// Runs a future on a runtime of its own. What still blocks a thread when it is done is not waited for.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                FailureKind::Io,
                format!("cannot start the runtime: {error}"),
            )
        })?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

pub(super) async fn system(engine: Engine) -> Result<System, Failure> {
    System::start(SystemConfig::new(engine))
        .await
        .map_err(|error| Failure::of(FailureKind::Io, &error))
}

/// Starts an application; a signal while it starts ends the wait.
pub(super) async fn start(
    application: Application,
    system: &System,
    signals: &mut Signals,
) -> Result<RunningApplication, Failure> {
    let started = tokio::select! {
        started = application.start(system) => started.map_err(|error| not_started(&error)),
        kind = signals.next() => Err(Failure::new(kind, "stopped while the application was starting")),
    };
    if started.is_err() {
        tokio::select! {
            _ = system.shutdown() => {}
            _ = signals.next() => {}
        }
    }
    started
}

fn not_started(error: &StartError) -> Failure {
    let failure = Failure::of(FailureKind::Application, error);
    match error {
        StartError::Child { address, reason } => failure
            .detail("address", address.to_string())
            .detail("reason", reason.kind())
            .hint("nothing was left running; what the component wrote before is in the log (`--log info`)"),
        _ => failure,
    }
}

/// Stops an application in order; the next signal kills what is left. Returns what did not end in the time it had.
pub(super) async fn stop(
    running: &RunningApplication,
    system: &System,
    signals: &mut Signals,
) -> Vec<ActorAddress> {
    tracing::info!("stopping");
    let mut events = system.events();
    let mut stopping = std::pin::pin!(running.stop());
    tokio::select! {
        _ = &mut stopping => {}
        _ = signals.next() => {
            tracing::warn!("a second signal: what is left is killed");
            running.kill();
            let _ = stopping.await;
        }
    }
    let mut overdue = Vec::new();
    // All of them have come: they are told of before the end.
    while let Some(event) = events.try_recv() {
        match event {
            Event::Overdue { address } => {
                tracing::warn!(%address, "did not stop in time, and was killed");
                overdue.push(address);
            }
            Event::Lagged(lost) => {
                tracing::warn!(
                    lost,
                    "more happened than could be followed: others may not have stopped in time"
                );
            }
            _ => {}
        }
    }
    overdue
}
