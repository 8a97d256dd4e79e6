//! `airssys call`: one call to one actor of an application without its sources.
//!
//! The arguments are checked against the function's type before anything is started. A reply is printed whatever
//! it says, `err(…)` included; only a call without a reply is a failure.

use std::process::ExitCode;

use airssys_wasm::{
    Args, FunctionType, NoSuchFunction, WaveError, format_value, parse_args, to_json,
};
use airssys_wasm_actors::{
    Application, ApplicationSpec, CallError, CallOptions, ResolveOptions, ResolvedComponent,
    suggest,
};
use serde_json::{Value, json};

use super::{hosting, life};
use crate::args::{Call, Format, Globals};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::text::printable;

pub(super) fn run(globals: &Globals, call: &Call) -> Result<ExitCode, Failure> {
    let spec = ApplicationSpec::read(&call.manifest)?;
    let progress = Progress::new(globals.quiet);
    let engine = hosting::engine(call.audit.as_deref())?;
    let audit = engine.audit().clone();
    let called = hosting::block_on(async {
        let mut signals = Signals::listen()?;
        let options = ResolveOptions::default();
        let application =
            hosting::resolve_aside(&spec, &engine, options, &progress, &mut signals).await?;
        let application = application.without_sources();
        let component = component(&application, &call.address)?;
        let name = component.name.clone();
        let ty = function(component, &call.function)?;
        let args = parse_args(&ty, &call.args).map_err(|error| {
            let failure = Failure::of(FailureKind::Usage, &error);
            match error {
                // It has the type in it.
                WaveError::Count { .. } => failure,
                _ => failure.hint(format!("`{}` is {ty}", printable(&call.function))),
            }
        })?;
        let system = hosting::system(engine).await?;
        life::follow(system.events());
        let running = hosting::start(application, &system, &mut signals).await?;
        let answer = tokio::select! {
            answer = ask(&running, &name, call, args) => answer,
            kind = signals.next() => Err(Failure::new(kind, "stopped by a signal before the reply came")),
        };
        hosting::stop(&running, &system, &mut signals).await;
        tokio::select! {
            _ = system.shutdown() => {}
            _ = signals.next() => {}
        }
        answer.map(|results| (ty, results))
    });
    drop(progress);
    // What a call has come to is not done again: it is printed, whatever becomes of the trail.
    let printed = called.and_then(|(ty, results)| print(globals.format, &ty, results));
    hosting::audited(printed, &audit, call.audit.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn component<'a>(
    application: &'a Application,
    address: &str,
) -> Result<&'a ResolvedComponent, Failure> {
    let components = application.components();
    let named = |component: &&ResolvedComponent| {
        component.name == address || component.child.address.as_str() == address
    };
    components.iter().find(named).ok_or_else(|| {
        let names: Vec<_> = components
            .iter()
            .map(|component| component.name.as_str())
            .collect();
        Failure::new(
            FailureKind::Usage,
            format!("no actor `{}` in this application", printable(address)),
        )
        .hint(suggest(address, "actors", names))
    })
}

pub(super) fn function(component: &ResolvedComponent, path: &str) -> Result<FunctionType, Failure> {
    let surface = component
        .child
        .surface()
        .map_err(|error| Failure::of(FailureKind::Usage, error))?;
    let export = surface.export(path).map_err(|error| no_such(&error))?;
    let found = surface
        .export_function(export)
        .map(|(_, function)| function.ty.clone());
    found.ok_or_else(|| {
        Failure::new(
            FailureKind::Usage,
            format!("no function `{}`", printable(path)),
        )
    })
}

fn no_such(error: &NoSuchFunction) -> Failure {
    let failure = Failure::new(FailureKind::Usage, error.what());
    match error.remedy() {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    }
}

async fn ask(
    running: &airssys_wasm_actors::RunningApplication,
    name: &str,
    call: &Call,
    args: Args,
) -> Result<Args, Failure> {
    let gone = || Failure::new(FailureKind::Call, format!("`{name}` has ended"));
    let actor = running.actor(name).ok_or_else(gone)?;
    let function = actor
        .function(&call.function)
        .map_err(|error| no_such(&error))?;
    let options = CallOptions {
        within: call.within,
        ..CallOptions::default()
    };
    function
        .call_with(args, options)
        .await
        .map_err(|error| failed(&error))
}

fn failed(error: &CallError) -> Failure {
    let failure = Failure::of(FailureKind::Call, error)
        .detail("call", error.kind())
        .detail("retryable", error.retryable());
    match error {
        CallError::CalleeDied { reason, .. } => failure.detail("reason", reason.kind()),
        CallError::Deadline { .. } => failure.hint("wait longer with `--within`"),
        _ => failure,
    }
}

fn print(format: Format, ty: &FunctionType, results: Args) -> Result<(), Failure> {
    let value = results.into_values().next().zip(ty.result.as_ref());
    match (format, value) {
        (Format::Text, None) => Ok(()),
        (Format::Text, Some((value, ty))) => {
            output::print(&format!("{}\n", printable(&format_value(&value, ty))))
        }
        (Format::Json, value) => {
            let wave = value.as_ref().map(|(value, ty)| format_value(value, ty));
            let json = value.map_or(Value::Null, |(value, ty)| to_json(&value, ty));
            let ty = ty.result.as_ref().map(ToString::to_string);
            output::print_json(&json!({ "result": json, "wave": wave, "type": ty }))
        }
    }
}
