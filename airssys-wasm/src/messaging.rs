//! The messaging plane, as far as the engine knows it.
//!
//! Owns the host interfaces of `airssys:messaging`, and of `airssys:actor/spawn`, which is asked in the same way (`host`), what they ask and are told (`request`), the words of topics
//! and of what a grant reaches (`pattern`), and the part of the grants that is about messages. Who is subscribed, and
//! how a message travels, is the business of whoever hosts the instances: it implements [`Messaging`].

use serde::Deserialize;

use crate::surface::{Surface, WitError};

mod host;
mod pattern;
mod request;

pub(crate) use host::{define, is_ours, poll, start};
pub use pattern::{
    AddressReach, ConfigReach, PatternSyntax, TOPIC_BYTES_MAX, TOPIC_SEGMENTS_MAX, TopicPattern,
    check_topic,
};
pub use request::{Messaging, MessagingError, MessagingReply, MessagingRequest, Overflow};

/// The package's text; a guest's imports are compared with it when a template is linked.
pub(crate) const WIT: &str = include_str!("../../wit/messaging/messaging.wit");

/// What the host provides.
const INTERFACES: [&str; 4] = [
    "airssys:messaging/types@0.1.0",
    "airssys:messaging/messages@0.1.0",
    "airssys:messaging/topics@0.1.0",
    "airssys:messaging/timers@0.1.0",
];

/// What an actor exports to receive messages of the plane.
const HANDLER: &str = "airssys:messaging/handler@0.1.0";

/// The text of `airssys:actor/spawn`.
pub(crate) const SPAWN_WIT: &str = include_str!("../../wit/actor/spawn.wit");

/// Its name.
const SPAWN: &str = "airssys:actor/spawn@0.1.0";

/// The interfaces of the plane, and the one that spawns.
pub(crate) fn interfaces() -> impl Iterator<Item = &'static str> {
    INTERFACES.into_iter().chain([SPAWN])
}

/// The `messaging` table of a component's grants: whom it may address, and what it may publish, subscribe and time.
/// Written at all, it lets the component ask for its own address and answer calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MessagingManifest {
    /// The actors it may cast to and call.
    pub send: Vec<AddressReach>,
    /// The topics it may publish under.
    pub publish: Vec<TopicPattern>,
    /// What it may subscribe to: these patterns, and whatever they cover.
    pub subscribe: Vec<TopicPattern>,
    /// Send itself messages at a later time.
    pub timers: bool,
}

/// The `spawn` table of a component's grants: which components of the application it may start, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpawnManifest {
    /// The components it may start.
    pub components: Vec<String>,
    /// How many actors there may be at a time of what it, and what it has spawned, has spawned. Default 16.
    #[serde(default = "SpawnManifest::children_default")]
    pub children: u32,
    /// How deep what it has spawned may spawn: 1 is its own children only. Default 1.
    #[serde(default = "SpawnManifest::depth_default")]
    pub depth: u32,
}

impl SpawnManifest {
    const fn children_default() -> u32 {
        16
    }

    const fn depth_default() -> u32 {
        1
    }
}

/// What a policy lets a manifest ask of the messaging plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessagingPolicy {
    /// Nothing.
    #[default]
    None,
    /// This, and whatever these patterns cover.
    Within(MessagingManifest),
    /// Anything.
    Any,
}

impl MessagingPolicy {
    /// What of `asked` is not allowed: as the manifest writes it, and what to add to the policy.
    pub(crate) fn refuses(&self, asked: &MessagingManifest) -> Vec<(String, String)> {
        let within = match self {
            Self::Any => return Vec::new(),
            Self::None => {
                return vec![("messaging".to_owned(), "`messaging = \"any\"`".to_owned())];
            }
            Self::Within(within) => within,
        };
        let mut refused = Vec::new();
        let mut add = |table: &str, pattern: &dyn std::fmt::Display| {
            refused.push((
                format!("messaging.{table} {pattern}"),
                format!("\"{pattern}\" to `messaging.within.{table}`"),
            ));
        };
        for reach in &asked.send {
            if !within.send.iter().any(|allowed| allowed.covers(reach)) {
                add("send", reach);
            }
        }
        for (table, patterns, allowed) in [
            ("publish", &asked.publish, &within.publish),
            ("subscribe", &asked.subscribe, &within.subscribe),
        ] {
            for pattern in patterns {
                if !allowed.iter().any(|allowed| allowed.covers(pattern)) {
                    add(table, pattern);
                }
            }
        }
        if asked.timers && !within.timers {
            refused.push((
                "messaging.timers".to_owned(),
                "`timers = true` to `messaging.within`".to_owned(),
            ));
        }
        refused
    }
}

impl Surface {
    /// Adds `airssys:messaging/handler` to the exports, for an actor written in Rust that receives messages of the
    /// messaging plane.
    ///
    /// # Errors
    /// [`WitError`] when the interface's own text cannot be read.
    pub fn with_message_handler(mut self) -> Result<Surface, WitError> {
        let package = Surface::from_wit(WIT)?;
        let handler = package
            .exports
            .into_iter()
            .filter(|interface| interface.name.as_str() == HANDLER);
        self.exports.extend(handler);
        Ok(self)
    }
}
