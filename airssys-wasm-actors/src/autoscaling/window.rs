//! What was seen between two decisions.

use crate::deployment::Load;

/// Sums of the looks since it was cleared.
#[derive(Default)]
pub(super) struct Window {
    looks: u32,
    queued: u64,
    /// Replicas that were up, over all looks, and how many of them had something in hand.
    up: u64,
    busy: u64,
}

impl Window {
    /// One look: how many messages wait, how many replicas are up, and how many of them are busy.
    pub(super) fn add(&mut self, queued: u64, (up, busy): (u32, u32)) {
        self.looks += 1;
        self.queued = self.queued.saturating_add(queued);
        self.up += u64::from(up);
        self.busy += u64::from(busy);
    }

    pub(super) fn looks(&self) -> u32 {
        self.looks
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The mean of them; `None` if nobody was up in any.
    pub(super) fn load(&self) -> Option<Load> {
        if self.looks == 0 || self.up == 0 {
            return None;
        }
        // Both are below 2^32: at most 64 replicas and a few looks.
        let exact = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        Some(Load {
            queued: self.queued.div_ceil(u64::from(self.looks)),
            utilisation: exact(self.busy) / exact(self.up),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_mean_of_its_looks() {
        let mut window = Window::default();
        assert_eq!(window.load(), None);
        window.add(9, (0, 0));
        assert_eq!(window.load(), None, "nobody is up: who knows");
        window.add(10, (2, 1));
        window.add(0, (2, 2));
        let load = window.load().unwrap();
        assert_eq!((load.queued, load.utilisation), (7, 0.75));
        window.clear();
        assert_eq!((window.looks(), window.load()), (0, None));
    }
}
