//! A container's settings, completed from its image's (moby `daemon/commit.go`, `merge`; `daemon/create.go`).

use wharf_oci::RunConfig;

use crate::{Config, EngineError, Health, Port};

/// What every container's PATH is if nobody says.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Completes `config` with the image's defaults; what was asked for wins.
pub(super) fn merge(config: &mut Config, image: &RunConfig) -> Result<(), EngineError> {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    let exposed = image
        .exposed_ports
        .keys()
        .filter_map(|port| Port::parse(port));
    config.exposed_ports.extend(exposed);
    env(&mut config.env, image.env.as_deref().unwrap_or_default());
    for (key, value) in &image.labels {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    command(config, image);
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    config.volumes.extend(image.volumes.keys().cloned());
    if config.stop_signal.is_none() && !image.stop_signal.is_empty() {
        config.stop_signal = Some(image.stop_signal.clone());
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
    if config.on_build.is_none() {
        config.on_build.clone_from(&image.on_build);
    }
    health(config, image);
    let nothing = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if nothing(&config.cmd) && nothing(&config.entrypoint) {
        return Err(EngineError::Invalid("no command specified".to_owned()));
    }
    Ok(())
}

/// The image's variables first, in its order, each overridden in place; then those that are new.
fn env(wanted: &mut Vec<String>, image: &[String]) {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let given: Vec<String> = wanted.iter().map(|variable| name(variable)).collect();
    for variable in image {
        // What is no NAME=value in an image means nothing; it never takes a value from this host.
        if variable.contains('=') && !given.contains(&name(variable)) {
            wanted.push(variable.clone());
        }
    }
}

/// An entrypoint that is given makes the image's command meaningless; a command alone keeps the entrypoint.
fn command(config: &mut Config, image: &RunConfig) {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if !given(&config.entrypoint) {
        if !given(&config.cmd) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` clears the image's, and its command with it.
    if config
        .entrypoint
        .as_deref()
        .is_some_and(|list| list == [""])
    {
        config.entrypoint = None;
    }
}

fn health(config: &mut Config, image: &RunConfig) {
    let Some(theirs) = &image.healthcheck else {
        return;
    };
    let ours = config.healthcheck.get_or_insert_with(Health::default);
    if ours.test.is_empty() {
        ours.test.clone_from(&theirs.test);
    }
    let fill = |ours: &mut i64, theirs: i64| {
        if *ours == 0 {
            *ours = theirs;
        }
    };
    fill(&mut ours.interval, theirs.interval);
    fill(&mut ours.timeout, theirs.timeout);
    fill(&mut ours.start_period, theirs.start_period);
    fill(&mut ours.start_interval, theirs.start_interval);
    fill(&mut ours.retries, theirs.retries);
}

/// The program and its arguments: entrypoint, then command.
pub(super) fn argv(config: &Config) -> (String, Vec<String>) {
    let entrypoint = config.entrypoint.iter().flatten();
    let mut words = entrypoint.chain(config.cmd.iter().flatten()).cloned();
    (words.next().unwrap_or_default(), words.collect())
}

/// The environment of a container's processes: PATH, HOSTNAME, TERM on a terminal, then the settings'
/// (moby `container.CreateDaemonEnvironment`).
pub(crate) fn environment(config: &Config) -> Vec<String> {
    let mut env = vec![
        DEFAULT_PATH.to_owned(),
        format!("HOSTNAME={}", config.hostname),
    ];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    for variable in &config.env {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (variable.as_str(), None),
        };
        let known = env
            .iter()
            .position(|known| known.split('=').next() == Some(name));
        match (known, value) {
            (Some(at), Some(_)) => env[at].clone_from(variable),
            (Some(at), None) => {
                env.remove(at);
            }
            (None, Some(_)) => env.push(variable.clone()),
            (None, None) => {}
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> RunConfig {
        RunConfig {
            env: list(&["PATH=/bin", "A=1", "bad"]),
            cmd: list(&["sh"]),
            entrypoint: list(&["/init"]),
            ..RunConfig::default()
        }
    }

    #[test]
    fn commands_follow_dockers_rules() {
        let cases = [
            (None, None, list(&["/init"]), list(&["sh"])),
            (None, list(&["ls"]), list(&["/init"]), list(&["ls"])),
            (list(&["/bin/x"]), None, list(&["/bin/x"]), None),
            (
                list(&["/bin/x"]),
                list(&["y"]),
                list(&["/bin/x"]),
                list(&["y"]),
            ),
            (list(&[""]), list(&["y"]), None, list(&["y"])),
        ];
        for (entrypoint, cmd, want_entrypoint, want_cmd) in cases {
            let mut config = Config {
                entrypoint,
                cmd,
                ..Config::default()
            };
            merge(&mut config, &image()).unwrap();
            assert_eq!((config.entrypoint, config.cmd), (want_entrypoint, want_cmd));
        }
        let mut config = Config {
            entrypoint: list(&[""]),
            ..Config::default()
        };
        let error = merge(&mut config, &image()).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }

    #[test]
    fn environment_is_merged_by_name() {
        let mut config = Config {
            env: vec!["A=2".to_owned(), "B=3".to_owned()],
            ..Config::default()
        };
        merge(&mut config, &image()).unwrap();
        assert_eq!(config.env, ["A=2", "B=3", "PATH=/bin"]);
        config.hostname = "h".to_owned();
        config.tty = true;
        config.env.push("TERM".to_owned());
        assert_eq!(
            environment(&config),
            ["PATH=/bin", "HOSTNAME=h", "A=2", "B=3"]
        );
    }
}
