//! A client's ssh agent, behind a socket.

use std::path::Path;

use bollard_buildkit_proto::moby::sshforward::v1::BytesMessage;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::{Channel, origin};
use crate::error::Error;

/// What an agent says at once.
const CHUNK: usize = 32 << 10;

/// Serves the agent `id` on a socket at `path`, until the handle is dropped.
///
/// # Errors
/// If the socket cannot be made.
pub(crate) fn serve(
    channel: Channel,
    id: &str,
    path: &Path,
) -> Result<AbortOnDropHandle<()>, Error> {
    let listener = UnixListener::bind(path);
    let listener = listener.map_err(Error::io("make the socket of an ssh agent"))?;
    let id = id.to_owned();
    let serve = async move {
        // All that are open go with the handle.
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            while open.try_join_next().is_some() {}
            let (channel, id) = (channel.clone(), id.clone());
            open.spawn(async move {
                if let Err(error) = forward(channel, &id, stream).await {
                    tracing::debug!(%error, "forward an ssh agent");
                }
            });
        }
    };
    Ok(AbortOnDropHandle::new(tokio::spawn(serve)))
}

async fn forward(channel: Channel, id: &str, stream: UnixStream) -> Result<(), Error> {
    let (reader, mut writer) = stream.into_split();
    let said = ReaderStream::with_capacity(reader, CHUNK);
    let said = said.take_while(|read| std::future::ready(read.is_ok()));
    let said = said.map(|read| BytesMessage {
        data: read.unwrap_or_default().to_vec(),
    });
    let mut request = Request::new(said);
    let id = MetadataValue::try_from(id);
    let id = id.map_err(|_| Error::Invalid("the agent's id is no header".to_owned()))?;
    request.metadata_mut().insert("buildkit.ssh.id", id);
    let mut client = SshClient::with_origin(channel, origin());
    let answers = client.forward_agent(request).await.map_err(Error::Client)?;
    let mut answers = answers.into_inner();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(Error::Client)?;
        let written = writer.write_all(&answer.data).await;
        written.map_err(Error::io("write to an ssh agent's user"))?;
    }
    Ok(())
}
