//! `docker` and `oci`: the image as an archive for the client.

use super::{Export, Response};
use crate::error::Error;
use crate::session::{Target, archive};
use crate::time::now;

impl Export<'_> {
    /// Sends the archive that `docker save` writes: an OCI layout, which is what both formats are.
    pub(super) async fn archive(&self, kind: &str) -> Result<Response, Error> {
        let shown = match kind {
            "oci" => "exporting to oci image format",
            _ => "exporting to docker image format",
        };
        let step = self.job.trace.begin(shown);
        let sent = self.sent(&step).await;
        step.end(sent)
    }

    async fn sent(&self, step: &crate::progress::Step) -> Result<Response, Error> {
        let names = self.names()?;
        let said = self.said(&names);
        let session = self.kit.sessions.get(&self.job.session).await?;
        let target = Target {
            exporter: self.number,
            metadata: said.clone(),
        };
        step.done_with("exporting layers", now());
        let started = now();
        let (kit, built) = (self.kit.clone(), self.built.clone());
        let wanted = names.iter().map(|name| name.clone().with_default_tag());
        let wanted: Vec<_> = wanted.collect();
        let write = move |out: &mut crate::session::Pipe| {
            let store = kit.engine.images.store();
            let id = built.image.id;
            store.save_as(&id, &wanted, out).map_err(Error::from)
        };
        archive(&session, &target, write).await?;
        step.done_with("sending tarball", started);
        Ok(said)
    }
}
