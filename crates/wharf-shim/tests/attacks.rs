//! What hostile images, bundles and processes try (SECURITY.md, rows of runtimes).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::symlink;

use common::Bundle;
use serde_json::json;

/// CVE-2024-21626: a working folder through a descriptor of the runtime's.
#[test]
fn a_descriptor_is_no_working_folder() {
    let bundle = Bundle::new(&["true"]);
    for number in 3..20 {
        bundle.change(|spec| spec["process"]["cwd"] = format!("/proc/self/fd/{number}").into());
        let output = bundle.shim(&["run", "cwd"]);
        assert!(!output.status.success(), "fd {number}");
    }
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
            .contains("the target is no folder")
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

/// CVE-2019-5736: the program behind the first process is the container's own when it could be reached.
#[test]
fn nothing_of_the_host_is_open_inside() {
    let bundle = Bundle::new(&["sh", "-c", "cd /proc/self/fd; echo *"]);
    let text = bundle.text(&["run", "fds"]);
    assert!(["0 1 2\n", "0 1 2 3\n"].contains(&&*text), "{text}");
}
