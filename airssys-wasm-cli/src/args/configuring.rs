//! The words of configurations.

use clap::{Args, Subcommand};

use super::Target;

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows the keys of each component and the layer that each value is of
    Show(ConfigShow),
    /// Sets values above all that the manifest says, until they are unset
    Set(ConfigSet),
    /// Takes back what was set: the value of the manifest's layers counts again
    Unset(ConfigUnset),
    /// Reads `config-file` again
    Reload(ConfigReload),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// The component: its name in the manifest, or its address (default: all)
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: Option<String>,
    /// Shows values too; those of the environment are never shown
    #[arg(long)]
    pub(crate) values: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What all changes have in common.
#[derive(Debug, Args)]
pub(crate) struct Changing {
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// Waits its turn while a deployment is under way, instead of being refused
    #[arg(long)]
    pub(crate) queue: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigSet {
    /// The component: its name in the manifest, or its address
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: String,
    /// What is set
    #[arg(value_name = "KEY=VALUE", required = true)]
    pub(crate) values: Vec<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigUnset {
    /// The component: its name in the manifest, or its address
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: String,
    /// What is unset
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigReload {
    /// The component: its name in the manifest, or its address (default: all that have a file)
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

impl ConfigCommand {
    /// Which host is meant.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::Show(show) => &show.target,
            Self::Set(set) => &set.changing.target,
            Self::Unset(unset) => &unset.changing.target,
            Self::Reload(reload) => &reload.changing.target,
        }
    }
}
