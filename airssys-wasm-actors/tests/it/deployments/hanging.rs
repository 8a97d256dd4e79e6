//! A registry whose disk does not come back: who looks is told, whatever it was asked.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::channel;

use super::unended::V2_AT_ONCE;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_deployment_says_that_its_registry_does_not_answer() {
    let (entered, mut is_in) = channel(1);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let hangs_at = Arc::<Mutex<Option<&'static str>>>::default();
    let at = Arc::clone(&hangs_at);
    let options = RegistryOptions {
        fault: Some(Arc::new(move |step| {
            let hangs = at.lock().unwrap().take_if(|at| *at == step);
            if hangs.is_some() {
                entered.try_send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
            Ok(())
        })),
        ..RegistryOptions::default()
    };
    let host = Host::with(ONE, options).await;
    for (step, tables, what) in [
        (
            "journal.prepared.before-commit",
            V2_AT_ONCE,
            "begin the record",
        ),
        ("journal.switching.before-commit", ONE, "record `switching`"),
        (
            "journal.permanent.before-commit",
            V2_AT_ONCE,
            "record `permanent`",
        ),
    ] {
        *hangs_at.lock().unwrap() = Some(step);
        let rollout = host.deploy(tables).await;
        is_in.recv().await.unwrap();
        assert_eq!(rollout.status().held, None);
        // The clock stands still while a thread is at the disk.
        tokio::time::advance(Duration::from_secs(11)).await;
        let status = rollout.until(|status| status.held.is_some()).await;
        let held = status.held.unwrap();
        assert!(held.contains(what), "{held}");
        assert!(held.contains("look at the disk of"), "{held}");
        assert_eq!(status.log.back().unwrap().what, held);
        release.send(()).unwrap();
        let status = rollout.until(|status| status.held.is_none()).await;
        assert_eq!(status.held, None);
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(rollout.status().held, None);
    }
    host.running.stop().await;
}
