//! `RUN`.

use bollard_buildkit_proto::pb;
use wharf_builder::flags::{self, Fields};
use wharf_dockerfile::{Heredoc, Located, MountFlag, Run};

use super::convert::Converter;
use super::llb::{About, Output};
use super::places::Place;
use super::stage::Stage;
use crate::SolveError;

/// The mounts of a command, and the trees they are of.
#[derive(Default)]
struct Mounts {
    inputs: Vec<Output>,
    mounts: Vec<pb::Mount>,
    secrets: Vec<pb::SecretEnv>,
    env: Vec<String>,
    agents: usize,
}

impl Mounts {
    fn input(&mut self, output: Option<Output>) -> i64 {
        let Some(output) = output else {
            return -1;
        };
        let known = self.inputs.iter().position(|one| *one == output);
        let at = known.unwrap_or_else(|| {
            self.inputs.push(output);
            self.inputs.len() - 1
        });
        i64::try_from(at).unwrap_or(-1)
    }
}

/// What a `RUN` does, for the history.
#[derive(Clone, Debug, Default)]
pub(super) struct Ran {
    /// With the shell before it.
    pub(super) command: Vec<String>,
    /// The arguments that are set for it, `NAME=value`.
    pub(super) args: Vec<String>,
    /// Whether it sees proxies, of which the history says nothing.
    pub(super) has_proxies: bool,
}

impl Ran {
    /// The command as BuildKit's history has it: with the arguments that were set for it.
    pub(super) fn remembered(&self) -> String {
        let mut words = vec!["RUN".to_owned()];
        if !self.args.is_empty() {
            words.push(format!("|{}", self.args.len()));
            words.extend(self.args.iter().cloned());
        }
        words.extend(self.command.iter().cloned());
        words.join(" ")
    }
}

impl Converter<'_> {
    pub(super) async fn run_step(
        &mut self,
        at: usize,
        stage: &mut Stage,
        run: &Run,
        located: &Located,
    ) -> Result<Ran, SolveError> {
        let mut mounts = Mounts::default();
        let root = mounts.input(stage.output);
        mounts.mounts.push(pb::Mount {
            input: root,
            dest: "/".to_owned(),
            output: 0,
            ..pb::Mount::default()
        });
        for flag in &run.mounts {
            self.mount(at, stage, flag, &mut mounts).await?;
        }
        let command = self.command(stage, run, &mut mounts);
        if self.options.shm_size > 0 {
            mounts.mounts.push(pb::Mount {
                input: -1,
                dest: "/dev/shm".to_owned(),
                output: -1,
                mount_type: pb::MountType::Tmpfs as i32,
                tmpfs_opt: Some(pb::TmpfsOpt {
                    size: self.options.shm_size,
                }),
                ..pb::Mount::default()
            });
        }
        let env = stage.config.env.clone().unwrap_or_default();
        let beside = stage.args.beside(&env);
        let name = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
        let (args, proxies): (Vec<String>, Vec<String>) = beside
            .into_iter()
            .partition(|pair| stage.args.counts(&name(pair)));
        let meta = pb::Meta {
            args: command.clone(),
            env: [env, args.clone(), std::mem::take(&mut mounts.env)].concat(),
            cwd: stage.config.working_dir.clone(),
            user: stage.config.user.clone(),
            proxy_env: proxy(&proxies),
            extra_hosts: self.options.hosts.clone(),
            hostname: self.options.hostname.clone(),
            ulimit: self.options.ulimits.clone(),
            cgroup_parent: self.options.cgroup_parent.clone(),
            remove_mount_stubs_recursive: true,
            ..pb::Meta::default()
        };
        let exec = pb::ExecOp {
            meta: Some(meta),
            mounts: mounts.mounts,
            network: self.network(run)?,
            security: match run.security.as_deref() {
                None | Some("" | "sandbox") => pb::SecurityMode::Sandbox as i32,
                Some("insecure") => pb::SecurityMode::Insecure as i32,
                Some(other) => {
                    return Err(SolveError::Invalid(format!(
                        "security {other:?} is not valid"
                    )));
                }
            },
            secretenv: mounts.secrets,
            cdi_devices: Vec::new(),
        };
        let mut text = located.original.clone();
        if let [document, ..] = &run.heredocs[..] {
            text.push_str(&format!(" ({})", summary(&document.content)));
        }
        let about = self.about(stage, located, &text);
        let op = pb::op::Op::Exec(exec);
        let output = self
            .builder
            .add(op, &mounts.inputs, Some(&stage.platform), about);
        stage.output = Some(output);
        Ok(Ran {
            command,
            args,
            has_proxies: !proxies.is_empty(),
        })
    }

    fn network(&self, run: &Run) -> Result<i32, SolveError> {
        let own = run
            .network
            .as_deref()
            .filter(|mode| !matches!(*mode, "" | "default"));
        let mode = own.unwrap_or(&self.options.network);
        Ok(match mode {
            "" | "default" | "sandbox" => pb::NetMode::Unset,
            "none" => pb::NetMode::None,
            "host" => pb::NetMode::Host,
            other => {
                let text = format!("unsupported network mode {other:?}");
                return Err(SolveError::Invalid(text));
            }
        } as i32)
    }

    /// The command, with the shell before it and its here-documents in it.
    fn command(&mut self, stage: &Stage, run: &Run, mounts: &mut Mounts) -> Vec<String> {
        match flags::Command::of(run, stage.shell()) {
            flags::Command::Words(words) => words,
            flags::Command::Script(document) => vec![self.script(document, mounts)],
        }
    }

    /// A script with an interpreter of its own, as a file that the command sees.
    fn script(&mut self, document: &Heredoc, mounts: &mut Mounts) -> String {
        let file = document.name.rsplit('/').next().unwrap_or_default();
        let path = format!("/dev/pipes/{file}");
        let mkfile = pb::FileActionMkFile {
            path: format!("/{file}"),
            mode: 0o755,
            data: document.content.as_bytes().to_vec(),
            owner: None,
            timestamp: 0,
        };
        let action = pb::FileAction {
            input: -1,
            secondary_input: -1,
            output: 0,
            action: Some(pb::file_action::Action::Mkfile(mkfile)),
        };
        let op = pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        });
        let about = About {
            name: "[internal] preparing inline document".to_owned(),
            ..About::default()
        };
        let output = self.builder.add(op, &[], None, about);
        let input = mounts.input(Some(output));
        mounts.mounts.push(pb::Mount {
            input,
            selector: format!("/{file}"),
            dest: path.clone(),
            output: -1,
            readonly: true,
            ..pb::Mount::default()
        });
        path
    }

    async fn mount(
        &mut self,
        at: usize,
        stage: &Stage,
        flag: &MountFlag,
        mounts: &mut Mounts,
    ) -> Result<(), SolveError> {
        let fields = Fields::read(flag, |text| self.word(stage, text))?;
        let kind = fields.text(&["type"]).unwrap_or("bind").to_owned();
        let target = fields.target().map(|target| stage.absolute(target));
        let needed = || {
            target
                .clone()
                .ok_or_else(|| SolveError::Invalid(format!("type={kind} mount requires a target")))
        };
        let mount = match kind.as_str() {
            "bind" | "cache" => {
                let from = fields.text(&["from"]).map(str::to_owned);
                let selector = fields.text(&["source", "src"]).unwrap_or_default();
                let selector = match selector.trim_start_matches('/') {
                    "" | "." | "./" => String::new(),
                    inside => format!("/{inside}"),
                };
                let files = match &from {
                    Some(from) => {
                        let Place::Files(files) = self.place(at, stage, from).await?;
                        files
                    }
                    None if kind == "bind" => self.context(&selector).await?,
                    None => None,
                };
                match kind.as_str() {
                    "bind" => {
                        let writable = fields.is_on(&["rw", "readwrite"])?;
                        let read_only = fields.is_on(&["ro", "readonly"])?;
                        pb::Mount {
                            input: mounts.input(files),
                            selector,
                            dest: needed()?,
                            output: -1,
                            readonly: !writable.unwrap_or(read_only == Some(false)),
                            ..pb::Mount::default()
                        }
                    }
                    _ => self.cache(&fields, files, selector, needed()?, mounts)?,
                }
            }
            "tmpfs" => pb::Mount {
                input: -1,
                dest: needed()?,
                output: -1,
                mount_type: pb::MountType::Tmpfs as i32,
                tmpfs_opt: Some(pb::TmpfsOpt {
                    size: match fields.text(&["size"]) {
                        Some(text) => flags::bytes(text)?,
                        None => 0,
                    },
                }),
                ..pb::Mount::default()
            },
            "secret" => match secret(&fields, target, mounts)? {
                Some(mount) => mount,
                None => return Ok(()),
            },
            "ssh" => agent(&fields, target, mounts)?,
            other => {
                return Err(SolveError::Invalid(format!(
                    "unsupported mount type {other:?}"
                )));
            }
        };
        mounts.mounts.push(mount);
        Ok(())
    }

    /// A cache begins with the files of a place, or with a folder of its owner.
    fn cache(
        &mut self,
        fields: &Fields,
        files: Option<Output>,
        selector: String,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<pb::Mount, SolveError> {
        let mode = fields.number("mode", 8)?;
        let owner = (fields.number("uid", 10)?, fields.number("gid", 10)?);
        let (files, selector) = match (files, mode, owner) {
            (None, None, (None, None)) => (None, String::new()),
            (None, mode, (uid, gid)) => {
                let mkdir = pb::FileActionMkDir {
                    path: "/cache".to_owned(),
                    mode: i32::try_from(mode.unwrap_or(0o755)).unwrap_or(0o755),
                    make_parents: false,
                    owner: super::convert::owner_of(&format!(
                        "{}:{}",
                        uid.unwrap_or(0),
                        gid.unwrap_or(0)
                    )),
                    timestamp: 0,
                };
                let action = pb::FileAction {
                    input: -1,
                    secondary_input: -1,
                    output: 0,
                    action: Some(pb::file_action::Action::Mkdir(mkdir)),
                };
                let op = pb::op::Op::File(pb::FileOp {
                    actions: vec![action],
                });
                let about = About {
                    name: "[internal] settings cache mount permissions".to_owned(),
                    ..About::default()
                };
                let output = self.builder.add(op, &[], None, about);
                (Some(output), "/cache".to_owned())
            }
            (files, ..) => (files, selector),
        };
        let sharing = match fields.text(&["sharing"]).unwrap_or("shared") {
            "shared" => pb::CacheSharingOpt::Shared,
            "private" => pb::CacheSharingOpt::Private,
            "locked" => pb::CacheSharingOpt::Locked,
            other => {
                return Err(SolveError::Invalid(format!(
                    "unsupported sharing value {other:?}"
                )));
            }
        };
        let id = fields.text(&["id"]).unwrap_or(&target);
        let id = match self.options.cache_namespace.as_str() {
            "" => id.to_owned(),
            own => format!("{own}/{}", id.trim_start_matches('/')),
        };
        Ok(pb::Mount {
            input: mounts.input(files),
            selector,
            output: -1,
            readonly: fields.is_on(&["ro", "readonly"])?.unwrap_or(false),
            mount_type: pb::MountType::Cache as i32,
            cache_opt: Some(pb::CacheOpt {
                id,
                sharing: sharing as i32,
            }),
            dest: target,
            ..pb::Mount::default()
        })
    }
}

fn secret(
    fields: &Fields,
    target: Option<String>,
    mounts: &mut Mounts,
) -> Result<Option<pb::Mount>, SolveError> {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let id = match (fields.text(&["id", "source"]), &target) {
        (Some(id), _) => id.to_owned(),
        (None, Some(target)) => base(target),
        (None, None) => {
            let text = "one of source, target required";
            return Err(SolveError::Invalid(text.to_owned()));
        }
    };
    let optional = !fields.is_on(&["required"])?.unwrap_or(false);
    if let Some(name) = fields.text(&["env"]) {
        mounts.secrets.push(pb::SecretEnv {
            id: id.clone(),
            name: name.to_owned(),
            optional,
        });
        if target.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(pb::Mount {
        input: -1,
        dest: target.unwrap_or_else(|| format!("/run/secrets/{}", base(&id))),
        output: -1,
        mount_type: pb::MountType::Secret as i32,
        secret_opt: Some(pb::SecretOpt {
            id,
            uid: fields.number("uid", 10)?.unwrap_or(0),
            gid: fields.number("gid", 10)?.unwrap_or(0),
            mode: fields.number("mode", 8)?.unwrap_or(0o400),
            optional,
        }),
        ..pb::Mount::default()
    }))
}

fn agent(
    fields: &Fields,
    target: Option<String>,
    mounts: &mut Mounts,
) -> Result<pb::Mount, SolveError> {
    let default = format!("/run/buildkit/ssh_agent.{}", mounts.agents);
    let target = target.unwrap_or(default);
    if mounts.agents == 0 {
        mounts.env.push(format!("SSH_AUTH_SOCK={target}"));
    }
    mounts.agents += 1;
    Ok(pb::Mount {
        input: -1,
        dest: target,
        output: -1,
        mount_type: pb::MountType::Ssh as i32,
        ssh_opt: Some(pb::SshOpt {
            id: fields.text(&["id"]).unwrap_or("default").to_owned(),
            uid: fields.number("uid", 10)?.unwrap_or(0),
            gid: fields.number("gid", 10)?.unwrap_or(0),
            mode: fields.number("mode", 8)?.unwrap_or(0o600),
            optional: !fields.is_on(&["required"])?.unwrap_or(false),
        }),
        ..pb::Mount::default()
    })
}

fn proxy(pairs: &[String]) -> Option<pb::ProxyEnv> {
    if pairs.is_empty() {
        return None;
    }
    let value = |name: &str| {
        let mut found = pairs.iter().filter_map(|pair| pair.split_once('='));
        let found = found.rfind(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    Some(pb::ProxyEnv {
        http_proxy: value("HTTP_PROXY"),
        https_proxy: value("HTTPS_PROXY"),
        ftp_proxy: value("FTP_PROXY"),
        no_proxy: value("NO_PROXY"),
        all_proxy: value("ALL_PROXY"),
    })
}

/// The beginning of a here-document (`summarizeHeredoc`).
fn summary(text: &str) -> String {
    let first = text.trim().lines().next().unwrap_or_default();
    match first.char_indices().nth(30) {
        Some((at, _)) => format!("{}...", &first[..at]),
        None if text.trim().lines().count() > 1 => format!("{first}..."),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_the_arguments() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let mut ran = Ran {
            command: words(&["/bin/sh", "-c", "x y"]),
            ..Ran::default()
        };
        assert_eq!(ran.remembered(), "RUN /bin/sh -c x y");
        ran.args = words(&["A=1"]);
        assert_eq!(ran.remembered(), "RUN |1 A=1 /bin/sh -c x y");
        assert_eq!(summary("echo a\necho b\n"), "echo a...");
        assert_eq!(summary("echo a\n"), "echo a");
    }
}
