//! What is not allowed: by quota, by settings, by who asks.

use wharf_oci::Digest;

use crate::client::Server;

const SOMEBODY: &str = "Basic c29tZWJvZHk6c2VjcmV0";
const READER: &str = "Basic cmVhZGVyOnNlY3JldA==";

#[test]
fn quotas() {
    let server = Server::with("  quota: {repository: 2000, total: 3000}");
    let push = |name: &str, size: usize, fill: u8| {
        let bytes = vec![fill; size];
        let path = format!(
            "/v2/{name}/blobs/uploads/?digest={}",
            Digest::sha256(&bytes)
        );
        server.send("POST", &path, &[], &bytes)
    };
    push("a", 1500, 1).expect(201);
    let refused = push("a", 600, 2).refused(403, "DENIED");
    assert!(
        refused
            .text()
            .contains("the quota of a is used up: 1500 of 2000 bytes"),
        "{}",
        refused.text()
    );
    push("a", 400, 2).expect(201);
    let refused = push("b", 1200, 3).refused(403, "DENIED");
    assert!(
        refused
            .text()
            .contains("the registry's quota is used up: 1900 of 3000"),
        "{}",
        refused.text()
    );
    // What is there already takes no more room of the whole, but of a repository.
    let mount = |digest: Digest| {
        let path = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
        server.send("POST", &path, &[], b"")
    };
    mount(Digest::sha256(&[1; 1500])).expect(201);
    push("b", 501, 4).refused(403, "DENIED");
    // Counted anew at the start, and freed by deletes.
    let server = server.restarted();
    let path = format!("/v2/a/blobs/{}", Digest::sha256(&[2; 400]));
    server.send("DELETE", &path, &[], b"").expect(202);
    assert_eq!(server.collect(false), 1900);
    let bytes = vec![5; 1900];
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&bytes));
    server.send("POST", &path, &[], &bytes).expect(201);
}

#[test]
fn read_only_and_without_deletes() {
    let server = Server::with("  delete: {enabled: false}");
    let image = server.push_image("a", "one", b"layer");
    for path in [
        format!("/v2/a/manifests/{}", image.digest),
        format!("/v2/a/blobs/{}", image.layer),
        "/v2/a/manifests/one".into(),
    ] {
        server
            .send("DELETE", &path, &[], b"")
            .refused(405, "UNSUPPORTED");
    }
    // Giving an upload up deletes nothing.
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    server
        .send("DELETE", begun.header("location"), &[], b"")
        .expect(204);
    let server = Server::with("  maintenance: {readonly: {enabled: true}}");
    server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .refused(405, "UNSUPPORTED");
    server
        .send("PUT", "/v2/a/manifests/x", &[], b"{}")
        .refused(405, "UNSUPPORTED");
    server.get("/v2/a/manifests/x").expect(404);
}

/// bcrypt of `secret`, cheap.
fn users(rules: &str) -> Server {
    let path = tempfile::Builder::new()
        .prefix("users")
        .tempfile()
        .unwrap()
        .into_temp_path()
        .keep()
        .unwrap();
    let made = std::process::Command::new("python3")
        .args(["-W", "ignore", "-c", "import crypt; print(crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"])
        .output()
        .unwrap();
    let hash = String::from_utf8(made.stdout).unwrap();
    std::fs::write(&path, format!("somebody:{hash}reader:{hash}")).unwrap();
    Server::with(&format!(
        "auth: {{htpasswd: {{realm: here, path: {}{rules}}}}}",
        path.display()
    ))
}

#[test]
fn passwords() {
    let server = users("");
    let answer = server.get("/v2/").refused(401, "UNAUTHORIZED");
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"here\"");
    for wrong in [
        "Basic c29tZWJvZHk6d3Jvbmc=",
        "Basic bm9ib2R5OnNlY3JldA==",
        "Basic !",
        "Bearer x",
        "Basic",
    ] {
        server
            .send("GET", "/v2/", &[("Authorization", wrong)], b"")
            .refused(401, "UNAUTHORIZED");
    }
    server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .refused(401, "UNAUTHORIZED");
    server
        .send("GET", "/v2/", &[("Authorization", SOMEBODY)], b"")
        .expect(200);
    server
        .send(
            "POST",
            "/v2/a/blobs/uploads/",
            &[("Authorization", SOMEBODY)],
            b"",
        )
        .expect(202);
    // Whether the server is up is for everybody.
    server.get("/").expect(200);
}

#[test]
fn rights_by_repository() {
    let server = users(
        ", access: [{users: [somebody], repositories: ['*'], actions: ['*']}, {users: ['*'], repositories: ['open/*'], actions: [pull]}]",
    );
    let send = |who: &str, method: &str, path: &str| {
        server
            .send(method, path, &[("Authorization", who)], b"")
            .status
    };
    assert_eq!(send(SOMEBODY, "POST", "/v2/open/a/blobs/uploads/"), 202);
    assert_eq!(send(READER, "GET", "/v2/open/a/manifests/x"), 404);
    assert_eq!(send(READER, "GET", "/v2/closed/manifests/x"), 403);
    assert_eq!(send(READER, "POST", "/v2/open/a/blobs/uploads/"), 403);
    assert_eq!(send(READER, "DELETE", "/v2/open/a/manifests/x"), 403);
    assert_eq!(send(READER, "GET", "/v2/_catalog"), 403);
    assert_eq!(send(READER, "GET", "/v2/"), 200);
    // A layer that may not be read is not taken over.
    let bytes = b"secret layer";
    let digest = Digest::sha256(bytes);
    let whole = format!("/v2/closed/blobs/uploads/?digest={digest}");
    server
        .send("POST", &whole, &[("Authorization", SOMEBODY)], bytes)
        .expect(201);
    let mount = format!("/v2/open/a/blobs/uploads/?mount={digest}&from=closed");
    assert_eq!(send(READER, "POST", &mount), 403);
    assert_eq!(send(SOMEBODY, "POST", &mount), 201);
}
