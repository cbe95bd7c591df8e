//! Images: names, removal, pull from a real registry, archives.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::{Registry, fixtures};

use super::registries::tool;
use crate::Case;
use crate::case::skip;

pub(crate) fn list_tag_and_remove(case: &mut Case) -> Result<()> {
    let id = case.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let table = case.ok(&[
        "images",
        "--format",
        "table {{.Repository}}\t{{.Tag}}\t{{.ID}}",
    ])?;
    ensure!(
        table
            == format!(
                "REPOSITORY   TAG       IMAGE ID\nbusybox      latest    {}",
                &id[7..19]
            ),
        "{table}"
    );
    case.ok(&["tag", "busybox", "other/name:v1"])?;
    case.prints(&["rmi", "other/name:v1"], "Untagged: other/name:v1")?;
    case.ok(&["tag", "busybox", "twice"])?;
    case.fails(
        &["rmi", &id[7..19]],
        1,
        "image is referenced in multiple repositories",
    )?;
    case.ok(&["rmi", "twice"])?;
    let removed = case.ok(&["rmi", "busybox"])?;
    ensure!(
        removed.starts_with("Untagged: busybox:latest\nDeleted: sha256:"),
        "{removed}"
    );
    case.prints(&["images", "-q"], "")?;
    case.fails(&["rmi", "busybox"], 1, "No such image: busybox:latest")
}

pub(crate) fn history_and_inspect(case: &mut Case) -> Result<()> {
    let history = case.ok(&[
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}}|{{.Comment}}",
        "busybox",
    ])?;
    ensure!(
        history.starts_with('|') && history.contains("Imported from -"),
        "{history}"
    );
    case.prints(
        &[
            "image",
            "inspect",
            "-f",
            "{{json .Config.Cmd}} {{.Os}}/{{.Architecture}} {{json .RepoTags}}",
            "busybox",
        ],
        r#"["sh"] linux/amd64 ["busybox:latest"]"#,
    )?;
    case.fails(&["image", "inspect", "nope"], 1, "No such image: nope")
}

pub(crate) fn in_use_is_refused(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "busybox"])?;
    case.fails(
        &["rmi", "busybox"],
        1,
        "conflict: unable to remove repository reference \"busybox\" (must force) - container",
    )?;
    case.ok(&["start", "c1"])?;
    case.ok(&["rm", "-f", "c1"])?;
    case.ok(&["rmi", "busybox"])?;
    Ok(())
}

pub(crate) fn malformed_names(case: &mut Case) -> Result<()> {
    case.fails(
        &["pull", "some/UPPER"],
        1,
        "invalid reference format: repository name",
    )?;
    case.fails(&["run", "a::b"], 125, "invalid reference format")?;
    case.fails(
        &["tag", "busybox", "Bad:tag"],
        1,
        "invalid reference format",
    )
}

pub(crate) fn pull_from_a_registry(case: &mut Case) -> Result<()> {
    let storage = fixtures::folder()?.join("registry");
    let _registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    let pulled = case.ok(&["pull", "127.0.0.1:5000/library/debian:bookworm"])?;
    let lines: Vec<_> = pulled.lines().collect();
    ensure!(
        lines[0] == "bookworm: Pulling from library/debian",
        "{pulled}"
    );
    ensure!(
        pulled.contains(": Pull complete\nDigest: sha256:"),
        "{pulled}"
    );
    ensure!(pulled.ends_with("Status: Downloaded newer image for 127.0.0.1:5000/library/debian:bookworm\n127.0.0.1:5000/library/debian:bookworm"), "{pulled}");
    let again = case.ok(&["pull", "127.0.0.1:5000/library/debian:bookworm"])?;
    ensure!(
        again.contains("Status: Image is up to date for 127.0.0.1:5000/library/debian:bookworm"),
        "{again}"
    );
    case.prints(
        &[
            "run",
            "--rm",
            "127.0.0.1:5000/library/debian:bookworm",
            "sh",
            "-c",
            ". /etc/os-release; echo $VERSION_CODENAME",
        ],
        "bookworm",
    )?;
    let digest = case.ok(&[
        "images",
        "--digests",
        "--format",
        "{{.Digest}}",
        "127.0.0.1:5000/library/debian",
    ])?;
    case.ok(&[
        "pull",
        "-q",
        &format!("127.0.0.1:5000/library/debian@{digest}"),
    ])?;
    case.fails(
        &["pull", "127.0.0.1:5000/library/debian:nope"],
        1,
        "manifest unknown",
    )?;
    case.fails(
        &["pull", "127.0.0.1:5000/no/such"],
        1,
        "127.0.0.1:5000/no/such",
    )
}

pub(crate) fn unknown_images(case: &mut Case) -> Result<()> {
    case.fails(
        &["run", "--pull", "never", "nope:1"],
        125,
        "No such image: nope:1",
    )?;
    case.fails(&["rmi", "nope"], 1, "No such image: nope")?;
    case.fails(&["tag", "nope", "x"], 1, "No such image: nope")?;
    case.fails(&["history", "nope"], 1, "No such image: nope")
}

pub(crate) fn df_adds_up(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "-v", "data:/d", "busybox"])?;
    let rows = case.ok(&[
        "system",
        "df",
        "--format",
        "{{.Type}} {{.TotalCount}} {{.Active}}",
    ])?;
    let rows: Vec<_> = rows.lines().collect();
    ensure!(
        rows == [
            "Images 1 1",
            "Containers 1 0",
            "Local Volumes 1 1",
            "Build Cache 0 0"
        ],
        "{rows:?}"
    );
    case.ok(&["system", "df", "-v"])?;
    Ok(())
}

/// Bytes of images, containers and volumes, as the daemon says.
fn df(case: &Case) -> Result<[i64; 3]> {
    let answer = case.engine.api("GET", "/v1.41/system/df", None)?;
    let body = answer.json();
    let sum = |rows: &Value, pointer: &str| -> i64 {
        let rows = rows.as_array().into_iter().flatten();
        rows.filter_map(|row| row.pointer(pointer)?.as_i64()).sum()
    };
    Ok([
        body["LayersSize"].as_i64().context("no LayersSize")?,
        sum(&body["Containers"], "/SizeRw"),
        sum(&body["Volumes"], "/UsageData/Size"),
    ])
}

/// Bytes that the daemon's folder takes on the disk.
fn du(case: &Case) -> Result<i64> {
    let root = case.engine.data_root().display().to_string();
    let line = tool(&case.engine.world, &["du", "-sx", "--block-size=1", &root])?;
    let count = line.split_whitespace().next().context("du says nothing")?;
    Ok(count.parse()?)
}

pub(crate) fn df_says_what_the_disk_says(case: &mut Case) -> Result<()> {
    let about = |said: i64, is: i64| (said - is).abs() < is / 20;
    let (before, taken) = (df(case)?, du(case)?);
    let fill =
        |place: &str| format!("dd if=/dev/urandom of={place} bs=1M count=20 2> /dev/null; sync");
    let args = [
        "run",
        "--name",
        "c1",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
    ];
    case.ok(&[&args[..], &[&fill("/one")]].concat())?;
    let (container, with_container) = (df(case)?, du(case)?);
    ensure!(about(container[1], 20 << 20), "a container: {container:?}");
    ensure!(about(with_container - taken, 20 << 20), "{with_container}");
    case.ok(&["commit", "c1", "filled"])?;
    case.ok(&["rm", "c1"])?;
    let (image, with_image) = (df(case)?, du(case)?);
    // However often it is kept.
    ensure!(
        about(image[0] - before[0], with_image - taken) && image[1] == before[1],
        "an image: {before:?}, {image:?}, {taken}, {with_image}"
    );
    let args = ["run", "--rm", "-v", "data:/data", "busybox", "sh", "-c"];
    case.ok(&[&args[..], &[&fill("/data/one")]].concat())?;
    let (volume, with_volume) = (df(case)?, du(case)?);
    ensure!(
        about(volume[2], 20 << 20) && about(with_volume - with_image, 20 << 20),
        "a volume: {volume:?}, {with_volume}"
    );
    // What shares everything takes nothing.
    case.ok(&["tag", "filled", "again"])?;
    ensure!(df(case)? == volume, "a tag takes room");
    case.ok(&["rmi", "filled", "again"])?;
    case.ok(&["volume", "rm", "data"])?;
    let after = df(case)?;
    ensure!(
        (after[0] - before[0]).abs() < 1 << 20 && after[1..] == before[1..],
        "{before:?} and {after:?}"
    );
    ensure!((du(case)? - taken).abs() < 4 << 20, "something stays");
    Ok(())
}

pub(crate) fn save_archive_loads_again(case: &mut Case) -> Result<()> {
    let archive = fixtures::folder()?.join("busybox.tar");
    let archive = archive.to_string_lossy();
    case.ok(&["rmi", "busybox"])?;
    case.prints(&["load", "-i", &archive], "Loaded image: busybox:latest")?;
    case.prints(
        &["load", "-q", "-i", &archive],
        "Loaded image: busybox:latest",
    )?;
    case.prints(&["run", "--rm", "busybox", "echo", "loaded"], "loaded")
}

/// An archive that cannot be finished does not end like one that is: no client takes it for the whole.
pub(crate) fn a_save_that_breaks_off(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It keeps its layers in another form");
    }
    let layer = [
        "image",
        "inspect",
        "-f",
        "{{index .RootFS.Layers 0}}",
        "busybox",
    ];
    let layer = case.ok(&layer)?.replace(':', "/");
    let blobs = case.engine.world.path().join("data/content/blobs");
    let blob = std::fs::File::options()
        .write(true)
        .open(blobs.join(layer))?;
    blob.set_len(4096)?;
    // Each client has its own words for it.
    case.fails(&["save", "busybox"], 1, "")
}
