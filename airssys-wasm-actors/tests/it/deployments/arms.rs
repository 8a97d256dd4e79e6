//! What the status of a rollout says of the two revisions while the traffic is split.

use airssys_wasm_actors::deployment::StepArms;

use super::*;

const HALF: &str = r#"strategy = "canary", steps = [{ weight = "50%" }],
    gate = { interval = "50ms", samples-min = 20, holds-max = 1000, latency-ratio-max = 1000 }"#;

fn arms(status: &airssys_wasm_actors::deployment::RolloutStatus) -> Option<StepArms> {
    status.steps[0].arms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_says_what_each_revision_did_and_how_much_of_that_has_ended() {
    let host = Host::new(ONE).await;
    let work = Work::start(&host.actor("one"));
    let rollout = host.deploy(&one("v2.wasm", &HALF.replace('\n', " "))).await;
    // The first reading is of none.
    let begun = rollout.until(|status| arms(status).is_some()).await;
    assert_eq!(begun.end, None);
    let both = |status: &_| {
        arms(status).is_some_and(|arms| arms.stable.ended > 20 && arms.candidate.ended > 20)
    };
    let status = rollout.until(both).await;
    assert_eq!(status.end, None);
    let StepArms {
        stable, candidate, ..
    } = arms(&status).unwrap();
    for arm in [stable, candidate] {
        // One at a time is under way.
        assert!(
            arm.ended <= arm.requests && arm.requests - arm.ended <= 1,
            "{arm:?}"
        );
        let wrong = (arm.errors, arm.traps, arm.restarts, arm.dead_letters);
        assert_eq!(wrong, (0, 0, 0, 0));
    }
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(
        json["steps"][0]["arms"]["candidate"]["ended"],
        candidate.ended
    );
    // What is counted goes on from interval to interval.
    let more = |status: &_| arms(status).is_some_and(|arms| arms.candidate.ended > candidate.ended);
    assert_eq!(rollout.until(more).await.end, None);
    rollout.roll_back("seen").await.unwrap();
    rollout.finished().await;
    assert_eq!(arms(&rollout.status()), None, "one revision serves");
    work.end().await;
    host.is_clean(1).await;
    host.running.stop().await;
}
