//! What drives a scenario: a supervision tree that can be asked, hurt, and listened to.
//!
//! Whoever implements [`Tree`] has a runner: [`run`] makes its trace, to be compared after
//! [`canonical`](super::trace::canonical).

use super::scenario::{Ask, DefId, End, Scenario, Step};
use super::trace::{Answer, Event, StepTrace, Trace};

/// A tree made from a scenario's definition 0 at path `r`.
pub(crate) trait Tree {
    /// Starts the root: `Child(Some(1))`, or `Error`.
    async fn boot(&mut self) -> Answer;

    /// Ends what runs at the path, and need not wait for that: `Ok`, or `Nobody`.
    async fn exit(&mut self, path: &str, end: End) -> Answer;

    /// A live change: `Ok`, `Refused`, or `NoProcess`. It outlasts the supervisor: its next incarnation, as
    /// a child by the same specification, begins with the new definition.
    async fn change(&mut self, path: &str, def: DefId) -> Answer;

    async fn ask(&mut self, path: &str, ask: &Ask) -> Answer;

    /// Asks the root to end with reason shutdown: `Ok`, or `Nobody`.
    async fn stop(&mut self) -> Answer;

    /// Waits until nothing is under way, and takes the events since the last time, in causal order.
    async fn settled(&mut self) -> Vec<Event>;
}

pub(crate) async fn run(scenario: &Scenario, tree: &mut impl Tree) -> Trace {
    let mut trace = Vec::with_capacity(scenario.steps.len() + 2);
    let answer = tree.boot().await;
    let events = tree.settled().await;
    trace.push(StepTrace { events, answer });
    for step in &scenario.steps {
        let answer = match step {
            Step::Exit(path, end) => tree.exit(path, *end).await,
            Step::Change(path, def) => tree.change(path, *def).await,
            Step::Ask(path, ask) => tree.ask(path, ask).await,
        };
        let events = tree.settled().await;
        trace.push(StepTrace { events, answer });
    }
    let answer = tree.stop().await;
    let events = tree.settled().await;
    trace.push(StepTrace { events, answer });
    trace
}
