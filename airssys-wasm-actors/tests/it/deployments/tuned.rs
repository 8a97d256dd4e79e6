//! What is retuned by hand before, between and while deployments: it stays where their plans say nothing of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use airssys_wasm_actors::deployment::{PlanOptions, RolloutOutcome};
use airssys_wasm_actors::{
    AutoShutdown, ChildInfo, ChildSpec, Event, RestartPolicy, ShutdownPolicy, Supervisor,
};

use super::{Host, number};
use crate::guests::{WORKER, address, template};

const ONE: &str = "[components.one]\nfile = \"v1.wasm\"\n";
const TWO: &str = "[components.two]\nfile = \"v1.wasm\"\n";

/// Everybody who is ready has a turn.
async fn turn() {
    let mut had = false;
    poll_fn(|cx| match std::mem::replace(&mut had, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// `one`, and every replica of it, as the supervisor knows it.
fn known(supervisor: &Supervisor) -> ChildInfo {
    let children = supervisor.which_children().into_iter();
    let mut ones = children.filter(|info| info.address.as_str().starts_with("app/one"));
    let first = ones.next().unwrap();
    assert!(ones.all(|other| other.restart == first.restart && other.shutdown == first.shutdown));
    first
}

fn seconds(n: u64) -> ShutdownPolicy {
    ShutdownPolicy::Timeout(Duration::from_secs(n))
}

impl Host {
    /// As it is, with so many seconds to shut down.
    fn shut_down_in(&self, n: u64) {
        let worker = template(self.system.engine(), WORKER, &[]);
        let spec = ChildSpec::component(address("app/one"), worker);
        let spec = ChildSpec {
            restart: known(self.running.supervisor()).restart,
            ..spec.shutdown_graceful(Duration::from_secs(n))
        };
        self.system.retune(spec).unwrap();
    }

    fn tuned(&self) -> (RestartPolicy, ShutdownPolicy) {
        let known = known(self.running.supervisor());
        (known.restart, known.shutdown)
    }

    async fn ends_with(&self, tables: &str) -> RolloutOutcome {
        self.deploy(tables).await.finished().await
    }
}

/// Each order holds until the next one, whatever a deployment does to others at that moment.
#[tokio::test]
async fn an_order_holds_while_components_come_and_go_and_supervisors_change() {
    let host = Arc::new(Host::new(ONE).await);
    let stop = Arc::<AtomicBool>::default();
    let tuner = {
        let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut orders = 0;
            while !stop.load(Ordering::Acquire) {
                orders += 1;
                host.shut_down_in(orders);
                for _ in 0..3 {
                    turn().await;
                    assert_eq!(host.tuned().1, seconds(orders));
                }
            }
            orders
        })
    };
    for round in 0..4 {
        let flags = format!("[supervision]\nrestarts = {{ max = {round}, within = \"1s\" }}\n");
        let two = if round % 2 == 0 { TWO } else { "" };
        let end = host.ends_with(&format!("{flags}{ONE}{two}")).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        assert_eq!(host.running.supervisor().intensity().max, round);
    }
    stop.store(true, Ordering::Release);
    assert!(tuner.await.unwrap() > 0);
    host.running.stop().await;
}

#[tokio::test]
async fn what_is_retuned_by_hand_stays_where_no_plan_says_otherwise() {
    let host = Host::new(&format!("{ONE}{TWO}")).await;
    host.shut_down_in(9);
    let (transient, nine) = (RestartPolicy::Transient, seconds(9));
    let one = "[components.one]\nfile = \"v1.wasm\"\nrestart = \"transient\"\n";
    let other = one.replace("v1", "v2");
    let two = format!("{other}replicas = 2\n");
    // Retuned, replaced and scaled.
    for (tables, version) in [(one, 1), (other.as_str(), 2), (two.as_str(), 2)] {
        let end = host.ends_with(&format!("{tables}{TWO}")).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        assert_eq!(host.tuned(), (transient, nine), "{tables}");
        assert_eq!(number(&host.actor("one"), "version").await, version);
    }

    // The plan says where it does not stay; and what is undone is so by that, too.
    let seven = format!("{two}shutdown = \"7s\"\n");
    for (one, number_after) in [(seven.clone(), 2), (seven.replace("v2", "v1"), 1)] {
        let new = host.resolve(&format!("{one}{TWO}"));
        let plan = host.deployer.plan(&new, &PlanOptions::default()).unwrap();
        let plan = plan.to_string();
        let said = ["retune `one`: shutdown", "also: shutdown"];
        assert!(said.iter().any(|said| plan.contains(said)), "{plan}");
        let fails = TWO.replace("v1", "no-init");
        let end = host.ends_with(&format!("{one}{fails}")).await;
        assert!(
            matches!(
                end,
                RolloutOutcome::RolledBack { .. } | RolloutOutcome::Failed { .. }
            ),
            "{end:?}"
        );
        assert_eq!(host.tuned(), (transient, nine), "{plan}");
        let end = host.ends_with(&format!("{one}{TWO}")).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        assert_eq!(host.tuned(), (transient, seconds(7)), "{plan}");
        assert_eq!(number(&host.actor("one"), "version").await, number_after);
        // For the next round.
        let end = host.ends_with(&format!("{two}{TWO}")).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        host.shut_down_in(9);
    }
    host.running.stop().await;
}

/// Neither fits without the other.
#[tokio::test]
async fn a_component_becomes_significant_with_its_supervisor_and_ceases_to_be_with_it() {
    let one = format!("{ONE}restart = \"transient\"\n");
    let host = Host::new(&one).await;
    let asks =
        format!("[supervision]\nauto-shutdown = \"any-significant\"\n{one}significant = true\n");
    let supervisor = host.running.supervisor();
    for _ in 0..2 {
        let end = host.ends_with(&asks).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        assert_eq!(supervisor.auto_shutdown(), AutoShutdown::AnySignificant);
        assert!(known(supervisor).significant);
        // Undone in the same order.
        let fails = format!("{one}{}", TWO.replace("v1", "no-init"));
        let end = host.ends_with(&fails).await;
        assert_ne!(end, RolloutOutcome::Permanent);
        assert_eq!(supervisor.auto_shutdown(), AutoShutdown::AnySignificant);
        assert!(known(supervisor).significant);
        let end = host.ends_with(&one).await;
        assert_eq!(end, RolloutOutcome::Permanent);
        assert_eq!(supervisor.auto_shutdown(), AutoShutdown::Never);
        assert!(!known(supervisor).significant);
    }
    host.running.stop().await;
}

/// Whether `one` is replaced, or goes: its supervisor asks no more once it is significant no more.
#[tokio::test]
async fn what_is_replaced_or_goes_ceases_to_be_significant_with_its_supervisor() {
    let plain = format!("{ONE}restart = \"transient\"\n");
    let asks = |one: &str| {
        format!("[supervision]\nauto-shutdown = \"any-significant\"\n{one}significant = true\n")
    };
    let host = Host::new(&format!("{}{TWO}", asks(&plain))).await;
    let supervisor = host.running.supervisor();
    let next = plain.replace("v1", "v2");
    for after in [format!("{next}{TWO}"), TWO.to_owned()] {
        // Undone in the same order.
        let fails = after.replace(TWO, &TWO.replace("v1", "no-init"));
        let end = host.ends_with(&fails).await;
        assert_ne!(end, RolloutOutcome::Permanent);
        assert_eq!(supervisor.auto_shutdown(), AutoShutdown::AnySignificant);
        assert!(known(supervisor).significant);
        let late = format!("{after}[components.three]\nfile = \"v1.wasm\"\nafter = [\"two\"]\n");
        let late = late.replace("v1.wasm\"\nafter", "no-init.wasm\"\nafter");
        assert_ne!(host.ends_with(&late).await, RolloutOutcome::Permanent);
        assert!(known(supervisor).significant);
        let end = host.ends_with(&after).await;
        assert_eq!(end, RolloutOutcome::Permanent, "{after}");
        assert_eq!(supervisor.auto_shutdown(), AutoShutdown::Never);
        let children = supervisor.which_children();
        assert!(children.iter().all(|child| !child.significant), "{after}");
        let end = host.ends_with(&format!("{}{TWO}", asks(&plain))).await;
        assert_eq!(end, RolloutOutcome::Permanent);
    }
    host.running.stop().await;
}

/// What its own supervisor knows of a supervisor, and in which order it starts what is below it.
#[tokio::test]
async fn a_supervisor_is_retuned_and_its_children_ordered_as_the_plan_says() {
    let below = "[supervisors.below]\n";
    let one = format!("{ONE}under = \"below\"\n");
    let two = format!("{TWO}under = \"below\"\n");
    let host = Host::new(&format!("{below}{one}{two}")).await;
    let inner = host.system.find_supervisor(&address("app/below")).unwrap();
    let of_inner = || {
        let above = host.running.supervisor().which_children().into_iter();
        let mut found = above.filter(|info| info.address == *inner.address());
        let info = found.next().unwrap();
        (info.restart, info.shutdown)
    };
    let order = || {
        let children = inner.which_children().into_iter();
        let names = children.map(|info| info.address.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let (before, was) = (of_inner(), "app/one app/two");
    assert_eq!(order(), was);
    let tuned = format!("{below}restart = \"transient\"\nshutdown = \"7s\"\n");
    let tuned = format!("{tuned}{one}after = [\"two\"]\n{two}");
    let plan = host
        .deployer
        .plan(&host.resolve(&tuned), &PlanOptions::default());
    let plan = plan.unwrap().to_string();
    let says = "retune supervisor `app/below`: after, restart, shutdown";
    assert!(plan.contains(says), "{plan}");

    let fails = format!("{tuned}[components.three]\nfile = \"no-init.wasm\"\n");
    assert_ne!(host.ends_with(&fails).await, RolloutOutcome::Permanent);
    assert_eq!((of_inner(), order().as_str()), (before, was));
    let after = (RestartPolicy::Transient, seconds(7));
    assert_eq!(host.ends_with(&tuned).await, RolloutOutcome::Permanent);
    assert_eq!((of_inner(), order().as_str()), (after, "app/two app/one"));
    // It is that also once it is made again, and what it starts with is in that order.
    let mut events = host.system.events();
    inner.kill();
    while !matches!(events.recv().await, Some(Event::SupervisorStarted { .. })) {}
    assert_eq!((of_inner(), order().as_str()), (after, "app/two app/one"));
    // And undone where it had been switched: the last step fails.
    let replaced = format!("{below}{one}{}", two.replace("v1", "no-init"));
    assert_ne!(host.ends_with(&replaced).await, RolloutOutcome::Permanent);
    assert_eq!((of_inner(), order().as_str()), (after, "app/two app/one"));
    let plan = host
        .deployer
        .plan(&host.resolve(&tuned), &PlanOptions::default());
    assert!(plan.unwrap().is_empty());
    host.running.stop().await;
}
