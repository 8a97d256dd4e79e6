//! The choke point: may this guest do that?
//!
//! Every host function that does something asks [`Gate::check`] first, linked imports and WASI's entry points
//! included, and acts on its [`Decision`]; what WASI hands out that does nothing by itself (a network to name, terminals
//! that are none, no directory) is not asked for. The gate knows who asks from its own fields, filled by the host
//! when the instance was made: a guest cannot name itself. An allowed access costs one bit test and one
//! counter; it allocates only to deny, or where allowed uses are audited too. Of each kind the first denial of each of
//! [`TOLD_MAX`] things is recorded at once; repeats, and what is beyond, are counted and recorded when the instance ends,
//! so that a guest can neither flood the audit log by asking again nor hide one thing behind another.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::audit::{Audit, AuditAction, AuditEvent};
use crate::grants::Grants;
use crate::messaging::{ConfigReach, MessagingManifest, SpawnManifest, TopicPattern};
use crate::surface::ImportId;

/// One thing a guest is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Write a line of this many bytes to the log.
    Log {
        /// Length of the message.
        bytes: usize,
    },
    /// Open standard input.
    Stdin,
    /// Open standard output.
    Stdout,
    /// Open standard error.
    Stderr,
    /// Read the environment.
    Environment,
    /// Read the arguments.
    Arguments,
    /// Read a clock, or wait for a time.
    Clock,
    /// Get this many random bytes.
    Random {
        /// How many.
        bytes: u64,
    },
    /// List the directories it was given.
    Directories,
    /// Use the network.
    Network {
        /// What for: `tcp`, `udp`, or the name to resolve.
        what: &'a str,
    },
    /// End itself.
    Exit,
    /// Call a linked import.
    Link {
        /// Which.
        import: ImportId,
    },
    /// Ask the messaging plane for its own address, or answer a call.
    Message,
    /// Send a message.
    Send {
        /// To this address, as the guest wrote it.
        to: &'a str,
    },
    /// Publish.
    Publish {
        /// Under this topic.
        topic: &'a str,
    },
    /// Subscribe.
    Subscribe {
        /// To this pattern.
        pattern: &'a TopicPattern,
    },
    /// Set a timer, or take one back.
    Timer,
    /// Start an actor of its own.
    Spawn {
        /// Of this component, as the guest wrote it.
        component: &'a str,
    },
    /// Ask for its own children, or stop one.
    Children,
    /// Read a value of the configuration.
    ConfigGet {
        /// Of this key, as the guest wrote it.
        key: &'a str,
    },
    /// Read whatever it may of the configuration.
    ConfigList,
}

/// The kinds of [`Access`], for grants, counters and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[repr(u8)]
pub enum AccessKind {
    /// [`Access::Log`].
    Log,
    /// [`Access::Stdin`].
    Stdin,
    /// [`Access::Stdout`].
    Stdout,
    /// [`Access::Stderr`].
    Stderr,
    /// [`Access::Clock`].
    Clock,
    /// [`Access::Random`].
    Random,
    /// [`Access::Arguments`].
    Arguments,
    /// [`Access::Environment`].
    Environment,
    /// [`Access::Directories`].
    Directories,
    /// [`Access::Network`].
    Network,
    /// [`Access::Exit`].
    Exit,
    /// [`Access::Link`].
    Link,
    /// [`Access::Message`].
    Message,
    /// [`Access::Send`].
    Send,
    /// [`Access::Publish`].
    Publish,
    /// [`Access::Subscribe`].
    Subscribe,
    /// [`Access::Timer`].
    Timer,
    /// [`Access::Spawn`] and [`Access::Children`].
    Spawn,
    /// [`Access::ConfigGet`] and [`Access::ConfigList`].
    Config,
}

const KINDS: usize = AccessKind::ALL.len();

impl AccessKind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::Log,
        Self::Stdin,
        Self::Stdout,
        Self::Stderr,
        Self::Clock,
        Self::Random,
        Self::Arguments,
        Self::Environment,
        Self::Directories,
        Self::Network,
        Self::Exit,
        Self::Link,
        Self::Message,
        Self::Send,
        Self::Publish,
        Self::Subscribe,
        Self::Timer,
        Self::Spawn,
        Self::Config,
    ];

    /// Returns the kind's name in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Arguments => "arguments",
            Self::Environment => "environment",
            Self::Directories => "directories",
            Self::Network => "network",
            Self::Exit => "exit",
            Self::Link => "link",
            Self::Message => "message",
            Self::Send => "send",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Timer => "timer",
            Self::Spawn => "spawn",
            Self::Config => "config",
        }
    }

    /// Returns the key of the `[grants]` table that grants it, if one does.
    #[must_use]
    pub const fn grant_name(self) -> Option<&'static str> {
        match self {
            Self::Log => Some("log"),
            Self::Stdout | Self::Stderr => Some("stdio"),
            Self::Clock => Some("clocks"),
            Self::Random => Some("random"),
            Self::Arguments => Some("args"),
            Self::Environment => Some("env"),
            Self::Message | Self::Send | Self::Publish | Self::Subscribe | Self::Timer => {
                Some("messaging")
            }
            Self::Spawn => Some("spawn"),
            Self::Config => Some("config"),
            Self::Stdin | Self::Directories | Self::Network | Self::Exit | Self::Link => None,
        }
    }

    /// What an operator has to write, and where, to grant it to this component.
    fn remedy(self, component: &str) -> String {
        let table = format!("`[components.{component}.grants]`");
        match self {
            Self::Arguments => format!("add `args = [...]` to {table}"),
            Self::Environment => format!("add `env = {{ NAME = \"value\" }}` to {table}"),
            Self::Message => format!("add `messaging = {{}}` to {table}"),
            Self::Send => format!("add the address to `messaging.send` in {table}"),
            Self::Publish => format!("add the topic to `messaging.publish` in {table}"),
            Self::Subscribe => format!("add the pattern to `messaging.subscribe` in {table}"),
            Self::Timer => format!("add `timers = true` to `messaging` in {table}"),
            Self::Spawn => {
                format!("add `spawn = {{ components = [...] }}` with the component to {table}")
            }
            Self::Config => format!("add the key, or a pattern of it, to `config` in {table}"),
            Self::Link => "link the import to an actor that exports it".to_owned(),
            kind => match kind.grant_name() {
                Some(name) => format!("add `{name} = true` to {table}"),
                None => format!(
                    "nothing can be added: `{}` cannot be granted yet",
                    kind.as_str()
                ),
            },
        }
    }

    const fn bit(self) -> u32 {
        1 << self.index()
    }

    const fn index(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Access<'_> {
    /// Returns the kind of the access.
    #[must_use]
    pub const fn kind(self) -> AccessKind {
        match self {
            Self::Log { .. } => AccessKind::Log,
            Self::Stdin => AccessKind::Stdin,
            Self::Stdout => AccessKind::Stdout,
            Self::Stderr => AccessKind::Stderr,
            Self::Environment => AccessKind::Environment,
            Self::Arguments => AccessKind::Arguments,
            Self::Clock => AccessKind::Clock,
            Self::Random { .. } => AccessKind::Random,
            Self::Directories => AccessKind::Directories,
            Self::Network { .. } => AccessKind::Network,
            Self::Exit => AccessKind::Exit,
            Self::Link { .. } => AccessKind::Link,
            Self::Message => AccessKind::Message,
            Self::Send { .. } => AccessKind::Send,
            Self::Publish { .. } => AccessKind::Publish,
            Self::Subscribe { .. } => AccessKind::Subscribe,
            Self::Timer => AccessKind::Timer,
            Self::Spawn { .. } | Self::Children => AccessKind::Spawn,
            Self::ConfigGet { .. } | Self::ConfigList => AccessKind::Config,
        }
    }

    fn detail(self) -> Option<String> {
        match self {
            Self::Log { bytes } => Some(format!("{bytes} bytes")),
            Self::Random { bytes } => Some(format!("{bytes} bytes")),
            other => other.what(),
        }
    }

    /// What is accessed, of a kind of which there are several things.
    fn what(self) -> Option<String> {
        match self {
            Self::Network { what: name }
            | Self::Send { to: name }
            | Self::Publish { topic: name }
            | Self::Spawn { component: name }
            | Self::ConfigGet { key: name } => Some(crate::printable::printable(name, 256)),
            Self::Subscribe { pattern } => Some(pattern.to_string()),
            Self::Link { import } => Some(format!("{import:?}")),
            _ => None,
        }
    }
}

/// Things of one kind whose denial to one instance is recorded each by itself.
const TOLD_MAX: usize = 16;

/// A set of access kinds: one word, so that a check is one bit test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessSet(u32);

impl AccessSet {
    pub(crate) fn insert(&mut self, kind: AccessKind) {
        self.0 |= kind.bit();
    }

    pub(crate) const fn contains(self, kind: AccessKind) -> bool {
        self.0 & kind.bit() != 0
    }

    #[must_use]
    pub(crate) fn with(mut self, kind: AccessKind) -> Self {
        self.insert(kind);
        self
    }
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an access that is not acted on was not checked"]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// Do not.
    Deny {
        /// What to add, and to which table, so that it is allowed.
        add: String,
    },
}

/// Who an instance is: given by the host when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceIdentity {
    /// The address it answers at.
    pub address: Arc<str>,
    /// How many instances there were at this address before it.
    pub generation: u64,
}

/// The gate of one instance.
pub struct Gate {
    component: Arc<str>,
    identity: InstanceIdentity,
    allowed: AccessSet,
    messaging: Option<Arc<MessagingManifest>>,
    spawn: Option<Arc<SpawnManifest>>,
    config: Arc<[ConfigReach]>,
    record_uses: bool,
    uses: [u32; KINDS],
    denials: [u32; KINDS],
    /// Whose denials have been recorded, by kind and what it was.
    told: Vec<(AccessKind, Option<String>)>,
    audit: Audit,
}

impl Gate {
    /// Makes the gate of one instance of the named component.
    #[must_use]
    pub fn new(
        component: Arc<str>,
        identity: InstanceIdentity,
        grants: &Grants,
        audit: Audit,
    ) -> Self {
        Self {
            component,
            identity,
            // Ending itself harms nobody, and a link exists only because the operator made it; both pass
            // here all the same, so that they are counted and can be denied later.
            allowed: grants
                .allowed()
                .with(AccessKind::Exit)
                .with(AccessKind::Link),
            messaging: grants.messaging().cloned(),
            spawn: grants.spawn().cloned(),
            config: Arc::clone(grants.config_shared()),
            record_uses: audit.records_uses(),
            uses: [0; KINDS],
            denials: [0; KINDS],
            told: Vec::new(),
            audit,
        }
    }

    /// Decides one access, counts it, and records it where it must be recorded.
    #[inline]
    pub fn check(&mut self, access: Access<'_>) -> Decision {
        let kind = access.kind();
        if !self.allowed.contains(kind) || !self.reaches(access) {
            return self.deny(access);
        }
        if let Some(uses) = self.uses.get_mut(usize::from(kind.index())) {
            *uses = uses.saturating_add(1);
        }
        if self.record_uses {
            let event = self.event(
                AuditAction::Used {
                    access: kind,
                    detail: access.detail(),
                },
                1,
            );
            self.audit.record(event);
        }
        Decision::Allow
    }

    /// Whether the name in it, if it has one, is among those granted.
    #[inline]
    fn reaches(&self, access: Access<'_>) -> bool {
        match access {
            Access::Send { to } => {
                self.grants_name(|m| m.send.iter().any(|reach| reach.matches(to)))
            }
            Access::Publish { topic } => {
                self.grants_name(|m| m.publish.iter().any(|granted| granted.matches(topic)))
            }
            Access::Subscribe { pattern } => {
                self.grants_name(|m| m.subscribe.iter().any(|granted| granted.covers(pattern)))
            }
            Access::Spawn { component } => {
                let granted = self.spawn.as_deref().map(|spawn| &spawn.components);
                granted.is_some_and(|granted| granted.iter().any(|one| one == component))
            }
            Access::ConfigGet { key } => self.reads(key),
            _ => true,
        }
    }

    /// Whether the grants reach this key of the configuration.
    pub(crate) fn reads(&self, key: &str) -> bool {
        self.config.iter().any(|granted| granted.matches(key))
    }

    fn grants_name(&self, found: impl FnOnce(&MessagingManifest) -> bool) -> bool {
        self.messaging.as_deref().is_some_and(found)
    }

    /// Returns who the instance is.
    #[must_use]
    pub fn identity(&self) -> &InstanceIdentity {
        &self.identity
    }

    /// Returns the component's name.
    #[must_use]
    pub fn component(&self) -> &Arc<str> {
        &self.component
    }

    /// Returns how often this kind of access was denied to this instance.
    #[must_use]
    pub fn denials(&self, kind: AccessKind) -> u32 {
        self.denials
            .get(usize::from(kind.index()))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    pub(crate) fn event(&self, action: AuditAction, times: u64) -> AuditEvent {
        AuditEvent::now(Arc::clone(&self.component), &self.identity, action, times)
    }

    #[cold]
    fn deny(&mut self, access: Access<'_>) -> Decision {
        let kind = access.kind();
        let add = kind.remedy(&self.component);
        if let Some(denials) = self.denials.get_mut(usize::from(kind.index())) {
            *denials = denials.saturating_add(1);
        }
        let what = access.what();
        if self.is_to_be_told(kind, what.as_deref()) {
            let action = AuditAction::Denied {
                access: kind,
                detail: what.clone().or_else(|| access.detail()),
                add: add.clone(),
            };
            self.audit.record(self.event(action, 1));
            self.told.push((kind, what));
        }
        Decision::Deny { add }
    }

    /// Whether a denial is the first of this thing, and one of the first things of its kind.
    fn is_to_be_told(&self, kind: AccessKind, what: Option<&str>) -> bool {
        let told = self.told.iter().filter(|(one, _)| *one == kind);
        told.clone().count() < TOLD_MAX && !told.clone().any(|(_, one)| one.as_deref() == what)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let uses: u64 = self.uses.iter().copied().map(u64::from).sum();
        self.audit.add_uses(uses);
        for (kind, denials) in AccessKind::ALL.into_iter().zip(self.denials) {
            let told = self.told.iter().filter(|(one, _)| *one == kind).count();
            let untold = u64::from(denials).saturating_sub(u64::try_from(told).unwrap_or(u64::MAX));
            if untold > 0 {
                let add = kind.remedy(&self.component);
                let action = AuditAction::Denied {
                    access: kind,
                    detail: None,
                    add,
                };
                self.audit.record(self.event(action, untold));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditConfig;
    use crate::grants::{CapabilityManifest, Policy, grant};

    #[test]
    fn a_denial_of_one_thing_hides_none_of_another() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let mut gate = gate(&CapabilityManifest::default(), &audit);
        let mut ask =
            |key: &str| assert_ne!(gate.check(Access::ConfigGet { key }), Decision::Allow);
        ask("a");
        assert_eq!(audit.counts().denials, 1);
        ask("b");
        (0..1_000).for_each(|_| ask("a"));
        assert_eq!(audit.counts().denials, 2);
        (0..100).for_each(|n| ask(&format!("key-{n}")));
        assert_eq!(audit.counts().denials, 16);
        for bytes in [1, 2, 3] {
            assert_ne!(gate.check(Access::Log { bytes }), Decision::Allow);
        }
        assert_eq!(audit.counts().denials, 17);
        drop(gate);
        assert_eq!(audit.counts().denials, 2 + 1_000 + 100 + 3);
    }

    fn gate(asked: &CapabilityManifest, audit: &Audit) -> Gate {
        let grants = grant(asked, &Policy::permissive()).unwrap();
        let identity = InstanceIdentity {
            address: "app/parse".into(),
            generation: 3,
        };
        Gate::new("parse".into(), identity, &grants, audit.clone())
    }

    #[test]
    fn nothing_passes_without_a_grant_but_exit_and_links() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let mut gate = gate(&CapabilityManifest::default(), &audit);
        for access in [
            Access::Log { bytes: 1 },
            Access::Stdin,
            Access::Stdout,
            Access::Stderr,
            Access::Environment,
            Access::Arguments,
            Access::Clock,
            Access::Random { bytes: 1 },
            Access::Directories,
            Access::Network { what: "tcp" },
            Access::Message,
            Access::Send { to: "app/parse" },
            Access::Publish { topic: "t" },
            Access::Subscribe {
                pattern: &"t".parse().unwrap(),
            },
            Access::Timer,
            Access::Spawn { component: "parse" },
            Access::Children,
            Access::ConfigGet { key: "mode" },
            Access::ConfigList,
        ] {
            assert!(
                matches!(gate.check(access), Decision::Deny { .. }),
                "{access:?}"
            );
        }
        assert_eq!(gate.check(Access::Exit), Decision::Allow);
    }

    #[test]
    fn a_grant_of_messages_reaches_the_names_it_names() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let asked =
            r#"{"messaging": {"send": ["app/*"], "publish": ["a.*"], "subscribe": ["a.**"]}}"#;
        let mut gate = gate(&serde_json::from_str(asked).unwrap(), &audit);
        let pattern = |text: &str| text.parse::<TopicPattern>().unwrap();
        for (access, allowed) in [
            (Access::Message, true),
            (Access::Timer, false),
            (Access::Send { to: "app/parse" }, true),
            (Access::Send { to: "apple/parse" }, false),
            (Access::Send { to: "app/a/b" }, false),
            (Access::Publish { topic: "a/b" }, true),
            (Access::Publish { topic: "a/b/c" }, false),
            (
                Access::Subscribe {
                    pattern: &pattern("a/*/c"),
                },
                true,
            ),
            (
                Access::Subscribe {
                    pattern: &pattern("**"),
                },
                false,
            ),
        ] {
            let decision = gate.check(access);
            assert_eq!(decision == Decision::Allow, allowed, "{access:?}");
        }
        assert!(matches!(
            gate.check(Access::Send { to: "other" }),
            Decision::Deny { add } if add.contains("`messaging.send`") && add.contains("components.parse.grants")
        ));
    }

    #[test]
    fn a_grant_to_spawn_is_of_the_components_it_names() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let asked = r#"{"spawn": {"components": ["worker"]}}"#;
        let mut gate = gate(&serde_json::from_str(asked).unwrap(), &audit);
        let worker = Access::Spawn {
            component: "worker",
        };
        assert_eq!(gate.check(worker), Decision::Allow);
        assert_eq!(gate.check(Access::Children), Decision::Allow);
        assert!(matches!(
            gate.check(Access::Spawn { component: "work" }),
            Decision::Deny { add } if add.contains("`spawn = { components = [...] }`")
        ));
    }

    #[test]
    fn a_grant_of_keys_reaches_the_keys_it_names() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let asked = r#"{"config": ["mode", "db.*"]}"#;
        let mut gate = gate(&serde_json::from_str(asked).unwrap(), &audit);
        for (key, allowed) in [
            ("mode", true),
            ("db.host", true),
            ("db", false),
            ("db.tls.key", false),
            ("modem", false),
            ("", false),
        ] {
            let decision = gate.check(Access::ConfigGet { key });
            assert_eq!(decision == Decision::Allow, allowed, "{key}");
        }
        assert_eq!(gate.check(Access::ConfigList), Decision::Allow);
        assert!(matches!(
            gate.check(Access::ConfigGet { key: "other" }),
            Decision::Deny { add } if add.contains("`config` in `[components.parse.grants]`")
        ));
    }

    #[test]
    fn a_denial_says_what_to_add_where() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let mut gate = gate(&CapabilityManifest::default(), &audit);
        let Decision::Deny { add } = gate.check(Access::Random { bytes: 8 }) else {
            panic!("allowed");
        };
        assert_eq!(add, "add `random = true` to `[components.parse.grants]`");
    }

    #[test]
    fn repeats_are_counted_and_told_at_the_end() {
        let audit = Audit::start(AuditConfig::default()).unwrap();
        let asked = CapabilityManifest {
            clocks: true,
            ..CapabilityManifest::default()
        };
        let mut gate = gate(&asked, &audit);
        for _ in 0..1_000 {
            assert!(matches!(gate.check(Access::Stdin), Decision::Deny { .. }));
            assert_eq!(gate.check(Access::Clock), Decision::Allow);
        }
        assert_eq!(gate.denials(AccessKind::Stdin), 1_000);
        assert_eq!(audit.counts().denials, 1);
        drop(gate);
        assert_eq!(audit.counts().denials, 1_000);
        assert_eq!(audit.counts().uses, 1_000);
    }
}
