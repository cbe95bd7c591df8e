//! `top`: the processes of a container, as `ps` would show them.
//!
//! dockerd runs the host's `ps`; we read its words and `/proc` ourselves (Invariant 4 leaves no process to start here).

mod choice;
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
        if view.state.status == Status::Restarting {
            return Err(EngineError::restarting(&view.id));
        }
        if !view.state.running {
            return Err(EngineError::not_running(&view.id));
        }
        let listing = ps::listing(ps_args).map_err(EngineError::Failed)?;
        let task = entry.io().task.clone();
        let pids = match task {
            Some(task) => task.pids().await,
            None => Err(TaskError::Silent),
        };
        let pids = pids.or_else(|error| match error {
            TaskError::Gone => Err(EngineError::not_running(&view.id)),
            TaskError::Silent => Ok(self.shared.tasks.processes(&view.id)),
            error => Err(EngineError::failed(&error)),
        })?;
        if pids.is_empty() {
            // It ends at this moment.
            return Err(EngineError::not_running(&view.id));
        }
        // A process may have thousands of threads, and each has files in /proc.
        let look = tokio::task::spawn_blocking(move || look(pids, listing));
        let top = look.await.map_err(|error| EngineError::failed(&error))?;
        self.shared.emit_view(&view, "top", &[]);
        Ok(top)
    }
}

fn look(mut pids: Vec<u32>, listing: ps::Listing) -> Top {
    pids.sort_unstable();
    let processes = pids.into_iter().flat_map(|pid| match listing.threads {
        true => Process::read_threads(pid),
        false => Process::read(pid).into_iter().collect(),
    });
    let wanted = |process: &Process| listing.choice.wants(|name| process.column(name));
    let keyed = |process: Process| {
        let keys = listing.order.iter();
        let texts: Vec<String> = keys.map(|key| process.column(&key.column)).collect();
        (texts, process)
    };
    let mut processes: Vec<_> = processes.filter(wanted).map(keyed).collect();
    processes.sort_by(|(a, _), (b, _)| choice::order(&listing.order, a, b));
    let rows = processes.iter();
    let processes = rows.map(|(_, process)| row(process, &listing)).collect();
    let titles = listing.columns.into_iter();
    let titles = titles.map(|column| column.title).collect();
    Top { titles, processes }
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
