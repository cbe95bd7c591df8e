//! TLS on TCP, with dockerd's flags: `--tlsverify` is who may come, and without it nobody from outside may.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::directives::Directives;

/// Files of a TLS server.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// Only clients with a certificate of these authorities may come.
    pub(super) verify: bool,
    authorities: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// What flags and file ask for. Who says anything of verifying means TLS (as dockerd has it).
    pub(super) fn resolve(said: &Directives) -> Option<Self> {
        let verify = said.tlsverify;
        let on = said.tls == Some(true) || verify.is_some();
        let folder = std::env::var_os("DOCKER_CERT_PATH").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker"),
            PathBuf::from,
        );
        let path = |given: &Option<PathBuf>, name: &str| {
            given.clone().unwrap_or_else(|| folder.join(name))
        };
        on.then(|| Self {
            verify: verify == Some(true),
            authorities: path(&said.tlscacert, "ca.pem"),
            certificate: path(&said.tlscert, "cert.pem"),
            key: path(&said.tlskey, "key.pem"),
        })
    }

    /// Reads the files.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = if self.verify {
            let mut roots = RootCertStore::empty();
            let path = &self.authorities;
            let read = certificates(path);
            for certificate in
                read.with_context(|| format!("could not read CA certificate {path:?}"))?
            {
                roots.add(certificate)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let identity = || -> Result<_> {
            let key = PrivateKeyDer::from_pem_file(&self.key);
            let key = key.with_context(|| self.key.display().to_string())?;
            Ok((certificates(&self.certificate)?, key))
        };
        let (chain, key) = identity().with_context(|| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!(
                "could not load X509 key pair (cert: {:?}, key: {:?})",
                certificate.to_string(),
                key.to_string()
            )
        })?;
        let config = builder.with_single_cert(chain, key);
        Ok(Arc::new(config.context("could not load X509 key pair")?))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| path.display().to_string())
}
