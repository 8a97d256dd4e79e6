//! A record whose answer was lost: what runs is what the next host boots, whichever it is.

use std::path::Path;

use super::unended::{SOAK, V2_AT_ONCE, is_permanent, soaks};
use super::*;

/// Fails once at a step, when it is armed.
pub(super) struct Once {
    pub(super) armed: Arc<AtomicBool>,
    pub(super) options: RegistryOptions,
}

/// `meanwhile` is done right before it fails.
pub(super) fn once(step: &'static str, meanwhile: impl Fn() + Send + Sync + 'static) -> Once {
    let armed = Arc::<AtomicBool>::default();
    let fires = Arc::clone(&armed);
    let fault = move |at: &'static str| {
        if at == step && fires.swap(false, Ordering::AcqRel) {
            meanwhile();
            return Err(io::Error::other("the answer is lost"));
        }
        Ok(())
    };
    Once {
        armed,
        options: RegistryOptions {
            fault: Some(Arc::new(fault)),
            ..RegistryOptions::default()
        },
    }
}

/// What another host would boot now: the component's file.
fn boots(host: &Host) -> String {
    let registry = host.deployer.registry().unwrap();
    let boot = registry.recover(&address("app"), 1).unwrap().boot.unwrap();
    let file = ["v1.wasm", "v2.wasm"].map(|file| (file, boot.manifest.contains(file)));
    let file = file.into_iter().find(|(_, is_it)| *is_it);
    file.unwrap().0.to_owned()
}

#[tokio::test]
async fn a_deployment_that_is_permanent_though_its_record_was_answered_by_an_error_stays() {
    let Once { armed, options } = once("journal.permanent.after-commit", || {});
    let host = Host::with(ONE, options).await;
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    soaks(&rollout).await;
    armed.store(true, Ordering::Release);
    rollout.promote().await.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert!(!armed.load(Ordering::Acquire));
    assert_eq!(number(&host.actor("one"), "version").await, 2);
    assert_eq!(boots(&host), "v2.wasm");
    assert_eq!(
        (host.permanent(), host.deployer.current_number()),
        (Some(2), Some(2))
    );
    // And it can be gone back from.
    is_permanent(&host, ONE).await;
    assert_eq!(
        (host.permanent(), boots(&host)),
        (Some(3), "v1.wasm".to_owned())
    );
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test]
async fn every_record_that_is_there_though_it_was_answered_by_an_error_is_gone_on_with() {
    for step in [
        "revision.register.after-commit",
        "journal.prepared.after-commit",
        "journal.warmed.after-commit",
        "journal.switching.after-commit",
        "journal.soaking.after-commit",
        "journal.permanent.after-commit",
    ] {
        let Once { armed, options } = once(step, || {});
        let host = Host::with(ONE, options).await;
        armed.store(true, Ordering::Release);
        is_permanent(&host, V2_AT_ONCE).await;
        assert!(!armed.load(Ordering::Acquire), "{step}");
        assert_eq!(host.permanent(), Some(2), "{step}");
        assert_eq!(number(&host.actor("one"), "version").await, 2, "{step}");
        host.running.stop().await;
    }
}

fn moved(from: &Path, to: &Path) -> impl Fn() + Send + Sync + 'static {
    let (from, to) = (from.to_owned(), to.to_owned());
    move || std::fs::rename(&from, &to).unwrap()
}

/// The registry cannot be read after the error: whether the record is there shows only later.
#[tokio::test(start_paused = true)]
async fn what_may_be_permanent_is_not_undone_until_that_is_known() {
    for (step, is_there) in [
        ("journal.permanent.after-commit", true),
        ("journal.permanent.before-commit", false),
    ] {
        let directory = Directory::new("");
        let (file, away) = (
            directory.0.join("state/registry.redb"),
            directory.0.join("state/away"),
        );
        let Once { armed, options } = once(step, moved(&file, &away));
        let host = Host::in_directory(directory, ONE, options).await;
        let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
        soaks(&rollout).await;
        armed.store(true, Ordering::Release);
        rollout.promote().await.unwrap();
        // Whoever looks finds why nothing goes on, and why nobody else has the turn.
        let unsure = rollout.until(|status| status.held.is_some()).await;
        let why = unsure.held.unwrap();
        assert!(
            why.contains("not known whether the record `permanent`"),
            "{why}"
        );
        assert!(why.contains("the answer is lost"), "{why}");
        assert!(unsure.log.iter().any(|note| note.what == why), "{why}");
        assert_eq!(unsure.end, None, "{step}");
        let refused = host.deployer.deploy(host.resolve(ONE), by("other")).await;
        assert!(matches!(refused, Err(DeployError::UnderWay)), "{refused:?}");
        assert_eq!(number(&host.actor("one"), "version").await, 2, "{step}");
        assert_eq!(
            rollout.roll_back("now").await,
            Err(CommandRefused::Over),
            "{step}"
        );
        moved(&away, &file)();
        let (end, version, boot) = (
            rollout.finished().await,
            1 + u32::from(is_there),
            boots(&host),
        );
        match is_there {
            true => assert_eq!((end, &*boot), (RolloutOutcome::Permanent, "v2.wasm")),
            false => {
                assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
                assert_eq!(boot, "v1.wasm");
            }
        }
        assert_eq!(rollout.status().held, None, "{step}");
        assert_eq!(number(&host.actor("one"), "version").await, version);
        host.running.stop().await;
    }
}

/// Whatever has come to that: the registry boots what does not run.
#[tokio::test]
async fn what_runs_is_recorded_once_more_where_the_registry_says_another() {
    let host = Host::new(ONE).await;
    is_permanent(&host, V2_AT_ONCE).await;
    let registry = host.deployer.registry().unwrap().clone();
    let other = Deployer::new(&host.running, host.resolve(V2_AT_ONCE), Some((registry, 1)));
    let rollout = other.deploy(host.resolve(V2_AT_ONCE), by("again")).await;
    let rollout = rollout.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(
        (rollout.status().number, host.permanent()),
        (Some(3), Some(3))
    );
    assert_eq!(other.current_number(), Some(3));
    host.running.stop().await;
}
