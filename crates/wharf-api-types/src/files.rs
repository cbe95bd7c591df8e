//! A container's files.

use serde::{Deserialize, Serialize};

/// What the header `X-Docker-Container-Path-Stat` says, as JSON in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPathStat {
    /// Last name of the path.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// Last change, RFC 3339.
    pub mtime: String,
    /// Where a link leads.
    pub link_target: String,
}

/// A path that differs from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilesystemChange {
    /// The path.
    pub path: String,
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
}
