//! Files that users of docker-registry have, and files that are wrong.

use super::*;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, None, None, std::iter::empty())
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, None, None, variables)
}

const DEBIAN: &str = "version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/docker/registry
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

#[test]
fn debians_file_is_read() {
    let config = parse(DEBIAN).unwrap();
    assert_eq!(
        (config.addr.as_str(), config.root.to_str()),
        (":5000", Some("/var/lib/docker-registry"))
    );
    assert!(config.settings.may_delete && config.settings.headers.len() == 1);
    assert!(matches!(config.auth, AuthSettings::Htpasswd { realm, .. } if realm == "basic-realm"));
    assert_eq!(config.health.map(|health| health.threshold), Some(3));
}

#[test]
fn the_environment_goes_before_the_file() {
    let config = with(
        DEBIAN,
        &[
            ("REGISTRY_HTTP_ADDR", "127.0.0.1:6000"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
            ("REGISTRY_PROXY_REMOTEURL", "https://mirror.example:5000"),
            ("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(
        (config.addr.as_str(), config.root.to_str()),
        ("127.0.0.1:6000", Some("/data"))
    );
    assert!(!config.settings.may_delete && config.settings.is_cache);
    assert_eq!(
        config.proxy.map(|proxy| proxy.host).as_deref(),
        Some("mirror.example:5000")
    );
    let variables = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "r"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/p"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
        ("REGISTRY_HTTP_ADDR", ":5000"),
    ];
    assert!(matches!(
        with("", &variables).unwrap().auth,
        AuthSettings::Htpasswd { .. }
    ));
    let error = with(DEBIAN, &[("REGISTRY_HTTP_ADR", "x")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("adr") && error.contains("REGISTRY_HTTP_ADR"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let error = parse(&DEBIAN.replace("delete:", "deleted:"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("deleted") && error.contains("line 10"),
        "{error}"
    );
    let error = parse(&DEBIAN.replace("interval: 10s", "interval: soon"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("soon") && error.contains("line 23"),
        "{error}"
    );
    let cases = [
        (
            "filesystem:\n    rootdirectory: /var/lib/docker-registry",
            "maintenance: {}",
            "storage",
        ),
        ("inmemory", "redis", "blobdescriptor"),
        ("addr: :5000", "net: unix", "http.net"),
        ("version: 0.1", "version: 0.2", "version"),
        (
            "addr: :5000",
            "addr: :1\n  tls: {certificate: /c}",
            "http.tls",
        ),
        (
            "realm: basic-realm\n    path: /etc/docker/registry",
            "realm: x",
            "path",
        ),
    ];
    for (from, to, word) in cases {
        let error = parse(&DEBIAN.replace(from, to)).expect_err(to).to_string();
        assert!(error.contains(word), "{to}: {error}");
    }
    for auth in ["auth: {}", "auth: {silly: {realm: a, service: b}}"] {
        let text = format!("storage: {{filesystem: {{}}}}\nhttp: {{addr: ':1'}}\n{auth}\n");
        assert!(parse(&text).is_err(), "{auth}");
    }
}

#[test]
fn buckets() {
    const KEYS: &str = "accesskey: k, secretkey: s, region: here, bucket: images";
    let bucket = |more: &str| {
        let text = format!("storage: {{s3: {{{KEYS}{more}}}}}\nhttp: {{addr: ':5000'}}");
        parse(&text).map(|config| config.bucket.unwrap())
    };
    let address = |more: &str| bucket(more).unwrap().bucket.object_url("a/b").to_string();
    assert_eq!(address(""), "https://images.s3.here.amazonaws.com/a/b");
    assert_eq!(
        address(", forcepathstyle: true"),
        "https://s3.here.amazonaws.com/images/a/b"
    );
    assert_eq!(
        address(", regionendpoint: 'http://10.0.0.1:9000'"),
        "http://10.0.0.1:9000/images/a/b"
    );
    assert_eq!(
        address(", regionendpoint: minio, secure: false"),
        "http://minio/images/a/b"
    );
    assert_eq!(
        address(", regionendpoint: minio.lan, forcepathstyle: false"),
        "https://images.minio.lan/a/b"
    );
    assert_eq!(bucket(", rootdirectory: /a/b/").unwrap().root, "a/b/");
    assert!(bucket("").unwrap().redirects && bucket("").unwrap().part == 10 << 20);
    for (more, why) in [
        (", v4auth: false", "storage.s3.v4auth"),
        (", chunksize: 1MB", "storage.s3.chunksize: 1000000"),
        (", regionendpoint: 'ftp://x'", "storage.s3.bucket"),
        (", rootdirectory: a/../b", "storage.s3.rootdirectory"),
        (", encrypt: true", "encrypt"),
    ] {
        let error = bucket(more).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let half = "storage: {s3: {accesskey: k, region: here, bucket: images}}\nhttp: {addr: ':5000'}";
    let error = parse(half).unwrap_err().to_string();
    assert!(error.starts_with("storage.s3.accesskey"), "{error}");
}
