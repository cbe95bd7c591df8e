//! Signals sent to the command line go on to the container.

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use wharf_client::{Client, Url};

// All that can be caught, but those about children, pipes and windows.
const FORWARDED: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TRAP,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::SYS,
];

/// Signals caught from the moment this is made.
pub struct Caught(Vec<(i32, Stream)>);

impl Caught {
    /// Catches what is to be forwarded.
    pub fn all() -> Caught {
        let catch = |kind: &Signal| {
            let number = kind.as_raw();
            signal(SignalKind::from_raw(number))
                .ok()
                .map(|stream| (number, stream))
        };
        Caught(FORWARDED.iter().filter_map(catch).collect())
    }

    /// Sends them to the container for as long as it is polled; never ends.
    pub async fn forward(&mut self, client: &Client, id: &str) {
        loop {
            let number = self.next().await;
            let url = Url::new(["containers", id, "kill"]).with("signal", number);
            // It may have ended on its own.
            let _ = client.post(url).await;
        }
    }

    /// The number of the next signal.
    pub async fn next(&mut self) -> i32 {
        let mut waiting: FuturesUnordered<_> = self
            .0
            .iter_mut()
            .map(|(number, stream)| async move {
                stream.recv().await;
                *number
            })
            .collect();
        match waiting.next().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Waits for a signal that asks the process itself to end, and gives its number.
pub async fn end() -> i32 {
    let kinds = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
    let catch = |kind: &Signal| {
        let number = kind.as_raw();
        signal(SignalKind::from_raw(number))
            .ok()
            .map(|stream| (number, stream))
    };
    Caught(kinds.iter().filter_map(catch).collect())
        .next()
        .await
}
