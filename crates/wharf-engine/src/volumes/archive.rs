//! A volume's files as an archive, and from one; whether containers use it or not. Not Docker's.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_layer::{ApplyOptions, LayerError, PackOptions, Plain, apply, pack};
use wharf_sys::words::chain;
use wharf_volumes::{NewVolume, Volumes};

use super::{VolumeService, emit};
use crate::files::{self, FileStream};
use crate::{EngineError, names};

/// A volume that stays, mounted if it must be, until this is dropped. To drop it blocks.
struct Held {
    volumes: Volumes,
    name: String,
    holder: String,
    folder: OwnedFd,
}

impl Held {
    fn of(volumes: &Volumes, name: &str, verb: &str) -> Result<Self, EngineError> {
        let holder = format!("{verb}-{}", names::new_id());
        volumes.need(name, &holder)?;
        let folder = volumes.mount(name, &holder).map_err(EngineError::from);
        let folder = folder.and_then(open_folder).inspect_err(|_| {
            let_go(volumes, name, &holder);
        })?;
        Ok(Self {
            volumes: volumes.clone(),
            name: name.to_owned(),
            holder,
            folder,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let_go(&self.volumes, &self.name, &self.holder);
    }
}

fn let_go(volumes: &Volumes, name: &str, holder: &str) {
    if let Err(error) = volumes.unmount(name, holder) {
        tracing::warn!(volume = name, error = chain(&error), "unmount the volume");
    }
    volumes.release(holder);
}

fn open_folder(path: PathBuf) -> Result<OwnedFd, EngineError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(&path, flags, Mode::empty()).map_err(|error| EngineError::io("open", &path)(error.into()))
}

impl VolumeService {
    /// An uncompressed archive of all files of the volume `name`, which cannot be removed meanwhile.
    ///
    /// # Errors
    /// If there is no such volume, or it cannot be mounted.
    pub async fn export(&self, name: &str) -> Result<FileStream, EngineError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        let (held, driver) = self
            .at_their_pace(move || {
                let held = Held::of(&store, &name, "export")?;
                let driver = store.driver_of(&name).unwrap_or_default();
                Ok((held, driver))
            })
            .await?;
        if let Ok(name) = wharf_volumes::VolumeName::parse(&held.name) {
            emit(&self.events, "export", &name, &driver);
        }
        files::stream(None, move |sink| {
            pack(held.folder.as_fd(), sink, &PackOptions::default()).map(drop)
        })
    }

    /// Unpacks `archive`, compressed or not, into the volume `name`, over what is there; one that is not there is made
    /// first, by the local driver, and goes again if the archive cannot be unpacked.
    ///
    /// # Errors
    /// `Invalid` if it is no archive; that of the disk. What was unpacked until then stays in a volume that was there.
    pub async fn import(
        &self,
        name: &str,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), EngineError> {
        let new = NewVolume {
            name: name.to_owned(),
            ..NewVolume::default()
        };
        let service = self.clone();
        let mut archive = SyncIoBridge::new(archive);
        let work = move || {
            let made = service.store.create(new)?;
            let name = made.volume.name.clone();
            let done = Held::of(&service.store, name.as_str(), "import")
                .and_then(|held| unpack(&held, &mut archive));
            match &done {
                Ok(()) if made.fresh => {
                    emit(&service.events, "create", &name, &made.volume.driver);
                    emit(&service.events, "import", &name, &made.volume.driver);
                }
                Ok(()) => emit(&service.events, "import", &name, &made.volume.driver),
                Err(_) => {
                    // A client that is still sending would not hear why.
                    let rest = &mut io::Read::take(&mut archive, 8 << 20);
                    let _ = io::copy(rest, &mut io::sink());
                    if made.fresh {
                        let users = |name: &_| service.users(name);
                        service.store.remove(name.as_str(), users)?;
                        service.empty_trash();
                    }
                }
            }
            done
        };
        let done = wharf_images::at_clients_pace(work).await;
        done.map_err(|error| EngineError::failed(&error))?
    }
}

fn unpack(held: &Held, archive: impl io::Read) -> Result<(), EngineError> {
    let options = ApplyOptions {
        plain: Some(Plain {
            folder: PathBuf::from("/"),
            ..Plain::default()
        }),
        ..ApplyOptions::default()
    };
    let done = apply(archive, held.folder.as_fd(), &options);
    done.map(drop).map_err(|error| match &error {
        LayerError::Header { .. } | LayerError::Truncated => EngineError::Invalid(chain(&error)),
        _ => EngineError::Failed(chain(&error)),
    })
}
