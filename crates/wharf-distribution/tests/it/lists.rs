//! Lists of tags and of what was searched.

use crate::app::registry;
use crate::common::{Reply, client};

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
