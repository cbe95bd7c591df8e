//! Holds a fresh network namespace, and the user namespace that it belongs to, until the daemon has taken hold of them.
//!
//! A process with threads, such as the daemon, cannot make or enter a user namespace (`unshare(2)`, `setns(2)`), and does not
//! fork. So this program does, says so by one byte on its standard output, and ends when its standard input does.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_sys::process::{namespace, unshare};

/// Makes them. With `user`, the file of a user namespace, only the network is new, and belongs to that.
pub(crate) fn run(user: Option<OsString>) -> i32 {
    match made(user) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("wharf-shim: make namespaces: {error}");
            1
        }
    }
}

fn made(user: Option<OsString>) -> std::io::Result<()> {
    match user {
        None => unshare(namespace::USER | namespace::NETWORK)?,
        Some(path) => {
            let user = std::fs::File::open(path)?;
            let user = std::os::fd::AsFd::as_fd(&user);
            move_into_link_name_space(user, Some(LinkNameSpaceType::User))?;
            unshare(namespace::NETWORK)?;
        }
    }
    let mut out = std::io::stdout();
    out.write_all(b"1")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
