//! Native actors that are through with their work once they have started.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{Actor, ChildSpec, Context, Event, ExitReason, Message, RestartPolicy};
use tokio::time::timeout;

use crate::guests::{address, engine, system};

/// Ends for this reason before its first message.
struct Brief {
    with: ExitReason,
    handled: Arc<AtomicU32>,
    stopped: Arc<AtomicU32>,
}

impl Actor for Brief {
    type Error = std::convert::Infallible;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface brief { note: func(); }")
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), Self::Error> {
        // Its own first message waits for it.
        let own = ctx.whereis(ctx.address()).unwrap();
        own.cast("note", ()).unwrap();
        ctx.exit(self.with.clone());
        Ok(())
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        self.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn post_stop(&mut self, reason: &ExitReason) {
        assert_eq!(reason.kind(), self.with.kind());
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_its_end_at_its_start_is_up_and_ends_before_its_first_message() {
    for with in [ExitReason::Normal, ExitReason::Shutdown] {
        let system = system(&engine()).await;
        let mut events = system.events();
        let (handled, stopped) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let (in_handled, in_stopped) = (Arc::clone(&handled), Arc::clone(&stopped));
        let reason = with.clone();
        let spec = ChildSpec {
            restart: RestartPolicy::Transient,
            ..ChildSpec::native(address("brief"), move || Brief {
                with: reason.clone(),
                handled: Arc::clone(&in_handled),
                stopped: Arc::clone(&in_stopped),
            })
        };
        system.spawn(spec).await.unwrap();
        let mut seen = Vec::new();
        let ended = async {
            loop {
                match events.recv().await.unwrap() {
                    Event::Started { .. } => seen.push("started"),
                    Event::Exited { reason, .. } => {
                        seen.push(reason.kind());
                        break;
                    }
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(600), ended).await.unwrap();
        assert_eq!(seen, ["started", with.kind()]);
        let counts = (
            handled.load(Ordering::Relaxed),
            stopped.load(Ordering::Relaxed),
        );
        assert_eq!(counts, (0, 1));
    }
}
