//! What every command gets: the client, the user's configuration, and where it runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use wharf_client::{API_VERSION, Client, Endpoint, Error, Tls};

use super::contexts::{DEFAULT, Store};
use super::{Exit, Outcome};
use crate::autostart;
use crate::format::json;

/// What the flags before the command say of the daemon.
#[derive(Default)]
pub struct Wanted {
    /// `-H`
    pub host: Option<String>,
    /// `--context`
    pub context: Option<String>,
    /// `--config`
    pub config: Option<String>,
    /// `--tls` and its like; a context has its own.
    pub tls: Option<Tls>,
}

/// The command line's surroundings.
pub struct Context {
    /// Why there is none is told when one is wanted: `wharf context use` must work with a current one that is gone.
    client: Outcome<Arc<Client>>,
    /// True when the user named no daemon: then one may be started.
    default_host: bool,
    address: String,
    config_dir: PathBuf,
    name: String,
    /// Docker's own `config.json`, `null` when there is none.
    pub config: Value,
}

impl Context {
    /// Finds the daemon by `-H` or `--context`, `WHARF_HOST`, `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context, or
    /// the default socket, and reads the configuration in `--config`, `DOCKER_CONFIG` or `~/.docker`.
    ///
    /// # Errors
    /// If what is said is no address of a daemon, or two things at once.
    pub fn new(wanted: Wanted) -> Outcome<Context> {
        if wanted.host.is_some() && wanted.context.is_some() {
            return Err(Exit::new(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        let config_dir = self::config_dir(wanted.config.as_deref());
        let config = read_config(&config_dir);
        let host = match wanted.context.as_deref() {
            Some(name) if name != DEFAULT => None,
            _ => wanted
                .host
                .or_else(|| variable("WHARF_HOST"))
                .or_else(|| variable("DOCKER_HOST")),
        };
        let name = match host {
            Some(_) => DEFAULT.to_owned(),
            None => current(wanted.context, &config),
        };
        let daemon = match (&host, name.as_str()) {
            (Some(host), _) => Ok((host.parse::<Endpoint>()?, wanted.tls)),
            (None, DEFAULT) => Ok((Endpoint::default(), wanted.tls)),
            (None, name) => Store::new(&config_dir).daemon(name),
        };
        let address = daemon.as_ref().map(|(endpoint, _)| endpoint.to_string());
        let address = address.unwrap_or_default();
        Ok(Context {
            client: daemon.and_then(|(endpoint, tls)| client(endpoint, tls.as_ref(), &config)),
            default_host: host.is_none() && name == DEFAULT,
            address,
            config_dir,
            name,
            config,
        })
    }

    /// The client, with a connection made; starts a daemon when none listens and nobody said where one is.
    pub async fn client(&self) -> Outcome<&Arc<Client>> {
        let client = self.client.as_ref().map_err(Exit::clone)?;
        match client.connect().await {
            Ok(()) => Ok(client),
            Err(Error::Connect { .. })
                if self.default_host && rustix::process::geteuid().is_root() =>
            {
                autostart::start(client).await?;
                Ok(client)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Starts the daemon where that is ours to do, for a plugin that may ask it. Others that are named find out for themselves.
    pub async fn wake(&self) {
        if self.default_host {
            // A plugin that needs none does without.
            let _ = self.client().await;
        }
    }

    /// The version of the API that is spoken with the daemon.
    pub fn api_version(&self) -> String {
        let client = self.client.as_ref();
        client.map_or_else(|_| API_VERSION.to_owned(), |client| client.api_version())
    }

    /// Where the daemon is, as `DOCKER_HOST` says it.
    pub fn host(&self) -> &str {
        &self.address
    }

    /// The context's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is something wrong with the context, and what.
    pub fn fault(&self) -> Option<&Exit> {
        self.client.as_ref().err()
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

/// A variable of the environment that says something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The context that is meant where no address is given.
fn current(wanted: Option<String>, config: &Value) -> String {
    let kept = || json::text(config, "currentContext").to_owned();
    let name = wanted.or_else(|| variable("DOCKER_CONTEXT"));
    match name.unwrap_or_else(kept) {
        name if name.is_empty() => DEFAULT.to_owned(),
        name => name,
    }
}

fn client(endpoint: Endpoint, tls: Option<&Tls>, config: &Value) -> Outcome<Arc<Client>> {
    let headers = json::pairs(json::field(config, "HttpHeaders"));
    let mut client = Client::new(endpoint).with_headers(headers);
    if let Some(number) = variable("DOCKER_API_VERSION") {
        client = client.with_version(number.trim_start_matches('v'));
    }
    if let Some(tls) = tls {
        client = client.with_tls(tls)?;
    }
    Ok(Arc::new(client))
}

/// `--config`, `DOCKER_CONFIG`, or `~/.docker`.
pub fn config_dir(dir: Option<&str>) -> PathBuf {
    let dir = dir
        .map(str::to_owned)
        .or_else(|| variable("DOCKER_CONFIG"))
        .map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    dir.unwrap_or_else(|| home().join(".docker"))
}

/// `config.json`; one that cannot be read is told of, and taken for none.
fn read_config(dir: &Path) -> Value {
    let path = dir.join("config.json");
    let broken = |error: &dyn std::fmt::Display| {
        let place = path.display();
        eprintln!("WARNING: Error parsing config file ({place}): {error}");
        Value::Null
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| broken(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => broken(&crate::options::env::reason(&error)),
    }
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
