//! A scenario as data: definitions of children, what happens while some of them start, and steps.
//!
//! Its text, which [`Scenario`]'s `Display` writes and `reference.erl` reads, is one line for each item, words
//! separated by one space:
//!
//! ```text
//! def NUMBER ID RESTART SIGNIFICANT SHUTDOWN worker ANSWER STARTS
//! def NUMBER ID RESTART SIGNIFICANT SHUTDOWN sup STRATEGY MAX AUTO_SHUTDOWN CHILDREN STARTS
//! hook NUMBER ATTEMPT (exit ID REASON | a call)
//! steps
//! exit PATH REASON
//! change PATH NUMBER
//! CALL PATH ARGUMENT
//! end
//! ```
//!
//! Definition 0 is the root, whose path is `r`; a child's path is its parent's, a slash, its id. Instances of
//! the one child of a dynamic supervisor have ids that begin with `#`. STARTS has a letter for each attempt to
//! start a path, counted from 1 over the whole scenario: `o` ok, `i` ignore, `e` error; what is beyond is `o`.
//! A hook runs during that attempt, in whatever starts the child, before the outcome, and only if the
//! supervisor is up (its own start has been told): `exit` ends a sibling and waits for that; a call is put into
//! the supervisor's mailbox, which it reads when it is done with what it does, `.` being the child itself.

use std::fmt;

/// An index into [`Scenario::defs`].
pub(crate) type DefId = usize;

#[derive(Debug, Clone, Default)]
pub(crate) struct Scenario {
    pub(crate) defs: Vec<Def>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) struct Def {
    pub(crate) id: String,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) body: Body,
    pub(crate) starts: Vec<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Permanent,
    Transient,
    Temporary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    Brutal,
    Infinity,
    /// So short that only a stubborn worker outlasts it, or so long that nothing does.
    Milliseconds(u32),
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Worker(ShutdownAnswer),
    Supervisor(SupervisorDef),
}

/// What a worker does when it is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownAnswer {
    /// Ends with reason shutdown.
    Obeys,
    /// Does not end: it has to be killed when its time is up.
    Stubborn,
    /// Ends with an error of its own.
    Crash,
    /// Ends with reason normal.
    Normal,
}

#[derive(Debug, Clone)]
pub(crate) struct SupervisorDef {
    pub(crate) strategy: Strategy,
    /// Restarts allowed in an endless period.
    pub(crate) max: u32,
    pub(crate) auto: AutoShutdown,
    /// One, the template, if dynamic.
    pub(crate) children: Vec<DefId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    SimpleOneForOne,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoShutdown {
    Never,
    AnySignificant,
    AllSignificant,
}

/// How an attempt to start ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Started,
    Ignored,
    Failed,
}

#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) def: DefId,
    pub(crate) attempt: u32,
    pub(crate) action: HookAction,
}

#[derive(Debug, Clone)]
pub(crate) enum HookAction {
    /// Ends the worker beside it, if it runs.
    Exit(String, End),
    /// Asks the supervisor that is starting it.
    Ask(Ask),
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Ends what runs at the path: a worker, or, by killing, a supervisor.
    Exit(String, End),
    /// Gives the supervisor at the path the flags and children of another definition, live.
    Change(String, DefId),
    Ask(String, Ask),
}

/// What can be asked of a supervisor.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Which,
    Count,
    /// Static supervisors only.
    Start(DefId),
    /// Dynamic supervisors only.
    Spawn(String),
    /// By id; under a dynamic supervisor by the last process that ran with that id, or by a foreign one.
    Terminate(String),
    Restart(String),
    Delete(String),
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Normal,
    Shutdown,
    /// `{shutdown, Term}`.
    ShutdownTerm,
    Killed,
    Crash,
    /// After its supervisor was killed; see [`canonical`](super::trace::canonical).
    Orphaned,
}

impl Scenario {
    pub(crate) fn supervisor(&self, def: DefId) -> Option<&SupervisorDef> {
        match &self.defs.get(def)?.body {
            Body::Supervisor(supervisor) => Some(supervisor),
            Body::Worker(_) => None,
        }
    }
}

/// The words of both files.
macro_rules! words {
    ($($kind:ident { $($variant:ident: $word:literal),* $(,)? })*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("`{word}` is no {}", stringify!($kind))),
                }
            }
        }
    )*};
}

words! {
    Restart { Permanent: "permanent", Transient: "transient", Temporary: "temporary" }
    ShutdownAnswer { Obeys: "obeys", Stubborn: "stubborn", Crash: "crash", Normal: "normal" }
    Strategy {
        OneForOne: "one_for_one",
        OneForAll: "one_for_all",
        RestForOne: "rest_for_one",
        SimpleOneForOne: "simple_one_for_one",
    }
    AutoShutdown {
        Never: "never",
        AnySignificant: "any_significant",
        AllSignificant: "all_significant",
    }
    Outcome { Started: "ok", Ignored: "ignore", Failed: "error" }
    End {
        Normal: "normal",
        Shutdown: "shutdown",
        ShutdownTerm: "shutdown:term",
        Killed: "killed",
        Crash: "crash",
        Orphaned: "orphaned",
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brutal => f.write_str("brutal_kill"),
            Self::Infinity => f.write_str("infinity"),
            Self::Milliseconds(milliseconds) => write!(f, "{milliseconds}"),
        }
    }
}

/// A list without items is a dash: no word is empty.
fn list(items: impl Iterator<Item = String>, separator: &str) -> String {
    let text = items.collect::<Vec<_>>().join(separator);
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

impl fmt::Display for Def {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, restart, significant) = (&self.id, self.restart, self.significant);
        write!(f, "{id} {restart} {significant} {} ", self.shutdown)?;
        match &self.body {
            Body::Worker(answer) => write!(f, "worker {answer} ")?,
            Body::Supervisor(sup) => {
                let children = list(sup.children.iter().map(ToString::to_string), ",");
                let (strategy, max, auto) = (sup.strategy, sup.max, sup.auto);
                write!(f, "sup {strategy} {max} {auto} {children} ")?;
            }
        }
        let letters = self.starts.iter().map(|outcome| match outcome {
            Outcome::Started => "o".to_owned(),
            Outcome::Ignored => "i".to_owned(),
            Outcome::Failed => "e".to_owned(),
        });
        f.write_str(&list(letters, ""))
    }
}

impl Ask {
    /// Between the word of the call and its argument stands the path, in a step.
    fn write(&self, f: &mut fmt::Formatter<'_>, path: Option<&str>) -> fmt::Result {
        let (word, argument) = match self {
            Self::Which => ("which", None),
            Self::Count => ("count", None),
            Self::Start(def) => ("start", Some(def.to_string())),
            Self::Spawn(id) => ("spawn", Some(id.clone())),
            Self::Terminate(id) => ("terminate", Some(id.clone())),
            Self::Restart(id) => ("restart", Some(id.clone())),
            Self::Delete(id) => ("delete", Some(id.clone())),
        };
        f.write_str(word)?;
        let words = path.map(str::to_owned).into_iter().chain(argument);
        words.into_iter().try_for_each(|word| write!(f, " {word}"))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hook {} {} ", self.def, self.attempt)?;
        match &self.action {
            HookAction::Exit(id, end) => write!(f, "exit {id} {end}"),
            HookAction::Ask(ask) => ask.write(f, None),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(path, end) => write!(f, "exit {path} {end}"),
            Self::Change(path, def) => write!(f, "change {path} {def}"),
            Self::Ask(path, ask) => ask.write(f, Some(path)),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, def) in self.defs.iter().enumerate() {
            writeln!(f, "def {number} {def}")?;
        }
        for hook in &self.hooks {
            writeln!(f, "{hook}")?;
        }
        writeln!(f, "steps")?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "end")
    }
}
