//! The words of the command line, sorted.

use std::path::PathBuf;

/// Everything that was said.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) root: PathBuf,
    pub(crate) log: Option<String>,
    pub(crate) command: String,
    pub(crate) bundle: PathBuf,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) preserve_fds: u32,
    pub(crate) detach: bool,
    pub(crate) force: bool,
    pub(crate) all: bool,
    /// What is no flag.
    pub(crate) rest: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            root: "/run/wharf-shim".into(),
            bundle: ".".into(),
            ..Self::default()
        };
        let mut words = words;
        while let Some(word) = words.next() {
            arguments.take(word, &mut words)?;
        }
        Ok(arguments)
    }

    fn take(
        &mut self,
        word: String,
        words: &mut dyn Iterator<Item = String>,
    ) -> Result<(), String> {
        if !word.starts_with('-') || word == "--version" || word == "-v" {
            match self.command.is_empty() {
                true => self.command = word,
                false => self.rest.push(word),
            }
            return Ok(());
        }
        let (flag, given) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let mut value = || {
            let value = given.clone().or_else(|| words.next());
            value.ok_or_else(|| format!("flag needs an argument: {flag}"))
        };
        match flag {
            "--root" => self.root = value()?.into(),
            "--log" => self.log = Some(value()?),
            "--log-format" | "--rootless" | "--criu" => drop(value()?),
            "--bundle" | "-b" => self.bundle = value()?.into(),
            "--pid-file" => self.pid_file = Some(value()?.into()),
            "--console-socket" => self.console_socket = Some(value()?.into()),
            "--preserve-fds" => {
                self.preserve_fds = value()?.parse().map_err(|_| "--preserve-fds: no number")?;
            }
            "--detach" | "-d" => self.detach = true,
            "--force" | "-f" => self.force = true,
            "--all" | "-a" => self.all = true,
            // The kernel's way is the only one; a new session keyring is not made; a root that cannot be
            // pivoted from is none of ours.
            "--debug" | "--systemd-cgroup" | "--no-new-keyring" | "--no-pivot" => {}
            _ => return Err(format!("flag provided but not defined: {flag}")),
        }
        Ok(())
    }

    /// The container's id. It becomes a folder's name.
    pub(crate) fn id(&self) -> Result<&str, String> {
        let id = self.rest.first().ok_or("container id is missing")?;
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        if id.is_empty() || id.starts_with('.') || !id.bytes().all(fine) {
            return Err("invalid container ID format".to_owned());
        }
        Ok(id)
    }
}
