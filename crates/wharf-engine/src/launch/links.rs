//! Links of the default bridge (`--link`): lines of `/etc/hosts` and variables about another container.

use std::collections::HashMap;
use std::sync::Arc;

use crate::containers::Shared;
use crate::record::Record;
use crate::{EngineError, HostConfig, NetworkMode, View};

/// Another container, as it is known inside.
pub(crate) struct Link {
    /// Names and address of a line of `/etc/hosts`.
    pub(crate) host: (String, String),
    /// Variables.
    pub(crate) env: Vec<String>,
}

fn on_default_bridge(host: &HostConfig) -> bool {
    matches!(&host.network_mode, NetworkMode::Default)
        || host.network_mode.network_name() == Some("bridge")
}

/// Checks the links of a new container called `name`, and writes them as `inspect` shows them:
/// `/other:/name/alias`. Those of user-defined networks belong to their endpoints.
pub(crate) fn check(shared: &Shared, host: &mut HostConfig, name: &str) -> Result<(), EngineError> {
    if !on_default_bridge(host) {
        let refuse = |kind: &str| {
            Err(EngineError::Invalid(format!(
                "conflicting options: {kind} can't be used with links. This would result in undefined behavior"
            )))
        };
        match &host.network_mode {
            _ if host.links.is_empty() => {}
            NetworkMode::Host => return refuse("host type networking"),
            _ => host.links.clear(),
        }
        return Ok(());
    }
    for link in &mut host.links {
        let (other, alias) = split(link);
        if other.is_empty() || alias.is_empty() || alias.contains([':', ' ', '\t', '\n']) {
            return Err(EngineError::Invalid(format!(
                "bad format for links: {link}"
            )));
        }
        let entry = shared.find(&other);
        let entry = entry.map_err(|error| {
            let why = error.message();
            EngineError::Invalid(format!("could not get container for {other}: {why}"))
        })?;
        let other = entry.now();
        if other.host.network_mode == NetworkMode::Host {
            let text = "conflicting options: host type networking can't be used with links. This would result in undefined behavior";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        *link = format!("/{}:/{name}/{alias}", other.name);
    }
    Ok(())
}

/// A container's links after `old` has become `new`, which may be itself; none if they do not mention it.
pub(crate) fn renamed(links: &[String], old: &str, new: &str) -> Option<Vec<String>> {
    let rename = |link: &String| {
        let (mut other, alias) = split(link);
        let mut own = link.split('/').nth(2).unwrap_or_default();
        if other == old {
            new.clone_into(&mut other);
        }
        if own == old {
            own = new;
        }
        format!("/{other}:/{own}/{alias}")
    };
    let renamed: Vec<_> = links.iter().map(rename).collect();
    (renamed != links).then_some(renamed)
}

/// What links call containers, by these: `web/db` is what `db` is to `web`.
pub(crate) fn names(views: &[Arc<View>]) -> HashMap<String, Vec<String>> {
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for view in views {
        for link in &view.host.links {
            let (other, alias) = split(link);
            let name = format!("{}/{alias}", view.name);
            names.entry(other).or_default().push(name);
        }
    }
    names
}

/// Whom the link called `alias` leads to.
pub(crate) fn target(links: &[String], alias: &str) -> Option<String> {
    let mut links = links.iter().map(|link| split(link));
    links.find_map(|(other, name)| (name == alias).then_some(other))
}

/// Whether that is the link called `alias`.
pub(crate) fn is_called(link: &str, alias: &str) -> bool {
    split(link).1 == alias
}

/// `other`, `other:alias` or `/other:/name/alias`.
fn split(link: &str) -> (String, String) {
    let (other, alias) = link.split_once(':').unwrap_or((link, link));
    let alias = alias.rsplit('/').next().unwrap_or_default();
    (other.trim_start_matches('/').to_owned(), alias.to_owned())
}

/// The links of a container that starts.
pub(crate) fn of(shared: &Shared, record: &Record) -> Result<Vec<Link>, EngineError> {
    if !on_default_bridge(&record.host) {
        return Ok(Vec::new());
    }
    let links = record.host.links.iter();
    links
        .map(|link| {
            let (other, alias) = split(link);
            let view = shared.find(&other)?.now();
            let own = format!("/{}/{alias}", record.name);
            if !view.state.running {
                return Err(EngineError::Conflict(format!(
                    "Cannot link to a non running container: /{} AS {own}",
                    view.name
                )));
            }
            let ip = view.network.endpoints.get("bridge").and_then(|one| one.ip);
            let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
            Ok(Link {
                host: (host_names(&view, &alias), ip.clone()),
                env: variables(&view, &alias, &own, &ip),
            })
        })
        .collect()
}

/// Alias, hostname, name.
fn host_names(view: &View, alias: &str) -> String {
    let mut names = format!("{alias} {}", view.config.hostname);
    if alias != view.name {
        names = format!("{names} {}", view.name);
    }
    names
}

/// moby `daemon/links`, `ToEnv`.
fn variables(view: &View, alias: &str, own: &str, ip: &str) -> Vec<String> {
    let alias = alias.to_ascii_uppercase().replace('-', "_");
    let mut env = vec![format!("{alias}_NAME={own}")];
    for (index, port) in view.network.ports.keys().enumerate() {
        let (number, protocol) = (port.number, port.protocol.as_str());
        let url = format!("{protocol}://{ip}:{number}");
        if index == 0 {
            env.push(format!("{alias}_PORT={url}"));
        }
        let base = format!("{alias}_PORT_{number}_{}", protocol.to_ascii_uppercase());
        env.extend([
            format!("{base}={url}"),
            format!("{base}_ADDR={ip}"),
            format!("{base}_PORT={number}"),
            format!("{base}_PROTO={protocol}"),
        ]);
    }
    let own = view.config.env.iter().filter_map(|one| one.split_once('='));
    let told = own.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"));
    env.extend(told.map(|(name, value)| format!("{alias}_ENV_{name}={value}")));
    env
}

#[cfg(test)]
mod tests {
    use super::{renamed, split};

    #[test]
    fn the_three_forms() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("db"), pair("db", "db"));
        assert_eq!(split("db:store"), pair("db", "store"));
        assert_eq!(split("/db:/web/store"), pair("db", "store"));
    }

    #[test]
    fn both_ends_are_renamed() {
        let links = vec!["/db:/web/store".to_owned(), "/x:/web/x".to_owned()];
        let told = |old, new| renamed(&links, old, new);
        assert_eq!(told("db", "d2").unwrap(), ["/d2:/web/store", "/x:/web/x"]);
        assert_eq!(told("web", "w").unwrap(), ["/db:/w/store", "/x:/w/x"]);
        assert_eq!(told("store", "y"), None);
    }
}
