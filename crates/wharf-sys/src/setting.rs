//! Names of kernel settings, as `sysctl(8)` takes them: whichever of dot and slash comes first parts them, and the other one
//! stands for it within a name.

/// The path of a setting below `/proc/sys`.
pub fn path(key: &str) -> String {
    parted_by('/', key)
}

/// A setting's name with dots between its parts.
pub fn dotted(key: &str) -> String {
    parted_by('.', key)
}

fn parted_by(separator: char, key: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.chars().find(|letter| matches!(letter, '.' | '/')) {
        Some(first) if first != separator => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_and_names() {
        for (key, as_path, as_name) in [
            (
                "net.ipv4.ip_forward",
                "net/ipv4/ip_forward",
                "net.ipv4.ip_forward",
            ),
            (
                "net.ipv4.conf.eth0/1.rp_filter",
                "net/ipv4/conf/eth0.1/rp_filter",
                "net.ipv4.conf.eth0/1.rp_filter",
            ),
            (
                "net/ipv4/conf/eth0.1/rp_filter",
                "net/ipv4/conf/eth0.1/rp_filter",
                "net.ipv4.conf.eth0/1.rp_filter",
            ),
            ("plain", "plain", "plain"),
        ] {
            assert_eq!((&*path(key), &*dotted(key)), (as_path, as_name), "{key}");
        }
    }
}
