//! Links that send a failed call again, where the operator says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildSpec, Context, Counters, Link, Message, Retry, System,
};

use crate::guests::{RELAY, address, engine, system, template};

/// Panics at its first messages, over all incarnations, and answers from then on.
struct Flaky {
    handled: Arc<AtomicU32>,
    failures: u32,
}

impl Actor for Flaky {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface work { work: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,): (u32,) = message.args()?;
        assert!(
            self.handled.fetch_add(1, Ordering::SeqCst) >= self.failures,
            "not yet"
        );
        message.reply((n + 1,));
        Ok(())
    }
}

async fn relay_to_flaky(system: &System, failures: u32, retry: Option<Retry>) -> [ActorRef; 2] {
    let handled = Arc::new(AtomicU32::new(0));
    let flaky = ChildSpec::native(address("flaky"), move || Flaky {
        handled: Arc::clone(&handled),
        failures,
    });
    let link = Link {
        retry,
        ..Link::new("test:t/work", address("flaky"))
    };
    let relay = template(system.engine(), RELAY, &["test:t/work"]);
    let relay = ChildSpec::component(address("relay"), relay).link(link);
    system
        .supervisor()
        .start(vec![flaky, relay])
        .await
        .unwrap()
        .try_into()
        .unwrap()
}

fn ends(counters: Counters) -> (u64, u64, u64) {
    (counters.calls, counters.replies, counters.call_errors)
}

fn times(times: u32) -> Option<Retry> {
    Some(Retry {
        times,
        backoff: Duration::from_millis(1),
    })
}

#[tokio::test]
async fn a_call_is_sent_again_until_it_is_answered() {
    let system = system(&engine()).await;
    let [flaky, relay] = relay_to_flaky(&system, 2, times(3)).await;
    assert_eq!(
        relay.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    assert_eq!(ends(flaky.counters()), (3, 1, 2));
    // The guest made one call and knows of one.
    assert_eq!(relay.call("count", ()).await.unwrap(), (1_u32,).into_args());
    assert_eq!(relay.status().incarnation, 1);
}

#[tokio::test]
async fn the_last_failure_is_the_calls() {
    let system = system(&engine()).await;
    let [flaky, relay] = relay_to_flaky(&system, 9, times(2)).await;
    let text = relay.call("work", (1_u32,)).await.unwrap_err().to_string();
    assert!(text.contains("not yet"), "{text}");
    assert_eq!(ends(flaky.counters()), (3, 0, 3));
}

#[tokio::test]
async fn without_the_word_a_message_is_handled_at_most_once() {
    let system = system(&engine()).await;
    let [flaky, relay] = relay_to_flaky(&system, 1, None).await;
    relay.call("work", (1_u32,)).await.unwrap_err();
    assert_eq!(ends(flaky.counters()), (1, 0, 1));
}
