//! Tests that change what belongs to a whole process, or to the machine: they run once more, in one of their own.

use std::process::Command;

/// Set where a test runs for the second time.
const MARK: &str = "WHARF_TEST_OF_ITS_OWN";

/// Whether this is the test `name` (with its modules) in a process and a mount namespace of its own. If not, it has been run
/// there and has passed, and there is nothing left to do; only root can, and for others it is skipped.
///
/// # Panics
/// If it has failed there.
#[must_use]
pub fn in_own_mounts(name: &str) -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    let is_root = rustix::process::geteuid().is_root();
    is_marked() || is_root && run_again(unshare, name)
}

/// As [`in_own_mounts`], in a process of its own only; for everybody.
///
/// # Panics
/// If it has failed there.
#[must_use]
pub fn in_own_process(name: &str) -> bool {
    is_marked() || run_again(Command::new("env"), name)
}

fn is_marked() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Has `runner` run the test; never the one that is to go on.
fn run_again(mut runner: Command, name: &str) -> bool {
    let run = std::env::current_exe().and_then(|test| {
        let run = runner.arg(test).args(["--exact", name]);
        run.env(MARK, "1").output()
    });
    let run = run.unwrap_or_else(|error| panic!("run {name} again: {error}"));
    let said = String::from_utf8_lossy(&run.stdout);
    // No test of that name is no failure to who runs it.
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    false
}
