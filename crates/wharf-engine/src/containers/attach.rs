//! `attach`: a client's connection and a container's streams.
//!
//! The shim writes what the client is to read, framed or raw, into a socket, and reads its stdin from it; the
//! daemon copies bytes, and looks for the detach keys on the way in. A client that attaches before the start (as
//! `docker run` does) waits in the container's [`Io`](super::Io) and is connected between the creation of the
//! process and its start, so that not a byte is missed.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use wharf_logs::{Entry as LogEntry, Stream};

use super::frames::{self, Reading};
use super::{AttachEnd, AttachOptions, Containers, LogOptions, LogStream};
use crate::detach::Keys;
use crate::{EngineError, Status, View};

/// How much of a client's input is read at once, in bytes.
const PIECE: usize = 32 * 1024;

/// The most clients of a container that have sent something and are gone before its start.
const LEFT: usize = 64;

/// A client that waits for the start.
pub(crate) struct Pending {
    pub(crate) options: wharf_tasks::AttachOptions,
    pub(crate) connect: oneshot::Sender<UnixStream>,
}

enum Source {
    Ready(UnixStream),
    Later(oneshot::Receiver<UnixStream>, Arc<super::Entry>),
    /// Only the log is wanted.
    Nothing,
}

/// An attached session that waits for its connection. It is made before the reply's headers are sent, so that
/// every error still is an ordinary reply; on a container that does not run yet it waits for the start.
pub struct Attachment {
    source: Source,
    tty: bool,
    reading: Reading,
    stdin: bool,
    /// Whose stdin ends with the client's (`StdinOnce`).
    once: Option<Arc<super::Entry>>,
    keys: Keys,
    log: Option<LogStream>,
    end: Option<End>,
    /// Told when the client leaves by the detach keys.
    detached: Option<Box<dyn FnOnce() + Send>>,
}

/// The end of a process whose stream this is.
struct End {
    pid: u32,
    told: watch::Receiver<bool>,
}

impl End {
    /// If the stream has ended because the process does, waits until everybody can see that it has: whoever asks for the exit
    /// code at the end of the stream gets it. One that has only closed its stream is not waited for.
    async fn come(mut self) {
        if crate::proc::is_ending(self.pid) {
            // The session may be forgotten.
            let _ = self.told.wait_for(|told| *told).await;
        }
    }
}

impl Containers {
    /// Whether one may attach to it now.
    ///
    /// # Errors
    /// If it is frozen or restarting.
    pub fn may_attach(&self, container: &str) -> Result<(), EngineError> {
        may_attach(&self.find(container)?.now(), container)
    }

    /// Attaches.
    ///
    /// # Errors
    /// If it is frozen or restarting, or the detach keys are none.
    pub async fn attach(
        &self,
        container: &str,
        options: AttachOptions,
    ) -> Result<Attachment, EngineError> {
        let keys = Keys::parse(options.detach_keys.as_deref())?;
        let entry = self.find(container)?;
        let view = entry.now();
        may_attach(&view, container)?;
        // Whoever takes no output gets none of the log, as with dockerd.
        let log = match options.logs && (options.stdout || options.stderr) {
            true => Some(self.logs(container, replay(&options)).await?),
            false => None,
        };
        let stdin = options.stdin && view.config.open_stdin;
        let wanted = wharf_tasks::AttachOptions {
            stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        // Who asks for no stream is not kept waiting for the start.
        let any = stdin || options.stdout || options.stderr;
        let source = match options.stream && any {
            false => Source::Nothing,
            true => self.connect(&entry, wanted).await?,
        };
        self.shared.emit_view(&view, "attach", &[]);
        let (shared, now) = (self.shared.clone(), view.clone());
        let detached = move || shared.emit_view(&now, "detach", &[]);
        Ok(Attachment {
            source,
            detached: Some(Box::new(detached)),
            tty: view.config.tty,
            reading: Reading::AsItComes,
            stdin,
            // A terminal's stdin is the terminal.
            once: (stdin && view.config.stdin_once && !view.config.tty).then_some(entry),
            keys,
            log,
            end: None,
        })
    }

    async fn connect(
        &self,
        entry: &Arc<super::Entry>,
        options: wharf_tasks::AttachOptions,
    ) -> Result<Source, EngineError> {
        let (connect, connected) = oneshot::channel();
        let task = {
            let mut io = entry.io();
            match io.task.clone() {
                Some(task) => task,
                None if io.unresolved && entry.now().state.running => {
                    return Err(EngineError::silent(&entry.id));
                }
                None => {
                    io.pending.retain(|pending| !pending.connect.is_closed());
                    io.pending.push(Pending { options, connect });
                    return Ok(Source::Later(connected, entry.clone()));
                }
            }
        };
        let stream = task.attach(options).await;
        Ok(Source::Ready(
            stream.map_err(|error| EngineError::failed(&error))?,
        ))
    }
}

/// `name` is what the container was called by.
fn may_attach(view: &View, name: &str) -> Result<(), EngineError> {
    let until = match view.state.status {
        Status::Paused => "paused, unpause the container before attach",
        Status::Restarting => "restarting, wait until the container is running",
        _ => return Ok(()),
    };
    Err(EngineError::Conflict(format!(
        "container {name} is {until}"
    )))
}

fn replay(options: &AttachOptions) -> LogOptions {
    LogOptions {
        stdout: options.stdout,
        stderr: options.stderr,
        ..LogOptions::default()
    }
}

impl Attachment {
    pub(super) fn ready(stream: UnixStream, tty: bool, stdin: bool, keys: Keys) -> Self {
        Self {
            source: Source::Ready(stream),
            stdin,
            keys,
            ..Self::of_nothing(tty)
        }
    }

    /// One that has nothing to say, and ends at once.
    pub(super) fn of_nothing(tty: bool) -> Self {
        Self {
            source: Source::Nothing,
            tty,
            reading: Reading::AsItComes,
            stdin: false,
            once: None,
            keys: Keys::default(),
            log: None,
            end: None,
            detached: None,
        }
    }

    /// The stream of the process `pid`, whose end is told.
    pub(super) fn with_end(self, pid: u32, told: watch::Receiver<bool>) -> Self {
        Self {
            end: Some(End { pid, told }),
            ..self
        }
    }

    /// `told` is called when the client leaves by the detach keys.
    pub(super) fn with_detach(self, told: impl FnOnce() + Send + 'static) -> Self {
        Self {
            detached: Some(Box::new(told)),
            ..self
        }
    }

    /// Whether the client takes it for a terminal, or for none, whatever it is: dockerd goes by what was asked at the start.
    pub(super) fn taken_for(self, terminal: bool) -> Self {
        let reading = Reading::of(self.tty, terminal);
        Self { reading, ..self }
    }

    /// Whether the client's bytes are raw (a terminal) instead of in Docker's frames.
    pub fn tty(&self) -> bool {
        match self.reading {
            Reading::AsItComes => self.tty,
            Reading::Framed => false,
            Reading::Plain => true,
        }
    }

    /// Copies until one side ends. `gone` resolves when the client has closed both halves of its connection: what it has sent is
    /// still passed on, but there is nobody to write to. As with dockerd, `StdinOnce` ends the container's stdin then, too; before
    /// the start, that of the run to come.
    pub async fn serve(
        self,
        connection: impl AsyncRead + AsyncWrite + Send + Unpin,
        gone: impl Future<Output = ()> + Send,
    ) -> AttachEnd {
        let once = self.once.clone();
        let end = self.copy(connection, gone).await;
        if let (AttachEnd::Gone, Some(entry)) = (&end, once) {
            end_input(&entry).await;
        }
        end
    }

    async fn copy(
        mut self,
        connection: impl AsyncRead + AsyncWrite + Send + Unpin,
        gone: impl Future<Output = ()> + Send,
    ) -> AttachEnd {
        let (mut from_client, mut to_client) = tokio::io::split(connection);
        let mut gone = std::pin::pin!(gone);
        if let Some(mut log) = self.log.take() {
            while let Some(Ok(entry)) = log.next().await {
                if to_client.write_all(&frame(&entry, self.tty)).await.is_err() {
                    return AttachEnd::Gone;
                }
            }
        }
        // What a client that went before the start had sent; the rest of it still is in its socket.
        let mut left = None;
        let stream = match self.source {
            Source::Ready(stream) => Ok(stream),
            Source::Nothing => return finish(&mut to_client, AttachEnd::Ended).await,
            Source::Later(mut connected, entry) => tokio::select! {
                stream = &mut connected => stream,
                () = hung_up(&mut from_client, self.stdin) => return AttachEnd::Gone,
                () = &mut gone => {
                    let bytes = first_of_the_rest(&mut from_client, self.stdin).await;
                    if bytes.is_empty() {
                        self.once.iter().for_each(|entry| end_input_to_come(entry));
                        return AttachEnd::Gone;
                    }
                    // Each of them is a connection that nobody else would close.
                    let Some(_left) = Left::of(entry) else {
                        return AttachEnd::Gone;
                    };
                    left = Some(bytes);
                    connected.await
                },
            },
        };
        // Else the start failed; whoever asked for it has been told why.
        let Ok(stream) = stream else {
            return finish(&mut to_client, AttachEnd::Ended).await;
        };
        let (mut from_task, mut to_task) = stream.into_split();
        let output = async {
            let copied = self.reading.copy(&mut from_task, &mut to_client).await;
            if copied.is_err() {
                // What the client has sent is still passed on, and the process does not wait for a reader.
                let _ = tokio::io::copy(&mut from_task, &mut tokio::io::sink()).await;
                return AttachEnd::Gone;
            }
            if let Some(end) = self.end.take() {
                end.come().await;
            }
            let _ = to_client.shutdown().await;
            AttachEnd::Ended
        };
        let input = async {
            let mut from_client = left.as_deref().unwrap_or_default().chain(from_client);
            let end = match self.stdin {
                true => feed(&mut from_client, &mut to_task, self.keys, self.tty).await,
                false => drain(&mut from_client).await,
            };
            match end {
                Some(end) => end,
                // A client that has said all still listens, as long as it is there.
                None => {
                    if left.is_none() {
                        gone.await;
                    }
                    AttachEnd::Gone
                }
            }
        };
        let end = tokio::select! { end = output => end, end = input => end };
        if let (AttachEnd::Detached, Some(told)) = (&end, self.detached.take()) {
            told();
        }
        finish(&mut to_client, end).await
    }
}

/// One of those whose input is kept though they are gone before the start.
struct Left(Arc<super::Entry>);

impl Left {
    /// `None` if there are too many.
    fn of(entry: Arc<super::Entry>) -> Option<Self> {
        {
            let mut io = entry.io();
            if io.left >= LEFT {
                tracing::warn!(container = %entry.id, "input of a client that is gone is dropped: there is so much of it");
                return None;
            }
            io.left += 1;
        }
        Some(Self(entry))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.io().left -= 1;
    }
}

/// A shim cannot tell a client that has died from a daemon that has, whose containers keep their stdin: it is told.
async fn end_input(entry: &super::Entry) {
    let task = entry.io().task.clone();
    let Some(task) = task else { return };
    if let Err(error) = task.close_stdin().await {
        // It has ended, most likely.
        tracing::debug!(%error, "close the stdin of a container");
    }
}

/// The run to come begins with a stdin that has ended, if there is none yet.
fn end_input_to_come(entry: &super::Entry) {
    let mut io = entry.io();
    if io.task.is_none() {
        io.input = super::Input::Over;
    }
}

async fn finish(client: &mut (impl AsyncWrite + Unpin), end: AttachEnd) -> AttachEnd {
    // A client that is gone already does not hear it.
    let _ = client.shutdown().await;
    end
}

/// Until the client goes, before there is anything to talk to. What it types meanwhile stays in its socket: only
/// a client without stdin is read, as it has nothing to say.
async fn hung_up(client: &mut (impl AsyncRead + Unpin), stdin: bool) {
    if stdin {
        std::future::pending::<()>().await;
    }
    match drain(client).await {
        Some(_) => {}
        None => std::future::pending().await,
    }
}

/// Some of what a client that is gone has sent for stdin, and nobody has read; nothing if that was all.
async fn first_of_the_rest(client: &mut (impl AsyncRead + Unpin), stdin: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if stdin {
        bytes.reserve(PIECE);
        // A connection that was reset has nothing more to give.
        let _ = client.read_buf(&mut bytes).await;
    }
    bytes
}

/// Reads and forgets; `None` once the client has closed its half, which ends nothing.
async fn drain(client: &mut (impl AsyncRead + Unpin)) -> Option<AttachEnd> {
    let mut buffer = [0; 1024];
    loop {
        match client.read(&mut buffer).await {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => return Some(AttachEnd::Gone),
        }
    }
}

/// Copies stdin until its end (`None`: the output goes on), the detach keys or an error.
async fn feed(
    client: &mut (impl AsyncRead + Unpin),
    task: &mut (impl AsyncWrite + Unpin),
    mut keys: Keys,
    tty: bool,
) -> Option<AttachEnd> {
    let mut buffer = vec![0; PIECE];
    let mut out = Vec::new();
    loop {
        let read = match client.read(&mut buffer).await {
            Ok(0) => {
                // The end of the client's stdin is the end of the container's, if it was asked so.
                let _ = task.shutdown().await;
                return None;
            }
            Ok(read) => read,
            Err(_) => return Some(AttachEnd::Gone),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        // Docker looks for the keys on terminals only.
        if !tty {
            if task.write_all(bytes).await.is_err() {
                return None;
            }
            continue;
        }
        out.clear();
        let detached = keys.pass(bytes, &mut out);
        // A process that does not read any more may still write.
        let written = task.write_all(&out).await;
        if detached {
            return Some(AttachEnd::Detached);
        }
        if written.is_err() {
            return None;
        }
    }
}

/// A log line as the attached client reads it: Docker's frame (8 bytes: stream, 0, 0, 0, length) or raw.
fn frame(entry: &LogEntry, tty: bool) -> Vec<u8> {
    let text = entry.log.as_slice();
    if tty {
        return text.to_vec();
    }
    let stream = match entry.stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let mut frame = frames::head(stream, text.len()).to_vec();
    frame.extend(text);
    frame
}
