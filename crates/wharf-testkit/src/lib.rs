//! Private daemons in fresh namespaces, registries and images for tests.
//!
//! A [`World`] is a machine of its own as far as the kernel allows: mount, network, pid, ipc, uts and cgroup
//! namespaces, with every cgroup hierarchy mounted afresh below a cgroup that only this world uses. An
//! [`Engine`] is a daemon inside a world: Wharf's, or a real dockerd to compare with. A [`Registry`] is
//! Debian's `docker-registry` (or ours) inside a world, on its loopback, with the images of [`fixtures`].
//!
//! Nothing outside of the world changes. When a world is dropped, all its processes die with its first
//! one; [`World::leftovers`] says what a daemon that has stopped left behind, and a test that cares fails on
//! it.

pub mod api;
pub mod engine;
pub mod fixtures;
pub mod liar;
pub mod own;
pub mod receivers;
mod recorder;
mod registry;
pub mod volume_plugin;
mod world;

pub use engine::{Engine, EngineKind, EngineOptions};
pub use registry::{Registry, RegistryKind};
pub use volume_plugin::VolumePlugin;
pub use world::World;
