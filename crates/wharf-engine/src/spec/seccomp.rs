//! Which system calls a container may make: the profile that is asked for, compiled once for each set of
//! capabilities.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use wharf_seccomp::Profile;

use crate::{EngineConfig, EngineError, HostConfig};

/// Compiled filters of the daemon's default profile, by the capabilities they are for and whether AppArmor holds the
/// container's address families.
#[derive(Default)]
pub(crate) struct Filters(Mutex<HashMap<Key, Arc<Vec<u8>>>>);

type Key = (Vec<&'static str>, bool);

/// The profile that a container is to run under.
enum Choice {
    Unconfined,
    /// Docker's, or the daemon's own from a file.
    Default,
    /// Its text came with the request.
    Own(String),
}

/// What a container's filter is given as.
pub(super) enum Filter {
    /// Compiled; all its flags are runc's.
    Compiled(Vec<u8>),
    /// As OCI writes it: it has flags of its own, or somebody is told of calls.
    Written(Box<LinuxSeccomp>),
}

/// The filter of a container; `None` if nothing is forbidden.
pub(super) fn filter(
    filters: &Filters,
    daemon: &EngineConfig,
    host: &HostConfig,
    capabilities: Vec<&'static str>,
    apparmor: &str,
) -> Result<Option<Filter>, EngineError> {
    match choice(daemon, host) {
        Choice::Unconfined => Ok(None),
        Choice::Own(text) => whole(&parse(&text)?, &capabilities).map(Some),
        Choice::Default => {
            // Its own default profile denies them; of another nobody knows.
            let held = apparmor == crate::apparmor::DEFAULT;
            let key = (capabilities, held);
            let known = filters
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&key)
                .cloned();
            if let Some(filter) = known {
                return Ok(Some(Filter::Compiled(filter.to_vec())));
            }
            let filter = whole(&default_profile(daemon, held)?, &key.0)?;
            if let Filter::Compiled(filter) = &filter {
                let mut known = filters.0.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(key, Arc::new(filter.clone()));
            }
            Ok(Some(filter))
        }
    }
}

fn whole(profile: &Profile, capabilities: &[&str]) -> Result<Filter, EngineError> {
    if profile.has_more_than_rules() {
        return resolve(profile, capabilities).map(|written| Filter::Written(Box::new(written)));
    }
    compile(profile, capabilities).map(Filter::Compiled)
}

fn resolve(profile: &Profile, capabilities: &[&str]) -> Result<LinuxSeccomp, EngineError> {
    let failed = |error| EngineError::failed(&error);
    let host = wharf_seccomp::Host::current().map_err(failed)?;
    profile.resolve(capabilities, &host).map_err(failed)
}

/// The same as OCI writes it, for a runtime that reads it; `None` if nothing is forbidden.
pub(super) fn profile(
    daemon: &EngineConfig,
    host: &HostConfig,
    capabilities: &[&str],
    apparmor: &str,
) -> Result<Option<LinuxSeccomp>, EngineError> {
    let profile = match choice(daemon, host) {
        Choice::Unconfined => return Ok(None),
        Choice::Own(text) => parse(&text)?,
        Choice::Default => default_profile(daemon, apparmor == crate::apparmor::DEFAULT)?,
    };
    let mut profile = resolve(&profile, capabilities)?;
    // libseccomp makes one rule of `socket` and of the `socketcall` for it, and refuses a second one that says otherwise.
    // The default action denies that call as well.
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    rules.retain(|rule| {
        *rule.names() != ["socketcall"] || rule.action() == LinuxSeccompAction::ScmpActAllow
    });
    profile.set_syscalls(Some(rules));
    Ok(Some(profile))
}

/// moby: a word about seccomp holds whatever else is asked for; without one, privileged means unconfined.
fn choice(daemon: &EngineConfig, host: &HostConfig) -> Choice {
    let said = host
        .security_opt
        .iter()
        .rev()
        .find_map(|option| option.strip_prefix("seccomp="));
    match said {
        Some("unconfined") => Choice::Unconfined,
        Some("builtin" | "default") => Choice::Default,
        Some(text) => Choice::Own(text.to_owned()),
        None if host.privileged || daemon.seccomp_profile == "unconfined" => Choice::Unconfined,
        None => Choice::Default,
    }
}

fn default_profile(daemon: &EngineConfig, held: bool) -> Result<Profile, EngineError> {
    match daemon.seccomp_profile.as_str() {
        "" | "builtin" | "default" => {
            let profile = Profile::docker_default().map_err(|error| EngineError::failed(&error))?;
            Ok(match held {
                true => profile.with_socketcall(),
                false => profile,
            })
        }
        path => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(EngineError::io("read the seccomp profile", path.as_ref()))?;
            parse(&text)
        }
    }
}

fn parse(text: &str) -> Result<Profile, EngineError> {
    let invalid = |error| {
        EngineError::Invalid(format!(
            "decoding seccomp profile failed: {}",
            wharf_sys::words::chain(&error)
        ))
    };
    Profile::parse(text).map_err(invalid)
}

fn compile(profile: &Profile, capabilities: &[&str]) -> Result<Vec<u8>, EngineError> {
    wharf_seccomp::filter(profile, capabilities).map_err(|error| EngineError::failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str], privileged: bool) -> Option<Filter> {
        let security_opt = options.iter().map(|option| (*option).to_owned()).collect();
        let host = HostConfig {
            privileged,
            security_opt,
            ..HostConfig::default()
        };
        filter(
            &Filters::default(),
            &EngineConfig::default(),
            &host,
            vec!["CAP_CHOWN"],
            "",
        )
        .unwrap()
    }

    #[test]
    fn a_filter_is_there_unless_it_is_asked_away() {
        assert!(of(&[], false).is_some());
        assert!(of(&["seccomp=unconfined"], false).is_none());
        assert!(of(&[], true).is_none());
        assert!(of(&["seccomp=builtin"], true).is_some());
        assert!(of(&[r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#], false).is_some());
    }
    #[test]
    fn a_profile_with_flags_or_a_listener_goes_whole() {
        let written = |more: &str| {
            let option = format!(r#"seccomp={{"defaultAction":"SCMP_ACT_ALLOW"{more}}}"#);
            match of(&[&option], false) {
                Some(Filter::Written(written)) => Some(written),
                _ => None,
            }
        };
        assert!(written("").is_none());
        let flags = written(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#).unwrap();
        assert_eq!(flags.flags().as_ref().map(Vec::len), Some(1));
        let told = written(r#","listenerPath":"/run/agent","listenerMetadata":"m""#).unwrap();
        assert_eq!(told.listener_path().as_deref(), Some("/run/agent".as_ref()));
        assert_eq!(told.listener_metadata().as_deref(), Some("m"));
    }
}
