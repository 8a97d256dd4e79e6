//! Dead letters by request: the accounting stays exact whoever asks for what, and when.

use airssys_wasm::{Surface, Value, WitError};
use airssys_wasm_actors::{
    Actor, ChildSpec, Context, ErrorAction, Events, Message, SubscribeOptions,
};
use airssys_wasm_console::ControlClient;
use airssys_wasm_console::api::{
    DeadLetterQuery, PurgeRequest, ReplayAnswer, ReplayRequest, Selection, StatusQuery,
};

use crate::fixture::{Host, dead, started};

fn all() -> Selection {
    Selection::Filter(DeadLetterQuery::default())
}

fn only(address: &str) -> DeadLetterQuery {
    DeadLetterQuery {
        address: Some(address.to_owned()),
        ..DeadLetterQuery::default()
    }
}

async fn replay(client: &ControlClient, select: Selection, force: bool) -> ReplayAnswer {
    client
        .replay(&ReplayRequest { select, force })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_listed_and_shown() {
    let host = Host::start().await;
    let mut events = host.system.events();
    let a = host.spawn("app/a").await;
    let b = host.spawn("app/b").await;
    a.cast("note", ("päper ✓",)).unwrap();
    dead(&mut events, 1).await;
    b.cast("trap", ()).unwrap();
    dead(&mut events, 1).await;
    let client = &host.client;
    let list = client
        .dead_letters(&DeadLetterQuery::default())
        .await
        .unwrap();
    assert_eq!((list.letters.len(), list.kept, list.total), (2, 2, 2));
    let first = &list.letters[0];
    assert_eq!(
        (first.sequence, first.target.as_str(), first.reason.as_str()),
        (0, "app/a", "callee-died")
    );
    assert_eq!(
        (first.attempts, first.deaths, first.bytes > 0),
        (1, 1, true)
    );
    let list = client.dead_letters(&only("app/b")).await.unwrap();
    assert_eq!((list.letters.len(), list.letters[0].sequence), (1, 1));
    for none in [
        DeadLetterQuery {
            reason: Some("mailbox-full".to_owned()),
            ..DeadLetterQuery::default()
        },
        DeadLetterQuery {
            older_than_ms: Some(3_600_000),
            ..DeadLetterQuery::default()
        },
        DeadLetterQuery {
            poison: Some(true),
            ..DeadLetterQuery::default()
        },
        DeadLetterQuery {
            limit: Some(0),
            ..DeadLetterQuery::default()
        },
    ] {
        let list = client.dead_letters(&none).await.unwrap();
        assert!(list.letters.is_empty() && list.kept == 2, "{none:?}");
    }
    let shown = client.dead_letter(0).await.unwrap();
    assert_eq!(shown.args.unwrap(), ["\"päper ✓\""]);
    let shown = client.dead_letter(1).await.unwrap();
    assert_eq!(shown.args.unwrap(), [""; 0]);
    // Its types leave with it.
    client.stop("app/a").await.unwrap();
    assert_eq!(client.dead_letter(0).await.unwrap().args, None);
    host.balances();
}

/// Does not like what it is sent by topic.
struct Deaf;

impl Actor for Deaf {
    type Error = std::fmt::Error;

    fn surface() -> Result<Surface, WitError> {
        Surface::default().with_message_handler()
    }

    async fn handle_message(&mut self, _: &mut Message, _: &mut Context) -> std::fmt::Result {
        Err(std::fmt::Error)
    }

    fn on_error(&mut self, _: &Self::Error) -> ErrorAction {
        ErrorAction::Resume
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_of_the_messaging_plane_is_shown_as_its_handler_would_have_it() {
    let host = Host::start().await;
    let mut events = host.system.events();
    let deaf = ChildSpec::native("app/deaf".parse().unwrap(), || Deaf);
    let deaf = host.system.spawn(deaf).await.unwrap();
    let handler = deaf.function("handle-message").unwrap();
    let payload = Value::Bytes(b"hi".as_slice().into());
    handler.cast((payload,)).unwrap();
    dead(&mut events, 1).await;
    let topics = host.system.topics();
    let options = SubscribeOptions::default();
    let rooms = "rooms/**".parse().unwrap();
    topics.subscribe(&rooms, &handler, options).unwrap();
    topics.publish("rooms/tea", "hi").unwrap();
    dead(&mut events, 1).await;
    let shown = async |sequence| host.client.dead_letter(sequence).await.unwrap().args;
    let bare = "{sender: none, topic: none, call: none, payload: [104, 105]}";
    assert_eq!(shown(0).await.unwrap(), [bare]);
    let published = bare.replace("topic: none", "topic: some(\"rooms/tea\")");
    assert_eq!(shown(1).await.unwrap(), [published.as_str()]);
    // Its type is known whoever has the address.
    host.client.stop("app/deaf").await.unwrap();
    assert_eq!(shown(1).await.unwrap(), [published]);
    host.balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_sent_again_until_it_is_poison_and_purged() {
    let host = Host::start().await;
    let mut events = host.system.events();
    let a = host.spawn("app/a").await;
    a.cast("trap", ()).unwrap();
    started(&mut events, a.address(), 1).await;
    let client = &host.client;
    for incarnation in 2..=3 {
        let answer = replay(client, Selection::Sequences(vec![0, 9]), false).await;
        assert_eq!(answer.accepted, [0]);
        let refused = &answer.refused[0];
        assert_eq!(
            (refused.sequence, refused.kind.as_str()),
            (9, "no-such-letter")
        );
        started(&mut events, a.address(), incarnation).await;
    }
    let answer = replay(client, all(), false).await;
    assert!(answer.accepted.is_empty());
    assert_eq!(answer.refused[0].kind, "poison");
    let answer = replay(client, all(), true).await;
    assert_eq!(answer.accepted, [0]);
    started(&mut events, a.address(), 4).await;
    host.balances();
    let status = client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!(
        (status.dead_letters_kept, status.counters.dead_letters),
        (1, 4)
    );
    for purged in [1, 0] {
        let select = Selection::Filter(only("app/a"));
        let answer = client.purge(&PurgeRequest { select }).await.unwrap();
        assert_eq!((answer.purged, answer.under_way), (purged, 0));
    }
    host.balances();
}

/// Waits until no letter is under way.
async fn quiet(host: &Host, events: &mut Events) {
    loop {
        let counters = host.system.counters();
        if counters.casts == counters.casts_handled + counters.dead_letters {
            return;
        }
        assert!(events.recv().await.is_some());
    }
}

/// What one of several clients does; letters accepted, and letters purged.
async fn work(client: ControlClient, kind: u64, letters: usize) -> (usize, usize) {
    let (mut accepted, mut purged) = (0, 0);
    for round in 0..10 {
        match kind % 4 {
            0 => accepted += replay(&client, all(), true).await.accepted.len(),
            1 => {
                let from = round * 3;
                let select = Selection::Sequences((from..from + 3).collect());
                let answer = client.purge(&PurgeRequest { select }).await.unwrap();
                purged += answer.purged;
            }
            2 => {
                let list = client.dead_letters(&DeadLetterQuery::default()).await;
                assert!(list.unwrap().letters.len() <= letters);
            }
            _ => assert_eq!(client.restart("app/a").await.unwrap().address, "app/a"),
        }
    }
    (accepted, purged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_purges_and_lists_at_once_while_the_actor_dies_and_is_restarted() {
    const LETTERS: usize = 60;
    let host = Host::start().await;
    let mut events = host.system.events();
    let a = host.spawn("app/a").await;
    for _ in 0..LETTERS {
        a.cast("trap", ()).unwrap();
    }
    dead(&mut events, LETTERS).await;
    host.balances();
    let working: Vec<_> = (0..8)
        .map(|kind| tokio::spawn(work(host.client.clone(), kind, LETTERS)))
        .collect();
    let (mut accepted, mut purged) = (0, 0);
    for one in working {
        let (more_accepted, more_purged) = one.await.unwrap();
        accepted += more_accepted;
        purged += more_purged;
    }
    quiet(&host, &mut events).await;
    host.balances();
    let counters = host.system.counters();
    // Every letter that was accepted again was one more cast, and one more dead letter: it always traps.
    assert_eq!(counters.casts, u64::try_from(LETTERS + accepted).unwrap());
    let (kept, _) = host.system.dead_letters().kept();
    assert_eq!(kept + purged, LETTERS);
    // Whatever was not purged first was sent again at least once.
    assert!(accepted + purged >= LETTERS, "{accepted} {purged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_replayed_to_an_actor_that_is_being_started() {
    let host = Host::start().await;
    let mut events = host.system.events();
    let a = host.spawn("app/a").await;
    a.cast("trap", ()).unwrap();
    dead(&mut events, 1).await;
    // It may be down, starting or up: the mailbox takes the letter in all of them.
    for _ in 0..20 {
        let answer = replay(&host.client, all(), true).await;
        assert!(answer.refused.iter().all(|one| one.kind == "under-way"));
        if answer.accepted == [0] {
            dead(&mut events, 1).await;
        }
    }
    host.balances();
    assert_eq!(host.system.dead_letters().kept().0, 1);
}
