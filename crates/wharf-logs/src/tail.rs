//! Where the last lines of a log begin.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::files::LogFile;
use crate::{Format, local};

const BLOCK: usize = 64 * 1024;

/// Drops files and finds the offset in the first that is left, so that `lines` whole lines follow.
pub(crate) fn start(
    path: &Path,
    format: Format,
    files: &mut Vec<LogFile>,
    mut lines: u64,
) -> std::io::Result<u64> {
    for index in (0..files.len()).rev() {
        files[index].unpack(path)?;
        let file = &files[index].file;
        let offset = match format {
            Format::Json => line(file, &mut lines)?,
            Format::Local => record(file, &mut lines)?,
        };
        if let Some(offset) = offset {
            files.drain(..index);
            return Ok(offset);
        }
    }
    Ok(0)
}

/// The offset behind which the last `lines` whole lines of `file` stand. `None` if it has fewer: `lines`
/// is then what is still wanted of the older files.
fn line(file: &File, lines: &mut u64) -> std::io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut end = size;
    // The newline that ends the last line begins no line behind it.
    let mut newlines = 0;
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let read = &mut block[..(end - from) as usize];
        file.read_exact_at(read, from)?;
        for index in memchr::memrchr_iter(b'\n', read) {
            if newlines == *lines {
                return Ok(Some(from + index as u64 + 1));
            }
            newlines += 1;
        }
        end = from;
    }
    *lines -= newlines;
    Ok((*lines == 0).then_some(0))
}

/// The same of records. A torn one at the end is being written: what is before it cannot be found from behind, so it
/// is looked for from the front.
fn record(file: &File, lines: &mut u64) -> std::io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut end = size;
    if size > 0 && local::before(file, size)?.is_none() {
        end = local::whole_until(file, size)?;
    }
    while *lines > 0 {
        let Some(start) = local::before(file, end)? else {
            return Ok(None);
        };
        end = start;
        *lines -= 1;
    }
    Ok(Some(end))
}
