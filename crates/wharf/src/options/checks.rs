//! Checks of single values while the command line is parsed; each returns the value as it is kept.

use std::net::IpAddr;

/// A value as it is kept, or why it is refused.
pub type Checked = Result<String, String>;

/// `-a`
pub fn attach(value: &str) -> Checked {
    let lower = value.to_ascii_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `-e`: a name without a value takes it from the environment of the client.
pub fn env(value: &str) -> Checked {
    if value.is_empty() || value.starts_with('=') {
        return Err(format!("invalid environment variable: {value}"));
    }
    if value.contains('=') {
        return Ok(value.to_owned());
    }
    Ok(match std::env::var(value) {
        Ok(found) => format!("{value}={found}"),
        Err(_) => value.to_owned(),
    })
}

/// `-l`
pub fn label(value: &str) -> Checked {
    match value.split('=').next() {
        Some(key) if !key.trim().is_empty() => Ok(value.to_owned()),
        _ => Err(format!("invalid label '{value}': empty name")),
    }
}

/// `--add-host NAME:IP` or `NAME=IP`
pub fn extra_host(value: &str) -> Checked {
    let bad = || format!("bad format for add-host: {value:?}");
    let separator = value
        .find('=')
        .or_else(|| value.find(':'))
        .ok_or_else(bad)?;
    let (name, address) = (&value[..separator], &value[separator + 1..]);
    if name.is_empty() || address.is_empty() {
        return Err(bad());
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address);
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{name}:{address}"))
}

/// `--dns`
pub fn ip_address(value: &str) -> Checked {
    match value.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {value}")),
    }
}

/// `--dns-search`
pub fn dns_search(value: &str) -> Checked {
    let value = value.trim();
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = value == "."
        || (value.len() < 255
            && value
                .trim_end_matches('.')
                .split('.')
                .all(|part| !part.is_empty() && part.len() < 64 && part.chars().all(letter)));
    if good {
        Ok(value.to_owned())
    } else {
        Err(format!("{value} is not a valid domain"))
    }
}

/// `--link NAME[:ALIAS]`
pub fn link(value: &str) -> Checked {
    let parts: Vec<&str> = value.split(':').collect();
    match parts.as_slice() {
        [""] => Err("empty string specified for links".to_owned()),
        [name] if !name.is_empty() => Ok(value.to_owned()),
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok(value.to_owned()),
        _ => Err(format!("bad format for links: {value}")),
    }
}

/// `--sysctl NAME=VALUE`, only of namespaces
pub fn sysctl(value: &str) -> Checked {
    const NAMES: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let name = value.split('=').next().unwrap_or_default();
    let whole = value.contains('=');
    let allowed =
        NAMES.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.");
    if whole && allowed {
        Ok(value.to_owned())
    } else {
        Err(format!("sysctl '{value}' is not allowed"))
    }
}

/// `--annotation KEY=VALUE`
pub fn map(value: &str) -> Checked {
    match value.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(value.to_owned()),
        None if !value.is_empty() => Ok(format!("{value}=")),
        _ => Err(format!("invalid key=value pair '{value}'")),
    }
}

/// `--device-cgroup-rule 'c 1:3 rwm'`
pub fn device_rule(value: &str) -> Checked {
    let bad = || format!("invalid device cgroup format '{value}'");
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = value.split(' ').collect();
    let [kind @ ("a" | "b" | "c"), node, access] = parts.as_slice() else {
        return Err(bad());
    };
    let _ = kind;
    let good = node
        .split_once(':')
        .is_some_and(|(major, minor)| number(major) && number(minor))
        && (1..=3).contains(&access.len())
        && access.chars().all(|c| "rwm".contains(c));
    if good {
        Ok(value.to_owned())
    } else {
        Err(bad())
    }
}

/// The value of `--filter KEY=VALUE`.
pub fn filter(value: &str) -> Checked {
    match value.split_once('=') {
        Some(_) => Ok(value.to_owned()),
        None if value.is_empty() => Ok(String::new()),
        None => Err(()),
    }
    .map_err(|()| "bad format of filter (expected name=value)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses() {
        assert_eq!(extra_host("a:1.2.3.4"), Ok("a:1.2.3.4".into()));
        assert_eq!(extra_host("a=[::1]"), Ok("a:::1".into()));
        assert_eq!(extra_host("a:::1"), Ok("a:::1".into()));
        assert_eq!(extra_host("a:host-gateway"), Ok("a:host-gateway".into()));
        assert_eq!(
            extra_host("x"),
            Err("bad format for add-host: \"x\"".into())
        );
        assert_eq!(
            extra_host("x:y"),
            Err("invalid IP address in add-host: \"y\"".into())
        );
        assert!(ip_address("300.1.1.1").is_err());
    }

    #[test]
    fn rules_and_names() {
        assert!(device_rule("c 1:* rw").is_ok());
        assert_eq!(
            device_rule("x"),
            Err("invalid device cgroup format 'x'".into())
        );
        assert_eq!(
            sysctl("kernel.hostname=x"),
            Err("sysctl 'kernel.hostname=x' is not allowed".into())
        );
        assert!(sysctl("net.ipv4.ip_forward=1").is_ok());
        assert!(env("=x").is_err());
        assert_eq!(env("WHARF_SURELY_UNSET"), Ok("WHARF_SURELY_UNSET".into()));
        assert!(link("a:b:c").is_err());
    }
}
