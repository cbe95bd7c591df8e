//! TLS to a daemon, as `docker --tls` and `--tlsverify` mean it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, Result};

/// How to speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that the daemon's certificate must be of. `None`: any certificate will do.
    pub authorities: Option<PathBuf>,
    /// Certificate and key to show to the daemon.
    pub identity: Option<(PathBuf, PathBuf)>,
}

fn failed(what: String) -> impl FnOnce(rustls::pki_types::pem::Error) -> Error {
    move |error| {
        let reason = match error {
            rustls::pki_types::pem::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        Error::Tls(format!("{what}: {reason}"))
    }
}

fn certificates(path: &Path, what: String) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<std::result::Result<Vec<_>, _>>();
    read().map_err(failed(what))
}

impl Tls {
    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let wrong = |error: rustls::Error| Error::Tls(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(wrong)?;
        let builder = match &self.authorities {
            Some(path) => {
                let what = format!("could not read CA certificate {path:?}");
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, what)? {
                    roots.add(certificate).map_err(wrong)?;
                }
                builder.with_root_certificates(roots)
            }
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        };
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let what = || "Could not load X509 key pair".to_owned();
        let chain = certificates(certificate, what())?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(failed(what()))?;
        builder.with_client_auth_cert(chain, key).map_err(wrong)
    }
}

/// Takes any certificate: `--tls` without `--tlsverify`. That the other end has its key is checked nevertheless.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
