//! Execs on their way to their programs.
//!
//! What such a process needs may not answer (a file of its root on a network file system), or it may be frozen before it is
//! there. The loop does not wait for it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use wharf_cgroups::Cgroup;
use wharf_runtime::{Created, ExecConfig, ProcessIo, RuntimeError, Step, begin_exec};
use wharf_shim_api::{Exec, ExecStage, KnownExec, KnownExecs, Message, Reply};

use super::client::Client;
use super::process::{InputEnd, Process, Streams};
use super::requests::Refusal;
use super::state::{Container, Shim};

/// An exec without a program.
pub(crate) struct Making {
    id: String,
    streams: Streams,
    stage: Stage,
}

enum Stage {
    Made(wharf_runtime::Making),
    /// It may execute its program.
    Started(Created),
}

impl Making {
    /// Begins to make a process beside the `first` of the container.
    fn begin(
        container: &Container,
        first: &Process,
        config: Exec,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, Refusal> {
        let terminal = config.process.terminal() == Some(true);
        let wanted = config.streams;
        let (io, mut streams) = match terminal {
            true => (ProcessIo::Terminal { size: None }, Streams::default()),
            false => Streams::pipes(wanted.stdin, wanted.stdout || wanted.stderr)?,
        };
        streams.input_end = InputEnd::WithClient;
        if let Some(socket) = descriptors.into_iter().next() {
            streams.clients.push(Client::new(socket, wanted, terminal)?);
        }
        let making = begin_exec(ExecConfig {
            process: &config.process,
            container: first.pidfd.as_fd(),
            cgroup: container.cgroup.as_ref(),
            seccomp: container.seccomp.clone(),
            io,
            user: super::process::who(&config.user).to_owned(),
            groups: container.groups.clone(),
            die_with_caller: true,
            preserve_fds: 0,
            keyring: Some(container.keyring.clone()),
        })?;
        Ok(Self {
            id: config.id,
            streams,
            stage: Stage::Made(making),
        })
    }

    /// Readable when there is something to do.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Made(making) => making.as_fd(),
            Stage::Started(created) => created.as_fd(),
        }
    }

    /// Does what there is to do, as soon as there is something: the process, once it runs its program.
    fn go_on(mut self, cgroup: Option<&Cgroup>) -> Result<Result<Process, Self>, RuntimeError> {
        self.stage = match self.stage {
            Stage::Made(making) => match making.go_on(cgroup)? {
                Step::Making(making) => Stage::Made(making),
                Step::Made(mut created) => {
                    let master = created.terminal.take();
                    let taken = master.map_or(Ok(()), |master| self.streams.take_terminal(master));
                    if let Err(source) = taken {
                        created.discard();
                        let operation = "take the terminal";
                        return Err(RuntimeError::System { operation, source });
                    }
                    created.release();
                    Stage::Started(created)
                }
            },
            Stage::Started(created) => {
                if let Err(error) = created.started() {
                    created.discard();
                    return Err(error);
                }
                let (exec, streams) = (Some(self.id), self.streams);
                return Ok(Ok(Process::new(exec, created.pid, created.pidfd, streams)));
            }
        };
        Ok(Err(self))
    }
}

impl Shim {
    /// Begins an exec; waits for its program only for a daemon that knows of nothing else.
    pub(super) fn exec(
        &mut self,
        config: Exec,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Reply, Refusal> {
        let container = self
            .container
            .as_ref()
            .filter(|container| container.is_started());
        let container = container.ok_or_else(Refusal::gone)?;
        let first = self.living(None)?;
        if let Some(foreign) = &container.foreign {
            let process = foreign.exec(&config, descriptors)?;
            return Ok(self.taken_over(process));
        }
        if container.cgroup.as_ref().is_some_and(Cgroup::is_frozen) {
            // It would be born frozen.
            return Err(Refusal::other("cannot exec in a paused container"));
        }
        let behind = config.behind;
        let mut making = Making::begin(container, first, config, descriptors)?;
        if behind {
            self.making.push(Some(making));
            return Ok(Reply::Begun);
        }
        loop {
            match making.go_on(self.cgroup().ok())? {
                Ok(process) => return Ok(self.taken_over(process)),
                Err(more) => making = more,
            }
        }
    }

    /// One has said something.
    pub(crate) fn go_on_making(&mut self, index: usize) {
        let Some(making) = self.making[index].take() else {
            return;
        };
        let exec = making.id.clone();
        let reply = match making.go_on(self.cgroup().ok()) {
            Ok(Err(making)) => {
                self.making[index] = Some(making);
                return;
            }
            Ok(Ok(process)) => self.taken_over(process),
            Err(error) => Refusal::from(error).into_reply(),
        };
        let news = Message::Made { exec, reply };
        if let (false, Message::Made { exec, reply }) = (self.tell_of_exec(&news), news) {
            self.keep_failure(exec, reply);
        }
    }

    /// Where all execs stand of which a daemon may not know it.
    pub(super) fn known_execs(&self) -> KnownExecs {
        let making = self.making.iter().flatten().map(|making| KnownExec {
            id: making.id.clone(),
            stage: ExecStage::Making,
        });
        // One that has ended and is not announced yet counts as running: its end is told next.
        let running = self.processes.iter().filter_map(|process| {
            let pid = process.pid.as_raw_nonzero().get();
            let (id, stage) = (process.exec.clone()?, ExecStage::Running { pid });
            (!process.announced).then_some(KnownExec { id, stage })
        });
        self.unreported.and(making.chain(running))
    }

    fn taken_over(&mut self, process: Process) -> Reply {
        let pid = process.pid.as_raw_nonzero().get();
        self.processes.push(process);
        Reply::Process { pid }
    }
}
