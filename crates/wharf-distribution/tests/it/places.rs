//! Where a registry is: mirrors, redirects, proxies, or nowhere.

use wharf_distribution::{Config, Credentials, RegistryErrorKind};
use wharf_oci::{Platform, media_type};

use crate::app::{fetch, layer, registry, resolve};
use crate::common::{Registry, Reply, client, client_with, manifest};

#[tokio::test]
async fn pulls_over_plain_http_from_loopback_only() {
    let registry = registry(|_| None);
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(resolved.digest(), manifest(&layer()).1);
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 0));
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
