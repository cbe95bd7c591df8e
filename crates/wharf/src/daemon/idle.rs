//! The daemon gives memory back when it has nothing to do.

use std::time::Duration;

/// How often it is looked whether the daemon was busy.
const LOOK: Duration = Duration::from_secs(10);

/// Less processor time than this between two looks is a daemon with nothing to do.
const QUIET: Duration = Duration::from_millis(50);

/// Gives back what the start took, and after that what each busy time took, once it is quiet again. Never returns.
pub(super) async fn give_back_when_quiet() {
    loop {
        let _ = tokio::task::spawn_blocking(wharf_sys::memory::give_back).await;
        let given_back = processor_time();
        // A daemon that was never busy since has nothing to give.
        while processor_time().saturating_sub(given_back) < QUIET {
            tokio::time::sleep(LOOK).await;
        }
        until_quiet().await;
    }
}

async fn until_quiet() {
    loop {
        let before = processor_time();
        tokio::time::sleep(LOOK).await;
        if processor_time().saturating_sub(before) < QUIET {
            return;
        }
    }
}

/// What this process has used of all processors (clock_gettime(2)).
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
