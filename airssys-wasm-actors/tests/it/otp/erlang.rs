//! OTP itself as a runner: compiles `reference.erl` and runs many scenarios in one virtual machine.
//!
//! Costs its start, a quarter of a second, and then well under a millisecond for most scenarios.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::scenario::Scenario;
use super::trace::{StepTrace, Trace};

pub(crate) struct Erlang {
    directory: PathBuf,
}

impl Erlang {
    /// None where there is no Erlang. `name` keeps what tests write apart.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("otp-{name}"));
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("reference.erl");
        fs::write(&source, include_str!("reference.erl")).unwrap();
        let output = Command::new("erlc")
            .args(["-Wall", "-Werror", "-o"])
            .args([&directory, &source])
            .output()
            .ok()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        // A compiler without the virtual machine is no Erlang either.
        let runs = Command::new("erl").arg("-version").output().is_ok();
        runs.then_some(Self { directory })
    }

    /// The traces, as they are.
    pub(crate) fn run(&self, scenarios: &[Scenario]) -> Vec<Trace> {
        let mut text = String::new();
        for (number, scenario) in scenarios.iter().enumerate() {
            write!(text, "scenario {number}\n{scenario}").unwrap();
        }
        let (input, output) = (self.directory.join("in"), self.directory.join("out"));
        fs::write(&input, text).unwrap();
        let ran = Command::new("erl")
            .args(["-noshell", "-noinput", "+S", "1:1", "-pa"])
            .arg(&self.directory)
            .args(["-run", "reference", "main"])
            .args([&input, &output])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "erl: {}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        let text = fs::read_to_string(&output).unwrap();
        let traces: Vec<_> = parse(&text).unwrap();
        assert_eq!(traces.len(), scenarios.len(), "Erlang stopped half-way");
        traces
    }
}

fn parse(text: &str) -> Result<Vec<Trace>, String> {
    let mut traces = Vec::new();
    let (mut trace, mut events) = (Trace::new(), Vec::new());
    for line in text.lines() {
        if line == "end" {
            traces.push(std::mem::take(&mut trace));
        } else if let Some(answer) = line.strip_prefix("r ") {
            trace.push(StepTrace {
                events: std::mem::take(&mut events),
                answer: answer.parse()?,
            });
        } else if !line.starts_with("scenario ") {
            events.push(line.parse()?);
        }
    }
    Ok(traces)
}
