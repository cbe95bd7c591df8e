//! TLS to a plugin, as its specification wants it (moby `pkg/plugins`; `TLSConfig` is go-connections' `tlsconfig.Options`).

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
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
        let roots = (!self.insecure_skip_verify).then(|| self.roots());
        let builder = wharf_tls::client(roots.transpose()?).map_err(|error| error.to_string())?;
        let config = match self.identity()? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("could not load X509 key pair: {error}"))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = wharf_tls::system_roots().clone();
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
    wharf_tls::certificates(path).map_err(reason)
}

fn reason(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => wharf_sys::words::of(&error),
        other => other.to_string(),
    }
}

/// TLS over a connection to `host:port`; the handshake comes with the first write.
pub(super) fn wrap<S: Read + Write>(
    stream: S,
    address: &str,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, S>, String> {
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
