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

/// Of those that come at the same time, no two get the same room.
#[test]
fn quotas_hold_for_who_comes_at_the_same_time() {
    let server = Server::with("  quota: {repository: 2000, total: 9000}");
    let push = |name: &str, fill: u8| {
        let bytes = vec![fill; 1500];
        let digest = Digest::sha256(&bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        server.send("POST", &path, &[], &bytes).status
    };
    let at_once = |names: &[&str], fills: std::ops::Range<u8>| {
        let mut taken = 0;
        std::thread::scope(|scope| {
            let pushes: Vec<_> = fills
                .map(|fill| {
                    let name = names[usize::from(fill) % names.len()];
                    scope.spawn(move || push(name, fill))
                })
                .collect();
            for one in pushes {
                let status = one.join().unwrap();
                assert!([201, 403].contains(&status), "{status}");
                taken += usize::from(status == 201);
            }
        });
        taken
    };
    for round in 0..3 {
        let name = format!("r{round}");
        assert_eq!(at_once(&[&name], round * 8..round * 8 + 8), 1, "{name}");
    }
    // Of the whole, 4500 are left: three times 1500.
    assert_eq!(at_once(&["s0", "s1", "s2", "s3", "s4", "s5"], 30..48), 3);
    // Two who bring the same thing take its room once.
    let server = Server::with("  quota: {repository: 9000, total: 9000}");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&[1; 1500]));
                server.send("POST", &path, &[], &[1; 1500]).expect(201);
            });
        }
    });
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&[2; 7000]));
    server.send("POST", &path, &[], &[2; 7000]).expect(201);
}

/// What is given up holds nothing back, and what is gone on with later is measured again.
#[test]
fn quotas_and_uploads_that_are_given_up() {
    let server = Server::with("  quota: {repository: 2000, total: 2000}");
    let begin = || {
        let answer = server
            .send("POST", "/v2/a/blobs/uploads/", &[], b"")
            .expect(202);
        answer.header("location").to_owned()
    };
    // More than there is place for: the upload is gone, and what came of it.
    let large = begin();
    server.send("PATCH", &large, &[], &[1; 1500]).expect(202);
    server
        .send("PATCH", &large, &[], &[1; 1500])
        .refused(403, "DENIED");
    server.get(&large).refused(404, "BLOB_UPLOAD_UNKNOWN");
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&[2; 1800]));
    server.send("POST", &path, &[], &[2; 1800]).expect(201);
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
