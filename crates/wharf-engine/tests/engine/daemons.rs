//! What tests do with engines, and with those that are killed.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use wharf_engine::*;

use crate::world::World;

/// Longer than anything here takes: what is not done by then never is.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// What comes of it, which must come.
pub(crate) async fn done<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(NEVER, work).await;
    done.expect("it does not end")
}

/// Waits until a container's output has a line.
pub(crate) async fn says(engine: &Engine, name: &str, line: &str) {
    let options = LogOptions {
        stdout: true,
        follow: true,
        ..LogOptions::default()
    };
    let mut logs = engine.containers.logs(name, options).await.unwrap();
    let wanted = format!("{line}\n");
    done(async { while logs.next().await.unwrap().unwrap().log != wanted.as_bytes() {} }).await;
}

pub(crate) fn within(seconds: i64) -> StopOptions {
    StopOptions {
        timeout: Some(seconds),
        ..StopOptions::default()
    }
}

pub(crate) fn state(engine: &Engine, name: &str) -> (Status, i32) {
    let state = engine.containers.inspect(name).unwrap().state.clone();
    (state.status, state.exit_code)
}

pub(crate) async fn remove(engine: &Engine, name: &str, volumes: bool) -> Result<(), EngineError> {
    let options = RemoveOptions {
        volumes,
        ..RemoveOptions::default()
    };
    engine.containers.remove(name, options).await
}

/// Something asked of a container by somebody else at the same time.
pub(crate) async fn meanwhile<F: Future<Output = Result<(), EngineError>> + Send + 'static>(
    engine: &Arc<Engine>,
    ask: impl FnOnce(Containers) -> F,
) -> tokio::task::JoinHandle<Result<(), EngineError>> {
    let mut asked = Box::pin(ask(engine.containers.clone()));
    // The container's mailbox has it before anything that is asked from now on.
    let early = std::future::poll_fn(|context| match asked.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    tokio::spawn(async move {
        match early {
            Some(answer) => answer,
            None => asked.await,
        }
    })
}

pub(crate) async fn until_it_is(engine: &Engine, name: &str, status: Status) {
    while state(engine, name).0 != status {
        tokio::task::yield_now().await;
    }
}

/// An engine in a runtime of its own, which ends without a word as soon as `work` has.
pub(crate) async fn killed<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    world: &Arc<World>,
    work: impl FnOnce(Arc<Engine>) -> F + Send + 'static,
) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = world.clone();
    let task = runtime.spawn(async move {
        let engine = world.open().await;
        work(engine).await
    });
    let done = task.await.unwrap();
    runtime.shutdown_background();
    done
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The shim of a process is its parent.
pub(crate) fn shim_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}
