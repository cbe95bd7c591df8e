//! Moves bytes between the standard streams and an attached container.

use std::os::fd::AsFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf_client::Hijacked;

use super::detach::DetachKeys;
use super::raw::{self, RawMode};
use super::stdin;
use crate::cli::{Exit, Outcome};

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container closed its output.
    Closed,
    /// The user typed the detach keys.
    Detached,
}

/// What a session connects.
pub struct Session {
    /// Send standard input.
    pub stdin: bool,
    /// Show what comes. Where nothing will, the session is over with the input.
    pub output: bool,
    /// The container has a terminal: output is raw, and so is input when it is a terminal here.
    pub tty: bool,
    /// What detaches.
    pub detach_keys: String,
}

impl Session {
    /// Moves bytes until the container closes its output or the user detaches. The terminal is itself again
    /// when this returns.
    pub async fn run(&self, stream: Hijacked) -> Outcome<Ended> {
        let mut keys = DetachKeys::parse(&self.detach_keys)?;
        let raw_mode = if self.stdin && self.tty {
            RawMode::enter()?
        } else {
            None
        };
        let framed = stream.multiplexed.unwrap_or(!self.tty);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut input = self.stdin.then(stdin::read);
        let output = async {
            if framed {
                frames(&mut reader).await
            } else {
                plain(&mut reader).await
            }
        };
        tokio::pin!(output);
        let mut detached = false;
        let ended = loop {
            tokio::select! {
                ended = &mut output => break ended,
                chunk = receive(&mut input) => match chunk {
                    Some(chunk) => {
                        detached |= raw_mode.is_some() && keys.feed(&chunk);
                        // A container that reads no more is no reason to stop showing its output.
                        if writer.write_all(&chunk).await.is_err() {
                            input = None;
                        }
                        let _ = writer.flush().await;
                        if detached {
                            let limit = std::time::Duration::from_secs(1);
                            let _ = tokio::time::timeout(limit, &mut output).await;
                            break Ok(());
                        }
                    }
                    None => {
                        input = None;
                        let _ = writer.shutdown().await;
                        if !self.output {
                            break Ok(());
                        }
                    }
                },
            }
        };
        drop(raw_mode);
        raw::restore();
        ended?;
        Ok(if detached {
            Ended::Detached
        } else {
            Ended::Closed
        })
    }
}

async fn receive(input: &mut Option<tokio::sync::mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn plain(reader: &mut (impl AsyncReadExt + Unpin)) -> Outcome {
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(length) => write(std::io::stdout(), &buffer[..length])?,
            // A terminal's other end that went away.
            Err(_) => return Ok(()),
        }
    }
}

/// Shows Docker's framed stream: one byte says which stream, four say how long, then the bytes.
pub async fn frames(reader: &mut (impl AsyncReadExt + Unpin)) -> Outcome {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let length = match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        splitter.feed(&buffer[..length])?;
    }
}

/// Takes frames apart, however they were cut on the way.
#[derive(Default)]
pub struct Splitter {
    header: Vec<u8>,
    left: usize,
    error: Vec<u8>,
}

impl Splitter {
    /// Shows what these bytes complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            if self.left == 0 {
                let take = bytes.len().min(8 - self.header.len());
                self.header.extend_from_slice(&bytes[..take]);
                bytes = &bytes[take..];
                if self.header.len() < 8 {
                    return Ok(());
                }
                let length = [
                    self.header[4],
                    self.header[5],
                    self.header[6],
                    self.header[7],
                ];
                self.left = u32::from_be_bytes(length) as usize;
                if self.left == 0 {
                    self.header.clear();
                }
                continue;
            }
            let take = bytes.len().min(self.left);
            self.show(&bytes[..take])?;
            bytes = &bytes[take..];
            self.left -= take;
            if self.left == 0 {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn show(&mut self, bytes: &[u8]) -> Outcome {
        match self.header[0] {
            0 | 1 => write(std::io::stdout(), bytes),
            2 => write(std::io::stderr(), bytes),
            3 => {
                self.error.extend_from_slice(bytes);
                Ok(())
            }
            kind => Err(Exit::new(format!("Unrecognized input header: {kind}"))),
        }
    }

    fn finish(&mut self) -> Outcome {
        let kind = self.header[0];
        self.header.clear();
        if kind == 3 {
            let text = String::from_utf8_lossy(&self.error).into_owned();
            return Err(Exit::new(format!("error from daemon in stream: {text}")));
        }
        Ok(())
    }
}

/// Writes all bytes without a buffer between.
pub fn write(to: impl AsFd, mut bytes: &[u8]) -> Outcome {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let mut ready = [rustix::event::PollFd::new(
                    &to,
                    rustix::event::PollFlags::OUT,
                )];
                rustix::event::poll(&mut ready, None).map_err(std::io::Error::from)?;
            }
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    Ok(())
}
