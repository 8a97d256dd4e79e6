//! `airssys bench`: rows, scenarios, comparisons.
//!
//! Owns the words of the command line for them; what is measured, and how, is in the crate behind the feature
//! `bench`. This binary also is the child in which memory is measured, by an option that no help shows. The first signal
//! ends a measurement with the results so far, the second the process.

mod load;

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use airssys_wasm_benches::{
    AnyReport, BenchError, CYCLES_MODE, ChildCommand, CompareError, LoadScenario, Options,
    Progress as At, Stop, compare, cycles_child, rows, rss_child,
};
use serde_json::Value;

use crate::args::bench::{Bench, BenchWhat, Compare, RowsOptions};
use crate::args::{Format, Globals};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::text::printable;

/// Takes the number of actors, and whether to call them; or that of cycles to warm up with, and that it is cycles.
const CHILD: &str = "--rss-child";

pub(super) fn run(globals: &Globals, bench: &Bench) -> Result<ExitCode, Failure> {
    if let [number, mode] = bench.rss_child.as_slice() {
        return child(number, mode);
    }
    let (scenario, options) = match &bench.what {
        None => return measure(globals, "all", &bench.rows),
        Some(BenchWhat::All(options)) => return measure(globals, "all", options),
        Some(BenchWhat::Supervision(options)) => return measure(globals, "supervision", options),
        Some(BenchWhat::Deploy(options)) => return measure(globals, "deploy", options),
        Some(BenchWhat::Rows(rows)) => return measure(globals, &rows.which, &rows.options),
        Some(BenchWhat::Compare(files)) => return compared(globals, files),
        Some(BenchWhat::Other(words)) => {
            return Err(unknown(words.first().map_or("", String::as_str)));
        }
        Some(BenchWhat::Call(load)) => (LoadScenario::Call, load),
        Some(BenchWhat::Ask(load)) => (LoadScenario::Ask, load),
        Some(BenchWhat::Cast(load)) => (LoadScenario::Cast, load),
        Some(BenchWhat::FanIn(load)) => (LoadScenario::FanIn, load),
        Some(BenchWhat::FanOut(load)) => (LoadScenario::FanOut, load),
        Some(BenchWhat::Pipeline(load)) => (LoadScenario::Pipeline, load),
        Some(BenchWhat::Payload(load)) => (LoadScenario::Payload, load),
        Some(BenchWhat::Spawn(load)) => (LoadScenario::Spawn, load),
        Some(BenchWhat::Restart(load)) => (LoadScenario::Restart, load),
        Some(BenchWhat::Density(load)) => (LoadScenario::Density, load),
        Some(BenchWhat::Mixed(load)) => (LoadScenario::Mixed, load),
    };
    load::run(globals, scenario, options)
}

fn child(number: &str, mode: &str) -> Result<ExitCode, Failure> {
    let number = number.parse().map_err(|_| {
        Failure::new(
            FailureKind::Usage,
            format!("{CHILD}: `{number}` is no number of actors or cycles"),
        )
    })?;
    end_with_parent();
    tracing::info!(number, mode, "measuring memory");
    let measured = match mode {
        CYCLES_MODE => cycles_child(number),
        _ => rss_child(number, mode == "called"),
    };
    measured.map_err(|error| failed(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// It is out of the terminal's reach, and of no use to anybody else.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        let kill = Some(rustix::process::Signal::KILL);
        // Without it, it goes on for seconds.
        let _ = rustix::process::set_parent_process_death_signal(kill);
    }
}

/// A word that is no scenario: it may be a row.
fn unknown(word: &str) -> Failure {
    let names = LoadScenario::ALL.map(LoadScenario::as_str).join(", ");
    let failure = Failure::new(
        FailureKind::Usage,
        format!("no scenario `{}`", printable(word)),
    );
    if !word.is_empty() && rows().any(|row| row.is_asked_for(word)) {
        failure.hint(format!(
            "it is the beginning of a row's name: `airssys bench rows {word}`"
        ))
    } else {
        failure.hint(format!(
            "the scenarios are {names}; `all`, `supervision`, `deploy` and `rows NAME` measure rows, `compare` compares two reports"
        ))
    }
}

fn measure(globals: &Globals, which: &str, options: &RowsOptions) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::of(FailureKind::Io, &error))?;
    let stopping = Stopping::listen()?;
    let plan = Options {
        which: which.to_owned(),
        rounds: options.rounds,
        quick: options.quick,
        child: Some(ChildCommand {
            program,
            args: vec![OsString::from("bench"), OsString::from(CHILD)],
        }),
        stop: stopping.stop.clone(),
    };
    let files = Files::new(options.json.as_deref(), options.html.as_deref())?;
    let progress = Progress::new(globals.quiet);
    let report = airssys_wasm_benches::run(&plan, &mut |at| progress.say(line(at)))
        .map_err(|error| failed(&error))?;
    drop(progress);
    let json = as_json(&report)?;
    files.hand_over(globals, &report, &json, || report.to_html())?;
    Ok(stopping.exit_code())
}

fn compared(globals: &Globals, files: &Compare) -> Result<ExitCode, Failure> {
    let (before, after) = (read(&files.before)?, read(&files.after)?);
    let comparison = compare(before, after).map_err(|error| {
        let failure = Failure::of(FailureKind::Usage, &error);
        match error {
            CompareError::OtherKind | CompareError::NothingInCommon { .. } => failure
                .hint("compare two reports of the same scenario, or two of `airssys bench all`"),
            _ => failure,
        }
    })?;
    let json = as_json(&comparison)?;
    Files::new(None, files.html.as_deref())?
        .hand_over(globals, &comparison, &json, || comparison.to_html())?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<AnyReport, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::new(
            FailureKind::Io,
            format!("cannot read {}: {error}", file.display()),
        )
    })?;
    AnyReport::parse(&text).map_err(|error| {
        // The error has its cause in its text.
        Failure::new(FailureKind::Usage, format!("{}: {error}", file.display()))
            .hint("give a file that `airssys bench … --json FILE` wrote")
    })
}

fn as_json(report: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(|error| Failure::of(FailureKind::Io, &error))
}

/// Where a report is written to beside standard output.
struct Files<'a> {
    json: Option<&'a Path>,
    html: Option<&'a Path>,
}

impl<'a> Files<'a> {
    /// That they can be written is found out before minutes of measuring, not after. Nothing is left of that.
    fn new(json: Option<&'a Path>, html: Option<&'a Path>) -> Result<Self, Failure> {
        if json.is_some() && json == html {
            return Err(
                Failure::new(FailureKind::Usage, "--json and --html name the same file")
                    .hint("give each report a file of its own"),
            );
        }
        for file in [json, html].into_iter().flatten() {
            writable(file).map_err(|error| {
                cannot_write(file, &error).hint("nothing was done yet; choose another file")
            })?;
        }
        Ok(Self { json, html })
    }

    /// Prints the report and writes it. What has been measured is not measured again: if one of these fails, the others are
    /// done all the same.
    fn hand_over(
        &self,
        globals: &Globals,
        report: &impl Display,
        json: &Value,
        html: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let printed = match globals.format {
            Format::Text => output::print(&printable_lines(&report.to_string())),
            Format::Json => output::print_json(json),
        };
        let data = write(self.json, || format!("{json:#}\n"));
        let page = write(self.html, html);
        printed.and(data).and(page)
    }
}

/// A report that was read from a file may be anybody's.
fn printable_lines(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", printable(line)))
        .collect()
}

fn write(file: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text())
        .map_err(|error| cannot_write(file, &error).hint("the report on standard output is whole"))
}

fn writable(file: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    match options.append(true).create_new(true).open(file) {
        Ok(_) => fs::remove_file(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::OpenOptions::new().append(true).open(file).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        FailureKind::Io,
        format!("cannot write {}: {error}", file.display()),
    )
}

/// What signals do to a measurement.
struct Stopping {
    stop: Stop,
    by: Arc<OnceLock<FailureKind>>,
}

impl Stopping {
    /// From now on the first signal asks to stop, and the second ends the process.
    fn listen() -> Result<Self, Failure> {
        let stopping = Self {
            stop: Stop::default(),
            by: Arc::default(),
        };
        let (stop, by) = (stopping.stop.clone(), Arc::clone(&stopping.by));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of(FailureKind::Io, &error))?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::listen()?
        };
        // Measurements have runtimes of their own, and block this thread.
        std::thread::Builder::new()
            .name("bench-signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let first = signals.next().await;
                    let _ = by.set(first);
                    stop.ask();
                    let second = signals.next().await;
                    std::process::exit(i32::from(second.code()));
                });
            })
            .map_err(|error| Failure::of(FailureKind::Io, &error))?;
        Ok(stopping)
    }

    fn exit_code(&self) -> ExitCode {
        self.by
            .get()
            .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.code()))
    }
}

fn line(at: At) -> String {
    let workers = if at.threads == 1 { "worker" } else { "workers" };
    let round = match at.round {
        0 => "warming up".to_owned(),
        round => format!("round {round} of {}", at.rounds),
    };
    format!("{} on {} {workers}: {round}", at.group.as_str(), at.threads)
}

fn failed(error: &BenchError) -> Failure {
    let kind = match error {
        BenchError::UnknownRow { .. } => FailureKind::Usage,
        BenchError::NotStarted { .. } => FailureKind::Application,
        _ => FailureKind::Io,
    };
    Failure::of(kind, error)
}
