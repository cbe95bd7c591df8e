//! `local`: the files of the result, into a folder of the client.

use super::{Export, Response};
use crate::error::Error;
use crate::session::{Target, send_files};

impl Export<'_> {
    /// Sends them.
    pub(super) async fn local(&self) -> Result<Response, Error> {
        let files = self.job.work.files(self.outcome, &self.attributes).await?;
        let sent = async {
            let session = self.kit.sessions.get(&self.job.session).await?;
            let target = Target {
                exporter: self.number,
                ..Target::default()
            };
            send_files(&session, &target, files.root(), files.epoch()).await
        };
        let sent = sent.await;
        files.end(sent.as_ref().err()).await;
        sent?;
        Ok(Response::new())
    }
}
