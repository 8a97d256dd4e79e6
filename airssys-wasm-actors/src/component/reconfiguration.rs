//! How a living instance is told that its configuration has changed.
//!
//! Owns the one call of `airssys:config/config-changed`: the snapshot is exchanged first, and is the old one again whatever
//! else than `ok` comes of the call. What the guest says is read by operators, so the values it was given are left out of it.

use std::sync::Arc;

use airssys_wasm::{CallOutcome, Configuration, IntoArgs, Value};

use super::{LiveComponent, died};
use crate::crashes::without;
use crate::envelope::CallContext;
use crate::exit::{ExitReason, bounded};
use crate::supervisor::{ChildSpec, PreparedActor};

/// What came of telling it: what is left of it, and why it does not have the new configuration.
pub(crate) type Told = (Result<LiveComponent, ExitReason>, Result<(), String>);

impl LiveComponent {
    /// Gives it another configuration and tells it which keys have changed.
    pub(crate) async fn reconfigure(mut self, config: &Arc<Configuration>) -> Told {
        let before = self.configure(config);
        let changed = before.changed(config);
        if changed.is_empty() {
            return (Ok(self), Ok(()));
        }
        let Some(hook) = self.about.hooks.config_changed else {
            self.configure(&before);
            let why = "it does not export `airssys:config/config-changed`".to_owned();
            return (Ok(self), Err(why));
        };
        self.begin(CallContext::default());
        let keys = changed.into_iter().map(Value::from).collect();
        let args = (Value::List(keys),).into_args();
        let refused = match self.instance.call(hook, args).await {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                match results.into_values().next() {
                    Some(Value::Result(Ok(_))) => return (Ok(self), Ok(())),
                    Some(Value::Result(Err(Some(text)))) => match *text {
                        Value::String(text) => format!("`on-config-changed` refused: {text}"),
                        _ => "`on-config-changed` answered in another type".to_owned(),
                    },
                    _ => "`on-config-changed` answered in another type".to_owned(),
                }
            }
            CallOutcome::Refused(instance, why) => {
                self.instance = instance;
                format!("`on-config-changed` has another signature: {why}")
            }
            CallOutcome::Died(fault) => {
                let reason = died(&self.about.slot, fault);
                let why = format!("it died in `on-config-changed`: {reason}");
                let why = hidden(&self.about.child.spec, &why, [&*before, &**config]);
                return (Err(reason), Err(why));
            }
        };
        self.configure(&before);
        let why = hidden(&self.about.child.spec, &refused, [&*before, &**config]);
        (Ok(self), Err(why))
    }

    /// Exchanges what its guest reads, and says nothing to it.
    pub(crate) fn configure(&mut self, config: &Arc<Configuration>) -> Arc<Configuration> {
        self.instance.configure(Arc::clone(config))
    }

    /// What its guest reads.
    pub(crate) fn configuration(&self) -> &Arc<Configuration> {
        self.instance.configuration()
    }

    /// What it is made of again, if it gives up its instance.
    pub(crate) fn follow(&mut self, child: &Arc<PreparedActor>) {
        self.about.child = Arc::clone(child);
    }
}

/// The text on one bounded line, without the values that it was given, before and now, which can be secrets.
fn hidden(spec: &ChildSpec, text: &str, configs: [&Configuration; 2]) -> String {
    let config = configs.into_iter().flat_map(Configuration::iter);
    let values = config.map(|(_, value)| value).chain(spec.values());
    without(bounded(text).to_string(), values)
}
