//! A wish to end early, which a signal sets and a measurement looks at between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a task that waits for it looks.
const LOOK: Duration = Duration::from_millis(100);

/// A flag that is set once. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends what looks at it, after the step it is in.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it was asked.
    pub(crate) async fn asked(&self) {
        while !self.is_asked() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
