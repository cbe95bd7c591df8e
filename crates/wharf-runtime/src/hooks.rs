//! The spec's hooks: programs that run at points of a container's life, with its state on standard input.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};

use oci_spec::runtime::{Hook, Hooks, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::Failure;

/// Whether any of the spec's hooks run before the container's root is its own.
pub(crate) fn any_early(spec: &Spec) -> bool {
    let listed = |hooks: &Option<Vec<Hook>>| hooks.as_ref().is_some_and(|all| !all.is_empty());
    let hooks = spec.hooks().as_ref();
    hooks.is_some_and(|hooks| {
        listed(&prestart(hooks))
            || listed(hooks.create_runtime())
            || listed(hooks.create_container())
    })
}

/// The hooks of `prestart`, which the specification has given up and its users have not.
#[allow(deprecated, reason = "as long as runc runs them")]
fn prestart(hooks: &Hooks) -> Option<Vec<Hook>> {
    hooks.prestart().clone()
}

/// All hooks, each with its point and its number there.
pub fn all(hooks: &Hooks) -> Vec<(&'static str, usize, Hook)> {
    let points = [
        ("prestart", prestart(hooks)),
        ("createRuntime", hooks.create_runtime().clone()),
        ("createContainer", hooks.create_container().clone()),
        ("startContainer", hooks.start_container().clone()),
        ("poststart", hooks.poststart().clone()),
        ("poststop", hooks.poststop().clone()),
    ];
    let numbered = |(point, listed): (&'static str, Option<Vec<Hook>>)| {
        let listed = listed.unwrap_or_default().into_iter().enumerate();
        listed.map(move |(number, hook)| (point, number, hook))
    };
    points.into_iter().flat_map(numbered).collect()
}

/// Those that the runtime runs in its own namespaces once the container's are there.
pub(crate) fn run_in_runtime(hooks: &Hooks, state: &Value) -> Result<(), Failure> {
    run_all("prestart", prestart(hooks).as_deref(), state)?;
    run_all("createRuntime", hooks.create_runtime().as_deref(), state)
}

/// Runs the hooks of one point, up to the first that fails.
///
/// # Errors
/// As [`run`].
pub fn run_all(point: &str, hooks: Option<&[Hook]>, state: &Value) -> Result<(), Failure> {
    let mut hooks = hooks.unwrap_or_default().iter().enumerate();
    hooks.try_for_each(|(number, hook)| run(point, number, hook, state))
}

/// Runs the hooks of a container that is gone, whose `state` was this; each failure goes to `warn`. One that fails keeps no other
/// from running (OCI, lifecycle).
pub fn run_poststop(hooks: Option<&[Hook]>, mut state: Value, warn: impl Fn(Failure)) {
    state["status"] = "stopped".into();
    // There is no process any more.
    state.as_object_mut().map(|state| state.remove("pid"));
    for (number, hook) in hooks.unwrap_or_default().iter().enumerate() {
        if let Err(failure) = run("poststop", number, hook, &state) {
            warn(failure);
        }
    }
}

/// Runs a hook, the `number`th of `point`, with `state` on its standard input.
///
/// # Errors
/// If it cannot be run, ends with another code than 0, or takes longer than it may: it is killed then.
fn run(point: &str, number: usize, hook: &Hook, state: &Value) -> Result<(), Failure> {
    let failed =
        |words: String| Failure::other(format!("error running {point} hook #{number}: {words}"));
    let inside = matches!(point, "createContainer" | "startContainer");
    attempt(hook, state, inside).map_err(failed)
}

/// `inside`: it runs in the container's namespaces, or its root.
fn attempt(hook: &Hook, state: &Value, inside: bool) -> Result<(), String> {
    let words = |error: io::Error| {
        let path = hook.path().display();
        format!("fork/exec {path}: {}", wharf_sys::words::of(&error))
    };
    // Files in memory: nothing blocks on them, and a program that is left behind holds none of ours open.
    let (mut output, mut errors) = (file().map_err(words)?, file().map_err(words)?);
    let mut child = command(hook, state, inside, (&output, &errors))
        .and_then(|mut command| wharf_sys::signals::unblocked(&mut command).spawn())
        .map_err(words)?;
    let status = wait(hook, &mut child)?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "{}, stdout: {}, stderr: {}",
        ended(status),
        text(&mut output),
        text(&mut errors)
    ))
}

fn command(
    hook: &Hook,
    state: &Value,
    inside: bool,
    (output, errors): (&File, &File),
) -> io::Result<Command> {
    let mut input = file()?;
    input.write_all(state.to_string().as_bytes())?;
    input.rewind()?;
    let mut command = Command::new(hook.path());
    if let Some((name, arguments)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(arguments);
    }
    // One of ours that says nothing of an environment has ours, as with runc and crun; what is ours is none of the container's.
    if inside || hook.env().is_some() {
        command.env_clear();
    }
    for entry in hook.env().iter().flatten() {
        if let Some((key, value)) = entry.split_once('=').filter(|(key, _)| !key.is_empty()) {
            command.env(key, value);
        }
    }
    command
        .stdin(input)
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?);
    Ok(command)
}

fn file() -> io::Result<File> {
    Ok(memfd_create("hook", MemfdFlags::CLOEXEC)?.into())
}

fn wait(hook: &Hook, child: &mut Child) -> Result<ExitStatus, String> {
    let limit = hook.timeout().filter(|seconds| *seconds > 0);
    if let Some(tv_sec) = limit {
        let timeout = Timespec { tv_sec, tv_nsec: 0 };
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| error.to_string())?;
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
        if ended == Ok(0) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("hook ran past specified timeout of {tv_sec}.0s"));
        }
    }
    child.wait().map_err(|error| error.to_string())
}

/// As Go says it.
fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal: {}", name_of(signal.unwrap_or(0))),
    }
}

/// The signals that end programs, in Go's words.
fn name_of(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// What it said, to a sensible length.
fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind();
    let _ = file.take(2048).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
