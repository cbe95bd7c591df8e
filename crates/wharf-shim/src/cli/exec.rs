//! `exec`.

use std::os::fd::AsFd as _;
use std::path::Path;

use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec};
use wharf_cgroups::{Cgroup, Layout};
use wharf_runtime::{Created, ExecConfig, ProcessIo, session_keyring};
use wharf_sys::words::chain;

use super::container::{Container, Status};
use super::create::{preserved, terminal_fits, write_pid};
use super::flags::{Command, Said, Takes};
use super::global::Global;
use super::{Outcome, check, foreground, load, terminal};

pub(crate) const EXEC: Command = Command {
    name: "exec",
    about: "execute new process inside the container",
    usage: "[command options] <container-id> <command> [command options]  || -p process.json <container-id>",
    words: (1, None),
    flags: &[
        (
            "console-socket",
            "",
            Takes::Value,
            "path to an AF_UNIX socket which will receive the master end of the console's pseudoterminal",
        ),
        (
            "pidfd-socket",
            "",
            Takes::Value,
            "path to an AF_UNIX socket which will receive a pidfd of the process",
        ),
        (
            "cwd",
            "",
            Takes::Value,
            "current working directory in the container",
        ),
        ("env", "e", Takes::Many, "set environment variables"),
        ("tty", "t", Takes::Nothing, "allocate a pseudo-TTY"),
        ("user", "u", Takes::Value, "UID (format: <uid>[:<gid>])"),
        ("additional-gids", "g", Takes::Numbers, "additional gids"),
        ("process", "p", Takes::Value, "path to the process.json"),
        (
            "detach",
            "d",
            Takes::Nothing,
            "detach from the container's process",
        ),
        (
            "pid-file",
            "",
            Takes::Value,
            "specify the file to write the process id to",
        ),
        (
            "process-label",
            "",
            Takes::Value,
            "set the asm process label for the process commonly used with selinux",
        ),
        (
            "apparmor",
            "",
            Takes::Value,
            "set the apparmor profile for the process",
        ),
        (
            "no-new-privs",
            "",
            Takes::Nothing,
            "set the no new privileges value for the process",
        ),
        (
            "cap",
            "c",
            Takes::Many,
            "add a capability to the bounding set for the process",
        ),
        (
            "preserve-fds",
            "",
            Takes::Number,
            "Pass N additional file descriptors to the container (stdio + N in total)",
        ),
        (
            "cgroup",
            "",
            Takes::Many,
            "run the process in an (existing) sub-cgroup(s). Format is [<controller>:]<cgroup>.",
        ),
        (
            "ignore-paused",
            "",
            Takes::Nothing,
            "allow exec in a paused container",
        ),
        (
            "no-subreaper",
            "",
            Takes::Nothing,
            "disable the use of the subreaper (there is none)",
        ),
    ],
    stops: true,
};

/// Runs a further process in a container.
pub(crate) fn exec(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    match container.status() {
        Status::Stopped => return Err("cannot exec in a stopped container".to_owned()),
        Status::Creating => return Err("container not running".to_owned()),
        Status::Paused if !said.has("ignore-paused") => {
            let text = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(text.to_owned());
        }
        _ => {}
    }
    let spec = container.spec()?;
    let process = process(global, said, &spec)?;
    check::process(&process)?;
    let detached = said.has("detach");
    let has_terminal = process.terminal() == Some(true);
    let socket = said.value("console-socket").unwrap_or_default();
    terminal_fits(has_terminal, detached, socket)?;
    let signals = (!detached).then(foreground::listen).transpose()?;
    let mut created = make(said, &container, &spec, &process)?;
    let settled = settle(said, &created).and_then(|()| {
        created
            .start()
            .map_err(|error| format!("unable to start container process: {}", chain(&error)))
    });
    if let Err(message) = settled {
        let _ = wharf_sys::process::send_signal(created.pidfd.as_fd(), 9);
        return Err(message);
    }
    let master = created.terminal.take();
    match signals {
        Some(signals) => foreground::wait(&created, master, &signals),
        None => Ok(0),
    }
}

fn settle(said: &Said, created: &Created) -> Result<(), String> {
    if let Some(path) = said.path("pid-file") {
        write_pid(Path::new(path), created.pid.as_raw_nonzero().get())?;
    }
    if let Some(socket) = said.path("pidfd-socket") {
        terminal::send(created.pidfd.as_fd(), "pidfd", Path::new(socket))
            .map_err(|error| format!("dial unix {socket}: connect: {error}"))?;
    }
    match (&created.terminal, said.path("console-socket")) {
        (Some(master), Some(socket)) => terminal::hand_over(master, Path::new(socket))
            .map_err(|error| format!("dial unix {socket}: connect: {error}")),
        _ => Ok(()),
    }
}

fn make(
    said: &Said,
    container: &Container,
    spec: &Spec,
    process: &Process,
) -> Result<Created, String> {
    let pidfd = super::kill::pidfd_of(container).ok_or("container not running")?;
    let (cgroup, more) = groups(said, container)?;
    let state = container.oci_state("running", container.pid);
    let config = ExecConfig {
        process,
        container: pidfd.as_fd(),
        cgroup: cgroup.as_ref(),
        seccomp: crate::filter::of(spec, &state)?,
        io: if process.terminal() == Some(true) {
            ProcessIo::Terminal { size: None }
        } else {
            ProcessIo::Inherit
        },
        user: String::new(),
        groups: Vec::new(),
        die_with_caller: false,
        preserve_fds: preserved(said, 3)?,
        keyring: container.keyring.then(|| session_keyring(&container.id)),
    };
    let created = wharf_runtime::exec(config)
        .map_err(|error| format!("unable to start container process: {}", chain(&error)))?;
    for folder in more {
        let file = folder.join("cgroup.procs");
        std::fs::write(&file, created.pid.as_raw_nonzero().to_string())
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(created)
}

/// The group of the process, and those of single controllers that it is moved to.
fn groups(
    said: &Said,
    container: &Container,
) -> Result<(Option<Cgroup>, Vec<std::path::PathBuf>), String> {
    let Some(cgroup) = container.cgroup() else {
        return match said.value("cgroup") {
            Some(_) => Err("the container has no control group".to_owned()),
            None => Ok((None, Vec::new())),
        };
    };
    let (mut main, mut more) = (None, Vec::new());
    for word in said.all("cgroup") {
        let (controllers, below) = word.split_once(':').unwrap_or(("", word));
        let below = Path::new(below.trim_start_matches('/'));
        if below.components().any(|part| part.as_os_str() == "..") {
            return Err(format!("{} is not a sub cgroup path", below.display()));
        }
        let path = Path::new(cgroup.path()).join(below);
        let names: Vec<&str> = controllers
            .split(',')
            .filter(|name| !name.is_empty())
            .collect();
        match cgroup.layout() {
            Layout::V2 { .. } if !names.is_empty() => {
                let text = "cgroup v2 does not support per-controller sub-cgroups";
                return Err(format!("invalid --cgroup value: \"{word}\": {text}"));
            }
            Layout::V2 { mount } => existing(mount.join(&path))?,
            Layout::V1 { controllers } => {
                let known = |name: &&&str| controllers.iter().any(|(one, _)| *one == **name);
                if let Some(unknown) = names.iter().find(|name| !known(name)) {
                    return Err(format!("unknown controller {unknown} in SubCgroupPaths"));
                }
                for (name, mount) in controllers {
                    let wanted = names.is_empty() || names.iter().any(|one| one == name);
                    if !wanted {
                        continue;
                    }
                    existing(mount.join(&path))?;
                    more.extend((!names.is_empty()).then(|| mount.join(&path)));
                }
            }
        }
        if names.is_empty() {
            // A path, whatever is in its name.
            let path = format!("/{}", path.display());
            main = Some(Cgroup::open(&path).map_err(|error| chain(&error))?);
        }
    }
    Ok((main.or(Some(cgroup)), more))
}

fn existing(folder: std::path::PathBuf) -> Result<(), String> {
    match folder.join("cgroup.procs").exists() {
        true => Ok(()),
        false => Err(format!("sub-cgroup {} does not exist", folder.display())),
    }
}

fn process(global: &Global, said: &Said, spec: &Spec) -> Result<Process, String> {
    if let Some(path) = said.path("process") {
        let mut process = load::process(global, Path::new(path))?;
        if let Some(first) = spec.process() {
            complete(&mut process, first);
        }
        return Ok(process);
    }
    if said.words.len() < 2 {
        return Err("process args cannot be empty".to_owned());
    }
    let mut process = spec
        .process()
        .clone()
        .ok_or("the container has no process")?;
    process.set_args(Some(said.words[1..].to_vec()));
    process.set_terminal(Some(said.has("tty")));
    if let Some(cwd) = said.value("cwd").filter(|cwd| !cwd.is_empty()) {
        process.set_cwd(cwd.into());
    }
    if let Some(profile) = said.value("apparmor").filter(|name| !name.is_empty()) {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if let Some(label) = said.value("process-label").filter(|name| !name.is_empty()) {
        process.set_selinux_label(Some(label.to_owned()));
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(said.all("env").map(str::to_owned));
    process.set_env(Some(env));
    if let Some(quiet) = said.value("no-new-privs") {
        process.set_no_new_privileges(Some(quiet == "true"));
    }
    capabilities(global, said, &mut process);
    user(said, &mut process)?;
    Ok(process)
}

/// What a process does not say of itself it has as the container's first one, as with runc.
fn complete(process: &mut Process, first: &Process) {
    if process.capabilities().is_none() {
        process.set_capabilities(first.capabilities().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(first.oom_score_adj());
    }
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    if empty(process.apparmor_profile()) {
        process.set_apparmor_profile(first.apparmor_profile().clone());
    }
    if empty(process.selinux_label()) {
        process.set_selinux_label(first.selinux_label().clone());
    }
    if process.rlimits().iter().flatten().count() == 0 {
        process.set_rlimits(first.rlimits().clone());
    }
}

/// `--cap` adds to all sets but the ambient one, which gets what is inheritable as well.
fn capabilities(global: &Global, said: &Said, process: &mut Process) {
    let mut unknown = Vec::new();
    let mut sets = process.capabilities().clone().unwrap_or_else(none);
    let mut changed = false;
    for word in said.all("cap") {
        let name = serde_json::Value::from(word);
        let Ok(one) = serde_json::from_value::<Capability>(name) else {
            unknown.push(word);
            continue;
        };
        changed = true;
        let inheritable = sets.inheritable().clone();
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(one);
            Some(set)
        };
        let (bounding, effective, permitted) = (
            with(sets.bounding()),
            with(sets.effective()),
            with(sets.permitted()),
        );
        let kept = inheritable.is_some_and(|set| set.contains(&one));
        let ambient = if kept {
            with(sets.ambient())
        } else {
            sets.ambient().clone()
        };
        sets.set_bounding(bounding);
        sets.set_effective(effective);
        sets.set_permitted(permitted);
        sets.set_ambient(ambient);
    }
    if changed {
        process.set_capabilities(Some(sets));
    }
    if !unknown.is_empty() {
        load::warn_of(global, &unknown);
    }
}

fn none() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None);
    sets.set_effective(None);
    sets.set_permitted(None);
    sets.set_inheritable(None);
    sets.set_ambient(None);
    sets
}

fn user(said: &Said, process: &mut Process) -> Result<(), String> {
    let mut user = process.user().clone();
    if let Some(text) = said.value("user").filter(|text| !text.is_empty()) {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text, None),
        };
        if let Some(gid) = gid {
            user.set_gid(number(gid, "gid")?);
        }
        user.set_uid(number(uid, "uid")?);
    }
    let mut more = user.additional_gids().clone().unwrap_or_default();
    for text in said.all("additional-gids") {
        more.push(number(text, "gid")?);
    }
    user.set_additional_gids((!more.is_empty()).then_some(more));
    process.set_user(user);
    Ok(())
}

fn number(text: &str, what: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        format!("parsing {text} as int for {what} failed: strconv.Atoi: parsing \"{text}\": invalid syntax")
    })
}
