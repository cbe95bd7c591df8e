//! `--mount` and `--tmpfs`: parts of volumes, images, owners.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::case::skip;
use crate::{Case, Client};

/// A volume `vv` with folders, files and links of all kinds.
fn volume(case: &Case) -> Result<()> {
    let make = "mkdir /x/a; echo 1 >/x/a/f; ln -s /etc /x/out; ln -s ../.. /x/up; ln -s a /x/in; echo 2 >/x/file";
    case.ok(&["run", "--rm", "-v", "vv:/x", "busybox", "sh", "-c", make])
        .map(drop)
}

fn subpath(path: &str) -> String {
    format!("type=volume,src=vv,dst=/d,volume-subpath={path}")
}

pub(crate) fn parts_of_volumes(case: &mut Case) -> Result<()> {
    volume(case)?;
    let run = |path: &str, line: &str| {
        let mount = subpath(path);
        case.ok(&[
            "run", "--rm", "--mount", &mount, "busybox", "sh", "-c", line,
        ])
    };
    ensure!(run("a", "ls /d; cat /d/f")? == "f\n1");
    ensure!(run("./a/../in", "cat /d/f")? == "1");
    ensure!(run("file", "cat /d; echo 3 >/d")? == "2");
    case.prints(
        &["run", "--rm", "-v", "vv:/x", "busybox", "cat", "/x/file"],
        "3",
    )?;
    let base = case.engine.data_root().join("volumes/vv/_data");
    let base = base.display();
    for (path, words) in [
        (
            "out",
            format!("path concatenation escapes the base directory, base: {base}, subpath: out"),
        ),
        (
            "up",
            format!("path concatenation escapes the base directory, base: {base}, subpath: up"),
        ),
        (
            "no",
            format!("cannot access path {base}/no: lstat {base}/no: no such file or directory"),
        ),
        (
            "../a",
            "subpath must be a relative path within the volume".to_owned(),
        ),
    ] {
        let run = case.run(&["run", "--rm", "--mount", &subpath(path), "busybox", "true"])?;
        ensure!(
            run.code != 0 && run.stderr.contains(&words),
            "{path}: {run:?}"
        );
    }
    case.prints(&["ps", "-aq"], "")
}

/// A container that swaps a folder of a shared volume for a link must not make another see the host.
pub(crate) fn links_of_a_volume_stay_inside(case: &mut Case) -> Result<()> {
    volume(case)?;
    let secret = case.engine.world.path().join("secret");
    std::fs::create_dir(&secret)?;
    std::fs::write(secret.join("f"), "of the host\n")?;
    let swap = format!(
        "ln -s {} /x/evil; while :; do mv /x/a /x/b; mv /x/evil /x/a; mv /x/a /x/evil; mv /x/b /x/a; done",
        secret.display()
    );
    case.ok(&[
        "run", "-d", "--name", "c1", "-v", "vv:/x", "busybox", "sh", "-c", &swap,
    ])?;
    for _ in 0..12 {
        let run = case.run(&[
            "run",
            "--rm",
            "--mount",
            &subpath("a"),
            "busybox",
            "cat",
            "/d/f",
        ])?;
        ensure!(run.stdout == "1" || run.code != 0, "{run:?}");
    }
    case.ok(&["rm", "-f", "c1"]).map(drop)
}

pub(crate) fn files_of_an_image(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("The ones here are too old");
    }
    let run = |mount: &str, line: &str| {
        let mount = format!("type=image,src=busybox,dst=/img{mount}");
        case.ok(&[
            "run", "--rm", "--mount", &mount, "busybox", "sh", "-c", line,
        ])
    };
    ensure!(
        run(
            "",
            "cmp /img/etc/passwd /etc/passwd && touch /img/x 2>&1 | grep -o Read-only"
        )? == "Read-only"
    );
    ensure!(
        run(
            ",image-subpath=etc",
            "cmp /img/passwd /etc/passwd && echo same"
        )? == "same"
    );
    ensure!(
        run(
            ",image-subpath=etc/passwd",
            "cmp /img /etc/passwd && echo same"
        )? == "same"
    );
    let create = |source: &str, options: serde_json::Value| {
        let mount =
            json!({ "Type": "image", "Source": source, "Target": "/img", "ImageOptions": options });
        let body = json!({ "Image": "busybox", "Cmd": ["cat", "/img/etc/passwd"], "HostConfig": { "Mounts": [mount] } });
        case.engine
            .api("POST", "/containers/create?name=c1", Some(&body))
    };
    for (source, options, status, message) in [
        (
            "",
            json!({}),
            400,
            "invalid mount config for type \"image\": field Source must not be empty",
        ),
        (
            "busybox",
            json!({ "Subpath": "../x" }),
            400,
            "invalid mount config for type \"image\": subpath must be a relative path within the volume",
        ),
        ("nosuch", json!({}), 404, "No such image: nosuch:latest"),
    ] {
        let answer = create(source, options)?;
        ensure!(
            answer.status == status && answer.json()["message"] == message,
            "{}",
            answer.text()
        );
    }
    ensure!(create("busybox", json!({}))?.status == 201);
    let view = case.expect("GET", "/containers/c1/json", None, 200)?;
    let mount = &view["Mounts"][0];
    ensure!(
        mount["Type"] == "image" && mount["Name"] == "busybox" && mount["RW"] == false,
        "{mount}"
    );
    let archive = case.api("GET", "/containers/c1/archive?path=/img/etc/passwd", None)?;
    ensure!(archive.status == 200 && archive.text().contains("root:x:0:0"));
    // The layers stay as long as the container does.
    let tag = ["image", "rm", "-f", "busybox"];
    case.run(&tag)?;
    ensure!(case.ok(&["start", "-a", "c1"])?.contains("root:x:0:0"));
    case.ok(&["rm", "c1"])?;
    let folder = case.engine.data_root().join("snapshots/rw");
    for _ in 0..500 {
        if std::fs::read_dir(&folder)?.next().is_none() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("the layers of a container that is gone stay in {folder:?}")
}

pub(crate) fn owners_are_mapped(case: &mut Case) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    if case.engine.kind.is_dockerd() || case.client == Client::Docker {
        // Neither of them has it.
        return Ok(());
    }
    let folder = case.engine.world.path().join("host");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("f"), "x")?;
    for path in [&folder, &folder.join("f")] {
        std::os::unix::fs::chown(path, Some(1234), Some(1235))?;
    }
    let run = |user: &str, option: &str, line: &str| {
        let mount = format!("type=bind,src={},dst=/b,{option}", folder.display());
        case.ok(&[
            "run", "--rm", "-u", user, "--mount", &mount, "busybox", "sh", "-c", line,
        ])
    };
    let stat = "stat -c %u:%g /b/f";
    ensure!(run("0", "bind-idmap", &format!("echo y >/b/root; {stat}"))? == "0:0");
    ensure!(run("77:88", "bind-idmap", &format!("echo y >/b/user; {stat}"))? == "77:88");
    ensure!(run("77", "bind-idmap=match-user:nobody", stat)? == "65534:65534");
    ensure!(run("0", "idmap=uids=1234-5-1;gids=1235-6-1", stat)? == "5:6");
    ensure!(run("0", "ro", stat)? == "1234:1235");
    for name in ["root", "user"] {
        let found = std::fs::metadata(folder.join(name))?;
        ensure!(
            (found.uid(), found.gid()) == (1234, 1235),
            "{name}: {found:?}"
        );
    }
    let mapping = json!({ "Source": "odd" });
    let mount = json!({ "Type": "bind", "Source": folder, "Target": "/b", "BindOptions": { "IDMapping": mapping } });
    let body = json!({ "Image": "busybox", "HostConfig": { "Mounts": [mount] } });
    let answer = case.engine.api("POST", "/containers/create", Some(&body))?;
    ensure!(
        answer.status == 400 && answer.text().contains("unknown source: odd"),
        "{}",
        answer.text()
    );
    Ok(())
}

pub(crate) fn tmpfs_options(case: &mut Case) -> Result<()> {
    let run = |args: &[&str]| {
        let line = "grep ' /t ' /proc/mounts; stat -c '%u %a' /t";
        case.ok(&[&["run", "--rm"], args, &["busybox", "sh", "-c", line]].concat())
    };
    let shown = run(&["--tmpfs", "/t:size=1m,mode=1770,uid=3,exec"])?;
    ensure!(
        shown == "tmpfs /t tmpfs rw,nosuid,nodev,relatime,size=1024k,mode=1770,uid=3 0 0\n3 1770",
        "{shown}"
    );
    let shown = run(&["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770"])?;
    ensure!(
        shown == "tmpfs /t tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=1770 0 0\n0 1770",
        "{shown}"
    );
    let shown = run(&["--mount", "type=tmpfs,dst=/t,ro"])?;
    ensure!(
        shown == "tmpfs /t tmpfs ro,nosuid,nodev,noexec,relatime 0 0\n0 1777",
        "{shown}"
    );
    let args = ["run", "--rm", "--tmpfs", "/t:foo=1", "busybox", "true"];
    case.fails(&args, 125, "invalid tmpfs option \"foo\"")
}

/// With its owner, modes, links and times, and only if there is nothing in it yet.
pub(crate) fn fresh_volumes_are_filled(case: &mut Case) -> Result<()> {
    let make = "mkdir -p /data/sub; cd /data; echo x >f; chown 5:6 f; chmod 4750 f; ln -s f l; mkfifo p; chown 7:8 /data; chmod 1711 /data";
    case.ok(&["run", "--name", "c1", "busybox", "sh", "-c", make])?;
    case.ok(&["commit", "-c", "VOLUME /data", "c1", "filled"])?;
    let list = "cd /data; stat -c '%n %u:%g %a %F' . f p sub; readlink l";
    let expected =
        ". 7:8 1711 directory\nf 5:6 4750 regular file\np 0:0 644 fifo\nsub 0:0 755 directory\nf";
    case.prints(&["run", "--rm", "filled", "sh", "-c", list], expected)?;
    case.prints(
        &[
            "run",
            "--rm",
            "-v",
            "named:/data",
            "filled",
            "sh",
            "-c",
            list,
        ],
        expected,
    )?;
    case.ok(&["run", "--rm", "-v", "named:/n", "busybox", "rm", "/n/f"])?;
    case.prints(
        &["run", "--rm", "-v", "named:/data", "filled", "ls", "/data"],
        "l\np\nsub",
    )?;
    let empty = [
        "run",
        "--rm",
        "--mount",
        "src=empty,dst=/data,volume-nocopy",
        "filled",
        "ls",
        "/data",
    ];
    case.prints(&empty, "")?;
    // A path that climbs is one inside the image (CVE-2022-23648).
    case.ok(&["commit", "-c", "VOLUME /../../data/sub/..", "c1", "climbs"])?;
    case.prints(&["run", "--rm", "climbs", "cat", "/data/f"], "x")
}

/// A mount of the API's, and what it is refused with.
type Refusal = (Value, &'static str);

pub(crate) fn mounts_are_checked(case: &mut Case) -> Result<()> {
    let refusals: &[Refusal] = &[
        (
            json!({ "Type": "bind", "Source": "/nope", "Target": "/x" }),
            "invalid mount config for type \"bind\": bind source path does not exist: /nope",
        ),
        (
            json!({ "Type": "bind", "Source": "", "Target": "/x" }),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            json!({ "Type": "bind", "Source": "rel", "Target": "/x" }),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            json!({ "Type": "bind", "Source": "/etc", "Target": "x" }),
            "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            json!({ "Type": "bind", "Source": "/etc", "Target": "" }),
            "invalid mount config for type \"bind\": field Target must not be empty",
        ),
        (
            json!({ "Type": "bind", "Source": "/etc", "Target": "/a/.." }),
            "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (
            json!({ "Type": "bind", "Source": "/etc", "Target": "/x", "VolumeOptions": { "NoCopy": true } }),
            "VolumeOptions must not be specified on mount type \"bind\"",
        ),
        (
            json!({ "Type": "bind", "Source": "/etc", "Target": "/x", "BindOptions": { "Propagation": "foo" } }),
            "invalid mount config for type \"bind\": invalid propagation mode: foo",
        ),
        (
            json!({ "Type": "bind", "Source": "/", "Target": "/x", "BindOptions": { "Propagation": "shared" } }),
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: \"ROOT\", bind mount source: \"/\", propagation: \"shared\"",
        ),
        (
            json!({ "Type": "volume", "Source": "vv", "Target": "/x", "BindOptions": {} }),
            "BindOptions must not be specified on mount type \"volume\"",
        ),
        (
            json!({ "Type": "volume", "Source": "", "Target": "/x", "ReadOnly": true }),
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            json!({ "Type": "volume", "Source": "", "Target": "/x", "VolumeOptions": { "Subpath": "a" } }),
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
        ),
        (
            json!({ "Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": { "Subpath": "../a" } }),
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
        ),
        (
            json!({ "Type": "tmpfs", "Source": "x", "Target": "/x" }),
            "invalid mount config for type \"tmpfs\": field Source must not be specified",
        ),
        (
            json!({ "Type": "npipe", "Source": "x", "Target": "/x" }),
            "invalid mount config for type \"npipe\": mount type unknown",
        ),
        (
            json!({ "Type": "cluster", "Source": "x", "Target": "/x" }),
            "invalid mount config for type \"cluster\": mount type unknown",
        ),
        (
            json!({ "Type": "", "Source": "x", "Target": "/x" }),
            "invalid mount config for type \"\": mount type unknown",
        ),
    ];
    let root = case.engine.data_root().display().to_string();
    let refuse = |host: Value, message: &str| {
        let body = json!({ "Image": "busybox", "HostConfig": host });
        let answer = case.api("POST", "/containers/create", Some(&body))?;
        let text = answer.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        ensure!(
            answer.status >= 400 && text == message,
            "{body}: {} {text:?}, not {message:?}",
            answer.status
        );
        Ok(())
    };
    for (mount, message) in refusals {
        refuse(
            json!({ "Mounts": [mount] }),
            &message.replace("ROOT", &root),
        )?;
    }
    for (binds, message) in [
        (json!(["/etc:/x", "vv:/x/"]), "Duplicate mount point: /x"),
        (json!(["/etc:/x:zz"]), "invalid mode: zz"),
        (json!(["/etc:/x:ro,rw"]), "invalid mode: ro,rw"),
        (
            json!(["/etc:/x:nocopy"]),
            "invalid volume specification: '/etc:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
        ),
        (
            json!(["vv:/x:shared"]),
            "invalid volume specification: 'vv:/x:shared': invalid mount config for type \"volume\": field BindOptions must not be specified",
        ),
        (
            json!(["/etc:x"]),
            "invalid volume specification: '/etc:x': invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            json!(["/etc:/"]),
            "invalid volume specification: '/etc:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (json!([""]), "invalid volume specification: ''"),
        (
            json!(["a:b:c:d"]),
            "invalid volume specification: 'a:b:c:d'",
        ),
        (json!([":/x"]), "invalid volume specification: ':/x'"),
    ] {
        refuse(json!({ "Binds": binds }), message)?;
    }
    for (from, message) in [
        ("", "volumes-from specification cannot be an empty string"),
        ("nope", "No such container: nope"),
        ("nope:zz", "invalid mode: zz"),
        ("nope:nocopy", "invalid mode: nocopy"),
    ] {
        refuse(json!({ "VolumesFrom": [from] }), message)?;
    }
    let tmpfs = json!({ "Type": "tmpfs", "Target": "/x" });
    refuse(
        json!({ "Binds": ["/etc:/x"], "Mounts": [tmpfs] }),
        "Duplicate mount point: /x",
    )?;
    refuse(
        json!({ "Tmpfs": { "x": "" } }),
        "invalid mount path: 'x' mount path must be absolute",
    )?;
    // Nothing that was refused has left a volume.
    case.prints(
        &[
            "volume",
            "ls",
            "-q",
            "--filter",
            "dangling=true",
            "--filter",
            "label=com.docker.volume.anonymous",
        ],
        "",
    )?;
    // And the host's tree is followed where the daemon's own mounts are in it.
    case.ok(&[
        "create",
        "--name",
        "c1",
        "-v",
        "/:/host:ro",
        "-v",
        "/etc:/e",
        "busybox",
    ])?;
    let shown = case.ok(&[
        "inspect",
        "-f",
        "{{range .Mounts}}{{.Destination}} {{.Propagation}}\n{{end}}",
        "c1",
    ])?;
    ensure!(
        shown.contains("/host rslave") && shown.contains("/e rprivate"),
        "{shown}"
    );
    Ok(())
}
