//! `airssys bench SCENARIO`: the plan that the options make, and its report.
//!
//! What an option cannot mean is refused before anything is started, and so is a file that cannot be written.

use std::num::NonZero;
use std::process::ExitCode;

use airssys_wasm::parse_args;
use airssys_wasm_actors::{ApplicationSpec, REPLY_WITHIN_DEFAULT, ResolveOptions};
use airssys_wasm_benches::{
    Length, LoadPlan, LoadScenario, OwnFunction, Pace, Sizes, Target, run_load,
};

use super::{Files, Stopping, as_json, failed};
use crate::args::Globals;
use crate::args::bench::Load;
use crate::commands::{call, hosting};
use crate::failure::{Failure, FailureKind};
use crate::progress::Progress;
use crate::text::printable;

/// The most at a time of an open loop, unless said otherwise: those that are due together at 64 times the rate
/// that one at a time would keep.
const OPEN_AT_A_TIME: u64 = 64;
const FAN_IN: u64 = 8;

pub(super) fn run(
    globals: &Globals,
    scenario: LoadScenario,
    load: &Load,
) -> Result<ExitCode, Failure> {
    misplaced(scenario, load)?;
    let files = Files::new(load.json.as_deref(), load.html.as_deref())?;
    let progress = Progress::new(globals.quiet);
    let target = match (&load.manifest, &load.function) {
        (Some(manifest), Some(function)) => {
            let spec = ApplicationSpec::read(manifest)?;
            Target::Own(Box::new(own(&spec, function, load, &progress)?))
        }
        _ => Target::BuiltIn(scenario, sizes(load)),
    };
    let stopping = Stopping::listen()?;
    let plan = LoadPlan {
        target,
        pace: pace(scenario, load),
        length: load
            .count
            .map_or(Length::Time(load.duration), Length::Count),
        warm_up: load.warm_up,
        threads: threads(load),
        rivals: load.rivals,
        stop: stopping.stop.clone(),
    };
    let report = run_load(&plan, &mut |series| {
        tracing::info!(series, "driving");
        progress.say(format!("driving {series}"));
    })
    .map_err(|error| failed(&error))?;
    drop(progress);
    let json = as_json(&report)?;
    files.hand_over(globals, &report, &json, || report.to_html())?;
    Ok(stopping.exit_code())
}

/// An option that the scenario does not have is a mistake, not a wish.
fn misplaced(scenario: LoadScenario, load: &Load) -> Result<(), Failure> {
    let own = load.manifest.is_some();
    for (given, option, of) in [
        (!load.size.is_empty(), "--size", LoadScenario::Payload),
        (
            load.receivers.is_some(),
            "--receivers",
            LoadScenario::FanOut,
        ),
        (load.stages.is_some(), "--stages", LoadScenario::Pipeline),
        (load.actors.is_some(), "--actors", LoadScenario::Density),
        (load.rivals, "--rivals", LoadScenario::Call),
    ] {
        if given && (own || scenario != of) {
            let what = if own {
                "a function of your own".to_owned()
            } else {
                format!("`{scenario}`")
            };
            return Err(Failure::new(
                FailureKind::Usage,
                format!("{option} means nothing for {what}"),
            )
            .hint(format!("it belongs to `airssys bench {of}`")));
        }
    }
    if own && scenario != LoadScenario::Call {
        return Err(Failure::new(
            FailureKind::Usage,
            format!("`{scenario}` is of the built-in guests, and --manifest names others"),
        )
        .hint("a function of your own is driven by `airssys bench call --manifest …`"));
    }
    Ok(())
}

fn pace(scenario: LoadScenario, load: &Load) -> Pace {
    let usual = match (load.rate, scenario) {
        (Some(_), _) => OPEN_AT_A_TIME,
        (None, LoadScenario::FanIn) => FAN_IN,
        (None, _) => 1,
    };
    let concurrency = usize::try_from(load.concurrency.unwrap_or(usual)).unwrap_or(usize::MAX);
    match load.rate {
        Some(rate) => Pace::Open { rate, concurrency },
        None => Pace::Closed { concurrency },
    }
}

fn threads(load: &Load) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
    load.threads
        .and_then(|threads| usize::try_from(threads).ok())
        .unwrap_or_else(processors)
}

fn sizes(load: &Load) -> Sizes {
    let usual = Sizes::default();
    Sizes {
        payload: if load.size.is_empty() {
            usual.payload
        } else {
            load.size.clone()
        },
        receivers: load.receivers.unwrap_or(usual.receivers),
        stages: load.stages.unwrap_or(usual.stages),
        actors: load.actors.unwrap_or(usual.actors),
    }
}

/// Everything about the function is checked before it is started.
fn own(
    spec: &ApplicationSpec,
    function: &str,
    load: &Load,
    progress: &Progress,
) -> Result<OwnFunction, Failure> {
    let Some((actor, path)) = function.split_once('#') else {
        return Err(Failure::new(
            FailureKind::Usage,
            format!("--function {} names no actor", printable(function)),
        )
        .hint("write `actor#function` or `actor#interface#function`"));
    };
    let engine = hosting::engine(None)?;
    let application = hosting::resolve(spec, &engine, ResolveOptions::default(), progress)?;
    let component = call::component(&application, actor)?;
    let name = component.name.clone();
    let ty = call::function(component, path)?;
    let args = parse_args(&ty, &load.args).map_err(|error| {
        Failure::of(FailureKind::Usage, &error).hint(format!("`{}` is {ty}", printable(path)))
    })?;
    Ok(OwnFunction {
        application,
        engine,
        actor: name,
        function: path.to_owned(),
        args,
        within: load.within.unwrap_or(REPLY_WITHIN_DEFAULT),
    })
}
