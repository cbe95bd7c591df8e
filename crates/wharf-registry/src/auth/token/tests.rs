//! Tokens that are good, and each way in which one is not.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

struct Issuer {
    pair: EcdsaKeyPair,
    auth: TokenAuth,
}

const NOW: u64 = 1_800_000_000;

fn issuer() -> Issuer {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(&point[1..33]), "y": encode(&point[33..])}]});
    let auth = TokenAuth {
        realm: "https://auth/token".into(),
        service: "registry".into(),
        issuer: "issuer".into(),
        keys: parse_keys(set.to_string().as_bytes()).unwrap(),
        certificates: Vec::new(),
        anchors: Vec::new(),
    };
    Issuer { pair, auth }
}

impl Issuer {
    fn token(&self, header: Value, claims: Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        self.auth
            .verify(token, UNIX_EPOCH + Duration::from_secs(NOW))
    }
}

fn claims() -> Value {
    json!({"iss": "issuer", "sub": "somebody", "aud": "registry", "exp": NOW + 10, "nbf": NOW - 10,
        "access": [{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}]})
}

#[test]
fn a_good_token_gives_what_it_names() {
    let issuer = issuer();
    let given = issuer
        .verify(&issuer.token(json!({"alg": "ES256", "kid": "k"}), claims()))
        .unwrap();
    assert_eq!(given.subject, "somebody");
    assert!(given.allow(&Access::repository("a/b", Action::Push)));
    assert!(!given.allow(&Access::repository("a/b", Action::Delete)));
    assert!(!given.allow(&Access::repository("a", Action::Pull)));
    assert!(!given.allow(&Access::catalog()));
}

#[test]
fn any_other_is_refused() {
    let issuer = issuer();
    let header = json!({"alg": "ES256"});
    let with = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        issuer.token(header.clone(), claims)
    };
    let good = issuer.token(header.clone(), claims());
    assert!(issuer.verify(&good).is_ok());
    assert!(
        issuer
            .verify(&with("aud", json!(["x", "registry"])))
            .is_ok()
    );
    let stranger = super::tests::issuer();
    let mut forged: Vec<&str> = good.split('.').collect();
    let more = URL_SAFE_NO_PAD
        .encode(json!({"iss": "issuer", "aud": "registry", "exp": NOW + 10}).to_string());
    forged[1] = &more;
    let cases = [
        with("exp", json!(NOW - 61)),
        with("nbf", json!(NOW + 61)),
        with("iss", json!("x")),
        with("aud", json!("x")),
        with("aud", json!([])),
        with("exp", Value::Null),
        issuer.token(json!({"alg": "none"}), claims()),
        issuer.token(json!({"alg": "HS256"}), claims()),
        issuer.token(json!({"alg": "RS256"}), claims()),
        issuer.token(json!({"alg": "ES256", "crit": ["x"]}), claims()),
        stranger.token(header.clone(), claims()),
        forged.join("."),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        "a.b".into(),
        String::new(),
        "x".repeat(MAX_TOKEN + 1),
    ];
    for token in cases {
        assert!(issuer.verify(&token).is_err(), "{token}");
    }
}

#[test]
fn challenges_name_what_is_missing() {
    let access = [
        Access::repository("a", Action::Pull),
        Access::repository("a", Action::Push),
        Access::catalog(),
    ];
    assert_eq!(
        issuer().auth.challenge(&access, Some("insufficient_scope")),
        r#"Bearer realm="https://auth/token",service="registry",scope="repository:a:pull,push registry:catalog:*",error="insufficient_scope""#
    );
}

#[test]
fn signatures_of_certificates_are_written_otherwise() {
    let mut signature = [0; 64];
    signature[31] = 1;
    signature[32] = 0x80;
    let der = to_der(&signature).unwrap();
    assert_eq!(der[..5], [0x30, 38, 2, 1, 1]);
    assert_eq!(der[5..9], [2, 33, 0, 0x80]);
    assert!(to_der(&signature[1..]).is_none());
}
