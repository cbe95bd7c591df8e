//! Looks after one container: makes it, writes its log, serves those who attach, reaps, and leaves a record.
//!
//! ```text
//!  begun ──Create──▶ created ──Start──▶ running ──init ends──▶ draining ──all is written──▶ recorded ──▶ gone
//!    └──▶ gone ◀─────┘ (the daemon has gone, or the container could not be made)
//! ```
//!
//! One loop over one `poll`. Nothing blocks in it but what is asked for by name (making the first process, the freezer, another
//! runtime's commands) and the container's hooks: while one runs nothing else is served.
//! The record of the end is on disk before anybody is told of it.

mod client;
mod control;
mod exit;
mod foreign;
mod lines;
mod making;
mod name;
pub(crate) mod output;
mod process;
mod requests;
mod state;
mod unreported;

use std::ffi::OsString;
use std::path::PathBuf;

/// Runs the loop for the task in `folder`; the exit code of the shim itself.
pub(crate) fn run(folder: Option<OsString>) -> i32 {
    let Some(folder) = folder.map(PathBuf::from) else {
        eprintln!("usage: wharf-shim task FOLDER");
        return 2;
    };
    match state::Shim::begin(folder).and_then(state::Shim::live) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("wharf-shim: {error}");
            1
        }
    }
}
