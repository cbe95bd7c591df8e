//! An archive on the client's standard input (`docker build -`), pulled from it.

use std::io;

use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use futures_util::StreamExt as _;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::{Session, origin};
use crate::error::Error;

const PULL: &str = "/moby.upload.v1.Upload/Pull";

/// The contents of `http://buildkit-session/<id>`.
///
/// # Errors
/// If the client does not have it.
pub(crate) async fn pull(
    session: &Session,
    id: &str,
) -> Result<Box<dyn AsyncRead + Send + Unpin>, Error> {
    let channel = session.service(PULL)?;
    // The client counts as asking for nothing but this.
    let nothing = futures_util::stream::pending::<BytesMessage>();
    let mut request = Request::new(nothing);
    let path = MetadataValue::try_from(format!("/{id}"));
    let path = path.map_err(|_| Error::Invalid(format!("invalid upload {id:?}")))?;
    request.metadata_mut().insert("urlpath", path);
    let mut client = UploadClient::with_origin(channel, origin());
    let pieces = client.pull(request).await.map_err(Error::Client)?;
    let pieces = pieces.into_inner().map(|piece| {
        let piece = piece.map_err(|status| io::Error::other(status.message().to_owned()))?;
        Ok::<_, io::Error>(bytes::Bytes::from(piece.data))
    });
    Ok(Box::new(StreamReader::new(Box::pin(pieces))))
}
