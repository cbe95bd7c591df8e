//! Archives of images: whoever wrote one, it loads; and what we write, everybody loads.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use wharf_testkit::{Engine, EngineKind, EngineOptions};

use super::registries::{podman, tool};
use crate::Case;

/// An image with a layer of its own, on top of busybox.
const IMAGE: &str = "two:latest";

/// What an archive must bring: the digests of the layers, uncompressed, and what the last of them holds.
#[derive(Debug, PartialEq)]
struct Seen {
    layers: String,
    says: String,
}

fn seen(case: &Case) -> Result<Seen> {
    Ok(Seen {
        layers: case.ok(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", IMAGE])?,
        says: case.ok(&["run", "--rm", IMAGE, "cat", "/mark"])?,
    })
}

fn id(case: &Case) -> Result<String> {
    case.ok(&["image", "inspect", "-f", "{{.Id}}", IMAGE])
}

/// An archive that one of the programs wrote of ours, and whether an image keeps its id on the way.
struct Written {
    by: &'static str,
    archive: PathBuf,
    keeps_id: bool,
}

/// A real dockerd loads ours and saves what it loaded.
fn through_dockerd(kind: EngineKind, from: &Path, to: &Path) -> Result<()> {
    let engine = Engine::start(kind, EngineOptions::default())?;
    let own = |name: &str| engine.world.path().join(name);
    std::fs::copy(from, own("in.tar"))?;
    let (input, output) = (own("in.tar"), own("out.tar"));
    engine.docker_ok(&["load", "-q", "-i", &input.display().to_string()])?;
    engine.docker_ok(&["save", "-o", &output.display().to_string(), IMAGE])?;
    std::fs::copy(output, to)?;
    Ok(())
}

fn write_all(case: &Case, ours: &Path) -> Result<Vec<Written>> {
    let world = &case.engine.world;
    let path = |name: &str| world.path().join(name);
    let text = |path: &Path| path.display().to_string();
    let mut all = vec![Written {
        by: "itself",
        archive: ours.to_owned(),
        keeps_id: true,
    }];
    let mut written = |by, archive: PathBuf, keeps_id| {
        all.push(Written {
            by,
            archive,
            keeps_id,
        });
    };
    let from = format!("docker-archive:{}:{IMAGE}", text(ours));
    for (by, transport, name, keeps_id) in [
        (
            "skopeo, Docker's",
            "docker-archive",
            "skopeo-docker.tar",
            true,
        ),
        // The configuration is written anew, in OCI's words.
        ("skopeo, OCI's", "oci-archive", "skopeo-oci.tar", false),
    ] {
        let to = format!("{transport}:{}:{IMAGE}", text(&path(name)));
        tool(world, &["skopeo", "copy", "-q", &from, &to])?;
        written(by, path(name), keeps_id);
    }
    podman(world, &["load", "-q", "-i", &text(ours)])?;
    for (by, format, name, keeps_id) in [
        (
            "podman, Docker's",
            "docker-archive",
            "podman-docker.tar",
            true,
        ),
        ("podman, OCI's", "oci-archive", "podman-oci.tar", false),
    ] {
        let to = text(&path(name));
        let words = ["save", "-q", "--format", format, "-o", &to, IMAGE];
        podman(world, &words)?;
        written(by, path(name), keeps_id);
    }
    for (by, kind, name) in [
        ("Docker 20.10", EngineKind::Dockerd, "dockerd-20.tar"),
        ("Docker 26.1", EngineKind::Dockerd26, "dockerd-26.tar"),
    ] {
        through_dockerd(kind, ours, &path(name))?;
        written(by, path(name), true);
    }
    Ok(all)
}

pub(crate) fn whoever_wrote_it_it_loads(case: &mut Case) -> Result<()> {
    let write = "echo two layers > /mark; ln /mark /linked; rm /bin/vi";
    case.ok(&["run", "--name", "made", "busybox", "sh", "-c", write])?;
    case.ok(&["commit", "made", IMAGE])?;
    case.ok(&["rm", "made"])?;
    let (first, first_id) = (seen(case)?, id(case)?);
    ensure!(first.says == "two layers", "{first:?}");
    let ours = case.engine.world.path().join("ours.tar");
    case.ok(&["save", "-o", &ours.display().to_string(), IMAGE])?;
    let written = write_all(case, &ours)?;
    case.ok(&["rmi", "busybox"])?;
    for one in written {
        // A dockerd over overlay2 knows its own lists alone.
        if case.engine.kind.is_dockerd() && one.by.ends_with("OCI's") {
            continue;
        }
        case.ok(&["rmi", IMAGE])?;
        let archive = one.archive.display().to_string();
        let said = case.ok(&["load", "-i", &archive])?;
        let what = || format!("an archive by {}", one.by);
        ensure!(
            said == format!("Loaded image: {IMAGE}"),
            "{}: {said}",
            what()
        );
        ensure!(seen(case).with_context(what)? == first, "{}", what());
        ensure!(!one.keeps_id || id(case)? == first_id, "{}: its id", what());
        case.fails(&["run", "--rm", IMAGE, "ls", "/bin/vi"], 1, "No such file")?;
        // And once more, compressed.
        if one.by == "itself" {
            let world = &case.engine.world;
            tool(world, &["gzip", "-k", &archive])?;
            case.ok(&["rmi", IMAGE])?;
            case.ok(&["load", "-q", "-i", &format!("{archive}.gz")])?;
            ensure!(seen(case)? == first, "a compressed archive");
        }
    }
    Ok(())
}

pub(crate) fn import_and_commit_keep_what_there_is(case: &mut Case) -> Result<()> {
    let script = "mkdir /made; echo data > /made/file; chown 12:34 /made/file; chmod 4755 /made/file; \
        ln -s file /made/link; mkfifo /made/pipe; touch -d @86400 /made/file";
    case.ok(&["run", "--name", "made", "busybox", "sh", "-c", script])?;
    let look = "stat -c '%n %a %u:%g %Y %F' /made/file /made/pipe; readlink /made/link";
    let flat = case
        .engine
        .world
        .path()
        .join("flat.tar")
        .display()
        .to_string();
    case.ok(&["export", "-o", &flat, "made"])?;
    let change = [
        "--change",
        "CMD [\"cat\", \"/made/file\"]",
        "--change",
        "ENV A=\"b c\"",
    ];
    let import = [
        &["import", "-m", "a message"][..],
        &change[..],
        &[&flat, "imported"],
    ]
    .concat();
    case.ok(&import)?;
    case.ok(&[
        &["commit", "-m", "a message"][..],
        &change[..],
        &["made", "committed"],
    ]
    .concat())?;
    let wanted = "/made/file 4755 12:34 86400 regular file\n/made/pipe 644 0:0";
    for image in ["imported", "committed"] {
        case.prints(&["run", "--rm", image], "data")?;
        let found = case.ok(&["run", "--rm", image, "sh", "-c", look])?;
        ensure!(
            found.starts_with(wanted) && found.ends_with("\nfile"),
            "{image}: {found}"
        );
        let format = "{{json .Config.Cmd}} {{.Comment}} {{index .Config.Env 0}}";
        let said = case.ok(&["image", "inspect", "-f", format, image])?;
        ensure!(
            said.starts_with(r#"["cat","/made/file"] a message "#),
            "{image}: {said}"
        );
        case.prints(&["run", "--rm", image, "sh", "-c", "echo $A"], "b c")?;
    }
    Ok(())
}

/// A layer that is here already is not looked for in the archive: docker-squash names members that are not in its own.
pub(crate) fn layers_that_are_here_need_no_member(case: &mut Case) -> Result<()> {
    case.ok(&["run", "--name", "made", "busybox", "touch", "/mark"])?;
    case.ok(&["commit", "made", IMAGE])?;
    case.ok(&["rm", "made"])?;
    let path = |name: &str| case.engine.world.path().join(name).display().to_string();
    let (saved, without) = (path("saved.tar"), path("without.tar"));
    case.ok(&["save", "-o", &saved, IMAGE])?;
    without_first_layer(&saved, &without)?;
    case.ok(&["rmi", IMAGE])?;
    // The first layer is busybox's.
    case.ok(&["load", "-q", "-i", &without])?;
    case.prints(&["run", "--rm", IMAGE, "ls", "/mark"], "/mark")?;
    case.ok(&["save", "-o", &path("again.tar"), IMAGE])?;
    case.ok(&["rmi", IMAGE, "busybox"])?;
    let args = ["load", "-q", "-i", without.as_str()];
    case.fails(&args, 1, "no such file or directory")
}

/// Docker's archive without the member of the first layer, and without the layout's list beside it.
fn without_first_layer(from: &str, to: &str) -> Result<()> {
    let open = || std::fs::File::open(from).map(tar::Archive::new);
    let mut first = String::new();
    for entry in open()?.entries()? {
        let entry = entry?;
        if entry.path()?.as_os_str() == "manifest.json" {
            let list: serde_json::Value = serde_json::from_reader(entry)?;
            let layer = list[0]["Layers"][0].as_str();
            first = layer.context("no layer")?.to_owned();
        }
    }
    let mut written = tar::Builder::new(std::fs::File::create(to)?);
    for entry in open()?.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let left_out = [first.as_str(), "index.json", "oci-layout"];
        if !left_out.iter().any(|name| path == Path::new(name)) {
            let mut header = entry.header().clone();
            written.append_data(&mut header, path, entry)?;
        }
    }
    Ok(written.finish()?)
}
