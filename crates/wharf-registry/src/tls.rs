//! TLS of the server (`http.tls`), and of who is told what happens.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::config::Tls;

/// # Errors
/// [`Error::Config`] if a file cannot be read, or the key is not the certificate's.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Error> {
    let wrong = |key: &str, path: &Path, why: &dyn std::fmt::Display| {
        Error::Config(format!("http.tls.{key}: {}: {why}", path.display()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = match tls.only_newest {
        true => builder.with_protocol_versions(&[&rustls::version::TLS13]),
        false => builder.with_safe_default_protocol_versions(),
    };
    let builder = builder.map_err(|error| Error::Config(format!("http.tls: {error}")))?;
    let builder = match tls.client_authorities.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let mut roots = RootCertStore::empty();
            for path in &tls.client_authorities {
                for certificate in wharf_tls::certificates(path)
                    .map_err(|error| wrong("clientcas", path, &error))?
                {
                    roots
                        .add(certificate)
                        .map_err(|error| wrong("clientcas", path, &error))?;
                }
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| Error::Config(format!("http.tls.clientcas: {error}")))?,
            )
        }
    };
    let chain = wharf_tls::certificates(&tls.certificate)
        .map_err(|error| wrong("certificate", &tls.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| wrong("key", &tls.key, &error))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong("certificate", &tls.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Trusts the machine's authorities.
///
/// # Errors
/// [`Error::Config`] if there is no TLS.
pub(crate) fn client() -> Result<ClientConfig, Error> {
    let builder = wharf_tls::client(Some(wharf_tls::system_roots().clone()));
    let builder = builder.map_err(|error| Error::Config(format!("TLS: {error}")))?;
    Ok(builder.with_no_client_auth())
}
