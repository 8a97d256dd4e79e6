//! What counts against whom.

use super::*;
use crate::mailbox::MailboxConfig;
use crate::slot::testing::slot_of;

const WIT: &str = "package test:test; interface test { f: func(p: list<u8>); }";

struct Actor(Arc<Slot>);

impl Actor {
    fn owner(&self, tenure: u64) -> Owner {
        Owner {
            actor: self.0.id(),
            tenure: Some(tenure),
        }
    }

    /// Whether a timer is set that sends so many bytes.
    fn set(&self, tenure: u64, aside: bool, bytes: usize) -> bool {
        let shared = self.0.shared();
        let due = Due {
            target: Arc::clone(&self.0),
            export: self.0.surface().export("f").unwrap(),
            args: (airssys_wasm::Value::Bytes(vec![0; bytes].into()),).into_args(),
            sender: None,
            every: None,
        };
        let setter = Setter {
            owner: self.owner(tenure),
            slot: &self.0,
            aside,
        };
        let hour = Duration::from_secs(3_600);
        shared.timers().set(shared, setter, hour, due).is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_new_instance_sets_counts_beside_the_old_ones() {
    for (bytes, most) in [(1, 256), (1 << 20, 8)] {
        let actor = Actor(slot_of(WIT, MailboxConfig::default()));
        let timers = actor.0.shared().timers();
        for tenure in [1, 2] {
            let aside = tenure == 2;
            for _ in 0..most {
                assert!(actor.set(tenure, aside, bytes), "{tenure}");
            }
            assert!(!actor.set(tenure, aside, bytes), "{tenure}");
        }
        timers.release(actor.owner(1));
        assert_eq!(timers.len(), most);
        // Once it serves it has as many as one may have.
        assert!(!actor.set(2, false, bytes));
        timers.release(actor.owner(2));
        assert!(timers.len() == 0 && actor.set(3, false, bytes));
    }
}
