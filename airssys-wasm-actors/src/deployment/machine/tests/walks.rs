//! Random ways: whatever is answered, in whichever order, and whatever is commanded meanwhile.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Answer, World};
use super::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// One of the open questions is answered.
    Answer(prop::sample::Index, bool),
    Tick,
    Later(u64),
    Died(prop::sample::Index),
    Promote,
    Pause,
    Resume,
    RollBack,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        16 => (any::<prop::sample::Index>(), prop::bool::weighted(0.93))
            .prop_map(|(which, ok)| Event::Answer(which, ok)),
        6 => Just(Event::Tick),
        1 => (1..30u64).prop_map(Event::Later),
        1 => any::<prop::sample::Index>().prop_map(Event::Died),
        1 => Just(Event::Promote),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => Just(Event::RollBack),
    ]
}

fn any_step() -> impl Strategy<Value = RolloutStep> {
    prop_oneof![
        Just(plain()),
        Just(step(Way::AtOnce)),
        Just(step(Way::Last)),
        (1..40u64).prop_map(shadow),
        vec((1..=100u8, prop::option::of(1..40u64)), 1..4).prop_map(|steps| canary(&steps)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// The rules are looked at by the world at each output, and at the end.
    #[test]
    fn every_way_keeps_the_rules_and_ends(
        steps in vec(any_step(), 0..5),
        soak in 0..60u64,
        events in vec(any_event(), 0..80),
    ) {
        let mut world = World::new(steps.clone(), s(soak));
        for event in events {
            if world.end.is_some() {
                break;
            }
            match event {
                Event::Answer(which, ok) => {
                    if !world.pending.is_empty() {
                        let pending = world.pending[which.index(world.pending.len())].clone();
                        world.answer(&pending, if ok { Answer::Done } else { Answer::Failed });
                    }
                }
                Event::Tick => world.tick(),
                Event::Later(seconds) => world.now += s(seconds),
                Event::Died(which) => {
                    if !steps.is_empty() {
                        let step = StepId(which.index(steps.len()));
                        world.tell(Input::CandidateDied(step, "died".to_owned()));
                    }
                }
                Event::Promote => { let _ = world.command(Command::Promote); }
                Event::Pause => { let _ = world.command(Command::Pause); }
                Event::Resume => { let _ = world.command(Command::Resume); }
                Event::RollBack => { let _ = world.command(Command::RollBack { why: "no".to_owned() }); }
            }
        }
        // Left alone, and promoted where it waits for that, it ends.
        let _ = world.command(Command::Resume);
        for _ in 0..600 {
            if world.end.is_some() {
                break;
            }
            if world.pending.is_empty() {
                world.tick();
                if world.pending.is_empty() {
                    let _ = world.command(Command::Promote);
                }
            } else {
                world.answer_first(Answer::Done);
                if world.end.is_none() && world.pending.is_empty() {
                    let _ = world.command(Command::Promote);
                }
            }
        }
        prop_assert!(world.end.is_some(), "{:?}", world.said);
    }

    /// Without a failure and without a word, what can end by itself becomes permanent.
    #[test]
    fn a_way_without_a_failure_is_permanent(steps in vec(any_step(), 0..5), soak in 0..60u64) {
        let timed = |mut step: RolloutStep| {
            if let Way::Canary(weights) = &mut step.way {
                for weight in weights {
                    weight.pause.get_or_insert(s(1));
                }
            }
            step
        };
        let steps = steps.into_iter().map(timed).collect();
        let mut world = World::new(steps, s(soak));
        world.run();
        prop_assert_eq!(world.end, Some(RolloutEnd::Permanent));
    }
}
