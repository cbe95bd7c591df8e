//! Which things are visible but perhaps not on the disk yet.
//!
//! A marker is made when a thing is whole, before it is renamed into its place, and removed after a `syncfs` that began later. It
//! holds the boot id of the machine: in the same boot nothing can have been lost, so a marker counts only
//! when it comes from another boot. A file system's journal keeps the order of the two operations on directories, so there is no
//! power cut after which the thing is there and its marker is not. A marker that outlives its thing does no harm.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// `syncfs` makes everybody's writes wait, so it comes when a burst of new things is over.
const QUIET: Duration = Duration::from_secs(2);
/// But a burst that does not end must not put it off for ever: so many quiet periods at most.
const MAX_WAITS: u32 = 15;

/// The markers of one store. Clones share them.
#[derive(Debug, Clone)]
pub struct Settle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    boot: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Counts calls of [`Settle::begin`].
    generation: u64,
    /// The markers of this boot, each with the call that made it last; what another boot left is not settled by a `syncfs` of this one.
    begun: HashMap<String, u64>,
    /// Whether a thread is there to settle.
    waiting: bool,
}

impl Settle {
    /// Opens the markers in `dir`. Also returns the names of what was not settled when the machine went down.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(dir: &Path) -> io::Result<(Settle, Vec<String>)> {
        Settle::open_in_boot(dir, wharf_sys::boot::id()?)
    }

    pub(crate) fn open_in_boot(dir: &Path, boot: String) -> io::Result<(Settle, Vec<String>)> {
        fs::create_dir_all(dir)?;
        let mut lost = Vec::new();
        let mut begun = HashMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A marker without its content is one of a power cut, too.
            if fs::read_to_string(entry.path())?.trim() == boot {
                begun.insert(name, 0);
            } else {
                lost.push(name);
            }
        }
        let pending = !begun.is_empty();
        let state = State {
            begun,
            ..State::default()
        };
        let inner = Inner {
            dir: dir.to_owned(),
            boot,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let settle = Settle {
            inner: Arc::new(inner),
        };
        if pending {
            settle.inner.settle_later();
        }
        Ok((settle, lost))
    }

    /// Says that the thing `name` (a file name) will be visible soon, and sees to it that it is settled later.
    ///
    /// # Errors
    /// If the marker cannot be written; the thing must then not be made visible.
    pub fn begin(&self, name: &str) -> io::Result<()> {
        let mut state = self.inner.lock();
        fs::write(self.inner.dir.join(name), &self.inner.boot)?;
        state.generation += 1;
        let now = state.generation;
        state.begun.insert(name.to_owned(), now);
        drop(state);
        self.inner.settle_later();
        Ok(())
    }

    /// Says that the thing `name` is gone, or has been found whole.
    pub fn forget(&self, name: &str) {
        let mut state = self.inner.lock();
        state.begun.remove(name);
        // A marker that stays costs one look at the next start.
        let _ = fs::remove_file(self.inner.dir.join(name));
    }

    /// Writes everything to the disk now.
    ///
    /// # Errors
    /// If the disk does not take it; the markers stay.
    pub fn settle(&self) -> io::Result<()> {
        self.inner.settle()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self) -> io::Result<()> {
        let seen = self.lock().generation;
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        self.settled(seen);
        Ok(())
    }

    /// Removes the markers that were made last by the call `seen` or an earlier one.
    fn settled(&self, seen: u64) {
        let mut state = self.lock();
        let settled = state.begun.extract_if(|_, begun| *begun <= seen);
        for (name, _) in settled {
            // One that stays costs one look at the next start.
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    fn settle_later(self: &Arc<Self>) {
        let mut state = self.lock();
        self.changed.notify_all();
        if !std::mem::replace(&mut state.waiting, true) {
            let weak = Arc::downgrade(self);
            let spawned = thread::Builder::new()
                .name("settle".into())
                .spawn(move || wait(&weak));
            // Without a thread the next start of the daemon does it.
            state.waiting = spawned.is_ok();
        }
    }
}

/// Waits for a quiet moment, settles, ends.
fn wait(weak: &Weak<Inner>) {
    let Some(inner) = weak.upgrade() else { return };
    let mut state = inner.lock();
    for _ in 0..MAX_WAITS {
        let seen = state.generation;
        state = inner
            .changed
            .wait_timeout_while(state, QUIET, |state| state.generation == seen)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        if state.generation == seen {
            break;
        }
    }
    state.waiting = false;
    drop(state);
    // A disk that fails is met again at the next start, by the markers that stay.
    let _ = inner.settle();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_another_boot_left() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| Settle::open_in_boot(dir.path(), boot.to_owned()).unwrap();
        let (first, lost) = open("one");
        assert!(lost.is_empty());
        first.begin("a").unwrap();
        first.begin("b").unwrap();
        first.forget("b");
        assert!(open("one").1.is_empty());
        assert_eq!(open("two").1, ["a"]);
        first.settle().unwrap();
        assert!(open("two").1.is_empty());
    }

    #[test]
    fn what_is_made_again_while_the_disk_is_written_is_not_settled_by_that() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| Settle::open_in_boot(dir.path(), boot.to_owned()).unwrap();
        let (settle, _) = open("one");
        settle.begin("a").unwrap();
        settle.begin("b").unwrap();
        let seen = settle.inner.lock().generation;
        // The disk is being written.
        settle.forget("a");
        settle.begin("a").unwrap();
        settle.inner.settled(seen);
        assert_eq!(open("two").1, ["a"]);
    }

    #[test]
    fn what_another_boot_left_stays_until_it_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| Settle::open_in_boot(dir.path(), boot.to_owned()).unwrap();
        open("one").0.begin("a").unwrap();
        let (settle, lost) = open("two");
        assert_eq!(lost, ["a"]);
        settle.begin("b").unwrap();
        settle.settle().unwrap();
        assert_eq!(open("two").1, ["a"]);
        settle.forget("a");
        assert!(open("two").1.is_empty());
    }
}
