//! Who may what: tokens, passwords, and who sees them.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine as _;

use wharf_distribution::Credentials;
use wharf_oci::Platform;

use crate::app::{failure, fetch, layer, registry, resolve};
use crate::common::{Registry, Reply, client};

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
    let token = client().login(&domain, Some(&credentials)).await.unwrap();
    assert_eq!(token.as_deref(), Some("refresh"));
    let asked = &registry.requests("/token")[0].path;
    for part in ["offline_token=true", "client_id=docker", "account=somebody"] {
        assert!(asked.contains(part), "{asked}");
    }
}
