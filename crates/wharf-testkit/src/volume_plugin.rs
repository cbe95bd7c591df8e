//! A volume plugin: Docker's protocol on a socket, volumes as folders, and a list of what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Engine;

/// A volume that the plugin does not want to make.
pub const BROKEN: &str = "broken";
/// A volume that it makes, but does not mount.
pub const UNMOUNTABLE: &str = "nomount";
/// A volume that it does not remove.
pub const KEPT: &str = "kept";
/// A volume whose creation it never answers.
pub const STUCK: &str = "stuck";

#[derive(Default)]
struct State {
    volumes: BTreeMap<String, Value>,
    /// Ids that each volume is mounted for.
    mounted: BTreeMap<String, BTreeSet<String>>,
    calls: Vec<String>,
}

/// A running plugin. Its threads live as long as the test.
pub struct VolumePlugin {
    folder: PathBuf,
    link: String,
    state: Arc<Mutex<State>>,
}

impl VolumePlugin {
    /// Starts one that the daemon of `engine` finds by `name`. Its volumes are folders of the world's.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(engine: &Engine, name: &str) -> Result<Self> {
        let folder = engine.world.path().join(format!("plugin-{name}"));
        std::fs::create_dir(&folder)?;
        let socket = folder.join("plugin.sock");
        let listener = UnixListener::bind(&socket).context("the plugin's socket")?;
        let state = Arc::new(Mutex::new(State::default()));
        let plugin = Self {
            folder,
            link: format!("/run/docker/plugins/{name}.sock"),
            state,
        };
        let (state, volumes) = (plugin.state.clone(), plugin.folder.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, volumes) = (state.clone(), volumes.clone());
                // A client that goes away is none of ours.
                std::thread::spawn(move || serve(stream, &state, &volumes));
            }
        });
        // The world has a /run of its own, so the socket lies outside of it.
        let (link, socket) = (&plugin.link, socket.display());
        let line = format!("mkdir -p /run/docker/plugins && ln -s {socket} {link}");
        engine.world.sh(&line)?;
        Ok(plugin)
    }

    /// Nobody finds it any more.
    ///
    /// # Errors
    /// If it could not be found before.
    pub fn hide(&self, engine: &Engine) -> Result<()> {
        std::fs::remove_file(self.folder.join("plugin.sock"))?;
        engine.world.sh(&format!("rm {}", self.link)).map(drop)
    }

    /// Where the files of the volume `name` are.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// How many mounts of the volume `name` there are.
    pub fn mounts_of(&self, name: &str) -> usize {
        lock(&self.state).mounted.get(name).map_or(0, BTreeSet::len)
    }

    /// What it was asked, but for mere looks.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.state).calls.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: UnixStream, state: &Mutex<State>, folder: &Path) -> Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "a request without an end");
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let method = first.split(' ').nth(1).unwrap_or_default();
        let answer = answer(method.trim_start_matches('/'), &body, state, folder);
        let answer = answer.unwrap_or_else(|error| json!({ "Err": error.to_string() }));
        let text = answer.to_string();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
    }
}

fn answer(method: &str, body: &Value, state: &Mutex<State>, folder: &Path) -> Result<Value> {
    let mut state = lock(state);
    let name = body["Name"].as_str().unwrap_or_default();
    let id = body["ID"].as_str().unwrap_or_default();
    let mountpoint = folder.join(name);
    let volume = |name: &String| json!({ "Name": name, "Mountpoint": folder.join(name) });
    let exists = state.volumes.contains_key(name);
    if method.ends_with("ount") || matches!(method, "VolumeDriver.Create" | "VolumeDriver.Remove") {
        let call = method.trim_start_matches("VolumeDriver.");
        state.calls.push(format!("{call} {name}"));
    }
    match method {
        "Plugin.Activate" => return Ok(json!({ "Implements": ["VolumeDriver"] })),
        "VolumeDriver.Capabilities" => {
            return Ok(json!({ "Capabilities": { "Scope": "global" } }));
        }
        "VolumeDriver.List" => {
            let volumes: Vec<_> = state.volumes.keys().map(volume).collect();
            return Ok(json!({ "Volumes": volumes }));
        }
        "VolumeDriver.Create" if name == STUCK => {
            drop(state);
            loop {
                std::thread::park();
            }
        }
        "VolumeDriver.Create" => {
            ensure!(name != BROKEN, "it is broken");
            std::fs::create_dir_all(&mountpoint)?;
            state.volumes.insert(name.to_owned(), body["Opts"].clone());
            return Ok(json!({}));
        }
        _ => ensure!(exists, "no such volume here"),
    }
    match method {
        "VolumeDriver.Get" => {
            let mut volume = volume(&name.to_owned());
            volume["CreatedAt"] = "2026-01-02T03:04:05Z".into();
            volume["Status"] = json!({ "options": state.volumes[name] });
            Ok(json!({ "Volume": volume }))
        }
        "VolumeDriver.Path" => Ok(json!({ "Mountpoint": mountpoint })),
        "VolumeDriver.Mount" => {
            ensure!(name != UNMOUNTABLE, "no mount today");
            let ids = state.mounted.entry(name.to_owned()).or_default();
            ids.insert(id.to_owned());
            Ok(json!({ "Mountpoint": mountpoint }))
        }
        "VolumeDriver.Unmount" => {
            let ids = state.mounted.entry(name.to_owned()).or_default();
            ensure!(ids.remove(id), "{name} is not mounted for {id}");
            Ok(json!({}))
        }
        "VolumeDriver.Remove" => {
            let ids = state.mounted.entry(name.to_owned()).or_default();
            ensure!(ids.is_empty(), "{name} is mounted");
            ensure!(name != KEPT, "another host has it");
            state.volumes.remove(name);
            std::fs::remove_dir_all(&mountpoint)?;
            Ok(json!({}))
        }
        _ => anyhow::bail!("unknown method {method}"),
    }
}
