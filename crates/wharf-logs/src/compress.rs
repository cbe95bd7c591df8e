//! Compressing what was set aside.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use crate::LogError;
use crate::files::{Identity, compressed};

/// Puts `path.gz` in the place of `path`. A kill in the middle leaves `path` whole.
///
/// # Errors
/// If one of the files cannot be read or written; `path` is there still.
pub fn compress(path: &Path) -> Result<(), LogError> {
    let target = compressed(path);
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = Path::new(&unfinished);
    let work = || -> std::io::Result<()> {
        let source = File::open(path)?;
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(source.metadata()?.mode() & 0o777)
            .open(unfinished)?;
        let header = GzBuilder::new().comment(Identity::of(&source)?.to_comment());
        let mut encoder = header.write(BufWriter::new(file), Compression::fast());
        std::io::copy(
            &mut BufReader::with_capacity(64 * 1024, source),
            &mut encoder,
        )?;
        encoder.finish()?.flush()?;
        std::fs::rename(unfinished, &target)?;
        std::fs::remove_file(path)
    };
    work().map_err(LogError::file("compress", path))
}
