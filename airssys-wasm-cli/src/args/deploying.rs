//! The words of deployments and of the registry.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Target;

/// How carefully, instead of what the manifest says.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutArgs {
    /// How everything that is replaced is replaced, instead of what the manifest says: recreate, rolling, blue-green, canary, shadow
    #[arg(long, value_name = "STRATEGY")]
    pub(crate) strategy: Option<String>,
    /// Canary: what part of the traffic for how long, `5%:30s,50%:1min`; a step without a time lasts until `promote`
    #[arg(long, value_name = "STEPS")]
    pub(crate) steps: Option<String>,
    /// How long the old revision is kept after the switch
    #[arg(long, value_name = "DURATION")]
    pub(crate) soak: Option<String>,
    /// Rolling: how many replicas more than declared
    #[arg(long, value_name = "N")]
    pub(crate) max_surge: Option<u32>,
    /// Rolling: how many replicas fewer than declared
    #[arg(long, value_name = "N")]
    pub(crate) max_unavailable: Option<u32>,
    /// Shadow: what part of the messages is copied
    #[arg(long, value_name = "SHARE")]
    pub(crate) share: Option<String>,
    /// Shadow: for how long
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) pause: Option<String>,
    /// Canary: the parameter whose value decides who serves a message
    #[arg(long, value_name = "PARAMETER")]
    pub(crate) sticky: Option<String>,
    /// What becomes of state: hand-over, discard
    #[arg(long, value_name = "HANDLING")]
    pub(crate) state: Option<String>,
    /// Leaves sources that are there and differ as they are, instead of replacing them
    #[arg(long)]
    pub(crate) keep_sources: bool,
}

/// `plan`: what `deploy` says of a manifest, without what is done then.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The manifest, or a directory that holds an airssys.toml
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The manifest, or a directory that holds an airssys.toml
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// Waits its turn while another deployment is under way, instead of being refused
    #[arg(long)]
    pub(crate) queue: bool,
    /// Does not wait for the end
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The number of the deployment to go back to
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// Waits its turn while another deployment is under way, instead of being refused
    #[arg(long)]
    pub(crate) queue: bool,
    /// Does not wait for the end
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The component: its name in the manifest, or its address
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: String,
    /// How many replicas of it: 1 to 64
    #[arg(value_name = "N")]
    pub(crate) replicas: u32,
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// What an instance holds in memory may be lost
    #[arg(long)]
    pub(crate) discard_state: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// Waits its turn while another deployment is under way, instead of being refused
    #[arg(long)]
    pub(crate) queue: bool,
    /// Does not wait for the end
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `promote`, `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct Newest {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `cancel`.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The number of the order, as `status` lists it
    #[arg(value_name = "ORDER")]
    pub(crate) order: u64,
    /// Why, for whoever waits
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Most deployments
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Registry {
    #[command(subcommand)]
    pub(crate) command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Lists revisions, by component and number
    List(RegistryList),
    /// Shows one revision: what it is, exports, imports and is granted, and who is linked to it
    Show(RegistryShow),
    /// Removes the revisions and deployments that retention does not keep, and files that nothing refers to
    Gc(RegistryGc),
}

#[derive(Debug, Args)]
pub(crate) struct RegistryList {
    /// The component: a pattern of addresses
    #[arg(value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// It exports this interface: `quakes:app/parse@0.1.0`, `quakes:app/parse`, or `parse`
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) exports: Option<String>,
    /// It imports this interface
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) imports: Option<String>,
    /// It is granted this
    #[arg(long, value_name = "GRANT")]
    pub(crate) grant: Option<String>,
    /// What it is for its application: serving, trial, rollback-target, retired
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Most revisions that are listed
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryShow {
    /// The component: its address, or its name in the manifest
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: String,
    /// The number of the revision
    #[arg(value_name = "REVISION")]
    pub(crate) revision: u64,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryGc {
    #[command(flatten)]
    pub(crate) target: Target,
}

impl RegistryCommand {
    /// Which host is meant.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::List(list) => &list.target,
            Self::Show(show) => &show.target,
            Self::Gc(gc) => &gc.target,
        }
    }
}
