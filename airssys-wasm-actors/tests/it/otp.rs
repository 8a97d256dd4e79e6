//! Supervision against OTP itself: random scenarios, and the same trace from every runner.
//!
//! [`generate`] makes a scenario from a seed and a number; [`tree::run`] drives a [`tree::Tree`] with it and
//! gives a trace; [`erlang`] gives the trace of OTP's own supervisor. [`model`] is OTP's supervisor written down
//! as a pure one, so that what is expected is known where there is no Erlang.
//!
//! **Compared:** after the boot, each step, and the final stop: every attempt to start a child, with its number
//! over the life of its path and its outcome; every end of a process, with its attempt and its reason; the order
//! of all these; the answer to each call, those asked while a child starts included; the order of
//! `which_children`; what a live change leaves.
//!
//! **Normalised away** ([`trace::canonical`]): the order in which dynamic children end when all are asked at
//! once; when and how the descendants of a killed supervisor end. Besides: process ids (an attempt's number
//! stands for them), the text of errors, what is logged, all time (the period is endless, and between two steps
//! everything comes to rest), and calls that a supervisor did not live to answer.
//!
//! Our tree is compared by `AIRSSYS_OTP_TREES` scenarios (default 300, of seed 21 unless told otherwise).
//! `AIRSSYS_OTP_SCENARIOS` is how many scenarios are compared (default 3000), `AIRSSYS_OTP_SEED` the seed, which
//! is printed. A difference is shrunk, and printed as both traces around its first line.

mod erlang;
mod generate;
mod model;
mod ours;
mod scenario;
mod shrink;
mod trace;
mod tree;

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;

use airssys_wasm_actors::{System, SystemConfig};
use erlang::Erlang;
use model::Model;
use ours::Ours;
use scenario::Scenario;
use trace::{Trace, canonical, lines};

/// As many as one virtual machine is given at a time.
const BATCH: u32 = 5_000;

fn setting(name: &str, default: impl FnOnce() -> u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or_else(default, |text| text.parse().expect("a number"))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}

fn modelled(scenario: &Scenario) -> Trace {
    let mut model = Model::new(scenario);
    let mut trace = tree::run(scenario, &mut model)
        .now_or_never()
        .expect("the model waits for nothing");
    canonical(&mut trace);
    trace
}

fn by_erlang(erlang: &Erlang, scenarios: &[Scenario]) -> Vec<Trace> {
    let mut traces = erlang.run(scenarios);
    traces.iter_mut().for_each(canonical);
    traces
}

/// The first scenario whose traces differ.
fn differing(erlang: &Erlang, scenarios: &[Scenario]) -> Option<usize> {
    let traces = by_erlang(erlang, scenarios);
    let mut pairs = scenarios.iter().zip(&traces);
    pairs.position(|(scenario, trace)| modelled(scenario) != *trace)
}

/// Two traces up to a little after the first line in which they differ.
fn difference(scenario: &Scenario, names: [&str; 2], traces: [&Trace; 2]) -> String {
    let [left, right] = traces.map(|trace| lines(scenario, trace));
    let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let part = |lines: &[String]| {
        lines
            .iter()
            .skip(same)
            .take(8)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n  ")
    };
    format!(
        "{scenario}\nboth:\n  {}\n{}:\n  {}\n{}:\n  {}",
        left[..same].join("\n  "),
        names[0],
        part(&left),
        names[1],
        part(&right),
    )
}

#[test]
fn the_model_does_what_otp_does() {
    let Some(erlang) = Erlang::find("model") else {
        println!("skipped: there is no Erlang to compare with; install erlang-base");
        return;
    };
    let count = setting("AIRSSYS_OTP_SCENARIOS", || 3_000) as u32;
    let seed = setting("AIRSSYS_OTP_SEED", now);
    println!("AIRSSYS_OTP_SEED={seed} AIRSSYS_OTP_SCENARIOS={count}");
    let mut number = 0;
    while number < count {
        let batch = BATCH.min(count - number);
        let numbers = number..number + batch;
        let scenarios: Vec<_> = numbers.map(|n| generate::scenario(seed, n)).collect();
        if let Some(at) = differing(&erlang, &scenarios) {
            let candidates = |candidates: &[Scenario]| differing(&erlang, candidates);
            let least = shrink::least(&scenarios[at], candidates);
            let traces = by_erlang(&erlang, std::slice::from_ref(&least));
            let difference = difference(&least, ["otp", "model"], [&traces[0], &modelled(&least)]);
            panic!(
                "scenario {} of seed {seed}:\n{difference}",
                number + at as u32
            );
        }
        number += batch;
    }
    println!("{count} scenarios: OTP and the model agree");
}

fn fitted(seed: u64, number: u32) -> Scenario {
    let mut scenario = generate::scenario(seed, number);
    ours::fit(&mut scenario);
    scenario
}

async fn by_ours(scenario: &Scenario) -> Trace {
    let engine = crate::guests::engine();
    let system = System::start(SystemConfig::new(engine)).await.unwrap();
    let mut ours = Ours::new(system.clone(), scenario).await;
    let mut trace = tree::run(scenario, &mut ours).await;
    system.shutdown().await;
    canonical(&mut trace);
    trace
}

/// Our tree with the model, which is what OTP does: so this needs no Erlang.
#[test]
fn our_tree_does_what_otp_does() {
    let count = setting("AIRSSYS_OTP_TREES", || 300) as u32;
    let seed = setting("AIRSSYS_OTP_SEED", || 21);
    println!("AIRSSYS_OTP_SEED={seed} AIRSSYS_OTP_TREES={count}");
    let run = |scenario: &Scenario| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(by_ours(scenario))
    };
    for number in 0..count {
        let scenario = fitted(seed, number);
        if run(&scenario) == modelled(&scenario) {
            continue;
        }
        let differs = |candidates: &[Scenario]| {
            let mut each = candidates.iter();
            each.position(|scenario| ours::fits(scenario) && run(scenario) != modelled(scenario))
        };
        let least = shrink::least(&scenario, differs);
        let difference = difference(&least, ["otp", "ours"], [&modelled(&least), &run(&least)]);
        panic!("scenario {number} of seed {seed}:\n{difference}");
    }
    println!("{count} scenarios: the model and our tree agree");
}
