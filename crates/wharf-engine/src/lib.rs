//! Containers and all that acts on them, without HTTP.
//!
//! [`Engine`] is a struct of services: [`Containers`], [`ImageService`], [`VolumeService`], [`NetworkService`], [`Events`].
//! A face (the API server, later CRI) translates its requests into their verbs and their views and errors into
//! its replies.
//!
//! A container is one task (`supervisor`) over a pure core (`lifecycle`): the task writes the record, publishes a
//! [`View`] and runs effects; readers never wait for it. `launch` is one start, `recover` the start of the daemon.
//!
//! Architecture invariant: nothing here knows what the wire looks like, and nothing found in an image becomes a
//! setting of the engine.

mod apparmor;
mod build_config;
mod cdi;
mod changes;
mod config;
mod containers;
mod copy_up;
mod detach;
mod df;
mod engine;
mod error;
mod events;
mod files;
mod filters;
mod health;
mod human;
mod images;
mod import;
mod info;
mod launch;
mod lifecycle;
mod logging;
mod model;
mod names;
mod networks;
mod proc;
mod record;
mod recover;
mod reload;
mod signal;
mod spec;
mod step;
mod supervisor;
mod sysinfo;
mod time;
mod userns;
mod volumes;
mod workspace;

pub use build_config::{BuildConfig, CACHE_FIELDS, Gc, GcLimits, GcRule};
pub use changes::{Settings, apply_changes};
pub use config::{BridgeConfig, CgroupDriver, EngineConfig, Revision, RuntimeConfig};
pub use containers::{
    AttachEnd, AttachOptions, Attachment, ChangeKind, CommitOptions, Containers, Created,
    DeviceLists, ExecStartOptions, ExecView, ExtractOptions, FileChange, InterfaceStats,
    ListOptions, Listed, LogOptions, LogStream, NewExec, PathStat, PruneReport, PruneWatcher,
    Pruned, RemoveOptions, Size, StatsSample, StatsStream, StopOptions, Top, Update, WaitCondition,
    WaitResult, Waiter, parse_bind,
};
pub use detach::key_bytes;
pub use df::{DfParts, DfReport};
pub use engine::Engine;
pub use error::{EngineError, ErrorKind};
pub use events::{Event, EventKind, EventOptions, EventStream, Events};
pub use files::{FileStream, Resolved, owner, resolve};
pub use filters::Filters;
pub use health::{HealthStatus, HealthView, Probe};
pub use images::ImageService;
pub use import::ImportOptions;
pub use info::{InfoFacts, VersionFacts};
pub use model::*;
pub use names::new_id;
pub use networks::NetworkService;
pub use step::{NewStep, SealedLayer, Step};
pub use time::parse as parse_time;
pub use userns::Remap;
pub use volumes::VolumeService;
pub use wharf_cgroups::{IoEntry, Stats as CgroupStats};
pub use workspace::Workspace;
