//! A wish to end early, which a signal sets and a measurement looks at between two steps, or waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag that is set once. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    is_asked: AtomicBool,
    told: Notify,
}

impl Stop {
    /// Ends what looks at it, after the step it is in.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Acquire)
    }

    /// Waits until it was asked.
    pub(crate) async fn asked(&self) {
        // Before it looks: whoever asks in between is heard.
        let told = self.0.told.notified();
        if !self.is_asked() {
            told.await;
        }
    }
}
