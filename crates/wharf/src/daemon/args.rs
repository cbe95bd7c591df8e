//! The command line of `wharf daemon`.

use std::path::PathBuf;

use super::directives::Directives;

/// Where the file is unless a flag says otherwise.
pub(super) const CONFIG_FILE: &str = "/etc/wharf/daemon.json";

/// Flags of `wharf daemon`: dockerd's, under their own names.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    pub(super) config_file: PathBuf,
    /// Say whether the configuration is valid, and end
    #[arg(long)]
    pub(super) validate: bool,
    #[command(flatten)]
    pub(super) directives: Directives,
}
