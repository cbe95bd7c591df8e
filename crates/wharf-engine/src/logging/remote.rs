//! Drivers that send lines away.

use std::path::{Path, PathBuf};

use wharf_shim_api::{
    Fluentd, Gelf, GelfCompression, GelfTransport, Journald, Remote, Socket, Syslog, SyslogFormat,
};

use super::attributes::Info;
use super::options::Options;
use super::values;

const JOURNAL: &str = "/run/systemd/journal/socket";
/// By number.
const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// A driver's own options.
pub(super) fn options(driver: &str) -> &'static [&'static str] {
    match driver {
        "syslog" => &[
            "syslog-address",
            "syslog-facility",
            "syslog-tls-ca-cert",
            "syslog-tls-cert",
            "syslog-tls-key",
            "syslog-tls-skip-verify",
            "syslog-format",
        ],
        "fluentd" => &[
            "fluentd-address",
            "fluentd-async",
            "fluentd-async-connect",
            "fluentd-async-reconnect-interval",
            "fluentd-buffer-limit",
            "fluentd-max-retries",
            "fluentd-request-ack",
            "fluentd-retry-wait",
            "fluentd-sub-second-precision",
        ],
        "gelf" => &[
            "gelf-address",
            "gelf-compression-level",
            "gelf-compression-type",
            "gelf-tcp-max-reconnect",
            "gelf-tcp-reconnect-delay",
        ],
        _ => &[],
    }
}

/// Checks the values that dockerd checks when a container is made.
pub(super) fn verify(driver: &str, options: &Options<'_>) -> Result<(), String> {
    match driver {
        "syslog" => {
            syslog_address(options)?;
            facility(options)?;
            format(options).map(drop)
        }
        "fluentd" => fluentd(options).map(drop),
        "gelf" => gelf(options).map(drop),
        _ => Ok(()),
    }
}

/// Where the lines of a container go.
pub(super) fn compose(
    driver: &str,
    options: &Options<'_>,
    info: &Info<'_>,
) -> Result<Remote, String> {
    match driver {
        "syslog" => Ok(Remote::Syslog(Syslog {
            socket: syslog_address(options)?,
            facility: facility(options)?,
            format: format(options)?,
            tag: info.tag()?,
            hostname: Info::hostname(),
        })),
        "journald" => journald(info).map(Remote::Journald),
        "fluentd" => {
            let mut fields = info.extra(|key| key.to_owned())?;
            fields.insert("container_id".to_owned(), info.id().to_owned());
            fields.insert("container_name".to_owned(), format!("/{}", info.name()));
            Ok(Remote::Fluentd(Fluentd {
                tag: info.tag()?,
                fields,
                ..fluentd(options)?
            }))
        }
        "gelf" => {
            let (address, transport) = gelf(options)?;
            let mut fields = info.extra(|key| match key.starts_with('_') {
                true => key.to_owned(),
                false => format!("_{key}"),
            })?;
            for (name, value) in [
                ("_container_id", info.id().to_owned()),
                ("_container_name", info.name().to_owned()),
                ("_image_id", info.image_id()),
                ("_image_name", info.image_name().to_owned()),
                ("_command", info.command()),
                ("_tag", info.tag()?),
                ("_created", info.created()),
            ] {
                fields.entry(name.to_owned()).or_insert(value);
            }
            Ok(Remote::Gelf(Gelf {
                address,
                transport,
                hostname: Info::hostname(),
                fields,
            }))
        }
        other => Err(format!("no log driver named '{other}'")),
    }
}

fn journald(info: &Info<'_>) -> Result<Journald, String> {
    if !Path::new(JOURNAL).exists() {
        return Err("journald is not enabled on this host".to_owned());
    }
    let mut fields = info.extra(journal_name)?;
    let tag = info.tag()?;
    for (name, value) in [
        ("CONTAINER_ID", info.short_id()),
        ("CONTAINER_ID_FULL", info.id()),
        ("CONTAINER_NAME", info.name()),
        ("CONTAINER_TAG", &tag),
        ("IMAGE_NAME", info.image_name()),
        ("SYSLOG_IDENTIFIER", &tag),
    ] {
        fields.entry(name.to_owned()).or_insert(value.to_owned());
    }
    fields.remove("");
    Ok(Journald {
        socket: JOURNAL.into(),
        fields,
    })
}

/// A name that the journal takes: capital letters, digits and `_`, which it does not begin with.
fn journal_name(name: &str) -> String {
    let capital = name.chars().map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => c.to_ascii_uppercase(),
        _ => '_',
    });
    capital.skip_while(|c| *c == '_').collect()
}

/// Go's `urlutil.IsTransportURL`: scheme and rest, if it is one of these.
fn transport(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    matches!(scheme, "tcp" | "tcp+tls" | "udp" | "unix" | "unixgram").then_some((scheme, rest))
}

fn syslog_address(options: &Options<'_>) -> Result<Option<Socket>, String> {
    let Some(address) = options.get("syslog-address") else {
        return Ok(None);
    };
    let Some((scheme, rest)) = transport(address) else {
        return Err(format!(
            "syslog-address should be in form proto://address, got {address}"
        ));
    };
    if matches!(scheme, "unix" | "unixgram") {
        let path = PathBuf::from(rest);
        if !path.exists() {
            return Err(format!("stat {rest}: no such file or directory"));
        }
        return Ok(Some(match scheme {
            "unix" => Socket::Unix(path),
            _ => Socket::Unixgram(path),
        }));
    }
    let host = rest.split('/').next().unwrap_or_default();
    let host = match has_port(host) {
        true => host.to_owned(),
        false => format!("{host}:514"),
    };
    match scheme {
        "tcp" => Ok(Some(Socket::Tcp(host))),
        "udp" => Ok(Some(Socket::Udp(host))),
        _ => Err(
            "syslog-address: tcp+tls is not supported by wharf: use tcp, udp or unix, or a relay that speaks TLS"
                .to_owned(),
        ),
    }
}

fn has_port(host: &str) -> bool {
    let after = host.rsplit(']').next().unwrap_or_default();
    after.contains(':')
}

fn facility(options: &Options<'_>) -> Result<u8, String> {
    let Some(facility) = options.get("syslog-facility") else {
        return Ok(3);
    };
    let named = FACILITIES.iter().position(|name| *name == facility);
    let number = named.or_else(|| facility.parse().ok().filter(|number| *number <= 23));
    number
        .map(|number| number as u8)
        .ok_or_else(|| "invalid syslog facility".to_owned())
}

fn format(options: &Options<'_>) -> Result<SyslogFormat, String> {
    match options.get("syslog-format") {
        None => Ok(SyslogFormat::Unix),
        Some("rfc3164") => Ok(SyslogFormat::Rfc3164),
        Some("rfc5424") => Ok(SyslogFormat::Rfc5424),
        Some("rfc5424micro") => Ok(SyslogFormat::Rfc5424Micro),
        Some(_) => Err("Invalid syslog format".to_owned()),
    }
}

fn fluentd(options: &Options<'_>) -> Result<Fluentd, String> {
    let socket = fluentd_address(options)?;
    let buffer_limit = options.ram("fluentd-buffer-limit")?.unwrap_or(1024 * 1024);
    let duration = |key: &str| options.get(key).map(values::milliseconds).transpose();
    let retry_wait = duration("fluentd-retry-wait")?.unwrap_or(1000);
    let max_retries = options.get("fluentd-max-retries").map(values::unsigned);
    let max_retries = max_retries.transpose()?.unwrap_or(i32::MAX as u64);
    let (old, new) = ("fluentd-async-connect", "fluentd-async");
    if options.get(new).is_some() && options.get(old).is_some() {
        return Err(format!(
            "conflicting options: cannot specify both '{new}' and '{old}"
        ));
    }
    let detached = options.boolean(new)? | options.boolean(old)?;
    let key = "fluentd-async-reconnect-interval";
    let interval = duration(key).map_err(|error| format!("invalid value for {key}: {error}"))?;
    let interval = interval.unwrap_or(0);
    if interval != 0 && !(100..=10_000).contains(&interval) {
        let text = options.get(key).unwrap_or_default();
        return Err(format!(
            "invalid value for {key}: value ({text:?}) must be between 100ms and 10s"
        ));
    }
    Ok(Fluentd {
        socket,
        tag: String::new(),
        fields: Default::default(),
        detached,
        buffer_limit,
        retry_wait: u64::try_from(retry_wait).unwrap_or(0),
        max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
        reconnect_interval: u64::try_from(interval).unwrap_or(0),
        sub_second: options.boolean("fluentd-sub-second-precision")?,
        request_ack: options.boolean("fluentd-request-ack")?,
    })
}

fn fluentd_address(options: &Options<'_>) -> Result<Socket, String> {
    let given = options.get("fluentd-address").unwrap_or("127.0.0.1:24224");
    let (scheme, address) = match given.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("tcp", given),
    };
    match scheme {
        "unix" => return Ok(Socket::Unix(address.into())),
        "tcp" => {}
        other => {
            return Err(format!(
                "invalid fluentd-address {given}: {other} is not supported: use tcp or unix"
            ));
        }
    }
    let address = address.split('/').next().unwrap_or_default();
    let host_only = !has_port(address);
    let address = match host_only {
        true => format!("{address}:24224"),
        false => address.to_owned(),
    };
    let port = address.rsplit(':').next().unwrap_or_default();
    values::integer(port).map_err(|error| format!("invalid fluentd-address {given}: {error}"))?;
    match address.strip_prefix(':') {
        Some(port) => Ok(Socket::Tcp(format!("127.0.0.1:{port}"))),
        None => Ok(Socket::Tcp(address)),
    }
}

fn gelf(options: &Options<'_>) -> Result<(String, GelfTransport), String> {
    let unknown = |key: &str, value: &str| {
        format!("unknown value {value:?} for log opt {key:?} for gelf log driver")
    };
    let number = |key: &str, allowed: std::ops::RangeInclusive<i64>| match options.given(key) {
        None => Ok(None),
        Some(text) => match values::integer(text) {
            Ok(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => Err(unknown(key, text)),
        },
    };
    let level = number("gelf-compression-level", -1..=9)?;
    let compression = match options.given("gelf-compression-type") {
        None | Some("gzip") => GelfCompression::Gzip,
        Some("zlib") => GelfCompression::Zlib,
        Some("none") => GelfCompression::None,
        Some(text) => return Err(unknown("gelf-compression-type", text)),
    };
    let max_reconnect = number("gelf-tcp-max-reconnect", 0..=i64::from(u32::MAX))?;
    let reconnect_delay = number("gelf-tcp-reconnect-delay", 0..=i64::from(u32::MAX))?;
    let Some(address) = options.get("gelf-address") else {
        return Err("gelf-address is a required parameter".to_owned());
    };
    let Some((scheme, rest)) = transport(address) else {
        return Err(format!(
            "gelf-address should be in form proto://address, got {address}"
        ));
    };
    if !matches!(scheme, "udp" | "tcp") {
        return Err("gelf: endpoint needs to be TCP or UDP".to_owned());
    }
    let host = rest.split('/').next().unwrap_or_default();
    if !has_port(host) {
        return Err("gelf: please provide gelf-address as proto://host:port".to_owned());
    }
    let given = |key: &str| options.given(key).is_some();
    let transport = if scheme == "udp" {
        if given("gelf-tcp-max-reconnect") || given("gelf-tcp-reconnect-delay") {
            return Err(
                "gelf: max reconnect and reconnect delay are only supported on TCP".to_owned(),
            );
        }
        GelfTransport::Udp {
            compression,
            // Level -1 is zlib's own choice; nothing is go-gelf's.
            level: match level {
                None => 1,
                Some(level) => u32::try_from(level).unwrap_or(6),
            },
        }
    } else {
        if given("gelf-compression-type") || given("gelf-compression-level") {
            return Err("compression is only supported on UDP".to_owned());
        }
        GelfTransport::Tcp {
            max_reconnect: max_reconnect.unwrap_or(3) as u32,
            reconnect_delay: reconnect_delay.unwrap_or(1) as u64,
        }
    };
    Ok((host.to_owned(), transport))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn with<T>(pairs: &[(&str, &str)], read: impl FnOnce(&Options<'_>) -> T) -> T {
        let options: BTreeMap<String, String> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        read(&Options(&options))
    }

    #[test]
    fn addresses_are_read() {
        let syslog = |address| with(&[("syslog-address", address)], syslog_address);
        assert_eq!(
            syslog("udp://10.0.0.1"),
            Ok(Some(Socket::Udp("10.0.0.1:514".into())))
        );
        assert_eq!(
            syslog("tcp://[::1]:99"),
            Ok(Some(Socket::Tcp("[::1]:99".into())))
        );
        assert_eq!(
            syslog("x"),
            Err("syslog-address should be in form proto://address, got x".into())
        );
        let fluentd = |address| with(&[("fluentd-address", address)], fluentd_address);
        assert_eq!(fluentd(""), Ok(Socket::Tcp("127.0.0.1:24224".into())));
        assert_eq!(fluentd("host"), Ok(Socket::Tcp("host:24224".into())));
        assert_eq!(fluentd("tcp://host:1"), Ok(Socket::Tcp("host:1".into())));
        assert_eq!(fluentd("unix:///a/b"), Ok(Socket::Unix("/a/b".into())));
        assert!(fluentd("tls://host:1").is_err());
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        let read = |text| with(&[("syslog-facility", text)], facility);
        assert_eq!(
            ["", "kern", "local7", "5", "24", "x"].map(|text| read(text).ok()),
            [Some(3), Some(0), Some(23), Some(5), None, None]
        );
    }

    #[test]
    fn names_for_the_journal() {
        assert_eq!(journal_name("_com.example-x1"), "COM_EXAMPLE_X1");
    }
}
