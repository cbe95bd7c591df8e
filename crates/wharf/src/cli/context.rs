//! What every command gets: the client, the user's configuration, and where it runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use wharf_client::{Client, Endpoint, Error, Tls};

use super::{Exit, Outcome};
use crate::autostart;
use crate::format::json;

/// The command line's surroundings.
pub struct Context {
    client: Arc<Client>,
    /// True when the user named no daemon: then one may be started.
    default_host: bool,
    address: String,
    config_dir: PathBuf,
    /// Docker's own `config.json`, `null` when there is none.
    pub config: Value,
}

impl Context {
    /// Finds the daemon by `-H`, `WHARF_HOST`, `DOCKER_HOST`, or the default socket, and reads the configuration
    /// in `config_dir` (default: `DOCKER_CONFIG`, `~/.docker`).
    pub fn new(
        host: Option<&str>,
        config_dir: Option<&str>,
        tls: Option<&Tls>,
    ) -> Outcome<Context> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = host
            .map(str::to_owned)
            .or_else(|| variable("WHARF_HOST"))
            .or_else(|| variable("DOCKER_HOST"));
        let endpoint = match &host {
            Some(host) => host.parse::<Endpoint>()?,
            None => Endpoint::default(),
        };
        let address = endpoint.to_string();
        let config_dir = self::config_dir(config_dir);
        let config = read_config(&config_dir);
        let headers = json::pairs(json::field(&config, "HttpHeaders"));
        let mut client = Client::new(endpoint).with_headers(headers);
        if let Some(tls) = tls {
            client = client.with_tls(tls)?;
        }
        let client = Arc::new(client);
        Ok(Context {
            client,
            default_host: host.is_none(),
            address,
            config_dir,
            config,
        })
    }

    /// The client, with a connection made; starts a daemon when none listens and nobody said where one is.
    pub async fn client(&self) -> Outcome<&Arc<Client>> {
        match self.client.connect().await {
            Ok(()) => Ok(&self.client),
            Err(Error::Connect { .. })
                if self.default_host && rustix::process::geteuid().is_root() =>
            {
                autostart::start(&self.client).await?;
                Ok(&self.client)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where the daemon is, as `DOCKER_HOST` says it.
    pub fn host(&self) -> &str {
        &self.address
    }

    /// The folder of the user's configuration.
    pub fn config_dir(&self) -> &Path {
        &self.config_dir
    }

    /// A text of the configuration (`psFormat`, `detachKeys`).
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.config
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The `--format` of a list: what was written, else the configured one.
    pub fn format<'a>(&'a self, written: &'a str, setting: &str, quiet: bool) -> &'a str {
        match written {
            "" if !quiet => self.setting(setting).unwrap_or("table"),
            "" => "table",
            written => written,
        }
    }
}

/// `--config`, `DOCKER_CONFIG`, or `~/.docker`.
fn config_dir(dir: Option<&str>) -> PathBuf {
    let dir = dir
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("DOCKER_CONFIG").map(PathBuf::from));
    let home = || std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    dir.unwrap_or_else(|| home().join(".docker"))
}

fn read_config(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("config.json")).ok();
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or(Value::Null)
}

/// Writes text to standard output.
pub fn out(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a line to standard output.
pub fn line(text: impl std::fmt::Display) -> Outcome {
    out(&format!("{text}\n"))
}

/// Asks for consent, as the prune commands do. True when the answer begins with `y`.
pub fn confirm(question: &str) -> Outcome<bool> {
    out(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Runs `work` for each name, goes on after failures, and fails with all of their texts at the end.
pub async fn each<'a, F, R>(names: &'a [String], mut work: F) -> Outcome
where
    F: FnMut(&'a str) -> R,
    R: Future<Output = Outcome>,
{
    let mut failures = Vec::new();
    for name in names {
        if let Err(exit) = work(name).await {
            failures.push(exit.message);
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Exit::new(failures.join("\n")))
    }
}
