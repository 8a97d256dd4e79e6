//! What has to be true when it is over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use airssys_wasm_actors::System;

use crate::load::Account;

/// The application's components, one actor each.
const COMPONENTS: [&str; 5] = ["classify", "intake", "parse", "region", "tally"];
/// How long the last candidate may take to go.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const LOOKED_AT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What is wrong.
#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }

    pub(crate) fn holds(&mut self, condition: bool, otherwise: impl FnOnce() -> String) {
        if !condition {
            self.0.push(otherwise());
        }
    }

    pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        found: T,
        expected: T,
    ) {
        if found != expected {
            self.0
                .push(format!("{what}: {found:?}, and not {expected:?}"));
        }
    }
}

/// Every item has one end, and a failed one was under way while the bad release had its share.
pub(crate) fn items(
    sent: u64,
    counted: u64,
    account: &Account,
    bad_stage: usize,
    findings: &mut Findings,
) {
    let failed = u64::try_from(account.failures.len()).unwrap_or(u64::MAX);
    println!(
        "items: {sent} sent = {counted} counted + {} rejected + {failed} failed",
        account.rejected
    );
    findings.equal("counted by the tally", counted, account.replies);
    findings.equal(
        "items with an end",
        counted + account.rejected + failed,
        sent,
    );
    for failure in &account.failures {
        let met_it = failure.sent_in <= bad_stage && bad_stage <= failure.answered_in;
        findings.holds(met_it && failure.why.starts_with("classify: "), || {
            format!(
                "an item of the stages {} to {} failed: {}",
                failure.sent_in, failure.answered_in, failure.why
            )
        });
    }
}

/// One instance of each component, and nobody else; waits for candidates that finish what they have accepted.
pub(crate) async fn whole(system: &System, findings: &mut Findings) {
    let expected: BTreeSet<_> = COMPONENTS
        .map(|name| format!("quakes/{name}"))
        .into_iter()
        .collect();
    let until = Instant::now() + SETTLED_WITHIN;
    loop {
        let actors = system.actors().into_iter();
        let actors: BTreeSet<_> = actors.map(|one| one.address().to_string()).collect();
        let instances = system.engine().instances();
        let settled = actors == expected && usize::try_from(instances) == Ok(COMPONENTS.len());
        if settled || Instant::now() > until {
            println!("actors: {}, instances: {instances}", actors.len());
            findings.equal("actors", actors, expected);
            findings.equal(
                "instances",
                usize::try_from(instances),
                Ok(COMPONENTS.len()),
            );
            return;
        }
        tokio::time::sleep(LOOKED_AT_AGAIN_AFTER).await;
    }
}

/// What the system has counted balances.
pub(crate) fn counters(system: &System, findings: &mut Findings) {
    let all = system.counters();
    println!(
        "calls: {} = {} replies + {} errors + {} abandoned; casts: {} = {} handled + {} dead letters",
        all.calls,
        all.replies,
        all.call_errors,
        all.calls_abandoned,
        all.casts,
        all.casts_handled,
        all.dead_letters
    );
    findings.equal(
        "ends of calls",
        all.replies + all.call_errors + all.calls_abandoned,
        all.calls,
    );
    findings.equal(
        "ends of casts",
        all.casts_handled + all.dead_letters,
        all.casts,
    );
}
