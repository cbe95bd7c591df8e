//! Where output goes beside the attached streams.

use jiff::Timestamp;
use wharf_logs::{JsonFile, Rotation, Stream};

/// A container's log.
pub(crate) struct Log(Option<JsonFile>);

impl Log {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn open(log: &wharf_shim_api::Log) -> Result<Self, wharf_logs::LogError> {
        match log {
            wharf_shim_api::Log::None => Ok(Self(None)),
            wharf_shim_api::Log::JsonFile {
                path,
                max_size,
                max_files,
                attrs,
            } => {
                let rotation = Rotation {
                    max_size: *max_size,
                    max_files: *max_files,
                };
                JsonFile::open(path, rotation, attrs).map(Some).map(Self)
            }
        }
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.with(|log| log.write(stream, bytes, Timestamp::now()));
    }

    pub(crate) fn finish(&mut self, stream: Stream) {
        self.with(|log| log.finish(stream, Timestamp::now()));
    }

    /// A full disk costs lines of the log; it must not stop the container.
    fn with(&mut self, write: impl FnOnce(&mut JsonFile) -> Result<(), wharf_logs::LogError>) {
        if let Some(Err(error)) = self.0.as_mut().map(write) {
            eprintln!("wharf-shim: {error}");
        }
    }
}
