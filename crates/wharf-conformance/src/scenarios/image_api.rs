//! Every parameter and every field of the API's operations on images and registries.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::{Registry, api};

use super::containers::until;
use super::registries::tool;
use crate::Case;
use crate::case::skip;

const MULTI: &str = "localhost:5000/made/multi:1";
const AMD64: &str = "%7B%22os%22:%22linux%22,%22architecture%22:%22amd64%22%7D";
const ARM64: &str = "%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D";
const S390X: &str = "%7B%22os%22:%22linux%22,%22architecture%22:%22s390x%22%7D";

/// An empty registry on port 5000, and in it [`MULTI`], an image for two platforms with attestations; its digest.
fn with_index(case: &Case) -> Result<(Registry, String)> {
    let world = &case.engine.world;
    let storage = world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let registry = Registry::serve(world, &storage, 5000)?;
    let script = include_str!("image_api/push_index.py");
    let digest = tool(world, &["python3", "-c", script, "5000", "made/multi", "1"])?;
    Ok((registry, digest))
}

/// The parameter `filters`, escaped.
fn filters(text: &Value) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    let text: String = text.to_string().bytes().map(escape).collect();
    format!("filters={text}")
}

/// What rows of a list have at `pointer`.
fn all<'a>(rows: &'a Value, pointer: &str) -> Vec<&'a str> {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter_map(|row| row.pointer(pointer)?.as_str())
        .collect()
}

pub(crate) fn a_registry_is_asked_about_an_image(case: &mut Case) -> Result<()> {
    let (_registry, digest) = with_index(case)?;
    let target = format!("/distribution/{MULTI}/json");
    let said = case.expect("GET", &target, None, 200)?;
    ensure!(
        said["Descriptor"]["digest"] == digest.as_str()
            && said["Descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
            && said["Descriptor"]["size"].as_u64() > Some(0),
        "{said}"
    );
    ensure!(
        all(&said["Platforms"], "/architecture") == ["amd64", "arm64", "unknown", "unknown"]
            && all(&said["Platforms"], "/os") == ["linux", "linux", "unknown", "unknown"],
        "{said}"
    );
    // One that is for one platform says so in its configuration.
    case.ok(&["tag", "busybox", "localhost:5000/one:1"])?;
    case.ok(&["push", "-q", "localhost:5000/one:1"])?;
    let said = case.expect("GET", "/distribution/localhost:5000/one:1/json", None, 200)?;
    ensure!(
        said["Platforms"] == json!([{ "architecture": "amd64", "os": "linux" }]),
        "{said}"
    );
    let storage = case.engine.world.path().join("guarded");
    std::fs::create_dir_all(&storage)?;
    let _guarded = Registry::serve_somebody(&case.engine.world, &storage, 5002)?;
    // Debian's dockerd answers 500, where the description has 401.
    let nobody = match case.engine.kind.is_dockerd() {
        true => 500,
        false => 401,
    };
    // Not by the description, which has no 404.
    for (name, status, words) in [
        (
            "localhost:5000/one:2",
            404,
            "manifest unknown: manifest unknown",
        ),
        ("localhost:5002/one:1", nobody, "no basic auth credentials"),
    ] {
        let said = case
            .engine
            .api("GET", &format!("/distribution/{name}/json"), None)?;
        ensure!(
            said.status == status && said.message().contains(words),
            "{name}: {}: {}",
            said.status,
            said.message()
        );
    }
    let malformed = case
        .engine
        .api("GET", "/distribution/a%3A%3Ab/json", None)?;
    ensure!(malformed.status == 400, "{malformed:?}");
    Ok(())
}

pub(crate) fn images_are_listed_as_asked(case: &mut Case) -> Result<()> {
    let (_registry, digest) = with_index(case)?;
    case.ok(&["pull", "-q", MULTI])?;
    // A child that has no name of its own.
    case.ok(&["tag", "busybox", "other:1"])?;
    case.ok(&["create", "--name", "c1", "busybox", "true"])?;
    let id = case.ok(&["commit", "c1"])?;
    let names = |query: &str| -> Result<Vec<String>> {
        let rows = case.expect("GET", &format!("/images/json?{query}"), None, 200)?;
        let mut names: Vec<String> = rows
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| match row["RepoTags"][0].as_str() {
                Some(name) => name.to_owned(),
                None => row["Id"].as_str().unwrap_or_default().to_owned(),
            })
            .collect();
        names.sort();
        Ok(names)
    };
    for (wanted, found) in [
        (json!({"dangling": ["true"]}), vec![id.as_str()]),
        (
            json!({"dangling": ["false"]}),
            vec!["busybox:latest", MULTI],
        ),
        (json!({"label": ["made"]}), vec![MULTI]),
        (json!({"label": ["made=by hand"]}), vec![MULTI]),
        (json!({"label": ["made=otherwise"]}), vec![]),
        (json!({"reference": ["other"]}), vec!["other:1"]),
        (json!({"reference": ["localhost:5000/*/*"]}), vec![MULTI]),
        (json!({"before": ["busybox"]}), vec![MULTI]),
        (json!({"since": ["busybox"]}), vec![id.as_str()]),
        (json!({"until": ["2024-06-01T00:00:00Z"]}), vec![MULTI]),
        (
            json!({"until": ["2100-01-01T00:00:00Z", "2024-06-01T00:00:00Z"]}),
            vec![MULTI],
        ),
        (json!({"since": ["busybox", MULTI]}), vec![id.as_str()]),
    ] {
        if case.engine.kind == wharf_testkit::EngineKind::Dockerd && wanted.get("until").is_some() {
            continue;
        }
        let listed = names(&format!("all=true&{}", filters(&wanted)))?;
        ensure!(listed == found, "{wanted}: {listed:?}");
    }
    let row = |query: &str| -> Result<Value> {
        // By its label: a filter for names leaves the digests out.
        let only = filters(&json!({"label": ["made"]}));
        let rows = case.expect("GET", &format!("/images/json?{only}&{query}"), None, 200)?;
        Ok(rows[0].clone())
    };
    let shared = row("shared-size=true&digests=true")?;
    ensure!(
        shared["SharedSize"] == 0
            && shared["RepoDigests"][0]
                .as_str()
                .is_some_and(|name| name.ends_with(&digest)),
        "{shared}"
    );
    ensure!(row("")?["SharedSize"] == -1);
    let bad = case.engine.api(
        "GET",
        &format!("/images/json?{}", filters(&json!({"no": ["x"]}))),
        None,
    )?;
    ensure!(bad.message() == "invalid filter 'no'", "{bad:?}");
    Ok(())
}

pub(crate) fn manifests_of_an_image(case: &mut Case) -> Result<()> {
    // Of Docker's containerd store, which Debian's have not.
    if case.engine.kind.is_dockerd() {
        return Ok(());
    }
    let (_registry, digest) = with_index(case)?;
    case.ok(&["pull", "-q", MULTI])?;
    case.ok(&["create", "--name", "c1", MULTI])?;
    let only = filters(&json!({"reference": [MULTI]}));
    let listed = case.expect(
        "GET",
        &format!("/images/json?manifests=true&identity=true&{only}"),
        None,
        200,
    )?;
    let listed = &listed[0];
    ensure!(
        listed["Descriptor"]["digest"] == digest.as_str(),
        "{listed}"
    );
    let manifests = &listed["Manifests"];
    ensure!(
        all(manifests, "/Kind") == ["image", "image", "attestation", "attestation"],
        "{manifests}"
    );
    let (host, other) = (&manifests[0], &manifests[1]);
    let container = case.ok(&["ps", "-aq", "--no-trunc"])?;
    ensure!(
        host["Available"] == true
            && host["Size"]["Content"].as_u64() > Some(0)
            && host["Size"]["Total"].as_u64()
                == host["Size"]["Content"]
                    .as_u64()
                    .zip(host["ImageData"]["Size"]["Unpacked"].as_u64())
                    .map(|(content, unpacked)| content + unpacked)
            && host["ImageData"]["Containers"] == json!([container])
            && host["ImageData"]["Platform"] == json!({"architecture": "amd64", "os": "linux"})
            && host["ImageData"]["Identity"]["Pull"][0]["Repository"]
                == "localhost:5000/made/multi",
        "{host}"
    );
    ensure!(
        other["Available"] == false && other["ImageData"]["Containers"] == json!([]),
        "{other}"
    );
    ensure!(
        manifests[2]["AttestationData"]["For"] == host["ID"],
        "{manifests}"
    );
    let inspected = case.expect(
        "GET",
        &format!("/images/{MULTI}/json?manifests=true"),
        None,
        200,
    )?;
    ensure!(inspected["Manifests"] == *manifests, "{inspected}");
    ensure!(
        inspected["Identity"]["Pull"][0]["Repository"] == "localhost:5000/made/multi",
        "{inspected}"
    );
    // Not by the description, which has no 400.
    let both = format!("/images/{MULTI}/json?manifests=true&platform={AMD64}");
    let refused = case.engine.api("GET", &both, None)?;
    ensure!(
        refused.status == 400
            && refused.message()
                == "conflicting options: manifests and platform options cannot both be set",
        "{}: {}",
        refused.status,
        refused.message()
    );
    Ok(())
}

pub(crate) fn one_platform_of_several(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let (_registry, _) = with_index(case)?;
    case.ok(&["pull", "-q", MULTI])?;
    for operation in ["json", "history", "get"] {
        let target = |platform: &str| format!("/images/{MULTI}/{operation}?platform={platform}");
        let here = case.api("GET", &target(AMD64), None)?;
        ensure!(here.status == 200, "{operation}: {here:?}");
        // Not by the description, whose `get` has no 404.
        let missing = case.engine.api("GET", &target(ARM64), None)?;
        ensure!(
            missing.status == 404 && missing.text().contains("linux/arm64"),
            "{operation}: {}",
            missing.text()
        );
    }
    let text = format!("/images/create?fromImage={MULTI}&platform=linux/arm64");
    let pulled = case.engine.api("POST", &text, None)?;
    ensure!(
        pulled.status == 200 && !pulled.text().contains("errorDetail"),
        "{pulled:?}"
    );
    let arm = case.expect(
        "GET",
        &format!("/images/{MULTI}/json?platform={ARM64}"),
        None,
        200,
    )?;
    ensure!(arm["Architecture"] == "arm64", "{arm}");
    let history = case.expect(
        "GET",
        &format!("/images/{MULTI}/history?platform={ARM64}"),
        None,
        200,
    )?;
    ensure!(history[0]["CreatedBy"] == "COPY platform /", "{history}");
    // Out as one of the two, and in again as such.
    let archive = case.engine.api(
        "GET",
        &format!("/images/get?names={MULTI}&platform={ARM64}"),
        None,
    )?;
    ensure!(archive.status == 200, "{archive:?}");
    let removed = case.expect(
        "DELETE",
        &format!("/images/{MULTI}?platforms={ARM64}&force=true"),
        None,
        200,
    )?;
    ensure!(
        removed.as_array().is_some_and(|all| !all.is_empty()),
        "{removed}"
    );
    case.expect(
        "GET",
        &format!("/images/{MULTI}/json?platform={ARM64}"),
        None,
        404,
    )?;
    let load = |platform: &str| {
        let target = format!("/images/load?quiet=true&platform={platform}");
        let kind = [("Content-Type", "application/x-tar")];
        api::raw(&case.engine.socket(), "POST", &target, &kind, &archive.body)
    };
    let none = load(S390X)?;
    ensure!(none.text().contains("linux/s390x"), "{}", none.text());
    let loaded = load(ARM64)?;
    ensure!(
        loaded.status == 200 && !loaded.text().contains("errorDetail"),
        "{}",
        loaded.text()
    );
    case.expect(
        "GET",
        &format!("/images/{MULTI}/json?platform={ARM64}"),
        None,
        200,
    )?;
    // The name is that platform's now.
    for (platform, words) in [(ARM64, "1: digest: sha256:"), (S390X, "linux/s390x")] {
        let target = format!("/images/{MULTI}/push?platform={platform}");
        let auth = [("X-Registry-Auth", "e30=")];
        let pushed = api::raw(&case.engine.socket(), "POST", &target, &auth, b"")?;
        ensure!(pushed.text().contains(words), "{}", pushed.text());
    }
    Ok(())
}

pub(crate) fn attestations_are_told(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let (_registry, _) = with_index(case)?;
    case.ok(&["pull", "-q", MULTI])?;
    let ask = |query: &str, status| {
        case.expect(
            "GET",
            &format!("/images/{MULTI}/attestations?{query}"),
            None,
            status,
        )
    };
    let provenance = "https://slsa.dev/provenance/v0.2";
    let found = ask(
        &format!("platform={AMD64}&type={provenance}&statement=true"),
        200,
    )?;
    ensure!(
        found[0]["PredicateType"] == provenance
            && found[0]["Statement"]["predicate"] == json!({"by": "hand"})
            && found[0]["Descriptor"]["annotations"]["in-toto.io/predicate-type"] == provenance,
        "{found}"
    );
    ensure!(ask("type=https://spdx.dev/Document", 200)? == json!([]));
    ensure!(ask("", 200)?[0].get("Statement").is_none());
    ask("platform=nonsense", 400)?;
    ask(&format!("platform={S390X}"), 404)?;
    let none = case.expect("GET", "/images/nope/attestations", None, 404)?;
    ensure!(
        none["message"] == "No such image: nope:latest" || none["message"] == "No such image: nope",
        "{none}"
    );
    Ok(())
}

pub(crate) fn an_import_is_what_it_is_told(case: &mut Case) -> Result<()> {
    let export = case.engine.api("GET", "/images/busybox/get", None)?;
    ensure!(
        export.status == 200 && export.body.len() > 512,
        "{}",
        export.status
    );
    // One file.
    let archive = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "file", &b"hello"[..])?;
        tar.into_inner()?
    };
    let import = |query: &str| {
        let target = format!("/images/create?fromSrc=-&{query}");
        let kind = [("Content-Type", "application/x-tar")];
        api::raw(&case.engine.socket(), "POST", &target, &kind, &archive)
    };
    let imported = import(
        "repo=made&tag=by&message=by%20hand&changes=ENV%20A=b&changes=CMD%20sh&platform=linux/amd64",
    )?;
    ensure!(imported.status == 200, "{}", imported.text());
    let image = case.expect("GET", "/images/made:by/json", None, 200)?;
    ensure!(
        image["Comment"] == "by hand"
            && image["Config"]["Env"] == json!(["A=b"])
            && image["Config"]["Cmd"] == json!(["/bin/sh", "-c", "sh"])
            && image["Architecture"] == "amd64",
        "{image}"
    );
    let refused = import("changes=RUN%20true")?;
    ensure!(
        refused.status == 400 && refused.message() == "RUN is not a valid change command",
        "{refused:?}"
    );
    // A tag is a name, a digest is none.
    for (query, words) in [
        (
            "repo=a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "cannot import digest reference",
        ),
        ("repo=UPPER", "invalid reference format: repository name"),
    ] {
        let refused = import(query)?;
        ensure!(
            refused.status == 400 && refused.message().contains(words),
            "{query}: {refused:?}"
        );
    }
    let refused = case.expect("POST", "/images/busybox/tag?repo=UPPER&tag=1", None, 400)?;
    ensure!(
        refused["message"]
            .as_str()
            .is_some_and(|text| text.contains("must be lowercase")),
        "{refused}"
    );
    Ok(())
}

pub(crate) fn what_is_pruned_and_removed(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "busybox", "true"])?;
    case.ok(&["commit", "-c", "LABEL a=b", "c1"])?;
    case.ok(&["commit", "-c", "LABEL a=c", "c1"])?;
    case.ok(&["commit", "c1", "named:1"])?;
    let prune = |wanted: &Value| -> Result<Value> {
        case.expect(
            "POST",
            &format!("/images/prune?{}", filters(wanted)),
            None,
            200,
        )
    };
    let count = |said: &Value| all(&said["ImagesDeleted"], "/Deleted").len();
    let none = prune(&json!({"until": ["2020-01-01T00:00:00Z"]}))?;
    ensure!(
        none == json!({"ImagesDeleted": null, "SpaceReclaimed": 0}),
        "{none}"
    );
    // Each has one layer, or none of its own.
    let first = prune(&json!({"label": ["a=b"]}))?;
    ensure!(count(&first) > 0, "{first}");
    let kept = prune(&json!({"label!": ["a=c"]}))?;
    ensure!(count(&kept) == 0, "{kept}");
    let second = prune(&json!({"dangling": ["true"]}))?;
    ensure!(count(&second) > 0, "{second}");
    case.ok(&["rm", "c1"])?;
    let all_unused = prune(&json!({"dangling": ["false"], "until": ["1s"], "label": ["nothing"]}))?;
    ensure!(count(&all_unused) == 0, "{all_unused}");
    case.ok(&["create", "--name", "c2", "named:1", "true"])?;
    let conflict = case.expect("DELETE", "/images/named:1", None, 409)?;
    ensure!(
        conflict["message"]
            .as_str()
            .is_some_and(|text| text.contains("(must force)")),
        "{conflict}"
    );
    let removed = case.expect(
        "DELETE",
        "/images/named:1?force=true&noprune=true",
        None,
        200,
    )?;
    ensure!(removed[0]["Untagged"] == "named:1", "{removed}");
    Ok(())
}

pub(crate) fn repositories_are_found(case: &mut Case) -> Result<()> {
    let world = &case.engine.world;
    let storage = world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let _registry = Registry::serve_kind(
        world,
        wharf_testkit::RegistryKind::Wharf,
        &storage,
        5000,
        "",
    )?;
    for name in ["team/toolbox", "box", "other"] {
        let image = format!("localhost:5000/{name}");
        case.ok(&["tag", "busybox", &image])?;
        case.ok(&["push", "-q", &image])?;
    }
    let search = |query: &str| {
        case.expect(
            "GET",
            &format!("/images/search?term=localhost:5000/box{query}"),
            None,
            200,
        )
    };
    let found = search("")?;
    let mut names = all(&found, "/name");
    names.sort_unstable();
    ensure!(names == ["box", "team/toolbox"], "{found}");
    ensure!(
        found[0]["is_official"] == false
            && found[0]["star_count"] == 0
            && found[0]["description"] == "",
        "{found}"
    );
    ensure!(all(&search("&limit=1")?, "/name").len() == 1);
    for (wanted, count) in [
        (json!({"stars": ["1"]}), 0),
        (json!({"is-official": ["true"]}), 0),
        (json!({"is-official": ["false"], "stars": ["0"]}), 2),
    ] {
        let found = search(&format!("&{}", filters(&wanted)))?;
        ensure!(all(&found, "/name").len() == count, "{wanted}: {found}");
    }
    let nobody = api::raw(
        &case.engine.socket(),
        "POST",
        "/images/localhost:5000/nope/push?tag=1",
        &[("X-Registry-Auth", "e30=")],
        b"",
    )?;
    ensure!(
        nobody
            .text()
            .contains("An image does not exist locally with the tag: localhost:5000/nope"),
        "{}",
        nobody.text()
    );
    Ok(())
}

/// Who pushes says who he is, and be it nobody: in the header, or as the oldest clients do in the body.
pub(crate) fn a_push_says_who_it_is_of(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It has other words.
    }
    let said = |headers: &[(&str, &str)], body: &str| {
        let target = "/images/localhost:1/nope/push?tag=1";
        api::raw(
            &case.engine.socket(),
            "POST",
            target,
            headers,
            body.as_bytes(),
        )
    };
    let missing = "bad parameters and missing X-Registry-Auth: invalid X-Registry-Auth header: ";
    let wrong = "invalid character 'x' looking for beginning of value";
    for (body, words) in [("", "EOF"), ("x", wrong)] {
        let refused = said(&[], body)?;
        let expected = format!("{missing}{words}");
        ensure!(
            refused.status == 400 && refused.message() == expected,
            "{refused:?}"
        );
    }
    let unknown = "An image does not exist locally with the tag: localhost:1/nope";
    for (headers, body) in [
        (&[("X-Registry-Auth", "e30=")][..], ""),
        (&[("X-Registry-Auth", "!!")], ""),
        (&[], r#"{"username":"a","password":"b"}"#),
    ] {
        let answer = said(headers, body)?;
        let text = answer.text();
        ensure!(answer.status == 200 && text.contains(unknown), "{text}");
    }
    Ok(())
}

/// As dockerd 26.1 has it; 20.10 has other words for some.
pub(crate) fn odd_requests_have_dockerds_answers(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return skip("it has other words");
    }
    let (_registry, _) = with_index(case)?;
    let ask = |target: &str, headers: &[(&str, &str)], body: &[u8]| {
        api::raw(&case.engine.socket(), "POST", target, headers, body)
    };
    // Layers are told of when somebody asks for it.
    let archive = case.engine.api("GET", "/images/busybox/get", None)?.body;
    let tar = [("Content-Type", "application/x-tar")];
    for (query, is_told) in [("", false), ("?quiet=1", false), ("?quiet=0", true)] {
        case.ok(&["rmi", "busybox"])?;
        let said = ask(&format!("/images/load{query}"), &tar, &archive)?.text();
        ensure!(
            said.contains("Loaded image: busybox:latest"),
            "{query}: {said}"
        );
        ensure!(said.contains("Loading layer") == is_told, "{query}: {said}");
    }
    let json = [("Content-Type", "application/json")];
    let nobody = ask("/auth", &json, br#"{"serveraddress":"localhost:5000"}"#)?;
    ensure!(
        nobody.status == 200 && nobody.text().contains("Login Succeeded"),
        "{nobody:?}"
    );
    let auth = [("X-Registry-Auth", "e30=")];
    case.ok(&["tag", "busybox", "localhost:5000/one:1"])?;
    let digest = format!("localhost:5000/one@sha256:{}", "0".repeat(64));
    let pushed = ask(&format!("/images/{digest}/push"), &auth, b"")?;
    ensure!(
        pushed.status == 200
            && pushed.text().contains("The push refers to repository")
            && pushed.text().contains("cannot push a digest reference"),
        "{pushed:?}"
    );
    for (target, status, words) in [
        (
            format!("/images/{digest}/push?tag=x"),
            400,
            "cannot import digest reference",
        ),
        (
            "/images/create?fromImage=scratch".to_owned(),
            403,
            "'scratch' is a reserved name",
        ),
        (
            "/images/create?fromSrc=http://localhost:5000/nope".to_owned(),
            404,
            "failed to GET http://localhost:5000/nope with status 404 Not Found: 404 page not found",
        ),
        (
            "/images/create?fromSrc=-&platform=windows/amd64".to_owned(),
            400,
            "operating system is not supported",
        ),
    ] {
        let refused = ask(&target, &auth, b"")?;
        ensure!(
            refused.status == status && refused.message() == words,
            "{target}: {refused:?}"
        );
    }
    Ok(())
}

pub(crate) fn events_of_names_and_archives(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return skip("it tells otherwise");
    }
    let (_registry, _) = with_index(case)?;
    let named = "localhost:5000/told:1";
    case.ok(&["create", "--name", "c1", "busybox"])?;
    case.ok(&["commit", "-c", "LABEL a=b", "c1", named])?;
    case.ok(&["push", "-q", named])?;
    let path = case.engine.world.path().join("two.tar");
    case.ok(&["tag", named, "told:2"])?;
    case.ok(&["save", "-o", &path.display().to_string(), named, "told:2"])?;
    case.ok(&["rmi", named])?;
    case.ok(&["rmi", "told:2"])?;
    let told = |event: &str| {
        let filter = format!("event={event}");
        let format = "{{.Action}} {{.Actor.Attributes.a}}";
        let since = ["events", "--since", "1h", "--until", "0s"];
        case.ok(&[&since[..], &["--filter", &filter, "--format", format]].concat())
    };
    // The digest that the push gave went along with the first; and one image went into the archive, whatever its names.
    // Docker's client asks until the last whole second.
    until(|| Ok(told("untag")? == "untag b\nuntag b"))?;
    let saved = told("save")?;
    ensure!(saved == "save b", "{saved}");
    Ok(())
}
