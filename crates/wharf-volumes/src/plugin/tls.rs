//! TLS to a plugin, as its specification wants it (moby `pkg/plugins`; `TLSConfig` is go-connections' `tlsconfig.Options`).

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use serde::Deserialize;

/// `TLSConfig` of `NAME.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TlsOptions {
    insecure_skip_verify: bool,
    /// Authorities beside the system's.
    #[serde(rename = "CAFile")]
    ca_file: PathBuf,
    /// What we show to the plugin.
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl TlsOptions {
    /// Of a specification that says nothing of TLS (`NAME.spec`).
    pub(crate) fn unverified() -> Self {
        Self {
            insecure_skip_verify: true,
            ..Self::default()
        }
    }

    /// As moby reads `TLSConfig`: without an authority, any certificate will do.
    pub(crate) fn completed(mut self) -> Self {
        self.insecure_skip_verify |= self.ca_file.as_os_str().is_empty();
        self
    }

    /// The settings of a connection.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.insecure_skip_verify {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        let config = match self.identity()? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("could not load X509 key pair: {error}"))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if !self.ca_file.as_os_str().is_empty() {
            let path = &self.ca_file;
            let bad = |reason: String| format!("could not read CA certificate {path:?}: {reason}");
            for authority in certificates(path).map_err(bad)? {
                roots
                    .add(authority)
                    .map_err(|error| bad(error.to_string()))?;
            }
        }
        Ok(roots)
    }

    fn identity(&self) -> Result<Option<Identity>, String> {
        let (certificate, key) = (&self.cert_file, &self.key_file);
        if certificate.as_os_str().is_empty() && key.as_os_str().is_empty() {
            return Ok(None);
        }
        let bad = |reason: String| format!("could not load X509 key pair: {reason}");
        let chain = certificates(certificate).map_err(bad)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(reason(error)))?;
        Ok(Some((chain, key)))
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(reason)
}

fn reason(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => super::words(&error),
        other => other.to_string(),
    }
}

/// TLS over a connection to `host:port`; the handshake comes with the first write.
pub(super) fn wrap(
    stream: TcpStream,
    address: &str,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let connection =
        ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())?;
    Ok(StreamOwned::new(connection, stream))
}

/// The name and the chain are not looked at, the handshake's signatures are.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
