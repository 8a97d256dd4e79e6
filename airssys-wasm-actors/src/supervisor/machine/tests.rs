//! The machine by itself: what it says is to be done, for what it is told.

mod model;
mod stateful;

use super::*;

fn policy(restart: RestartPolicy) -> ChildPolicy {
    ChildPolicy {
        restart,
        shutdown: ShutdownPolicy::Infinity,
        significant: false,
        is_supervisor: false,
        quarantined: false,
    }
}

/// A machine of children 1, 2 … with these policies, all up.
fn up(strategy: Strategy, max: u32, policies: &[RestartPolicy]) -> (Machine, Instant) {
    let now = Instant::now();
    let mut machine = Machine::new(Flags {
        strategy,
        intensity: RestartIntensity {
            max,
            within: Duration::from_secs(5),
        },
        auto_shutdown: AutoShutdown::Never,
        returns: false,
        isolates: false,
    });
    for (id, restart) in (1..).zip(policies) {
        machine.insert(ActorId(id), policy(*restart), None, 0);
    }
    machine.handle(Input::Boot, now);
    for id in 1..=policies.len() {
        let id = u64::try_from(id).unwrap();
        machine.handle(Input::Started(ActorId(id), 1), now);
    }
    machine.take_actions();
    (machine, now)
}

fn text(actions: Vec<Action>) -> Vec<String> {
    let one = |action| match action {
        Action::Begin(id) => format!("begin {}", id.0),
        Action::Ask(id) => format!("ask {}", id.0),
        Action::Kill(id) => format!("kill {}", id.0),
        Action::Suspend(id, _) => format!("suspend {}", id.0),
        Action::Remove(id, _) => format!("remove {}", id.0),
        Action::RetryAfter(time, id, _) => format!("retry {} after {time:?}", id.0),
        Action::Ended(reason) => format!("ended {}", reason.kind()),
        other => format!("{other:?}"),
    };
    actions.into_iter().map(one).collect()
}

fn dies(machine: &mut Machine, id: u64, incarnation: u64, now: Instant) -> Vec<String> {
    machine.handle(
        Input::Exited(ActorId(id), incarnation, ExitReason::Killed),
        now,
    );
    text(machine.take_actions())
}

const PERMANENT: RestartPolicy = RestartPolicy::Permanent;
const TEMPORARY: RestartPolicy = RestartPolicy::Temporary;

#[test]
fn one_for_one_restarts_only_the_child_that_ended() {
    let (mut machine, now) = up(Strategy::OneForOne, 9, &[PERMANENT; 3]);
    assert_eq!(dies(&mut machine, 2, 1, now), ["begin 2"]);
}

/// Promise 1: whoever asks for a child that something asked before is about to start, or two who ask for the same one.
#[test]
fn a_child_that_is_up_when_its_turn_comes_is_not_begun_again() {
    let (mut machine, now) = up(Strategy::OneForOne, 9, &[PERMANENT]);
    machine.insert(ActorId(2), policy(PERMANENT), None, 0);
    machine.insert(ActorId(3), policy(PERMANENT), None, 0);
    machine.handle(Input::Add(vec![ActorId(2), ActorId(3)], Token(1)), now);
    assert_eq!(text(machine.take_actions()), ["begin 2"]);
    assert!(machine.stopped(ActorId(3)).is_ok());
    machine.handle(Input::Revive(vec![ActorId(3)], Token(2)), now);
    machine.handle(Input::Revive(vec![ActorId(3)], Token(3)), now);
    machine.handle(Input::Started(ActorId(2), 1), now);
    assert_eq!(text(machine.take_actions()), ["begin 3"]);
    machine.handle(Input::Started(ActorId(3), 1), now);
    let answers = text(machine.take_actions());
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers[0].contains("Started([ActorId(2), ActorId(3)])"));
    assert!(answers[1].contains("Running") && answers[2].contains("Running"));
    assert!(machine.is_idle());
}

#[test]
fn one_for_all_stops_in_reverse_and_starts_in_order() {
    let (mut machine, now) = up(
        Strategy::OneForAll,
        9,
        &[PERMANENT, TEMPORARY, PERMANENT, PERMANENT],
    );
    assert_eq!(dies(&mut machine, 3, 1, now), ["ask 4"]);
    assert_eq!(dies(&mut machine, 4, 1, now), ["ask 2"]);
    // A temporary bystander is not started again.
    assert_eq!(dies(&mut machine, 2, 1, now), ["remove 2", "ask 1"]);
    assert_eq!(dies(&mut machine, 1, 1, now), ["begin 1"]);
    machine.handle(Input::Started(ActorId(1), 2), now);
    assert_eq!(text(machine.take_actions()), ["begin 3"]);
    machine.handle(Input::Started(ActorId(3), 2), now);
    assert_eq!(text(machine.take_actions()), ["begin 4"]);
}

/// What a group restart does with a child is what its policy says when it is stopped.
#[test]
fn a_policy_that_changes_during_a_group_restart_holds_for_it() {
    let (mut machine, now) = up(Strategy::OneForAll, 9, &[TEMPORARY, PERMANENT, PERMANENT]);
    assert_eq!(dies(&mut machine, 3, 1, now), ["ask 2"]);
    assert!(machine.will_return(ActorId(2)));
    machine.set_policy(ActorId(1), policy(PERMANENT));
    machine.set_policy(ActorId(2), policy(TEMPORARY));
    assert!(!machine.will_return(ActorId(2)));
    assert_eq!(dies(&mut machine, 2, 1, now), ["remove 2", "ask 1"]);
    assert!(machine.will_return(ActorId(1)));
    assert_eq!(dies(&mut machine, 1, 1, now), ["begin 1"]);
    machine.handle(Input::Started(ActorId(1), 2), now);
    assert_eq!(text(machine.take_actions()), ["begin 3"]);
}

#[test]
fn rest_for_one_leaves_the_earlier_ones_alone() {
    let (mut machine, now) = up(Strategy::RestForOne, 9, &[PERMANENT; 3]);
    assert_eq!(dies(&mut machine, 2, 1, now), ["ask 3"]);
    // Another one dies meanwhile: its turn comes after.
    assert_eq!(dies(&mut machine, 1, 1, now), Vec::<String>::new());
    assert_eq!(dies(&mut machine, 3, 1, now), ["begin 2"]);
    machine.handle(Input::Started(ActorId(2), 2), now);
    machine.handle(Input::Started(ActorId(3), 2), now);
    assert_eq!(text(machine.take_actions()), ["begin 3", "ask 3"]);
}

#[test]
fn one_restart_too_many_stops_all_and_ends() {
    let (mut machine, now) = up(Strategy::OneForOne, 1, &[PERMANENT; 2]);
    assert_eq!(dies(&mut machine, 1, 1, now), ["begin 1"]);
    machine.handle(Input::Started(ActorId(1), 2), now);
    let actions = dies(&mut machine, 1, 2, now);
    assert!(actions.contains(&"ask 2".to_owned()), "{actions:?}");
    let actions = dies(&mut machine, 2, 1, now);
    assert_eq!(actions.last().unwrap(), "ended crash-loop");
}

#[test]
fn a_start_that_fails_in_a_group_restart_is_tried_again_with_the_group() {
    let (mut machine, now) = up(Strategy::OneForAll, 9, &[PERMANENT; 2]);
    dies(&mut machine, 1, 1, now);
    assert_eq!(dies(&mut machine, 2, 1, now), ["begin 1"]);
    let failed = ExitReason::start_failed("no");
    machine.handle(Input::StartFailed(ActorId(1), 2, failed), now);
    assert_eq!(text(machine.take_actions()), ["retry 1 after 0ns"]);
    assert_eq!(machine.stopped(ActorId(1)), Err(NotStopped::Restarting));
    assert_eq!(machine.stopped(ActorId(2)), Ok(()));
    machine.handle(Input::Retry(ActorId(1), 2), now);
    assert_eq!(text(machine.take_actions()), ["begin 1"]);
    machine.handle(Input::Started(ActorId(1), 3), now);
    assert_eq!(text(machine.take_actions()), ["begin 2"]);
}

/// The work for one exit does not grow with the siblings it does not concern.
#[test]
fn an_exit_costs_what_it_concerns() {
    for strategy in [Strategy::OneForOne, Strategy::RestForOne] {
        let policies = vec![PERMANENT; 10_000];
        let (mut machine, now) = up(strategy, u32::MAX, &policies);
        assert_eq!(dies(&mut machine, 10_000, 1, now), ["begin 10000"]);
    }
}

/// A child costs as many actions among a hundred thousand as among a thousand; an action that looked at all children,
/// or the question whether one returns that is asked of each supervisor among them, would take this test past all
/// patience.
#[test]
fn s22_a_start_a_group_restart_and_a_stop_cost_the_same_for_each_child_of_many() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        for count in [1_000, 100_000_u64] {
            let policies = vec![PERMANENT; usize::try_from(count).unwrap()];
            let (mut machine, now) = up(strategy, u32::MAX, &policies);
            let mut actions = 0;
            let mut drive = |machine: &mut Machine, input, returns: bool| {
                let mut inputs = VecDeque::from([input]);
                while let Some(input) = inputs.pop_front() {
                    machine.handle(input, now);
                    for action in machine.take_actions() {
                        actions += 1;
                        inputs.extend(match action {
                            Action::Begin(id) => Some(Input::Started(id, 2)),
                            Action::Ask(id) => {
                                assert_eq!(machine.will_return(id), returns);
                                let n = machine.children.incarnation(id);
                                Some(Input::Exited(id, n, ExitReason::Shutdown))
                            }
                            _ => None,
                        });
                    }
                }
                std::mem::take(&mut actions)
            };
            let died = Input::Exited(ActorId(1), 1, ExitReason::Killed);
            // The others are asked to end, and all begin.
            let concerned = if strategy == Strategy::OneForAll {
                count
            } else {
                1
            };
            assert_eq!(drive(&mut machine, died, true), 2 * concerned - 1);
            let end = Input::End {
                reason: ExitReason::Shutdown,
                keep: false,
                token: None,
            };
            // Each is asked and suspended; the supervisor begins to end, and has ended.
            assert_eq!(drive(&mut machine, end, false), 2 * count + 2);
        }
    }
}

#[test]
fn a_backoff_waits_longer_each_time_and_begins_anew_after_a_good_run() {
    let backoff = crate::supervisor::Backoff {
        initial: Duration::from_secs(1),
        factor: 2.0,
        max: Duration::from_secs(5),
        jitter: 0.0,
        reset_after: Duration::from_secs(60),
    };
    let (mut machine, mut now) = up(Strategy::OneForOne, u32::MAX, &[PERMANENT]);
    machine.set_backoff(ActorId(1), Some(backoff));
    let mut n = 1;
    let mut next = |ran: u64| {
        now += Duration::from_secs(ran);
        let actions = dies(&mut machine, 1, n, now);
        machine.handle(Input::Retry(ActorId(1), n), now);
        assert_eq!(text(machine.take_actions()), ["begin 1"]);
        n += 1;
        machine.handle(Input::Started(ActorId(1), n), now);
        actions.into_iter().next().unwrap()
    };
    assert_eq!(next(0), "retry 1 after 1s");
    assert_eq!(next(0), "retry 1 after 2s");
    assert_eq!(next(0), "retry 1 after 4s");
    assert_eq!(next(0), "retry 1 after 5s");
    assert_eq!(next(61), "retry 1 after 1s");
}

#[test]
fn a_simple_supervisor_asks_all_at_once_under_one_timer() {
    let now = Instant::now();
    let (mut machine, _) = up(Strategy::SimpleOneForOne, 9, &[]);
    let time = Duration::from_secs(1);
    for id in 1..=3 {
        let timed = ChildPolicy {
            shutdown: ShutdownPolicy::Timeout(time),
            ..policy(PERMANENT)
        };
        machine.insert(ActorId(id), timed, None, 0);
        machine.handle(Input::Add(vec![ActorId(id)], Token(id)), now);
        machine.handle(Input::Started(ActorId(id), 1), now);
    }
    machine.take_actions();
    machine.handle(
        Input::End {
            reason: ExitReason::Shutdown,
            keep: false,
            token: None,
        },
        now,
    );
    let actions = machine.take_actions();
    let timers = actions.iter().filter_map(|action| match action {
        Action::StopAfter(_, children) => Some(children.len()),
        _ => None,
    });
    assert_eq!(timers.collect::<Vec<_>>(), [3]);
    assert_eq!(
        actions
            .iter()
            .filter(|action| matches!(action, Action::Ask(_)))
            .count(),
        3
    );
}

#[test]
fn significant_children_end_their_supervisor() {
    for (auto_shutdown, after) in [
        (AutoShutdown::AnySignificant, 1),
        (AutoShutdown::AllSignificant, 2),
    ] {
        let (mut machine, now) = up(Strategy::OneForOne, 9, &[RestartPolicy::Transient; 3]);
        let mut flags = machine.flags;
        flags.auto_shutdown = auto_shutdown;
        machine.set_flags(flags);
        for id in [1, 2] {
            let significant = ChildPolicy {
                significant: true,
                ..policy(RestartPolicy::Transient)
            };
            machine.set_policy(ActorId(id), significant);
        }
        let mut ended_after = 0;
        for (id, reason) in [
            (3, ExitReason::Normal),
            (1, ExitReason::Normal),
            (2, ExitReason::Normal),
        ] {
            machine.handle(Input::Exited(ActorId(id), 1, reason), now);
            ended_after += usize::from(id != 3);
            if machine.is_ending() {
                break;
            }
        }
        assert_eq!(ended_after, after);
    }
}
