//! `wharf daemon`: settings, sockets, signals; the engine and the API do the rest.
//!
//! ```text
//!  flags + daemon.json ─▶ Settings ─▶ engine opened (data root locked, containers found)
//!                                  ─▶ sockets bound ─▶ READY ─▶ serve … SIGHUP: reload … SIGTERM: shutdown
//! ```

mod accounts;
mod args;
mod builder;
mod config;
mod directives;
mod idle;
mod refused;
mod remap;
mod runtimes;
mod settings;
mod sockets;
mod tls;
mod validate;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_api_server::{Api, Listener};
use wharf_engine::{Engine, EngineError};

pub use args::DaemonArgs;
pub(crate) use refused::flag as refused_flag;
use settings::Settings;

/// Exit code of a daemon that finds another one at work on its folders (`EX_TEMPFAIL` of sysexits.h).
pub const LOCKED: i32 = 75;

/// What a daemon ends with that could not start, or go on.
pub fn exit_code(error: &anyhow::Error) -> i32 {
    match error.downcast_ref() {
        Some(EngineError::Locked { .. }) => LOCKED,
        _ => 1,
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(args: DaemonArgs) -> Result<()> {
    let settings = Settings::resolve(&args)?;
    if args.validate {
        settings.check()?;
        println!("configuration OK");
        return Ok(());
    }
    let set_level = log_to_stderr(&settings)?;
    // Two workers: the daemon waits for most of its life, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(settings, args, set_level));
    // What blocks for ever, a dead file server, must not keep us; what has to be waited for was.
    runtime.shutdown_background();
    served
}

/// Says what is to be logged from now on.
type SetLevel = Box<dyn Fn(&str) -> Result<()>>;

fn log_to_stderr(settings: &Settings) -> Result<SetLevel> {
    let filter = |level: &str| {
        tracing_subscriber::EnvFilter::try_new(level)
            .with_context(|| format!("unable to parse logging level: {level}"))
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log_level)?)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    if settings.log_json {
        let subscriber = builder.json().with_filter_reloading();
        let handle = subscriber.reload_handle();
        subscriber.init();
        return Ok(Box::new(move |level| Ok(handle.reload(filter(level)?)?)));
    }
    let subscriber = builder.with_filter_reloading();
    let handle = subscriber.reload_handle();
    subscriber.init();
    Ok(Box::new(move |level| Ok(handle.reload(filter(level)?)?)))
}

async fn serve(settings: Settings, args: DaemonArgs, set_level: SetLevel) -> Result<()> {
    let mut signals = Signals::listen()?;
    let engine = tokio::select! {
        engine = Engine::open(settings.engine.clone()) => engine?,
        // As good as a death of ours, which may come at any moment.
        () = signals.told_to_stop(1) => return Ok(()),
    };
    // No other daemon holds these roots from here on.
    let pid_file = PidFile::write(&settings)?;
    let listeners = sockets::bind(&settings)?;
    let api = Api::new(engine.clone())?.with_names(sockets::names(&settings.hosts));
    let mut serving = tokio::task::JoinSet::new();
    for listener in listeners {
        serving.spawn(api.clone().serve(listener));
    }
    if let Some(address) = &settings.metrics {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listen for metrics on {address}"))?;
        serving.spawn(api.metrics(engine.clone()).serve(Listener::Tcp(listener)));
    }
    for host in &settings.hosts {
        tracing::info!("API listen on {host}");
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    serving.spawn(idle::give_back_when_quiet());
    until_told_to_stop(&mut signals, &engine, &args, &set_level).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    // Answers go on while containers are stopped: those of `stop` and `wait`, their output.
    api.refuse();
    let shutdown = async {
        engine.shutdown().await;
        api.end().await;
    };
    tokio::select! {
        () = shutdown => {}
        () = signals.told_to_stop(MORE) => tracing::warn!("stopping at once: told so {} times", MORE + 1),
    }
    sockets::remove(&settings);
    drop(pid_file);
    Ok(())
}

/// How often a daemon that stops must be told so once more until it stops at once, as dockerd.
const MORE: usize = 2;

async fn until_told_to_stop(
    signals: &mut Signals,
    engine: &Arc<Engine>,
    args: &DaemonArgs,
    set_level: &SetLevel,
) {
    loop {
        match signals.next().await {
            Told::Stop => return,
            Told::Reload => reload(engine, args, set_level),
            // dockerd writes its stacks down; whoever asks must not end us.
            Told::Dump => tracing::info!("SIGUSR1: there are no stacks to be written"),
        }
    }
}

/// What a signal says.
enum Told {
    Stop,
    Reload,
    Dump,
}

/// The signals that the daemon obeys, from the first moment on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.user.recv() => Told::Dump,
        }
    }

    /// Returns when it was told to stop so many times; nothing else is obeyed meanwhile.
    async fn told_to_stop(&mut self, mut times: usize) {
        while times > 0 {
            if matches!(self.next().await, Told::Stop) {
                times -= 1;
            }
        }
    }
}

/// SIGHUP: what can change while the daemon runs, changes; a file that cannot be read changes nothing.
fn reload(engine: &Arc<Engine>, args: &DaemonArgs, set_level: &SetLevel) {
    let reloaded = Settings::resolve(args).and_then(|settings| {
        engine
            .reload(&settings.engine)
            .map_err(|error| anyhow::anyhow!(error.message()))?;
        set_level(&settings.log_level)
    });
    match reloaded {
        Ok(()) => tracing::info!("configuration reloaded"),
        Err(error) => tracing::error!("configuration not reloaded: {error:#}"),
    }
}

/// The file that says which process this is; it goes with the value.
struct PidFile(std::path::PathBuf);

impl PidFile {
    fn write(settings: &Settings) -> Result<Self> {
        let path = settings.pid_file.clone();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("make {}", parent.display()))?;
        }
        std::fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("write the pid file {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let written = std::fs::read_to_string(&self.0).unwrap_or_default();
        if written.trim() == std::process::id().to_string() {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
