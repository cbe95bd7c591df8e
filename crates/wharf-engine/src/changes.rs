//! `--change` of commit and import: a few instructions of a Dockerfile, applied to an image's settings (moby
//! `builder/dockerfile/builder.go`, `BuildFromConfig`, and `dispatchers.go`).

use std::collections::BTreeMap;

use wharf_dockerfile::{
    CommandLine, Dockerfile, Expander, HealthTest, Healthcheck, Instruction, Located, Reset,
    Setting,
};
use wharf_oci::{Empty, RunConfig};

use crate::{EngineError, signal};

const ALLOWED: &[&str] = &[
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "RESET",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies `changes`, one instruction each, in order.
///
/// # Errors
/// `Invalid` for what is no instruction, or one that makes more than settings; then `config` is of no use.
pub fn apply_changes(config: &mut RunConfig, changes: &[String]) -> Result<(), EngineError> {
    if changes.is_empty() {
        return Ok(());
    }
    let text = changes.join("\n");
    for change in changes {
        let word = change.split_ascii_whitespace().next().unwrap_or_default();
        let upper = word.to_ascii_uppercase();
        if !word.is_empty() && !word.starts_with('#') && !ALLOWED.contains(&upper.as_str()) {
            let text = format!("{word} is not a valid change command");
            return Err(EngineError::Invalid(text));
        }
    }
    let parsed = Dockerfile::instructions(&text);
    let parsed = parsed.map_err(|error| EngineError::Invalid(error.message))?;
    let mut settings = Settings::new(config, '\\');
    for Located { instruction, .. } in parsed {
        settings.apply(&instruction).map_err(EngineError::Invalid)?;
    }
    Ok(())
}

/// An image's settings while instructions change them.
pub struct Settings<'a> {
    config: &'a mut RunConfig,
    /// Variables beside those of the environment, which win.
    variables: BTreeMap<String, String>,
    expander: Expander,
    /// Whether a `CMD` was among the changes: an `ENTRYPOINT` takes away only an older one.
    command_set: bool,
}

impl<'a> Settings<'a> {
    /// Of `config`, changed by a text with this escape character.
    pub fn new(config: &'a mut RunConfig, escape: char) -> Self {
        Self {
            config,
            variables: BTreeMap::new(),
            expander: Expander::new(escape),
            command_set: false,
        }
    }

    /// With variables of the build, and whether the stage has had a `CMD`.
    pub fn in_stage(mut self, variables: BTreeMap<String, String>, command_set: bool) -> Self {
        self.variables = variables;
        self.command_set = command_set;
        self
    }

    /// Applies one instruction. The answer is what the history says of it.
    ///
    /// # Errors
    /// BuildKit's words for what is malformed, or no setting.
    pub fn apply(&mut self, instruction: &Instruction) -> Result<String, String> {
        Ok(match instruction {
            Instruction::Cmd(line) => {
                let words = self.command(line);
                self.config.cmd = Some(words.clone());
                self.command_set = true;
                format!("CMD {}", quoted(&words))
            }
            Instruction::Entrypoint(line) => {
                let words = match line {
                    CommandLine::Shell(text) if text.is_empty() => Vec::new(),
                    line => self.command(line),
                };
                let text = format!("ENTRYPOINT {}", quoted(&words));
                self.config.entrypoint = Some(words).filter(|words| !words.is_empty());
                if !self.command_set {
                    self.config.cmd = None;
                }
                text
            }
            Instruction::Env(pairs) => self.env(pairs)?,
            Instruction::Expose(ports) => self.expose(ports)?,
            Instruction::Healthcheck(check) => self.health(check),
            Instruction::Label(pairs) => self.label(pairs)?,
            Instruction::Onbuild(trigger) => {
                let triggers = self.config.on_build.get_or_insert_default();
                triggers.push(trigger.clone());
                format!("ONBUILD {trigger}")
            }
            Instruction::Reset(reset) => self.reset(reset)?,
            Instruction::Shell(words) => {
                self.config.shell = Some(words.clone());
                format!("SHELL [{}]", words.join(" "))
            }
            Instruction::StopSignal(text) => {
                let text = self.expansion().one(text)?;
                signal::parse(&text).map_err(|error| error.message())?;
                self.config.stop_signal.clone_from(&text);
                format!("STOPSIGNAL {text}")
            }
            Instruction::User(text) => {
                self.config.user = self.expansion().one(text)?;
                format!("USER {}", self.config.user)
            }
            Instruction::Volume(paths) => self.volumes(paths)?,
            Instruction::Workdir(path) => {
                self.work_dir(path)?;
                format!("WORKDIR {}", self.config.working_dir)
            }
            other => return Err(format!("{} is not a valid change command", other.name())),
        })
    }

    /// One instruction sees the values from before it.
    fn env(&mut self, pairs: &[(String, String)]) -> Result<String, String> {
        let expand = self.expansion();
        let mut text = "ENV".to_owned();
        for (name, value) in pairs {
            let (name, value) = (expand.one(name)?, expand.one(value)?);
            if name.is_empty() {
                return Err("ENV names can not be blank".to_owned());
            }
            text.push_str(&format!(" {name}={value}"));
            self.set_env(&name, &value);
        }
        Ok(text)
    }

    fn label(&mut self, pairs: &[(String, String)]) -> Result<String, String> {
        let expand = self.expansion();
        let mut text = "LABEL".to_owned();
        for (name, value) in pairs {
            let (name, value) = (expand.one(name)?, expand.one(value)?);
            if name.is_empty() {
                return Err("LABEL names can not be blank".to_owned());
            }
            text.push_str(&format!(" {name}={value}"));
            self.config.labels.insert(name, value);
        }
        Ok(text)
    }

    /// A command as it is run: its words, or the shell's and the text.
    pub fn command(&self, line: &CommandLine) -> Vec<String> {
        match line {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => {
                let shell = self.config.shell.clone();
                let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let mut words = shell
                    .filter(|shell| !shell.is_empty())
                    .unwrap_or_else(default);
                // A CMD of nothing is the shell alone (moby `dispatchCmd`).
                words.extend(Some(text.clone()).filter(|text| !text.is_empty()));
                words
            }
        }
    }

    fn expansion(&self) -> Expansion {
        let env = self.config.env.iter().flatten();
        let pairs = env.filter_map(|pair| pair.split_once('='));
        let mut values = self.variables.clone();
        values.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Expansion {
            values,
            expander: self.expander,
        }
    }

    fn set_env(&mut self, name: &str, value: &str) {
        let env = self.config.env.get_or_insert_default();
        let pair = format!("{name}={value}");
        let of = |pair: &String| pair.split('=').next() == Some(name);
        match env.iter_mut().find(|pair| of(pair)) {
            Some(old) => *old = pair,
            None => env.push(pair),
        }
    }

    fn expose(&mut self, ports: &[String]) -> Result<String, String> {
        let expand = self.expansion();
        let mut all = std::collections::BTreeSet::new();
        for text in ports {
            for word in expand.many(text)? {
                all.extend(ports_of(&word)?);
            }
        }
        // As Go prints a map of nothing.
        let text: Vec<String> = all.iter().map(|port| format!("{port}:{{}}")).collect();
        let all = all.into_iter().map(|port| (port, Empty {}));
        self.config.exposed_ports.extend(all);
        Ok(format!("EXPOSE map[{}]", text.join(" ")))
    }

    fn health(&mut self, check: &Healthcheck) -> String {
        let test = match &check.test {
            HealthTest::None => vec!["NONE".to_owned()],
            HealthTest::Command(CommandLine::Exec(words)) => {
                [vec!["CMD".to_owned()], words.clone()].concat()
            }
            HealthTest::Command(CommandLine::Shell(text)) => {
                vec!["CMD-SHELL".to_owned(), text.clone()]
            }
        };
        let text = health_text(&test, check);
        if matches!(check.test, HealthTest::None) {
            // Its flags are not looked at (BuildKit `parseHealthcheck`).
            self.config.healthcheck = Some(wharf_oci::Healthcheck {
                test,
                ..wharf_oci::Healthcheck::default()
            });
            let bare = Healthcheck {
                test: HealthTest::None,
                interval: None,
                timeout: None,
                start_period: None,
                start_interval: None,
                retries: None,
            };
            return health_text(&["NONE".to_owned()], &bare);
        }
        self.config.healthcheck = Some(wharf_oci::Healthcheck {
            test,
            interval: check.interval.unwrap_or(0),
            timeout: check.timeout.unwrap_or(0),
            start_period: check.start_period.unwrap_or(0),
            start_interval: check.start_interval.unwrap_or(0),
            retries: check.retries.unwrap_or(0),
        });
        text
    }

    fn volumes(&mut self, paths: &[String]) -> Result<String, String> {
        let expand = self.expansion();
        let mut all = Vec::new();
        for text in paths {
            let path = expand.one(text)?;
            if path.is_empty() {
                return Err("VOLUME specified can not be an empty string".to_owned());
            }
            all.push(path.clone());
            self.config.volumes.insert(path, Empty {});
        }
        Ok(format!("VOLUME [{}]", all.join(" ")))
    }

    /// Unsets what was set; what was not set is no error.
    fn reset(&mut self, reset: &Reset) -> Result<String, String> {
        let expand = self.expansion();
        let names = reset.names.iter().map(|name| expand.one(name));
        let names = names.collect::<Result<Vec<String>, _>>()?;
        let text = format!("RESET {}", reset.setting.name());
        if names.iter().any(String::is_empty) {
            return Err(format!("{text} names can not be blank"));
        }
        let goes = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
        let config = &mut *self.config;
        match reset.setting {
            Setting::Cmd => config.cmd = None,
            Setting::Entrypoint => config.entrypoint = None,
            Setting::Env => {
                let env = config.env.get_or_insert_default();
                env.retain(|pair| !goes(pair.split('=').next().unwrap_or_default()));
            }
            Setting::Expose => {
                let ports = names.iter().map(|name| ports_of(name));
                let ports = ports.collect::<Result<Vec<_>, _>>()?.concat();
                let goes = |port: &String| names.is_empty() || ports.contains(port);
                config.exposed_ports.retain(|port, _| !goes(port));
            }
            Setting::Healthcheck => config.healthcheck = None,
            Setting::Label => config.labels.retain(|name, _| !goes(name)),
            Setting::Shell => config.shell = None,
            Setting::StopSignal => config.stop_signal.clear(),
            Setting::User => config.user.clear(),
            // As folders they are the same, with and without a slash at the end.
            Setting::Volume => config.volumes.retain(|path, _| {
                let bare = |path: &str| path.trim_end_matches('/').to_owned();
                !(names.is_empty() || names.iter().any(|name| bare(name) == bare(path)))
            }),
            Setting::Workdir => "/".clone_into(&mut config.working_dir),
        }
        let words = std::iter::once(text).chain(names);
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// Relative to the one before.
    fn work_dir(&mut self, text: &str) -> Result<(), String> {
        let path = self.expansion().one(text)?;
        let joined = match path.starts_with('/') {
            true => path,
            false => format!("{}/{path}", self.config.working_dir),
        };
        self.config.working_dir = wharf_go::path::clean_from_top(&joined);
        Ok(())
    }
}

/// The variables that words are expanded with.
struct Expansion {
    values: BTreeMap<String, String>,
    expander: Expander,
}

impl Expansion {
    fn one(&self, text: &str) -> Result<String, String> {
        let get = |name: &str| self.values.get(name).cloned();
        self.expander.word(text, &get)
    }

    fn many(&self, text: &str) -> Result<Vec<String>, String> {
        let get = |name: &str| self.values.get(name).cloned();
        self.expander.words(text, &get)
    }
}

/// A list as Go's `%q` writes it: `["a" "b"]`.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| wharf_dockerfile::quoted(word))
        .collect();
    format!("[{}]", words.join(" "))
}

/// A health check as Go's `%q` writes its structure.
fn health_text(test: &[String], check: &Healthcheck) -> String {
    let time = |nanoseconds: Option<i64>| {
        let nanoseconds = u64::try_from(nanoseconds.unwrap_or(0)).unwrap_or(0);
        let text = crate::human::go_duration(std::time::Duration::from_nanos(nanoseconds));
        format!("{text:?}")
    };
    let retries = char::from(u8::try_from(check.retries.unwrap_or(0)).unwrap_or(0));
    let retries = match retries.is_ascii_graphic() {
        true => format!("'{retries}'"),
        false => format!("'\\x{:02x}'", u32::from(retries)),
    };
    let times = [
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
    ];
    let times = times.map(time).join(" ");
    format!("HEALTHCHECK &{{{} {times} {retries}}}", quoted(test))
}

/// `80`, `80/udp`, `8000-8010/tcp` as ports (`go-connections` `nat.ParsePortSpec`).
fn ports_of(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, ""));
    let protocol = match protocol {
        "" => "tcp".to_owned(),
        protocol => protocol.to_ascii_lowercase(),
    };
    // What is before a colon is the host's side, which an image has none of.
    let range = range.rsplit(':').next().unwrap_or_default();
    let bad = || format!("Invalid containerPort: {range}");
    if range.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(bad());
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<RunConfig, String> {
        let mut config = RunConfig {
            env: Some(vec!["A=1".to_owned()]),
            cmd: Some(vec!["old".to_owned()]),
            working_dir: "/w".to_owned(),
            ..RunConfig::default()
        };
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        match apply_changes(&mut config, &changes) {
            Ok(()) => Ok(config),
            Err(error) => Err(error.message()),
        }
    }

    #[test]
    fn settings_are_changed_as_by_a_dockerfile() {
        let config = changed(&[
            "ENV A=2 B=$A",
            "env C c d",
            "WORKDIR x/../y",
            "LABEL l=1 m=\"2 3\"",
            "EXPOSE 80 90/udp 100-102",
            "USER u:$B",
            "VOLUME /v [x",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=5s --retries=3 CMD true",
            "STOPSIGNAL SIGINT",
        ])
        .unwrap();
        let env = ["A=2", "B=1", "C=c d"].map(str::to_owned);
        assert_eq!(config.env.as_deref(), Some(&env[..]));
        assert_eq!(config.working_dir, "/w/y");
        assert_eq!(config.labels["m"], "2 3");
        let ports: Vec<_> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["100/tcp", "101/tcp", "102/tcp", "80/tcp", "90/udp"]);
        assert_eq!(
            (config.user.as_str(), config.stop_signal.as_str()),
            ("u:1", "SIGINT")
        );
        assert_eq!(config.on_build.as_deref(), Some(&["RUN x".to_owned()][..]));
        let health = config.healthcheck.unwrap();
        assert_eq!((health.interval, health.retries), (5_000_000_000, 3));
        assert_eq!(health.test, ["CMD-SHELL", "true"]);
        assert!(config.volumes.contains_key("/v"));
    }

    #[test]
    fn an_entrypoint_takes_an_older_command_away() {
        let config = changed(&["ENTRYPOINT foo $A"]).unwrap();
        let words = ["/bin/sh", "-c", "foo $A"].map(str::to_owned);
        assert_eq!(
            (config.entrypoint.as_deref(), config.cmd),
            (Some(&words[..]), None)
        );
        let config = changed(&["CMD [\"x\"]", "ENTRYPOINT [\"y\"]"]).unwrap();
        assert_eq!(config.cmd.as_deref(), Some(&["x".to_owned()][..]));
    }

    #[test]
    fn what_was_set_is_unset() {
        let set = [
            "ENV B=2 C=3",
            "LABEL l=1 m=2",
            "EXPOSE 80 90/udp 100-102",
            "USER u",
            "VOLUME /v /w/",
            "HEALTHCHECK CMD true",
            "STOPSIGNAL SIGINT",
            "ENTRYPOINT [\"e\"]",
            "CMD [\"c\"]",
        ];
        let with = |changes: &[&str]| changed(&[&set[..], changes].concat()).unwrap();
        let some = with(&[
            "RESET ENV A $UNKNOWN${B:+C}",
            "RESET LABEL l none",
            "RESET EXPOSE 80 101-102",
            "RESET VOLUME /v/ /w",
        ]);
        assert_eq!(some.env.as_deref(), Some(&["B=2".to_owned()][..]));
        assert_eq!(some.labels.keys().collect::<Vec<_>>(), ["m"]);
        let ports: Vec<_> = some.exposed_ports.keys().collect();
        assert_eq!(ports, ["100/tcp", "90/udp"]);
        assert!(some.volumes.is_empty() && some.user == "u");
        let all = with(&[
            "RESET ENV",
            "reset label",
            "RESET EXPOSE",
            "RESET VOLUME",
            "RESET USER",
            "RESET HEALTHCHECK",
            "RESET STOPSIGNAL",
            "RESET ENTRYPOINT",
            "RESET CMD",
            "RESET SHELL",
            "RESET WORKDIR",
        ]);
        let bare = RunConfig {
            env: Some(Vec::new()),
            working_dir: "/".to_owned(),
            ..RunConfig::default()
        };
        assert_eq!(format!("{all:?}"), format!("{bare:?}"));
        for (change, refusal) in [
            ("RESET", "RESET requires at least one argument"),
            ("RESET CMD x", "RESET CMD takes no arguments"),
            (
                "RESET ENW",
                "RESET knows no setting ENW (did you mean ENV?)",
            ),
            ("RESET ENV $NONE", "RESET ENV names can not be blank"),
            ("RESET EXPOSE x", "Invalid containerPort: x"),
        ] {
            assert_eq!(changed(&[change]).unwrap_err(), refusal);
        }
    }

    #[test]
    fn what_makes_more_than_settings_is_refused() {
        let refusal = |change: &str| changed(&[change]).unwrap_err();
        assert_eq!(refusal("RUN x"), "RUN is not a valid change command");
        assert_eq!(refusal("from x"), "from is not a valid change command");
        assert_eq!(
            refusal("nonsense"),
            "nonsense is not a valid change command"
        );
        assert_eq!(refusal("EXPOSE x"), "Invalid containerPort: x");
        assert_eq!(refusal("STOPSIGNAL x"), "invalid signal: x");
    }
}
