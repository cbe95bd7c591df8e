//! One process per container: stdio, log, reap; and an OCI runtime command line.
//!
//! Several programs in one file, as the file is executed from memory:
//! - `wharf-shim task FOLDER`: looks after one container ([`task`]). The daemon starts it.
//! - `wharf-shim logger`: sends the lines of one container away ([`logger`]). A task starts it, if its log needs it.
//! - `wharf-shim namespaces [USER]`: makes a network namespace with its user namespace ([`namespaces`]). The daemon starts it.
//! - `wharf-shim compress FILE`: compresses a log file that was set aside. A task starts it.
//! - `/sbin/docker-init -- PROGRAM …`: the small init of `--init` ([`init`]). The runtime starts it.
//! - anything else: an OCI runtime's command line ([`cli`]), as runc's.
//!
//! Single-threaded by design but for the logger: `fork` is only sound that way, and the memory of a thread is not needed. (The
//! command line has a second thread for a moment, which ends before anything forks: `wharf_sys::netns::create_beside`.)

mod cli;
mod filter;
mod init;
mod logger;
mod namespaces;
mod task;
mod trouble;

/// musl's own maps and unmaps a page for every few small blocks, which was a twentieth of a container's start.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let word = std::env::args_os().nth(1).unwrap_or_default();
    let code = match word.to_str() {
        _ if name == "/sbin/docker-init" => init::run(arguments),
        Some("task") => task::run(arguments.nth(1)),
        Some("logger") => logger::run(),
        Some("namespaces") => namespaces::run(arguments.nth(1)),
        Some("compress") => compress(arguments.nth(1)),
        _ => cli::run(arguments),
    };
    std::process::exit(code);
}

fn compress(path: Option<std::ffi::OsString>) -> i32 {
    let compressed = wharf_logs::compress(std::path::Path::new(&path.unwrap_or_default()));
    if let Err(error) = &compressed {
        eprintln!("wharf-shim: {error}");
    }
    i32::from(compressed.is_err())
}
