//! The whole request of `run` and `create`.

use serde_json::{Value, json};

use super::{Fields, checks, env, health, mounts, network, pairs, ports, resources, security};
use crate::cli::{Flag, Kind, Matches, flag, list, switch, text};

/// Flags about the process and the container as such.
pub static FLAGS: &[Flag] = &[
    flag(
        "annotation",
        Kind::Checked("map", checks::map),
        "Annotation passed to the runtime: KEY=VALUE",
    ),
    flag(
        "attach",
        Kind::Checked("list", checks::attach),
        "Connect to STDIN, STDOUT or STDERR",
    )
    .short('a'),
    text("cidfile", "Write the ID to this file"),
    switch("disable-content-trust", "").default("true").hidden(),
    text("domainname", "NIS domain name"),
    text("entrypoint", "Program in place of the image's ENTRYPOINT"),
    flag(
        "env",
        Kind::Checked("list", checks::env),
        "Set a variable: NAME=VALUE, or NAME to take it over",
    )
    .short('e'),
    list("env-file", "Read variables from a file"),
    text("hostname", "Host name").short('h'),
    switch(
        "init",
        "Run an init that forwards signals and reaps processes",
    ),
    switch("interactive", "Keep standard input open").short('i'),
    flag(
        "label",
        Kind::Checked("list", checks::label),
        "Set a label: KEY=VALUE",
    )
    .short('l'),
    list("label-file", "Read labels from a file"),
    text("log-driver", "Where output is logged"),
    list("log-opt", "Option of the log driver"),
    text("name", "Give it a name"),
    text("platform", "Platform of the image, if it has several"),
    text(
        "pull",
        "Pull the image before (\"always\", \"missing\", \"never\")",
    )
    .default("missing"),
    switch("quiet", "Show no progress of the pull").short('q'),
    text("restart", "What to do when it exits").default("no"),
    switch("rm", "Remove it and its anonymous volumes when it exits"),
    text("runtime", "OCI runtime to use"),
    text("stop-signal", "Signal that stops it"),
    flag(
        "stop-timeout",
        Kind::Int,
        "Seconds to wait before it is killed",
    ),
    flag(
        "sysctl",
        Kind::Checked("map", checks::sysctl),
        "Set a kernel parameter: NAME=VALUE",
    ),
    switch("tty", "Give it a terminal").short('t'),
    switch(
        "use-api-socket",
        "Let it speak to this engine, with your credentials of registries",
    ),
    text("user", "User to run as: <name|uid>[:<group|gid>]").short('u'),
    text("workdir", "Directory to start in").short('w'),
];

/// What a request needs to be known beside its JSON.
pub struct Request {
    /// The body of `POST /containers/create`.
    pub body: Value,
    /// Streams that the command line connects to.
    pub attach: Attach,
    /// A terminal was asked for.
    pub tty: bool,
    /// The image as written.
    pub image: String,
    /// `--rm`
    pub auto_remove: bool,
}

/// Which streams to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Attach {
    /// Whether anything is connected.
    pub fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// Builds the request. `detach` connects nothing. `size` is the terminal's, rows first.
pub fn request(
    matches: &Matches,
    detach: bool,
    size: Option<(u16, u16)>,
) -> Result<Request, String> {
    let image = matches.args.first().cloned().unwrap_or_default();
    let attach = attach(matches, detach);
    let ports = ports::parse(matches.list("publish"), matches.list("expose"))?;
    let volumes = mounts::volumes(matches);
    let mut config = config(matches, attach, &image)?;
    config.object("ExposedPorts", ports.exposed);
    config.object("Volumes", volumes.anonymous);
    let mut host = host_config(matches, size)?;
    host.object("PortBindings", ports.bindings);
    host.list("Binds", &volumes.binds);
    config.set("HostConfig", host.0);
    config.set(
        "NetworkingConfig",
        json!({"EndpointsConfig": network::endpoints(matches)?}),
    );
    Ok(Request {
        body: Value::Object(config.0),
        attach,
        tty: matches.on("tty"),
        image,
        auto_remove: matches.on("rm"),
    })
}

fn attach(matches: &Matches, detach: bool) -> Attach {
    if detach {
        return Attach::default();
    }
    let wanted = matches.list("attach");
    let has = |name: &str| wanted.iter().any(|stream| stream == name);
    Attach {
        stdin: has("stdin") || matches.on("interactive"),
        stdout: wanted.is_empty() || has("stdout"),
        stderr: wanted.is_empty() || has("stderr"),
    }
}

fn config(matches: &Matches, attach: Attach, image: &str) -> Result<Fields, String> {
    if let Some(mac) = matches.maybe("mac-address") {
        network::check_mac(mac)?;
    }
    let mut config = Fields::new();
    config.set("Hostname", matches.text("hostname"));
    config.set("Domainname", matches.text("domainname"));
    config.set("User", matches.text("user"));
    config.set("AttachStdin", attach.stdin);
    config.set("AttachStdout", attach.stdout);
    config.set("AttachStderr", attach.stderr);
    config.set("Tty", matches.on("tty"));
    config.set("OpenStdin", matches.on("interactive"));
    config.set("StdinOnce", matches.on("interactive") && attach.stdin);
    config.set("Env", environment(matches)?);
    config.set(
        "Cmd",
        match matches.args.get(1..) {
            Some(command) if !command.is_empty() => Value::from(command.to_vec()),
            _ => Value::Null,
        },
    );
    config.set("Image", image);
    config.set("WorkingDir", matches.text("workdir"));
    config.set(
        "Entrypoint",
        match matches.given("entrypoint") {
            // An empty one resets the image's.
            true => json!([matches.text("entrypoint")]),
            false => Value::Null,
        },
    );
    config.set("Labels", labels(matches)?);
    if let Some(health) = health::parse(matches)? {
        config.set("Healthcheck", health);
    }
    config.text("StopSignal", matches.text("stop-signal"));
    if matches.given("stop-timeout") {
        config.set("StopTimeout", matches.int("stop-timeout"));
    }
    Ok(config)
}

fn environment(matches: &Matches) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in matches.list("env-file") {
        all.extend(env::read_file(file, true)?);
    }
    all.extend_from_slice(matches.list("env"));
    Ok(all)
}

fn labels(matches: &Matches) -> Result<Value, String> {
    let mut all = Vec::new();
    for file in matches.list("label-file") {
        all.extend(env::read_file(file, false)?);
    }
    all.extend_from_slice(matches.list("label"));
    Ok(Value::Object(pairs(&all)))
}

fn host_config(matches: &Matches, size: Option<(u16, u16)>) -> Result<Fields, String> {
    let mut host = Fields::new();
    let restart = restart_policy(matches.text("restart"))?;
    if matches.on("rm") && restart["Name"] != "no" && restart["Name"] != "" {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    host.set("RestartPolicy", restart);
    host.on("AutoRemove", matches.on("rm"));
    host.text("ContainerIDFile", matches.text("cidfile"));
    host.set("NetworkMode", network::mode(matches)?);
    host.on("PublishAllPorts", matches.on("publish-all"));
    host.list("Links", matches.list("link"));
    host.set("Dns", matches.list("dns").to_vec());
    host.set("DnsOptions", matches.list("dns-option").to_vec());
    host.set("DnsSearch", matches.list("dns-search").to_vec());
    host.list("ExtraHosts", matches.list("add-host"));
    host.list("VolumesFrom", matches.list("volumes-from"));
    host.text("VolumeDriver", matches.text("volume-driver"));
    host.object("Tmpfs", mounts::tmpfs(matches));
    let mounts = mounts::mounts(matches)?;
    if !mounts.is_empty() {
        host.set("Mounts", mounts);
    }
    host.object("StorageOpt", storage(matches)?);
    host.object("Sysctls", pairs(matches.list("sysctl")));
    host.object("Annotations", pairs(matches.list("annotation")));
    host.text("Runtime", matches.text("runtime"));
    if matches.given("init") {
        host.set("Init", matches.on("init"));
    }
    host.set("LogConfig", log_config(matches)?);
    if let Some((rows, columns)) = size {
        host.set("ConsoleSize", json!([rows, columns]));
    }
    security::apply(matches, &mut host)?;
    resources::apply(matches, &mut host)?;
    Ok(host)
}

fn storage(matches: &Matches) -> Result<serde_json::Map<String, Value>, String> {
    let options = matches.list("storage-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    Ok(pairs(options))
}

fn log_config(matches: &Matches) -> Result<Value, String> {
    let driver = matches.text("log-driver");
    let options = matches.list("log-opt");
    if driver == "none" && !options.is_empty() {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    Ok(json!({"Type": driver, "Config": pairs(options)}))
}

/// Reads `NAME[:COUNT]`.
pub fn restart_policy(policy: &str) -> Result<Value, String> {
    let (name, count) = policy.split_once(':').unwrap_or((policy, ""));
    if name.is_empty() && policy.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count: i64 = match count {
        "" => 0,
        text => text.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::run::FLAGS as RUN;

    fn parse(line: &str) -> Result<Value, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let matches = Matches::parse(RUN, &words, false)?;
        request(&matches, matches.on("detach"), None).map(|request| request.body)
    }

    #[test]
    fn words_after_the_image_are_the_command() {
        let body = parse("-it --rm -eA=b --name x -m512m --cpus 1.5 img sh -c --rm").unwrap();
        assert_eq!(body["Cmd"], json!(["sh", "-c", "--rm"]));
        assert_eq!(body["Env"], json!(["A=b"]));
        assert_eq!(body["HostConfig"]["Memory"], 536_870_912);
        assert_eq!(body["HostConfig"]["NanoCpus"], 1_500_000_000);
        assert_eq!(body["HostConfig"]["AutoRemove"], true);
        assert_eq!(body["StdinOnce"], true);
        assert_eq!(body["Entrypoint"], Value::Null);
    }

    #[test]
    fn an_empty_entrypoint_resets() {
        assert_eq!(
            parse("--entrypoint= img").unwrap()["Entrypoint"],
            json!([""])
        );
    }

    #[test]
    fn detached_connects_nothing() {
        let body = parse("-d -i img").unwrap();
        assert_eq!(
            (&body["AttachStdout"], &body["AttachStdin"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(
            (&body["OpenStdin"], &body["StdinOnce"]),
            (&json!(true), &json!(false))
        );
    }

    #[test]
    fn refusals() {
        let check = |line: &str, text: &str| assert_eq!(parse(line).unwrap_err(), text, "{line}");
        check("--nope img", "unknown flag: --nope");
        check(
            "-m 5x img",
            "invalid argument \"5x\" for \"-m, --memory\" flag: invalid suffix: 'x'",
        );
        check("-e", "flag needs an argument: 'e' in -e");
        check("--name", "flag needs an argument: --name");
        check("-iZ img", "unknown shorthand flag: 'Z' in -Z");
        check(
            "--rm --restart always img",
            "conflicting options: cannot specify both --restart and --rm",
        );
        check(
            "--restart on-failure:x img",
            "invalid restart policy format: maximum retry count must be an integer",
        );
        check("--pid x img", "--pid: invalid PID mode");
        check("--mac-address x img", "x is not a valid mac address");
        check(
            "--memory-swappiness 200 img",
            "invalid value: 200. Valid memory swappiness range is 0-100",
        );
        check(
            "--security-opt seccomp=/nope img",
            "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
        );
        check("--security-opt foo img", "invalid --security-opt: \"foo\"");
    }

    #[test]
    fn networks() {
        let body = parse("--network n --network-alias a --ip 10.0.0.2 img").unwrap();
        assert_eq!(body["HostConfig"]["NetworkMode"], "n");
        let endpoint = &body["NetworkingConfig"]["EndpointsConfig"]["n"];
        assert_eq!(
            endpoint.to_string(),
            r#"{"Aliases":["a"],"IPAMConfig":{"IPv4Address":"10.0.0.2"}}"#
        );
        assert_eq!(
            parse("img").unwrap()["HostConfig"]["NetworkMode"],
            "default"
        );
        assert!(parse("--network host --network n img").is_err());
        assert!(parse("--network-alias a img").is_err());
    }
}
