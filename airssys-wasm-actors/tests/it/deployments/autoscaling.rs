//! Deployments of components whose number of replicas follows what they have to do.

use std::time::Duration;

use airssys_wasm_actors::deployment::{Autoscale, DeployError, RolloutOutcome};
use airssys_wasm_actors::{DeploymentState, Event, Events, ScaleOptions};

use super::{Host, ONE, by, one};
use crate::guests::address;
use crate::upgrades::number;

const SOAKING: &str = r#"strategy = "blue-green", soak = "1h""#;

fn replicas(host: &Host) -> u32 {
    host.system.replicas(&address("app/one")).unwrap()
}

fn bounds(host: &Host) -> Option<(u32, u32)> {
    let config: Option<Autoscale> = host.system.autoscaled(&address("app/one"));
    config.map(|config| (config.min, config.max))
}

fn paused(host: &Host) -> bool {
    host.actor("one").status().autoscale.unwrap().paused
}

/// Of this file, replaced like this, autoscaled between these.
fn of(file: &str, rollout: &str, (min, max): (u32, u32)) -> String {
    format!(
        "{}autoscale = {{ min = {min}, max = {max} }}\n",
        one(file, rollout)
    )
}

fn plain(bounds: (u32, u32)) -> String {
    of("v1.wasm", r#"strategy = "rolling""#, bounds)
}

async fn next(events: &mut Events) -> (u32, u32) {
    loop {
        match events.recv().await {
            Some(Event::Autoscaled { from, to, .. }) => return (from, to),
            Some(Event::NotAutoscaled { why, .. }) => panic!("{why}"),
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

async fn is_quiet(events: &mut Events) {
    let quiet = tokio::time::timeout(Duration::from_secs(300), next(events));
    assert!(quiet.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn bounds_are_deployed_changed_gone_back_from_and_taken_away() {
    let host = Host::new(&one("v1.wasm", r#"strategy = "rolling""#)).await;
    let mut events = host.system.events();
    assert_eq!((bounds(&host), replicas(&host)), (None, 1));
    let incarnations = host.system.counters().restarts;
    for (tables, holds, comes) in [
        (plain((2, 4)), (2, 4), (1, 2)),
        (plain((3, 5)), (3, 5), (2, 3)),
    ] {
        let rollout = host.deploy(&tables).await;
        let plan = rollout.plan().to_string();
        assert!(plan.contains("retune `one`: autoscale\n"), "{plan}");
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(bounds(&host), Some(holds));
        assert_eq!(next(&mut events).await, comes);
        // The same again is nothing to do, however many there are.
        let same = host.resolve(&tables);
        assert!(
            host.deployer
                .plan(&same, &Default::default())
                .unwrap()
                .is_empty()
        );
    }
    // What was before: the number comes into its bounds by itself, which it is in.
    let back = host.deploy(&plain((2, 4))).await;
    assert_eq!(back.finished().await, RolloutOutcome::Permanent);
    assert_eq!((bounds(&host), replicas(&host)), (Some((2, 4)), 3));
    // Without the table there are as many as it says.
    let gone = host
        .deploy(&one("v1.wasm", r#"strategy = "rolling""#))
        .await;
    let plan = gone.plan().to_string();
    assert!(plan.contains("scale `one` from 3 to 1"), "{plan}");
    assert_eq!(gone.finished().await, RolloutOutcome::Permanent);
    assert_eq!((bounds(&host), replicas(&host)), (None, 1));
    is_quiet(&mut events).await;
    assert_eq!(host.system.counters().restarts, incarnations);
    host.running.stop().await;
}

/// While the new revision can be taken back the number stays, and a rollback brings the old bounds back.
#[tokio::test(start_paused = true)]
async fn a_rollback_gives_the_old_bounds_back() {
    let host = Host::new(&of("v1.wasm", SOAKING, (2, 4))).await;
    let mut events = host.system.events();
    assert_eq!((bounds(&host), replicas(&host)), (Some((2, 4)), 2));
    let soaking = Some(DeploymentState::Soaking);
    let rollout = host.deploy(&of("v2.wasm", SOAKING, (3, 6))).await;
    rollout.until(|status| status.state == soaking).await;
    assert_eq!((bounds(&host), paused(&host)), (Some((3, 6)), true));
    is_quiet(&mut events).await;
    assert_eq!(replicas(&host), 2);
    rollout.roll_back("on purpose").await.unwrap();
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    assert_eq!((bounds(&host), replicas(&host)), (Some((2, 4)), 2));
    is_quiet(&mut events).await;
    assert!(!paused(&host));

    // Promoted, it follows the new ones.
    let rollout = host.deploy(&of("v2.wasm", SOAKING, (3, 6))).await;
    rollout.until(|status| status.state == soaking).await;
    rollout.promote().await.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(next(&mut events).await, (2, 3));
    assert_eq!(number(&host.actor("one"), "version").await, 2);
    // What fails before anything is switched changes neither.
    let failing = host.deploy(&of("no-init.wasm", SOAKING, (1, 2))).await;
    let end = failing.finished().await;
    assert!(matches!(end, RolloutOutcome::Failed { .. }), "{end:?}");
    assert_eq!((bounds(&host), replicas(&host)), (Some((3, 6)), 3));
    host.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn components_come_and_go_with_their_bounds() {
    let host = Host::new(ONE).await;
    let mut events = host.system.events();
    let two = format!(
        "{ONE}[components.two]\nfile = \"v1.wasm\"\nreplicas = 4\nautoscale = {{ min = 3, max = 4 }}\n"
    );
    let rollout = host.deploy(&two).await;
    let plan = rollout.plan().to_string();
    assert!(plan.contains("autoscale: none -> 3 to 4"), "{plan}");
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    let two = address("app/two");
    assert_eq!(host.system.autoscaled(&two).map(|it| it.max), Some(4));
    // Nothing to do: one fewer.
    assert_eq!(next(&mut events).await, (4, 3));
    assert_eq!(
        host.deploy(ONE).await.finished().await,
        RolloutOutcome::Permanent
    );
    assert_eq!(
        (host.system.autoscaled(&two), host.system.replicas(&two)),
        (None, None)
    );
    host.running.stop().await;
}

/// The number that runs is kept by what replaces it, also where a change of it is under way as that begins.
#[tokio::test(start_paused = true)]
async fn a_rollout_and_a_change_of_the_number_take_turns() {
    let rolling = r#"strategy = "rolling""#;
    let host = Host::new(&of("v1.wasm", rolling, (1, 4))).await;
    host.system
        .scale(&address("app/one"), 4, ScaleOptions::default())
        .await
        .unwrap();
    let mut events = host.system.events();
    for round in 0..40_u64 {
        let file = if round % 2 == 0 { "v2.wasm" } else { "v1.wasm" };
        // About when one fewer is due, a little earlier or later each time.
        tokio::time::sleep(Duration::from_millis(59_500 + 50 * round)).await;
        let rollout = host.deploy(&of(file, rolling, (1, 4))).await;
        assert_eq!(
            rollout.finished().await,
            RolloutOutcome::Permanent,
            "{round}: {:?}",
            rollout.status()
        );
        let version = number(&host.actor("one"), "version").await;
        assert_eq!(u64::from(version), 2 - round % 2);
        let now = replicas(&host);
        assert_eq!(host.actor("one").replicas().len(), now as usize);
    }
    let mut seen = Vec::new();
    while let Some(event) = events.try_recv() {
        match event {
            Event::Autoscaled { from, to, .. } => seen.push((from, to)),
            Event::NotAutoscaled { why, .. } => panic!("{why}"),
            Event::Lagged(lost) => panic!("{lost}"),
            _ => {}
        }
    }
    let all = [(4, 3), (3, 2), (2, 1)];
    assert!(!seen.is_empty() && all.starts_with(&seen), "{seen:?}");
    host.running.stop().await;
}

/// One that is to go has a message in hand, and whatever is deployed waits for its turn.
#[tokio::test(start_paused = true)]
async fn a_rollout_waits_for_who_is_about_to_go() {
    // A call of it hangs for 20 s once what it calls is down.
    let tables = |memory: &str| {
        format!(
            "[components.one]\nfile = \"relay.wasm\"\nreplicas = 2\n\
             limits = {{ wall-per-call = \"1min\", memory = \"{memory}\" }}\n\
             links = [{{ import = \"test:t/work\", to = \"two\", reply-within = \"20s\" }}]\n\
             autoscale = {{ max = 2, utilisation = 1 }}\n\
             [components.two]\nfile = \"v1.wasm\"\nbackoff = {{ initial = \"1h\", max = \"2h\" }}\n"
        )
    };
    let host = Host::new(&tables("8MiB")).await;
    let mut events = host.system.events();
    host.actor("two").kill();
    tokio::time::sleep(Duration::from_secs(55)).await;
    let last = host.actor("one/1");
    let held = tokio::spawn(async move {
        let options = airssys_wasm_actors::CallOptions {
            within: Duration::from_secs(60),
            ..Default::default()
        };
        let work = last.function("work").unwrap();
        work.call_with((1_u32,), options).await
    });
    loop {
        match events.recv().await {
            Some(Event::Scaled { from: 2, to: 1, .. }) => break,
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
    assert!(!held.is_finished());
    let rollout = host.deploy(&tables("16MiB")).await;
    let plan = rollout.plan().to_string();
    assert!(plan.contains("because: limits"), "{plan}");
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    // It failed for what it called, and not for who was to go.
    let why = held.await.unwrap().unwrap_err();
    assert_eq!(why.kind(), "callee-died", "{why}");
    assert_eq!(next(&mut events).await, (2, 1));
    assert_eq!(replicas(&host), 1);
    host.running.stop().await;
}

/// A number that is not what it should be, because a change of it did not come to its end, is put right by a deployment of
/// the same manifest.
#[tokio::test(start_paused = true)]
async fn what_runs_in_another_number_than_it_says_is_put_right() {
    let tables = format!(
        "{}replicas = 4\n",
        one("v1.wasm", r#"strategy = "rolling""#)
    );
    let host = Host::new(&tables).await;
    for now in [3, 6] {
        host.system
            .scale(&address("app/one"), now, ScaleOptions::default())
            .await
            .unwrap();
        let plan = host
            .deployer
            .plan(&host.resolve(&tables), &Default::default());
        let text = plan.unwrap().to_string();
        assert!(
            text.contains(&format!("scale `one` from {now} to 4")),
            "{text}"
        );
        let rollout = host.deploy(&tables).await;
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(replicas(&host), 4);
    }
    // What is left as it is stays so.
    let plan = host
        .deployer
        .plan(&host.resolve(&tables), &Default::default());
    assert!(plan.unwrap().is_empty());
    host.running.stop().await;
}

/// Whoever autoscales it beside its manifest gives way to it, and does not end it.
#[tokio::test(start_paused = true)]
async fn what_is_deployed_takes_the_place_of_who_did_it_by_hand() {
    let host = Host::new(&one("v1.wasm", r#"strategy = "rolling""#)).await;
    let mut events = host.system.events();
    let wide = Autoscale {
        min: 2,
        ..Autoscale::default()
    };
    let by_hand = host
        .system
        .autoscale(&address("app/one"), wide, ScaleOptions::default())
        .unwrap();
    assert_eq!(next(&mut events).await, (1, 2));
    assert_eq!(
        host.deploy(&plain((3, 4))).await.finished().await,
        RolloutOutcome::Permanent
    );
    assert_eq!(next(&mut events).await, (2, 3));
    by_hand.set(wide).unwrap();
    drop(by_hand);
    assert_eq!(bounds(&host), Some((3, 4)));
    let refused: Result<_, DeployError> = host
        .deployer
        .deploy(host.resolve(&plain((3, 4))), by("again"))
        .await;
    assert_eq!(refused.unwrap().finished().await, RolloutOutcome::Permanent);
    host.running.stop().await;
}
