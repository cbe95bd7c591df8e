//! The client against a registry that misbehaves on purpose.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use common::{Registry, Reply, Request, client, client_with, manifest};
use wharf_distribution::{
    BlobEvent, Client, Config, Credentials, RegistryError, RegistryErrorKind, Resolved,
};
use wharf_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

fn layer() -> Vec<u8> {
    (0..200_000u32).map(|n| (n / 7) as u8).collect()
}

/// An honest registry for `app:latest` with one layer, but for what `special` answers itself.
fn registry(special: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Registry {
    let layer = layer();
    let (bytes, _) = manifest(&layer);
    Registry::start(move |request| {
        if let Some(reply) = special(request) {
            return reply;
        }
        if request.path.contains("/manifests/") {
            return Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST);
        }
        if request.path.contains("/blobs/") {
            return Reply::blob(request, &layer);
        }
        Reply::default()
    })
}

async fn resolve(client: &Client, registry: &Registry) -> Result<Resolved, RegistryError> {
    let reference = registry.reference("app:latest");
    client.resolve(&reference, &Platform::host(), None).await
}

async fn failure(client: &Client, registry: &Registry) -> String {
    match resolve(client, registry).await {
        Ok(_) => panic!("was resolved"),
        Err(error) => error.to_string(),
    }
}

/// Everything that comes, and how often it was tried again.
async fn fetch(client: &Client, resolved: &Resolved) -> Result<(Vec<u8>, usize), RegistryError> {
    let slot = client.slot().await;
    let mut blob = client.blob(&resolved.source, &resolved.manifest.layers[0], 0, slot);
    let (mut bytes, mut retries) = (Vec::new(), 0);
    while let Some(event) = blob.next().await? {
        match event {
            BlobEvent::Data(data) => bytes.extend_from_slice(&data),
            BlobEvent::Retrying(_) => retries += 1,
        }
    }
    Ok((bytes, retries))
}

#[tokio::test]
async fn pulls_over_plain_http_from_loopback_only() {
    let registry = registry(|_| None);
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(resolved.digest(), manifest(&layer()).1);
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 0));
}

#[tokio::test]
async fn goes_on_where_a_cut_was() {
    let cuts = Arc::new(AtomicUsize::new(0));
    let count = cuts.clone();
    let registry = registry(move |request| {
        let blob = request.path.contains("/blobs/");
        (blob && count.fetch_add(1, Ordering::SeqCst) < 2).then(|| {
            let mut reply = Reply::blob(request, &layer());
            reply.cut = Some(50_000);
            reply
        })
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 2));
    let ranges: Vec<_> = registry
        .requests("/blobs/")
        .iter()
        .map(Request::range)
        .collect();
    assert_eq!(ranges, [None, Some(50_000), Some(100_000)]);
}

#[tokio::test]
async fn goes_on_without_ranges_and_after_a_stall() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let registry = registry(move |request| {
        if !request.path.contains("/blobs/") {
            return None;
        }
        let mut reply = Reply::ok(layer());
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            reply.cut = Some(70_000);
            reply.stall = true;
        }
        Some(reply)
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 1));
}

#[tokio::test]
async fn gives_up_on_a_registry_that_always_cuts() {
    let registry = registry(|request| {
        request.path.contains("/blobs/").then(|| Reply {
            cut: Some(0),
            ..Reply::ok(layer())
        })
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Unreachable);
    assert_eq!(registry.requests("/blobs/").len(), 4);
}

#[tokio::test]
async fn refuses_more_than_announced() {
    let registry = registry(|request| {
        let mut long = layer();
        long.extend_from_slice(b"more");
        request.path.contains("/blobs/").then(|| Reply::ok(long))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err();
    assert!(matches!(
        error,
        RegistryError::TooLong {
            expected: 200_000,
            ..
        }
    ));
    assert_eq!(registry.requests("/blobs/").len(), 1);
}

#[tokio::test]
async fn a_wrong_manifest_is_refused_by_digest() {
    let registry = registry(|request| {
        let honest = request.path.contains("/manifests/");
        honest.then(|| {
            Reply::ok(manifest(b"other").0)
                .with("Content-Type", media_type::OCI_MANIFEST)
                .with("Docker-Content-Digest", manifest(&layer()).1.to_string())
        })
    });
    let expected = manifest(&layer()).1;
    assert_eq!(
        failure(&client(), &registry).await,
        format!("manifest verification failed for digest {expected}")
    );
}

#[tokio::test]
async fn refusals_have_dockers_words() {
    let cases = [
        (
            404,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
            "manifest for {}/app:latest not found: manifest unknown: manifest unknown",
        ),
        (
            404,
            "NAME_UNKNOWN",
            "repository name not known to registry",
            "repository {}/app not found: name unknown: repository name not known to registry",
        ),
        (
            403,
            "DENIED",
            "requested access to the resource is denied",
            "pull access denied for {}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        ),
        (
            500,
            "UNKNOWN",
            "x",
            "received unexpected HTTP status: 500 Internal Server Error",
        ),
    ];
    for (status, code, message, text) in cases {
        let registry = registry(move |request| {
            let manifest = request.path.contains("/manifests/");
            manifest.then(|| Reply::error(status, code, message))
        });
        let expected = text.replace("{}", &registry.address.to_string());
        assert_eq!(failure(&client(), &registry).await, expected);
    }
}

#[tokio::test]
async fn nonsense_is_an_error_and_no_panic() {
    for body in [
        "<html>hello</html>",
        "",
        "[]",
        "{}",
        r#"{"schemaVersion":1}"#,
    ] {
        let registry = registry(move |request| {
            let manifest = request.path.contains("/manifests/");
            manifest.then(|| Reply::ok(body).with("Content-Type", "text/html"))
        });
        failure(&client(), &registry).await;
    }
}

#[tokio::test]
async fn a_huge_manifest_is_not_read() {
    let registry = registry(|request| {
        let manifest = request.path.contains("/manifests/");
        manifest.then(|| Reply::ok(vec![b' '; 5 << 20]))
    });
    assert!(failure(&client(), &registry).await.contains("longer than"));
}

#[tokio::test]
async fn chooses_the_platform() {
    let registry = registry(|request| {
        let (bytes, digest) = manifest(&layer());
        let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
        entry.platform = Some(Platform::parse("linux/s390x").unwrap());
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            manifests: vec![entry],
            annotations: Default::default(),
        };
        request.path.ends_with("/latest").then(|| {
            Reply::ok(serde_json::to_vec(&index).unwrap())
                .with("Content-Type", media_type::OCI_INDEX)
        })
    });
    let client = client();
    let reference = registry.reference("app:latest");
    let arm = Platform::parse("linux/arm64").unwrap();
    let error = client.resolve(&reference, &arm, None).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/arm64/v8 in the manifest list entries"
    );
    let s390x = Platform::parse("linux/s390x").unwrap();
    let resolved = client.resolve(&reference, &s390x, None).await.unwrap();
    assert!(resolved.index.is_some());
    assert_ne!(resolved.digest(), resolved.raw.descriptor.digest);
}

#[tokio::test]
async fn unreachable_reads_like_go() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let reference = wharf_oci::Reference::parse_normalized(&format!("{address}/app:1")).unwrap();
    let error = client()
        .resolve(&reference, &Platform::host(), None)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused")
    );
    assert_eq!(error.kind(), RegistryErrorKind::Unreachable);
}

/// A token server and a registry that wants its tokens; the first `refuse` requests with a token are refused.
fn guarded(refuse: usize) -> Registry {
    guarded_for(refuse, 300)
}

/// The same, with tokens that are good for so many seconds.
fn guarded_for(refuse: usize, seconds: u64) -> Registry {
    let refused = AtomicUsize::new(0);
    registry(move |request| {
        if request.path.starts_with("/token") {
            let token = format!(r#"{{"token":"t","expires_in":{seconds}}}"#);
            return Some(Reply::ok(&*token));
        }
        let good = request.header("authorization") == Some("Bearer t");
        if good && (request.path == "/v2/" || refused.fetch_add(1, Ordering::SeqCst) >= refuse) {
            return None;
        }
        let host = request.header("host").unwrap();
        Some(
            Reply::error(401, "UNAUTHORIZED", "authentication required").with(
                "WWW-Authenticate",
                format!("Bearer realm=\"http://{host}/token\",service=\"s\""),
            ),
        )
    })
}

#[tokio::test]
async fn fetches_a_token_once_per_scope() {
    let registry = guarded(0);
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    fetch(&client, &resolved).await.unwrap();
    let tokens = registry.requests("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].path,
        "/token?service=s&scope=repository%3Aapp%3Apull"
    );
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew() {
    let registry = guarded(1);
    let client = client();
    resolve(&client, &registry).await.unwrap();
    assert_eq!(registry.requests("/token").len(), 2);
}

#[tokio::test]
async fn a_token_may_be_good_for_ever() {
    let registry = guarded_for(0, u64::MAX);
    let client = client();
    for _ in 0..2 {
        resolve(&client, &registry).await.unwrap();
    }
    assert_eq!(registry.requests("/token").len(), 1);
}

/// All that is said of an image is held until the image is here: of a registry that says ever more, some is enough.
#[tokio::test]
async fn what_is_said_of_an_image_has_an_end() {
    let image = Digest::sha256(b"image");
    let part = Descriptor::new(
        "application/vnd.in-toto+json",
        Digest::sha256(b"no"),
        32 << 20,
    );
    let config = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(b"{}"), 2);
    let said = serde_json::to_vec(&Manifest::oci(config, vec![part])).unwrap();
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &said);
    for (key, value) in [
        (
            "vnd.docker.reference.type",
            "attestation-manifest".to_owned(),
        ),
        ("vnd.docker.reference.digest", image.to_string()),
    ] {
        entry.annotations.insert(key.to_owned(), value);
    }
    let digest = entry.digest.to_string();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": vec![entry; 1000],
    });
    let registry = registry(move |request| {
        if request.path.ends_with(&digest) {
            return Some(Reply::ok(said.clone()).with("Content-Type", media_type::OCI_MANIFEST));
        }
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::error(404, "BLOB_UNKNOWN", "blob unknown"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let index = index.to_string();
    let said = client.statements(&resolved.source, index.as_bytes(), &image);
    assert!(said.await.is_empty(), "none of them was whole");
    // As many manifests, and parts of as many bytes together, but for the manifests'.
    assert_eq!(registry.requests("/manifests/sha256").len(), 100);
    let parts = (256 << 20) / (32 << 20);
    assert_eq!(registry.requests("/blobs/").len(), parts - 1);
}

#[tokio::test]
async fn an_identity_token_is_traded_by_post() {
    let registry = guarded(0);
    let credentials = Credentials::Identity("id&token".into());
    client()
        .resolve(
            &registry.reference("app:latest"),
            &Platform::host(),
            Some(&credentials),
        )
        .await
        .unwrap();
    let token = &registry.requests("/token")[0];
    assert_eq!(token.method, "POST");
    assert!(
        token
            .body
            .contains("grant_type=refresh_token&refresh_token=id%26token")
    );
}

#[tokio::test]
async fn basic_needs_credentials() {
    let wanted = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("u:p")
    );
    let registry = registry(move |request| {
        let good = request.header("authorization") == Some(&wanted);
        (!good).then(|| {
            Reply::error(401, "UNAUTHORIZED", "authentication required")
                .with("WWW-Authenticate", "Basic realm=\"x\"")
        })
    });
    let client = client();
    let text = failure(&client, &registry).await;
    assert!(text.ends_with("no basic auth credentials"), "{text}");
    let credentials = Credentials::Basic {
        username: "u".into(),
        password: "p".into(),
    };
    let reference = registry.reference("app:latest");
    client
        .resolve(&reference, &Platform::host(), Some(&credentials))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_redirect_does_not_leak_credentials() {
    let store = Registry::start(|request| Reply::blob(request, &layer()));
    let target = format!("http://{}/elsewhere", store.address);
    let registry = registry(move |request| {
        if request.path.starts_with("/token") {
            return Some(Reply::ok(r#"{"access_token":"t"}"#));
        }
        if request.header("authorization") != Some("Bearer t") {
            let host = request.header("host").unwrap();
            let value = format!("Bearer realm=\"http://{host}/token\"");
            return Some(Reply::status(401, "").with("WWW-Authenticate", value));
        }
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::status(307, "").with("Location", target.clone()))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap().0, layer());
    let seen = store.requests("/elsewhere");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

/// A store that wants to be shown what only the registry may see.
#[tokio::test]
async fn where_a_redirect_leads_does_not_say_who_sees_the_credentials() {
    let thief = Registry::start(|request| {
        let host = request.header("host").unwrap();
        let value = format!("Bearer realm=\"http://{host}/token\"");
        match request.path.starts_with("/token") {
            true => Reply::ok(r#"{"access_token":"t"}"#),
            false => Reply::status(401, "").with("WWW-Authenticate", value),
        }
    });
    let target = format!("http://{}/stolen", thief.address);
    let registry = registry(move |request| {
        if request.header("authorization").is_none() {
            return Some(Reply::status(401, "").with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::status(307, "").with("Location", target.clone()))
    });
    let credentials = Credentials::Basic {
        username: "somebody".into(),
        password: "secret".into(),
    };
    let client = client();
    let reference = registry.reference("app:latest");
    let resolved = client
        .resolve(&reference, &Platform::host(), Some(&credentials))
        .await
        .unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err();
    assert!(error.to_string().contains("unauthorized"), "{error}");
    assert!(!thief.requests("/stolen").is_empty());
    assert!(thief.requests("/token").is_empty());
    for request in thief.requests("/") {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_follows_no_redirect_to_another_host() {
    let thief = Registry::start(|_| Reply::ok(r#"{"access_token":"t"}"#));
    let target = format!("http://{}/stolen", thief.address);
    let registry = registry(move |request| {
        if request.path.starts_with("/token") {
            return Some(Reply::status(307, "").with("Location", target.clone()));
        }
        let host = request.header("host").unwrap();
        let value = format!("Bearer realm=\"http://{host}/token\"");
        Some(Reply::status(401, "").with("WWW-Authenticate", value))
    });
    let client = client();
    let reference = registry.reference("app:latest");
    let credentials = Credentials::Identity("refresh".into());
    let refused = client
        .resolve(&reference, &Platform::host(), Some(&credentials))
        .await;
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("refused"), "{text}");
    assert!(thief.requests("/").is_empty());
}

#[tokio::test]
async fn mirrors_come_first_and_in_order() {
    let broken = Registry::start(|_| Reply::status(502, "bad gateway"));
    let good = registry(|_| None);
    let client = client_with(Config {
        mirrors: vec![
            format!("http://{}", broken.address),
            format!("http://{}/", good.address),
        ],
        ..Config::default()
    });
    let reference = wharf_oci::Reference::parse_normalized("app:latest").unwrap();
    let secret = Credentials::Bearer("s".into());
    let resolved = client
        .resolve(&reference, &Platform::host(), Some(&secret))
        .await
        .unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap().0, layer());
    assert!(!broken.requests("/v2/").is_empty());
    let asked = &good.requests("/v2/library/app/manifests/latest")[0];
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn any_registry_has_mirrors() {
    let broken = Registry::start(|_| Reply::status(502, "bad gateway"));
    let good = registry(|_| None);
    let client = client_with(Config {
        registries: vec![wharf_distribution::MirrorRule {
            prefix: "nowhere.invalid/team".to_owned(),
            mirrors: vec![
                broken.address.to_string(),
                format!("http://{}/cache", good.address),
            ],
        }],
        ..Config::default()
    });
    let reference = |name| wharf_oci::Reference::parse_normalized(name).unwrap();
    let secret = Credentials::Bearer("s".into());
    let resolved = client
        .resolve(
            &reference("nowhere.invalid/team/app:latest"),
            &Platform::host(),
            Some(&secret),
        )
        .await
        .unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap().0, layer());
    assert!(!broken.requests("/v2/").is_empty());
    let asked = &good.requests("/v2/cache/app/manifests/latest")[0];
    assert_eq!(asked.header("authorization"), None);
    // What the rule does not speak of goes to its registry.
    let elsewhere = client
        .resolve(
            &reference("nowhere.invalid/app:latest"),
            &Platform::host(),
            None,
        )
        .await;
    assert!(elsewhere.is_err());
    assert_eq!(good.requests("/manifests/").len(), 1);
}

#[tokio::test]
async fn too_many_requests_are_asked_again_when_the_registry_says() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let registry = registry(move |request| {
        let blob = request.path.contains("/blobs/");
        let first = blob && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        first.then(|| Reply::status(429, "slow down").with("Retry-After", "1"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let start = std::time::Instant::now();
    assert_eq!(fetch(&client, &resolved).await.unwrap().0, layer());
    // The client's own wait is a thousandth of it.
    assert!(start.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let registry = registry(|request| {
        let here = request.path.contains("/blobs/");
        here.then(|| Reply::status(307, "").with("Location", request.path.clone()))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err().to_string();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
}

#[tokio::test]
async fn lists_tags_over_pages() {
    let registry = registry(|request| {
        if request.path.contains("last=a") {
            return Some(Reply::ok(r#"{"name":"app","tags":["b"]}"#));
        }
        request.path.contains("/tags/list").then(|| {
            Reply::ok(r#"{"name":"app","tags":["a"]}"#)
                .with("Link", "</v2/app/tags/list?last=a&n=1>; rel=\"next\"")
        })
    });
    let tags = client()
        .tags(&registry.reference("app"), None)
        .await
        .unwrap();
    assert_eq!(tags, ["a", "b"]);
}

#[tokio::test]
async fn a_list_without_an_end_is_refused() {
    let registry = registry(|request| {
        request.path.contains("/tags/list").then(|| {
            Reply::ok(r#"{"name":"app"}"#)
                .with("Link", "</v2/app/tags/list?last=a&n=1>; rel=\"next\"")
        })
    });
    let error = client()
        .tags(&registry.reference("app"), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("a list without an end"), "{error}");
}

/// A manifest of no image, about `subject`.
fn about(subject: &Digest, text: &str) -> (String, String) {
    let empty = Descriptor::of("application/vnd.oci.empty.v1+json", b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "a/note",
        "config": empty, "layers": [], "subject": Descriptor::new(media_type::OCI_MANIFEST, *subject, 1),
        "annotations": {"text": text},
    });
    let text = manifest.to_string();
    (Digest::sha256(text.as_bytes()).to_string(), text)
}

fn listed(documents: &[&(String, String)]) -> String {
    let entry =
        |(_, text): &&(String, String)| Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes());
    let all: Vec<_> = documents.iter().map(entry).collect();
    serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": all})
        .to_string()
}

#[tokio::test]
async fn referrers_come_by_pages_and_with_their_own() {
    let (_, image) = manifest(&layer());
    let (one, two) = (about(&image, "one"), about(&image, "two"));
    let third = about(&Digest::parse(&two.0).unwrap(), "about the second");
    let (first_page, second_page, its_own) = (listed(&[&one]), listed(&[&two]), listed(&[&third]));
    let (all, second) = ([one, two.clone(), third], two.0);
    let registry = registry(move |request| {
        let path = request.path.as_str();
        if path.ends_with(&format!("/referrers/{image}")) {
            let link = format!("</v2/app/referrers/{image}?last=x>; rel=\"next\"");
            return Some(Reply::ok(first_page.clone()).with("Link", link));
        }
        if path.ends_with(&format!("/referrers/{image}?last=x")) {
            return Some(Reply::ok(second_page.clone()));
        }
        if path.ends_with(&format!("/referrers/{second}")) {
            return Some(Reply::ok(its_own.clone()));
        }
        if path.contains("/referrers/") {
            return Some(Reply::ok(listed(&[])));
        }
        if path.contains("/blobs/") {
            return Some(Reply::ok("{}"));
        }
        let (_, text) = all.iter().find(|(digest, _)| path.ends_with(digest))?;
        Some(Reply::ok(text.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let found = client.referrers(&resolved.source, &[image]).await.unwrap();
    let mut texts: Vec<String> = found
        .iter()
        .filter_map(|(_, bytes)| {
            let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            Some(document["annotations"]["text"].as_str()?.to_owned())
        })
        .collect();
    texts.sort();
    assert_eq!(texts, ["about the second", "one", "two"]);
}

#[tokio::test]
async fn a_tag_that_is_no_list_of_referrers_stays_as_it_is() {
    let (bytes, image) = manifest(&layer());
    let registry = registry(move |request| {
        let tag = request.path.contains("/manifests/sha256-");
        tag.then(|| Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let client = client();
    let target = client.push_target(&registry.reference("app:latest"), None, &[]);
    let entry = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
    let error = client
        .list_referrer(&target.unwrap(), &image, &entry)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with(": is no list of referrers"), "{error}");
    let asked = registry.requests("/manifests/");
    assert!(asked.iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn warnings_of_a_registry_are_kept() {
    let (bytes, _) = manifest(&layer());
    let registry = registry(move |request| {
        request.path.contains("/manifests/").then(|| {
            Reply::ok(bytes.clone())
                .with("Content-Type", media_type::OCI_MANIFEST)
                .with("Warning", "299 - \"This image is deprecated.\"")
        })
    });
    let resolved = resolve(&client(), &registry).await.unwrap();
    assert_eq!(
        resolved.source.take_warnings(),
        ["This image is deprecated."]
    );
}

#[tokio::test]
async fn searches() {
    let registry = registry(|request| {
        (request.path == "/v1/search?q=app&n=25").then(|| {
            Reply::ok(r#"{"results":[{"name":"x/app","description":null,"star_count":3,"is_official":false}]}"#)
        })
    });
    let term = format!("{}/app", registry.address);
    let hits = client().search(&term, 25, None).await.unwrap();
    assert_eq!((hits[0].name.as_str(), hits[0].star_count), ("x/app", 3));
    let text = client()
        .search(&format!("{}/b", registry.address), 25, None)
        .await;
    assert_eq!(text.unwrap_err().to_string(), "Unexpected status code 404");
}

#[tokio::test]
async fn small_blobs_are_checked() {
    let registry = registry(|request| {
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::ok("lies"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(b"true"), 4);
    let error = client
        .small_blob(&resolved.source, &descriptor, "image configuration", 100)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }));
}

/// A blob that is worth several connections, and a registry that gives each of them little at a time.
fn slow(blob: &[u8], ranges: bool) -> (Registry, Arc<AtomicUsize>) {
    let going = Arc::new(AtomicUsize::new(0));
    let (bytes, _) = manifest(blob);
    let (blob, most) = (blob.to_vec(), going.clone());
    let registry = Registry::start(move |request| {
        if request.path.contains("/manifests/") {
            return Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST);
        }
        if !request.path.contains("/blobs/") {
            return Reply::default();
        }
        if request.window().is_some_and(|(_, last)| last.is_some()) {
            most.fetch_add(1, Ordering::SeqCst);
        }
        let whole = Reply::ok(blob.clone());
        let reply = match ranges {
            true => Reply::blob(request, &blob),
            false => whole,
        };
        Reply {
            drip: Some((256 << 10, Duration::from_millis(1))),
            ..reply
        }
    });
    (registry, going)
}

/// Everything that comes, for a receiver that waits for each byte.
async fn fetch_hungry(client: &Client, registry: &Registry) -> Vec<u8> {
    let resolved = resolve(client, registry).await.unwrap();
    let slot = client.slot().await;
    let mut blob = client.blob(&resolved.source, &resolved.manifest.layers[0], 0, slot);
    let mut bytes = Vec::new();
    loop {
        blob.hungry(true);
        match blob.next().await.unwrap() {
            Some(BlobEvent::Data(data)) => bytes.extend_from_slice(&data),
            Some(BlobEvent::Retrying(_)) => {}
            None => return bytes,
        }
    }
}

fn large() -> Vec<u8> {
    (0..12_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_comes_over_several_connections() {
    let blob = large();
    let (registry, parts) = slow(&blob, true);
    assert!(fetch_hungry(&client(), &registry).await == blob);
    assert!(parts.load(Ordering::SeqCst) > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ranges_or_room_one_connection_goes_on() {
    let blob = large();
    let (registry, _) = slow(&blob, false);
    assert!(fetch_hungry(&client(), &registry).await == blob);
    let (registry, parts) = slow(&blob, true);
    let narrow = client_with(Config {
        max_concurrent_downloads: 1,
        ..Config::default()
    });
    assert!(fetch_hungry(&narrow, &registry).await == blob);
    assert_eq!(parts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_login_may_give_a_refresh_token() {
    let registry = Registry::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::ok(r#"{"token":"t","refresh_token":"refresh"}"#);
        }
        let host = request.header("host").unwrap();
        let value = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
        match request.header("authorization") {
            Some("Bearer t") => Reply::ok(""),
            _ => Reply::status(401, "").with("WWW-Authenticate", value),
        }
    });
    let credentials = Credentials::Basic {
        username: "somebody".into(),
        password: "secret".into(),
    };
    let domain = registry.address.to_string();
    let token = client().login(&domain, &credentials).await.unwrap();
    assert_eq!(token.as_deref(), Some("refresh"));
    let asked = &registry.requests("/token")[0].path;
    for part in ["offline_token=true", "client_id=docker", "account=somebody"] {
        assert!(asked.contains(part), "{asked}");
    }
}

#[tokio::test]
async fn registries_are_reached_by_way_of_a_proxy() {
    let layer = layer();
    let (bytes, _) = manifest(&layer);
    let proxy = Registry::start(move |request| {
        if request.method == "CONNECT" {
            return Reply::status(502, "");
        }
        // The address is whole, as a proxy wants it.
        match request.path.strip_prefix("http://registry.test:5000") {
            Some("/v2/") => Reply::ok(""),
            Some(path) if path.contains("/manifests/") => {
                Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST)
            }
            Some(_) => Reply::blob(request, &layer),
            None => Reply::status(400, ""),
        }
    });
    let address = format!("http://me:secret@{}", proxy.address);
    let client = client_with(Config {
        insecure: vec!["registry.test:5000".into()],
        proxies: wharf_distribution::Proxies {
            http: address.clone(),
            https: address,
            no: String::new(),
        },
        ..Config::default()
    });
    let reference = wharf_oci::Reference::parse_normalized("registry.test:5000/app").unwrap();
    let resolved = client.resolve(&reference, &Platform::host(), None).await;
    assert_eq!(
        fetch(&client, &resolved.unwrap()).await.unwrap().0,
        self::layer()
    );
    assert_eq!(proxy.requests("registry.test:5000")[0].method, "CONNECT");
    for request in proxy.requests("registry.test") {
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic bWU6c2VjcmV0")
        );
        assert_eq!(request.header("authorization"), None);
    }
}

/// A registry that takes no bytes, and answers a `PATCH` with this status; how often it was tried, and what came of it.
async fn refused_upload(status: u16) -> (usize, String) {
    let registry = Registry::start(move |request| match request.method.as_str() {
        "HEAD" => Reply::status(404, ""),
        "POST" => Reply::status(202, "").with("Location", "/v2/app/blobs/uploads/1"),
        "PATCH" => Reply::status(status, ""),
        _ if request.path.contains("/uploads/") => Reply::status(204, "").with("Range", "0-0"),
        _ => Reply::default(),
    });
    let client = client();
    let target = client
        .push_target(&registry.reference("app:1"), None, &[])
        .unwrap();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"some bytes").unwrap();
    let content = wharf_distribution::Content {
        file: Arc::new(file),
        progress: Arc::new(|_| {}),
    };
    let blob = Descriptor::of(media_type::OCI_LAYER, b"some bytes");
    let error = client
        .push_blob(&target, &blob, &[], &content)
        .await
        .unwrap_err();
    let tried = registry.requests("/uploads/1");
    let tried = tried.iter().filter(|request| request.method == "PATCH");
    (tried.count(), error.to_string())
}

#[tokio::test]
async fn an_upload_is_tried_so_often_and_not_more() {
    let (tried, error) = refused_upload(500).await;
    assert_eq!(
        (tried, error.as_str()),
        (
            4,
            "received unexpected HTTP status: 500 Internal Server Error"
        )
    );
    // A registry whose disk is full has no room a little later either.
    let (tried, error) = refused_upload(507).await;
    assert_eq!(
        (tried, error.as_str()),
        (
            1,
            "received unexpected HTTP status: 507 Insufficient Storage"
        )
    );
}
