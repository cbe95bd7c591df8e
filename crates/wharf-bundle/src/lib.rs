//! Container spec to OCI spec: a pure function.
//!
//! [`ContainerSpec`] is the second of the three shapes that a container's settings have (wire, this, OCI); it
//! knows what isolation is asked for, not who asked. [`to_oci`] reads no file and no clock: what it must know of
//! the host comes in [`HostFacts`]. The output is what dockerd generates for the same settings.

mod capabilities;
mod defaults;
mod mounts;
mod oci;
mod spec;
mod sysctl;

pub use capabilities::{CapabilityError, capabilities};
pub use defaults::{MASKED, READONLY};
pub use oci::{BundleError, limits, to_oci};
pub use spec::{
    ContainerSpec, Device, DeviceRule, HostFacts, IdRange, Mount, MountSource, Namespace,
    Namespaces, Owners, Resources, Rlimit, Throttle, UserNamespace, WeightDevice,
};
pub use sysctl::{OwnNamespaces, check_sysctl};
