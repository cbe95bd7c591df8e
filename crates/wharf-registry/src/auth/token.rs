//! Tokens of a server that knows the users (docker-registry's `auth.token`): JSON web tokens, signed with RS256 or ES256
//! by a key of ours (`jwks`), by a certificate of ours, or by one that ours vouch for (`rootcertbundle`).

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Deserialize;
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};

use super::{Access, Action};
use crate::Error;

/// Clocks may differ by so much.
const LEEWAY: Duration = Duration::from_secs(60);
/// A longer token is none.
const MAX_TOKEN: usize = 64 * 1024;

/// `auth.token` of the settings.
#[derive(Clone, Debug)]
pub(crate) struct TokenSettings {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) issuer: String,
    pub(crate) certificates: Option<PathBuf>,
    pub(crate) keys: Option<PathBuf>,
}

/// Whose tokens are good here.
#[derive(Debug)]
pub(crate) struct TokenAuth {
    realm: String,
    service: String,
    issuer: String,
    keys: Vec<Key>,
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

#[derive(Debug)]
enum Key {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256.
    Ec(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    x5c: Vec<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default, rename = "sub")]
    pub(super) subject: String,
    iss: String,
    #[serde(default)]
    aud: Audience,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    access: Option<Vec<Grant>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Audience {
        Audience::Many(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
struct Grant {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

impl Claims {
    pub(super) fn allow(&self, access: &Access) -> bool {
        self.access.iter().flatten().any(|grant| {
            let actions = grant.actions.as_deref().unwrap_or_default();
            grant.kind == access.kind
                && grant.name == access.name
                && actions
                    .iter()
                    .any(|one| one == "*" || one == access.action.as_str())
        })
    }
}

impl TokenAuth {
    /// # Errors
    /// [`Error::Config`] if keys or certificates cannot be read, or there are none.
    pub(crate) fn open(settings: &TokenSettings) -> Result<TokenAuth, Error> {
        let mut keys = Vec::new();
        if let Some(path) = &settings.keys {
            let text = std::fs::read(path).map_err(|error| config("jwks", path, &error))?;
            keys = parse_keys(&text).map_err(|why| config("jwks", path, &why))?;
        }
        let mut certificates = Vec::new();
        if let Some(path) = &settings.certificates {
            let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
            certificates = read().map_err(|error| config("rootcertbundle", path, &error))?;
        }
        if keys.is_empty() && certificates.is_empty() {
            return Err(Error::Config(
                "auth.token: no keys: give rootcertbundle or jwks".to_owned(),
            ));
        }
        let anchors = certificates
            .iter()
            .filter_map(|one| Some(webpki::anchor_from_trusted_cert(one).ok()?.to_owned()));
        Ok(TokenAuth {
            realm: settings.realm.clone(),
            service: settings.service.clone(),
            issuer: settings.issuer.clone(),
            keys,
            anchors: anchors.collect(),
            certificates,
        })
    }

    /// The challenge that tells a client which token to fetch, and where.
    pub(super) fn challenge(&self, access: &[Access], error: Option<&str>) -> String {
        let mut scopes: Vec<(String, Vec<&str>)> = Vec::new();
        for one in access {
            let target = format!("{}:{}", one.kind, one.name);
            let action = match one.action {
                Action::All => "*",
                action => action.as_str(),
            };
            match scopes.iter_mut().find(|(known, _)| *known == target) {
                Some((_, actions)) => actions.push(action),
                None => scopes.push((target, vec![action])),
            }
        }
        let scopes: Vec<String> = scopes
            .into_iter()
            .map(|(target, actions)| format!("{target}:{}", actions.join(",")))
            .collect();
        let mut text = format!("Bearer realm={:?},service={:?}", self.realm, self.service);
        if !scopes.is_empty() {
            text.push_str(&format!(",scope={:?}", scopes.join(" ")));
        }
        if let Some(error) = error {
            text.push_str(&format!(",error={error:?}"));
        }
        text
    }

    /// What the token says, if it is good now.
    ///
    /// # Errors
    /// Why it is not, for our log.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("too long");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("no JSON web token");
        };
        let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "malformed base64");
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| "malformed header")?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err("signed by an algorithm that we do not take"),
        };
        if header.crit.is_some() {
            return Err("has critical extensions");
        }
        let signature = decode(signature)?;
        if !self.is_signed(&header, algorithm, signed, &signature, now) {
            return Err("not signed by a key that we trust");
        }
        let claims: Claims =
            serde_json::from_slice(&decode(payload)?).map_err(|_| "malformed claims")?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), &'static str> {
        let is_for_us = match &claims.aud {
            Audience::One(one) => *one == self.service,
            Audience::Many(many) => many.contains(&self.service),
        };
        if claims.iss != self.issuer {
            return Err("made by somebody else than the issuer");
        }
        if !is_for_us {
            return Err("made for another service");
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Whatever number the issuer writes.
        if now > Duration::from_secs(claims.exp).saturating_add(LEEWAY) {
            return Err("expired");
        }
        if now + LEEWAY < Duration::from_secs(claims.nbf) {
            return Err("not good yet");
        }
        Ok(())
    }

    fn is_signed(
        &self,
        header: &Header,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
        now: SystemTime,
    ) -> bool {
        if self
            .keys
            .iter()
            .any(|key| key.verifies(algorithm, signed, signature))
        {
            return true;
        }
        if let Some(chain) = decode_chain(&header.x5c)
            && let Some((leaf, others)) = chain.split_first()
            && self.vouches(leaf, others, now)
        {
            return certificate_verifies(leaf, algorithm, signed, signature);
        }
        self.certificates
            .iter()
            .any(|one| certificate_verifies(one, algorithm, signed, signature))
    }

    /// Whether a certificate is one of ours, or one of ours leads to it.
    fn vouches(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> bool {
        if self.certificates.iter().any(|own| own == leaf) {
            return true;
        }
        let Ok(certificate) = EndEntityCert::try_from(leaf) else {
            return false;
        };
        let time = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        [KeyUsage::server_auth(), KeyUsage::client_auth()]
            .into_iter()
            .any(|usage| {
                let path = certificate.verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    &self.anchors,
                    others,
                    time,
                    usage,
                    None,
                    None,
                );
                path.is_ok()
            })
    }
}

impl Key {
    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Key::Rsa { n, e }, Algorithm::Rs256) => {
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, signature)
                    .is_ok()
            }
            (Key::Ec(point), Algorithm::Es256) => {
                let key =
                    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(signed, signature).is_ok()
            }
            // A key is good for its own algorithm alone.
            _ => false,
        }
    }
}

fn certificate_verifies(
    certificate: &CertificateDer<'_>,
    algorithm: Algorithm,
    signed: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return false;
    };
    let verified = match algorithm {
        Algorithm::Rs256 => {
            certificate.verify_signature(algorithms::RSA_PKCS1_2048_8192_SHA256, signed, signature)
        }
        Algorithm::Es256 => match to_der(signature) {
            Some(der) => certificate.verify_signature(algorithms::ECDSA_P256_SHA256, signed, &der),
            None => return false,
        },
    };
    verified.is_ok()
}

/// An ES256 signature (two numbers of 32 bytes, RFC 7518, 3.4) as certificates' signatures are written (DER).
fn to_der(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 64 {
        return None;
    }
    let mut body = Vec::new();
    for number in signature.chunks_exact(32) {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let number = &number[zeros..];
        let pad = usize::from(number[0] >= 0x80);
        body.extend([0x02, (number.len() + pad) as u8]);
        body.extend(std::iter::repeat_n(0, pad));
        body.extend_from_slice(number);
    }
    let mut der = vec![0x30, body.len() as u8];
    der.append(&mut body);
    Some(der)
}

fn decode_chain(x5c: &[String]) -> Option<Vec<CertificateDer<'static>>> {
    let decoded: Result<Vec<_>, _> = x5c.iter().map(|one| STANDARD.decode(one)).collect();
    Some(
        decoded
            .ok()?
            .into_iter()
            .map(CertificateDer::from)
            .collect(),
    )
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

fn parse_keys(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: KeySet = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let decode = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|error| error.to_string())
    };
    let mut keys = Vec::new();
    for key in set.keys {
        match (key.kty.as_str(), key.crv.as_str()) {
            ("RSA", _) => keys.push(Key::Rsa {
                n: decode(&key.n)?,
                e: decode(&key.e)?,
            }),
            ("EC", "P-256") => {
                let (x, y) = (decode(&key.x)?, decode(&key.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err("a P-256 point has two numbers of 32 bytes".to_owned());
                }
                keys.push(Key::Ec([vec![4], x, y].concat()));
            }
            (kty, crv) => {
                return Err(format!(
                    "key type {kty} {crv} is not supported: RSA or EC P-256"
                ));
            }
        }
    }
    Ok(keys)
}

fn config(key: &str, path: &std::path::Path, why: &dyn std::fmt::Display) -> Error {
    Error::Config(format!("auth.token.{key}: {}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
