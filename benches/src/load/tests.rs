//! Every scenario for a moment, on one worker: that it is driven and answered, never how fast.

use super::*;

fn plan(scenario: LoadScenario, pace: Pace) -> LoadPlan {
    let sizes = Sizes {
        payload: vec![16, 1 << 20],
        receivers: 3,
        stages: 4,
        actors: 20,
    };
    LoadPlan {
        target: Target::BuiltIn(scenario, sizes),
        pace,
        length: Length::Count(40),
        warm_up: Duration::ZERO,
        threads: 1,
        rivals: true,
        stop: Stop::default(),
    }
}

#[test]
fn every_scenario_is_driven_and_answered() {
    for scenario in LoadScenario::ALL {
        assert_eq!(scenario.as_str().parse(), Ok(scenario));
        let report = run_load(
            &plan(scenario, Pace::Closed { concurrency: 2 }),
            &mut |_| {},
        )
        .unwrap();
        assert!(report.complete && !report.series.is_empty(), "{scenario}");
        for series in &report.series {
            assert_eq!(
                (series.operations, series.failed(), series.unsent),
                (40, 0, 0),
                "{scenario}: {series:?}"
            );
            assert!(
                series.throughput > 0.0 && series.latency.max > 0,
                "{series:?}"
            );
            assert!(series.uncorrected.is_none() && series.kept_up.is_none());
        }
    }
    assert!(
        "fast"
            .parse::<LoadScenario>()
            .unwrap_err()
            .to_string()
            .contains("`fast`")
    );
}

#[test]
fn an_open_loop_has_both_latencies() {
    let pace = Pace::Open {
        rate: 10_000.0,
        concurrency: 4,
    };
    let report = run_load(&plan(LoadScenario::Call, pace), &mut |_| {}).unwrap();
    let series = &report.series[0];
    let uncorrected = series.uncorrected.as_ref().unwrap();
    assert!(series.latency.max >= uncorrected.max);
    let text = report.to_string();
    assert!(
        text.contains("open loop, 10000 operations/s, at most 4 at a time, 40 operations"),
        "{text}"
    );
    assert!(text.contains("from when it was sent"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<LoadReport>(&json).unwrap(), report);
}

#[test]
fn a_rate_that_cannot_be_kept_is_told_whatever_ends_the_run() {
    // A restart each, one at a time: nothing makes 40 of them in 4 µs.
    let pace = Pace::Open {
        rate: 10_000_000.0,
        concurrency: 1,
    };
    let report = run_load(&plan(LoadScenario::Restart, pace), &mut |_| {}).unwrap();
    let series = &report.series[0];
    assert_eq!((series.operations, series.unsent), (40, 0));
    assert_eq!(series.kept_up, Some(false), "{series:?}");
    let sent = series.sent_rate.unwrap();
    assert!(sent > 0.0 && sent < 9_000_000.0, "{sent}");
    let says =
        format!("restart: it did not keep up: {sent} operations/s were sent of 10000000 asked for");
    assert!(report.to_string().contains(&says), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["series"][0]["kept_up"], false);
}

#[test]
fn a_payload_has_a_series_for_each_size() {
    let mut told = Vec::new();
    let pace = Pace::Closed { concurrency: 1 };
    let plan = plan(LoadScenario::Payload, pace);
    run_load(&plan, &mut |name| told.push(name.to_owned())).unwrap();
    assert_eq!(told, ["payload 16 B", "payload 1 MiB"]);
}

#[test]
fn what_is_stopped_before_it_has_measured_has_no_series() {
    let plan = plan(LoadScenario::Call, Pace::Closed { concurrency: 1 });
    let stop = plan.stop.clone();
    let report = run_load(&plan, &mut |_| stop.ask()).unwrap();
    assert!(!report.complete);
    assert_eq!(report.series, []);
}
