//! Supervisors written down as a tree, with names below names.
//!
//! Owns [`SupervisorBuilder`]: what it makes is a [`SupervisorSpec`], whose fields can all be set without it. A name
//! that is no address is remembered and told by `build`, so that the chain is not broken by it.

use std::time::Duration;

use airssys_wasm::InstanceTemplate;

use super::child::ChildSpec;
use super::spec::{AutoShutdown, Backoff, Strategy, SupervisorSpec};
use crate::address::{ActorAddress, AddressError};
use crate::health::HealthCheck;
use crate::link::Link;
use crate::mailbox::MailboxConfig;
use crate::native::Actor;

/// Builds a [`SupervisorSpec`].
///
/// ```
/// # use airssys_wasm::{Surface, WitError};
/// # use airssys_wasm_actors::{Actor, Context, Message};
/// use std::time::Duration;
///
/// use airssys_wasm_actors::{OneForAll, RestartPolicy, SupervisorBuilder};
/// # struct Clock;
/// # impl Actor for Clock {
/// #     type Error = std::io::Error;
/// #     fn surface() -> Result<Surface, WitError> { Surface::from_wit("package a:b; interface c { d: func(); }") }
/// #     async fn handle_message(&mut self, _: &mut Message, _: &mut Context) -> Result<(), Self::Error> { Ok(()) }
/// # }
///
/// let shop = SupervisorBuilder::new("shop")
///     .intensity(3, Duration::from_secs(5))
///     .child("clock").factory(|| Clock).shutdown_graceful(Duration::from_secs(1))
///     .supervisor("orders", |orders| orders
///         .strategy(OneForAll)
///         .child("book").factory(|| Clock).restart_transient()
///         .child("till").factory(|| Clock))
///     .build()?;
/// let orders = shop.children[1].as_supervisor().unwrap();
/// assert_eq!(orders.children[0].address.as_str(), "shop/orders/book");
/// assert_eq!(orders.children[0].restart, RestartPolicy::Transient);
/// # Ok::<(), airssys_wasm_actors::AddressError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SupervisorBuilder(Result<SupervisorSpec, AddressError>);

/// A child of which only the name is known.
#[derive(Debug, Clone)]
#[must_use]
pub struct NamedChild {
    above: SupervisorBuilder,
    name: String,
}

/// A child: what follows is said of it, until the next child.
#[derive(Clone)]
#[must_use]
pub struct ChildBuilder {
    above: SupervisorBuilder,
    /// `None` after a name that is no address, which `above` knows.
    child: Option<ChildSpec>,
}

impl SupervisorBuilder {
    /// One for one, with OTP's default intensity and no children.
    pub fn new(address: &str) -> Self {
        Self(address.parse().map(SupervisorSpec::new))
    }

    /// Which children are restarted together.
    pub fn strategy(self, strategy: Strategy) -> Self {
        self.with(|spec| spec.strategy(strategy))
    }

    /// How many restarts, of all its children, it allows in a stretch of time before it gives up.
    pub fn intensity(self, max: u32, within: Duration) -> Self {
        self.with(|spec| spec.intensity(max, within))
    }

    /// Whether it ends with its significant children.
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Self {
        self.with(|spec| spec.auto_shutdown(auto_shutdown))
    }

    /// How often one child may be the reason for it to give up.
    pub fn quarantine_after(self, times: u32) -> Self {
        self.with(|spec| SupervisorSpec {
            quarantine_after: Some(times),
            ..spec
        })
    }

    /// The next child, under this supervisor's name.
    pub fn child(self, name: &str) -> NamedChild {
        NamedChild {
            above: self,
            name: name.to_owned(),
        }
    }

    /// The next child is a supervisor, under this one's name; `make` adds to it.
    pub fn supervisor<B: Into<Self>>(
        self,
        name: &str,
        make: impl FnOnce(Self) -> B,
    ) -> ChildBuilder {
        let below = |address| {
            let below = Self(Ok(SupervisorSpec::new(address)));
            make(below).into().0.map(ChildSpec::supervisor)
        };
        ChildBuilder::new(self, name, below)
    }

    /// The spec.
    ///
    /// # Errors
    /// [`AddressError`]: the first name that is no address.
    pub fn build(self) -> Result<SupervisorSpec, AddressError> {
        self.0
    }

    fn with(self, change: impl FnOnce(SupervisorSpec) -> SupervisorSpec) -> Self {
        Self(self.0.map(change))
    }
}

impl NamedChild {
    /// It is a native actor, made anew at each start.
    pub fn factory<A: Actor>(
        self,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> ChildBuilder {
        let make = |address| Ok(ChildSpec::native(address, factory));
        ChildBuilder::new(self.above, &self.name, make)
    }

    /// It is an instance of a component.
    pub fn component(self, template: InstanceTemplate) -> ChildBuilder {
        let make = |address| Ok(ChildSpec::component(address, template));
        ChildBuilder::new(self.above, &self.name, make)
    }
}

impl ChildBuilder {
    fn new(
        above: SupervisorBuilder,
        name: &str,
        make: impl FnOnce(ActorAddress) -> Result<ChildSpec, AddressError>,
    ) -> Self {
        match above.0 {
            Err(error) => Self {
                above: SupervisorBuilder(Err(error)),
                child: None,
            },
            Ok(spec) => match spec.address.join(name).and_then(make) {
                Ok(child) => Self {
                    above: SupervisorBuilder(Ok(spec)),
                    child: Some(child),
                },
                Err(error) => Self {
                    above: SupervisorBuilder(Err(error)),
                    child: None,
                },
            },
        }
    }

    /// It is started again after every exit, which is the default.
    pub fn restart_permanent(self) -> Self {
        self.with(ChildSpec::restart_permanent)
    }

    /// It is started again after abnormal exits.
    pub fn restart_transient(self) -> Self {
        self.with(ChildSpec::restart_transient)
    }

    /// It is never started again.
    pub fn restart_temporary(self) -> Self {
        self.with(ChildSpec::restart_temporary)
    }

    /// It has so long to end when it is asked; then it is killed. The default is 5 s.
    pub fn shutdown_graceful(self, time: Duration) -> Self {
        self.with(|child| child.shutdown_graceful(time))
    }

    /// It is killed instead of asked.
    pub fn shutdown_brutal(self) -> Self {
        self.with(ChildSpec::shutdown_brutal)
    }

    /// It has as long to end as it takes, which is the default of a supervisor.
    pub fn shutdown_infinity(self) -> Self {
        self.with(ChildSpec::shutdown_infinity)
    }

    /// Its end by itself may end its supervisor.
    pub fn significant(self) -> Self {
        self.with(ChildSpec::significant)
    }

    /// Its restarts wait.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|child| child.backoff(backoff))
    }

    /// It is asked how it is.
    pub fn health(self, check: HealthCheck) -> Self {
        self.with(|child| child.health(check))
    }

    /// How long it may take to start.
    pub fn start_within(self, time: Duration) -> Self {
        self.with(|child| ChildSpec {
            start_within: time,
            ..child
        })
    }

    /// The limits of its mailbox.
    pub fn mailbox(self, mailbox: MailboxConfig) -> Self {
        self.with(|child| ChildSpec { mailbox, ..child })
    }

    /// How many of it drain its mailbox.
    pub fn replicas(self, replicas: u32) -> Self {
        self.with(|child| ChildSpec { replicas, ..child })
    }

    /// Adds a link to a component.
    pub fn link(self, link: Link) -> Self {
        self.with(|child| child.link(link))
    }

    /// The configuration given to a component's `init`.
    pub fn config(self, config: Vec<(String, String)>) -> Self {
        self.with(|child| child.config(config))
    }

    /// The next child.
    pub fn child(self, name: &str) -> NamedChild {
        self.done().child(name)
    }

    /// The next child is a supervisor.
    pub fn supervisor<B: Into<SupervisorBuilder>>(
        self,
        name: &str,
        make: impl FnOnce(SupervisorBuilder) -> B,
    ) -> Self {
        self.done().supervisor(name, make)
    }

    /// All has been said of it; what follows is of its supervisor again.
    pub fn done(self) -> SupervisorBuilder {
        match self.child {
            Some(child) => self.above.with(|spec| spec.with(child)),
            None => self.above,
        }
    }

    /// The spec of the supervisor.
    ///
    /// # Errors
    /// [`AddressError`]: the first name that is no address.
    pub fn build(self) -> Result<SupervisorSpec, AddressError> {
        self.done().build()
    }

    fn with(self, change: impl FnOnce(ChildSpec) -> ChildSpec) -> Self {
        Self {
            child: self.child.map(change),
            ..self
        }
    }
}

impl From<ChildBuilder> for SupervisorBuilder {
    fn from(child: ChildBuilder) -> Self {
        child.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_address_is_told_at_the_end() {
        let below = |name: &'static str| {
            SupervisorBuilder::new("top")
                .supervisor("below", move |below| below.supervisor(name, |one| one))
        };
        assert_eq!(below("one").build().unwrap().children.len(), 1);
        for built in [
            below("No"),
            SupervisorBuilder::new("No").supervisor("fine", |one| one),
            below("No")
                .supervisor("fine", |one| one)
                .restart_transient(),
        ] {
            let error = built.build().unwrap_err();
            assert!(error.to_string().contains("No"), "{error}");
        }
    }
}
