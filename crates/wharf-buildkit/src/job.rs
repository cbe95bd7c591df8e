//! What is being built.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::frontend;
use bollard_buildkit_proto::pb::Definition;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wharf_solver::{Container, Ref};

use crate::error::Error;
use crate::progress::Trace;
use crate::session::is_id;

/// How long a call waits for the build that it is about.
const PATIENCE: Duration = Duration::from_secs(6);
/// The most builds at a time.
const MOST: usize = 256;
/// The most containers of a build's frontend.
const CONTAINERS: usize = 64;
/// Of as many that have ended it is known what they said.
const ENDED: usize = 16;

/// A result that the client's frontend has a name for.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Its files.
    pub(crate) tree: Ref,
    /// What it was solved from.
    pub(crate) definition: Definition,
}

/// A container of the client's frontend.
pub(crate) struct Hosted {
    pub(crate) container: Container,
    /// Nothing runs in it any more.
    pub(crate) released: CancellationToken,
}

/// A build.
pub(crate) struct Job {
    pub(crate) id: String,
    /// The session of the client that asked for it.
    pub(crate) session: String,
    pub(crate) trace: Arc<Trace>,
    /// What does the work.
    pub(crate) work: wharf_solver::Job,
    state: Mutex<State>,
}

/// What the client's own frontend has.
#[derive(Default)]
struct State {
    results: HashMap<String, Kept>,
    containers: HashMap<String, Arc<Hosted>>,
    returned: Option<oneshot::Sender<Result<frontend::Result, Status>>>,
}

impl Job {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a result for the client's frontend; what that knows it by.
    pub(crate) fn keep(&self, kept: Kept) -> String {
        let id = format!("{:032x}", rand::random::<u128>());
        self.state().results.insert(id.clone(), kept);
        id
    }

    /// A result that was kept.
    ///
    /// # Errors
    /// If there is none of that id.
    pub(crate) fn result(&self, id: &str) -> Result<Kept, Error> {
        let found = self.state().results.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("no such ref: {id}")))
    }

    /// Keeps a container of the client's frontend, under the name that it gives.
    ///
    /// # Errors
    /// If it has one of that name, or too many.
    pub(crate) fn host(&self, id: &str, container: Container) -> Result<(), Error> {
        let containers = &mut self.state().containers;
        if containers.contains_key(id) {
            return Err(Error::Invalid(format!("container {id} already exists")));
        }
        if containers.len() >= CONTAINERS {
            return Err(Error::Failed("too many containers at a time".to_owned()));
        }
        let hosted = Hosted {
            container,
            released: CancellationToken::new(),
        };
        containers.insert(id.to_owned(), Arc::new(hosted));
        Ok(())
    }

    /// A container that is kept.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn hosted(&self, id: &str) -> Result<Arc<Hosted>, Error> {
        let found = self.state().containers.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("container details for {id:?} not found")))
    }

    /// Lets go of a container; what runs in it is killed.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn release(&self, id: &str) -> Result<(), Error> {
        let hosted = self.hosted(id)?;
        hosted.released.cancel();
        self.state().containers.remove(id);
        Ok(())
    }

    /// Lets the client's own frontend come, from now on; what it will return.
    pub(crate) fn by_client(&self) -> oneshot::Receiver<Result<frontend::Result, Status>> {
        let (sender, receiver) = oneshot::channel();
        self.state().returned = Some(sender);
        receiver
    }

    /// Whether a frontend of the client's may come.
    pub(crate) fn is_open(&self) -> bool {
        self.state().returned.is_some()
    }

    /// What the client's frontend returns.
    ///
    /// # Errors
    /// If it has returned.
    pub(crate) fn give_back(&self, result: Result<frontend::Result, Status>) -> Result<(), Error> {
        let sender = self.state().returned.take();
        let sender = sender.ok_or_else(|| Error::Invalid("return was called before".to_owned()))?;
        // Who does not wait any more has gone.
        let _ = sender.send(result);
        Ok(())
    }
}

/// The builds. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Inner>);

#[derive(Default)]
struct Inner {
    jobs: Mutex<HashMap<String, Arc<Job>>>,
    /// What those that ended last have said: who asks for it may come late.
    ended: Mutex<VecDeque<(String, Arc<Trace>)>>,
    changed: Notify,
}

impl Jobs {
    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Job>>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a build; it ends when what is returned is dropped.
    ///
    /// # Errors
    /// If the id is none, or there is a build of that id.
    pub(crate) fn begin(
        &self,
        id: &str,
        session: &str,
        work: wharf_solver::Job,
    ) -> Result<Running, Error> {
        if !is_id(id) {
            return Err(Error::Invalid(format!("invalid build ref {id:?}")));
        }
        let job = Arc::new(Job {
            id: id.to_owned(),
            session: session.to_owned(),
            trace: Trace::new(),
            work,
            state: Mutex::default(),
        });
        {
            let mut jobs = self.jobs();
            if jobs.len() >= MOST {
                return Err(Error::Failed("too many builds at a time".to_owned()));
            }
            if jobs.contains_key(id) {
                return Err(Error::Invalid(format!("job ID {id} exists")));
            }
            jobs.insert(id.to_owned(), job.clone());
        }
        self.0.changed.notify_waiters();
        Ok(Running {
            jobs: self.clone(),
            job,
        })
    }

    /// The build of that id, when `ready` says so. One that is about to begin is waited for.
    ///
    /// # Errors
    /// If it does not begin.
    pub(crate) async fn get(
        &self,
        id: &str,
        ready: impl Fn(&Job) -> bool,
    ) -> Result<Arc<Job>, Error> {
        self.wait(id, || self.jobs().get(id).cloned().filter(|job| ready(job)))
            .await
    }

    /// What `found` finds of the build of that id, now or when something has changed.
    async fn wait<T>(&self, id: &str, found: impl Fn() -> Option<T>) -> Result<T, Error> {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                if let Some(found) = found() {
                    return found;
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.map_err(|_| Error::NotFound(format!("no such job {id}")))
    }

    /// What a build says that goes on, or is about to, or has just ended: on a busy machine one may begin and end before who waits
    /// for it looks again.
    ///
    /// # Errors
    /// If there is none of that id.
    pub(crate) async fn trace(&self, id: &str) -> Result<Arc<Trace>, Error> {
        self.wait(id, || {
            let goes_on = self.jobs().get(id).map(|job| job.trace.clone());
            goes_on.or_else(|| {
                let ended = self.ended();
                let (_, trace) = ended.iter().find(|(ended, _)| ended == id)?;
                Some(trace.clone())
            })
        })
        .await
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Arc<Trace>)>> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait look again.
    pub(crate) fn changed(&self) {
        self.0.changed.notify_waiters();
    }
}

/// A build that goes on until this is dropped.
pub(crate) struct Running {
    jobs: Jobs,
    pub(crate) job: Arc<Job>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut ended = self.jobs.ended();
        ended.push_front((self.job.id.clone(), self.job.trace.clone()));
        ended.truncate(ENDED);
        drop(ended);
        self.jobs.jobs().remove(&self.job.id);
        for hosted in self.job.state().containers.drain() {
            hosted.1.released.cancel();
        }
        self.job.trace.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client asks for what a build says before it asks for the build; on a busy machine that is over then.
    #[tokio::test]
    async fn a_build_that_was_waited_for_and_has_ended_is_found() {
        let jobs = Jobs::default();
        let mut waits = std::pin::pin!(jobs.trace("b"));
        assert!(futures_util::poll!(&mut waits).is_pending());
        jobs.changed();
        jobs.ended().push_front(("b".to_owned(), Trace::new()));
        assert!(matches!(
            futures_util::poll!(waits),
            std::task::Poll::Ready(Ok(_))
        ));
    }
}
