//! What happened, step by step: the same type from every runner, and what is normalised away.
//!
//! A step's lines are its events, in order, and then its answer:
//!
//! ```text
//! start PATH ATTEMPT (ok | ignore | error)
//! stop PATH ATTEMPT REASON
//! answer PATH ANSWER
//! r ANSWER
//! ```
//!
//! Costs a few passes over the events of each step.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::scenario::{End, Outcome, Scenario};

/// What happened during the start of the root, each step, and the stop of the root.
pub(crate) type Trace = Vec<StepTrace>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepTrace {
    pub(crate) events: Vec<Event>,
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// An attempt to start a child has ended; of a supervisor, after those of its own children.
    Start {
        path: String,
        attempt: u32,
        outcome: Outcome,
    },
    /// What that attempt started has ended; a supervisor, after its children.
    Stop {
        path: String,
        attempt: u32,
        end: End,
    },
    /// A supervisor has answered a call of a hook. One that ends before it does so tells nothing.
    Answer { path: String, answer: Answer },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// The attempt that runs now, or none: the child declined to start.
    Child(Option<u32>),
    AlreadyStarted(u32),
    AlreadyPresent,
    NotFound,
    Running,
    Restarting,
    /// The call is not for dynamic supervisors.
    SimpleOneForOne,
    /// A faulty specification: nothing was changed.
    Refused,
    /// The child did not start.
    Error,
    /// There is no such supervisor now.
    NoProcess,
    /// There is nothing that could end.
    Nobody,
    /// The children in the order of the reply, latest first; those of a dynamic supervisor sorted as words, and
    /// without id if restarting.
    Which(Vec<(String, ChildState)>),
    Count {
        specs: usize,
        active: i64,
        supervisors: usize,
        workers: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildState {
    Running(u32),
    Restarting,
    Undefined,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(attempt) => write!(f, "{attempt}"),
            Self::Restarting => f.write_str("restarting"),
            Self::Undefined => f.write_str("undefined"),
        }
    }
}

impl FromStr for ChildState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "restarting" => Ok(Self::Restarting),
            "undefined" => Ok(Self::Undefined),
            word => number(Some(word)).map(Self::Running),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Child(Some(attempt)) => write!(f, "ok {attempt}"),
            Self::Child(None) => f.write_str("ok undefined"),
            Self::AlreadyStarted(attempt) => write!(f, "already_started {attempt}"),
            Self::AlreadyPresent => f.write_str("already_present"),
            Self::NotFound => f.write_str("not_found"),
            Self::Running => f.write_str("running"),
            Self::Restarting => f.write_str("restarting"),
            Self::SimpleOneForOne => f.write_str("simple_one_for_one"),
            Self::Refused => f.write_str("refused"),
            Self::Error => f.write_str("error"),
            Self::NoProcess => f.write_str("noproc"),
            Self::Nobody => f.write_str("none"),
            Self::Which(children) => {
                f.write_str("which")?;
                children
                    .iter()
                    .try_for_each(|(id, state)| match id.as_str() {
                        "" => write!(f, " {state}"),
                        id => write!(f, " {id}={state}"),
                    })
            }
            Self::Count {
                specs,
                active,
                supervisors,
                workers,
            } => write!(f, "count {specs} {active} {supervisors} {workers}"),
        }
    }
}

fn number<N: FromStr>(word: Option<&str>) -> Result<N, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(' ');
        Ok(match (words.next().unwrap_or_default(), words.next()) {
            ("ok", None) => Self::Ok,
            ("ok", Some("undefined")) => Self::Child(None),
            ("ok", attempt) => Self::Child(Some(number(attempt)?)),
            ("already_started", attempt) => Self::AlreadyStarted(number(attempt)?),
            ("already_present", _) => Self::AlreadyPresent,
            ("not_found", _) => Self::NotFound,
            ("running", _) => Self::Running,
            ("restarting", _) => Self::Restarting,
            ("simple_one_for_one", _) => Self::SimpleOneForOne,
            ("refused", _) => Self::Refused,
            ("error", _) => Self::Error,
            ("noproc", _) => Self::NoProcess,
            ("none", _) => Self::Nobody,
            ("which", first) => {
                let children = first.into_iter().chain(words).map(|word| {
                    let (id, state) = word.split_once('=').unwrap_or(("", word));
                    Ok((id.to_owned(), state.parse()?))
                });
                Self::Which(children.collect::<Result<_, String>>()?)
            }
            ("count", specs) => Self::Count {
                specs: number(specs)?,
                active: number(words.next())?,
                supervisors: number(words.next())?,
                workers: number(words.next())?,
            },
            _ => return Err(format!("`{text}` is no answer")),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start {
                path,
                attempt,
                outcome,
            } => write!(f, "start {path} {attempt} {outcome}"),
            Self::Stop { path, attempt, end } => write!(f, "stop {path} {attempt} {end}"),
            Self::Answer { path, answer } => write!(f, "answer {path} {answer}"),
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let path = path.to_owned();
        if kind == "answer" {
            let answer = rest.parse()?;
            return Ok(Self::Answer { path, answer });
        }
        let (attempt, how) = rest.split_once(' ').unwrap_or((rest, ""));
        let attempt = number(Some(attempt))?;
        match kind {
            "start" => Ok(Self::Start {
                path,
                attempt,
                outcome: how.parse()?,
            }),
            "stop" => Ok(Self::Stop {
                path,
                attempt,
                end: how.parse()?,
            }),
            _ => Err(format!("`{line}` is no event")),
        }
    }
}

/// The lines of a trace, each step under the line that names it.
pub(crate) fn lines(scenario: &Scenario, trace: &Trace) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, step) in trace.iter().enumerate() {
        lines.push(match at.checked_sub(1) {
            None => "> boot".to_owned(),
            Some(at) => match scenario.steps.get(at) {
                Some(step) => format!("> {step}"),
                None => "> stop".to_owned(),
            },
        });
        lines.extend(step.events.iter().map(ToString::to_string));
        lines.push(format!("r {}", step.answer));
    }
    lines
}

/// Takes out what OTP leaves open, or does otherwise than we do on purpose.
///
/// - *Orphans.* The descendants of a supervisor that was killed end in an order, with reasons and at a moment of
///   their own: in OTP while its successor may already run; in a tree of ours, before it is told that the
///   supervisor has ended. Their ends follow the supervisor's, sorted by path, with reason `orphaned`.
/// - *Dynamic children* are all asked to end at once: among ends that follow each other, those under one
///   dynamic supervisor are sorted by child; below one child their order stays.
pub(crate) fn canonical(trace: &mut Trace) {
    let mut alive = BTreeMap::new();
    for step in trace {
        // Before too: what is told right before its supervisor may have others' ends in between.
        dynamic(&mut step.events);
        orphans(&mut step.events, &mut alive);
        dynamic(&mut step.events);
    }
}

fn is_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn orphans(events: &mut Vec<Event>, alive: &mut BTreeMap<String, u32>) {
    let mut at = 0;
    while let Some(event) = events.get(at) {
        at += 1;
        let (killed, attempt) = match event {
            Event::Answer { .. } => continue,
            Event::Start {
                path,
                attempt,
                outcome,
            } => {
                if *outcome == Outcome::Started {
                    alive.insert(path.clone(), *attempt);
                }
                continue;
            }
            Event::Stop {
                path,
                attempt,
                end: End::Killed,
            } => (path.clone(), *attempt),
            Event::Stop { path, attempt, .. } => {
                remove(alive, path, *attempt);
                continue;
            }
        };
        remove(alive, &killed, attempt);
        // Those told right before the supervisor's own end, then those told at any time after it.
        let mut begin = at - 1;
        while begin > 0
            && matches!(&events[begin - 1], Event::Stop { path, .. } if is_under(path, &killed))
        {
            begin -= 1;
        }
        let mut ends: Vec<_> = events.drain(begin..at - 1).collect();
        at = begin + 1;
        let below: Vec<_> = alive
            .iter()
            .filter(|(path, _)| is_under(path, &killed))
            .map(|(path, attempt)| (path.clone(), *attempt))
            .collect();
        for (orphan, attempt) in below {
            remove(alive, &orphan, attempt);
            let later = events.iter().skip(at).position(|event| {
                matches!(event, Event::Stop { path, attempt: its, .. } if *path == orphan && *its == attempt)
            });
            if let Some(later) = later {
                ends.push(events.remove(at + later));
            }
        }
        for event in &mut ends {
            if let Event::Stop { end, .. } = event {
                *end = End::Orphaned;
            }
        }
        ends.sort_by(|a, b| stopped(a).cmp(&stopped(b)));
        let count = ends.len();
        events.splice(at..at, ends);
        at += count;
    }
}

fn remove(alive: &mut BTreeMap<String, u32>, path: &str, attempt: u32) {
    if alive.get(path) == Some(&attempt) {
        alive.remove(path);
    }
}

fn stopped(event: &Event) -> Option<&str> {
    match event {
        Event::Stop { path, .. } => Some(path),
        Event::Start { .. } | Event::Answer { .. } => None,
    }
}

/// Sorts each run of ends under one dynamic supervisor, the outermost supervisors first.
fn dynamic(events: &mut [Event]) {
    let prefixes = |path: &str| -> Vec<String> {
        path.match_indices("/#")
            .filter_map(|(at, _)| path.get(..at).map(str::to_owned))
            .collect()
    };
    let mut supervisors: Vec<_> = events
        .iter()
        .filter_map(stopped)
        .flat_map(prefixes)
        .collect();
    supervisors.sort();
    supervisors.dedup();
    for supervisor in supervisors {
        let child = |event: &Event| -> Option<String> {
            let path = stopped(event).filter(|path| is_under(path, &supervisor))?;
            let below = path.get(supervisor.len() + 1..)?;
            below.split('/').next().map(str::to_owned)
        };
        for run in events.chunk_by_mut(|a, b| child(a).is_some() == child(b).is_some()) {
            run.sort_by_key(&child);
        }
    }
}
