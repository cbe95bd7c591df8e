//! Where things lie below the root: docker-registry's layout, so that either server can take over the other's folder.
//!
//! ```text
//! docker/registry/v2/blobs/sha256/<2 hex>/<hex>/data
//! docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
//!                                       /_manifests/revisions/sha256/<hex>/link
//!                                       /_manifests/tags/<tag>/current/link
//!                                       /_manifests/tags/<tag>/index/sha256/<hex>/link
//!                                       /_manifests/referrers/sha256/<subject's hex>/sha256/<hex>/link   (ours)
//!                                       /_uploads/<uuid>/{startedat,data}
//! ```

use wharf_oci::Digest;

use crate::names::{Name, UploadId};

pub(crate) const BLOBS: &str = "docker/registry/v2/blobs";
pub(crate) const REPOSITORIES: &str = "docker/registry/v2/repositories";

fn flat(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm().as_str(), digest.hex())
}

pub(crate) fn blob_folder(digest: &Digest) -> String {
    let hex = digest.hex();
    format!(
        "{BLOBS}/{}/{}/{hex}",
        digest.algorithm().as_str(),
        &hex[..2]
    )
}

pub(crate) fn blob(digest: &Digest) -> String {
    format!("{}/data", blob_folder(digest))
}

pub(crate) fn repository(name: &Name) -> String {
    format!("{REPOSITORIES}/{name}")
}

pub(crate) fn layers(name: &Name) -> String {
    format!("{REPOSITORIES}/{name}/_layers")
}

pub(crate) fn layer_folder(name: &Name, digest: &Digest) -> String {
    format!("{REPOSITORIES}/{name}/_layers/{}", flat(digest))
}

pub(crate) fn layer(name: &Name, digest: &Digest) -> String {
    format!("{}/link", layer_folder(name, digest))
}

pub(crate) fn revisions(name: &Name) -> String {
    format!("{REPOSITORIES}/{name}/_manifests/revisions")
}

pub(crate) fn revision_folder(name: &Name, digest: &Digest) -> String {
    format!("{}/{}", revisions(name), flat(digest))
}

pub(crate) fn revision(name: &Name, digest: &Digest) -> String {
    format!("{}/link", revision_folder(name, digest))
}

pub(crate) fn tags(name: &Name) -> String {
    format!("{REPOSITORIES}/{name}/_manifests/tags")
}

pub(crate) fn tag_folder(name: &Name, tag: &str) -> String {
    format!("{}/{tag}", tags(name))
}

/// What there is in the folder of a tag that means something.
pub(crate) const CURRENT: &str = "current/link";

pub(crate) fn tag(name: &Name, tag: &str) -> String {
    format!("{}/{CURRENT}", tag_folder(name, tag))
}

pub(crate) fn tag_index(name: &Name, tag: &str, digest: &Digest) -> String {
    format!("{}/index/{}/link", tag_folder(name, tag), flat(digest))
}

pub(crate) fn referrers(name: &Name, subject: &Digest) -> String {
    format!(
        "{REPOSITORIES}/{name}/_manifests/referrers/{}",
        flat(subject)
    )
}

pub(crate) fn referrer_folder(name: &Name, subject: &Digest, digest: &Digest) -> String {
    format!("{}/{}", referrers(name, subject), flat(digest))
}

pub(crate) fn referrer(name: &Name, subject: &Digest, digest: &Digest) -> String {
    format!("{}/link", referrer_folder(name, subject, digest))
}

pub(crate) fn uploads(name: &Name) -> String {
    format!("{REPOSITORIES}/{name}/_uploads")
}

pub(crate) fn upload(name: &Name, id: &UploadId) -> String {
    format!("{}/{}", uploads(name), id.as_str())
}

pub(crate) fn upload_data(name: &Name, id: &UploadId) -> String {
    format!("{}/data", upload(name, id))
}
