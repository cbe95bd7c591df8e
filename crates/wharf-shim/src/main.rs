//! One process per container: stdio, log, reap; and an OCI runtime command line.
//!
//! Three programs in one file, as the file is executed from memory:
//! - `wharf-shim task FOLDER`: looks after one container ([`task`]). The daemon starts it.
//! - `/sbin/docker-init -- PROGRAM …`: the small init of `--init` ([`init`]). The runtime starts it.
//! - anything else: an OCI runtime's command line ([`cli`]), as runc's.
//!
//! Single-threaded by design: `fork` is only sound that way, and the memory of a thread is not needed.

mod cli;
mod filter;
mod init;
mod task;

fn main() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let code = if name == "/sbin/docker-init" {
        init::run(arguments)
    } else if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "task")
    {
        task::run(arguments.nth(1))
    } else {
        cli::run(arguments)
    };
    std::process::exit(code);
}
