//! Certificates and tokens, made by openssl: who is let in, and who is not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::client::Server;

/// In `dir`: an authority (`ca`), what it vouches for (`server`, `user`, `signer`), and a stranger's (`other`).
const MAKE: &str = r#"
set -e
new() { openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}" 2> /dev/null; }
new ca -x509 -days 2 -out ca.pem
new other -x509 -days 2 -out other.pem
for name in server user signer; do
    new $name -out $name.csr
    printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE' > extensions
    openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out $name.pem 2> /dev/null
done
"#;

fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("bash")
        .args(["-c", MAKE])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(made.success());
    dir
}

/// What the registry answers to `GET /v2/` over TLS, its first line; an error if there is no connection.
fn over_tls(
    addr: SocketAddr,
    dir: &Path,
    authority: &str,
    identity: Option<&str>,
) -> Result<String, String> {
    let request = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = exchange(addr, dir, authority, identity, request)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Sends a request over TLS; the answer, to the end of the connection.
fn exchange(
    addr: SocketAddr,
    dir: &Path,
    authority: &str,
    identity: Option<&str>,
    request: &[u8],
) -> Result<Vec<u8>, String> {
    let pem = |name: &str| dir.join(name);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pem(authority)).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(pem(&format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(addr).unwrap());
    let mut answer = Vec::new();
    let said = stream.write_all(request);
    said.and_then(|()| stream.read_to_end(&mut answer))
        .map_err(|error| error.to_string())?;
    Ok(answer)
}

fn with_tls(dir: &Path, more: &str) -> Server {
    let path = |name: &str| dir.join(name).display().to_string();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    Server::listening(
        &format!("tls: {{certificate: {certificate}, key: {key}{more}}}"),
        "",
    )
}

#[test]
fn tls_and_certificates_of_clients() {
    let dir = certificates();
    let ask = |server: &Server, authority, identity| {
        over_tls(server.addr, dir.path(), authority, identity)
    };
    let server = with_tls(dir.path(), "");
    assert_eq!(ask(&server, "ca.pem", None).unwrap(), "HTTP/1.1 200 OK");
    assert!(ask(&server, "other.pem", None).is_err());
    let authority = dir.path().join("ca.pem").display().to_string();
    let server = with_tls(
        dir.path(),
        &format!(", clientcas: [{authority}], minimumtls: tls1.3"),
    );
    assert_eq!(
        ask(&server, "ca.pem", Some("user")).unwrap(),
        "HTTP/1.1 200 OK"
    );
    assert!(ask(&server, "ca.pem", None).is_err());
    assert!(ask(&server, "ca.pem", Some("other")).is_err());
}

#[test]
fn blobs_over_tls() {
    let dir = certificates();
    let server = with_tls(dir.path(), "");
    let bytes: Vec<u8> = (0..1_500_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = wharf_oci::Digest::sha256(&bytes);
    let ask = |method: &str, path: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "{method} /v2/a/blobs/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        exchange(
            server.addr,
            dir.path(),
            "ca.pem",
            None,
            &[head.as_bytes(), body].concat(),
        )
        .unwrap()
    };
    let pushed = ask("POST", &format!("uploads/?digest={digest}"), &bytes);
    assert!(pushed.starts_with(b"HTTP/1.1 201"));
    assert!(
        ask("GET", &digest.to_string(), b"").ends_with(&[b"\r\n\r\n".as_slice(), &bytes].concat())
    );
}

/// A token signed with RS256 by the key `name`.
fn token(dir: &Path, name: &str, with_chain: bool, access: &Value) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if with_chain {
        let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
        header["x5c"] = json!([STANDARD.encode(&certificate)]);
    }
    let claims = json!({"iss": "us", "sub": "somebody", "aud": "registry", "exp": now + 60, "nbf": now - 5, "access": access});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = dir.join(format!("{name}.key"));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl
        .stdin
        .take()
        .unwrap()
        .write_all(signed.as_bytes())
        .unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn tokens_by_certificate() {
    let dir = certificates();
    let bundle = dir.path().join("ca.pem").display().to_string();
    let token_settings = format!(
        "auth: {{token: {{realm: 'https://auth/token', service: registry, issuer: us, rootcertbundle: {bundle}}}}}"
    );
    let server = Server::with(&token_settings);
    let send = |token: &str, method: &str, path: &str| {
        let value = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() {
            &[]
        } else {
            &[("Authorization", &value)]
        };
        server.send(method, path, headers, b"")
    };
    let asked = send("", "GET", "/v2/").refused(401, "UNAUTHORIZED");
    assert_eq!(
        asked.header("www-authenticate"),
        r#"Bearer realm="https://auth/token",service="registry""#
    );
    let uploads = "/v2/a/blobs/uploads/";
    let asked = send("", "POST", uploads).refused(401, "UNAUTHORIZED");
    assert!(
        asked
            .header("www-authenticate")
            .ends_with(r#",scope="repository:a:pull,push""#)
    );
    let access = json!([{"type": "repository", "name": "a", "actions": ["pull", "push"]}]);
    // By the certificate in the bundle itself, and by one that it vouches for.
    for (name, with_chain) in [("ca", false), ("ca", true), ("signer", true)] {
        let good = token(dir.path(), name, with_chain, &access);
        send(&good, "POST", uploads).expect(202);
        let refused = send(&good, "POST", "/v2/b/blobs/uploads/").refused(401, "UNAUTHORIZED");
        assert!(
            refused
                .header("www-authenticate")
                .ends_with(r#",error="insufficient_scope""#)
        );
        send(&good, "DELETE", "/v2/a/manifests/x").refused(401, "UNAUTHORIZED");
        send(&good, "GET", "/v2/_catalog").refused(401, "UNAUTHORIZED");
    }
    for (name, with_chain) in [("other", true), ("other", false), ("signer", false)] {
        let bad = token(dir.path(), name, with_chain, &access);
        let refused = send(&bad, "POST", uploads).refused(401, "UNAUTHORIZED");
        assert!(
            refused
                .header("www-authenticate")
                .ends_with(r#",error="invalid_token""#)
        );
    }
}
