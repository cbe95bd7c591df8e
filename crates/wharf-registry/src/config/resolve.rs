//! From the file to settings: defaults, and what cannot be together.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use wharf_distribution::Credentials;

use super::file::{self, File};
use super::values::Span;
use super::{
    AuthSettings, Config, Debug, Garbage, Health, ProxySettings, Purge, Settings, Tls, bucket,
};
use crate::Error;
use crate::auth::{Action, Rule, TokenSettings};
use crate::notify::Endpoint;
use crate::store::Quotas;

const HOUR: Duration = Duration::from_secs(3600);
/// docker-registry's: an upload that nobody goes on with is kept for a week, as is what a cache holds.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// docker-registry's most threads at the disk.
const THREADS: usize = 100;

fn wrong<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config(why.into()))
}

fn span(value: Option<Span>, default: Duration) -> Duration {
    value.map_or(default, |span| span.0)
}

pub(super) fn resolve(file: File) -> Result<Config, Error> {
    let storage = file.storage;
    if storage.filesystem.is_none() && storage.s3.is_none() {
        return wrong(
            "storage: no storage configuration provided: give filesystem.rootdirectory or s3",
        );
    }
    let filesystem = storage.filesystem.unwrap_or_default();
    if let Some(cache) = &storage.cache
        && !matches!(cache.blobdescriptor.as_deref(), None | Some("inmemory"))
    {
        return wrong("storage.cache.blobdescriptor: only inmemory is there");
    }
    let _ = storage.cache.map(|cache| cache.blobdescriptorsize);
    // To blobs on a disk, clients are never redirected.
    let redirects = !storage.redirect.is_some_and(|redirect| redirect.disable);
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let bucket = storage
        .s3
        .map(|s3| bucket::resolve(s3, redirects, variable));
    check_version(file.version.as_ref())?;
    let proxy = file.proxy.map(proxy).transpose()?;
    let maintenance = storage.maintenance;
    if maintenance.uploadpurging.dryrun {
        return wrong(
            "storage.maintenance.uploadpurging.dryrun: is not there; uploads go, or (enabled: false) they stay",
        );
    }
    let http = file.http;
    if !matches!(http.net.as_deref(), None | Some("" | "tcp")) {
        return wrong("http.net: only tcp is there");
    }
    if http.addr.is_empty() {
        return wrong("http.addr: no address to listen on");
    }
    let _ = http.secret;
    let log_json = match file.log.formatter.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => {
            return wrong(format!(
                "log.formatter: {other:?} is not there: text or json"
            ));
        }
    };
    let log_level = file.log.level.unwrap_or_else(|| "info".to_owned());
    if !["error", "warn", "info", "debug"].contains(&log_level.as_str()) {
        return wrong(format!(
            "log.level: {log_level:?} is none of error, warn, info and debug"
        ));
    }
    let garbage = maintenance.garbagecollection;
    Ok(Config {
        addr: http.addr,
        root: filesystem.rootdirectory,
        log_level,
        log_json,
        log_fields: file.log.fields,
        threads: filesystem.maxthreads.unwrap_or(THREADS).max(25),
        drain: span(http.draintimeout, Duration::from_secs(10)),
        tls: http.tls.map(tls).transpose()?.flatten(),
        debug: http.debug.and_then(debug),
        auth: auth(file.auth)?,
        settings: Settings {
            host: http.host.filter(|host| !host.is_empty()),
            relative_urls: http.relativeurls.unwrap_or(true),
            headers: headers(http.headers, "http.headers")?
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .collect(),
            access_log: !file.log.accesslog.disabled,
            read_only: maintenance.readonly.enabled,
            may_delete: storage.delete.enabled,
            is_cache: proxy.is_some(),
        },
        bucket: bucket.transpose()?,
        quotas: Quotas {
            total: storage.quota.total.map(|size| size.0),
            repository: storage.quota.repository.map(|size| size.0),
        },
        garbage: Garbage {
            is_enabled: garbage.enabled.unwrap_or(true) && !maintenance.readonly.enabled,
            interval: span(garbage.interval, 24 * HOUR).max(Duration::from_secs(1)),
            grace: span(garbage.grace, HOUR),
            untagged: garbage.untagged,
        },
        purge: Purge {
            is_enabled: maintenance.uploadpurging.enabled.unwrap_or(true)
                && !maintenance.readonly.enabled,
            age: span(maintenance.uploadpurging.age, WEEK),
            interval: span(maintenance.uploadpurging.interval, 24 * HOUR)
                .max(Duration::from_secs(1)),
        },
        proxy,
        endpoints: endpoints(file.notifications.endpoints)?,
        health: health(file.health),
    })
}

fn check_version(version: Option<&serde_json::Value>) -> Result<(), Error> {
    let text = version.map(|version| {
        version
            .as_str()
            .map_or_else(|| version.to_string(), str::to_owned)
    });
    match text.as_deref() {
        None | Some("0.1") => Ok(()),
        Some(other) => wrong(format!("version: {other} is not there: 0.1")),
    }
}

fn health(health: file::Health) -> Option<Health> {
    let check = health.storagedriver;
    check.enabled.then(|| Health {
        interval: span(check.interval, Duration::from_secs(10)).max(Duration::from_millis(100)),
        threshold: check.threshold.unwrap_or(3).max(1),
    })
}

fn debug(debug: file::Debug) -> Option<Debug> {
    let path = debug
        .prometheus
        .path
        .unwrap_or_else(|| "/metrics".to_owned());
    (!debug.addr.is_empty()).then(|| Debug {
        addr: debug.addr,
        metrics: debug.prometheus.enabled.then_some(path),
    })
}

fn tls(tls: file::Tls) -> Result<Option<Tls>, Error> {
    let only_newest = match tls.minimumtls.as_deref() {
        None | Some("" | "tls1.2") => false,
        Some("tls1.3") => true,
        Some(other) => {
            return wrong(format!(
                "http.tls.minimumtls: {other:?} is not there: tls1.2 or tls1.3"
            ));
        }
    };
    let some = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
    match (some(tls.certificate), some(tls.key)) {
        (Some(certificate), Some(key)) => Ok(Some(Tls {
            certificate,
            key,
            client_authorities: tls.clientcas,
            only_newest,
        })),
        (None, None) if tls.clientcas.is_empty() => Ok(None),
        _ => wrong("http.tls: certificate and key go together"),
    }
}

fn auth(auth: Option<file::Auth>) -> Result<AuthSettings, Error> {
    match auth.map(|auth| (auth.htpasswd, auth.token)) {
        None => Ok(AuthSettings::Open),
        Some((Some(htpasswd), None)) => Ok(AuthSettings::Htpasswd {
            realm: htpasswd.realm,
            path: htpasswd.path,
            rules: htpasswd
                .access
                .into_iter()
                .map(rule)
                .collect::<Result<_, _>>()?,
        }),
        Some((None, Some(token))) => Ok(AuthSettings::Token(TokenSettings {
            realm: token.realm,
            service: token.service,
            issuer: token.issuer,
            certificates: token.rootcertbundle,
            keys: token.jwks,
        })),
        // An empty section would leave the door open that somebody thinks closed.
        Some(_) => wrong("auth: give one of htpasswd and token"),
    }
}

fn rule(rule: file::AccessRule) -> Result<Rule, Error> {
    let action = |text: String| match text.as_str() {
        "pull" => Ok(Action::Pull),
        "push" => Ok(Action::Push),
        "delete" => Ok(Action::Delete),
        "*" => Ok(Action::All),
        other => wrong(format!(
            "auth.htpasswd.access.actions: {other:?} is none of pull, push, delete and *"
        )),
    };
    Ok(Rule {
        users: rule.users,
        repositories: rule.repositories,
        actions: rule
            .actions
            .into_iter()
            .map(action)
            .collect::<Result<_, _>>()?,
    })
}

fn proxy(proxy: file::Proxy) -> Result<ProxySettings, Error> {
    let uri: Uri = proxy
        .remoteurl
        .parse()
        .map_err(|error| Error::Config(format!("proxy.remoteurl: {error}")))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority())
    else {
        return wrong(format!(
            "proxy.remoteurl: {:?} is not http(s)://HOST[:PORT]",
            proxy.remoteurl
        ));
    };
    if !matches!(uri.path(), "" | "/") || authority.as_str().contains('@') {
        return wrong(format!(
            "proxy.remoteurl: {:?} is not http(s)://HOST[:PORT]",
            proxy.remoteurl
        ));
    }
    let credentials = proxy
        .username
        .filter(|name| !name.is_empty())
        .map(|username| Credentials::Basic {
            username,
            password: proxy.password.unwrap_or_default(),
        });
    let ttl = span(proxy.ttl, WEEK);
    Ok(ProxySettings {
        host: authority.to_string(),
        is_plain: scheme == "http",
        credentials,
        ttl: (!ttl.is_zero()).then_some(ttl),
    })
}

fn headers(
    map: std::collections::BTreeMap<String, Vec<String>>,
    key: &str,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, values) in map {
        for value in values {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            else {
                return wrong(format!("{key}: {name:?}: {value:?} is no header"));
            };
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn endpoints(endpoints: Vec<file::Endpoint>) -> Result<Vec<Endpoint>, Error> {
    let mut all = Vec::new();
    for endpoint in endpoints.into_iter().filter(|endpoint| !endpoint.disabled) {
        let name = endpoint.name;
        let url: Uri = match endpoint.url.parse::<Uri>() {
            Ok(url)
                if matches!(url.scheme_str(), Some("http" | "https"))
                    && url.authority().is_some() =>
            {
                url
            }
            _ => {
                return wrong(format!(
                    "notifications.endpoints.{name}.url: {:?} is no http(s) address",
                    endpoint.url
                ));
            }
        };
        let mut ignored_types = endpoint.ignoredmediatypes;
        ignored_types.extend(endpoint.ignore.mediatypes);
        all.push(Endpoint {
            url,
            headers: headers(
                endpoint.headers,
                &format!("notifications.endpoints.{name}.headers"),
            )?,
            timeout: span(endpoint.timeout, Duration::from_secs(1)),
            threshold: endpoint.threshold.unwrap_or(10),
            backoff: span(endpoint.backoff, Duration::from_secs(1)),
            ignored_types,
            ignored_actions: endpoint.ignore.actions,
            name,
        });
    }
    Ok(all)
}
