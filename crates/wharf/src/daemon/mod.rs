//! The daemon: the API engineer's; this is only the slot.

/// Flags of `wharf daemon`.
#[derive(Debug, clap::Args)]
pub struct DaemonArgs {}

/// Runs the daemon until it is told to stop.
pub fn run(_args: DaemonArgs) -> anyhow::Result<()> {
    anyhow::bail!("this build of wharf holds no daemon")
}
