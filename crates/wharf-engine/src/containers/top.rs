//! `top`: the processes of a container, as `ps` would show them.
//!
//! dockerd runs the host's `ps`; we read its words and `/proc` ourselves (Invariant 4 leaves no process to start here).

mod ps;

use wharf_tasks::TaskError;

use super::{Containers, Top};
use crate::proc::Process;
use crate::{EngineError, Status};

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
        let listing = ps::listing(ps_args).map_err(EngineError::Failed)?;
        let pids = task.pids().await;
        let mut pids = pids.map_err(|error| match error {
            TaskError::Gone => EngineError::not_running(&view.id),
            error => EngineError::failed(&error),
        })?;
        pids.sort_unstable();
        if !listing.pids.is_empty() {
            pids.retain(|pid| listing.pids.contains(pid));
        }
        let processes = pids.into_iter().flat_map(|pid| match listing.threads {
            true => Process::read_threads(pid),
            false => Process::read(pid).into_iter().collect(),
        });
        let processes = processes.map(|process| row(&process, &listing)).collect();
        let titles = listing.columns.into_iter();
        let titles = titles.map(|column| column.title).collect();
        self.shared.emit_view(&view, "top", &[]);
        Ok(Top { titles, processes })
    }
}

/// A row as dockerd takes it from a line of ps: by its blanks, all that is left in the last column.
fn row(process: &Process, listing: &ps::Listing) -> Vec<String> {
    let texts = listing.columns.iter();
    let texts = texts.map(|column| process.column(&column.name));
    let line = texts.collect::<Vec<_>>().join(" ");
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let last = listing.columns.len().saturating_sub(1);
    if words.len() > last {
        let rest = words.split_off(last).join(" ");
        words.push(rest);
    }
    words
}
