//! CPU time of one call, in ticks.
//!
//! The engine's epoch callback runs at every tick a guest is computing in. Each callback is worth one tick, and
//! only if the ticker's own count moved since the last charge: the extra epoch bump of somebody's kill charges
//! nobody. Ticks that passed while the guest waited are not charged either, since waiting moves the mark. The
//! error is one tick at the beginning and one at each wait; a guest that waits before every tick ends is not
//! charged at all, and meets its wall-clock limit instead. So does one that stays in one instruction over several
//! ticks, again and again (filling or copying all of a large memory): however many have passed when it is asked, one is
//! charged, because they may have been others' that had the processor meanwhile.

use crate::engine::ticker::TickCount;

#[derive(Debug)]
pub(super) struct CpuMeter {
    ticks: TickCount,
    charged_at: u64,
    used: u64,
}

impl CpuMeter {
    pub(super) fn new(ticks: TickCount) -> Self {
        let charged_at = ticks.now();
        Self {
            ticks,
            charged_at,
            used: 0,
        }
    }

    /// The ticks charged since the call began.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn begin_call(&mut self) {
        self.charged_at = self.ticks.now();
        self.used = 0;
    }

    /// Charges a tick, if one passed since the last charge and since the guest last came back from waiting.
    /// Returns the ticks used so far, or nothing if none was due.
    pub(super) fn charge(&mut self, resumed_at: u64) -> Option<u64> {
        let now = self.ticks.now();
        if now <= self.charged_at.max(resumed_at) {
            return None;
        }
        self.charged_at = now;
        self.used = self.used.saturating_add(1);
        Some(self.used)
    }
}
