//! TLS to a daemon, as `docker --tls` and `--tlsverify` mean it.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// Whose certificates are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Any certificate will do.
    #[default]
    Any,
    /// Those of the authorities that the system trusts.
    System,
    /// Those of the authorities in this file.
    File(PathBuf),
}

/// How to speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that the daemon's certificate must be of.
    pub authorities: Authorities,
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
    wharf_tls::certificates(path).map_err(failed(what))
}

fn wrong(error: rustls::Error) -> Error {
    Error::Tls(error.to_string())
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, format!("could not read CA certificate {path:?}"))? {
        roots.add(certificate).map_err(wrong)?;
    }
    Ok(roots)
}

impl Tls {
    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let roots = match &self.authorities {
            Authorities::Any => None,
            Authorities::System => Some(wharf_tls::system_roots().clone()),
            Authorities::File(path) => Some(roots(path)?),
        };
        let builder = wharf_tls::client(roots).map_err(wrong)?;
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let what = || "Could not load X509 key pair".to_owned();
        let chain = certificates(certificate, what())?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(failed(what()))?;
        builder.with_client_auth_cert(chain, key).map_err(wrong)
    }
}
