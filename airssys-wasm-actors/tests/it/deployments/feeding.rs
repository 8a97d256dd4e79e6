//! Sources that are started, replaced and stopped by deployments: every item is sent once, in its order, and counted once.

mod inputs;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use airssys_wasm::FromArgs as _;
use airssys_wasm_actors::deployment::{PlanOptions, RolloutStatus};
use airssys_wasm_actors::{Event, SourceCounts};

use super::*;
use crate::application::SINK;

const SINKS: &str = "[components.sink]\nfile = \"sink.wasm\"\n";

/// A regular file with more items than are sent within minutes: no deployment is waited for until its end.
fn endless() -> String {
    "x\n".repeat(10_000_000)
}

pub(super) fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line}\n")).collect()
}

pub(super) fn feed(name: &str, file: &str, more: &str) -> String {
    format!(
        "[sources.{name}]\nfile = \"{file}\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n{more}\n"
    )
}

/// Another revision of `one`, which can be undone for an hour.
fn soaking() -> String {
    one("v2.wasm", r#"strategy = "blue-green", soak = "1h""#)
}

/// Items in, ok, rejected, failed.
pub(super) fn counted(counts: &SourceCounts) -> (u64, u64, u64, u64) {
    (counts.events_in, counts.ok, counts.rejected, counts.failed)
}

async fn host(lines: &str, tables: &str) -> Host {
    let directory = Directory::new(lines);
    Host::in_directory(directory, tables, RegistryOptions::default()).await
}

impl Host {
    async fn sent(&self, count: u64) -> u64 {
        loop {
            let now = self.running.counts().events_in;
            if now >= count {
                return now;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn answered(&self, count: u64) {
        loop {
            let now = self.running.counts();
            if now.ok + now.rejected + now.failed >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Items that `sink` has had, if each came after the one before.
    async fn total(&self, sink: &str) -> u64 {
        let total = self.actor(sink).call("total", ()).await.unwrap();
        <(u64,)>::from_args(total).unwrap().0
    }

    fn source(&self, name: &str) -> SourceCounts {
        let report = futures_util::FutureExt::now_or_never(self.running.report());
        let sources = match report {
            Some(report) => report.unwrap().sources,
            None => panic!("the report asks nobody"),
        };
        let address = address(&format!("app/{name}"));
        let mut sources = sources.into_iter();
        sources.find(|(of, _)| *of == address).unwrap().1
    }

    /// Stops it while its only source, which feeds the only sink, has more to send: every item so far has had its answer, and
    /// each came after the one before.
    async fn stops_in_its_middle(&self) {
        let sink = self.actor("sink");
        self.running.stop().await;
        let counts = self.running.counts();
        let all = counts.events_in;
        assert_eq!(counted(&counts), (all, all, 0, 0), "{counts:?}");
        assert_eq!(sink.counters().replies, all);
    }

    /// What runs is, in every word, what these tables say.
    fn is(&self, tables: &str) -> bool {
        let plan = self
            .deployer
            .plan(&self.resolve(tables), &PlanOptions::default());
        plan.unwrap().is_empty()
    }
}

/// A pipe, and who writes into it.
struct Pipe(File);

impl Pipe {
    /// Makes it; it is written into once somebody reads it.
    fn make(directory: &Directory) -> tokio::task::JoinHandle<Self> {
        let path = directory.0.join("pipe");
        Self::make_at(&path);
        Self::open(path)
    }

    fn make_at(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }

    fn open(path: PathBuf) -> tokio::task::JoinHandle<Self> {
        let open = move || Self(File::options().write(true).open(path).unwrap());
        tokio::task::spawn_blocking(open)
    }

    /// An application that reads it.
    async fn host(tables: &str) -> (Host, Self) {
        let directory = Directory::new("");
        let pipe = Self::make(&directory);
        let host = Host::in_directory(directory, tables, RegistryOptions::default()).await;
        (host, pipe.await.unwrap())
    }

    fn write(&mut self, count: usize) {
        self.0.write_all(lines(count).as_bytes()).unwrap();
    }
}

fn is_soaking(status: &RolloutStatus) -> bool {
    status.state == Some(DeploymentState::Soaking)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_replaced_and_rolled_back_in_its_middle_sends_every_item_once() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "in.txt", ""));
    let host = host(&endless(), &before).await;
    host.sent(100).await;
    let after = format!(
        "{}{SINKS}{}",
        soaking(),
        feed("feed", "in.txt", "in-flight = 7")
    );
    let rollout = host.deploy(&after).await;
    assert_eq!(
        rollout.plan().to_string().lines().last().unwrap(),
        "unchanged: sink",
    );
    let text = rollout.plan().to_string();
    assert!(
        text.contains("  2. replace source `feed`: in-flight; goes on with the next item"),
        "{text}"
    );
    let status = rollout.until(is_soaking).await;
    assert_eq!(status.end, None, "{:?}", status.log);
    // The new one feeds.
    let at = host.running.counts().events_in;
    host.sent(at + 100).await;
    rollout.roll_back("not so").await.unwrap();
    let outcome = rollout.finished().await;
    assert!(
        matches!(outcome, RolloutOutcome::RolledBack { .. }),
        "{outcome:?}"
    );
    assert!(host.is(&before));
    // And so does the one before, again.
    let at = host.running.counts().events_in;
    host.sent(at + 100).await;
    // The sink finds fault with an item that does not come after the one before.
    host.stops_in_its_middle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_feeds_what_is_gone_ends_and_a_later_rollback_goes_on() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "in.txt", ""));
    let host = host(&endless(), &before).await;
    host.sent(100).await;
    std::fs::write(host.directory.0.join("more.txt"), lines(50)).unwrap();
    // The new one feeds a component that is new too.
    let other = "[components.other]\nfile = \"sink.wasm\"\n";
    let more = feed("more", "more.txt", "").replace("to = \"sink\"", "to = \"other\"");
    let after = format!("{ONE}{SINKS}{other}{more}");
    let rollout = host.deploy(&after).await;
    let actions: Vec<_> = rollout.plan().parts().map(|part| &*part.name).collect();
    assert_eq!(actions, ["other", "more", "feed"]);
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert!(host.system.whereis(&address("app/feed")).is_none());
    assert!(host.is(&after));
    // Only the one that is left is waited for.
    host.running.finished().await.unwrap();
    let sent = host.source("feed");
    assert_eq!(
        counted(&sent),
        (sent.events_in, sent.events_in, 0, 0),
        "{sent:?}"
    );
    assert_eq!(host.total("sink").await, sent.events_in);
    // Nobody has it open; from here on it has an end.
    let all = sent.events_in + 1_000;
    let file = File::options()
        .write(true)
        .open(host.directory.0.join("in.txt"));
    file.unwrap().set_len(all * 2).unwrap();
    assert_eq!(counted(&host.source("more")), (50, 50, 0, 0));
    assert_eq!(host.total("other").await, 50);
    // It goes on where it was, and the other is gone.
    let rollout = host.deploy(&before).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.source("feed")), (all, all, 0, 0));
    assert_eq!(host.total("sink").await, all);
    assert_eq!(host.running.counts().events_in, all + 50);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_begins_anew_and_undone_the_one_before_goes_on() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "pipe", ""));
    let (host, mut pipe) = Pipe::host(&before).await;
    pipe.write(100);
    host.answered(100).await;
    std::fs::write(host.directory.0.join("more.txt"), lines(30)).unwrap();
    let other = "[components.other]\nfile = \"sink.wasm\"\n";
    let more = feed("feed", "more.txt", "").replace("to = \"sink\"", "to = \"other\"");
    let rollout = host
        .deploy(&format!("{}{SINKS}{other}{more}", soaking()))
        .await;
    let text = rollout.plan().to_string();
    assert!(
        text.contains("replace source `feed`: to, file; reads another input"),
        "{text}"
    );
    let status = rollout.until(is_soaking).await;
    assert_eq!(status.end, None, "{:?}", status.log);
    // Nobody sends this until it is undone.
    pipe.write(100);
    host.answered(130).await;
    assert_eq!(host.total("other").await, 30);
    // All of it has been read, and the application is not finished: the other one may go on.
    let finished = host.running.finished();
    tokio::pin!(finished);
    assert!(futures_util::poll!(&mut finished).is_pending());
    rollout.roll_back("not so").await.unwrap();
    let outcome = rollout.finished().await;
    assert!(
        matches!(outcome, RolloutOutcome::RolledBack { .. }),
        "{outcome:?}"
    );
    assert!(host.is(&before));
    pipe.write(100);
    drop(pipe);
    finished.await.unwrap();
    assert_eq!(host.total("sink").await, 300);
    assert_eq!(counted(&host.running.counts()), (330, 330, 0, 0));
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_gone_on_with_as_long_as_it_is_open_and_never_begun_in_its_middle() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "pipe", ""));
    let (host, mut pipe) = Pipe::host(&before).await;
    pipe.write(50);
    host.answered(50).await;
    let after = |more: &str| format!("{}{SINKS}{}", soaking(), feed("feed", "pipe", more));
    let rollout = host.deploy(&after("in-flight = 7")).await;
    rollout.until(is_soaking).await;
    pipe.write(50);
    host.answered(100).await;
    rollout.roll_back("not so").await.unwrap();
    rollout.finished().await;
    assert!(host.is(&before));
    pipe.write(50);
    host.answered(150).await;
    // To be read otherwise it would have to be read again, and so it would if it were gone and came back.
    let new = host.resolve(&after("item-bytes = \"100B\""));
    let refused = host.deployer.plan(&new, &PlanOptions::default());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("cannot be read again from item 150 on"),
        "{refused}"
    );
    let rollout = host.deploy(&format!("{ONE}{SINKS}")).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert!(!host.running.has_sources());
    let new = host.resolve(&before);
    let refused = host.deployer.plan(&new, &PlanOptions::default());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("give the source another name"),
        "{refused}"
    );
    assert_eq!(counted(&host.running.counts()), (150, 150, 0, 0));
    assert_eq!(host.total("sink").await, 150);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_while_it_can_be_undone_is_undone() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "pipe", ""));
    let (host, mut pipe) = Pipe::host(&before).await;
    pipe.write(100);
    host.answered(100).await;
    std::fs::write(host.directory.0.join("bad.txt"), b"line\n\xff\n").unwrap();
    let other = "[components.other]\nfile = \"sink.wasm\"\n";
    let bad = feed("feed", "bad.txt", "").replace("to = \"sink\"", "to = \"other\"");
    let rollout = host
        .deploy(&format!("{}{SINKS}{other}{bad}", soaking()))
        .await;
    let outcome = rollout.finished().await;
    let RolloutOutcome::RolledBack { reason } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        reason.starts_with("feed: line 2, column 1: not UTF-8"),
        "{reason}"
    );
    // One that cannot even be begun is not, also where nothing soaks.
    for (bytes, says) in [
        (&b"\xff\n"[..], "feed: line 1, column 1: not UTF-8"),
        (
            &b"long enough\n"[..],
            "feed: item 0 is larger than 10 bytes",
        ),
    ] {
        std::fs::write(host.directory.0.join("bad.txt"), bytes).unwrap();
        let bad = feed("feed", "bad.txt", "item-bytes = \"10B\"");
        let rollout = host.deploy(&format!("{ONE}{SINKS}{bad}")).await;
        let outcome = rollout.finished().await;
        let RolloutOutcome::Failed { reason, stuck } = &outcome else {
            panic!("{outcome:?}")
        };
        assert!(reason.starts_with(says) && stuck.is_empty(), "{reason}");
    }
    assert!(host.is(&before));
    pipe.write(100);
    drop(pipe);
    host.running.finished().await.unwrap();
    assert_eq!(host.total("sink").await, 200);
    assert_eq!(counted(&host.running.counts()), (201, 201, 0, 0));
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_when_it_is_replaced_is_sent_by_the_next_one() {
    let narrow = format!("{ONE}{SINKS}mailbox = {{ depth = 2 }}\n");
    let both = |more: &str| {
        let feeds = [feed("feed", "in.txt", more), feed("also", "in.txt", more)];
        feeds.concat()
    };
    let before = format!("{narrow}{}", both(""));
    let host = host(&endless(), &before).await;
    for round in 1..=8_u32 {
        let at = host.running.counts().events_in;
        host.sent(at + 200).await;
        let within = format!("reply-within = \"{round}min\"");
        if round % 2 == 0 {
            let undone = soaking() + SINKS + "mailbox = { depth = 2 }\n" + &both(&within);
            let rollout = host.deploy(&undone).await;
            rollout.until(is_soaking).await;
            rollout.roll_back("not so").await.unwrap();
            let outcome = rollout.finished().await;
            assert!(matches!(outcome, RolloutOutcome::RolledBack { .. }));
        } else {
            let rollout = host.deploy(&format!("{narrow}{}", both(&within))).await;
            assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        }
    }
    let sink = host.actor("sink");
    host.running.stop().await;
    // The two are counted in the order of neither, which the sink says.
    let counts = host.running.counts();
    assert_eq!(counts.ok + counts.failed, counts.events_in, "{counts:?}");
    let mut failures = counts.failures.iter();
    assert!(failures.all(|group| group.kind == "error"), "{counts:?}");
    assert_eq!(sink.counters().replies, counts.events_in);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_stopped_while_a_source_can_be_undone_has_counted_all() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "in.txt", ""));
    let host = host(&endless(), &before).await;
    host.sent(100).await;
    let after = format!(
        "{}{SINKS}{}",
        soaking(),
        feed("feed", "in.txt", "in-flight = 7")
    );
    let rollout = host.deploy(&after).await;
    rollout.until(is_soaking).await;
    let at = host.running.counts().events_in;
    host.sent(at + 100).await;
    host.stops_in_its_middle().await;
    rollout.finished().await;
    assert!(host.system.whereis(&address("app/feed")).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_changes_before_what_it_feeds_loses_what_it_called() {
    let with_both = SINK.replace(
        r#"(export "put" (func $put))"#,
        r#"(export "put" (func $put)) (export "take" (func $put))"#,
    );
    let before = format!(
        "[components.sink]\nfile = \"both.wasm\"\n{}",
        feed("feed", "pipe", "").replace("\"put\"", "\"take\"")
    );
    let directory = Directory::new("");
    let pipe = Pipe::make(&directory);
    std::fs::write(
        directory.0.join("both.wasm"),
        wat::parse_str(with_both).unwrap(),
    )
    .unwrap();
    let host = Host::in_directory(directory, &before, RegistryOptions::default()).await;
    let mut pipe = pipe.await.unwrap();
    pipe.write(100);
    host.answered(100).await;
    let sink = "[components.sink]\nfile = \"sink.wasm\"\nrollout = { state = \"discard\" }\n";
    // As it is it would call what is not there any more.
    let kept = PlanOptions {
        keep_sources: true,
        ..PlanOptions::default()
    };
    let after = format!("{sink}{}", feed("feed", "pipe", ""));
    let refused = host
        .deployer
        .plan(&host.resolve(&after), &kept)
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("the source `feed` as it is would not fit `sink`"),
        "{refused}"
    );
    let rollout = host.deploy(&after).await;
    let text = rollout.plan().to_string();
    assert!(
        text.contains(
            "  1. replace source `feed`: function; goes on with the next item\n  2. replace `sink`"
        ),
        "{text}"
    );
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    pipe.write(100);
    let last = format!("{sink}{}", feed("feed", "pipe", "in-flight = 3"));
    let rollout = host.deploy(&last).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    pipe.write(100);
    drop(pipe);
    host.running.finished().await.unwrap();
    let counts = host.running.counts();
    // The new instance of the sink has not seen the items before, and says so of its first one.
    assert_eq!(
        (counts.events_in, counts.ok + counts.failed, counts.failed),
        (300, 300, 1),
        "{counts:?}"
    );
    assert_eq!(host.total("sink").await, 300);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_was_not_fed_is_finished_when_what_was_deployed_is() {
    let host = host("", &format!("{ONE}{SINKS}")).await;
    assert!(!host.running.has_sources());
    std::fs::write(host.directory.0.join("more.txt"), lines(20)).unwrap();
    let tables = format!("{ONE}{SINKS}{}", feed("more", "more.txt", ""));
    let (rollout, ()) = tokio::join!(host.deploy(&tables), host.running.feeding());
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.source("more")), (20, 20, 0, 0));
    // What is not the same is kept by choice, and what runs is still what is compared with.
    let other = format!("{ONE}{SINKS}{}", feed("more", "more.txt", "in-flight = 3"));
    let mut options = by("kept");
    options.plan.keep_sources = true;
    let kept = host.deployer.deploy(host.resolve(&other), options).await;
    assert_eq!(kept.unwrap().finished().await, RolloutOutcome::Permanent);
    assert!(!host.is(&other));
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_feeds_ends_before_all_that_may_be_called_whatever_was_added_when() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "in.txt", ""));
    let host = host(&endless(), &before).await;
    // One that is fed by a source that is older, one beside a source that is new, and one more of a kind.
    let late = |name: &str| format!("[components.{name}]\nfile = \"sink.wasm\"\n");
    let more = feed("more", "in.txt", "").replace("to = \"sink\"", "to = \"late\"");
    let second = format!("{before}{}{more}", late("late"));
    let second = second.replace("v1.wasm\"", "v1.wasm\"\nreplicas = 3");
    let third = format!("{second}{}", late("later"));
    for tables in [&second, &third] {
        let rollout = host.deploy(tables).await;
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert!(host.is(tables));
    }
    let mut events = host.system.events();
    host.running.stop().await;
    let mut ended = Vec::new();
    while ended.len() < 8 {
        if let Some(Event::Exited { address, .. }) = events.recv().await {
            ended.push(address.to_string());
        }
    }
    let (sources, components) = ended.split_at(2);
    assert_eq!(sources, ["app/more", "app/feed"], "{ended:?}");
    assert_eq!(
        components,
        [
            "app/later",
            "app/late",
            "app/sink",
            "app/one/2",
            "app/one/1",
            "app/one/0"
        ]
    );
    let counts = host.running.counts();
    assert_eq!(counts.ok, counts.events_in, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_goes_from_a_source_to_a_component_and_back_in_two_deployments() {
    let fed = format!("{ONE}{SINKS}{}", feed("x", "in.txt", ""));
    let host = host(&lines(20), &fed).await;
    host.running.finished().await.unwrap();
    let neither = format!("{ONE}{SINKS}");
    let named = format!("{neither}[components.x]\nfile = \"sink.wasm\"\n");
    for (tables, other) in [(&named, "component"), (&fed, "source")] {
        // As the help says.
        let refused = host
            .deployer
            .plan(&host.resolve(tables), &PlanOptions::default());
        let refused = refused.unwrap_err().to_string();
        let says = format!("`[{other}s.x]` would make it a {other}");
        assert!(refused.contains(&says), "{refused}");
        for tables in [&neither, tables] {
            let rollout = host.deploy(tables).await;
            assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
            assert!(host.is(tables));
        }
    }
    // It had been read to its end before.
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.running.counts()), (20, 20, 0, 0));
    assert_eq!(host.total("sink").await, 20);
    host.running.stop().await;
}
