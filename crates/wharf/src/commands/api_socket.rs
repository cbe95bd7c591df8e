//! `--use-api-socket`: a container that can speak to the engine as whoever starts it: the socket, and the credentials of
//! registries in a `config.json` of its own.

use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::{Map, Value, json};
use wharf_client::{Client, Url};

use crate::cli::{Context, Exit, Outcome, credentials};

/// Where programs look for it, whatever it is called outside.
const SOCKET: &str = "/var/run/docker.sock";
/// The folder of the credentials, as Docker's client has it.
const FOLDER: &str = "run/secrets/docker";

/// What goes into the container once it is made.
pub struct Secrets(Map<String, Value>);

/// Adds the socket to the request, and says where credentials will be, if there are any.
pub fn prepare(context: &Context, body: &mut Value) -> Outcome<Option<Secrets>> {
    let Some(path) = context.host().strip_prefix("unix://") else {
        return Err(Exit::new(
            "flag --use-api-socket can't be used with an engine that is not reached by a Unix socket",
        ));
    };
    let mount = json!({"Type": "bind", "Source": path, "Target": SOCKET, "BindOptions": {}});
    match body["HostConfig"]["Mounts"].as_array_mut() {
        Some(mounts) => mounts.push(mount),
        None => body["HostConfig"]["Mounts"] = json!([mount]),
    }
    let given = |variable: &Value| {
        let text = variable.as_str().unwrap_or_default();
        text.starts_with("DOCKER_CONFIG=")
    };
    let known = credentials::all(context);
    let env = body["Env"].as_array_mut();
    match env {
        // Whoever sets it knows what they do.
        Some(env) if env.iter().any(given) => return Ok(None),
        _ if known.is_empty() => return Ok(None),
        Some(env) => env.push(json!(format!("DOCKER_CONFIG=/{FOLDER}"))),
        None => body["Env"] = json!([format!("DOCKER_CONFIG=/{FOLDER}")]),
    }
    Ok(Some(Secrets(known)))
}

impl Secrets {
    /// Writes them into the container `id`, which does not run yet.
    pub async fn copy_into(self, client: &Client, id: &str) -> Outcome {
        let url = Url::new(["containers", id, "archive"]).with("path", "/");
        let archive = self.archive().map_err(|error| {
            Exit::new(format!(
                "injecting docker config.json into container failed: {error}"
            ))
        })?;
        let body = wharf_client::upload(std::io::Cursor::new(archive));
        client.put(url, "application/x-tar", body).await?;
        Ok(())
    }

    fn archive(self) -> std::io::Result<Vec<u8>> {
        let top = tempfile::tempdir()?;
        let folder = top.path().join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let mut options = std::fs::File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.join("config.json"))?;
        let document = json!({"auths": self.0});
        std::io::Write::write_all(&mut file, document.to_string().as_bytes())?;
        let dir = std::fs::File::open(top.path())?;
        let mut archive = Vec::new();
        wharf_layer::pack_path(dir.as_fd(), b"run", b"run", None, &mut archive)
            .map_err(std::io::Error::other)?;
        Ok(archive)
    }
}
