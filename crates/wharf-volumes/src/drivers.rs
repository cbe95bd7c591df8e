//! Which plugins there are: sockets and specifications in Docker's folders (moby `pkg/plugins`, discovery).

use std::collections::BTreeMap;
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::VolumeError;
use crate::plugin::{Address, Plugin, TlsOptions};

/// Where plugins are looked for.
#[derive(Clone, Debug)]
pub struct PluginFolders {
    /// Sockets: `NAME.sock` or `NAME/NAME.sock`.
    pub sockets: PathBuf,
    /// Addresses: `NAME.spec` or `NAME.json`, or those in a folder `NAME`.
    pub specs: Vec<PathBuf>,
}

impl Default for PluginFolders {
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec![
                "/etc/docker/plugins".into(),
                "/usr/lib/docker/plugins".into(),
            ],
        }
    }
}

/// The plugins that have been spoken to.
pub(crate) struct Drivers {
    folders: PluginFolders,
    active: Mutex<BTreeMap<String, Active>>,
}

/// A plugin that keeps volumes.
#[derive(Clone)]
pub(crate) struct Active {
    plugin: Plugin,
    pub(crate) scope: String,
}

impl std::ops::Deref for Active {
    type Target = Plugin;

    fn deref(&self) -> &Plugin {
        &self.plugin
    }
}

/// `NAME.json`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spec {
    addr: String,
    #[serde(rename = "TLSConfig")]
    tls_config: Option<TlsOptions>,
}

impl Drivers {
    pub(crate) fn new(folders: PluginFolders) -> Self {
        Self {
            folders,
            active: Mutex::default(),
        }
    }

    /// The names of those in use.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// The plugin `driver`, which has answered once; `name` is the volume that it is asked for.
    pub(crate) fn activated(&self, driver: &str, name: &str) -> Result<Active, VolumeError> {
        if let Some(active) = self.lock().get(driver) {
            return Ok(active.clone());
        }
        let unknown = || VolumeError::UnknownDriver {
            operation: "create",
            name: name.to_owned(),
            driver: driver.to_owned(),
        };
        let failed = |reason: String| VolumeError::Plugin {
            operation: "create",
            name: name.to_owned(),
            reason: format!("error looking up volume plugin {driver}: {reason}"),
        };
        // It becomes part of a path.
        if driver.contains(['/', '\0']) || matches!(driver, "" | "." | "..") {
            return Err(unknown());
        }
        let plugin = self.find(driver).map_err(&failed)?.ok_or_else(unknown)?;
        match plugin
            .activate()
            .map_err(|fault| failed(fault.to_string()))?
        {
            true => Ok(self.keep(plugin)),
            false => Err(failed(
                "Plugin does not implement the requested driver".to_owned(),
            )),
        }
    }

    /// All that can be reached, those found for the first time among them.
    pub(crate) fn all(&self) -> Vec<Active> {
        for name in self.scan() {
            if self.lock().contains_key(&name) {
                continue;
            }
            if let Ok(Some(plugin)) = self.find(&name)
                && plugin.activate() == Ok(true)
            {
                self.keep(plugin);
            }
        }
        self.lock().values().cloned().collect()
    }

    fn keep(&self, plugin: Plugin) -> Active {
        let scope = plugin.scope();
        let active = Active { plugin, scope };
        self.lock().insert(active.name.clone(), active.clone());
        active
    }

    fn find(&self, name: &str) -> Result<Option<Plugin>, String> {
        let plugin = |address| Plugin {
            name: name.to_owned(),
            address,
        };
        for path in places(&self.folders.sockets, name, "sock") {
            // A link to a socket is one.
            if std::fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
                return Ok(Some(plugin(Address::Unix(path))));
            }
        }
        for folder in &self.folders.specs {
            for path in places(folder, name, "spec") {
                if let Ok(text) = std::fs::read_to_string(&path) {
                    let address = Address::parse(text.trim(), &TlsOptions::unverified());
                    return address.map(|address| Some(plugin(address)));
                }
            }
            for path in places(folder, name, "json") {
                if let Ok(text) = std::fs::read_to_string(&path) {
                    return address_of_json(&text).map(|address| Some(plugin(address)));
                }
            }
        }
        Ok(None)
    }

    fn scan(&self) -> Vec<String> {
        let socket = |kind: FileType| kind.is_socket() || kind.is_symlink();
        let mut names = named(&self.folders.sockets, &["sock"], socket);
        for folder in &self.folders.specs {
            names.extend(named(folder, &["spec", "json"], |kind| kind.is_file()));
        }
        names.sort();
        names.dedup();
        names
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address_of_json(text: &str) -> Result<Address, String> {
    let spec: Spec = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let options = spec.tls_config.map(TlsOptions::completed);
    Address::parse(&spec.addr, &options.unwrap_or_default())
}

fn places(folder: &Path, name: &str, extension: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{extension}");
    [folder.join(&file), folder.join(name).join(file)]
}

/// Names of files with one of `extensions`, and of folders, which may hold one of their own name.
fn named(folder: &Path, extensions: &[&str], fits: impl Fn(FileType) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let (kind, path) = (entry.file_type().ok()?, entry.path());
        if kind.is_dir() {
            return Some(entry.file_name().to_str()?.to_owned());
        }
        let extension = path.extension()?.to_str()?;
        let stem = path.file_stem()?.to_str()?;
        (fits(kind) && extensions.contains(&extension)).then(|| stem.to_owned())
    };
    entries.filter_map(name).collect()
}
