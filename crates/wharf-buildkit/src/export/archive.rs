//! `docker`, `oci` and `tar`: an archive for the client.

use wharf_solver::ArchiveKind;

use super::{Export, Response};
use crate::error::Error;
use crate::session::{Target, archive};

impl Export<'_> {
    /// Sends it.
    pub(super) async fn archive(&self, kind: ArchiveKind) -> Result<Response, Error> {
        let mut made = self
            .job
            .work
            .archive(self.outcome, kind, &self.attributes)
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
