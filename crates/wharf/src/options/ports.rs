//! Published and exposed ports: `-p [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, with ranges.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// `ExposedPorts` and `PortBindings` of a request.
#[derive(Debug, Default)]
pub struct Ports {
    /// `{"80/tcp": {}}`
    pub exposed: Map<String, Value>,
    /// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`
    pub bindings: Map<String, Value>,
}

/// Reads `-p` and `--expose`.
pub fn parse(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for spec in publish {
        ports.publish(&standard(spec)?)?;
    }
    for spec in expose {
        ports.expose(spec)?;
    }
    Ok(ports)
}

// `published=80,target=8080,protocol=tcp`, the long form of services.
fn standard(spec: &str) -> Result<String, String> {
    if !spec.contains('=') {
        return Ok(spec.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for param in spec.split(',') {
        let Some((key, value)) = param.split_once('=') else {
            return Err(format!(
                "invalid publish opts format (should be name=value but got '{param}')"
            ));
        };
        match key {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            _ => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn split_protocol(spec: &str) -> (&str, &str) {
    match spec.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (spec, "tcp"),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high).then_some((low, high))
}

impl Ports {
    fn expose(&mut self, spec: &str) -> Result<(), String> {
        if spec.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (port, protocol) = split_protocol(spec);
        let (low, high) = range(port).ok_or_else(|| {
            format!("invalid range format for --expose: {spec}, error: invalid port {port:?}")
        })?;
        for port in low..=high {
            self.exposed
                .entry(format!("{port}/{protocol}"))
                .or_insert_with(|| json!({}));
        }
        Ok(())
    }

    fn publish(&mut self, spec: &str) -> Result<(), String> {
        let (address, host, container) = split(spec);
        let (container, protocol) = split_protocol(container);
        let address = read_address(address)?;
        if container.is_empty() {
            return Err(format!("no port specified: {spec}<empty>"));
        }
        let inner =
            range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
        let outer = match host {
            "" => None,
            host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
        };
        let length = inner.1 - inner.0;
        if outer.is_some_and(|(low, high)| high - low != length) && length != 0 {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        if !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
            return Err(format!("invalid proto: {protocol}"));
        }
        for offset in 0..=length {
            let host_port = match outer {
                None => String::new(),
                Some((low, high)) if length == 0 && low != high => format!("{low}-{high}"),
                Some((low, _)) => (low + offset).to_string(),
            };
            self.bind(
                inner.0 + offset,
                &protocol.to_ascii_lowercase(),
                &address,
                &host_port,
            );
        }
        Ok(())
    }

    fn bind(&mut self, port: u16, protocol: &str, address: &str, host_port: &str) {
        let key = format!("{port}/{protocol}");
        self.exposed.entry(key.clone()).or_insert_with(|| json!({}));
        let bindings = self.bindings.entry(key).or_insert_with(|| json!([]));
        if let Some(bindings) = bindings.as_array_mut() {
            bindings.push(json!({"HostIp": address, "HostPort": host_port}));
        }
    }
}

// The container's port is after the last colon, the host's after the one before, an address is all the rest.
fn split(spec: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = spec.rsplit_once(':') else {
        return ("", "", spec);
    };
    match rest.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", rest, container),
    }
}

fn read_address(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, bindings: &str) {
        let shown = match parse(&[spec.to_owned()], &[]) {
            Ok(ports) => Value::Object(ports.bindings).to_string(),
            Err(error) => error,
        };
        assert_eq!(shown, bindings, "{spec}");
    }

    #[test]
    fn port_specs() {
        check("80", r#"{"80/tcp":[{"HostIp":"","HostPort":""}]}"#);
        check(
            "8080:80/udp",
            r#"{"80/udp":[{"HostIp":"","HostPort":"8080"}]}"#,
        );
        check(
            "127.0.0.1::80",
            r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}"#,
        );
        check(
            "[::1]:1:2",
            r#"{"2/tcp":[{"HostIp":"::1","HostPort":"1"}]}"#,
        );
        check(
            "90-91:80-81",
            r#"{"80/tcp":[{"HostIp":"","HostPort":"90"}],"81/tcp":[{"HostIp":"","HostPort":"91"}]}"#,
        );
        check(
            "90-95:80",
            r#"{"80/tcp":[{"HostIp":"","HostPort":"90-95"}]}"#,
        );
        check(
            "published=1,target=2",
            r#"{"2/tcp":[{"HostIp":"","HostPort":"1"}]}"#,
        );
        check("x", "invalid containerPort: x");
        check("70000:80", "invalid hostPort: 70000");
        check(
            "90-92:80-81",
            "invalid ranges specified for container and host Ports: 80-81 and 90-92",
        );
        check("80/foo", "invalid proto: foo");
        check("300.1.1.1:1:2", "invalid IP address: 300.1.1.1");
        check("80:", "no port specified: 80:<empty>");
    }

    #[test]
    fn exposed_ranges() {
        let ports = parse(&[], &["7000-7001/udp".to_owned()]).unwrap();
        assert_eq!(
            Value::Object(ports.exposed).to_string(),
            r#"{"7000/udp":{},"7001/udp":{}}"#
        );
        assert!(parse(&[], &["1:2".to_owned()]).is_err());
    }
}
