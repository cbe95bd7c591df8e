//! Text of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container, in Docker's exact form.

mod hosts;
mod resolver;

pub use hosts::{Hosts, host_lines, hosts};
pub use resolver::{Dns, HostResolver, host_resolv_conf, internal_resolv_conf, resolv_conf};

/// Renders `/etc/hostname`.
pub fn hostname(hostname: &str) -> String {
    format!("{hostname}\n")
}
