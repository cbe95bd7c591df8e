//! Is everything that the records promise here, and is it what it should be; and what is not is fetched again.
//!
//! Every blob is read and hashed, every image's documents and layers are looked for, and every name is followed. A blob
//! that is damaged is deleted, so that nobody uses it, and fetched from where the image came from; a layer that is not
//! unpacked is unpacked from its blob. Without `repair` nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use wharf_distribution::BlobEvent;
use wharf_oci::{Descriptor, Digest, Hasher, Reference};

use crate::ImageError;
use crate::records;
use crate::store::Images;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Blobs whose bytes were read.
    pub blobs: usize,
    /// Unpacked layers that images stand on.
    pub layers: usize,
    /// Images.
    pub images: usize,
    /// What is not as it should be.
    pub faults: Vec<Fault>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The blob, layer, image or name.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
    /// Whether it was made good.
    pub repaired: bool,
}

/// A blob that an image needs, and the names to fetch it by.
struct Needed {
    blob: Descriptor,
    image: Digest,
    names: Vec<Reference>,
}

impl Images {
    /// Checks the whole store, and repairs it if that is wanted and can be done.
    ///
    /// # Errors
    /// If the store cannot be read at all; what is wrong with parts of it is in the answer.
    pub async fn check(&self, repair: bool) -> Result<Checked, ImageError> {
        let mut checked = Checked::default();
        let store = self.clone();
        let damaged = crate::work::blocking(move || store.hash_all(repair)).await?;
        checked.blobs = damaged.0;
        let mut faults: BTreeMap<Digest, String> = damaged
            .1
            .into_iter()
            .map(|digest| (digest, "its bytes have another digest".to_owned()))
            .collect();
        let needed = self.needed_blobs();
        checked.images = self.count();
        for one in needed.values() {
            if !self.stores().content.contains(&one.blob.digest) {
                faults.entry(one.blob.digest).or_insert_with(|| {
                    format!("is not here; image {} needs it", one.image.short())
                });
            }
        }
        for (digest, problem) in faults {
            let repaired = match needed.get(&digest) {
                Some(one) if repair => self.fetch_again(one).await,
                // Nobody needs it, and it is gone.
                None => repair,
                _ => false,
            };
            checked.faults.push(Fault {
                subject: format!("blob {digest}"),
                problem,
                repaired,
            });
        }
        self.check_layers(repair, &mut checked).await;
        self.check_records(repair, &mut checked).await?;
        Ok(checked)
    }

    /// Hashes every blob: how many there are, and those that are damaged. They are deleted if that is wanted.
    fn hash_all(&self, delete: bool) -> Result<(usize, Vec<Digest>), ImageError> {
        let failed = |error: &dyn std::error::Error| ImageError::content("check", error);
        let content = &self.stores().content;
        let (mut count, mut damaged) = (0, Vec::new());
        for (digest, _) in content.list().map_err(|error| failed(&error))? {
            // One that goes while we read is no fault.
            let Ok(mut file) = content.open_blob(&digest) else {
                continue;
            };
            count += 1;
            let mut hasher = Hasher::new(digest.algorithm());
            let mut buffer = vec![0; 256 * 1024];
            let whole = loop {
                match file.read(&mut buffer) {
                    Ok(0) => break hasher.finish() == digest,
                    Ok(read) => hasher.update(&buffer[..read]),
                    Err(_) => break false,
                }
            };
            if !whole {
                damaged.push(digest);
                if delete {
                    content.discard(&digest).map_err(|error| failed(&error))?;
                }
            }
        }
        Ok((count, damaged))
    }

    /// The blobs that images cannot do without: documents, and one of each layer.
    fn needed_blobs(&self) -> BTreeMap<Digest, Needed> {
        let content = &self.stores().content;
        let state = self.read();
        let mut all = BTreeMap::new();
        for (id, entry) in &state.images {
            let names: Vec<Reference> = state
                .variants(id)
                .iter()
                .flat_map(|one| state.names_of(one))
                .collect();
            let config = Descriptor::of("", entry.config.raw());
            let record = &entry.record;
            let documents = record
                .manifest
                .iter()
                .chain(&record.index)
                .chain(&record.extras);
            let layers = record.layers.iter().filter_map(|layer| {
                let twin = layer
                    .twin
                    .as_ref()
                    .filter(|twin| content.contains(&twin.digest));
                match twin {
                    Some(_) => None,
                    None => Some(&layer.blob),
                }
            });
            for blob in documents.chain(layers).chain([&config]) {
                all.entry(blob.digest).or_insert_with(|| Needed {
                    blob: blob.clone(),
                    image: *id,
                    names: names.clone(),
                });
            }
        }
        all
    }

    /// Whether a blob could be fetched from where its image came from.
    async fn fetch_again(&self, needed: &Needed) -> bool {
        for name in &needed.names {
            match self.fetch_from(name, &needed.blob).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::debug!(%name, digest = %needed.blob.digest, %error, "not fetched again");
                }
            }
        }
        false
    }

    async fn fetch_from(&self, name: &Reference, blob: &Descriptor) -> Result<(), ImageError> {
        let registry = self.registry();
        let mut last = ImageError::Cancelled;
        for source in registry.pull_sources(name)? {
            let guard = self.flights().lock_blob(&blob.digest).await;
            let mut stream = match registry.document(&source, blob).await {
                Ok(Some(bytes)) => {
                    let (stores, digest) = (self.stores().clone(), blob.digest);
                    return crate::work::blocking(move || {
                        let _guard = guard;
                        stores.keep(&digest, &bytes)
                    })
                    .await;
                }
                _ => registry.blob(&source, blob, 0, registry.slot().await),
            };
            let failed = |error: wharf_content::ContentError| ImageError::content("write", &error);
            self.stores()
                .content
                .forget_partial(&blob.digest)
                .map_err(failed)?;
            let mut ingest = self.stores().begin(blob)?;
            let fetched = loop {
                match stream.next().await {
                    Ok(Some(BlobEvent::Data(bytes))) => ingest.write(&bytes).map_err(failed)?,
                    Ok(Some(BlobEvent::Retrying(_))) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            match fetched {
                Ok(()) => return ingest.commit().map_err(failed),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Looks for the folders of all layers.
    async fn check_layers(&self, repair: bool, checked: &mut Checked) {
        let images: Vec<_> = {
            let state = self.read();
            let images = state.images.iter();
            images
                .map(|(id, entry)| (*id, entry.chain.clone()))
                .collect()
        };
        let mut seen = BTreeSet::new();
        for (id, chain) in images {
            let missing: Vec<_> = chain
                .into_iter()
                .filter(|one| seen.insert(*one.digest()))
                .filter(|one| {
                    let path = self.stores().snapshots.layer_path(one);
                    !path.is_ok_and(|path| path.is_dir())
                })
                .collect();
            if missing.is_empty() {
                continue;
            }
            for one in &missing {
                self.stores().snapshots.forget_layer(one);
            }
            let repaired = repair && self.repair(&id).await.is_ok();
            checked.faults.extend(missing.into_iter().map(|one| Fault {
                subject: format!("layer {one}"),
                problem: format!("is not unpacked; image {} needs it", id.short()),
                repaired,
            }));
        }
        checked.layers = seen.len();
    }

    /// Looks for records that lead nowhere: images whose configuration was lost, and names of them.
    async fn check_records(&self, repair: bool, checked: &mut Checked) -> Result<(), ImageError> {
        let (images, names) = records::all_keys(self.db())?;
        let lost: Vec<Digest> = {
            let state = self.read();
            images
                .into_iter()
                .filter(|id| !state.images.contains_key(id))
                .collect()
        };
        for id in lost {
            let of: Vec<_> = names.iter().filter(|(_, image)| *image == id).collect();
            let mut repaired = false;
            for (name, _) in &of {
                // What the name means now may be another image; its digest says which one was lost.
                if repair && name.digest().is_some() && !repaired {
                    let progress = crate::ProgressSender::discard();
                    let pulled = self
                        .pull(name, crate::PullOptions::default(), progress)
                        .await;
                    repaired = pulled.is_ok_and(|all| all.iter().any(|one| one.image.id == id));
                }
            }
            if repaired {
                self.restore_names(&id, &of)?;
            }
            checked.faults.push(Fault {
                subject: format!("image {id}"),
                problem: "its configuration is lost".to_owned(),
                repaired,
            });
        }
        Ok(())
    }

    fn restore_names(&self, id: &Digest, names: &[&(Reference, Digest)]) -> Result<(), ImageError> {
        let mut state = self.write();
        let missing = names
            .iter()
            .filter(|(name, _)| !state.names.contains_key(name));
        let change = crate::records::Change {
            put_names: missing.map(|(name, _)| (name.clone(), *id)).collect(),
            ..Default::default()
        };
        state.apply(self.db(), change)
    }
}
