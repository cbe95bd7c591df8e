//! `wharf registry`: settings, log, signals; the server is `wharf-registry`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use wharf_registry::{Config, Registry};

/// Flags of `wharf registry`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on (default: 127.0.0.1:5000, or the settings file's)
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) addr: Option<String>,
    /// Folder of everything that is stored (default: /var/lib/wharf-registry, or the settings file's)
    #[arg(long, value_name = "DIR")]
    pub(crate) data_root: Option<PathBuf>,
    /// Settings file, with docker-registry's keys
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// If the settings are wrong, the folder is in use, or an address is.
pub fn serve(args: ServeArgs) -> Result<()> {
    let (addr, root) = (args.addr.as_deref(), args.data_root.as_deref());
    let config = match &args.config {
        Some(path) => Config::read(path, addr, root)?,
        None => Config::simple(addr, root)?,
    };
    log_to_stderr(&config)?;
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(config.threads)
        .enable_all()
        .build()?
        .block_on(run(config))
}

fn log_to_stderr(config: &Config) -> Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&config.log_level)?)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match config.log_json {
        true => builder.json().init(),
        false => builder.init(),
    }
    Ok(())
}

async fn run(config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let registry = Registry::start(config).await?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    registry.stop().await;
    Ok(())
}

/// Prints what is not as it should be in a store.
///
/// # Errors
/// If there is something, or a registry serves it.
pub fn check(root: &Path) -> Result<()> {
    if !root.is_dir() {
        bail!("{}: no such folder", root.display());
    }
    let faults = wharf_registry::check(root)?;
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        count => bail!("{count} faults"),
    }
}
