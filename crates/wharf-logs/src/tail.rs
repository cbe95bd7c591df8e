//! Where the last lines of a log begin.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::files::LogFile;

const BLOCK: usize = 64 * 1024;

/// Drops files and finds the offset in the first that is left, so that `lines` whole lines follow.
pub(crate) fn start(files: &mut Vec<LogFile>, mut lines: u64) -> std::io::Result<u64> {
    for index in (0..files.len()).rev() {
        match offset_of(&files[index].file, &mut lines)? {
            Some(offset) => {
                files.drain(..index);
                return Ok(offset);
            }
            None => continue,
        }
    }
    Ok(0)
}

/// The offset behind which the last `lines` whole lines of `file` stand. `None` if it has fewer: `lines`
/// is then what is still wanted of the older files.
fn offset_of(file: &File, lines: &mut u64) -> std::io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut end = size;
    // The newline that ends the last line begins no line behind it.
    let mut newlines = 0;
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let read = &mut block[..(end - from) as usize];
        file.read_exact_at(read, from)?;
        for (index, _) in read
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
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
