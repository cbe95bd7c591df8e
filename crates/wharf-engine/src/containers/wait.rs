//! `wait`.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Containers, WaitCondition, WaitResult};
use crate::{EngineError, Status, View};

/// A wait that has begun: nothing that happens after [`Containers::wait`] has returned is missed.
pub struct Waiter {
    view: watch::Receiver<Arc<View>>,
    condition: WaitCondition,
    /// How many runs had ended when the wait began.
    exits: u64,
}

impl Containers {
    /// Begins a wait.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn wait(&self, container: &str, condition: WaitCondition) -> Result<Waiter, EngineError> {
        let view = self.shared.find_or_gone(container)?.view.clone();
        let exits = view.borrow().exits;
        Ok(Waiter {
            view,
            condition,
            exits,
        })
    }
}

impl Waiter {
    /// Until it has come.
    pub async fn wait(mut self) -> WaitResult {
        let (condition, exits) = (self.condition, self.exits);
        let come = |view: &Arc<View>| match condition {
            WaitCondition::NotRunning => !view.state.running || view.exits > exits,
            WaitCondition::NextExit => view.exits > exits,
            WaitCondition::Removed => view.state.status == Status::Dead,
        };
        let found = self.view.wait_for(|view| view.removed || come(view)).await;
        // Without a supervisor there is no container: the last view stands.
        let view = found.map(|view| view.clone());
        let view = view.unwrap_or_else(|_| self.view.borrow().clone());
        // Of one that could not be started, too; but a run that has ended has not failed for what went wrong after it.
        let failed = view.state.status == Status::Dead || view.start_failed;
        WaitResult {
            code: view.state.exit_code,
            error: failed.then(|| view.state.error.clone()),
        }
    }
}
