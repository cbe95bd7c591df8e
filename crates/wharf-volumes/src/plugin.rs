//! One volume plugin, spoken to by Docker's protocol: JSON in the bodies of POSTs
//! (<https://docs.docker.com/engine/extend/plugins_volume/>).

mod deadline;
mod tls;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wharf_sys::words;

use deadline::Until;
pub(crate) use tls::TlsOptions;

/// The scope of a plugin that does not say another one.
pub(crate) const LOCAL_SCOPE: &str = "local";

/// How long a plugin may take: as long as dockerd waits for what can take long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// No answer is longer.
const LONGEST: u64 = 16 << 20;

/// Where a plugin listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// A socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// `host:port`, and how to speak TLS there.
    Tls(String, Arc<ClientConfig>),
}

impl Address {
    /// Reads `unix:///path`, `tcp://host:port` or `https://host:port`. `options` are those of TLS, which only `https` is
    /// spoken by, as moby does it.
    pub(crate) fn parse(text: &str, options: &TlsOptions) -> std::result::Result<Self, String> {
        let authority = |rest: &str, port: u16| {
            // A path is not looked at, as moby does not.
            let host = rest.split('/').next().unwrap_or_default();
            let after_brackets = host.rsplit(']').next().unwrap_or_default();
            match after_brackets.contains(':') {
                true => host.to_owned(),
                false => format!("{host}:{port}"),
            }
        };
        match text.split_once("://") {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", rest)) => Ok(Self::Tcp(authority(rest, 80))),
            Some(("https", rest)) => Ok(Self::Tls(authority(rest, 443), options.client()?)),
            Some((scheme, _)) => Err(format!("unknown scheme: {scheme}")),
            None => Err(format!("unknown protocol: {text}")),
        }
    }

    /// What stands before a method in the words of dockerd.
    fn url(&self) -> String {
        match self {
            Self::Unix(_) => "http://plugin.moby.localhost".to_owned(),
            Self::Tcp(address) => format!("http://{address}"),
            Self::Tls(address, _) => format!("https://{address}"),
        }
    }

    /// One request, and the answer to it, which must have come by `end`.
    fn exchange(&self, request: &str, end: Instant) -> std::result::Result<(u16, Vec<u8>), String> {
        let dialled = |network: &str, error: &std::io::Error| {
            format!("dial {network}: connect: {}", words::of(error))
        };
        let tcp = |address: &str| {
            let stream = Until::tcp(address, end);
            stream.map_err(|error| dialled(&format!("tcp {address}"), &error))
        };
        let answer = match self {
            Self::Unix(path) => {
                let stream = Until::unix(path, end)
                    .map_err(|error| dialled(&format!("unix {}", path.display()), &error))?;
                exchange(stream, request)
            }
            Self::Tcp(address) => exchange(tcp(address)?, request),
            Self::Tls(address, config) => {
                exchange(tls::wrap(tcp(address)?, address, config)?, request)
            }
        };
        answer.map_err(|error| words::of(&error))
    }
}

/// How long a plugin is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// For each answer so long.
    Each(Duration),
    /// For all answers together until then.
    Until(Instant),
}

impl Patience {
    fn end(self) -> Instant {
        match self {
            Self::Each(patience) => Instant::now() + patience,
            Self::Until(end) => end,
        }
    }
}

/// A plugin that has been found; whether it lives is seen when it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) address: Address,
    /// How long it may take.
    pub(crate) patience: Patience,
}

/// A volume in a plugin's words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PluginVolume {
    pub(crate) name: String,
    pub(crate) mountpoint: String,
    pub(crate) created_at: String,
    pub(crate) status: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    err: String,
    mountpoint: String,
    volume: Option<PluginVolume>,
    volumes: Option<Vec<PluginVolume>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Manifest {
    implements: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    capabilities: Scope,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Scope {
    scope: String,
}

/// Why a plugin did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It says so itself.
    #[error("{0}")]
    Said(String),
    /// It does not answer, or not in the protocol.
    #[error("{0}")]
    Silent(String),
}

type Result<T> = std::result::Result<T, Fault>;

impl Plugin {
    /// The same; whatever it is asked, it must have answered by `end`.
    pub(crate) fn until(&self, end: Instant) -> Self {
        Self {
            patience: Patience::Until(end),
            ..self.clone()
        }
    }

    /// Says hello; whether it keeps volumes.
    pub(crate) fn activate(&self) -> Result<bool> {
        let manifest: Manifest = self.call("Plugin.Activate", &json!({}))?;
        let all = manifest.implements.unwrap_or_default();
        Ok(all.iter().any(|kind| kind == "VolumeDriver"))
    }

    /// `local` or `global`; a plugin that does not say so is local.
    ///
    /// # Errors
    /// If it is silent.
    pub(crate) fn scope(&self) -> Result<String> {
        let said = match self.call::<Capabilities>("VolumeDriver.Capabilities", &json!({})) {
            Err(Fault::Said(_)) => Capabilities::default(),
            said => said?,
        };
        let scope = said.capabilities.scope.to_ascii_lowercase();
        Ok(match scope.as_str() {
            "global" => scope,
            _ => LOCAL_SCOPE.to_owned(),
        })
    }

    pub(crate) fn create(&self, name: &str, options: &BTreeMap<String, String>) -> Result<()> {
        let options = Some(options).filter(|options| !options.is_empty());
        self.ask("Create", &json!({ "Name": name, "Opts": options }))
            .map(drop)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.ask("Remove", &json!({ "Name": name })).map(drop)
    }

    pub(crate) fn mount(&self, name: &str, id: &str) -> Result<PathBuf> {
        let answer = self.ask("Mount", &json!({ "Name": name, "ID": id }))?;
        Ok(answer.mountpoint.into())
    }

    pub(crate) fn unmount(&self, name: &str, id: &str) -> Result<()> {
        self.ask("Unmount", &json!({ "Name": name, "ID": id }))
            .map(drop)
    }

    /// Where the volume is, if it is anywhere.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let answer = self.ask("Path", &json!({ "Name": name }))?;
        Ok(answer.mountpoint.into())
    }

    pub(crate) fn get(&self, name: &str) -> Result<PluginVolume> {
        let answer = self.ask("Get", &json!({ "Name": name }))?;
        answer
            .volume
            .ok_or_else(|| Fault::Said("no such volume".to_owned()))
    }

    pub(crate) fn list(&self) -> Result<Vec<PluginVolume>> {
        let answer = self.ask("List", &json!({}))?;
        Ok(answer.volumes.unwrap_or_default())
    }

    fn ask(&self, method: &str, body: &Value) -> Result<Answer> {
        let answer: Answer = self.call(&format!("VolumeDriver.{method}"), body)?;
        match answer.err.is_empty() {
            true => Ok(answer),
            false => Err(Fault::Said(answer.err)),
        }
    }

    fn call<T: DeserializeOwned>(&self, method: &str, body: &Value) -> Result<T> {
        let silent = |reason: String| {
            let url = self.address.url();
            Fault::Silent(format!("Post \"{url}/{method}\": {reason}"))
        };
        let (status, answer) = self.post(method, body).map_err(silent)?;
        if status == 200 {
            let read = serde_json::from_slice(&answer);
            return read.map_err(|error| Fault::Silent(format!("{method}: {error}")));
        }
        let said: Answer = serde_json::from_slice(&answer).unwrap_or_default();
        let text = || String::from_utf8_lossy(&answer).trim().to_owned();
        Err(match said.err.is_empty() {
            false => Fault::Said(format!("{method}: {}", said.err)),
            // The words of who stands before it. Its own are any others: there are plugins that answer 500 to `Get` of a volume
            // that is not there.
            true if (502..=504).contains(&status) => Fault::Silent(format!("{method}: {}", text())),
            true => Fault::Said(format!("{method}: {}", text())),
        })
    }

    /// HTTP/1.0, so that an answer ends with its connection, and none comes in chunks.
    fn post(&self, method: &str, body: &Value) -> std::result::Result<(u16, Vec<u8>), String> {
        let body = body.to_string();
        let host = match &self.address {
            Address::Unix(_) => "plugin.moby.localhost",
            Address::Tcp(address) | Address::Tls(address, _) => address,
        };
        let request = format!(
            "POST /{method} HTTP/1.0\r\nHost: {host}\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\
             Content-Type: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.address.exchange(&request, self.patience.end())
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let malformed =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "malformed HTTP response");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut length) = (Vec::new(), None);
    let mut chunk = [0; 8192];
    let end = |answer: &[u8]| answer.windows(4).position(|four| four == b"\r\n\r\n");
    // Some servers keep the connection open all the same: then it is the length that tells.
    while length.is_none_or(|length| answer.len() < length) {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if answer.len() as u64 > LONGEST {
            return Err(malformed());
        }
        if length.is_none()
            && let Some(end) = end(&answer)
        {
            let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
            length = content_length(&head).and_then(|body| body.checked_add(end + 4));
        }
    }
    let end = end(&answer).ok_or_else(malformed)?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.get(end + 4..).unwrap_or_default().to_vec();
    Ok((status.ok_or_else(malformed)?, body))
}

fn content_length(head: &str) -> Option<usize> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

/// dockerd's words for a plugin that cannot say whether it has a volume.
pub(crate) fn unreachable(name: &str, driver: &str, reason: &str) -> String {
    format!("error while checking if volume {name:?} exists in driver {driver:?}: {reason}")
}
