//! Contexts: daemons by name, in the files of `docker context`: `contexts/meta/<SHA-256 of the name>/meta.json`, and
//! certificates in `contexts/tls/<the same>/docker`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wharf_client::{Authorities, Endpoint, Tls};
use wharf_oci::Digest;

use super::{Exit, Outcome};
use crate::format::json as read;

/// The context that is no file: the daemon of the flags, of the environment, or the usual one.
pub const DEFAULT: &str = "default";

/// The contexts of a configuration.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Those in the folder of a configuration.
    pub fn new(config: &Path) -> Store {
        Store {
            folder: config.join("contexts"),
        }
    }

    /// Where the document of a context is.
    pub fn meta(&self, name: &str) -> PathBuf {
        self.place("meta", name)
    }

    /// Where its certificates are, by endpoint.
    pub fn tls(&self, name: &str) -> PathBuf {
        self.place("tls", name)
    }

    fn place(&self, kind: &str, name: &str) -> PathBuf {
        let digest = Digest::sha256(name.as_bytes());
        self.folder.join(kind).join(digest.hex())
    }

    /// The document of a context.
    ///
    /// # Errors
    /// In Docker's words, if there is none or it is no JSON.
    pub fn read(&self, name: &str) -> Outcome<Value> {
        document(&self.meta(name).join("meta.json")).map_err(|exit| match exit.message.as_str() {
            message if message.ends_with("no such file or directory") => Exit::new(format!(
                "context {name:?}: context not found: {}",
                exit.message
            )),
            message => Exit::new(format!("context {name:?}: {message}")),
        })
    }

    /// All contexts, by their names.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn all(&self) -> Outcome<Vec<Value>> {
        let entries = match std::fs::read_dir(self.folder.join("meta")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for entry in entries {
            all.push(document(&entry?.path().join("meta.json"))?);
        }
        all.sort_by(|a, b| read::text(a, "Name").cmp(read::text(b, "Name")));
        Ok(all)
    }

    /// Writes a context's document, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, name: &str, document: &Value) -> Outcome {
        let folder = self.meta(name);
        std::fs::create_dir_all(&folder)?;
        let temporary = folder.join(format!(".meta.json.{}", std::process::id()));
        std::fs::write(&temporary, document.to_string())?;
        Ok(std::fs::rename(&temporary, folder.join("meta.json"))?)
    }

    /// Keeps copies of certificates, which only the user can read, in the place of what a context of this name may have
    /// left.
    ///
    /// # Errors
    /// If a file cannot be read or written; then nothing is kept.
    pub fn keep(&self, name: &str, files: &[(&str, PathBuf)]) -> Outcome {
        let read = |(file, from): &(&str, PathBuf)| {
            let bytes = std::fs::read(from).map_err(|error| {
                let reason = crate::options::env::reason(&error);
                Exit::new(format!("open {}: {reason}", from.display()))
            })?;
            Ok((PathBuf::from(file), bytes))
        };
        let files = files.iter().map(read).collect::<Outcome<Vec<_>>>()?;
        self.remove(name)?;
        if files.is_empty() {
            return Ok(());
        }
        let kept = self.write_certificates(name, &files);
        if kept.is_err() {
            self.remove(name)?;
        }
        kept
    }

    fn write_certificates(&self, name: &str, files: &[(PathBuf, Vec<u8>)]) -> Outcome {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        let folder = self.tls(name).join("docker");
        let mut folders = std::fs::DirBuilder::new();
        folders.recursive(true).mode(0o700).create(&folder)?;
        for (file, bytes) in files {
            let mut options = std::fs::File::options();
            let options = options.write(true).create_new(true).mode(0o600);
            std::io::Write::write_all(&mut options.open(folder.join(file))?, bytes)?;
        }
        Ok(())
    }

    /// Forgets a context.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &str) -> Outcome {
        for folder in [self.meta(name), self.tls(name)] {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The names of the files with certificates, by endpoint.
    pub fn material(&self, name: &str) -> Value {
        let mut all = json!({});
        for endpoint in names(&self.tls(name)) {
            all[&endpoint] = names(&self.tls(name).join(&endpoint)).into();
        }
        all
    }

    /// The daemon that a context means.
    ///
    /// # Errors
    /// If there is no such context, or it names no daemon that can be reached.
    pub fn daemon(&self, name: &str) -> Outcome<(Endpoint, Option<Tls>)> {
        let failed = |exit: Exit| {
            Exit::new(format!(
                "Failed to initialize: unable to resolve docker endpoint: {}",
                exit.message
            ))
        };
        let document = self.read(name).map_err(failed)?;
        let endpoint = &document["Endpoints"]["docker"];
        let host = match read::text(endpoint, "Host") {
            "" => Endpoint::default(),
            host => host.parse()?,
        };
        Ok((host, self.tls_of(name, read::on(endpoint, "SkipTLSVerify"))))
    }

    /// TLS is spoken if the context has certificates, or says that it takes any.
    fn tls_of(&self, name: &str, any: bool) -> Option<Tls> {
        let folder = self.tls(name).join("docker");
        let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let (authority, identity) = (file("ca.pem"), file("cert.pem").zip(file("key.pem")));
        if authority.is_none() && identity.is_none() && !any {
            return None;
        }
        let authorities = match authority {
            _ if any => Authorities::Any,
            Some(path) => Authorities::File(path),
            None => Authorities::System,
        };
        Some(Tls {
            authorities,
            identity,
        })
    }
}

fn document(path: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = crate::options::env::reason(&error);
        Exit::new(format!("open {}: {reason}", path.display()))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Exit::new(format!("parsing {}: {error}", path.display())))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Whether a context may be called so.
///
/// # Errors
/// In Docker's words.
pub fn check_name(name: &str) -> Outcome {
    let first = |letter: char| letter.is_ascii_alphanumeric();
    let rest = |letter: char| first(letter) || "_.+-".contains(letter);
    if name == DEFAULT {
        return Err(Exit::new("\"default\" is a reserved context name"));
    }
    if name.len() < 2 || !name.starts_with(first) || !name.chars().all(rest) {
        return Err(Exit::new(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        )));
    }
    Ok(())
}
