//! What has to be true when it is over.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use airssys_wasm::Engine;
use airssys_wasm_actors::{ChildState, Counters, Started, Supervisor, System};

use crate::history::History;
use crate::load::Sent;
use crate::tree::{ACTORS, SUPERVISORS, Tree, all_below, is_relay};

/// How long everything may take to come to rest.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at whether it has.
const LOOKED_AT_AGAIN_AFTER: Duration = Duration::from_millis(100);

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

    fn equal<T: PartialEq + std::fmt::Display>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: {found}, and not {expected}"));
        }
    }
}

/// Waits until everybody is up and has nothing to do, and still is a while later: a kill that has not been noticed yet may
/// be followed by a restart of many.
pub(crate) async fn settle(tree: &Tree, findings: &mut Findings) {
    let until = Instant::now() + SETTLED_WITHIN;
    let mut before = None;
    loop {
        let now = at_rest(tree);
        if let Ok(restarts) = now
            && before == Some(restarts)
        {
            return;
        }
        if Instant::now() > until {
            let why = now.err().unwrap_or_else(|| "restarts go on".to_owned());
            findings.0.push(format!("it does not settle: {why}"));
            return;
        }
        before = now.ok();
        tokio::time::sleep(LOOKED_AT_AGAIN_AFTER).await;
    }
}

/// How often actors and supervisors were restarted, if all are up and have nothing to do.
fn at_rest(tree: &Tree) -> Result<(u64, u64), String> {
    let (mut restarts, mut supervisor_restarts) = (0, 0);
    for actor in &tree.actors {
        let status = actor.status();
        if !status.running || status.queued > 0 {
            return Err(format!("{status:?}"));
        }
        restarts += actor.counters().restarts;
    }
    for supervisor in &tree.supervisors {
        for info in supervisor.which_children() {
            if info.state != ChildState::Running {
                return Err(format!("`{}` is {:?}", info.address, info.state));
            }
        }
        supervisor_restarts += u64::from(supervisor.restarts());
    }
    Ok((restarts, supervisor_restarts))
}

/// What was sent is what was counted, and each has one end.
pub(crate) fn accounts(tree: &Tree, sent: &Sent, counters: Counters, findings: &mut Findings) {
    findings.equal(
        "ends of calls",
        sent.replies() + sent.call_errors(),
        sent.calls(),
    );
    findings.equal("casts counted", counters.casts, sent.casts());
    findings.equal(
        "casts handled and dead letters",
        counters.casts_handled + counters.dead_letters,
        sent.casts(),
    );
    println!(
        "casts: {} handled + {} dead letters",
        counters.casts_handled, counters.dead_letters
    );
    for (number, (actor, sent)) in tree.actors.iter().zip(&sent.to).enumerate() {
        let (counted, name) = (actor.counters(), actor.address());
        findings.equal(
            &format!("ends of the calls of `{name}`"),
            counted.replies + counted.call_errors + counted.calls_abandoned,
            counted.calls,
        );
        findings.equal(&format!("casts of `{name}`"), counted.casts, sent.casts);
        findings.equal(
            &format!("ends of the casts of `{name}`"),
            counted.casts_handled + counted.dead_letters,
            counted.casts,
        );
        // Goals are called by relays too.
        if is_relay(number) {
            let found = (counted.calls, counted.replies, counted.call_errors);
            let expected = (sent.calls, sent.replies, sent.call_errors);
            if found != expected {
                let what = "calls, replies and errors of";
                findings
                    .0
                    .push(format!("{what} `{name}`: {found:?}, and not {expected:?}"));
            }
        }
    }
}

/// Everybody is there again, and is somebody's child; and there is nobody else.
pub(crate) fn whole(system: &System, tree: &Tree, engine: &Engine, findings: &mut Findings) {
    let supervisors = all_below(&tree.top);
    findings.equal("supervisors in the tree", supervisors.len(), SUPERVISORS);
    let mut children = HashSet::new();
    for info in supervisors.iter().flat_map(Supervisor::which_children) {
        if info.state != ChildState::Running {
            let what = format!("`{}` is {:?}", info.address, info.state);
            findings.0.push(what);
        }
        if matches!(info.child, Started::Actor(_)) {
            children.insert(info.address);
        }
    }
    let actors = usize::try_from(ACTORS).unwrap_or(usize::MAX);
    findings.equal("actors in the tree", children.len(), actors);
    let registered = system.actors();
    findings.equal("registered actors", registered.len(), actors);
    for actor in registered {
        if !children.contains(actor.address()) {
            let what = format!("`{}` is registered and nobody's child", actor.address());
            findings.0.push(what);
        }
    }
    findings.equal("instances", engine.instances(), u64::from(ACTORS));
    println!(
        "tree: {} actors and {} supervisors, {} instances",
        children.len(),
        supervisors.len(),
        engine.instances()
    );
}

/// No two incarnations of one child at once, nobody left, and no event unseen.
pub(crate) fn history(history: &History, engine: &Engine, findings: &mut Findings) {
    findings.0.extend(history.written.iter().cloned());
    findings.equal("things wrong beside these", history.unwritten(), 0);
    findings.equal("events lost", history.lost, 0);
    findings.equal("actors after the end", history.running(), 0);
    findings.equal("instances after the end", engine.instances(), 0);
}
