//! Blocks of bytes from the thread that inflates to the thread that hashes and writes.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use crate::compression::read_full;

/// Bytes in one block. Large enough that the hand-over costs nothing, small enough for the second-level cache.
pub(crate) const BLOCK: usize = 256 * 1024;
/// Blocks between the two threads.
const DEPTH: usize = 4;

type Block = io::Result<Vec<u8>>;

/// The end that fills blocks.
pub(crate) struct Pump {
    full: SyncSender<Block>,
    empty: Receiver<Vec<u8>>,
}

/// The end that reads them.
pub(crate) struct Blocks {
    full: Receiver<Block>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

/// A pipe, with `first` in it.
pub(crate) fn pipe(first: Vec<u8>) -> (Pump, Blocks) {
    let (full_in, full_out) = mpsc::sync_channel(DEPTH);
    let (empty_in, empty_out) = mpsc::channel();
    let pump = Pump {
        full: full_in,
        empty: empty_out,
    };
    let blocks = Blocks {
        full: full_out,
        empty: empty_in,
        current: first,
        at: 0,
    };
    (pump, blocks)
}

impl Pump {
    /// Sends everything in `source`, until it ends, fails, or nobody reads any more.
    pub(crate) fn run(self, source: &mut impl Read) {
        loop {
            let mut block = self.empty.try_recv().unwrap_or_default();
            block.resize(BLOCK, 0);
            let filled = read_full(source, &mut block).map(|count| {
                block.truncate(count);
                block
            });
            let last = !matches!(&filled, Ok(block) if block.len() == BLOCK);
            if self.full.send(filled).is_err() || last {
                return;
            }
        }
    }
}

impl BufRead for Blocks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len()
            && let Ok(next) = self.full.recv()
        {
            let old = std::mem::replace(&mut self.current, next?);
            self.at = 0;
            // The pump may be done and gone.
            let _ = self.empty.send(old);
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
