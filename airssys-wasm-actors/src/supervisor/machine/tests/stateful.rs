//! The machine and the model of OTP's supervisor, told the same, have to do the same.
//!
//! A world of children that start and end at once carries out what the machine says, with a clock that only a step
//! moves. Compared after each step: every start and stop, in order, and what came of it; what was answered; who
//! runs, is stopped, or waits to be tried again; and whether, how and because of whom the supervisor has ended.
//! The world itself looks that no two incarnations of a child overlap.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{Strategy as _, Union};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::model::{
    Answer, Child, Config, End, Model, Over, Policy, Seen, Start, State, Step, What,
};
use super::*;
use crate::supervisor::spec::Strategy;

/// As many children at most are there at a time, so that what happens to one meets the others.
const CHILDREN_MAX: usize = 6;

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs(ticks)
}

fn any_end() -> impl proptest::strategy::Strategy<Value = End> {
    select(&[End::Normal, End::Shutdown, End::Killed, End::Crash])
}

fn any_start() -> impl proptest::strategy::Strategy<Value = Start> {
    prop_oneof![6 => Just(Start::Up), 3 => Just(Start::Fails), 1 => Just(Start::Declines)]
}

fn any_auto() -> impl proptest::strategy::Strategy<Value = AutoShutdown> {
    prop_oneof![
        4 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ]
}

fn any_policy(auto: AutoShutdown) -> impl proptest::strategy::Strategy<Value = Policy> {
    let restart = prop_oneof![
        3 => Just(RestartPolicy::Permanent),
        2 => Just(RestartPolicy::Transient),
        1 => Just(RestartPolicy::Temporary),
    ];
    let delay = prop_oneof![3 => Just(0), 1 => 1..4_u64];
    (restart, any::<bool>(), delay).prop_map(move |(restart, significant, delay)| Policy {
        restart,
        // Other specs are refused.
        significant: significant
            && auto != AutoShutdown::Never
            && restart != RestartPolicy::Permanent,
        delay,
    })
}

fn any_limits() -> impl proptest::strategy::Strategy<Value = (u32, u64)> {
    (prop_oneof![1 => Just(0), 6 => 1..5_u32], 1..6_u64)
}

fn any_config() -> impl proptest::strategy::Strategy<Value = Config> {
    let strategies = select(&[
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::SimpleOneForOne,
    ]);
    let shape = (strategies, any_auto(), any_limits(), 0..10_u32);
    shape.prop_flat_map(|(strategy, auto, (max, within), one_of_ten)| {
        let count = match strategy {
            Strategy::SimpleOneForOne => 0..=0,
            _ => 0..=4,
        };
        // Most boots succeed: what comes after one that does not is soon told.
        let starts = prop_oneof![4 => Just(Vec::new()), 1 => vec(any_start(), 0..5)];
        (vec(any_policy(auto), count), starts).prop_map(move |(first, starts)| Config {
            strategy,
            max,
            within,
            auto,
            isolates: one_of_ten == 0,
            first,
            starts,
        })
    })
}

/// One that is stopped is started, and a temporary one is refused, before the machine hears of it.
fn may_renew(child: &Child) -> bool {
    child.state != State::Stopped && child.policy.restart != RestartPolicy::Temporary
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any_config().prop_map(Self::boot).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let mut ways: Vec<(u32, BoxedStrategy<What>)> =
            vec![(4, (0..7_u64).prop_map(What::Passes).boxed())];
        let ids = |wanted: fn(&Child) -> bool| {
            let children = state.children.iter().filter(|child| wanted(child));
            children.map(|child| child.id).collect::<Vec<_>>()
        };
        if state.over.is_none() {
            let running = ids(|child| child.state == State::Running);
            if !running.is_empty() {
                let ends = (select(running), any_end());
                let ends = ends.prop_map(|(id, end)| What::Ends(id, end));
                ways.push((14, ends.boxed()));
            }
            let limits = any_limits().prop_map(|(max, within)| What::Limits(max, within));
            ways.push((1, limits.boxed()));
            if state.children.len() < CHILDREN_MAX {
                let weight = if state.children.len() < 2 { 8 } else { 1 };
                let policy = any_policy(state.config.auto);
                ways.push((weight, policy.prop_map(What::Add).boxed()));
            }
            ways.push((1, Just(What::Stop).boxed()));
        }
        type Asked = fn(u64) -> What;
        let asked: [(Asked, _); 5] = [
            (What::Terminate, ids(|_| true)),
            (What::Forget, ids(|_| true)),
            (What::Delete, ids(|_| true)),
            (What::Revive, ids(|_| true)),
            (What::Renew, ids(may_renew)),
        ];
        for (what, ids) in asked {
            let simple = state.config.strategy == Strategy::SimpleOneForOne;
            let known = matches!(
                what(0),
                What::Terminate(_) | What::Forget(_) | What::Renew(_)
            );
            if !ids.is_empty() && (known || !simple) {
                ways.push((1, select(ids).prop_map(what).boxed()));
            }
        }
        (Union::new_weighted(ways), vec(any_start(), 0..5))
            .prop_map(|(what, starts)| Step { what, starts })
            .boxed()
    }

    fn apply(state: Self, step: &Step) -> Self {
        state.apply(step)
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        let lives = state.over.is_none();
        let child = |id: &u64| state.child(*id);
        // The children of a dynamic supervisor are not kept when they are stopped.
        let keeps = lives && state.config.strategy != Strategy::SimpleOneForOne;
        match &step.what {
            What::Passes(_) | What::Add(_) => true,
            What::Limits(..) | What::Stop => lives,
            What::Ends(id, _) => lives && child(id).is_some_and(|it| it.state == State::Running),
            What::Terminate(id) | What::Forget(id) => child(id).is_some(),
            What::Delete(id) | What::Revive(id) => keeps && child(id).is_some(),
            What::Renew(id) => lives && child(id).is_some_and(may_renew),
        }
    }
}

/// A machine, and children that do what it says at once.
struct World {
    machine: Machine,
    began: Instant,
    now: u64,
    next_id: u64,
    next_token: u64,
    alive: HashSet<u64>,
    incarnations: HashMap<u64, u64>,
    starts: VecDeque<Start>,
    /// In the order they were set: when, which child, which of its incarnations.
    timers: Vec<(u64, ActorId, u64)>,
    inputs: VecDeque<Input>,
    seen: Vec<Seen>,
    answer: Option<Answer>,
    gave_up: Option<u64>,
    not_booted: Option<u64>,
    ended: Option<ExitReason>,
    booted: bool,
}

impl World {
    fn new(config: &Config) -> Self {
        let mut world = Self {
            machine: Machine::new(Flags {
                strategy: config.strategy,
                intensity: RestartIntensity {
                    max: config.max,
                    within: ticks(config.within),
                },
                auto_shutdown: config.auto,
                returns: false,
                isolates: config.isolates,
            }),
            began: Instant::now(),
            now: 0,
            next_id: 1,
            next_token: 0,
            alive: HashSet::new(),
            incarnations: HashMap::new(),
            starts: config.starts.clone().into(),
            timers: Vec::new(),
            inputs: VecDeque::new(),
            seen: Vec::new(),
            answer: None,
            gave_up: None,
            not_booted: None,
            ended: None,
            booted: false,
        };
        for first in &config.first {
            world.insert(*first);
        }
        world.tell(Input::Boot);
        world
    }

    fn insert(&mut self, policy: Policy) -> ActorId {
        let id = self.next_id;
        self.next_id += 1;
        let backoff = Backoff {
            initial: ticks(policy.delay),
            factor: 1.0,
            max: ticks(policy.delay),
            jitter: 0.0,
            reset_after: Duration::MAX,
        };
        let backoff = Some(backoff).filter(|_| policy.delay > 0);
        let policy = ChildPolicy {
            significant: policy.significant,
            ..super::policy(policy.restart)
        };
        self.machine.insert(ActorId(id), policy, backoff, 0);
        ActorId(id)
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Tells the machine this, and all that comes of it.
    fn tell(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            self.machine.handle(input, self.began + ticks(self.now));
            for action in self.machine.take_actions() {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Begin(id) => self.begin(id),
            Action::Ask(id) | Action::Kill(id) => {
                assert!(self.alive.remove(&id.0), "{} does not run", id.0);
                self.seen.push(Seen::Stop(id.0));
                let n = self.incarnations[&id.0];
                let reason = ExitReason::Shutdown;
                self.inputs.push_back(Input::Exited(id, n, reason));
            }
            Action::RetryAfter(time, id, n) if time.is_zero() => {
                self.inputs.push_back(Input::Retry(id, n));
            }
            Action::RetryAfter(time, id, n) => {
                self.timers.push((self.now + time.as_secs(), id, n));
            }
            Action::GaveUp(id) => self.gave_up = Some(id.0),
            Action::NotBooted(id) => self.not_booted = Some(id.0),
            Action::Booted => self.booted = true,
            Action::Answer(_, outcome) => {
                let answer = match outcome {
                    Outcome::Started(_) | Outcome::Stopped(..) => Answer::Done,
                    Outcome::Running => Answer::Running,
                    Outcome::NotStarted(..) => Answer::NotStarted,
                    Outcome::SupervisorEnded => Answer::SupervisorEnded,
                };
                assert_eq!(self.answer.replace(answer), None, "answered twice");
            }
            Action::Ended(reason) => {
                assert!(self.ended.is_none(), "ended twice");
                assert!(self.alive.is_empty(), "{:?} are left", self.alive);
                self.ended = Some(reason);
            }
            Action::Remove(id, _) => assert!(!self.alive.contains(&id.0), "{} runs", id.0),
            Action::StopAfter(..) | Action::Suspend(..) | Action::Ending => {}
        }
    }

    fn begin(&mut self, id: ActorId) {
        assert!(!self.alive.contains(&id.0), "two of {} at a time", id.0);
        assert!(self.ended.is_none(), "{} begins after the end", id.0);
        let n = self.incarnations.entry(id.0).or_default();
        *n += 1;
        let start = self.starts.pop_front().unwrap_or(Start::Up);
        self.seen.push(Seen::Start(id.0, start));
        self.inputs.push_back(match start {
            Start::Up => {
                self.alive.insert(id.0);
                Input::Started(id, *n)
            }
            Start::Fails => Input::StartFailed(id, *n, ExitReason::start_failed("no")),
            Start::Declines => Input::StartFailed(id, *n, ExitReason::Declined),
        });
    }

    fn passes(&mut self, time: u64) {
        let until = self.now + time;
        // Of those for one moment the first that was set is the first to go off.
        while let Some(at) = self.timers.iter().map(|timer| timer.0).min()
            && at <= until
        {
            let first = self.timers.iter().position(|timer| timer.0 == at);
            let (_, id, n) = self.timers.remove(first.unwrap());
            self.now = at;
            self.tell(Input::Retry(id, n));
        }
        self.now = until;
    }

    fn ends(&mut self, id: u64, end: End) {
        assert!(self.alive.remove(&id), "{id} does not run");
        let reason = match end {
            End::Normal => ExitReason::Normal,
            End::Shutdown => ExitReason::Shutdown,
            End::Killed => ExitReason::Killed,
            End::Crash => ExitReason::Error("on purpose".into()),
        };
        let n = self.incarnations[&id];
        self.tell(Input::Exited(ActorId(id), n, reason));
    }

    fn limits(&mut self, max: u32, within: u64) {
        let mut flags = self.machine.flags;
        flags.intensity = RestartIntensity {
            max,
            within: ticks(within),
        };
        self.machine.set_flags(flags);
    }

    fn refused(&mut self, why: NotStopped) {
        self.answer = Some(match why {
            NotStopped::Running => Answer::Running,
            NotStopped::Restarting => Answer::Restarting,
        });
    }

    fn apply(&mut self, step: Step) {
        self.seen.clear();
        self.answer = None;
        self.starts = step.starts.into();
        let token = self.token();
        match step.what {
            What::Ends(id, end) => self.ends(id, end),
            What::Passes(time) => self.passes(time),
            What::Limits(max, within) => self.limits(max, within),
            What::Add(_) if self.ended.is_some() => self.answer = Some(Answer::SupervisorEnded),
            What::Add(policy) => {
                let id = self.insert(policy);
                self.tell(Input::Add(vec![id], token));
            }
            What::Terminate(id) | What::Forget(id) => self.tell(Input::Terminate {
                children: vec![ActorId(id)],
                forget: matches!(step.what, What::Forget(_)),
                token,
            }),
            What::Delete(id) => match self.machine.delete(ActorId(id)) {
                Ok(()) => self.answer = Some(Answer::Done),
                Err(why) => self.refused(why),
            },
            What::Revive(id) => match self.machine.stopped(ActorId(id)) {
                Ok(()) => self.tell(Input::Revive(vec![ActorId(id)], token)),
                Err(why) => self.refused(why),
            },
            What::Renew(id) => self.tell(Input::Renew(vec![ActorId(id)], token)),
            What::Stop => self.tell(Input::End {
                reason: ExitReason::Shutdown,
                keep: false,
                token: Some(token),
            }),
        }
    }

    fn over(&self) -> Option<Over> {
        let reason = self.ended.as_ref()?;
        Some(match (self.gave_up, self.not_booted) {
            (Some(id), _) => {
                assert!(matches!(reason, ExitReason::CrashLoop));
                Over::GaveUp(id)
            }
            (_, Some(id)) => Over::NotBooted(id),
            (None, None) => Over::InOrder,
        })
    }
}

/// Runs the one against the other.
struct Compared;

impl StateMachineTest for Compared {
    type SystemUnderTest = World;
    type Reference = Model;

    fn init_test(model: &Model) -> World {
        World::new(&model.config)
    }

    fn apply(mut world: World, _: &Model, step: Step) -> World {
        world.apply(step);
        world
    }

    fn check_invariants(world: &World, model: &Model) {
        assert_eq!(world.seen, model.seen, "starts and stops");
        assert_eq!(world.answer, model.answer, "the answer");
        assert_eq!(world.over(), model.over, "the end");
        assert_eq!(
            world.booted,
            !matches!(model.over, Some(Over::NotBooted(_)))
        );
        for id in 1..model.next_id {
            let state = world.machine.stopped(ActorId(id));
            let wanted = match model.state(id) {
                None | Some(State::Stopped) => Ok(()),
                Some(State::Running) => Err(NotStopped::Running),
                Some(State::Waiting { .. }) => Err(NotStopped::Restarting),
            };
            assert_eq!(state, wanted, "child {id}");
            let runs = wanted == Err(NotStopped::Running);
            assert_eq!(world.alive.contains(&id), runs, "child {id}");
        }
        assert!(world.machine.is_idle());
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_machine_does_what_the_model_does(sequential 1..40 => Compared);
}
