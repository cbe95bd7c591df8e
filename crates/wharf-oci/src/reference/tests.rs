//! What is a name, what is not, and how both are said.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    Reference::parse_normalized(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    match Reference::parse_normalized(text) {
        Ok(reference) => panic!("{text} became {reference}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn normalises_and_shortens() {
    let cases = [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        (
            "index.docker.io/debian",
            "docker.io/library/debian",
            "debian",
        ),
        (
            "docker.io/library/debian",
            "docker.io/library/debian",
            "debian",
        ),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        (
            "localhost:5000/app:1",
            "localhost:5000/app:1",
            "localhost:5000/app:1",
        ),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("127.0.0.1/app", "127.0.0.1/app", "127.0.0.1/app"),
        ("Example/app", "Example/app", "Example/app"),
        ("a.b_c__d---e/f", "a.b_c__d---e/f", ""),
        (
            "x/a.b_c__d---e",
            "docker.io/x/a.b_c__d---e",
            "x/a.b_c__d---e",
        ),
        (
            "xn--n3h.com/a:B_.-",
            "xn--n3h.com/a:B_.-",
            "xn--n3h.com/a:B_.-",
        ),
        (
            "debian:v1.0-RC_1",
            "docker.io/library/debian:v1.0-RC_1",
            "debian:v1.0-RC_1",
        ),
    ];
    for (text, canonical, familiar) in cases {
        if familiar.is_empty() {
            // An underscore is no part of a host name, and a dot makes the first component one.
            assert_eq!(refusal(text), "invalid reference format");
            continue;
        }
        assert_eq!(parse(text).to_string(), canonical);
        assert_eq!(parse(text).familiar(), familiar);
    }
}

#[test]
fn keeps_tag_and_digest() {
    let both = parse(&format!("debian:12@{DIGEST}"));
    assert_eq!(both.tag(), Some("12"));
    assert_eq!(both.digest().unwrap().to_string(), DIGEST);
    assert_eq!(both.familiar(), format!("debian:12@{DIGEST}"));
    let digest_only = parse(&format!("debian@{DIGEST}")).with_default_tag();
    assert_eq!(digest_only.tag(), None);
    assert_eq!(
        parse("debian").with_default_tag().familiar(),
        "debian:latest"
    );
    assert_eq!(
        parse("debian").with_tag("a b"),
        Err(ReferenceError::InvalidTag)
    );
    assert_eq!(parse("a:1").with_tag("2").unwrap().familiar(), "a:2");
    assert_eq!(both.without_tag_and_digest().familiar(), "debian");
}

#[test]
fn refuses_in_dockers_words() {
    let hex = &DIGEST[7..];
    let long = "a".repeat(NAME_MAX + 1);
    let cases = [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a_", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:b/c", "invalid reference format"),
        ("-host.com/a", "invalid reference format"),
        ("host:port/a", "invalid reference format"),
        ("[::1/a", "invalid reference format"),
        ("[fe80::1%eth0]:5000/a", "invalid reference format"),
        ("docker.io", ""),
        (
            "Foo",
            "invalid reference format: repository name (library/Foo) must be lowercase",
        ),
        (
            "user/Foo:1",
            "invalid reference format: repository name (user/Foo) must be lowercase",
        ),
        ("a@sha256:e3b0", "invalid reference format"),
        (
            "a@sha256:e3b0c44298fc1c149afbf4c8996fb924",
            "invalid checksum digest length",
        ),
        (
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "unsupported digest algorithm",
        ),
        (
            &long,
            "repository name must not be more than 255 characters",
        ),
    ];
    for (text, message) in cases {
        if message.is_empty() {
            parse(text);
        } else {
            assert_eq!(refusal(text), message, "{text}");
        }
    }
    let message =
        format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings");
    assert_eq!(refusal(hex), message);
    parse(&format!("a:{}", "t".repeat(TAG_MAX)));
    assert_eq!(
        refusal(&format!("a:{}", "t".repeat(TAG_MAX + 1))),
        "invalid reference format"
    );
    // "library/" counts: the limit is on the path as it is sent to the registry.
    parse(&"a".repeat(NAME_MAX - OFFICIAL_PREFIX.len()));
}

#[test]
fn tells_ids_from_names() {
    let id = Digest::parse(DIGEST).unwrap();
    assert_eq!(AnyReference::parse(DIGEST), Ok(AnyReference::Id(id)));
    assert_eq!(AnyReference::parse(&DIGEST[7..]), Ok(AnyReference::Id(id)));
    assert_eq!(
        AnyReference::parse("debian"),
        Ok(AnyReference::Named(parse("debian")))
    );
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = Reference::parse_normalized(&text);
        let _ = AnyReference::parse(&text);
    }

    #[test]
    fn both_forms_mean_the_same(text in "([a-zA-Z0-9.:-]{1,9}/)?[a-z0-9._/-]{1,12}(:[a-zA-Z0-9._-]{1,5})?") {
        if let Ok(reference) = Reference::parse_normalized(&text) {
            prop_assert_eq!(&parse(&reference.to_string()), &reference);
            prop_assert_eq!(&parse(&reference.familiar()), &reference);
            let json = serde_json::to_string(&reference).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Reference>(&json).unwrap(), &reference);
        }
    }
}
