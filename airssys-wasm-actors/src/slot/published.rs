//! What a slot offers, from revision to revision.
//!
//! Owns the surface callers resolve functions in. Another revision of a component publishes its own in place of it, numbered
//! after the one before: whoever holds a function's number, a link or a message that waits, goes on with it. Read when
//! a function is resolved, never on the way of a message.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use airssys_wasm::{ExportId, Surface};
use arc_swap::ArcSwapOption;

use crate::messaging::HANDLE_MESSAGE;

/// The surface of one slot.
pub(super) struct Published {
    first: Arc<Surface>,
    /// Once another has been published.
    newer: ArcSwapOption<Surface>,
    /// Where messages of the messaging plane go: they are more than a call, and take no short road. Its number stays.
    handler: OnceLock<ExportId>,
    /// How often another revision has taken the place of one.
    revision: AtomicU64,
}

impl Published {
    pub(super) fn new(first: Arc<Surface>) -> Self {
        let handler = OnceLock::new();
        if let Some(found) = HANDLE_MESSAGE.find(&first) {
            // Set once, here.
            let _ = handler.set(found);
        }
        Self {
            first,
            newer: ArcSwapOption::empty(),
            handler,
            revision: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Arc<Surface> {
        self.newer
            .load_full()
            .unwrap_or_else(|| Arc::clone(&self.first))
    }

    pub(super) fn first(&self) -> &Arc<Surface> {
        &self.first
    }

    pub(super) fn publish(&self, surface: &Arc<Surface>) {
        if let Some(found) = HANDLE_MESSAGE.find(surface) {
            // It may have been there before, with the same number.
            let _ = self.handler.set(found);
        }
        self.newer.store(Some(Arc::clone(surface)));
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(super) fn handler(&self) -> Option<ExportId> {
        self.handler.get().copied()
    }
}
