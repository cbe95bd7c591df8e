//! Which plugins there are: sockets and specifications in Docker's folders (moby `pkg/plugins`, discovery).

use std::collections::BTreeMap;
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::VolumeError;
use crate::plugin::{Address, Fault, LOCAL_SCOPE, PATIENCE, Patience, Plugin, TlsOptions};

/// Where plugins are looked for.
#[derive(Clone, Debug)]
pub struct PluginFolders {
    /// Sockets: `NAME.sock` or `NAME/NAME.sock`.
    pub sockets: PathBuf,
    /// Addresses: `NAME.spec` or `NAME.json`, or those in a folder `NAME`.
    pub specs: Vec<PathBuf>,
    /// How long one that is asked what it has may take; all are asked for each list, so that one that hangs holds up
    /// everybody. It is not asked again for three times as long.
    pub patience: Duration,
}

impl Default for PluginFolders {
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec![
                "/etc/docker/plugins".into(),
                "/usr/lib/docker/plugins".into(),
            ],
            patience: Duration::from_secs(10),
        }
    }
}

/// The plugins that have been spoken to.
pub(crate) struct Drivers {
    folders: PluginFolders,
    active: Mutex<BTreeMap<String, Active>>,
    /// Those that hung, and since when.
    hung: Mutex<BTreeMap<String, Instant>>,
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
            hung: Mutex::default(),
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
            true => Ok(self.keep(plugin, self.hurry())),
            false => Err(failed(
                "Plugin does not implement the requested driver".to_owned(),
            )),
        }
    }

    /// What each plugin that can be reached answers, all asked at the same time; by name. Those that hang are given up, and
    /// not asked for a while.
    pub(crate) fn ask_all<T: Send>(
        &self,
        ask: impl Fn(&Plugin) -> Result<T, Fault> + Sync,
    ) -> Vec<(Active, Result<T, Fault>)> {
        let mut names = self.scan();
        names.extend(self.names());
        names.sort();
        names.dedup();
        let one = |name: &String| {
            if self.hangs(name) {
                let active = self.lock().get(name).cloned();
                let silent = Fault::Silent(format!("{name} did not answer a moment ago"));
                return Some((active?, Err(silent)));
            }
            let end = self.hurry();
            let asked = self.ask(name, end, &ask);
            if Instant::now() >= end {
                self.hung().insert(name.clone(), Instant::now());
            }
            asked
        };
        let one = &one;
        std::thread::scope(|scope| {
            let begin = |name| {
                let thread = std::thread::Builder::new().name("plugin".to_owned());
                // Where there is no room for a thread, one plugin less answers.
                thread.spawn_scoped(scope, move || one(name)).ok()
            };
            let asked: Vec<_> = names.iter().filter_map(begin).collect();
            let answers = asked.into_iter().filter_map(|asked| asked.join().ok()?);
            answers.collect()
        })
    }

    /// All that one plugin is asked is answered by `end`, or is not.
    fn ask<T>(
        &self,
        name: &str,
        end: Instant,
        ask: impl Fn(&Plugin) -> Result<T, Fault>,
    ) -> Option<(Active, Result<T, Fault>)> {
        let known = self.lock().get(name).cloned();
        let active = match known {
            Some(active) => active,
            None => {
                let plugin = self.find(name).ok()??;
                (plugin.until(end).activate() == Ok(true)).then(|| self.keep(plugin, end))?
            }
        };
        let answer = ask(&active.until(end));
        Some((active, answer))
    }

    /// When one that is asked what it has must have answered.
    fn hurry(&self) -> Instant {
        Instant::now() + self.folders.patience
    }

    /// Whether there is still a place where the plugin `name` is to be reached: one that was taken away has no volumes.
    pub(crate) fn is_installed(&self, name: &str) -> bool {
        !matches!(self.find(name), Ok(None))
    }

    fn hangs(&self, name: &str) -> bool {
        let rest = self.folders.patience * 3;
        let mut hung = self.hung();
        hung.retain(|_, since| since.elapsed() < rest);
        hung.contains_key(name)
    }

    fn hung(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, plugin: Plugin, end: Instant) -> Active {
        match plugin.until(end).scope() {
            Ok(scope) => {
                let active = Active { plugin, scope };
                self.lock().insert(active.name.clone(), active.clone());
                active
            }
            // It is asked again by the next one who needs it.
            Err(_) => Active {
                plugin,
                scope: LOCAL_SCOPE.to_owned(),
            },
        }
    }

    fn find(&self, name: &str) -> Result<Option<Plugin>, String> {
        let plugin = |address| Plugin {
            name: name.to_owned(),
            address,
            patience: Patience::Each(PATIENCE),
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Active>> {
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
