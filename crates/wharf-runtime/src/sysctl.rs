//! Kernel settings of the container's own namespaces.

use oci_spec::runtime::Spec;

use crate::Failure;
use crate::proc::Proc;

/// Writes the spec's settings.
pub(crate) fn write(spec: &Spec, proc: &Proc) -> Result<(), Failure> {
    let settings = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.sysctl().as_ref());
    for (key, value) in settings.into_iter().flatten() {
        let path = format!("sys/{}", path_of(key));
        let failed = Failure::at(format!("write sysctl key {key}"));
        proc.write(&path, value).map_err(failed)?;
    }
    Ok(())
}

/// sysctl(8): dots part the names, and a slash stands for a dot within one; or the other way round, whichever
/// comes first.
fn path_of(key: &str) -> String {
    let first = key.find(['.', '/']).map(|at| key.as_bytes()[at]);
    if first == Some(b'/') {
        return key.to_owned();
    }
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    key.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn keys_become_paths() {
        assert_eq!(path_of("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(
            path_of("net.ipv4.conf.eth0/1.rp_filter"),
            "net/ipv4/conf/eth0.1/rp_filter"
        );
        assert_eq!(
            path_of("net/ipv4/conf/eth0.1/rp_filter"),
            "net/ipv4/conf/eth0.1/rp_filter"
        );
    }
}
