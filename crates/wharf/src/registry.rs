//! `wharf registry`: settings, log, signals; the server is `wharf-registry`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::fmt::MakeWriter;
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
        .with_writer(Labels::new(config))
        .with_ansi(false);
    match config.log_json {
        true => builder.json().init(),
        false => builder.init(),
    }
    Ok(())
}

/// Standard error, with `log.fields` at the end of each line.
struct Labels {
    /// ` key=value …`, or `,"key":value…` for JSON.
    text: String,
    /// What a line ends with, behind the labels.
    end: &'static str,
}

impl Labels {
    fn new(config: &Config) -> Labels {
        let fields = config.log_fields.iter();
        let text = match config.log_json {
            true => fields
                .map(|(key, value)| format!(",{}:{value}", serde_json::Value::from(key.as_str())))
                .collect(),
            false => fields
                .map(|(key, value)| format!(" {key}={value}"))
                .collect(),
        };
        let end = if config.log_json { "}\n" } else { "\n" };
        Labels { text, end }
    }

    fn labelled(&self, line: &[u8]) -> Vec<u8> {
        let bare = line.strip_suffix(self.end.as_bytes()).unwrap_or(line);
        [bare, self.text.as_bytes(), self.end.as_bytes()].concat()
    }
}

impl<'a> MakeWriter<'a> for Labels {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line of the log.
struct Line<'a>(&'a Labels);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&self.0.labelled(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_fields_of_the_settings() {
        let mut config = Config::simple(None, None).unwrap();
        config.log_fields = [
            ("service".to_owned(), "registry".into()),
            ("zone".to_owned(), 3.into()),
        ]
        .into();
        let line = |config: &Config, text: &str| {
            String::from_utf8(Labels::new(config).labelled(text.as_bytes())).unwrap()
        };
        let text = line(&config, "INFO serving\n");
        assert_eq!(text, "INFO serving service=\"registry\" zone=3\n");
        config.log_json = true;
        let text = line(&config, "{\"level\":\"INFO\"}\n");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["service"], "registry");
        assert_eq!(json["level"], "INFO");
    }
}
