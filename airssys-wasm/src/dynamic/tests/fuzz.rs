//! The same comparison for as long as one likes: `AIRSSYS_FUZZ_SECONDS`, from the seed `AIRSSYS_SEED`, which is printed.
//!
//! A round is one seed: some random types, values of each through both roads, and garbage of each type judged by both. What
//! differs is made smaller and told with the seed of its round, which repeats it: `AIRSSYS_FUZZ_SECONDS=0
//! AIRSSYS_SEED=N cargo test -p airssys-wasm --lib fuzz`. Without a time there is one round.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use wasmtime::Engine;

use super::differential::{block_on, check, judge};
use super::generate::{any_type, any_value, garbage};
use super::{Guest, echo};

/// Types of one round: about a second without optimisation.
const CASES: u32 = 8;

fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(
        given
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn round(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let cases = any_type().prop_flat_map(|ty| {
        let values = proptest::collection::vec(any_value(&ty), 2);
        let offsets = proptest::collection::vec(0..600u32, 16);
        (Just(ty), values, any::<bool>(), garbage(), offsets)
    });
    let compared = TestRunner::new_with_rng(config, rng).run(
        &cases,
        |(ty, values, slow, garbage, offsets)| {
            let guest = Guest::new(&Engine::default(), &echo::component(&ty, &[]));
            for value in &values {
                block_on(check(&guest, &ty, value, slow));
            }
            prop_assert_eq!(judge(&ty, &garbage, &offsets), Ok(()));
            Ok(())
        },
    );
    if let Err(differs) = compared {
        panic!("AIRSSYS_SEED={seed}: {differs}");
    }
}

#[test]
fn both_roads_agree_for_as_long_as_asked() {
    let first = number("AIRSSYS_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(since.subsec_nanos())
    });
    let until = Instant::now() + Duration::from_secs(number("AIRSSYS_FUZZ_SECONDS").unwrap_or(0));
    let mut seed = first;
    loop {
        round(seed);
        seed = seed.wrapping_add(1);
        if Instant::now() >= until {
            break;
        }
    }
    println!(
        "AIRSSYS_SEED={first}: {} types",
        (seed - first) * u64::from(CASES)
    );
}
