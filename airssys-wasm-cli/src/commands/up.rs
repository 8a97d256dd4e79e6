//! `airssys up`: start, wait, report, stop.
//!
//! Owns what the end of an application means for the exit code: 0 when every source has ended, every mailbox is
//! empty and every event is accounted for once. Events that failed are reported, and are no failure of the command.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airssys_wasm::Engine;
use airssys_wasm_actors::deployment::Deployer;
use airssys_wasm_actors::{
    ActorAddress, Application, ApplicationEnded, ApplicationSpec, Event, ExitReason, Input,
    InputOverride, Registry, Report, ResolveOptions, RunningApplication, System,
};
use airssys_wasm_console::api::Phase;
use airssys_wasm_console::{Beside, ControlServer, Deploying};

use super::{hosting, life};
use crate::args::{Format, Globals, Up};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::progress::Progress;
use crate::signals::Signals;

mod control;
mod state;
mod summary;

pub(super) fn run(
    globals: &Globals,
    up: &Up,
    spec: &ApplicationSpec,
    values: BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let progress = Progress::new(globals.quiet);
    let engine = hosting::engine(up.audit.as_deref())?;
    let audit = engine.audit().clone();
    // What is deployed later names its files from the root, and sources are compared by their files.
    let file =
        std::path::absolute(&spec.file).map_err(|error| Failure::of(FailureKind::Io, &error))?;
    let spec = &ApplicationSpec {
        file,
        ..spec.clone()
    };
    let given = Given {
        values,
        inputs: up.input.iter().map(|text| input(spec, text)).collect(),
    };
    let ended = hosting::block_on(async {
        let mut signals = Signals::listen()?;
        // Once signals are heard, so that they remove it again; dropped last, when everything has stopped.
        let control = control::serve(up, spec)?;
        let booting = state::boot(up.state.as_deref(), spec, &progress).await?;
        let options = given.options(booting.beside);
        let resolving =
            hosting::resolve_aside(&booting.spec, &engine, options, &progress, &mut signals);
        let application = resolving.await.inspect_err(|_| {
            if let Some((_, Some(number))) = &booting.registry {
                progress.note(&format!(
                    "this is of deployment {number} as the registry has it, not of the file"
                ));
            }
        })?;
        let system = hosting::system(engine.clone()).await?;
        let run = Run {
            globals,
            keep: up.keep,
            control: control.as_ref(),
            progress,
            started,
            manifest: spec.file.clone(),
        };
        let deploying = Later {
            given: given.named(&booting.spec),
            engine,
            registry: booting.registry,
        };
        run.host(application, deploying, &system, &mut signals)
            .await
    });
    // Whichever way it ended, what was recorded is in the file.
    hosting::audited(ended, &audit, up.audit.as_deref())
}

/// `-`, `FILE` or `NAME=FILE`. A `=` is a part of a file's name only if there is that file, or no name before it.
fn input(spec: &ApplicationSpec, text: &str) -> InputOverride {
    let sources = &spec.tables.sources;
    let (source, file) = match text.split_once('=') {
        Some((name, file))
            if sources.keys().any(|known| known.get_ref() == name)
                || (is_name(name) && !Path::new(text).exists()) =>
        {
            (Some(name.to_owned()), file)
        }
        _ => (None, text),
    };
    let input = if file == "-" {
        Input::Stdin
    } else {
        Input::File(file.into())
    };
    InputOverride { source, input }
}

/// Whether it can be the name of a source, and not a path.
fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(of_name)
}

/// What the command line adds to a manifest: to the one that starts, and to those that are deployed later.
struct Given {
    values: BTreeMap<String, String>,
    inputs: Vec<InputOverride>,
}

impl Given {
    /// An input that is for the only source is for the source of that name from now on.
    fn named(mut self, spec: &ApplicationSpec) -> Self {
        let mut names = spec.tables.sources.keys();
        if let (Some(only), None) = (names.next(), names.next()) {
            for input in &mut self.inputs {
                input.source.get_or_insert_with(|| only.get_ref().clone());
            }
        }
        self
    }

    /// What is said of a manifest that is deployed later: an input takes the place of a source's file as long as there is
    /// that source.
    fn later(&self, spec: &ApplicationSpec, beside: Beside) -> ResolveOptions {
        let mut options = self.options(beside);
        options.inputs.retain(|input| {
            let mut names = spec.tables.sources.keys();
            names.any(|name| Some(name.get_ref()) == input.source.as_ref())
        });
        options
    }

    fn options(&self, beside: Beside) -> ResolveOptions {
        ResolveOptions {
            values: self.values.clone(),
            inputs: self.inputs.clone(),
            artifacts: beside.artifacts,
            settings: beside.settings,
            ..ResolveOptions::default()
        }
    }
}

/// What is needed to deploy to the application once it runs.
struct Later {
    given: Given,
    engine: Engine,
    registry: Option<(Registry, Option<u64>)>,
}

/// How a host that stayed up came to its end.
enum Kept {
    /// It was finished, or has ended itself.
    Over(Result<(), ApplicationEnded>),
    /// A signal came while it was being fed again.
    Interrupted(FailureKind),
}

struct Run<'a> {
    globals: &'a Globals,
    keep: bool,
    control: Option<&'a ControlServer>,
    progress: Progress,
    started: Instant,
    manifest: PathBuf,
}

impl Run<'_> {
    /// Records what has started, and lets it be deployed to.
    async fn open(
        &self,
        later: Later,
        application: Application,
        running: &RunningApplication,
    ) -> Result<(), Failure> {
        let Later {
            given,
            engine,
            registry,
        } = later;
        let registry = state::recorded(registry, &application, &self.manifest).await?;
        let Some(control) = self.control else {
            return Ok(());
        };
        control.attach_deploying(Deploying {
            deployer: Deployer::new(running, application, registry),
            manifest: self.manifest.clone(),
            runtime: tokio::runtime::Handle::current(),
            resolve: Box::new(move |spec, beside| {
                hosting::resolve_later(spec, &engine, given.later(spec, beside))
            }),
        });
        Ok(())
    }

    fn enter(&self, phase: Phase) {
        if let Some(control) = self.control {
            control.enter(phase);
        }
    }

    /// With `--keep`: stays up once it is finished, until a signal or its own end. A deployment may have it be fed again.
    async fn keep(
        &self,
        running: &RunningApplication,
        took: &mut Duration,
        signals: &mut Signals,
    ) -> Kept {
        loop {
            self.enter(Phase::Finished);
            tracing::info!("finished; stays up until a signal");
            self.progress.say("finished; Ctrl-C stops it".to_owned());
            tokio::select! {
                ended = running.ended() => return Kept::Over(Err(ended)),
                _ = signals.next() => return Kept::Over(Ok(())),
                () = running.feeding() => {}
            }
            self.enter(Phase::Running);
            tracing::info!("is fed again");
            self.progress.say("running".to_owned());
            tokio::select! {
                ended = running.finished() => {
                    *took = self.started.elapsed();
                    if ended.is_err() {
                        return Kept::Over(ended);
                    }
                }
                kind = signals.next() => return Kept::Interrupted(kind),
            }
        }
    }

    /// A signal came before it was finished.
    async fn stop(
        &self,
        kind: FailureKind,
        running: &RunningApplication,
        system: &System,
        signals: &mut Signals,
    ) -> Result<ExitCode, Failure> {
        self.enter(Phase::Stopping);
        self.progress
            .say("stopping; Ctrl-C again to hurry".to_owned());
        let overdue = hosting::stop(running, system, signals).await;
        self.interrupted(kind, running, &overdue)
    }

    async fn host(
        self,
        application: Application,
        later: Later,
        system: &System,
        signals: &mut Signals,
    ) -> Result<ExitCode, Failure> {
        let (name, description) = (
            application.name().to_string(),
            application.description().to_owned(),
        );
        if let Some(control) = self.control {
            control.attach(system);
        }
        self.enter(Phase::Starting);
        let exits = Exits::watch(system);
        let running = hosting::start(application.clone(), system, signals).await?;
        if let Err(failure) = self.open(later, application, &running).await {
            hosting::stop(&running, system, signals).await;
            return Err(failure);
        }
        tracing::info!(
            application = name,
            actors = running.actors().len(),
            "running"
        );
        self.enter(Phase::Running);
        self.progress.say(
            if running.has_sources() {
                "running"
            } else {
                "running; Ctrl-C stops it"
            }
            .to_owned(),
        );
        let mut ended = tokio::select! {
            ended = running.finished() => ended,
            kind = signals.next() => return self.stop(kind, &running, system, signals).await,
        };
        let mut took = self.started.elapsed();
        if self.keep && ended.is_ok() {
            ended = match self.keep(&running, &mut took, signals).await {
                Kept::Over(ended) => ended,
                Kept::Interrupted(kind) => {
                    return self.stop(kind, &running, system, signals).await;
                }
            };
        }
        self.enter(Phase::Stopping);
        if let Err(ended @ ApplicationEnded::Supervisor { .. }) = ended {
            return Err(exits.explain(&ended, &running));
        }
        let report = tokio::select! {
            report = running.report() => report,
            kind = signals.next() => {
                let overdue = hosting::stop(&running, system, signals).await;
                return self.interrupted(kind, &running, &overdue);
            }
        };
        let overdue = hosting::stop(&running, system, signals).await;
        tokio::select! {
            _ = system.shutdown() => {}
            _ = signals.next() => {}
        }
        let report = report.map_err(|error| Failure::of(FailureKind::Application, &error));
        // What a source had sent before it failed is accounted for, and shown.
        let report = match (report, &ended) {
            (Ok(report), _) => report,
            (Err(failure), Ok(())) => return Err(failure),
            (Err(_), Err(ended)) => return Err(Failure::of(FailureKind::Application, ended)),
        };
        drop(self.progress);
        let end = summary::End {
            took,
            overdue: &overdue,
        };
        match self.globals.format {
            Format::Text => output::print(&summary::text(&name, &description, &report, &end))?,
            Format::Json => output::print_json(&summary::json(&name, &report, &end))?,
        }
        if let Err(ended) = ended {
            return Err(Failure::of(FailureKind::Application, &ended)
                .hint("what had been sent before is in the report; nothing is sent twice"));
        }
        balanced(&report)
    }

    /// An application without sources is finished when it is told to end.
    fn interrupted(
        &self,
        kind: FailureKind,
        running: &RunningApplication,
        overdue: &[ActorAddress],
    ) -> Result<ExitCode, Failure> {
        if !running.has_sources() {
            return Ok(ExitCode::SUCCESS);
        }
        let counts = running.counts();
        let what = format!(
            "stopped by a signal after {} events: {} ok, {} rejected, {} failed",
            counts.events_in, counts.ok, counts.rejected, counts.failed
        );
        Err(Failure::new(kind, what)
            .detail("events_in", counts.events_in)
            .detail("ok", counts.ok)
            .detail("rejected", counts.rejected)
            .detail("failed", counts.failed)
            .detail("overdue", summary::names(overdue)))
    }
}

/// Every event that went in came out once; anything else is a fault of the application, or ours.
fn balanced(report: &Report) -> Result<ExitCode, Failure> {
    if report.balances() {
        return Ok(ExitCode::SUCCESS);
    }
    let counts = &report.counts;
    let what = format!(
        "the accounting does not balance: {} events in, but {} counted + {} rejected + {} failed",
        counts.events_in, report.counted, counts.rejected, counts.failed
    );
    Err(Failure::new(FailureKind::Application, what)
        .hint("events were lost or counted twice; an event whose call failed may have been counted all the same"))
}

/// Abnormal exits kept, to say of an application that gave up what its actors died of.
const EXITS_KEPT: usize = 5;

/// The last abnormal exits.
#[derive(Clone, Default)]
// The task that follows the events writes, and the command reads once at the end.
struct Exits(Arc<Mutex<VecDeque<String>>>);

impl Exits {
    fn watch(system: &System) -> Self {
        let exits = Self::default();
        let (kept, mut events) = (exits.clone(), system.events());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                life::say(&event);
                let (address, reason) = match event {
                    Event::Exited {
                        address, reason, ..
                    }
                    | Event::StartFailed {
                        address, reason, ..
                    } => (address, reason),
                    _ => continue,
                };
                if reason.is_normal() {
                    continue;
                }
                tracing::info!(%address, %reason, "an actor ended");
                // Killed is what a supervisor does to the rest when it gives up, not what it gave up for.
                if matches!(reason, ExitReason::Killed) {
                    continue;
                }
                let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == EXITS_KEPT {
                    kept.pop_front();
                }
                kept.push_back(format!("`{address}`: {reason}"));
            }
        });
        exits
    }

    fn explain(&self, ended: &ApplicationEnded, running: &RunningApplication) -> Failure {
        let counts = running.counts();
        let failure = Failure::of(FailureKind::Application, ended)
            .detail("events_in", counts.events_in)
            .detail("ok", counts.ok)
            .detail("rejected", counts.rejected)
            .detail("failed", counts.failed);
        let crash_loop = matches!(
            ended,
            ApplicationEnded::Supervisor {
                reason: ExitReason::CrashLoop,
                ..
            }
        );
        let exits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match exits.back() {
            Some(last) if crash_loop => failure
                .detail("exits", exits.iter().cloned().collect::<Vec<_>>())
                .hint(format!("the last to die was {last}\nraise `restarts` of `[supervision]` if that is expected")),
            Some(last) => failure.hint(format!("the last to die was {last}")),
            None => failure,
        }
    }
}
