//! What is told of ends while names change hands.

use super::*;
use crate::mailbox::MailboxConfig;

fn watched(slot: &Slot) -> oneshot::Receiver<Down> {
    let (task, told) = oneshot::channel();
    let id = slot.shared.next_monitor();
    slot.watch_when(id, Watcher::Host(task), When::Registered);
    told
}

#[test]
fn who_waits_for_an_incarnation_that_never_begins_is_told() {
    let slot = crate::slot::testing::slot(MailboxConfig::default());
    let mut told = watched(&slot);
    assert!(told.try_recv().is_err());
    slot.retire(&ExitReason::Shutdown);
    let down = told.try_recv().unwrap();
    assert_eq!(down.incarnation, 0);
    assert!(matches!(down.reason, ExitReason::Shutdown));
}

#[test]
fn who_waits_for_one_that_is_stopped_is_told_of_its_next_end_or_that_its_name_is_free() {
    let slot = crate::slot::testing::slot(MailboxConfig::default());
    slot.begin();
    slot.ended(ExitReason::Normal);
    slot.suspend(&ExitReason::Normal);
    let mut next = watched(&slot);
    assert!(next.try_recv().is_err());
    slot.begin();
    slot.ended(ExitReason::Killed);
    slot.suspend(&ExitReason::Shutdown);
    let down = next.try_recv().unwrap();
    assert_eq!((down.incarnation, down.reason.kind()), (2, "killed"));
    let mut last = watched(&slot);
    assert!(last.try_recv().is_err());
    slot.retire(&ExitReason::Shutdown);
    let down = last.try_recv().unwrap();
    assert_eq!((down.incarnation, down.reason.kind()), (2, "no-such-actor"));
    let mut after = watched(&slot);
    assert_eq!(after.try_recv().unwrap().reason.kind(), "no-such-actor");
}

#[test]
fn an_end_is_told_once_with_its_own_reason() {
    let slot = crate::slot::testing::slot(MailboxConfig::default());
    slot.begin();
    let mut before = watched(&slot);
    slot.ended(ExitReason::Normal);
    let mut after = watched(&slot);
    slot.suspend(&ExitReason::Shutdown);
    for told in [&mut before, &mut after] {
        let down = told.try_recv().unwrap();
        assert_eq!(down.incarnation, 1);
        assert!(matches!(down.reason, ExitReason::Normal));
    }
}

/// One that is to be several, and has a replica; it runs, and is at its last message.
fn leaving() -> (Arc<Slot>, Arc<Slot>) {
    let slot = crate::slot::testing::slot(MailboxConfig::default());
    slot.begin();
    let replica = slot.replica(slot.address().join("0").unwrap(), false);
    let shared = Arc::clone(&slot.shared);
    shared
        .register(std::slice::from_ref(&replica), &[])
        .unwrap();
    slot.join(std::slice::from_ref(&replica));
    replica.begin();
    slot.lane().leave();
    (slot, replica)
}

#[test]
fn who_monitors_one_whose_heirs_go_before_they_have_its_name_is_told() {
    let (slot, replica) = leaving();
    let mut before = watched(&slot);
    slot.ended(ExitReason::Normal);
    let mut after = watched(&slot);
    for told in [&mut before, &mut after] {
        assert!(told.try_recv().is_err(), "the others go on");
    }
    replica.ended(ExitReason::Killed);
    replica.retire(&ExitReason::Shutdown);
    assert!(!slot.vacate());
    slot.retire(&ExitReason::Shutdown);
    for told in [&mut before, &mut after] {
        let down = told.try_recv().unwrap();
        assert_eq!(down.incarnation, 1);
        assert!(matches!(down.reason, ExitReason::Shutdown));
    }
}

#[test]
fn who_monitors_one_whose_heirs_were_stopped_before_its_end_is_told_of_that() {
    for retired in [false, true] {
        let (slot, replica) = leaving();
        let mut told = watched(&slot);
        replica.ended(ExitReason::Killed);
        replica.suspend(&ExitReason::Shutdown);
        // Everybody is stopped while it is at its last message.
        slot.kill_own();
        slot.suspend(&ExitReason::Shutdown);
        if retired {
            replica.retire(&ExitReason::Shutdown);
        }
        assert!(told.try_recv().is_err());
        slot.ended(ExitReason::Killed);
        let down = told.try_recv().unwrap();
        assert_eq!(down.incarnation, 1);
        assert!(matches!(down.reason, ExitReason::Killed));
    }
}

#[test]
fn an_exit_that_ended_one_is_not_that_of_its_heirs() {
    let (slot, replica) = leaving();
    let mut told = watched(&slot);
    slot.trap_exits(true);
    let link = ExitReason::Panicked("on purpose".into()).through_link(replica.address());
    slot.life.lock().bonds().exit = Some(link.clone());
    let reason = slot.ended(ExitReason::Killed);
    assert_eq!(reason.to_string(), link.to_string());
    assert!(slot.vacate());
    assert!(!slot.trap_exits(false), "nobody of theirs has asked for it");
    assert!(told.try_recv().is_err());
    // What ends the last of them is told, and nothing else.
    slot.retire(&ExitReason::Killed);
    let down = told.try_recv().unwrap();
    assert!(matches!(down.reason, ExitReason::Killed), "{}", down.reason);
}

/// Somebody linked to the name ends while that becomes its heirs' alone.
#[test]
fn an_exit_that_comes_as_its_heirs_get_the_name_is_told_to_them_and_kept_by_nobody() {
    let (slot, replica) = leaving();
    let mut told = watched(&slot);
    let peer = crate::slot::testing::slot(MailboxConfig::default());
    slot.ended(ExitReason::Normal);
    assert!(slot.vacate());
    // Whoever tells of it had seen that the name was still its own as well.
    let panicked = ExitReason::Panicked("on purpose".into());
    slot.exit_of_team((peer.id(), 1), &peer, &panicked);
    assert!(!slot.lane().killed(), "nothing of it runs");
    replica.exit_of_team((peer.id(), 1), &peer, &panicked);
    assert_eq!(replica.ended(ExitReason::Killed).kind(), "linked");
    // The last of them is killed for another reason.
    slot.retire(&ExitReason::Killed);
    let down = told.try_recv().unwrap();
    assert!(matches!(down.reason, ExitReason::Killed), "{}", down.reason);
}
