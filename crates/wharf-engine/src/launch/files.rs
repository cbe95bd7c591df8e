//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::net::IpAddr;
use std::path::Path;

use wharf_network::files::{self, Dns, Hosts};
use wharf_network::{DnsConfig, EndpointInfo};
use wharf_sys::root::Root;

use crate::containers::Shared;
use crate::record::Record;
use crate::{EngineError, NetworkMode, spec};

/// Docker Desktop's name for the host.
const HOST_NAME: &str = "host.docker.internal";

/// `hostname`, `hosts` and `resolv.conf` of this start.
pub(crate) fn write_all(
    shared: &Shared,
    record: &Record,
    endpoints: &[EndpointInfo],
    joined: &spec::Joined,
) -> Result<(), EngineError> {
    // A container in another's network has the other's files.
    if joined.network.is_some() {
        return Ok(());
    }
    let folder = shared.folders.of(&record.id);
    std::fs::create_dir_all(&folder).map_err(EngineError::io("make", &folder))?;
    let (config, host) = (&record.config, &record.host);
    let on_host = host.network_mode == NetworkMode::Host;
    let fqdn = match config.domainname.as_str() {
        "" => config.hostname.clone(),
        domain => format!("{}.{domain}", config.hostname),
    };
    write(&folder.join("hostname"), &files::hostname(&fqdn))?;
    let addresses: Vec<IpAddr> = endpoints.iter().flat_map(addresses).collect();
    let mut extra: Vec<_> = host
        .extra_hosts
        .iter()
        .filter_map(|text| extra_host(text))
        .collect();
    let links = super::links::of(shared, record)?;
    extra.extend(links.into_iter().map(|link| link.host));
    // Where the daemon resolves names it answers for this one, too; the default bridge has the file only.
    let known = extra.iter().any(|(name, _)| name == HOST_NAME);
    if !known && !addresses.is_empty() && !named(endpoints) && host_gateway(shared).is_some() {
        extra.push((HOST_NAME.to_owned(), "host-gateway".to_owned()));
    }
    let hosts = match on_host && extra.is_empty() {
        true => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        false => files::hosts(&Hosts {
            hostname: &config.hostname,
            domainname: &config.domainname,
            addresses: &addresses,
            extra: &extra,
            host_gateway: host_gateway(shared),
        }),
    };
    write(&folder.join("hosts"), &hosts)?;
    host.dns.iter().try_for_each(|server| name_server(server))?;
    let resolv = resolv_conf(shared, record, endpoints);
    write(&folder.join("resolv.conf"), &resolv)
}

/// Whether a container may be told of it; a zone is none of our business.
fn name_server(text: &str) -> Result<(), EngineError> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    match address.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(EngineError::Failed(format!(
            "bad nameserver address {text}: ParseAddr({text:?}): unable to parse IP"
        ))),
    }
}

/// The addresses that a container goes by its name at.
fn addresses(info: &EndpointInfo) -> Vec<IpAddr> {
    let four = info.address.map(|address| IpAddr::from(address.ip));
    let six = info.address6.map(|address| IpAddr::from(address.ip));
    four.into_iter().chain(six).collect()
}

fn dns(shared: &Shared, record: &Record) -> Dns {
    let own = |own: &Vec<String>, daemon: &Vec<String>| match own.is_empty() {
        true => daemon.clone(),
        false => own.clone(),
    };
    let host = &record.host;
    let servers = own(&host.dns, &shared.config.dns);
    Dns {
        servers: servers
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect(),
        search: own(&host.dns_search, &shared.config.dns_search),
        options: own(&host.dns_options, &shared.config.dns_options),
    }
}

/// How the daemon resolves names for a container on user-defined networks.
pub(crate) fn dns_config(shared: &Shared, record: &Record) -> DnsConfig {
    let dns = dns(shared, record);
    DnsConfig {
        ndots: has_ndots(&dns.options),
        servers: dns.servers,
        host: host_gateway(shared),
    }
}

fn has_ndots(options: &[String]) -> bool {
    let set = |option: &String| {
        option
            .strip_prefix("ndots:")
            .is_some_and(|number| number != "0")
    };
    options.iter().any(set)
}

fn resolv_conf(shared: &Shared, record: &Record, endpoints: &[EndpointInfo]) -> String {
    let on_host = record.host.network_mode == NetworkMode::Host;
    let dns = dns(shared, record);
    let host = files::host_resolv_conf(on_host);
    match named(endpoints) {
        true => files::internal_resolv_conf(&host, &dns),
        false => files::resolv_conf(&host, &dns, on_host),
    }
}

/// Whether any of its networks resolves names.
fn named(endpoints: &[EndpointInfo]) -> bool {
    endpoints
        .iter()
        .any(|info| !addresses(info).is_empty() && info.network_name != "bridge")
}

/// What a running container's files say after one of its networks came or went. Lines that the container wrote
/// itself stay; a `resolv.conf` that it changed stays as it is.
pub(crate) fn change(
    shared: &Shared,
    record: &Record,
    before: &[EndpointInfo],
    after: &[EndpointInfo],
) -> Result<(), EngineError> {
    let folder = shared.folders.of(&record.id);
    change_hosts(record, &folder.join("hosts"), before, after)?;
    let (was, is) = (
        resolv_conf(shared, record, before),
        resolv_conf(shared, record, after),
    );
    let path = folder.join("resolv.conf");
    if was != is && written(&path)?.is_some_and(|text| text == was) {
        write(&path, &is)?;
    }
    Ok(())
}

fn change_hosts(
    record: &Record,
    path: &Path,
    before: &[EndpointInfo],
    after: &[EndpointInfo],
) -> Result<(), EngineError> {
    let Some(text) = written(path)? else {
        return Ok(());
    };
    let of = |list: &[EndpointInfo]| -> Vec<IpAddr> { list.iter().flat_map(addresses).collect() };
    let (old, new) = (of(before), of(after));
    let gone = |line: &&str| {
        let ip = line
            .split_whitespace()
            .next()
            .and_then(|ip| ip.parse().ok());
        ip.is_some_and(|ip| old.contains(&ip) && !new.contains(&ip))
    };
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !gone(line))
        .map(str::to_owned)
        .collect();
    let added: Vec<IpAddr> = new.into_iter().filter(|ip| !old.contains(ip)).collect();
    let own = files::host_lines(&record.config.hostname, &record.config.domainname, &added);
    lines.extend(own.lines().map(str::to_owned));
    write(path, &(lines.join("\n") + "\n"))
}

/// A file that the container writes to as well. One that it has made larger than any is for us to understand stays as the
/// container left it, and so does one that is none.
fn written(path: &Path) -> Result<Option<String>, EngineError> {
    const LIMIT: u64 = 1 << 20;
    let failed = || EngineError::io("read", path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let root = Root::open(folder).map_err(failed())?;
    let text = match root.read_small(Path::new(name), LIMIT) {
        Ok(bytes) => String::from_utf8(bytes).ok(),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
        Err(error) => return Err(failed()(error)),
    };
    if text.is_none() {
        let path = path.display();
        let words = "no text of at most 1 MiB in a regular file: it stays as the container left it";
        tracing::warn!(%path, "{words}");
    }
    Ok(text)
}

/// What `host-gateway` stands for.
fn host_gateway(shared: &Shared) -> Option<IpAddr> {
    let chosen = shared.config.host_gateway_ip;
    chosen.or_else(|| bridge_gateway(shared))
}

fn extra_host(text: &str) -> Option<(String, String)> {
    let (name, address) = text.split_once([':', '='])?;
    Some((name.to_owned(), address.trim_matches(['[', ']']).to_owned()))
}

fn bridge_gateway(shared: &Shared) -> Option<IpAddr> {
    let bridge = shared.networks.get("bridge").ok()?;
    bridge.ipam.pools.first()?.gateway
}

/// In place, as a container that still holds the file bound must see it too.
fn write(path: &Path, text: &str) -> Result<(), EngineError> {
    std::fs::write(path, text).map_err(EngineError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_has_written_is_read_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\n").unwrap();
        let text = written(&path).unwrap();
        assert_eq!(text.as_deref(), Some("127.0.0.1 localhost\n"));
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(64 << 30).unwrap();
        assert_eq!(written(&path).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(written(&path).is_err());
        std::fs::create_dir(&path).unwrap();
        assert_eq!(written(&path).unwrap(), None);
    }
}
