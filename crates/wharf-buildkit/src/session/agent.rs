//! A client's ssh agent, behind a socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::sshforward::v1::BytesMessage;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::{Channel, origin};
use crate::error::Error;

/// What an agent says at once.
const CHUNK: usize = 32 << 10;
/// Connections at the same time, each a descriptor of ours; further ones wait in the socket's queue.
const MOST: usize = 64;
/// Pause after a failed accept (out of descriptors), so that it is not tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(50);

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
        let places = Arc::new(Semaphore::new(MOST));
        // All that are open go with the handle.
        let mut open = tokio::task::JoinSet::new();
        while let Ok(place) = places.clone().acquire_owned().await {
            while open.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (channel, id) = (channel.clone(), id.clone());
            open.spawn(async move {
                if let Err(error) = forward(channel, &id, stream).await {
                    tracing::debug!(%error, "forward an ssh agent");
                }
                drop(place);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::sync::watch;

    use super::*;

    /// A command may connect as often as it likes; so many are served, and others when one of them has ended.
    #[tokio::test]
    async fn connections_are_served_some_at_a_time() {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (channel, connection) = Channel::open(ours).await.unwrap();
        tokio::spawn(connection);
        let (asked, mut count) = watch::channel((0, 0));
        let answers = Arc::new(Semaphore::new(0));
        let (told, answered) = (Arc::new(asked), answers.clone());
        let service = hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| {
            told.send_modify(|(all, now)| (*all, *now) = (*all + 1, *now + 1));
            let (told, answered) = (told.clone(), answered.clone());
            async move {
                answered.acquire().await.unwrap().forget();
                told.send_modify(|(_, now)| *now -= 1);
                Ok::<_, Infallible>(http::Response::new(String::new()))
            }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(theirs), service));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let _agent = serve(channel, "default", &path).unwrap();
        let mut open = Vec::new();
        for _ in 0..MOST + 3 {
            open.push(UnixStream::connect(&path).await.unwrap());
        }
        for ended in 0..=3 {
            let all = count.wait_for(|(all, _)| *all >= MOST + ended).await;
            assert_eq!(*all.unwrap(), (MOST + ended, MOST));
            answers.add_permits(1);
        }
    }
}
