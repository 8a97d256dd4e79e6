//! What a component asks for, what the operator allows, and what it therefore gets.
//!
//! Three types for three stages: [`CapabilityManifest`] is asked, [`Policy`] is allowed, [`Grants`] is held.
//! [`grant`] is the pure function between them; it refuses with the whole list, so that an operator edits a
//! policy once. Nothing is granted by default. Whether a *single* host call is allowed is `gate.rs`'s answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::configuration::ConfigPolicy;
use crate::gate::{AccessKind, AccessSet};
use crate::messaging::{ConfigReach, MessagingManifest, MessagingPolicy, SpawnManifest};

/// The `[grants]` table of a component: what it asks for. Everything is off unless written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CapabilityManifest {
    /// Write to the host's log through `airssys:actor/log`.
    pub log: bool,
    /// Write lines to stdout and stderr; they go to the host's log. Standard input stays closed.
    pub stdio: bool,
    /// Read the wall clock and the monotonic clock, and wait for a time.
    pub clocks: bool,
    /// Get random bytes.
    pub random: bool,
    /// The arguments the component sees; it never sees the host's own.
    pub args: Vec<String>,
    /// The environment the component sees; nothing of the host's own environment is in it.
    pub env: BTreeMap<String, String>,
    /// Use the messaging plane, `airssys:messaging`.
    pub messaging: Option<MessagingManifest>,
    /// Start actors of other components, by `airssys:actor/spawn`.
    pub spawn: Option<SpawnManifest>,
    /// The keys of its configuration that it may read while it runs, by `airssys:config` and `wasi:config`.
    pub config: Vec<ConfigReach>,
}

/// Which environment variables a policy lets a manifest set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvPolicy {
    /// None.
    #[default]
    None,
    /// These names only.
    Names(BTreeSet<String>),
    /// Any name.
    Any,
}

impl EnvPolicy {
    /// Returns whether it allows this name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Names(names) => names.contains(name),
            Self::Any => true,
        }
    }
}

/// What the operator allows components to be granted. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// Allows `log`.
    pub log: bool,
    /// Allows `stdio`.
    pub stdio: bool,
    /// Allows `clocks`.
    pub clocks: bool,
    /// Allows `random`.
    pub random: bool,
    /// Allows `args`.
    pub args: bool,
    /// Allows `env`.
    pub env: EnvPolicy,
    /// Allows `messaging`.
    pub messaging: MessagingPolicy,
    /// Allows `spawn`.
    pub spawn: bool,
    /// Allows `config`.
    pub config: ConfigPolicy,
    /// Which environment variables of the host's own a configuration may take values from, by `config-env`.
    pub config_env: EnvPolicy,
}

impl Policy {
    /// Returns the policy that allows whatever a manifest asks: for development on one's own machine.
    #[must_use]
    pub fn permissive() -> Self {
        Self {
            log: true,
            stdio: true,
            clocks: true,
            random: true,
            args: true,
            env: EnvPolicy::Any,
            messaging: MessagingPolicy::Any,
            spawn: true,
            config: ConfigPolicy::Any,
            config_env: EnvPolicy::Any,
        }
    }
}

/// What a component may do: the result of [`grant`]. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    allowed: AccessSet,
    args: Vec<String>,
    env: Vec<(String, String)>,
    messaging: Option<Arc<MessagingManifest>>,
    spawn: Option<Arc<SpawnManifest>>,
    config: Arc<[ConfigReach]>,
}

impl Grants {
    /// Returns the grants of a component that asked for nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns whether this kind of access is granted.
    #[must_use]
    pub fn allows(&self, kind: AccessKind) -> bool {
        self.allowed.contains(kind)
    }

    /// Returns the names of what is granted, as a manifest writes them.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = AccessKind::ALL
            .into_iter()
            .filter(|kind| self.allows(*kind))
            .filter_map(AccessKind::grant_name)
            .collect();
        names.dedup();
        names
    }

    pub(crate) fn allowed(&self) -> AccessSet {
        self.allowed
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.args
    }

    pub(crate) fn messaging(&self) -> Option<&Arc<MessagingManifest>> {
        self.messaging.as_ref()
    }

    /// Returns what it may spawn.
    #[must_use]
    pub fn spawn(&self) -> Option<&Arc<SpawnManifest>> {
        self.spawn.as_ref()
    }

    /// Returns the patterns of the configuration keys that it may read.
    #[must_use]
    pub fn config(&self) -> &[ConfigReach] {
        &self.config
    }

    pub(crate) fn config_shared(&self) -> &Arc<[ConfigReach]> {
        &self.config
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.env
    }
}

/// One thing a manifest asked for that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, as the manifest writes it.
    pub asked: String,
    /// What to add to the policy to allow it.
    pub add: String,
}

/// Everything a manifest asked for that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct GrantRefused {
    /// The refusals, in the manifest's order.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for GrantRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the policy does not allow what the component asks for:")?;
        for refusal in &self.refusals {
            write!(
                f,
                "\n  {} (to allow it, add {} to the policy)",
                refusal.asked, refusal.add
            )?;
        }
        Ok(())
    }
}

/// Grants what is asked and allowed; all of it, or nothing.
///
/// # Errors
/// Lists everything that is asked and not allowed. A component that runs without something it asked for would
/// fail later and elsewhere.
pub fn grant(asked: &CapabilityManifest, policy: &Policy) -> Result<Grants, GrantRefused> {
    let mut refusals = Vec::new();
    let mut allowed = AccessSet::default();
    let switches = [
        ("log", asked.log, policy.log, &[AccessKind::Log][..]),
        (
            "stdio",
            asked.stdio,
            policy.stdio,
            &[AccessKind::Stdout, AccessKind::Stderr][..],
        ),
        (
            "clocks",
            asked.clocks,
            policy.clocks,
            &[AccessKind::Clock][..],
        ),
        (
            "random",
            asked.random,
            policy.random,
            &[AccessKind::Random][..],
        ),
        (
            "args",
            !asked.args.is_empty(),
            policy.args,
            &[AccessKind::Arguments][..],
        ),
        (
            "spawn",
            asked.spawn.is_some(),
            policy.spawn,
            &[AccessKind::Spawn][..],
        ),
    ];
    for (name, wanted, permitted, kinds) in switches {
        match (wanted, permitted) {
            (false, _) => {}
            (true, true) => kinds.iter().for_each(|kind| allowed.insert(*kind)),
            (true, false) => {
                refusals.push(Refusal {
                    asked: name.to_owned(),
                    add: format!("`{name} = true`"),
                });
            }
        }
    }
    refusals.extend(refused_names(asked, policy));
    if !refusals.is_empty() {
        return Err(GrantRefused { refusals });
    }
    let messaging = asked.messaging.as_ref();
    if let Some(messaging) = messaging {
        // Which names each of these reaches is the gate's to say.
        for kind in [
            AccessKind::Message,
            AccessKind::Send,
            AccessKind::Publish,
            AccessKind::Subscribe,
        ] {
            allowed.insert(kind);
        }
        if messaging.timers {
            allowed.insert(AccessKind::Timer);
        }
    }
    if !asked.config.is_empty() {
        allowed.insert(AccessKind::Config);
    }
    if !asked.env.is_empty() {
        allowed.insert(AccessKind::Environment);
    }
    Ok(Grants {
        allowed,
        args: asked.args.clone(),
        env: asked
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        messaging: messaging.cloned().map(Arc::new),
        spawn: asked.spawn.clone().map(Arc::new),
        config: asked.config.clone().into(),
    })
}

/// What of the names and patterns of a manifest is not allowed.
fn refused_names(asked: &CapabilityManifest, policy: &Policy) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for name in asked.env.keys() {
        if !policy.env.allows(name) {
            let name = crate::printable::printable(name, 128);
            refusals.push(Refusal {
                asked: format!("env.{name}"),
                add: format!("{name:?} to `env.names`"),
            });
        }
    }
    for pattern in &asked.config {
        if !policy.config.allows(pattern) {
            refusals.push(Refusal {
                asked: format!("config {pattern}"),
                add: format!("\"{pattern}\" to `config.within`"),
            });
        }
    }
    let messaging = asked.messaging.as_ref();
    let refused = messaging.map(|asked| policy.messaging.refuses(asked));
    refusals.extend(
        refused
            .into_iter()
            .flatten()
            .map(|(asked, add)| Refusal { asked, add }),
    );
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> CapabilityManifest {
        CapabilityManifest {
            log: true,
            stdio: true,
            clocks: true,
            random: true,
            args: vec!["--fast".to_owned()],
            env: BTreeMap::from([("MODE".to_owned(), "test".to_owned())]),
            messaging: Some(MessagingManifest {
                timers: true,
                ..MessagingManifest::default()
            }),
            spawn: Some(SpawnManifest {
                components: vec!["worker".to_owned()],
                children: 1,
                depth: 1,
            }),
            config: vec!["db.*".parse().unwrap()],
        }
    }

    #[test]
    fn nothing_asked_is_nothing_granted_even_by_a_permissive_policy() {
        let grants = grant(&CapabilityManifest::default(), &Policy::permissive()).unwrap();
        assert_eq!(grants, Grants::none());
        assert!(AccessKind::ALL.into_iter().all(|kind| !grants.allows(kind)));
    }

    #[test]
    fn the_default_policy_refuses_everything_with_the_whole_list() {
        let refused = grant(&everything(), &Policy::default()).unwrap_err();
        let asked: Vec<_> = refused
            .refusals
            .iter()
            .map(|refusal| refusal.asked.as_str())
            .collect();
        assert_eq!(
            asked,
            [
                "log",
                "stdio",
                "clocks",
                "random",
                "args",
                "spawn",
                "env.MODE",
                "config db.*",
                "messaging"
            ]
        );
        assert!(
            refused
                .to_string()
                .contains("add `random = true` to the policy")
        );
    }

    #[test]
    fn what_is_asked_and_allowed_is_granted() {
        let grants = grant(&everything(), &Policy::permissive()).unwrap();
        assert_eq!(
            grants.names(),
            [
                "log",
                "stdio",
                "clocks",
                "random",
                "args",
                "env",
                "messaging",
                "spawn",
                "config"
            ]
        );
        assert!(
            !grants.allows(AccessKind::Stdin),
            "standard input cannot be granted"
        );
        assert!(!grants.allows(AccessKind::Network));
        assert_eq!(grants.env(), [("MODE".to_owned(), "test".to_owned())]);
    }

    #[test]
    fn environment_names_are_matched_whole() {
        let names = EnvPolicy::Names(BTreeSet::from(["MODE".to_owned()]));
        let policy = Policy {
            env: names,
            ..Policy::default()
        };
        let asks = |name: &str| CapabilityManifest {
            env: BTreeMap::from([(name.to_owned(), String::new())]),
            ..CapabilityManifest::default()
        };
        assert!(grant(&asks("MODE"), &policy).is_ok());
        assert!(grant(&asks("MODEL"), &policy).is_err());
        assert!(grant(&asks("mode"), &policy).is_err());
    }

    #[test]
    fn patterns_of_names_are_granted_where_the_policys_cover_them() {
        let messaging = |json: &str| serde_json::from_str::<MessagingManifest>(json).unwrap();
        let policy = Policy {
            messaging: MessagingPolicy::Within(messaging(
                r#"{"send": ["app/*"], "publish": ["a.**"], "subscribe": ["a.*"]}"#,
            )),
            ..Policy::default()
        };
        let asks = |json: &str| CapabilityManifest {
            messaging: Some(messaging(json)),
            ..CapabilityManifest::default()
        };
        let granted = r#"{"send": ["app/*", "app/x"], "publish": ["a/b/*"], "subscribe": ["a/b"]}"#;
        assert!(grant(&asks(granted), &policy).is_ok());
        let refused =
            r#"{"send": ["**"], "publish": ["a"], "subscribe": ["a.**"], "timers": true}"#;
        let refused = grant(&asks(refused), &policy).unwrap_err();
        assert_eq!(refused.refusals.len(), 4, "{refused}");
        assert!(grant(&asks("{}"), &Policy::default()).is_err());
        let bad = serde_json::from_str::<MessagingManifest>(r#"{"send": ["a//b"]}"#).unwrap_err();
        assert!(bad.to_string().contains("empty segment"), "{bad}");
    }

    #[test]
    fn patterns_of_keys_are_granted_where_the_policys_cover_them() {
        let policy = Policy {
            config: ConfigPolicy::Within(vec!["db.**".parse().unwrap()]),
            ..Policy::default()
        };
        let asks = |patterns: &[&str]| CapabilityManifest {
            config: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            ..CapabilityManifest::default()
        };
        let grants = grant(&asks(&["db.*", "db.tls.key"]), &policy).unwrap();
        assert!(grants.allows(AccessKind::Config));
        assert_eq!(grants.config().len(), 2);
        let refused = grant(&asks(&["db.*", "**", "mode"]), &policy).unwrap_err();
        assert_eq!(refused.refusals.len(), 2, "{refused}");
        let bad = serde_json::from_str::<CapabilityManifest>(r#"{"config": ["a..b"]}"#);
        assert!(bad.unwrap_err().to_string().contains("empty segment"));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = serde_json::from_str::<CapabilityManifest>(r#"{"logs": true}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `logs`"),
            "{error}"
        );
    }
}
