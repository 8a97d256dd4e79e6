//! Inputs that cannot be read, or not yet, and deployments in line for the same source.

use std::os::unix::net::UnixListener;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_changes_nothing_whatever_it_is() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "pipe", ""));
    let (host, mut pipe) = Pipe::host(&before).await;
    pipe.write(100);
    host.answered(100).await;
    let path = |name: &str| host.directory.0.join(name);
    std::fs::write(path("gone.txt"), lines(1)).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    let _listening = UnixListener::bind(path("socket")).unwrap();
    for (name, says) in [
        ("gone.txt", "No such file"),
        ("directory", "is a directory"),
        ("socket", "it is a socket"),
    ] {
        // It is there when the manifest is read, and may be gone when the order has its turn.
        let new = host.resolve(&format!("{ONE}{SINKS}{}", feed("feed", name, "")));
        if name == "gone.txt" {
            std::fs::remove_file(path(name)).unwrap();
        }
        let rollout = host.deployer.deploy(new, by("test")).await.unwrap();
        let outcome = rollout.finished().await;
        let RolloutOutcome::Failed { reason, stuck } = &outcome else {
            panic!("{name}: {outcome:?}")
        };
        assert!(reason.starts_with("feed: cannot open "), "{reason}");
        assert!(reason.contains(says) && stuck.is_empty(), "{reason}");
        assert!(host.is(&before), "{name}");
    }
    pipe.write(100);
    drop(pipe);
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.running.counts()), (200, 200, 0, 0));
    assert_eq!(host.total("sink").await, 200);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_nobody_writes_to_yet_holds_nothing_up_and_is_tried_again_after_it_was_undone()
{
    let directory = Directory::new("");
    let path = directory.0.join("later");
    Pipe::make_at(&path);
    let before = format!("{ONE}{SINKS}");
    let host = Host::in_directory(directory, &before, RegistryOptions::default()).await;
    let feed = feed("feed", "later", "");
    // Nobody has it open for writing, and so it cannot even be opened for reading.
    for _ in 0..2 {
        let rollout = host.deploy(&format!("{}{SINKS}{feed}", soaking())).await;
        let status = rollout.until(is_soaking).await;
        assert_eq!(status.end, None, "{:?}", status.log);
        rollout.roll_back("not so").await.unwrap();
        let outcome = rollout.finished().await;
        assert!(matches!(outcome, RolloutOutcome::RolledBack { .. }));
        assert!(host.is(&before));
    }
    let rollout = host.deploy(&format!("{before}{feed}")).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    let mut pipe = Pipe::open(path).await.unwrap();
    pipe.write(50);
    host.answered(50).await;
    // What was written and not sent is not lost by an undone change either.
    let other = format!("{}{SINKS}", soaking());
    let rollout = host.deploy(&other).await;
    rollout.until(is_soaking).await;
    pipe.write(50);
    rollout.roll_back("not so").await.unwrap();
    rollout.finished().await;
    drop(pipe);
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.running.counts()), (100, 100, 0, 0));
    assert_eq!(host.total("sink").await, 100);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_in_line_the_second_goes_on_from_what_the_first_has_left() {
    let before = format!("{ONE}{SINKS}{}", feed("feed", "pipe", ""));
    let (host, mut pipe) = Pipe::host(&before).await;
    let mut items = 0;
    for (round, promoted) in [(1, true), (2, false)] {
        pipe.write(50);
        items += 50;
        host.answered(items).await;
        let first = feed("feed", "pipe", &format!("in-flight = {}", 10 + round));
        let first = host.deploy(&format!("{}{SINKS}{first}", soaking())).await;
        first.until(is_soaking).await;
        let second = feed("feed", "pipe", &format!("in-flight = {}", 20 + round));
        let second = format!("{ONE}{SINKS}{second}");
        let options = DeployOptions {
            queue: true,
            ..by("second")
        };
        let waiting = host.deployer.deploy(host.resolve(&second), options);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        if promoted {
            first.promote().await.unwrap();
        } else {
            first.roll_back("not so").await.unwrap();
        }
        pipe.write(50);
        items += 50;
        let rollout = waiting.await.unwrap();
        let permanent = first.finished().await == RolloutOutcome::Permanent;
        assert_eq!(permanent, promoted);
        // What is replaced is what feeds by then.
        let text = rollout.plan().to_string();
        assert!(text.contains("replace source `feed`: in-flight"), "{text}");
        assert_eq!(text.contains("replace `one`"), promoted, "{text}");
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert!(host.is(&second));
        host.answered(items).await;
    }
    drop(pipe);
    host.running.finished().await.unwrap();
    assert_eq!(counted(&host.running.counts()), (200, 200, 0, 0));
    assert_eq!(host.total("sink").await, 200);
    host.running.stop().await;
}
