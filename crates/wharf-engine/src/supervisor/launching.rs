//! The start of a container: when it may begin, and what its record says of how it went. How it is done: [`crate::launch`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedRwLockWriteGuard;
use tracing::debug;

use super::{Command, Supervisor, ends_a_start, exit_of};
use crate::EngineError;
use crate::launch::{self, Launched};
use crate::lifecycle::Event;
use crate::record::Record;

/// How long a start waits for those who look at the files.
const READERS: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Starts it, unless the daemon ends. What comes of it.
    pub(super) async fn launch(&mut self, cause: Event) -> Event {
        self.backoff_at = None;
        match self.shared.stopping.load(Ordering::SeqCst) {
            false => self.launch_now(cause).await,
            true => self.refuse_launch(cause),
        }
    }

    /// What a policy would start, the next daemon does.
    fn refuse_launch(&mut self, cause: Event) -> Event {
        self.failure = Some(EngineError::ShuttingDown);
        self.entry.io().drop_pending();
        match cause {
            Event::Start | Event::Restart { .. } => Event::LaunchFailed,
            _ => Event::LaunchDeferred,
        }
    }

    async fn launch_now(&mut self, cause: Event) -> Event {
        if let Some(release) = self.release.take() {
            // Its panic is its own; what it did not give back, the launch will meet and say.
            let _ = release.await;
        }
        // Layers are mounted once at a time.
        let Some(_files) = self.files_alone().await else {
            self.failure = Some(EngineError::Conflict(format!(
                "container {} was stopped before it could be started",
                self.record.id
            )));
            return Event::LaunchDeferred;
        };
        self.attempts += 1;
        self.record.app_armor_profile = crate::apparmor::profile(&self.record.host);
        let mounted = crate::volumes::mount_all(&self.shared, &mut self.record).await;
        let launched = match mounted {
            Ok(()) => self.launch_in_time().await,
            Err(error) => Err(error.into()),
        };
        if launched.is_err() {
            // As dockerd, which tells it of what never came to be mounted, too.
            self.shared.emit_volumes("unmount", &self.record);
            let Record { id, mounts, .. } = &self.record;
            crate::volumes::unmount_all(&self.shared, id, mounts).await;
        }
        match launched {
            Ok(Launched { task, pid, network }) => {
                self.launches += 1;
                // Who asked before the process could have ended is heard before its end is: another start asks for this run.
                while let Ok(command) = self.mailbox.try_recv() {
                    self.backlog.push_back(command);
                }
                self.exit = Some(exit_of(&task));
                self.memory = Some(task.out_of_memory());
                self.task = Some(task);
                self.record.network = network;
                let last = &mut self.record.last;
                last.started_at = Some(Timestamp::now());
                last.error.clear();
                last.start_failed = false;
                (last.exit_code, last.oom_killed) = (0, false);
                if crate::health::command(&self.record.config).is_some() {
                    self.record.health.get_or_insert_default().begin();
                }
                self.shared
                    .emit_networks("connect", &self.record.id, &self.record.network);
                self.shared.emit_volumes("mount", &self.record);
                self.emit("start", &[]);
                Event::Launched { pid }
            }
            Err(failure) => {
                debug!(container = %self.record.id, ?cause, message = failure.message, "start failed");
                let (record, connected) = (&mut self.record, &failure.connected);
                launch::network::tell_of_failure(&self.shared, record, connected);
                let last = &mut self.record.last;
                if !failure.untried || last.exit_code == 0 {
                    last.exit_code = failure.code;
                }
                last.error = failure.message.clone();
                last.start_failed = true;
                self.entry.io().drop_pending();
                self.failure = Some(EngineError::Start {
                    message: failure.message,
                    code: failure.code,
                    kind: failure.kind,
                });
                self.record.remove_volumes |= self.record.state.auto_remove;
                Event::LaunchFailed
            }
        }
    }

    /// Waits until nobody looks at the files any more, and obeys meanwhile; `None` if there is to be no launch. Readers that
    /// take too long are ended.
    async fn files_alone(&mut self) -> Option<OwnedRwLockWriteGuard<()>> {
        let entry = self.entry.clone();
        let mut turn = std::pin::pin!(entry.files.alone());
        let mut patience = std::pin::pin!(tokio::time::sleep(READERS));
        let mut evicted = false;
        loop {
            let command = tokio::select! {
                biased;
                files = &mut turn => return Some(files),
                () = &mut patience, if !evicted => {
                    evicted = true;
                    entry.files.evict();
                    continue;
                }
                command = self.mailbox.recv() => command?,
            };
            match &command {
                Command::Ask { event, .. } if ends_a_start(event) => {
                    self.backlog.push_back(command);
                    return None;
                }
                // After the start that it comes behind.
                Command::Ask {
                    event: Event::Restart { .. },
                    ..
                } => self.backlog.push_back(command),
                _ => self.obey_within(command).await,
            }
        }
    }

    /// What does not lead to a launch, inside of one.
    fn obey_within(&mut self, command: Command) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.obey(command))
    }
}
