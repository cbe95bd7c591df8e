//! `tar` and `local`: the files of the result.

use std::os::fd::AsFd as _;

use wharf_engine::Workspace;
use wharf_layer::{PackOptions, pack};
use wharf_sys::root::Root;

use super::{Export, Response};
use crate::error::Error;
use crate::session::{Target, archive, send_files};
use crate::time::now;

impl Export<'_> {
    /// The files, and what keeps them.
    async fn root(&self) -> Result<(Root, Workspace), Error> {
        let containers = &self.kit.engine.containers;
        let workspace = containers.workspace(Some(&self.built.image.id))?;
        let open = move || Ok::<_, Error>((workspace.root()?, workspace));
        let opened = tokio::task::spawn_blocking(open).await;
        opened.map_err(|error| Error::Failed(error.to_string()))?
    }

    fn target(&self) -> Target {
        Target {
            exporter: self.number,
            ..Target::default()
        }
    }

    /// As one archive.
    pub(super) async fn tar(&self) -> Result<Response, Error> {
        let step = self.job.trace.begin("exporting to client tarball");
        let sent = async {
            let session = self.kit.sessions.get(&self.job.session).await?;
            let (root, keep) = self.root().await?;
            let started = now();
            let write = move |out: &mut crate::session::Pipe| {
                let _keep = keep;
                let packed = pack(root.as_fd(), out, &PackOptions::default());
                packed
                    .map(drop)
                    .map_err(|error| Error::Failed(error.to_string()))
            };
            archive(&session, &self.target(), write).await?;
            step.done_with("sending tarball", started);
            Ok(Response::new())
        };
        let sent = sent.await;
        step.end(sent)
    }

    /// Into a folder of the client.
    pub(super) async fn local(&self) -> Result<Response, Error> {
        let step = self.job.trace.begin("exporting to client directory");
        let sent = async {
            let session = self.kit.sessions.get(&self.job.session).await?;
            let (root, _keep) = self.root().await?;
            let started = now();
            send_files(&session, &self.target(), root).await?;
            step.done_with("copying files", started);
            Ok(Response::new())
        };
        let sent = sent.await;
        step.end(sent)
    }
}
