//! `delete`.

use super::Outcome;
use super::container::{Container, Status};
use super::flags::{Command, Said, Takes};
use super::global::Global;

pub(crate) const DELETE: Command = Command {
    name: "delete",
    about: "delete any resources held by the container often used with detached container",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: &[(
        "force",
        "f",
        Takes::Nothing,
        "Forcibly deletes the container if it is still running (uses SIGKILL)",
    )],
    stops: false,
};

/// Removes what is left of a stopped container; with `--force` of any.
pub(crate) fn delete(global: &Global, said: &Said) -> Outcome {
    let force = said.has("force");
    let container = match Container::load(global, said) {
        // What a killed `create` or `delete` has left.
        Err(_) if force => return remove_leftover(&global.root.join(said.id()?)),
        other => other?,
    };
    let status = container.status();
    let stop = match status {
        Status::Stopped => false,
        Status::Creating if force => false,
        Status::Created => true,
        _ if force => true,
        _ => {
            let (id, word) = (&container.id, status.word());
            return Err(format!(
                "cannot delete container {id} that is not stopped: {word}"
            ));
        }
    };
    if stop {
        // It may end at this moment.
        let _ = super::kill::send(&container, 9);
        if status == Status::Paused {
            let _ = container.cgroup().map(|cgroup| cgroup.thaw());
        }
        super::kill::wait_for_end(&container)?;
    }
    container.remove(global).map(|()| 0)
}

fn remove_leftover(folder: &std::path::Path) -> Outcome {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!(
            "unable to remove container state dir: {}: {error}",
            folder.display()
        )),
        _ => Ok(0),
    }
}
