//! Volumes: what the API says of them, what the local driver mounts, and what plugins do.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::volume_plugin::{BROKEN, KEPT, STUCK, UNMOUNTABLE};
use wharf_testkit::{EngineKind, VolumePlugin};

use super::containers::until;
use crate::Case;
use crate::case::skip;

/// Why Debian's dockerd is not asked: 26.1 is.
const OLDER: &str = "Of 20.10, which says and does it otherwise";

/// An API request that must fail with `status` and exactly `message`.
fn refused(
    case: &Case,
    request: (&str, &str, Option<Value>),
    status: u16,
    message: &str,
) -> Result<()> {
    let (method, target, body) = request;
    // The description does not name every status that dockerd answers with.
    let answer = case.engine.api(method, target, body.as_ref())?;
    let (found, answer) = (answer.status, answer.json());
    ensure!(
        found == status && answer["message"] == message,
        "{target} says {found} {answer}, not {status} {message:?}"
    );
    Ok(())
}

fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Lines of the world's mount table with `words`.
fn mounted(case: &Case, words: &str) -> Result<usize> {
    let table = case.engine.world.sh("cat /proc/mounts")?;
    Ok(table.lines().filter(|line| line.contains(words)).count())
}

pub(crate) fn volume_api(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip(OLDER);
    }
    let create = |body: Value| case.expect("POST", "/volumes/create", Some(&body), 201);
    let bare = create(json!({ "Name": "bare" }))?;
    ensure!(
        bare["Labels"].is_null() && bare["Options"].is_null(),
        "{bare}"
    );
    ensure!(
        bare["Driver"] == "local" && bare["Scope"] == "local",
        "{bare}"
    );
    let folder = case.engine.data_root().join("volumes/bare/_data");
    ensure!(bare["Mountpoint"] == folder.display().to_string(), "{bare}");
    let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
    let full =
        json!({ "Name": "full", "Driver": "local", "DriverOpts": options, "Labels": { "a": "b" } });
    let full = create(full)?;
    ensure!(
        full["Options"] == options && full["Labels"] == json!({ "a": "b" }),
        "{full}"
    );
    let again = create(json!({ "Name": "full", "DriverOpts": {}, "Labels": { "x": "y" } }))?;
    ensure!(again == full, "{again}");
    let anonymous = create(json!({}))?;
    ensure!(
        anonymous["Labels"] == json!({ "com.docker.volume.anonymous": "" }),
        "{anonymous}"
    );
    ensure!(
        anonymous["Name"].as_str().map(str::len) == Some(64),
        "{anonymous}"
    );
    let listed = |wanted: Value| -> Result<Vec<String>> {
        let target = format!("/volumes?filters={}", filters(&wanted));
        let answer = case.expect("GET", &target, None, 200)?;
        let volumes = answer["Volumes"].as_array().context("no list")?;
        let names = volumes.iter().filter_map(|one| one["Name"].as_str());
        let mut names: Vec<String> = names.map(|name| name.chars().take(8).collect()).collect();
        names.sort();
        Ok(names)
    };
    let id: String = anonymous["Name"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .take(8)
        .collect();
    case.ok(&["create", "--name", "c1", "-v", "bare:/d", "busybox"])?;
    ensure!(listed(json!({ "name": ["ar", "full"] }))? == ["bare", "full"]);
    ensure!(listed(json!({ "label": ["a"] }))? == ["full"]);
    ensure!(listed(json!({ "label": ["a=c"] }))?.is_empty());
    ensure!(listed(json!({ "driver": ["nope"] }))?.is_empty());
    ensure!(listed(json!({ "dangling": ["false"] }))? == ["bare"]);
    let dangling = listed(json!({ "dangling": ["true"] }))?;
    ensure!(dangling.len() == 2 && dangling.contains(&id) && dangling.contains(&"full".to_owned()));
    for (target, status, message) in [
        ("/volumes/nope", 404, "get nope: no such volume"),
        (
            "/volumes?filters=%7B%22foo%22:%5B%22x%22%5D%7D",
            400,
            "invalid filter 'foo'",
        ),
        (
            "/volumes?filters=%7B%22dangling%22:%5B%22maybe%22%5D%7D",
            400,
            "invalid filter 'dangling=[maybe]'",
        ),
        (
            "/volumes?filters=x",
            400,
            "error reading volume filters: invalid filter",
        ),
    ] {
        refused(case, ("GET", target, None), status, message)?;
    }
    refused(
        case,
        ("DELETE", "/volumes/nope", None),
        404,
        "get nope: no such volume",
    )?;
    case.expect("DELETE", "/volumes/nope?force=1", None, 204)?;
    let update = "volume update only valid for cluster volumes, but swarm is unavailable";
    let body = Some(json!({}));
    refused(case, ("PUT", "/volumes/bare?version=1", body), 503, update)?;
    let usage = case.expect("GET", "/v1.45/system/df?type=volume", None, 200)?;
    let volumes = usage["Volumes"].as_array().context("no volumes")?;
    // What is mounted over a folder is not on our disk.
    ensure!(volumes.len() == 2, "{usage}");
    let bare = volumes.iter().find(|one| one["Name"] == "bare");
    let usage = &bare.context("bare")?["UsageData"];
    ensure!(usage["RefCount"] == 1 && usage["Size"].is_u64(), "{usage}");
    disk_usage_by_version(case)
}

/// 1.52 and later have the fields of before beside their own, unless details are asked for.
fn disk_usage_by_version(case: &mut Case) -> Result<()> {
    if case.engine.kind != wharf_testkit::EngineKind::Wharf {
        return Ok(());
    }
    for (asked, old, new, items) in [
        ("/v1.51/system/df", true, false, false),
        ("/v1.52/system/df", true, true, false),
        ("/v1.52/system/df?verbose=1", false, true, true),
        ("/v1.53/system/df", true, true, false),
        ("/v1.53/system/df?verbose=1", false, true, true),
    ] {
        let usage = case.expect("GET", asked, None, 200)?;
        ensure!(usage["Volumes"].is_array() == old, "{asked}: {usage}");
        ensure!(usage["LayersSize"].is_u64() == old, "{asked}: {usage}");
        ensure!(
            usage["VolumeUsage"]["TotalCount"].is_u64() == new,
            "{asked}: {usage}"
        );
        ensure!(
            usage["VolumeUsage"]["Items"].is_array() == items,
            "{asked}: {usage}"
        );
    }
    Ok(())
}

pub(crate) fn volume_refusals(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip(OLDER);
    }
    for (options, message) in [
        (
            json!({ "foo": "bar" }),
            "create v1: invalid option: \"foo\"",
        ),
        (
            json!({ "type": "tmpfs" }),
            "create v1: missing required option: \"device\"",
        ),
        (
            json!({ "device": "x" }),
            "create v1: missing required option: \"type\"",
        ),
        (json!({ "size": "abc" }), "create v1: invalid size: 'abc'"),
        (
            json!({ "size": "10m" }),
            "create v1: quota size requested but no quota support",
        ),
        (
            json!({ "type": "cifs", "device": "//1.2.3.4:99/x" }),
            "create v1: port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
    ] {
        let body = Some(json!({ "Name": "v1", "DriverOpts": options }));
        refused(case, ("POST", "/volumes/create", body), 400, message)?;
    }
    for (name, message) in [
        (
            "a/b",
            "create a/b: \"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (
            "b",
            "create b: volume name is too short, names should be at least two alphanumeric characters",
        ),
    ] {
        let body = Some(json!({ "Name": name }));
        refused(case, ("POST", "/volumes/create", body), 400, message)?;
    }
    for target in ["all", "foo"] {
        let wanted = filters(&json!({ target: ["x"] }));
        let message = match target {
            "all" => "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax",
            _ => "invalid filter 'foo'",
        };
        let target = format!("/volumes/prune?filters={wanted}");
        refused(case, ("POST", &target, None), 400, message)?;
    }
    ensure!(case.ok(&["volume", "ls", "-q"])?.is_empty());
    Ok(())
}

pub(crate) fn prune_takes_what_nobody_named(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip(OLDER);
    }
    for args in [
        &["named"][..],
        &["labelled", "--label", "keep=1"],
        &["options", "--opt", "type=tmpfs", "--opt", "device=tmpfs"],
    ] {
        case.ok(&[&["volume", "create"], args].concat())?;
    }
    case.ok(&["volume", "create"])?;
    // Made by a container of an image's or its own, and used still.
    case.ok(&["create", "--name", "c1", "-v", "/anon", "busybox"])?;
    let pruned = case.ok(&["volume", "prune", "-f"])?;
    ensure!(
        pruned.lines().count() == 4 && pruned.ends_with("Total reclaimed space: 0B"),
        "{pruned}"
    );
    let pruned = case.ok(&["volume", "prune", "-af", "--filter", "label!=keep"])?;
    ensure!(
        pruned.contains("\nnamed\n") && !pruned.contains("labelled"),
        "{pruned}"
    );
    let left = case.ok(&["volume", "ls", "-q"])?;
    ensure!(left.lines().count() == 3, "{left}");
    let answer = case.expect("POST", "/v1.41/volumes/prune", None, 200)?;
    ensure!(answer["VolumesDeleted"] == json!(["labelled"]), "{answer}");
    let answer = case.expect("POST", "/volumes/prune", None, 200)?;
    ensure!(
        answer["VolumesDeleted"] == json!([]) && answer["SpaceReclaimed"] == 0,
        "{answer}"
    );
    case.ok(&["rm", "-v", "c1"])?;
    case.prints(&["volume", "ls", "-q"], "options")
}

pub(crate) fn rm_takes_only_what_nobody_named(case: &mut Case) -> Result<()> {
    case.ok(&[
        "create", "--name", "c1", "-v", "/anon", "-v", "named:/n", "busybox",
    ])?;
    let name = case.ok(&[
        "inspect",
        "-f",
        "{{range .Mounts}}{{.Destination}}={{.Name}} {{end}}",
        "c1",
    ])?;
    let anonymous = name.split_once("/anon=").context("no anonymous volume")?.1;
    let anonymous: String = anonymous.chars().take(64).collect();
    // Whoever names it, keeps it.
    let bind = format!("{anonymous}:/x");
    case.ok(&["create", "--name", "c2", "-v", &bind, "busybox"])?;
    case.ok(&[
        "create",
        "--name",
        "c3",
        "--volumes-from",
        "c1:ro",
        "busybox",
    ])?;
    let from = case.ok(&[
        "inspect",
        "-f",
        "{{range .Mounts}}{{.Destination}} {{.RW}} {{end}}",
        "c3",
    ])?;
    ensure!(
        from.contains("/anon false") && from.contains("/n false"),
        "{from}"
    );
    case.ok(&["rm", "-v", "c1"])?;
    case.ok(&["rm", "-v", "c3"])?;
    case.ok(&["rm", "-v", "c2"])?;
    let left = case.ok(&["volume", "ls", "-q"])?;
    ensure!(
        left.contains(&anonymous) && left.contains("named"),
        "{left}"
    );
    Ok(())
}

pub(crate) fn options_are_mounted_while_used(case: &mut Case) -> Result<()> {
    let tmpfs = [
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=1m,uid=1000,nodev",
    ];
    case.ok(&[&["volume", "create", "t1"], &tmpfs[..]].concat())?;
    ensure!(mounted(case, "/t1/_data")? == 0);
    case.ok(&[
        "run", "-d", "--name", "c1", "-v", "t1:/d", "busybox", "sleep", "1000",
    ])?;
    let shown = case.ok(&[
        "exec",
        "c1",
        "sh",
        "-c",
        "echo x >/d/f; grep ' /d ' /proc/mounts; stat -c %u /d",
    ])?;
    ensure!(
        shown.contains("nodev") && shown.contains("size=1024k") && shown.ends_with("\n1000"),
        "{shown}"
    );
    ensure!(mounted(case, "/t1/_data tmpfs")? == 1);
    case.prints(
        &["run", "--rm", "-v", "t1:/d:ro", "busybox", "cat", "/d/f"],
        "x",
    )?;
    case.prints(&["exec", "c1", "cat", "/d/f"], "x")?;
    ensure!(mounted(case, "/t1/_data tmpfs")? == 1);
    // A container's end is told before its last volume is let go.
    case.ok(&["rm", "-f", "c1"])?;
    until(|| Ok(mounted(case, "/t1/_data")? == 0))?;
    let folder = case.engine.world.path().join("host");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("f"), "of the host\n")?;
    let device = format!("device={}", folder.display());
    let bind = ["--opt", "type=none", "--opt", "o=bind,ro", "--opt", &device];
    case.ok(&[&["volume", "create", "b1"], &bind[..]].concat())?;
    let touch = "cat /d/f; touch /d/x 2>/dev/null || echo ro";
    case.prints(
        &["run", "--rm", "-v", "b1:/d", "busybox", "sh", "-c", touch],
        "of the host\nro",
    )?;
    // A stopped container's volume is there for who looks into it.
    case.ok(&["create", "--name", "c2", "-v", "b1:/d", "busybox"])?;
    let to = case.engine.world.path().join("out");
    case.ok(&["cp", "c2:/d/f", &to.display().to_string()])?;
    ensure!(std::fs::read_to_string(&to)? == "of the host\n");
    until(|| Ok(mounted(case, "/b1/_data")? == 0))?;
    case.ok(&["rm", "c2"])?;
    case.ok(&["volume", "rm", "b1", "t1"])?;
    ensure!(folder.join("f").exists());
    Ok(())
}

pub(crate) fn what_cannot_be_mounted(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip(OLDER);
    }
    for (name, options, reason, code) in [
        (
            "b1",
            &["type=none", "device=/nope", "o=bind"][..],
            "mount /nope:PATH, flags: 0x1000: no such file or directory",
            // As the client understands these words.
            127,
        ),
        (
            "n1",
            &["type=foo", "device=bar", "o=zz,password=x,ro"],
            "mount bar:PATH, flags: 0x1, data: zz,password=********: no such device",
            125,
        ),
    ] {
        let options = options.iter().flat_map(|option| ["--opt", *option]);
        let args: Vec<&str> = ["volume", "create", name]
            .into_iter()
            .chain(options)
            .collect();
        case.ok(&args)?;
        let path = case
            .engine
            .data_root()
            .join("volumes")
            .join(name)
            .join("_data");
        let path = path.display().to_string();
        let words = format!(
            "error while mounting volume '{path}': failed to mount local volume: {}",
            reason.replace("PATH", &path)
        );
        let bind = format!("{name}:/d");
        case.fails(
            &["run", "--rm", "-v", &bind, "busybox", "true"],
            code,
            &words,
        )?;
    }
    case.prints(&["ps", "-aq"], "")?;
    case.ok(&["volume", "rm", "b1", "n1"]).map(drop)
}

pub(crate) fn mounts_outlive_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its containers do not outlive it here");
    }
    let tmpfs = ["--opt", "type=tmpfs", "--opt", "device=tmpfs"];
    for name in ["stays", "goes"] {
        case.ok(&[&["volume", "create", name], &tmpfs[..]].concat())?;
    }
    let plugin = VolumePlugin::start(&case.engine, "plug")?;
    let run = ["run", "-d", "--volume-driver", "plug", "--mount"];
    case.ok(&[
        &run[..],
        &[
            "src=stays,dst=/d",
            "--name",
            "c1",
            "-v",
            "pv:/p",
            "busybox",
            "sleep",
            "1000",
        ],
    ]
    .concat())?;
    case.ok(&[
        &run[..],
        &[
            "src=goes,dst=/d",
            "--name",
            "c2",
            "-v",
            "pv:/p",
            "busybox",
            "sleep",
            "1000",
        ],
    ]
    .concat())?;
    case.ok(&["exec", "c1", "sh", "-c", "echo kept >/d/f"])?;
    ensure!(plugin.mounts_of("pv") == 2);
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c2"])?;
    case.engine.kill_9()?;
    case.engine.world.sh(&format!("kill -9 {pid}"))?;
    case.engine.launch()?;
    ensure!(mounted(case, "/stays/_data tmpfs")? == 1);
    until(|| Ok(mounted(case, "/goes/_data")? == 0 && plugin.mounts_of("pv") == 1))?;
    case.prints(
        &["run", "--rm", "-v", "stays:/d", "busybox", "cat", "/d/f"],
        "kept",
    )?;
    case.ok(&["rm", "-f", "c1", "c2"])?;
    until(|| Ok(mounted(case, "/_data")? == 0 && plugin.mounts_of("pv") == 0))
}

/// A daemon that is killed while it makes a container leaves none of the volumes that nobody named.
pub(crate) fn a_kill_leaves_no_anonymous_volume(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It leaves them");
    }
    let plugin = VolumePlugin::start(&case.engine, "plug")?;
    case.ok(&["create", "--name", "before", "-v", "/v", "busybox"])?;
    let kept = case.ok(&["volume", "ls", "-q"])?;
    let stuck = format!("src={STUCK},dst=/s,volume-driver=plug");
    let create = [
        "create",
        "--mount",
        "dst=/l",
        "--mount",
        "dst=/p,volume-driver=plug",
        "--mount",
        &stuck,
        "busybox",
    ];
    let mut client = case.command(&create).spawn()?;
    let asked = format!("Create {STUCK}");
    until(|| Ok(plugin.calls().contains(&asked)))?;
    ensure!(case.ok(&["volume", "ls", "-q"])?.lines().count() == 3);
    case.engine.kill_9()?;
    client.wait()?;
    case.engine.launch()?;
    // Local ones are gone before the daemon answers, a plugin's when the plugin has been asked.
    until(|| {
        Ok(plugin
            .calls()
            .iter()
            .any(|call| call.starts_with("Remove ")))
    })?;
    until(|| Ok(case.ok(&["volume", "ls", "-q"])? == kept))?;
    case.prints(&["ps", "-a", "--format", "{{.Names}}"], "before")
}

pub(crate) fn volume_plugins(case: &mut Case) -> Result<()> {
    let plugin = VolumePlugin::start(&case.engine, "plug")?;
    let missing = "create x1: error looking up volume plugin none: plugin \"none\" not found";
    if !case.engine.kind.is_dockerd() {
        // dockerd waits for one for half a minute first.
        let body = Some(json!({ "Name": "x1", "Driver": "none" }));
        refused(case, ("POST", "/volumes/create", body), 404, missing)?;
    }
    let args = [
        "volume", "create", "-d", "plug", "--opt", "a=b", "--label", "l=m",
    ];
    case.ok(&[&args[..], &["pv"]].concat())?;
    let found = case.expect("GET", "/volumes/pv", None, 200)?;
    ensure!(
        found
            == json!({
                "CreatedAt": "2026-01-02T03:04:05Z", "Driver": "plug", "Labels": { "l": "m" },
                "Mountpoint": plugin.folder_of("pv"), "Name": "pv", "Options": { "a": "b" },
                "Scope": "global", "Status": { "options": { "a": "b" } },
            }),
        "{found}"
    );
    let create = |name: &str, driver: &str| Some(json!({ "Name": name, "Driver": driver }));
    for (body, status, message) in [
        (create(BROKEN, "plug"), 500, "create broken: it is broken"),
        (
            create("pv", "local"),
            409,
            "create pv: driver 'plug' already has volume 'pv': volume name must be unique",
        ),
    ] {
        refused(case, ("POST", "/volumes/create", body), status, message)?;
    }
    let args = [
        "run", "--rm", "-v", "pv:/d", "-v", "pv:/e", "busybox", "sh", "-c",
    ];
    case.prints(&[&args[..], &["echo hi >/d/f; cat /e/f"]].concat(), "hi")?;
    ensure!(std::fs::read_to_string(plugin.folder_of("pv").join("f"))? == "hi\n");
    // A new one is made by the driver of the container's, and filled from the image.
    let args = [
        "run",
        "-d",
        "--name",
        "c1",
        "--volume-driver",
        "plug",
        "-v",
        "made:/etc",
        "busybox",
    ];
    case.ok(&[&args[..], &["sleep", "1000"]].concat())?;
    ensure!(plugin.folder_of("made").join("passwd").exists());
    until(|| Ok(plugin.mounts_of("pv") == 0 && plugin.mounts_of("made") == 1))?;
    case.fails(
        &["volume", "rm", "made"],
        1,
        "remove made: volume is in use - [",
    )?;
    let mounts = case.ok(&["inspect", "-f", "{{json .Mounts}}", "c1"])?;
    let mounts: Value = serde_json::from_str(&mounts)?;
    // dockerd learns of the path later than it is asked for it here.
    let source = match case.engine.kind.is_dockerd() {
        true => std::path::PathBuf::new(),
        false => plugin.folder_of("made"),
    };
    ensure!(
        mounts[0]
            == json!({
                "Type": "volume", "Name": "made", "Source": source, "Destination": "/etc",
                "Driver": "plug", "Mode": "", "RW": true, "Propagation": "",
            }),
        "{mounts}"
    );
    case.ok(&["rm", "-f", "c1"])?;
    until(|| Ok(plugin.mounts_of("made") == 0))?;
    case.ok(&["volume", "create", "-d", "plug", UNMOUNTABLE])?;
    let bind = format!("{UNMOUNTABLE}:/d");
    let words = "error while mounting volume '': no mount today";
    case.fails(&["run", "--rm", "-v", &bind, "busybox", "true"], 125, words)?;
    let names = case.ok(&["volume", "ls", "--format", "{{.Driver}} {{.Name}}"])?;
    ensure!(names == "plug made\nplug nomount\nplug pv", "{names}");
    case.prints(
        &["info", "-f", "{{json .Plugins.Volume}}"],
        r#"["local","plug"]"#,
    )?;
    case.ok(&["volume", "rm", "made"])?;
    ensure!(
        plugin
            .calls()
            .last()
            .is_some_and(|call| call == "Remove made")
    );
    plugin.hide(&case.engine)?;
    let listed = case.expect("GET", "/volumes", None, 200)?;
    let dead = "dial unix /run/docker/plugins/plug.sock: connect: no such file or directory";
    let warning =
        format!("list plug: Post \"http://plugin.moby.localhost/VolumeDriver.List\": {dead}");
    if case.engine.kind.is_dockerd() {
        return Ok(()); // Asks those alone whose sockets it finds.
    }
    ensure!(listed["Warnings"] == json!([warning]), "{listed}");
    let message = format!(
        "get pv: error while checking if volume \"pv\" exists in driver \"plug\": Post \"http://plugin.moby.localhost/VolumeDriver.Get\": {dead}"
    );
    refused(case, ("DELETE", "/volumes/pv", None), 500, &message)
}

/// A volume that its plugin does not remove stays; by force its name is free for another driver, though it is an error.
pub(crate) fn volumes_that_a_plugin_keeps(case: &mut Case) -> Result<()> {
    let _plugin = VolumePlugin::start(&case.engine, "plug")?;
    let create = |driver: &str| json!({ "Name": KEPT, "Driver": driver });
    case.expect("POST", "/volumes/create", Some(&create("plug")), 201)?;
    let words = "remove kept: another host has it";
    refused(case, ("DELETE", "/volumes/kept", None), 500, words)?;
    let taken = "create kept: driver 'plug' already has volume 'kept': volume name must be unique";
    let local = ("POST", "/volumes/create", Some(create("local")));
    refused(case, local, 409, taken)?;
    refused(case, ("DELETE", "/volumes/kept?force=1", None), 500, words)?;
    let made = case.expect("POST", "/volumes/create", Some(&create("local")), 201)?;
    ensure!(made["Driver"] == "local", "{made}");
    case.ok(&["volume", "rm", KEPT]).map(drop)
}

pub(crate) fn events_of_volumes(case: &mut Case) -> Result<()> {
    case.ok(&["run", "--name", "c1", "-v", "data:/d:ro", "busybox", "true"])?;
    let id = case.ok(&["inspect", "-f", "{{.Id}}", "c1"])?;
    case.ok(&["rm", "c1"])?;
    case.ok(&["volume", "rm", "data"])?;
    let mounted = format!(
        "mount data map[container:{id} destination:/d driver:local propagation: read/write:false]"
    );
    let unmounted = format!("unmount data map[container:{id} driver:local]");
    let format = "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes}}";
    let expected = [
        "create data map[driver:local]",
        &mounted,
        &unmounted,
        "destroy data map[driver:local]",
    ];
    let filter = "type=volume";
    // The client asks for whole seconds.
    until(|| {
        let told = [
            "events", "--since", "10m", "--until", "0s", "--filter", filter, "--format",
        ];
        let told = case.ok(&[&told[..], &[format]].concat())?;
        Ok(told.lines().collect::<Vec<_>>() == expected)
    })
}

pub(crate) fn volumes_go_out_and_in_as_archives(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let folder = case.engine.world.path().to_owned();
    let archive = folder.join("out.tar").display().to_string();
    let fill = "mkdir -p /v/a && echo one > /v/a/file && ln -s /etc/passwd /v/link && chown 7:8 /v/a/file && sleep 1000";
    case.ok(&[
        "run", "-d", "--name", "user", "-v", "out:/v", "busybox", "sh", "-c", fill,
    ])?;
    until(|| Ok(case.run(&["exec", "user", "test", "-L", "/v/link"])?.code == 0))?;
    until(|| {
        Ok(case
            .run(&["exec", "user", "stat", "-c", "%u", "/v/a/file"])?
            .stdout
            == "7")
    })?;
    // In use: the container writes on.
    let wharf = |args: &[&str]| case.engine.wharf(args).output();
    let out = wharf(&["volume", "export", "-o", &archive, "out"])?;
    ensure!(out.status.success(), "{out:?}");
    let into = wharf(&["volume", "import", "-i", &archive, "in"])?;
    ensure!(into.status.success() && into.stdout.is_empty(), "{into:?}");
    let look = "cat /v/a/file; stat -c %u:%g /v/a/file; readlink /v/link";
    case.prints(
        &["run", "--rm", "-v", "in:/v", "busybox", "sh", "-c", look],
        "one\n7:8\n/etc/passwd",
    )?;
    // A link that is there already leads what comes nowhere else.
    let trap = folder.join("trap");
    std::fs::create_dir(&trap)?;
    let line = format!("ln -s {} /v/a", trap.display());
    case.ok(&["run", "--rm", "-v", "trap:/v", "busybox", "sh", "-c", &line])?;
    let trapped = wharf(&["volume", "import", "-i", &archive, "trap"])?;
    let nothing = std::fs::read_dir(&trap)?.next().is_none();
    ensure!(nothing, "{trapped:?}");
    // What is no archive makes no volume.
    let bad = folder.join("bad.tar");
    std::fs::write(&bad, vec![b'x'; 4096])?;
    let bad = bad.display().to_string();
    let refused = wharf(&["volume", "import", "-i", &bad, "fresh"])?;
    ensure!(!refused.status.success(), "{refused:?}");
    let missing = wharf(&["volume", "export", "-o", &archive, "fresh"])?;
    let words = String::from_utf8_lossy(&missing.stderr).into_owned();
    ensure!(words.contains("get fresh: no such volume"), "{words}");
    Ok(())
}

pub(crate) fn mounts_within_a_volume_keep_it(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    case.ok(&["volume", "create", "kept"])?;
    let place = case.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "kept"])?;
    let world = &case.engine.world;
    world.sh(&format!(
        "mkdir {place}/sub && mount -t tmpfs other {place}/sub && echo x > {place}/sub/file"
    ))?;
    case.fails(&["volume", "rm", "kept"], 1, "busy")?;
    world.sh(&format!("cat {place}/sub/file && umount {place}/sub"))?;
    case.ok(&["volume", "rm", "kept"]).map(drop)
}
