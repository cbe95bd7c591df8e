//! What hostile images, bundles and processes try (SECURITY.md, rows of runtimes).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use common::Bundle;
use serde_json::json;

/// The shim, which has the host's root open as the descriptors 3 to 7, all of which the program is to inherit: nobody can say
/// that there is nothing to be found.
fn with_the_host_open(bundle: &Bundle, words: &[&str]) -> std::process::Output {
    let script = "exec 3</ 4</ 5</ 6</ 7</; exec \"$0\" --root state \"$@\"";
    let mut command = std::process::Command::new("/bin/bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_wharf-shim"), words[0]]);
    command.args(["--preserve-fds", "5"]).args(&words[1..]);
    command.current_dir(bundle.0.path());
    command.stdin(std::process::Stdio::null());
    command.output().unwrap()
}

/// CVE-2024-21626: a working folder through a descriptor of the runtime's.
#[test]
fn a_descriptor_is_no_working_folder() {
    let bundle = Bundle::new(&["ls"]);
    for number in 3..20 {
        bundle.change(|spec| spec["process"]["cwd"] = format!("/proc/self/fd/{number}").into());
        let output = with_the_host_open(&bundle, &["run", "cwd"]);
        assert!(!output.status.success(), "fd {number}");
    }
    // They were there.
    bundle.script("ls /proc/self/fd/7/");
    bundle.change(|spec| spec["process"]["cwd"] = "/".into());
    let output = with_the_host_open(&bundle, &["run", "cwd"]);
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.lines().any(|name| name == "usr"), "{seen}");
}

/// CVE-2025-31133: a masked path is covered by the null device, and by nothing that an image calls so.
#[test]
fn a_link_in_place_of_the_null_device_masks_nothing_else() {
    let bundle = Bundle::new(&["cat", "/secret"]);
    std::fs::write(bundle.rootfs().join("secret"), "text").unwrap();
    bundle.change(|spec| spec["linux"]["maskedPaths"] = json!(["/secret"]));
    let output = bundle.shim(&["run", "mask"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
    symlink("/etc/passwd", bundle.rootfs().join("dev/null")).unwrap();
    bundle.change(|spec| spec["mounts"].as_array_mut().unwrap().truncate(1));
    assert!(
        bundle
            .text(&["run", "mask"])
            .contains("it is not the null device")
    );
}

/// CVE-2019-19921, CVE-2023-27561: procfs behind a link. CVE-2026-41579: `/dev` that leads out.
#[test]
fn links_in_an_image_lead_nowhere_else() {
    let bundle = Bundle::new(&["true"]);
    let root = bundle.rootfs();
    std::fs::remove_dir(root.join("proc")).unwrap();
    symlink("/bin", root.join("proc")).unwrap();
    assert!(
        bundle
            .text(&["run", "proc"])
            .contains("must be mounted on ordinary directory")
    );
    std::fs::remove_file(root.join("proc")).unwrap();
    std::fs::create_dir(root.join("proc")).unwrap();
    std::fs::remove_dir(root.join("dev")).unwrap();
    let outside = bundle.path("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink("/../../outside", root.join("dev")).unwrap();
    assert_eq!(bundle.shim(&["run", "dev"]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}

/// CVE-2022-29162, CVE-2022-24769: nothing inheritable, nothing ambient, unless asked for.
#[test]
fn capabilities_are_what_the_spec_says() {
    let bundle = Bundle::new(&[
        "sh",
        "-c",
        "while read line; do echo \"$line\"; done < /proc/self/status",
    ]);
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
        spec["process"]["noNewPrivileges"] = true.into();
    });
    let text = bundle.text(&["run", "caps"]);
    for line in [
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "CapEff:\t0000000000000021",
        "CapBnd:\t0000000000000021",
        "NoNewPrivs:\t1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// CVE-2019-5736: a container's process is a copy of ours until it executes its program. Who has our file open by way of it,
/// and waits until nobody runs it, cannot write to it; also where the host's own mount becomes writable again.
#[test]
fn our_own_program_cannot_be_written_to_by_way_of_a_container() {
    let bundle = Bundle::new(&["/proc/self/exe"]);
    // A copy: as long as another test runs the file the kernel refuses for that reason.
    std::fs::create_dir(bundle.path("host")).unwrap();
    let ours = bundle.path("host/wharf-shim");
    std::fs::copy(env!("CARGO_BIN_EXE_wharf-shim"), &ours).unwrap();
    let inode = std::fs::metadata(&ours).unwrap().ino().to_string();
    let script = r#"
        set -e
        mount --bind host host
        mount -o remount,bind,"$0" host
        shim="host/wharf-shim --root state"
        $shim create own
        exec 9< "/proc/$($shim state own | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')/exe"
        $shim delete -f own
        mount -o remount,bind,rw host
        stat -Lc %i /proc/self/fd/9
        echo x >> /proc/self/fd/9"#;
    for mode in ["rw", "ro"] {
        let mut host = std::process::Command::new("unshare");
        host.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            mode,
        ]);
        host.current_dir(bundle.0.path())
            .stdin(std::process::Stdio::null());
        host.stdout(std::fs::File::create(bundle.path("out")).unwrap());
        host.stderr(std::fs::File::create(bundle.path("errors")).unwrap());
        assert!(!host.status().unwrap().success());
        let said = std::fs::read_to_string(bundle.path("errors")).unwrap();
        // Not "Text file busy": that goes away.
        assert!(said.contains("Read-only file system"), "{said}");
        // And ours it was.
        let seen = std::fs::read_to_string(bundle.path("out")).unwrap();
        assert_eq!(seen.trim(), inode);
    }
}

/// Of the runtime's descriptors none is left to the program.
#[test]
fn nothing_of_the_host_is_open_inside() {
    let bundle = Bundle::new(&["sh", "-c", "cd /proc/self/fd; echo *"]);
    let text = bundle.text(&["run", "fds"]);
    assert!(["0 1 2\n", "0 1 2 3\n"].contains(&&*text), "{text}");
}

/// What runs beside the container and swaps things until it is told to stop.
struct Swapper {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    /// `place` is by turns what it was and a link to `target`.
    fn new(place: PathBuf, target: &Path) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (told, link) = (stop.clone(), place.with_extension("link"));
        symlink(target, &link).unwrap();
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !told.load(std::sync::atomic::Ordering::Relaxed) {
                let done = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &place,
                    rustix::fs::CWD,
                    &link,
                    exchange,
                );
                swaps += u64::from(done.is_ok());
            }
            swaps
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How often it has swapped.
    fn stop(mut self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

const ROUNDS: usize = 60;

/// All that is at `folder`, with kinds and times of change: whatever is done there shows.
fn picture(folder: &Path) -> Vec<String> {
    let mut seen: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let stat = std::fs::symlink_metadata(entry.path()).unwrap();
            format!(
                "{:?} {:o} {} {}",
                entry.path(),
                stat.mode(),
                stat.ino(),
                stat.mtime_nsec()
            )
        })
        .collect();
    seen.sort();
    seen
}

fn outside(bundle: &Bundle) -> PathBuf {
    let outside = bundle.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("console"), "host").unwrap();
    std::fs::write(outside.join("null"), "host").unwrap();
    outside
}

/// CVE-2021-30465: the target of a mount, in a volume that somebody else writes to, becomes a link on the way. What
/// is mounted is mounted inside.
#[test]
fn targets_of_mounts_that_are_swapped_for_links() {
    let bundle = Bundle::new(&[]);
    let (volume, outside) = (bundle.path("volume"), outside(&bundle));
    std::fs::create_dir_all(volume.join("target")).unwrap();
    std::fs::create_dir_all(bundle.rootfs().join("volume")).unwrap();
    bundle.mount(
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"]}),
    );
    bundle.mount(json!({"destination": "/volume/target", "type": "tmpfs", "source": "tmpfs"}));
    bundle.mount(
        json!({"destination": "/volume/target/made/deep", "type": "tmpfs", "source": "tmpfs"}),
    );
    bundle.script("touch /volume/target/x; cat /proc/self/mountinfo");
    let before = picture(&outside);
    let relative: PathBuf = Path::new("../..").join(outside.strip_prefix("/").unwrap());
    for link in [
        outside.clone(),
        Path::new("../../../../../../..").join(relative),
    ] {
        let swapper = Swapper::new(volume.join("target"), &link);
        for _ in 0..ROUNDS {
            // Whether it starts is a matter of luck; where it mounts is not.
            let output = bundle.shim(&["run", "swap"]);
            let seen = String::from_utf8_lossy(&output.stdout).into_owned();
            for line in seen.lines().filter(|line| line.contains(" tmpfs ")) {
                let place = line.split(' ').nth(4).unwrap();
                let inside = bundle.rootfs().join(place.trim_start_matches('/'));
                assert!(
                    place.starts_with('/') && !place.contains(".."),
                    "{line} {inside:?}"
                );
            }
        }
        assert!(swapper.stop() > 0);
        std::fs::remove_file(volume.join("target.link"))
            .or_else(|_| std::fs::remove_dir_all(volume.join("target.link")))
            .unwrap();
        let _ = std::fs::remove_file(volume.join("target"));
        std::fs::create_dir_all(volume.join("target")).unwrap();
    }
    assert_eq!(picture(&outside), before, "something was done outside");
}

/// CVE-2024-45310: folders for a mount's target are made, while a part of the way becomes a link.
#[test]
fn folders_that_are_made_while_the_way_is_swapped() {
    let bundle = Bundle::new(&["true"]);
    let (volume, outside) = (bundle.path("volume"), outside(&bundle));
    std::fs::create_dir_all(volume.join("way")).unwrap();
    bundle.mount(
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"]}),
    );
    for number in 0..8 {
        let target = format!("/volume/way/a{number}/b/c");
        bundle.mount(json!({"destination": target, "type": "tmpfs", "source": "tmpfs"}));
    }
    bundle.mount(json!({"destination": "/volume/way/file", "type": "bind", "source": "/etc/hostname", "options": ["bind"]}));
    let before = picture(&outside);
    let swapper = Swapper::new(volume.join("way"), &outside);
    for _ in 0..ROUNDS {
        bundle.shim(&["run", "way"]);
    }
    assert!(swapper.stop() > 0);
    assert_eq!(picture(&outside), before, "something was made outside");
}

/// CVE-2025-52565: `/dev/console`, and `/dev/pts` before it, become links while the terminal is bound there.
#[test]
fn a_console_that_is_swapped_for_a_link() {
    let bundle = Bundle::new(&["sh", "-c", "tty; cat /proc/self/mountinfo"]);
    let (dev, outside) = (bundle.path("dev"), outside(&bundle));
    std::fs::create_dir(&dev).unwrap();
    bundle.change(|spec| {
        spec["process"]["terminal"] = true.into();
        spec["mounts"][1] =
            json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]});
    });
    bundle.mount(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}));
    std::fs::write(dev.join("console"), "").unwrap();
    let secret = outside.join("console");
    // The link leads somewhere inside too, to what must not be covered by a terminal.
    let inside = bundle.rootfs().join(secret.strip_prefix("/").unwrap());
    std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
    std::fs::write(inside, "").unwrap();
    let before = picture(&outside);
    let swapper = Swapper::new(dev.join("console"), &secret);
    for _ in 0..ROUNDS {
        let output = bundle.shim(&["run", "console"]);
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let terminals = seen.lines().filter(|line| line.contains(" - devpts "));
        for line in terminals {
            let place = line.split(' ').nth(4).unwrap();
            assert!(
                ["/dev/pts", "/dev/console", "/dev/console.link"].contains(&place),
                "{line}"
            );
        }
    }
    assert!(swapper.stop() > 0);
    assert_eq!(picture(&outside), before);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "host");
    // A link that stays is refused, never followed.
    std::fs::remove_file(dev.join("console")).unwrap();
    symlink(&secret, dev.join("console")).unwrap();
    let said = bundle.text(&["run", "console"]);
    assert!(said.contains("it is a symbolic link"), "{said}");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "host");
    // What stands in for a devpts is none: its `ptmx` is not opened, whatever it leads to.
    let fake = bundle.path("fake");
    std::fs::create_dir(&fake).unwrap();
    symlink(&secret, fake.join("ptmx")).unwrap();
    symlink(&secret, fake.join("0")).unwrap();
    bundle.change(|spec| {
        spec["mounts"][2] =
            json!({"destination": "/dev/pts", "type": "bind", "source": fake, "options": ["rbind"]});
    });
    let said = bundle.text(&["run", "console"]);
    assert!(said.contains("/dev/pts is no devpts"), "{said}");
}

/// CVE-2025-52881, CVE-2019-16884: what is meant for procfs is written there, whatever the container has at `/proc`.
#[test]
fn settings_are_written_to_a_real_procfs() {
    let bundle = Bundle::new(&[
        "sh",
        "-c",
        "cat /fake/sys/net/ipv4/ip_forward /fake/self/oom_score_adj",
    ]);
    let fake = bundle.rootfs().join("proc");
    for folder in ["sys/net/ipv4", "self/attr/apparmor", "thread-self/attr"] {
        std::fs::create_dir_all(fake.join(folder)).unwrap();
    }
    for file in [
        "sys/net/ipv4/ip_forward",
        "self/oom_score_adj",
        "self/attr/exec",
    ] {
        std::fs::write(fake.join(file), "untouched\n").unwrap();
    }
    std::fs::create_dir(bundle.rootfs().join("fake")).unwrap();
    bundle.mount(
        json!({"destination": "/fake", "type": "bind", "source": fake, "options": ["rbind"]}),
    );
    bundle.change(|spec| {
        spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        spec["process"]["oomScoreAdj"] = json!(100);
    });
    // The image's own folder in procfs's place.
    bundle.change(|spec| drop(spec["mounts"].as_array_mut().unwrap().remove(0)));
    assert_eq!(bundle.ok(&["run", "fake"]), "untouched\nuntouched\n");
    // Another one, or parts of procfs covered by files that lead elsewhere.
    bundle.mount(
        json!({"destination": "/proc", "type": "bind", "source": fake, "options": ["rbind"]}),
    );
    let said = bundle.refused();
    assert!(
        said.contains("cannot be mounted because it is not of type proc"),
        "{said}"
    );
    bundle.change(|spec| {
        spec["mounts"].as_array_mut().unwrap().pop();
    });
    bundle.mount(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
    let sysrq = fake.join("sys/net/ipv4/ip_forward");
    bundle.mount(json!({"destination": "/proc/sys/net/ipv4/ip_forward", "type": "bind", "source": sysrq, "options": ["bind"]}));
    let said = bundle.refused();
    assert!(
        said.contains("cannot be mounted because it is inside /proc"),
        "{said}"
    );
    // What lxcfs tells may be covered.
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.last_mut().unwrap()["destination"] = "/proc/uptime".into();
    });
    assert_eq!(bundle.ok(&["run", "fake"]), "untouched\nuntouched\n");
}

/// Runs `sleep 0` in a container whose first process runs `watch` all the time, with a descriptor of the host's open,
/// and slowly: names of users are looked up in a long file, and programs along a long path. Gives what was seen.
fn entered_under_watch(caps: &serde_json::Value, watch: &str) -> String {
    let bundle = Bundle::new(&[]);
    bundle.script(&format!(
        "touch /tmp/up; while [ ! -e /tmp/stop ]; do for process in /proc/[0-9]*; do \
           case $process in /proc/1|/proc/$$) continue;; esac; \
           read name < $process/comm || continue; [ \"$name\" = wharf-shim ] || continue; \
           echo met >> /tmp/seen; {watch}; \
         done; done 2>/dev/null"
    ));
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
    });
    std::fs::create_dir(bundle.rootfs().join("etc")).unwrap();
    let passwd = "nobody:x:7777:7777::/:\n".repeat(100_000);
    std::fs::write(bundle.rootfs().join("etc/passwd"), passwd).unwrap();
    bundle.leave(&["run", "-d", "looked"]);
    common::until(|| bundle.rootfs().join("tmp/up").exists());
    let path = format!("PATH={}/bin", "/none:".repeat(15_000));
    let script = "exec 7</etc/hostname 8</; exec \"$0\" --root state exec -e \"$1\" looked sleep 0";
    let enter = || {
        std::process::Command::new("/bin/bash")
            .args(["-c", script, env!("CARGO_BIN_EXE_wharf-shim"), &path])
            .current_dir(bundle.0.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
    };
    let seen = bundle.rootfs().join("tmp/seen");
    let seen = || std::fs::read_to_string(&seen).unwrap_or_default();
    let mut met = 0;
    for _ in 0..20 {
        assert!(enter().unwrap().success());
        met = seen().lines().filter(|line| *line == "met").count();
        if met > 5 {
            break;
        }
    }
    assert!(met > 0, "nothing was seen on its way in");
    std::fs::write(bundle.rootfs().join("tmp/stop"), "").unwrap();
    seen()
}

/// CVE-2016-9962: who may trace everything in the container finds no descriptor of the host's in what enters it.
#[test]
fn what_enters_has_no_descriptors_of_the_host() {
    let caps = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"]);
    // A link out of a container's mount namespace reads as the path there, or as nothing: whose folder it is its files tell.
    let watch = "ls -l $process/fd >> /tmp/seen; for place in $process/fd/* $process/cwd $process/root; do \
           [ -e $place/../../../usr ] && echo \"leads out: $place\" >> /tmp/seen; done";
    let seen = entered_under_watch(&caps, watch);
    assert!(seen.contains("socket:"), "it could not look: {seen}");
    assert!(!seen.contains("leads out"), "{seen}");
    let own = ["socket:", "/dev/null", "/etc/passwd", "/etc/group", "/", ""];
    for target in seen.lines().filter_map(|line| line.split_once(" -> ")) {
        let target = target.1;
        let known = own.iter().any(|kind| match *kind {
            "socket:" => target.starts_with(kind),
            kind => target == kind,
        });
        // In the container's own procfs.
        let listed = target.starts_with("/proc/") && target.ends_with("/fd");
        assert!(known || listed, "{target} in {seen}");
    }
}

/// CVE-2016-9962: who has the same rights as what enters, but not that to trace, cannot look into it at all.
#[test]
fn what_enters_cannot_be_looked_into() {
    let caps = json!(["CAP_CHOWN"]);
    let seen = entered_under_watch(
        &caps,
        "readlink $process/exe >> /tmp/seen && echo found >> /tmp/seen",
    );
    // Its program is the container's own then, if the name has not changed yet.
    let found = seen.lines().filter(|line| line.contains("wharf-shim"));
    assert_eq!(found.count(), 0, "{seen}");
}

/// CVE-2024-21626 by exec: a working folder through a descriptor of the runtime's.
#[test]
fn a_descriptor_is_no_working_folder_of_an_exec() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "cwd"]);
    for number in 3..20 {
        let folder = format!("/proc/self/fd/{number}");
        let words = ["exec", "--cwd", &folder, "cwd", "ls", "../../../.."];
        let output = with_the_host_open(&bundle, &words);
        assert_eq!(output.status.code(), Some(255), "fd {number}");
    }
    let output = with_the_host_open(&bundle, &["exec", "cwd", "ls", "/proc/self/fd/7/"]);
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.lines().any(|name| name == "usr"), "{seen}");
}

/// CVE-2022-29162 by exec: nothing inheritable, nothing ambient.
#[test]
fn capabilities_of_an_exec() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let caps = json!(["CAP_CHOWN"]);
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
    });
    bundle.leave(&["run", "-d", "caps"]);
    for user in ["0", "5"] {
        let words = [
            "exec",
            "--cap",
            "CAP_KILL",
            "-u",
            user,
            "caps",
            "cat",
            "/proc/self/status",
        ];
        let text = bundle.ok(&words);
        for line in [
            "CapInh:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "CapBnd:\t0000000000000021",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

/// CVE-2023-25809: whoever is root of a user namespace only writes nowhere in the host's control groups.
#[test]
fn control_groups_are_not_written_from_a_user_namespace() {
    let bundle = Bundle::new(&[]);
    bundle.change(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        namespaces.push(json!({"type": "cgroup"}));
        let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        spec["linux"]["uidMappings"] = maps.clone();
        spec["linux"]["gidMappings"] = maps;
    });
    std::fs::create_dir_all(bundle.rootfs().join("sys/fs/cgroup")).unwrap();
    bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]}));
    bundle.script(
        "cd /sys/fs/cgroup; for place in . *; do \
           mkdir $place/made 2>/dev/null && echo made $place; \
           echo 1 2>/dev/null > $place/cgroup.procs && echo wrote $place; \
           mount -o remount,rw,bind $place 2>/dev/null && mkdir $place/made 2>/dev/null && echo remounted $place; \
         done; ls | wc -l",
    );
    let written_to_none = || {
        let output = bundle.ok(&["run", "groups"]);
        let count: usize = output.trim().parse().unwrap_or_else(|_| panic!("{output}"));
        assert!(count > 0, "nothing was there to be written to");
    };
    written_to_none();
    // Nor by the host's root, whose the groups are, without the right to mount.
    bundle.change(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "user");
        for key in ["uidMappings", "gidMappings"] {
            spec["linux"].as_object_mut().unwrap().remove(key);
        }
    });
    written_to_none();
}

/// A 32-bit program of x86 that does `socketcall(call, {family, kind, 0})`, and ends with the error's number.
fn socketcall(call: u8, family: u8, kind: u8) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const CODE: u32 = 84;
    let arguments = BASE + CODE + 28;
    let mut code = vec![0xb8, 102, 0, 0, 0, 0xbb, call, 0, 0, 0, 0xb9];
    code.extend(arguments.to_le_bytes());
    // int 0x80; neg eax; mov ebx, eax; mov eax, 1; int 0x80
    code.extend([
        0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80,
    ]);
    code.extend([family, 0, 0, 0, kind, 0, 0, 0, 0, 0, 0, 0]);
    let mut elf = b"\x7fELF\x01\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    let length = CODE + code.len() as u32;
    for word in [BASE + CODE, 52, 0, 0] {
        elf.extend(u32::to_le_bytes(word));
    }
    elf.extend([52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for word in [1, 0, BASE, BASE, length, length, 7, 0x1000] {
        elf.extend(u32::to_le_bytes(word));
    }
    elf.extend(code);
    elf
}

/// CVE-2026-123876, CVE-2026-31431: what the filter forbids of sockets it forbids to 32-bit programs too, whose own
/// call hides the address family from it.
#[test]
#[cfg(target_arch = "x86_64")]
fn sockets_of_programs_with_32_bits() {
    use std::os::unix::fs::PermissionsExt as _;
    const ENOSYS: i32 = 38;
    let bundle = Bundle::new(&["/bin/call"]);
    let end = |bundle: &Bundle, call, family, kind| {
        let program = bundle.rootfs().join("bin/call");
        std::fs::write(&program, socketcall(call, family, kind)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        bundle.shim(&["run", "call"]).status.code().unwrap()
    };
    let (unix, alg, vsock) = (1, 38, 40);
    let open = end(&bundle, 1, unix, 1);
    if open == 255 {
        eprintln!("this kernel runs no 32-bit programs");
        return;
    }
    assert!(open > 200, "a socket, less its number: {open}");
    let profile = wharf_seccomp::Profile::docker_default().unwrap();
    let host = wharf_seccomp::Host::current().unwrap();
    let resolved = profile.resolve(&[], &host).unwrap();
    bundle.change(|spec| spec["linux"]["seccomp"] = serde_json::to_value(resolved).unwrap());
    assert_eq!(end(&bundle, 1, alg, 5), ENOSYS);
    assert_eq!(end(&bundle, 1, vsock, 1), ENOSYS);
    // Calls on sockets that are there go on: bind(1, …) of no socket.
    assert_ne!(end(&bundle, 2, 1, 0), ENOSYS);
}
