//! What becomes of a build in BuildKit's terms, through the stock buildx plugin with a builder of its own: caches and layouts in
//! folders, compression, times, policies, the daemon's own rules.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::buildx::{Files, document, layout, remote};
use super::containers::until;
use crate::Case;
use crate::case::skip;

const STAGES: &[(&str, &str)] = &[
    (
        "Dockerfile",
        "FROM busybox AS tool\nRUN --network=none echo tool > /tool\nFROM busybox\nCOPY f /f\n\
         COPY --from=tool /tool /tool\nRUN --network=none cat /f > /g\n",
    ),
    ("f", "F\n"),
];

/// A builder with every exporter; none against dockerd, whose socket speaks no HTTP/2 from the first byte.
fn files(case: &Case, texts: &[(&str, &str)]) -> Result<Option<Files>> {
    if case.engine.kind.is_dockerd() {
        return Ok(None);
    }
    let files = Files::new(texts)?;
    remote(&files, case)?;
    Ok(Some(files))
}

fn cached(said: &str) -> usize {
    said.matches("CACHED").count()
}

fn read_json(path: &str) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| path.to_owned())?;
    Ok(serde_json::from_slice(&bytes)?)
}

pub(crate) fn caches_in_a_folder(case: &mut Case) -> Result<()> {
    let Some(files) = files(case, STAGES)? else {
        return Ok(());
    };
    let forget = || -> Result<()> {
        let run = files.run(case, &["buildx", "prune", "-af"])?;
        ensure!(run.code == 0, "{run:?}");
        Ok(())
    };
    let nothing = ["-o", "type=cacheonly"];
    let build = |args: &[&str]| files.build(case, &[&nothing, args].concat());
    for options in [
        "",
        ",compression=zstd,compression-level=9",
        ",image-manifest=false",
    ] {
        let to = format!("type=local,dest=cache,mode=max{options}");
        let said = build(&["--no-cache", "--cache-to", &to])?;
        ensure!(
            said.contains("exporting cache to client directory"),
            "{said}"
        );
        forget()?;
        let said = build(&["--cache-from", "type=local,src=cache"])?;
        ensure!(cached(&said) >= 4, "{options}: {said}");
        forget()?;
        std::fs::remove_dir_all(files.path("cache"))?;
    }
    // Only what the result has; and the image is the same, with its times.
    let to = "type=local,dest=cache,mode=min";
    let id = |name: &str| case.ok(&["image", "inspect", "-f", "{{.Id}}", name]);
    files.build(case, &["-t", "first", "-o", "type=image", "--cache-to", to])?;
    forget()?;
    let from = "type=local,src=cache";
    let said = files.build(
        case,
        &["-t", "again", "-o", "type=image", "--cache-from", from],
    )?;
    ensure!(cached(&said) >= 2, "{said}");
    ensure!(id("first")? == id("again")?, "the image is another one");
    case.prints(&["run", "--rm", "again", "cat", "/g", "/tool"], "F\ntool")?;
    // What is not whole is no cache, and no harm.
    case.ok(&["rmi", "-f", "first", "again"])?;
    forget()?;
    let blobs = std::fs::read_dir(files.path("cache/blobs/sha256"))?;
    for blob in blobs {
        let path = blob?.path();
        if !std::fs::read(&path)?.starts_with(b"{") {
            std::fs::write(path, "damaged")?;
        }
    }
    let said = build(&["--cache-from", from])?;
    ensure!(cached(&said) == 0, "{said}");
    let run = files.run(
        case,
        &[
            "buildx",
            "build",
            "--cache-from",
            "type=local,src=none",
            ".",
        ],
    )?;
    ensure!(run.code == 0, "{run:?}");
    Ok(())
}

pub(crate) fn layouts_in_folders(case: &mut Case) -> Result<()> {
    let Some(files) = files(case, STAGES)? else {
        return Ok(());
    };
    files.build(
        case,
        &[
            "-o",
            "type=oci,dest=made,tar=false,name=made:one",
            "--provenance=true",
        ],
    )?;
    let index = read_json(&files.path("made/index.json"))?;
    ensure!(
        index["manifests"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{index}"
    );
    ensure!(
        Path::new(&files.path("made/oci-layout")).exists(),
        "no oci-layout"
    );
    // Every blob is there, and is what it is called.
    let check =
        "cd made/blobs/sha256 && for f in *; do echo \"$f  $f\"; done | sha256sum -c --quiet";
    let checked = std::process::Command::new("sh")
        .args(["-c", check])
        .current_dir(files.path("."))
        .status()?;
    ensure!(checked.success(), "a blob is not what it is called");
    // It is what another build stands on, and takes from.
    files.write(
        "Dockerfile",
        "FROM base\nRUN --network=none cat /g /tool > /both\nCOPY --from=base /g /h\n",
    )?;
    let context = ["--build-context", "base=oci-layout://./made"];
    let build = || {
        files.build(
            case,
            &[&context[..], &["-t", "next", "-o", "type=image"]].concat(),
        )
    };
    let said = build()?;
    ensure!(
        said.contains("[context base] OCI load from client"),
        "{said}"
    );
    case.prints(&["run", "--rm", "next", "cat", "/both", "/h"], "F\ntool\nF")?;
    // A session has another name for it each time; it is the same all the same.
    let said = build()?;
    ensure!(cached(&said) >= 2, "{said}");
    // Layers that are damaged are not taken, though the client says that they are right.
    let run = files.run(case, &["buildx", "prune", "-af"])?;
    ensure!(run.code == 0, "{run:?}");
    case.ok(&["rmi", "-f", "next"])?;
    for blob in std::fs::read_dir(files.path("made/blobs/sha256"))? {
        let path = blob?.path();
        let mut bytes = std::fs::read(&path)?;
        if !bytes.starts_with(b"{") {
            bytes.push(0);
            std::fs::write(path, bytes)?;
        }
    }
    let args = [&["buildx", "build"], &context[..], &["--no-cache", "."]].concat();
    let run = files.run(case, &args)?;
    ensure!(run.code != 0, "{run:?}");
    let missing = [
        "buildx",
        "build",
        "--build-context",
        "base=oci-layout://none",
        ".",
    ];
    ensure!(files.run(case, &missing)?.code != 0, "no such layout");
    Ok(())
}

/// The media types of an image's layers in an archive.
fn layer_types(path: &str) -> Result<Vec<String>> {
    let (blobs, top) = layout(path)?;
    let manifest = document(&blobs, &top["manifests"][0])?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    let types = layers
        .iter()
        .filter_map(|layer| layer["mediaType"].as_str());
    Ok(types
        .map(|kind| kind.rsplit('.').next().unwrap_or_default().to_owned())
        .collect())
}

pub(crate) fn layers_as_asked(case: &mut Case) -> Result<()> {
    let Some(files) = files(case, STAGES)? else {
        return Ok(());
    };
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let _registry = wharf_testkit::Registry::serve(&case.engine.world, &storage, 5000)?;
    case.ok(&["tag", "busybox", "localhost:5000/busybox"])?;
    case.ok(&["push", "-q", "localhost:5000/busybox"])?;
    case.ok(&["rmi", "-f", "busybox", "localhost:5000/busybox"])?;
    files.write(
        "Dockerfile",
        "FROM localhost:5000/busybox\nRUN --network=none yes text | head -n 100000 > /f\n",
    )?;
    let build = |options: &str| -> Result<Vec<String>> {
        let out = format!("type=oci,dest=made.tar{options}");
        files.build(case, &["-o", &out, "--provenance=false"])?;
        layer_types(&files.path("made.tar"))
    };
    // What comes compressed stays so, unless it is to be another way.
    let mixed = build(",compression=zstd")?;
    ensure!(mixed == ["tar+gzip", "tar+zstd"], "{mixed:?}");
    let forced = build(",compression=zstd,force-compression=true")?;
    ensure!(forced == ["tar+zstd", "tar+zstd"], "{forced:?}");
    let plain = build(",compression=uncompressed,force-compression=true")?;
    ensure!(plain == ["tar", "tar"], "{plain:?}");
    let size = |level: u32| -> Result<u64> {
        build(&format!(",compression=gzip,compression-level={level}"))?;
        Ok(std::fs::metadata(files.path("made.tar"))?.size())
    };
    ensure!(size(9)? < size(1)?, "the level makes no difference");
    let bad = [
        "compression=lz4",
        "compression-level=x",
        "compression=estargz",
    ];
    for options in bad {
        let out = format!("type=oci,dest=made.tar,{options}");
        let run = files.run(case, &["buildx", "build", "-o", &out, "."])?;
        ensure!(run.code != 0, "{options}: {run:?}");
    }
    // By its digest alone: no tag means it, here or there.
    let out = "type=image,name=localhost:5000/made,push=true,push-by-digest=true";
    files.build(
        case,
        &["-o", out, "--metadata-file", "meta", "--provenance=false"],
    )?;
    let digest = read_json(&files.path("meta"))?["containerimage.digest"].clone();
    let digest = digest.as_str().context("no digest")?;
    let tags = case
        .engine
        .world
        .sh("curl -s http://localhost:5000/v2/made/tags/list")?;
    ensure!(!tags.contains("latest"), "{tags}");
    case.ok(&["pull", "-q", &format!("localhost:5000/made@{digest}")])?;
    Ok(())
}

pub(crate) fn the_same_bytes_twice(case: &mut Case) -> Result<()> {
    let Some(files) = files(
        case,
        &[
            (
                "Dockerfile",
                "FROM busybox\nCOPY f /f\nRUN --network=none mkdir /d && date +%N > /dev/null && echo x > /d/x && touch -d @1000 /d/old\n",
            ),
            ("f", "F\n"),
        ],
    )?
    else {
        return Ok(());
    };
    let epoch = [
        "--build-arg",
        "SOURCE_DATE_EPOCH=1700000000",
        "--no-cache",
        "--provenance=false",
    ];
    let archive = |name: &str| -> Result<Vec<u8>> {
        let out = format!("type=oci,dest={name},rewrite-timestamp=true,name=made");
        files.build(case, &[&epoch[..], &["-o", &out]].concat())?;
        Ok(std::fs::read(files.path(name))?)
    };
    let first = archive("one.tar")?;
    // The file's own time is another one then.
    files.write("f", "F\n")?;
    ensure!(archive("two.tar")? == first, "the archives differ");
    case.ok(&["load", "-i", &files.path("one.tar")])?;
    let times = [
        "run", "--rm", "made", "stat", "-c", "%Y", "/f", "/d/x", "/d/old",
    ];
    case.prints(&times, "1700000000\n1700000000\n1000")?;
    case.prints(
        &["image", "inspect", "-f", "{{.Created}}", "made"],
        "2023-11-14T22:13:20Z",
    )?;
    // Into the store too, and without the option only the configuration has the time.
    let out = "type=image,name=stored,rewrite-timestamp=true";
    files.build(case, &[&epoch[..], &["-o", out]].concat())?;
    let layers = |name: &str| case.ok(&["image", "inspect", "-f", "{{.RootFS.Layers}}", name]);
    ensure!(
        layers("stored")? == layers("made")?,
        "the store has other layers"
    );
    files.build(
        case,
        &[&epoch[..], &["-o", "type=image,name=kept"]].concat(),
    )?;
    ensure!(layers("kept")? != layers("made")?, "times changed unasked");
    // Files that leave an image have the one time.
    files.build(case, &[&epoch[..], &["-o", "type=local,dest=out"]].concat())?;
    let time = std::fs::metadata(files.path("out/d/old"))?.mtime();
    ensure!(time == 1_700_000_000, "{time}");
    files.build(
        case,
        &[&epoch[..], &["-o", "type=tar,dest=out.tar"]].concat(),
    )?;
    let mut out = tar::Archive::new(std::fs::File::open(files.path("out.tar"))?);
    for entry in out.entries()? {
        let entry = entry?;
        ensure!(
            entry.header().mtime()? == 1_700_000_000,
            "{:?}",
            entry.path()
        );
    }
    Ok(())
}

/// A scanner of one's own, as there is no other without a network: a bill of materials goes beside the image.
pub(crate) fn bills_of_materials(case: &mut Case) -> Result<()> {
    let Some(files) = files(case, STAGES)? else {
        return Ok(());
    };
    let scan = r#"#!/bin/sh
set -e
if touch "$BUILDKIT_SCAN_SOURCE/x" 2> /dev/null; then exit 9; fi
cat > "$BUILDKIT_SCAN_DESTINATION/$(basename "$BUILDKIT_SCAN_SOURCE").spdx.json" <<END
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "$KIND",
 "predicate": {"files": "$(ls "$BUILDKIT_SCAN_SOURCE" | tr '\n' ' ')", "mode": "$BUILDKIT_SCAN_mode"}}
END
"#;
    files.write("scanner/scan", scan)?;
    files.write(
        "scanner/Dockerfile",
        "FROM busybox\nCOPY --chmod=755 scan /\nENV KIND=https://spdx.dev/Document\nENTRYPOINT [\"/scan\"]\n",
    )?;
    let args = ["buildx", "build", "-t", "scanner", "--load", "scanner"];
    let run = files.run(case, &args)?;
    ensure!(run.code == 0, "{run:?}");
    let sbom = ["--attest", "type=sbom,generator=scanner,mode=fast"];
    let out = ["-o", "type=oci,dest=a.tar", "--provenance=true"];
    let said = files.build(case, &[&sbom[..], &out].concat())?;
    ensure!(said.contains("generating sbom using scanner"), "{said}");
    let (blobs, top) = layout(&files.path("a.tar"))?;
    let index = document(&blobs, &top["manifests"][0])?;
    let image = &index["manifests"][0];
    let about = document(&blobs, &index["manifests"][1])?;
    let kinds = about["layers"].as_array().context("no layers")?.iter();
    let kinds: Vec<&Value> = kinds
        .map(|layer| &layer["annotations"]["in-toto.io/predicate-type"])
        .collect();
    ensure!(
        kinds
            == [
                "https://spdx.dev/Document",
                "https://slsa.dev/provenance/v0.2"
            ],
        "{about}"
    );
    let statement = document(&blobs, &about["layers"][0])?;
    let found = statement["predicate"]["files"].as_str().unwrap_or_default();
    ensure!(
        found.contains("f g ") && found.contains("tool"),
        "{statement}"
    );
    ensure!(statement["predicate"]["mode"] == "fast", "{statement}");
    let digest = &statement["subject"][0]["digest"]["sha256"];
    let own = image["digest"].as_str().context("no digest")?;
    ensure!(
        digest.as_str().is_some_and(|hex| own.ends_with(hex)),
        "{statement}"
    );
    // A scanner that says another thing, and one that says nothing at all.
    files.write(
        "scanner/Dockerfile",
        "FROM scanner\nENV KIND=https://example/other\n",
    )?;
    let run = files.run(
        case,
        &["buildx", "build", "-t", "wrong", "--load", "scanner"],
    )?;
    ensure!(run.code == 0, "{run:?}");
    for (generator, words) in [
        ("wrong", "does not match required predicate type"),
        ("busybox", "mode"),
        ("none/of:these", "none/of:these"),
    ] {
        let sbom = format!("type=sbom,generator={generator}");
        let args = [
            "buildx",
            "build",
            "--attest",
            &sbom,
            "-o",
            "type=oci,dest=b.tar",
            ".",
        ];
        let run = files.run(case, &args)?;
        let is_good = generator == "busybox";
        ensure!((run.code == 0) == is_good, "{generator}: {run:?}");
        ensure!(
            is_good || run.stderr.contains(words),
            "{generator}: {run:?}"
        );
    }
    Ok(())
}

/// `--no-cache-filter`: the named stages alone are built again.
pub(crate) fn stages_without_the_cache(case: &mut Case) -> Result<()> {
    let files = Files::new(&[(
        "Dockerfile",
        "FROM busybox AS one\nRUN cat /proc/sys/kernel/random/uuid > /one\nFROM busybox AS two\n\
         RUN cat /proc/sys/kernel/random/uuid > /two\nFROM busybox\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
    )])?;
    let build = |args: &[&str]| -> Result<(String, String)> {
        files.build(case, &[args, &["-t", "made"]].concat())?;
        let both = case.ok(&["run", "--rm", "made", "cat", "/one", "/two"])?;
        let (one, two) = both.split_once('\n').context("two lines")?;
        Ok((one.to_owned(), two.to_owned()))
    };
    let first = build(&[])?;
    ensure!(build(&[])? == first, "built again");
    let second = build(&["--no-cache-filter", "Two"])?;
    ensure!(
        second.0 == first.0 && second.1 != first.1,
        "{first:?}, {second:?}"
    );
    let third = build(&["--no-cache-filter", "one,two"])?;
    ensure!(third.0 != second.0 && third.1 != second.1, "{third:?}");
    Ok(())
}

pub(crate) fn sources_have_policies(case: &mut Case) -> Result<()> {
    let Some(files) = files(
        case,
        &[("Dockerfile", "FROM busybox\nCOPY Dockerfile /f\n")],
    )?
    else {
        return Ok(());
    };
    case.ok(&["tag", "busybox", "other:1"])?;
    let build = |rules: Value| -> Result<(bool, String)> {
        let policy = json!({ "version": 1, "rules": rules });
        files.write("policy.json", &policy.to_string())?;
        let args = [
            "buildx",
            "build",
            "--progress",
            "plain",
            "-o",
            "type=cacheonly",
            ".",
        ];
        let mut command = files.command(case, &args);
        command.env(
            "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
            files.path("policy.json"),
        );
        let output = command.output()?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    let deny = |name: &str| json!({ "action": "DENY", "selector": { "identifier": name } });
    let (good, said) = build(json!([deny("docker-image://docker.io/library/nothing:*")]))?;
    ensure!(good, "{said}");
    let (good, said) = build(json!([deny("docker-image://docker.io/library/*")]))?;
    ensure!(!good && said.contains("not allowed by policy"), "{said}");
    let (good, said) = build(json!([deny("local://context")]))?;
    ensure!(!good && said.contains("not allowed by policy"), "{said}");
    let allow = json!({ "action": "ALLOW", "selector": { "identifier": "docker-image://docker.io/library/busybox:latest*" } });
    let (good, said) = build(json!([deny("docker-image://*"), allow]))?;
    ensure!(good, "{said}");
    let convert = json!({
        "action": "CONVERT",
        "selector": { "identifier": "docker-image://docker.io/library/busybox:*" },
        "updates": { "identifier": "docker-image://docker.io/library/other:1" },
    });
    let (good, said) = build(json!([convert]))?;
    ensure!(
        good && said.contains("FROM docker.io/library/other:1"),
        "{said}"
    );
    Ok(())
}

/// The key `builder` of daemon.json.
pub(crate) fn the_daemons_rules_for_builds(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let insecure = "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --security=insecure --network=none mount -t tmpfs t /tmp && echo y > /mounted\n";
    let files = Files::new(&[("Dockerfile", insecure)])?;
    let build = |case: &Case, args: &[&str]| {
        let args = [&["buildx", "build", "-t", "made"], args, &["."]].concat();
        files.run(case, &args)
    };
    let allow = ["--allow", "security.insecure"];
    let run = build(case, &allow)?;
    ensure!(
        run.code != 0 && run.stderr.contains("security.insecure is not allowed"),
        "{run:?}"
    );
    let config = json!({ "builder": {
        "entitlements": { "network-host": false, "security-insecure": true },
        "gc": { "enabled": true, "policy": [{ "all": true, "keepStorage": "1MB" }] },
    }});
    case.engine.stop()?;
    case.engine.configure(config.to_string());
    case.engine.launch()?;
    let run = build(case, &[])?;
    ensure!(
        run.code != 0 && run.stderr.contains("is not allowed"),
        "{run:?}"
    );
    let run = build(case, &allow)?;
    ensure!(run.code == 0, "{run:?}");
    case.prints(&["run", "--rm", "made", "cat", "/mounted"], "y")?;
    let run = build(case, &["--allow", "network.host", "--network", "host"])?;
    ensure!(
        run.code != 0 && run.stderr.contains("network.host is not allowed"),
        "{run:?}"
    );
    let shown = files.run(case, &["buildx", "inspect"])?.stdout;
    ensure!(
        shown.contains("GC Policy rule#0") && shown.contains("Keep Bytes"),
        "{shown}"
    );
    // What is above the limit goes when a build has ended, what an image has stays.
    case.engine.stop()?;
    case.engine.launch()?;
    files.write(
        "Dockerfile",
        "FROM busybox\nRUN --network=none head -c 3000000 /dev/zero > /large\nRUN --network=none rm /large\n",
    )?;
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(run.code == 0, "{run:?}");
    until(|| {
        let used = files.run(case, &["buildx", "du", "--verbose"])?.stdout;
        Ok(!used.contains("head -c"))
    })?;
    case.prints(&["run", "--rm", "made", "cat", "/mounted"], "y")?;
    // What makes no sense is no setting.
    case.engine.stop()?;
    case.engine
        .configure(json!({ "builder": { "gc": { "keep": 1 } } }).to_string());
    let error = case.engine.launch().err().context("it starts")?.to_string();
    ensure!(error.contains("builder.gc.keep"), "{error}");
    case.engine.configure("{}".to_owned());
    case.engine.launch()
}
