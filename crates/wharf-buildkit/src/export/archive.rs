//! `docker`, `oci` and `tar`: an archive for the client.

use wharf_solver::{ArchiveKind, flag};

use super::{Export, Response};
use crate::error::Error;
use crate::session::{Target, archive};

impl Export<'_> {
    /// Sends it.
    pub(super) async fn archive(&self, kind: ArchiveKind) -> Result<Response, Error> {
        let work = &self.job.work;
        let provenance = work.provenance()?;
        // An archive for `docker load` holds an image and nothing beside it.
        let provenance = provenance.filter(|_| kind == ArchiveKind::Oci);
        if flag(&self.attributes, "tar")? == Some(false) && kind != ArchiveKind::Tar {
            let said = work.layout(self.outcome, kind, &self.attributes, provenance);
            return Ok(said.await?.into_iter().collect());
        }
        let mut made = work
            .archive(self.outcome, kind, &self.attributes, provenance)
            .await?;
        let said: Response = made.response.clone().into_iter().collect();
        let write = made.writing();
        let sent = async {
            let session = self.kit.sessions.get(&self.job.session).await?;
            let target = Target {
                exporter: self.number,
                metadata: said.clone(),
            };
            archive(&session, &target, |pipe| Ok(write(pipe)?)).await
        };
        let sent = sent.await;
        made.end(sent.as_ref().err()).await;
        sent?;
        Ok(said)
    }
}
