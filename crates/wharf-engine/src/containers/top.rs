//! `top`: the processes of a container, as `ps` would show them.
//!
//! dockerd runs the host's `ps`; we read `/proc` ourselves (Invariant 4 leaves no process to start here). The
//! default columns are those of `ps -ef`; `-o`/`-eo` and `aux` are understood.

use wharf_tasks::TaskError;

use super::{Containers, Top};
use crate::proc::Process;
use crate::{EngineError, Status};

const FULL: &[&str] = &["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const AUX: &[&str] = &[
    "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "command",
];

impl Containers {
    /// Its processes; `ps_args` are those of ps, `-ef` if empty.
    ///
    /// # Errors
    /// If it does not run, or a column is not known.
    pub async fn top(&self, container: &str, ps_args: &str) -> Result<Top, EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        let task = entry.io().task.clone();
        let Some(task) = task.filter(|_| view.state.running) else {
            return Err(EngineError::not_running(&view.id));
        };
        if view.state.status == Status::Restarting {
            let text = format!(
                "container {} is restarting, wait until the container is running",
                view.id
            );
            return Err(EngineError::Conflict(text));
        }
        let columns = columns(ps_args)?;
        let pids = task.pids().await;
        let mut pids = pids.map_err(|error| match error {
            TaskError::Gone => EngineError::not_running(&view.id),
            error => EngineError::failed(&error),
        })?;
        pids.sort_unstable();
        let processes = pids.into_iter().filter_map(Process::read);
        let row = |process: Process| {
            columns
                .iter()
                .map(|column| process.column(column))
                .collect()
        };
        let titles = columns
            .iter()
            .map(|column| title(column).to_owned())
            .collect();
        let processes = processes.map(row).collect();
        self.shared.emit_view(&view, "top", &[]);
        Ok(Top { titles, processes })
    }
}

fn columns(args: &str) -> Result<Vec<String>, EngineError> {
    let owned = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
    let mut chosen: Vec<String> = Vec::new();
    let mut aux = false;
    let mut words = args.split_whitespace();
    while let Some(word) = words.next() {
        let list = match word.strip_prefix('-') {
            Some(flags) if flags.ends_with('o') => words.next().unwrap_or_default(),
            Some(flags) => match flags.split_once('o') {
                Some((_, list)) => list,
                None => continue,
            },
            None if word == "o" => words.next().unwrap_or_default(),
            None => {
                aux |= word.contains('u');
                continue;
            }
        };
        chosen.extend(
            list.split(',')
                .filter(|name| !name.is_empty())
                .map(|name| name.split('=').next().unwrap_or(name).to_owned()),
        );
    }
    if let Some(unknown) = chosen.iter().find(|name| title(name).is_empty()) {
        let text = format!("ps: error: unknown user-defined format specifier \"{unknown}\"");
        return Err(EngineError::Failed(text));
    }
    Ok(match (chosen.is_empty(), aux) {
        (false, _) => {
            // dockerd needs the column to find the container's processes, and refuses without.
            if !chosen.iter().any(|name| name == "pid") {
                return Err(EngineError::Failed(
                    "Couldn't find PID field in ps output".to_owned(),
                ));
            }
            chosen
        }
        (true, true) => owned(AUX),
        (true, false) => owned(FULL),
    })
}

/// ps's heading of a column; empty for an unknown one.
fn title(column: &str) -> &'static str {
    match column {
        "uid" => "UID",
        "user" | "euser" | "ruser" => "USER",
        "group" | "egroup" => "GROUP",
        "gid" => "GID",
        "pid" | "tgid" => "PID",
        "ppid" => "PPID",
        "pgid" | "pgrp" => "PGID",
        "sid" | "sess" => "SID",
        "c" => "C",
        "%cpu" | "pcpu" => "%CPU",
        "%mem" | "pmem" => "%MEM",
        "vsz" | "vsize" => "VSZ",
        "rss" | "rssize" => "RSS",
        "tty" | "tt" | "tname" => "TTY",
        "stat" => "STAT",
        "s" | "state" => "S",
        "start" | "start_time" => "START",
        "stime" => "STIME",
        "time" | "cputime" => "TIME",
        "etime" => "ELAPSED",
        "ni" | "nice" => "NI",
        "pri" => "PRI",
        "nlwp" | "thcount" => "NLWP",
        "cmd" => "CMD",
        "args" | "command" => "COMMAND",
        "comm" | "ucmd" => "COMMAND",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn understands_ps() {
        assert_eq!(columns("").unwrap().len(), 8);
        assert_eq!(columns("-ef").unwrap().len(), 8);
        assert_eq!(columns("aux").unwrap().len(), 11);
        assert_eq!(columns("-eo pid,comm").unwrap(), ["pid", "comm"]);
        assert_eq!(columns("-o pid -o args").unwrap(), ["pid", "args"]);
        assert!(columns("-o comm").is_err());
        assert!(columns("-o pid,nonsense").is_err());
    }
}
