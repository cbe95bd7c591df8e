//! Unpacks an archive into a new folder and says how fast: `unpack ARCHIVE FOLDER`.

use std::error::Error;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::time::Instant;

use wharf_layer::{ApplyOptions, apply};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(archive), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unpack ARCHIVE FOLDER".into());
    };
    fs::create_dir(&folder)?;
    let begin = Instant::now();
    let target = File::open(&folder)?;
    let applied = apply(
        File::open(archive)?,
        target.as_fd(),
        &ApplyOptions::default(),
    )?;
    let seconds = begin.elapsed().as_secs_f64();
    let megabytes = applied.uncompressed_size as f64 / 1e6;
    println!(
        "{} {} members, {megabytes:.0} MB in {seconds:.2} s: {:.0} MB/s",
        applied
            .diff_id
            .map_or_else(String::new, |digest| digest.to_string()),
        applied.files,
        megabytes / seconds
    );
    Ok(())
}
