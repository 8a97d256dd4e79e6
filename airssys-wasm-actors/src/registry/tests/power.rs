//! Loss of power at any moment: of what was written and not synced, any part may be missing.

use super::disk::{Disk, Operation, apply};
use super::history::{calls, in_effect, options, states};
use super::*;

/// xorshift64*: the cuts are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % bound
    }
}

const CUTS: usize = 200;

/// A device writes whole sectors.
const SECTOR_BYTES: usize = 512;

#[test]
fn after_a_loss_of_power_everything_acknowledged_is_there() {
    let states = states();
    let directory = Directory::new();
    let disk = Disk::default();
    let open = |disk: &Disk| {
        let medium = Medium::Simulated(disk.clone());
        Registry::open_in(&directory.registry(), options(), medium).unwrap()
    };
    let registry = open(&disk);
    let new = disk.bytes();
    disk.take_log();
    // How many operations there were when each call had been acknowledged.
    let mut acknowledged = vec![0];
    for call in calls() {
        call(&registry).unwrap();
        acknowledged.push(disk.log_len());
    }
    let log = disk.take_log();
    drop(registry);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut between = 0;
    for _ in 0..CUTS {
        let cut = random.below(log.len() + 1);
        let after = lost(&new, &log[..cut], &mut random);
        let registry = open(&Disk::holding(after));
        let done = acknowledged.iter().filter(|&&at| at <= cut).count() - 1;
        let found = in_effect(&registry, &states, done);
        between += found - done;
    }
    assert!(
        between > 0,
        "no cut was within a commit that had taken effect"
    );
}

/// What is left of a log after power was lost: all that was synced, and of each later write nothing, all, or some sectors.
fn lost(new: &[u8], log: &[Operation], random: &mut Random) -> Vec<u8> {
    let mut bytes = new.to_vec();
    let synced = log
        .iter()
        .rposition(|operation| matches!(operation, Operation::Sync));
    let (synced, unsynced) = log.split_at(synced.map_or(0, |at| at + 1));
    for operation in synced {
        apply(&mut bytes, operation);
    }
    for operation in unsynced {
        match operation {
            Operation::Write(at, data) => match random.below(3) {
                0 => {}
                1 => apply(&mut bytes, operation),
                _ => {
                    for (sector, data) in data.chunks(SECTOR_BYTES).enumerate() {
                        if random.below(2) == 0 {
                            let at = at + (sector * SECTOR_BYTES) as u64;
                            apply(&mut bytes, &Operation::Write(at, data.to_vec()));
                        }
                    }
                }
            },
            // A file system keeps the length of a file in its own journal: all of a change, or nothing.
            Operation::Resize(_) if random.below(2) == 0 => {}
            _ => apply(&mut bytes, operation),
        }
    }
    bytes
}
