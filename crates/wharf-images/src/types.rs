//! What callers hand in and get back.

use std::collections::BTreeMap;
use std::time::SystemTime;

use wharf_distribution::Credentials;
use wharf_oci::{ChainId, Descriptor, Digest, ImageConfig, Platform, Reference};

/// An image as it stands now: its immutable parts, and the names that pointed to it when it was read.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration: the image id.
    pub id: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// Chain ids of its layers, bottom first.
    pub chain: Vec<ChainId>,
    /// Sum of the sizes of all files in its layers, in bytes, as Docker counts.
    pub size: u64,
    /// Names with tags, familiar form (`debian:latest`), sorted.
    pub repo_tags: Vec<String>,
    /// Names with digests, familiar form (`debian@sha256:…`), sorted.
    pub repo_digests: Vec<String>,
    /// The image it was built from here, if that is known.
    pub parent: Option<Digest>,
    /// When it was made, RFC 3339 as in the configuration; empty if not said.
    pub created: String,
    /// When a name was last given to it here.
    pub last_tagged: Option<SystemTime>,
    /// Its manifest, as a descriptor of a blob in the content store.
    pub manifest: Option<Descriptor>,
    /// The index that led to it, as a descriptor of a blob in the content store.
    pub index: Option<Descriptor>,
}

impl Image {
    /// When it was made, in seconds since 1970; 0 if that is not known.
    pub fn created_unix(&self) -> i64 {
        unix_seconds(&self.created)
    }
}

pub(crate) fn unix_seconds(rfc3339: &str) -> i64 {
    rfc3339
        .parse::<jiff::Timestamp>()
        .map_or(0, jiff::Timestamp::as_second)
}

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The platform that was asked for; the host's if none.
    pub platform: Option<Platform>,
    /// Who is asking.
    pub credentials: Option<Credentials>,
    /// All tags of the repository (`docker pull -a`); the reference then has no tag.
    pub all_tags: bool,
    /// Fetch as well what names the image as its subject: signatures, bills of materials.
    pub referrers: bool,
}

/// How to push.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// The platform that the image must have.
    pub platform: Option<Platform>,
    /// Who is asking.
    pub credentials: Option<Credentials>,
    /// Push as well what was pulled with it that names it as its subject.
    pub referrers: bool,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// The name that now points to it.
    pub reference: Reference,
    /// Digest of the index, or of the manifest if there is no index.
    pub digest: Digest,
    /// Whether the name meant another image, or nothing, before.
    pub newer: bool,
}

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also images that are only parents of others (`-a`).
    pub all: bool,
    /// Patterns for names, as Go's `path.Match`; any of them.
    pub references: Vec<String>,
    /// Only images without (`true`) or with (`false`) a tag.
    pub dangling: Option<bool>,
    /// Only images made before each of these (names or ids).
    pub before: Vec<String>,
    /// Only images made after each of these (names or ids).
    pub since: Vec<String>,
    /// `key` or `key=value`; all of them.
    pub labels: Vec<String>,
    /// `key` or `key=value`; none of them (prune's `label!=`).
    pub without_labels: Vec<String>,
    /// Only images made before this time.
    pub until: Option<SystemTime>,
}

impl ListOptions {
    /// Whether nothing is asked of an image but whether it has a tag.
    pub(crate) fn is_plain(&self) -> bool {
        let Self {
            all: _,
            references,
            dangling: _,
            before,
            since,
            labels,
            without_labels,
            until,
        } = self;
        references.is_empty()
            && before.is_empty()
            && since.is_empty()
            && labels.is_empty()
            && without_labels.is_empty()
            && until.is_none()
    }
}

/// A container that was made from an image. The engine tells this store of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Full id of the container.
    pub container: String,
    /// Id of the image.
    pub image: Digest,
    /// Whether the container is running (or paused, or restarting).
    pub running: bool,
}

/// How to remove.
#[derive(Debug, Clone, Default)]
pub struct RemoveOptions {
    /// Also if stopped containers or several repositories use it.
    pub force: bool,
    /// Also parents that nothing uses (not `--no-prune`).
    pub prune: bool,
    /// Only the images for these platforms; all if there are none.
    pub platforms: Vec<Platform>,
}

/// One thing that a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone; familiar form.
    Untagged {
        /// The name.
        name: String,
        /// The image it meant.
        image: Digest,
        /// That image's labels; it may be gone itself by now.
        labels: BTreeMap<String, String>,
        /// Whether an `untag` event belongs to it: not to a digest that went along with the last tag, as with dockerd.
        is_told: bool,
    },
    /// An image is gone. A `delete` event belongs to it.
    Image(Digest),
    /// A layer is gone, because nothing uses it any more.
    Layer(ChainId),
}

impl Removed {
    /// Docker's `Untagged`: the name, if a name is gone.
    pub fn untagged(&self) -> Option<&str> {
        match self {
            Removed::Untagged { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Docker's `Deleted`: the digest of the image or layer that is gone.
    pub fn deleted(&self) -> Option<&Digest> {
        match self {
            Removed::Untagged { .. } => None,
            Removed::Image(id) => Some(id),
            Removed::Layer(chain) => Some(chain.digest()),
        }
    }
}

/// What a prune removed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The steps, in order.
    pub removed: Vec<Removed>,
    /// Bytes on disk that are free again.
    pub reclaimed: u64,
}

/// One line of `docker history`, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image at this step; `None` is Docker's `<missing>`.
    pub id: Option<Digest>,
    /// Seconds since 1970; 0 if not known.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Names with tags of the image at this step.
    pub tags: Vec<String>,
    /// Bytes that the step added.
    pub size: u64,
    /// Comment.
    pub comment: String,
}

/// An image and what it takes on disk.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Bytes in layers that other images have too.
    pub shared: u64,
    /// Bytes in layers that only this image has.
    pub unique: u64,
}

/// What all images take on disk.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Each image that is not only a parent.
    pub images: Vec<ImageUsage>,
    /// Bytes of all unpacked layers, each counted once (Docker's `LayersSize`).
    pub layers: u64,
    /// Bytes of all blobs (manifests, configurations, compressed layers), each counted once.
    pub content: u64,
}

/// Something that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResults {
    /// The hits, best first.
    pub hits: Vec<wharf_distribution::SearchHit>,
    /// Whether they are the built-in catalogue's, because no registry could be reached.
    pub from_catalogue: bool,
}
