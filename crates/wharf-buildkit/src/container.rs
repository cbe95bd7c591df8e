//! Processes in containers of a client's frontend (`ExecProcess`): what they are told and what they say, over one stream.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::exec_message::Input;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    DoneMessage, ExecMessage, ExitMessage, FdMessage, InitMessage, StartedMessage,
};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};
use wharf_solver::{NewProcess, Process, Solver};

use crate::error::Error;
use crate::job::Job;
use crate::sizes::Sizes;
use crate::spool::{Reader, Teller, spool};

/// What waits for the client.
const WAITING: usize = 32;
/// The most orders that wait for a process.
const ORDERS: usize = 1_024;
/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;
/// The most bytes that a process is still to read, on the disk. Beyond it its client waits for it, as BuildKit's always does.
const UNREAD: u64 = 64 << 20;
/// The most processes of a stream.
const PROCESSES: usize = 64;
/// The exit code of what did not end by itself (`gateway/errdefs.UnknownExitStatus`).
const UNKNOWN: u32 = 255;

/// Answers a stream of messages. Processes end with it. What a process is to read is spooled with `solver`, and only where that
/// is very much is it waited for; of orders it may only have so many before it.
pub(crate) fn serve(
    job: Arc<Job>,
    solver: Solver,
    mut asked: Streaming<ExecMessage>,
) -> impl Stream<Item = Result<ExecMessage, Status>> + Send {
    let (said, answers) = mpsc::channel(WAITING);
    let listening = tokio::spawn(async move {
        let mut processes: HashMap<String, Known> = HashMap::new();
        while let Some(Ok(message)) = asked.next().await {
            let Some(input) = message.input else { continue };
            let id = message.process_id;
            match input {
                Input::Init(init) => {
                    processes.retain(|_, known| !known.work.is_finished());
                    if processes.contains_key(&id) || processes.len() >= PROCESSES {
                        let text = format!("process {id:?} already started");
                        let _ = said.send(Err(Status::unknown(text))).await;
                        return;
                    }
                    let (told, reader) = unread(&solver);
                    let (ordered, orders) = mpsc::channel(ORDERS);
                    let line = Line {
                        id: id.clone(),
                        said: said.clone(),
                    };
                    let sizes = Sizes::default();
                    let inputs = (reader, orders, sizes.clone());
                    let work = tokio::spawn(line.run(job.clone(), init, inputs));
                    let work = AbortOnDropHandle::new(work);
                    let known = Known {
                        told,
                        ordered,
                        sizes,
                        work,
                    };
                    processes.insert(id, known);
                }
                other => {
                    // One that has ended hears nothing.
                    if let Some(known) = processes.get(&id)
                        && !known.work.is_finished()
                        && let Err(status) = known.hear(other).await
                    {
                        let _ = said.send(Err(status)).await;
                        return;
                    }
                }
            }
        }
        // The client says no more; what it has begun it still hears of.
        for (_, known) in processes {
            known.told.close();
            drop(known.ordered);
            let _ = known.work.await;
        }
    });
    let listening = AbortOnDropHandle::new(listening);
    ReceiverStream::new(answers).map(move |answer| {
        let _ = &listening;
        answer
    })
}

/// What a process is to read.
fn unread(solver: &Solver) -> (Teller, Reader) {
    let solver = solver.clone();
    spool(UNREAD, move || {
        let folder = solver.scratch().map_err(std::io::Error::other)?;
        tempfile::tempfile_in(folder.path())
    })
}

/// A process that was begun.
struct Known {
    /// What it reads. With its end, that goes too.
    told: Teller,
    /// Signals and sizes: they do not wait until it has read.
    ordered: mpsc::Sender<Input>,
    sizes: Sizes,
    work: AbortOnDropHandle<()>,
}

impl Known {
    /// Passes on what its client says to it. Waits for the disk, and for the process where it has very much to read.
    async fn hear(&self, input: Input) -> Result<(), Status> {
        match input {
            Input::File(file) if file.fd == 0 => {
                self.sizes.told(file.data.len());
                let written = self.told.write(file.data).await;
                written.map_err(|error| {
                    Status::unknown(format!("failed to keep what a process is to read: {error}"))
                })?;
                if file.eof {
                    self.told.close();
                }
                Ok(())
            }
            Input::Signal(_) => self.order(input),
            Input::Resize(_) => {
                self.sizes.mark();
                self.order(input).inspect_err(|_| self.sizes.unmark())
            }
            // It says nothing to a process.
            _ => Ok(()),
        }
    }

    fn order(&self, input: Input) -> Result<(), Status> {
        match self.ordered.try_send(input) {
            Err(TrySendError::Full(_)) => Err(Status::resource_exhausted(
                "too many signals for a process that takes none",
            )),
            _ => Ok(()),
        }
    }
}

/// What comes for a process: what it reads, and orders; and which of them comes first.
type Inputs = (Reader, mpsc::Receiver<Input>, Sizes);

/// What one process says to its client.
#[derive(Clone)]
struct Line {
    id: String,
    said: mpsc::Sender<Result<ExecMessage, Status>>,
}

impl Line {
    /// Whether the client still listens.
    async fn say(&self, input: Input) -> bool {
        let message = ExecMessage {
            process_id: self.id.clone(),
            input: Some(input),
        };
        self.said.send(Ok(message)).await.is_ok()
    }

    /// One process, from its start to its last word.
    async fn run(self, job: Arc<Job>, init: InitMessage, inputs: Inputs) {
        let ended = self.lived(&job, init, inputs).await;
        let (code, error) = match ended {
            Ok(0) => (0, None),
            Ok(code) => {
                let text = format!("exit code: {code}");
                (u32::try_from(code).unwrap_or(UNKNOWN), Some(text))
            }
            Err(error) => (UNKNOWN, Some(error.to_string())),
        };
        let error = error.map(|message| rpc::Status {
            code: Code::Unknown.into(),
            message,
            ..rpc::Status::default()
        });
        self.say(Input::Exit(ExitMessage { code, error })).await;
        self.say(Input::Done(DoneMessage {})).await;
    }

    async fn lived(&self, job: &Job, init: InitMessage, inputs: Inputs) -> Result<i32, Error> {
        let hosted = job.hosted(&init.container_id)?;
        let (tty, fds) = (init.tty, init.fds);
        let process = hosted.container.start(NewProcess {
            meta: init.meta.unwrap_or_default(),
            security: init.security,
            secretenv: init.secretenv,
            tty,
            stdin: fds.contains(&0),
        });
        let mut process = process.await?;
        self.say(Input::Started(StartedMessage {})).await;
        let stream = process.take_stream();
        let (reader, writer) = stream
            .ok_or_else(|| Error::Failed("the process has no streams".to_owned()))?
            .into_split();
        let code = tokio::select! {
            code = self.talk(&process, (reader, writer), inputs, (tty, &fds[..])) => code,
            () = hosted.released.cancelled() => {
                Err(Error::Failed("the container was released".to_owned()))
            }
        };
        process.end().await?;
        code
    }

    async fn talk(
        &self,
        process: &Process<'_>,
        (reader, writer): (OwnedReadHalf, OwnedWriteHalf),
        (inputs, orders, sizes): Inputs,
        (tty, fds): (bool, &[u32]),
    ) -> Result<i32, Error> {
        let hear = async {
            let heard = match tty {
                true => self.terminal(reader, fds).await,
                false => self.frames(reader, fds).await,
            };
            heard.map_err(Error::io("read what a process says"))?;
            for fd in fds.iter().filter(|fd| **fd > 0) {
                let eof = FdMessage {
                    fd: *fd,
                    eof: true,
                    data: Vec::new(),
                };
                self.say(Input::File(eof)).await;
            }
            Ok::<_, Error>(process.wait().await)
        };
        tokio::select! {
            code = hear => code,
            never = tell(writer, inputs, &sizes) => match never {},
            never = order(process, orders, &sizes) => match never {},
        }
    }

    /// Passes on some bytes, if the client wants to have them.
    async fn pass(&self, fd: u32, data: &[u8], fds: &[u32]) {
        if fds.contains(&fd) {
            let message = FdMessage {
                fd,
                eof: false,
                data: data.to_vec(),
            };
            self.say(Input::File(message)).await;
        }
    }

    async fn terminal(
        &self,
        mut reader: impl AsyncRead + Unpin,
        fds: &[u32],
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok(()),
                count => self.pass(1, &buffer[..count], fds).await,
            }
        }
    }

    /// Docker's frames: which stream, how long, what.
    async fn frames(&self, mut reader: impl AsyncRead + Unpin, fds: &[u32]) -> std::io::Result<()> {
        let mut header = [0; 8];
        while reader.read_exact(&mut header).await.is_ok() {
            let [fd, _, _, _, length @ ..] = header;
            let mut left = u32::from_be_bytes(length) as usize;
            let mut buffer = vec![0; CHUNK.min(left)];
            while left > 0 {
                let count = buffer.len().min(left);
                reader.read_exact(&mut buffer[..count]).await?;
                self.pass(u32::from(fd), &buffer[..count], fds).await;
                left -= count;
            }
        }
        Ok(())
    }
}

/// Tells the process what the client has for it, for as long as it lives.
async fn tell(
    mut writer: impl AsyncWrite + Unpin,
    mut inputs: Reader,
    sizes: &Sizes,
) -> std::convert::Infallible {
    let mut at = 0;
    loop {
        match inputs.read().await {
            Ok(Some(data)) => {
                let written = sizes.write(&mut writer, &data, &mut at).await;
                // Who has ended is told nothing any more; that it has is heard elsewhere.
                if written.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "read what a process is to read");
                break;
            }
        }
    }
    // What comes now goes nowhere, and nobody waits for a process that does not read it.
    drop(inputs);
    // As above.
    let _ = writer.shutdown().await;
    std::future::pending().await
}

/// Signals, and the sizes of its terminal.
async fn order(
    process: &Process<'_>,
    mut orders: mpsc::Receiver<Input>,
    sizes: &Sizes,
) -> std::convert::Infallible {
    while let Some(input) = orders.recv().await {
        match input {
            Input::Resize(size) => {
                let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                let _ = process.resize(number(size.rows), number(size.cols)).await;
                sizes.pass();
            }
            Input::Signal(signal) => {
                if let Err(error) = process.signal(&signal.name).await {
                    tracing::debug!(%error, "signal a frontend's process");
                }
            }
            _ => {}
        }
    }
    std::future::pending().await
}
