//! Content stores of the client (`session/content`): OCI layouts and caches in folders of its own, by containerd's
//! content service.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use wharf_oci::{Descriptor, Digest};

use super::{Channel, Session, origin};
use crate::error::Error;

const INFO: &str = "/containerd.services.content.v1.Content/Info";
const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
/// Bytes of a blob in one message: clients take 4 MiB at most.
const CHUNK: usize = 1 << 20;
/// The largest message of a client.
const LARGEST: usize = 16 << 20;

/// Source of these messages: containerd, `api/services/content/v1/content.proto`.
#[derive(Clone, PartialEq, Eq, Message)]
struct InfoRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

/// What is said of a blob is not read: it is there if there is an answer.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct InfoResponse {}

#[derive(Clone, PartialEq, Eq, Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ReadResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Action {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct WriteRequest {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct WriteResponse {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(string, tag = "6")]
    digest: String,
}

/// One of the client's stores.
pub(crate) struct Store {
    grpc: Grpc<Channel>,
    id: MetadataValue<tonic::metadata::Ascii>,
}

impl Store {
    /// The store that the client calls so. Whether it has it, is seen when it is asked.
    ///
    /// # Errors
    /// If the client has no stores, or it can be no name of one.
    pub(crate) fn of(session: &Session, name: &str) -> Result<Self, Error> {
        let channel = session.service(READ)?;
        let id = MetadataValue::try_from(name);
        let id = id.map_err(|_| Error::Invalid(format!("invalid content store {name:?}")))?;
        Ok(Self {
            grpc: Grpc::with_origin(channel, origin()).max_decoding_message_size(LARGEST),
            id,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("buildkit-attachable-store-id", self.id.clone());
        request
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Error::Failed(format!("the client has gone: {error}")))
    }

    async fn has(&mut self, digest: &Digest) -> Result<bool, Error> {
        self.ready().await?;
        let digest = digest.to_string();
        let request = self.request(InfoRequest { digest });
        let codec = ProstCodec::<InfoRequest, InfoResponse>::default();
        let path = PathAndQuery::from_static(INFO);
        match self.grpc.unary(request, path, codec).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(Error::Client(status)),
        }
    }

    /// The bytes of a blob, as the client has them.
    ///
    /// # Errors
    /// If the client does not have it.
    pub(crate) async fn read(
        &mut self,
        digest: &Digest,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, Error> {
        self.ready().await?;
        let digest = digest.to_string();
        let request = self.request(ReadRequest { digest });
        let codec = ProstCodec::<ReadRequest, ReadResponse>::default();
        let path = PathAndQuery::from_static(READ);
        let answer = self.grpc.server_streaming(request, path, codec).await;
        let pieces = answer.map_err(Error::Client)?.into_inner();
        let pieces = pieces.map(|piece| {
            let piece = piece.map_err(|status| std::io::Error::other(status.message().to_owned()));
            piece.map(|piece| piece.data)
        });
        Ok(StreamReader::new(pieces))
    }

    /// Writes a blob, unless it is there.
    ///
    /// # Errors
    /// If the client does not take it, or `data` is not what `blob` says.
    pub(crate) async fn write(
        &mut self,
        blob: &Descriptor,
        data: impl AsyncRead + Send + Unpin,
    ) -> Result<(), Error> {
        if self.has(&blob.digest).await? {
            return Ok(());
        }
        self.ready().await?;
        let (sender, pieces) = mpsc::channel(4);
        let request = self.request(ReceiverStream::new(pieces));
        let codec = ProstCodec::<WriteRequest, WriteResponse>::default();
        let path = PathAndQuery::from_static(WRITE);
        let answered = async {
            let answer = self.grpc.streaming(request, path, codec).await?;
            let mut answers = answer.into_inner();
            while let Some(answer) = answers.next().await {
                let answer = answer?;
                if answer.action == i32::from(Action::Commit) {
                    return Ok(());
                }
            }
            Err(Status::aborted(format!("{} was not kept", blob.digest)))
        };
        let (answered, sent) = tokio::join!(answered, pieces_of(blob, data, sender));
        match answered {
            Ok(()) => sent.map_err(Error::io("write into a store of the client")),
            // Somebody else has written it meanwhile.
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status) => Err(Error::Client(status)),
        }
    }
}

/// Sends a blob piece after piece. Ends early where the client does not listen any more: its answer says why.
async fn pieces_of(
    blob: &Descriptor,
    mut data: impl AsyncRead + Send + Unpin,
    sender: mpsc::Sender<WriteRequest>,
) -> std::io::Result<()> {
    let total = i64::try_from(blob.size).unwrap_or(i64::MAX);
    let mut offset = 0;
    loop {
        let mut piece = Vec::with_capacity(CHUNK);
        (&mut data)
            .take(CHUNK as u64)
            .read_to_end(&mut piece)
            .await?;
        let length = i64::try_from(piece.len()).unwrap_or(i64::MAX);
        let action = match piece.is_empty() {
            true => Action::Commit,
            false => Action::Write,
        };
        let request = WriteRequest {
            action: action.into(),
            name: format!("wharf-{}", blob.digest),
            total,
            expected: blob.digest.to_string(),
            offset,
            data: piece.into(),
        };
        if sender.send(request).await.is_err() || action == Action::Commit {
            return Ok(());
        }
        offset += length;
    }
}
