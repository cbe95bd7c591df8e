//! Lines that are sent to somebody. All of it may block: a logger process does it, never the shim.

mod connection;
mod fluentd;
mod gelf;
mod journald;
mod syslog;

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wharf_shim_api::Remote;

use crate::{LogError, Message, Stream};

/// Says to who waits between two tries that no more lines come, so that there is no sense in waiting long.
#[derive(Default)]
pub struct Ending {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Ending {
    /// No more lines come.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits, but not beyond the end; whether it has come.
    pub fn wait(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(ended, time, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A connection to who takes the lines.
pub struct Sender(Driver);

enum Driver {
    Syslog(syslog::Syslog),
    Journald(journald::Journald),
    Fluentd(Box<fluentd::Fluentd>),
    Gelf(Box<gelf::Gelf>),
}

impl Sender {
    /// Connects.
    ///
    /// # Errors
    /// If nobody is there, in dockerd's words.
    pub fn connect(to: &Remote) -> Result<Self, LogError> {
        Ok(Self(match to {
            Remote::Syslog(config) => Driver::Syslog(syslog::Syslog::connect(config.clone())?),
            Remote::Journald(config) => Driver::Journald(journald::Journald::connect(config)?),
            Remote::Fluentd(config) => {
                Driver::Fluentd(Box::new(fluentd::Fluentd::connect(config.clone())?))
            }
            Remote::Gelf(config) => Driver::Gelf(Box::new(gelf::Gelf::connect(config.clone())?)),
        }))
    }

    /// Sends a line; tries again and waits as its driver does.
    ///
    /// # Errors
    /// If it is lost.
    pub fn send(
        &mut self,
        message: &Message<'_>,
        stream: Stream,
        ending: &Ending,
    ) -> Result<(), LogError> {
        match &mut self.0 {
            Driver::Syslog(syslog) => syslog.send(message, stream),
            Driver::Journald(journald) => journald.send(message, stream),
            Driver::Fluentd(fluentd) => fluentd.send(message, stream, ending),
            Driver::Gelf(gelf) => gelf.send(message, stream, ending),
        }
    }
}

/// The line without its end.
fn line<'a>(message: &Message<'a>) -> &'a [u8] {
    message.bytes.strip_suffix(b"\n").unwrap_or(message.bytes)
}

fn lost(driver: &'static str, error: &std::io::Error) -> LogError {
    LogError::Send {
        driver,
        reason: wharf_sys::words::of(error),
    }
}
