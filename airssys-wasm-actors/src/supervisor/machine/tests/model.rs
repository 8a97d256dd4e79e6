//! OTP's supervisor as a model with a clock: what `docs/supervision.md` says, in the plainest words.
//!
//! Written from OTP's rules, not from the machine. A start, a stop and all that follows from them take no time and
//! are over before the next thing happens, so that a supervisor is a list of children, a list of restarts, and the
//! time. The restart window is OTP's: keep the restarts of the period, add this one, and see if they are too many.

use std::collections::VecDeque;

use crate::supervisor::RestartPolicy;
use crate::supervisor::spec::{AutoShutdown, Strategy};

/// The flags and the first children of a supervisor.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) strategy: Strategy,
    pub(super) max: u32,
    /// In ticks, as all time here.
    pub(super) within: u64,
    pub(super) auto: AutoShutdown,
    pub(super) isolates: bool,
    pub(super) first: Vec<Policy>,
    /// What comes of the starts of the boot, in order.
    pub(super) starts: Vec<Start>,
}

/// What is done about a child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) restart: RestartPolicy,
    pub(super) significant: bool,
    /// How long each of its restarts waits.
    pub(super) delay: u64,
}

/// What comes of one start; those that are not said succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Up,
    Fails,
    Declines,
}

/// How a child ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Normal,
    Shutdown,
    Killed,
    Crash,
}

impl End {
    fn is_followed_by_a_restart(self, policy: RestartPolicy) -> bool {
        match policy {
            RestartPolicy::Permanent => true,
            RestartPolicy::Transient => matches!(self, Self::Killed | Self::Crash),
            RestartPolicy::Temporary => false,
        }
    }
}

/// What happens to a supervisor, with what comes of the starts that follow from it, in order.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) starts: Vec<Start>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// A child that runs ends by itself.
    Ends(u64, End),
    /// Time passes.
    Passes(u64),
    /// Restarts are limited otherwise from now on.
    Limits(u32, u64),
    Add(Policy),
    Terminate(u64),
    Forget(u64),
    Delete(u64),
    Revive(u64),
    Renew(u64),
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Stopped,
    /// It is tried again at this time. `counted` says whether the window knows of the try.
    Waiting {
        at: u64,
        /// Of two that wait for one moment the first to wait is the first to be tried.
        turn: u64,
        counted: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) id: u64,
    pub(super) policy: Policy,
    pub(super) state: State,
}

/// What can be seen of a step, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Start(u64, Start),
    Stop(u64),
}

/// How a supervisor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    GaveUp(u64),
    NotBooted(u64),
    /// As it was asked to, or because of its significant children.
    InOrder,
}

/// What was answered to what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    NotStarted,
    Running,
    Restarting,
    SupervisorEnded,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) now: u64,
    /// In start order.
    pub(super) children: Vec<Child>,
    pub(super) next_id: u64,
    turn: u64,
    restarts: Vec<u64>,
    pub(super) over: Option<Over>,
    /// Of the last step.
    pub(super) seen: Vec<Seen>,
    pub(super) answer: Option<Answer>,
    starts: VecDeque<Start>,
}

impl Model {
    pub(super) fn boot(config: Config) -> Self {
        let stopped = |(id, policy): (u64, &Policy)| Child {
            id,
            policy: *policy,
            state: State::Stopped,
        };
        let children: Vec<_> = (1..).zip(&config.first).map(stopped).collect();
        let ids: Vec<_> = children.iter().map(|child| child.id).collect();
        let mut model = Self {
            now: 0,
            next_id: ids.len() as u64 + 1,
            children,
            turn: 0,
            restarts: Vec::new(),
            over: None,
            seen: Vec::new(),
            answer: None,
            starts: config.starts.clone().into(),
            config,
        };
        for id in ids {
            match model.start(id) {
                Start::Up => {}
                Start::Declines => model.stays_down(id),
                Start::Fails => {
                    model.end(Over::NotBooted(id));
                    break;
                }
            }
        }
        model
    }

    pub(super) fn child(&self, id: u64) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(super) fn state(&self, id: u64) -> Option<State> {
        self.child(id).map(|child| child.state)
    }

    fn policy(&self, id: u64) -> Policy {
        self.child(id).unwrap().policy
    }

    fn set(&mut self, id: u64, state: State) {
        let child = self.children.iter_mut().find(|child| child.id == id);
        child.unwrap().state = state;
    }

    fn forget(&mut self, id: u64) {
        self.children.retain(|child| child.id != id);
    }

    fn is_simple(&self) -> bool {
        self.config.strategy == Strategy::SimpleOneForOne
    }

    /// One start, which may be in vain.
    fn start(&mut self, id: u64) -> Start {
        let start = self.starts.pop_front().unwrap_or(Start::Up);
        self.seen.push(Seen::Start(id, start));
        let state = match start {
            Start::Up => State::Running,
            Start::Fails | Start::Declines => State::Stopped,
        };
        self.set(id, state);
        start
    }

    fn stop(&mut self, id: u64) {
        if self.state(id) == Some(State::Running) {
            self.seen.push(Seen::Stop(id));
        }
        self.set(id, State::Stopped);
    }

    fn end(&mut self, over: Over) {
        let ids: Vec<_> = self.children.iter().map(|child| child.id).collect();
        for id in ids.into_iter().rev() {
            self.stop(id);
        }
        self.over = Some(over);
    }

    /// Nobody starts it again by itself: the spec of a temporary or dynamic child goes with it.
    fn stays_down(&mut self, id: u64) {
        self.set(id, State::Stopped);
        if self.is_simple() || self.policy(id).restart == RestartPolicy::Temporary {
            self.forget(id);
        }
    }

    /// Whether one more restart is allowed; if not, that is the end.
    fn allowed(&mut self, id: u64) -> bool {
        let since = self.now.saturating_sub(self.config.within);
        self.restarts.retain(|at| *at >= since);
        self.restarts.push(self.now);
        if self.restarts.len() as u64 <= u64::from(self.config.max) {
            return true;
        }
        // It does not come to this one.
        self.restarts.pop();
        if self.config.isolates {
            self.forget(id);
        } else {
            self.set(id, State::Stopped);
            self.end(Over::GaveUp(id));
        }
        false
    }

    fn waits(&mut self, id: u64, counted: bool) {
        let at = self.now + self.policy(id).delay;
        let turn = self.turn;
        self.turn += 1;
        self.set(id, State::Waiting { at, turn, counted });
    }

    fn ended(&mut self, id: u64, end: End) {
        let Policy {
            restart,
            significant,
            delay,
        } = self.policy(id);
        self.set(id, State::Stopped);
        if end.is_followed_by_a_restart(restart) {
            if self.allowed(id) {
                match delay {
                    0 => self.restart(id),
                    _ => self.waits(id, true),
                }
            }
            return;
        }
        self.stays_down(id);
        let mut others = self.children.iter();
        let ends = match self.config.auto {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                !others.any(|other| other.policy.significant && other.state != State::Stopped)
            }
        };
        if significant && ends {
            self.end(Over::InOrder);
        }
    }

    /// Those whom the restart of a child concerns are stopped in reverse order and started in order.
    fn restart(&mut self, id: u64) {
        let from = self.children.iter().position(|child| child.id == id);
        let concerned = match self.config.strategy {
            Strategy::OneForAll => &self.children[..],
            Strategy::RestForOne => &self.children[from.unwrap()..],
            _ => &self.children[from.unwrap()..=from.unwrap()],
        };
        let concerned: Vec<_> = concerned.iter().map(|child| child.id).collect();
        for other in concerned.iter().rev() {
            self.stop(*other);
            if self.policy(*other).restart == RestartPolicy::Temporary {
                self.forget(*other);
            }
        }
        for other in concerned {
            if self.child(other).is_none() {
                continue;
            }
            match self.start(other) {
                Start::Up => {}
                Start::Declines => self.stays_down(other),
                // Those after it stay down until it is up.
                Start::Fails => return self.try_again(other),
            }
        }
    }

    /// A start of a restart has failed: each try counts.
    fn try_again(&mut self, id: u64) {
        if self.policy(id).delay > 0 {
            self.waits(id, false);
        } else if self.allowed(id) {
            self.restart(id);
        }
    }

    fn passes(&mut self, time: u64) {
        let until = self.now + time;
        loop {
            let due = self.children.iter().filter_map(|child| match child.state {
                State::Waiting { at, turn, counted } if at <= until => {
                    Some((at, turn, child.id, counted))
                }
                _ => None,
            });
            let Some((at, _, id, counted)) = due.min() else {
                break;
            };
            self.now = at;
            self.set(id, State::Stopped);
            if counted || self.allowed(id) {
                self.restart(id);
            }
            if self.over.is_some() {
                break;
            }
        }
        self.now = until;
    }

    fn add(&mut self, policy: Policy) -> Answer {
        let id = self.next_id;
        self.next_id += 1;
        let state = State::Stopped;
        self.children.push(Child { id, policy, state });
        match self.start(id) {
            Start::Up => Answer::Done,
            Start::Declines => {
                self.stays_down(id);
                Answer::Done
            }
            Start::Fails => {
                self.forget(id);
                Answer::NotStarted
            }
        }
    }

    /// What is asked of a child.
    fn asked(&mut self, what: &What, id: u64) -> Answer {
        let state = self.state(id).unwrap();
        match (what, state) {
            (What::Delete(_) | What::Revive(_), State::Running) => Answer::Running,
            (What::Delete(_) | What::Revive(_), State::Waiting { .. }) => Answer::Restarting,
            (What::Delete(_), State::Stopped) => {
                self.forget(id);
                Answer::Done
            }
            (What::Revive(_), State::Stopped) => match self.start(id) {
                Start::Fails => Answer::NotStarted,
                Start::Declines => {
                    self.stays_down(id);
                    Answer::Done
                }
                Start::Up => Answer::Done,
            },
            (What::Renew(_), _) => {
                self.stop(id);
                match self.start(id) {
                    Start::Up => {}
                    Start::Declines => self.stays_down(id),
                    Start::Fails => self.try_again(id),
                }
                Answer::Done
            }
            (What::Terminate(_), _) => {
                self.stop(id);
                self.stays_down(id);
                Answer::Done
            }
            _ => {
                self.stop(id);
                self.forget(id);
                Answer::Done
            }
        }
    }

    pub(super) fn apply(mut self, step: &Step) -> Self {
        self.seen.clear();
        self.starts = step.starts.clone().into();
        self.answer = None;
        match &step.what {
            What::Passes(time) => self.passes(*time),
            What::Limits(max, within) => {
                self.config.max = *max;
                self.config.within = *within;
            }
            What::Ends(id, end) => self.ended(*id, *end),
            _ if self.over.is_some() => self.answer = Some(Answer::SupervisorEnded),
            What::Stop => {
                self.end(Over::InOrder);
                self.answer = Some(Answer::Done);
            }
            What::Add(policy) => self.answer = Some(self.add(*policy)),
            What::Terminate(id)
            | What::Forget(id)
            | What::Delete(id)
            | What::Revive(id)
            | What::Renew(id) => self.answer = Some(self.asked(&step.what, *id)),
        }
        self
    }
}
