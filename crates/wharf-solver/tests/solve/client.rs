//! A client of builds, in the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use wharf_builder::{BuildError, Client, Local, LocalRequest};
use wharf_distribution::Credentials;
use wharf_solver::*;

/// A client with a folder, and one secret if it is not poor.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) folder: PathBuf,
    pub(crate) poor: bool,
}

impl Client for Files {
    fn credentials<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Credentials>> {
        Box::pin(async { None })
    }

    fn secret<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BuildError>> {
        Box::pin(async move { Ok((id == "s" && !self.poor).then(|| b"hush".to_vec())) })
    }

    fn agent<'a>(
        &'a self,
        _: &'a str,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<Option<AbortOnDropHandle<()>>, BuildError>> {
        Box::pin(async { Ok(None) })
    }

    fn local<'a>(
        &'a self,
        _: &'a LocalRequest,
        _: watch::Sender<u64>,
    ) -> BoxFuture<'a, Result<Local, BuildError>> {
        let local = Local {
            folder: self.folder.clone(),
            keep: Arc::new(()),
        };
        Box::pin(async { Ok(local) })
    }
}

pub(crate) struct Build {
    pub(crate) job: Job,
    /// What its commands have said so far.
    pub(crate) heard: watch::Receiver<Vec<u8>>,
    pub(crate) said: tokio::task::JoinHandle<Vec<Progress>>,
}

pub(crate) fn begin(solver: &Solver, folder: &Path, id: &str) -> Build {
    begin_as(solver, folder, id, |_| ())
}

pub(crate) fn begin_as(
    solver: &Solver,
    folder: &Path,
    id: &str,
    change: impl FnOnce(&mut JobOptions),
) -> Build {
    let (progress, mut events) = mpsc::channel(64);
    let (hears, heard) = watch::channel(Vec::new());
    let said = tokio::spawn(async move {
        let mut said = Vec::new();
        while let Some(event) = events.recv().await {
            if let Progress::Log(log) = &event {
                hears.send_modify(|heard| heard.extend_from_slice(&log.data));
            }
            said.push(event);
        }
        said
    });
    let mut options = JobOptions {
        id: id.to_owned(),
        session: String::new(),
        client: Arc::new(Files {
            folder: folder.to_owned(),
            poor: false,
        }),
        progress,
        entitlements: BTreeSet::new(),
        attestations: BTreeMap::new(),
        writes_cache: false,
        inline_cache: false,
        remembers: true,
        policies: Arc::default(),
    };
    change(&mut options);
    let job = solver.job(options);
    Build { job, heard, said }
}

impl Build {
    /// Until one of its commands has said this.
    pub(crate) async fn hears(&self, text: &str) {
        let is_said = |heard: &Vec<u8>| String::from_utf8_lossy(heard).contains(text);
        let mut heard = self.heard.clone();
        heard.wait_for(is_said).await.unwrap();
    }
}

/// Lets steps go on that wait for `/c/go` in a cache mount with the file `name`.
pub(crate) fn go(data: &Path, name: &str) {
    let caches = std::fs::read_dir(data.join("builder/cache")).unwrap();
    let folders = caches.map(|cache| cache.unwrap().path().join("data"));
    let mut folders = folders.filter(|folder| folder.join(name).exists());
    std::fs::write(folders.next().unwrap().join("go"), "").unwrap();
}

pub(crate) async fn dockerfile(
    job: &Job,
    attrs: &[(&str, &str)],
) -> Result<SolveResult, SolveError> {
    // Bridges are no part of what is looked at here.
    let attrs = [("force-network-mode", "none")].iter().chain(attrs);
    let attrs = attrs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    job.solve(SolveRequest {
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs.collect(),
        ..SolveRequest::default()
    })
    .await
}
