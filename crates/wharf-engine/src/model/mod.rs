//! The engine's own words for a container: what was asked for, and what is.
//!
//! These are not the wire's types (Invariant 1) and not the OCI's: the API's face converts the wire into
//! [`NewContainer`], [`crate::spec`](crate) converts that into a bundle. Every field has one meaning that is
//! settled here; texts that only the user interprets (labels, environment) stay texts.

mod config;
mod host;
mod mount;
mod port;
mod resources;
mod view;

pub use config::{Config, Health, NewContainer};
pub use host::{
    HostConfig, IpcMode, LogConfig, NamespaceMode, NetworkMode, RestartPolicy, SharedNamespace,
};
pub use mount::{
    Bind, BindSource, IdMapping, IdRange, LayerMount, MountKind, MountPoint, MountRequest,
    Propagation, TmpfsRequest,
};
pub use port::{Port, PortBinding, Protocol};
pub use resources::{DeviceMapping, DeviceRequest, Resources, Throttle, Ulimit, WeightDevice};
pub use view::{EndpointSettings, EndpointView, ExitInfo, NetworkView, StateView, Status, View};
