//! Candidates on their way out.
//!
//! Owns who of them is not gone yet: a deployment ends as soon as the old or the new revision serves alone, while its
//! candidate still finishes what it has accepted. The next candidate of the same component has the same address, and comes
//! when the one before is gone.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::address::ActorAddress;

/// Those of one application. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Endings(Arc<Mutex<HashMap<ActorAddress, watch::Receiver<()>>>>);

impl Endings {
    /// Lets `ending` go on by itself; whoever has the address is gone when it is over.
    pub(super) fn begin(
        &self,
        address: ActorAddress,
        ending: impl Future<Output = ()> + Send + 'static,
    ) {
        let (goes_on, over) = watch::channel(());
        self.0.lock().insert(address.clone(), over);
        let all = self.clone();
        tokio::spawn(async move {
            ending.await;
            all.0.lock().remove(&address);
            drop(goes_on);
        });
    }

    /// Waits until nobody who is on the way out has this address.
    pub(super) async fn over(&self, address: &ActorAddress) {
        let ending = self.0.lock().get(address).cloned();
        if let Some(mut ending) = ending {
            // Nothing is ever sent: an error is the end.
            let _ = ending.changed().await;
        }
    }
}
