//! Images: names, removal, pull from a real registry, archives.

use anyhow::{Result, ensure};
use wharf_testkit::{Registry, fixtures};

use crate::Case;

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
