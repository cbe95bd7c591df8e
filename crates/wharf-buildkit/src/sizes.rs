//! What a process reads comes after the sizes of its terminal that were told before it.
//!
//! Both go to it by ways of their own, as a size does not wait until the process has read; so what it reads has marks in it, which
//! are passed as soon as the size is set.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

/// The marks of one process. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Sizes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// One mark less.
    passed: Notify,
}

#[derive(Default)]
struct State {
    /// Bytes that were told so far.
    told: u64,
    /// How many bytes are before each size that is not set.
    marks: VecDeque<u64>,
}

impl Sizes {
    /// So many bytes more were told.
    pub(crate) fn told(&self, bytes: usize) {
        self.lock().told += bytes as u64;
    }

    /// A size is told now.
    pub(crate) fn mark(&self) {
        let mut state = self.lock();
        let told = state.told;
        state.marks.push_back(told);
    }

    /// The size that was told last is not set.
    pub(crate) fn unmark(&self) {
        self.lock().marks.pop_back();
        self.0.passed.notify_one();
    }

    /// The oldest size that was not is set.
    pub(crate) fn pass(&self) {
        self.lock().marks.pop_front();
        self.0.passed.notify_one();
    }

    /// How many of the `wanted` bytes behind the first `at` come before the next mark. Waits at one. For one caller.
    async fn room(&self, at: u64, wanted: usize) -> usize {
        loop {
            let next = self.lock().marks.front().copied();
            let left = next.map_or(u64::MAX, |mark| mark.saturating_sub(at));
            if left > 0 {
                return wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            self.0.passed.notified().await;
        }
    }

    /// Passes `data` on, which is behind the first `at` bytes.
    ///
    /// # Errors
    /// If nobody reads.
    pub(crate) async fn write(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        data: &[u8],
        at: &mut u64,
    ) -> std::io::Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.room(*at, rest.len()).await;
            let (now, later) = rest.split_at(room);
            writer.write_all(now).await?;
            *at += room as u64;
            rest = later;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_told_after_a_size_waits_until_it_is_set() {
        let sizes = Sizes::default();
        sizes.told(2);
        sizes.mark();
        sizes.told(3);
        sizes.mark();
        sizes.unmark();
        let (mut near, mut far) = tokio::io::duplex(64);
        let pump = tokio::spawn({
            let sizes = sizes.clone();
            async move {
                let mut at = 0;
                // As it comes from the disk: not as it was told.
                sizes.write(&mut near, b"abc", &mut at).await.unwrap();
                sizes.write(&mut near, b"de", &mut at).await.unwrap();
                at
            }
        });
        let mut read = [0; 5];
        far.read_exact(&mut read[..2]).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!pump.is_finished());
        let more = futures_util::poll!(std::pin::pin!(far.read_u8()));
        assert!(more.is_pending(), "{more:?}");
        sizes.pass();
        far.read_exact(&mut read[2..]).await.unwrap();
        assert_eq!(&read, b"abcde");
        assert_eq!(pump.await.unwrap(), 5);
    }
}
