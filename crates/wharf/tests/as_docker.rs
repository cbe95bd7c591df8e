//! What Docker's client 28.2.2 says and asks, `wharf` says and asks; where that client is here, both are run.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod common;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use common::{Fake, texts};
use serde_json::json;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A daemon with a container `web` that says little of itself, and nothing to prune but a build.
fn daemon(request: &str) -> Option<(u16, &'static str)> {
    let (path, _) = request.split_once('?').unwrap_or((request, ""));
    Some(match path {
        "POST /containers/create" => (201, r#"{"Id":"abc","Warnings":[]}"#),
        "POST /containers/abc/start" => (204, ""),
        "POST /containers/abc/wait" => (200, "{\"StatusCode\":7}\n"),
        "GET /containers/web/json" => (
            200,
            r#"{"Id":"abc","Name":"/web","Created":"2020-01-01T00:00:00Z","State":{"Status":"running","Running":true},"Config":{"Image":"x","Env":["A=b"],"Labels":{},"Volumes":null},"HostConfig":{"NetworkMode":"bridge","PortBindings":{},"Binds":null},"NetworkSettings":{"Ports":{},"Networks":{"bridge":{"IPAMConfig":null}},"IPAddress":"1.2.3.4"},"Mounts":[]}"#,
        ),
        "GET /containers/json" => (200, "[]"),
        "POST /build/prune" => (200, r#"{"CachesDeleted":["c1"],"SpaceReclaimed":10}"#),
        path if path.ends_with("/prune") => (200, r#"{"SpaceReclaimed":5}"#),
        "GET /events" => (
            200,
            r#"{"status":"start","id":"abc","from":"x","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"image":"x","name":"web"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}
{"Type":"network","Action":"create","Actor":{"ID":"n","Attributes":{}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}
"#,
        ),
        "GET /info" => (200, r#"{"ID":"i","Name":"fake","ServerVersion":"1"}"#),
        "GET /version" => (
            200,
            r#"{"Version":"1","ApiVersion":"1.50","MinAPIVersion":"1.24","Os":"linux","Arch":"amd64"}"#,
        ),
        _ => return None,
    })
}

#[test]
fn a_digest_is_not_pushed() {
    let fake = Fake::start(daemon);
    for name in [format!("x@{DIGEST}"), format!("x:a@{DIGEST}")] {
        let output = fake.both(&["push", &name], "");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(texts(&output).1, "cannot push a digest reference\n");
        assert!(fake.asked().is_empty());
    }
}

#[test]
fn who_does_not_agree_is_told_nothing() {
    let fake = Fake::start(daemon);
    for kind in [
        "container",
        "image",
        "volume",
        "network",
        "builder",
        "system",
    ] {
        let output = fake.both(&[kind, "prune"], "n\n");
        assert_eq!(output.status.code(), Some(0), "{kind}");
        assert_eq!(texts(&output).1, "", "{kind}");
        assert!(fake.asked().is_empty(), "{kind}");
    }
    fake.both(&["system", "prune", "-a", "--volumes"], "n\n");
    fake.both(
        &["system", "prune", "--volumes", "--filter", "until=1h"],
        "n\n",
    );
}

#[test]
fn builds_are_pruned_with_the_rest() {
    let fake = Fake::start(daemon);
    let output = fake.wharf(&["system", "prune", "-f", "--volumes"], "");
    let shown = "Deleted build cache objects:\nc1\n\nTotal reclaimed space: 10B\n";
    assert_eq!(texts(&output).0, shown);
    assert_eq!(fake.asked().len(), 5);
    assert_eq!(fake.asked()[4], "POST /build/prune");
}

#[test]
fn filters_of_the_configuration_are_added_and_shown() {
    let fake = Fake::start(daemon);
    fake.configure(json!({"pruneFilters": ["until=2h", "bad"]}));
    let output = fake.both(&["system", "prune"], "n\n");
    let shown = "  Items to be pruned will be filtered with:\n  - until=2h\n";
    assert!(texts(&output).0.contains(shown), "{}", texts(&output).0);
    for kind in ["container", "volume", "network", "builder", "image"] {
        fake.both(&[kind, "prune", "-f"], "");
        let asked = fake.asked();
        assert!(
            asked[0].contains("%22until%22:%7B%222h%22:true"),
            "{asked:?}"
        );
    }
    // One that says the contrary of what was written gives way.
    fake.configure(json!({"pruneFilters": ["label!=keep", "label=mine"]}));
    let shown = |words: &[&str]| {
        let mut all = vec!["system", "prune"];
        all.extend(words);
        let (out, _) = texts(&fake.wharf(&all, "n\n"));
        let filters = out.lines().filter(|line| line.contains("label"));
        filters
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), ["- label!=keep", "- label=mine"]);
    assert_eq!(
        shown(&["--filter", "label=keep"]),
        ["- label=keep", "- label=mine"]
    );
}

#[test]
fn templates_know_fields_that_are_left_out() {
    let fake = Fake::start(daemon);
    let check = |template: &str, shown: &str| {
        let output = fake.both(&["inspect", "-f", template, "web"], "");
        assert_eq!(texts(&output).0, format!("{shown}\n"), "{template}");
    };
    check(
        "{{.Config.Healthcheck}}|{{.Config.StopSignal}}|{{.Config.StopTimeout}}|{{.Config.ExposedPorts}}|{{.Config.Shell}}|{{.Config.MacAddress}}",
        "<nil>||<nil>|map[]|[]|",
    );
    check(
        "{{.HostConfig.Mounts}}|{{.HostConfig.Tmpfs}}|{{.HostConfig.Sysctls}}|{{.HostConfig.StorageOpt}}|{{.HostConfig.Annotations}}|{{.HostConfig.Init}}|{{.HostConfig.Runtime}}|{{.SizeRw}}",
        "[]|map[]|map[]|map[]|map[]|<nil>||<nil>",
    );
    check(
        "{{json .Config.Labels}} {{json .Config.Volumes}} {{json .HostConfig.Binds}} {{json .HostConfig.PortBindings}} {{json .Config.ExposedPorts}} {{json .HostConfig.Init}} {{json .Mounts}}",
        "{} null null {} null null []",
    );
    check(
        "{{.Config.Labels.foo}} {{.Config.Healthcheck}}",
        "<no value> <nil>",
    );
    check("{{if .State.Health}}{{.State.Health.Status}}{{end}}|", "|");
    check(
        "{{.NetworkSettings.IPAddress}}{{range $k, $v := .NetworkSettings.Networks}} {{$k}} {{$v.IPAddress}}|{{$v.GwPriority}}{{end}}",
        "1.2.3.4 bridge |0",
    );
    check(
        "{{.ImageManifestDescriptor}} {{.Args}} {{.Image}}",
        "<nil> [] ",
    );
}

#[test]
fn templates_fail_where_there_is_nothing() {
    let fake = Fake::start(daemon);
    for template in [
        "{{.State.Health.Status}}",
        "{{.ImageManifestDescriptor.Digest}}",
        "{{.State.Nope}}",
        "{{.Nope}}",
    ] {
        let output = fake.both(&["inspect", "-f", template, "web"], "");
        assert_eq!(output.status.code(), Some(1), "{template}");
        assert!(
            texts(&output).1.contains("map has no entry for key"),
            "{template}"
        );
    }
    fake.both(&["events", "--until", "0", "--format", "{{.Nope}}"], "");
    // Docker has shown what stands before it already.
    let output = fake.wharf(&["version", "-f", "{{.Server.Version}} {{.Nope}}"], "");
    assert_eq!(
        texts(&output).1,
        "template: version:1:22: executing \"version\" at <.Nope>: can't evaluate field Nope in type system.versionInfo\n"
    );
    fake.both(&["info", "-f", "{{.Nope}}"], "");
    let output = fake.wharf(
        &[
            "-H",
            "unix:///nowhere",
            "info",
            "-f",
            "{{.ClientInfo.Version}}",
        ],
        "",
    );
    assert!(output.status.success());
    let output = fake.wharf(&["-H", "unix:///nowhere", "info", "-f", "{{.Name}}"], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn events_by_a_template() {
    let fake = Fake::start(daemon);
    let fields =
        "{{.Status}}|{{.ID}}|{{.From}}|{{.Time}}|{{.TimeNano}}|{{.Scope}}|{{.Type}}|{{.Actor.ID}}";
    let output = fake.both(&["events", "--until", "0", "--format", fields], "");
    assert_eq!(
        texts(&output).0,
        "start|abc|x|1700000000|1700000000123456789|local|container|abc\n|||1700000000|1700000000123456789|local|network|n\n"
    );
    fake.both(&["events", "--until", "0", "--format", "{{json .}}"], "");
}

#[test]
fn sizes_are_asked_for_where_they_are_shown() {
    let fake = Fake::start(daemon);
    for format in ["{{json .}}", "json", "{{.ID}} {{.Size}}", "{{json .Size}}"] {
        fake.both(&["ps", "--format", format], "");
    }
    fake.configure(json!({"psFormat": "{{.ID}} {{.Size}}"}));
    fake.both(&["ps"], "");
    assert_eq!(fake.asked(), ["GET /containers/json?size=1"]);
    fake.both(&["ps", "-q"], "");
    fake.both(&["ps", "--size=false", "--format", "{{.Size}}"], "");
    assert_eq!(fake.asked(), ["GET /containers/json"]);
}

#[test]
fn proxies_of_the_configuration_go_into_containers() {
    let fake = Fake::start(daemon);
    fake.configure(json!({"proxies": {"default": {"httpProxy": "http://p"}, fake.host(): {"httpsProxy": "http://s", "noProxy": "n"}}}));
    fake.wharf(&["create", "-e", "NO_PROXY=mine", "-e", "A", "img"], "");
    assert_eq!(
        fake.sent()["Env"],
        json!([
            "NO_PROXY=mine",
            "A",
            "HTTPS_PROXY=http://s",
            "https_proxy=http://s",
            "no_proxy=n"
        ])
    );
    let folder = fake.dir.path().join("context");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
    fake.wharf(&["build", folder.to_str().unwrap()], "");
    let asked = fake.asked();
    let built = asked.iter().find(|line| line.starts_with("POST /build"));
    assert!(
        built
            .unwrap()
            .contains("%22https_proxy%22:%22http:%2F%2Fs%22"),
        "{asked:?}"
    );
}

#[test]
fn a_platform_of_the_environment_is_the_default() {
    let fake = Fake::start(daemon);
    let ask = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command
            .args(words)
            .env("DOCKER_DEFAULT_PLATFORM", "linux/arm64");
        fake.run(&mut command, "");
        fake.asked().last().cloned().unwrap_or_default()
    };
    for words in [
        &["create", "img"][..],
        &["pull", "img"],
        &["import", "-", "img"],
    ] {
        let asked = ask(words);
        assert!(
            asked.contains("platform=linux%2Farm64"),
            "{words:?}: {asked}"
        );
    }
    assert!(ask(&["create", "--platform", "linux/amd64", "img"]).contains("linux%2Famd64"));
    assert!(!ask(&["push", "img:a"]).contains("arm64"));
}

#[test]
fn the_daemon_is_found_as_docker_finds_it() {
    let (here, there) = (Fake::start(daemon), Fake::start(daemon));
    let config = here.dir.path();
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(words).env("DOCKER_CONFIG", config);
        for name in ["WHARF_HOST", "DOCKER_HOST", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let (a, b) = (here.host(), there.host());
    let daemon = format!("host={b}");
    let made = run(
        &[
            "context",
            "create",
            "other",
            "--docker",
            &daemon,
            "--description",
            "over there",
        ],
        &[],
    );
    assert_eq!(texts(&made).0, "other\n");
    // Docker's own name for it: the digest of the name.
    let meta =
        "contexts/meta/d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa/meta.json";
    let kept = std::fs::read_to_string(config.join(meta)).unwrap();
    assert_eq!(
        kept,
        format!(
            r#"{{"Name":"other","Metadata":{{"Description":"over there"}},"Endpoints":{{"docker":{{"Host":"{b}","SkipTLSVerify":false}}}}}}"#
        )
    );
    let asked = |words: &[&str], variables: &[(&str, &str)]| {
        let (before, behind) = (here.asked().len(), there.asked().len());
        let output = run(words, variables);
        assert!(output.status.success(), "{words:?}: {}", texts(&output).1);
        match (here.asked().len() - before, there.asked().len() - behind) {
            (0, 1) => "there",
            (1, 0) => "here",
            _ => "nowhere",
        }
    };
    assert_eq!(
        asked(&["-c", "other", "ps"], &[("DOCKER_HOST", &a)]),
        "there"
    );
    assert_eq!(asked(&["ps"], &[("DOCKER_CONTEXT", "other")]), "there");
    assert_eq!(
        asked(&["ps"], &[("DOCKER_CONTEXT", "other"), ("DOCKER_HOST", &a)]),
        "here"
    );
    assert_eq!(
        asked(&["-H", &a, "ps"], &[("DOCKER_CONTEXT", "other")]),
        "here"
    );
    let default = asked(&["--context", "default", "ps"], &[("DOCKER_HOST", &a)]);
    assert_eq!(default, "here");
    assert_eq!(texts(&run(&["context", "use", "other"], &[])).0, "other\n");
    assert_eq!(asked(&["ps"], &[]), "there");
    assert_eq!(asked(&["ps"], &[("DOCKER_HOST", &a)]), "here");
    assert_eq!(texts(&run(&["context", "show"], &[])).0, "other\n");
    let listed = texts(&run(
        &[
            "context",
            "ls",
            "--format",
            "{{.Name}} {{.Current}} {{.DockerEndpoint}}",
        ],
        &[],
    ))
    .0;
    assert_eq!(listed.lines().nth(1).unwrap(), format!("other true {b}"));
    let failed = |words: &[&str], start: &str| {
        let output = run(words, &[]);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(
            texts(&output).1.starts_with(start),
            "{words:?}: {}",
            texts(&output).1
        );
    };
    failed(
        &["-c", "nope", "ps"],
        "Failed to initialize: unable to resolve docker endpoint: context \"nope\": context not found: open ",
    );
    failed(
        &["-c", "other", "-H", &a, "ps"],
        "conflicting options: cannot specify both --host and --context",
    );
    failed(
        &["context", "create", "other"],
        "context \"other\" already exists",
    );
    failed(
        &[
            "context",
            "create",
            "third",
            "--from",
            "other",
            "--docker",
            "host=unix:///s",
        ],
        "cannot use --docker flag when --from is set",
    );
    let missing = "host=unix:///s,ca=/etc/hostname,cert=/nowhere";
    failed(
        &["context", "create", "third", "--docker", missing],
        "unable to create docker endpoint config: open /nowhere: no such file or directory",
    );
    let kept = std::fs::read_dir(config.join("contexts/tls"));
    assert!(kept.is_err() || kept.unwrap().count() == 0);
    failed(
        &["context", "rm", "other"],
        "context \"other\" is in use, set -f flag to force remove",
    );
    failed(
        &["context", "create", "a b"],
        "context name \"a b\" is invalid",
    );
    assert!(run(&["context", "rm", "-f", "other"], &[]).status.success());
    assert_eq!(texts(&run(&["context", "show"], &[])).0, "default\n");
}

#[test]
fn a_broken_configuration_is_told_of() {
    let fake = Fake::start(daemon);
    std::fs::write(fake.dir.path().join("config.json"), "{").unwrap();
    let output = fake.wharf(&["ps", "-q"], "");
    assert!(output.status.success());
    assert!(
        texts(&output)
            .1
            .starts_with("WARNING: Error parsing config file (")
    );
}

#[test]
fn a_login_keeps_link_owner_and_mode_of_the_configuration() {
    let fake = Fake::start(|request| match request {
        "POST /auth" => Some((200, r#"{"Status":"Login Succeeded"}"#)),
        _ => None,
    });
    let real = fake.dir.path().join("real.json");
    let link = fake.dir.path().join("config.json");
    std::fs::write(&real, r#"{"psFormat":"x"}"#).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.json", &link).unwrap();
    let output = fake.wharf(
        &["login", "-u", "me", "--password-stdin", "reg:5000"],
        "secret",
    );
    assert!(output.status.success(), "{}", texts(&output).1);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&real).unwrap()).unwrap();
    assert_eq!(kept["psFormat"], "x");
    assert!(kept["auths"]["reg:5000"]["auth"].is_string());
}

#[test]
fn stale_credentials_are_asked_for_again() {
    let fake = Fake::start(|request| match request {
        "POST /auth" => Some((401, r#"{"message":"unauthorized"}"#)),
        _ => None,
    });
    fake.configure(json!({"auths": {"reg:5000": {"auth": "bWU6b2xk"}}}));
    let output = fake.wharf(&["login", "reg:5000"], "");
    let (out, err) = texts(&output);
    assert_eq!(
        out,
        "Authenticating with existing credentials... [Username: me]\n"
    );
    assert!(
        err.ends_with("cannot perform an interactive login from a non TTY device\n"),
        "{err}"
    );
}

#[test]
fn a_session_of_input_alone_ends_with_it() {
    let fake = Fake::start(daemon);
    let output = fake.wharf(&["run", "-i", "-a", "stdin", "img", "cat"], "hello\n");
    assert!(output.status.success());
    assert_eq!(texts(&output).0, "abc\n");
}

#[test]
fn a_build_for_buildx_goes_there() {
    let fake = Fake::start(daemon);
    let folder = fake.dir.path().join("cli-plugins");
    std::fs::create_dir(&folder).unwrap();
    let plugin = folder.join("docker-buildx");
    std::fs::write(&plugin, "#!/bin/sh\necho \"$@\"\n").unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = |words: &[&str], buildkit: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(words).env_remove("DOCKER_BUILDKIT");
        if let Some(value) = buildkit {
            command.env("DOCKER_BUILDKIT", value);
        }
        texts(&fake.run(&mut command, "")).0
    };
    let secret = ["build", "--secret", "id=a", "."];
    assert_eq!(said(&secret, None), "buildx build --secret id=a .\n");
    assert_eq!(
        said(&["--debug", "image", "build", "--push", "."], None),
        "--debug=true buildx build --push .\n"
    );
    assert_eq!(said(&secret, Some("0")), "");
    assert_eq!(said(&["build", "/nowhere"], None), "");
    assert_eq!(
        said(&["build", "/nowhere"], Some("1")),
        "buildx build /nowhere\n"
    );
    fake.configure(json!({"aliases": {"builder": "buildx"}}));
    assert_eq!(said(&["builder", "ls"], None), "buildx ls\n");
    assert_eq!(
        said(&["build", "/nowhere"], None),
        "buildx build /nowhere\n"
    );
}

#[test]
fn plugins_need_no_daemon_and_lie_in_further_folders() {
    let fake = Fake::start(daemon);
    let folder = fake.dir.path().join("more");
    std::fs::create_dir(&folder).unwrap();
    let plugin = folder.join("docker-thing");
    std::fs::write(&plugin, "#!/bin/sh\necho \"$DOCKER_HOST $@\"\n").unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    fake.configure(json!({"cliPluginsExtraDirs": [folder]}));
    let output = fake.wharf(&["-H", "unix:///nowhere", "thing", "version"], "");
    assert_eq!(texts(&output).0, "unix:///nowhere thing version\n");
}

#[test]
fn a_saved_image_is_its_owners() {
    let fake = Fake::start(|request| {
        request
            .starts_with("GET /images/get")
            .then_some((200, "tar"))
    });
    let path = fake.dir.path().join("saved");
    let output = fake.wharf(&["save", "-o", path.to_str().unwrap(), "img"], "");
    assert!(output.status.success(), "{}", texts(&output).1);
    assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_daemon_elsewhere_is_reached_by_ssh() {
    let fake = Fake::start(daemon);
    // An ssh that is on the other machine already.
    let folder = fake.dir.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let script = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script(
        "ssh",
        format!(
            "#!/bin/sh\necho \"$@\" > {}/said\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec \"$@\"\n",
            folder.display()
        ),
    );
    script(
        "docker",
        format!(
            "#!/bin/sh\nexec {} -H {} \"$@\"\n",
            env!("CARGO_BIN_EXE_wharf"),
            fake.host()
        ),
    );
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    let words = [
        "-H",
        "ssh://me@there:22",
        "version",
        "-f",
        "{{.Server.Version}}",
    ];
    let output = fake.run(command.args(words).env("PATH", path), "");
    assert_eq!(texts(&output), ("1\n".to_owned(), String::new()));
    let said = std::fs::read_to_string(folder.join("said")).unwrap();
    assert_eq!(
        said,
        "-o ConnectTimeout=30 -T -l me -p 22 -- there docker system dial-stdio\n"
    );
}
