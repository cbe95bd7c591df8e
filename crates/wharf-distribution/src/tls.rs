//! TLS settings per registry: the system's roots, `certs.d`, or no verification at all for insecure registries.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::RegistryError;

/// The settings for one host.
///
/// # Errors
/// If a file in the host's `certs.d` folder cannot be used.
pub(crate) fn client_config(
    authority: &str,
    certs_dir: &Path,
    verify: bool,
) -> Result<ClientConfig, RegistryError> {
    let failed = |error: rustls::Error| RegistryError::Config(format!("tls: {error}"));
    let files = HostFiles::read(&certs_dir.join(authority))?;
    let roots = verify.then(|| roots(files.authorities)).transpose()?;
    let builder = wharf_tls::client(roots).map_err(failed)?;
    match files.client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| RegistryError::Config(format!("certs.d: {error}"))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Those of the system, and the host's own.
fn roots(own: Vec<CertificateDer<'static>>) -> Result<RootCertStore, RegistryError> {
    let mut roots = wharf_tls::system_roots().clone();
    for authority in own {
        roots
            .add(authority)
            .map_err(|error| RegistryError::Config(format!("certs.d: {error}")))?;
    }
    Ok(roots)
}

/// What `certs.d/HOST` holds: `*.crt` are authorities, `*.cert` with `*.key` of the same name is the client.
#[derive(Default)]
struct HostFiles {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostFiles {
    fn read(dir: &Path) -> Result<HostFiles, RegistryError> {
        let mut found = HostFiles::default();
        // No folder for the host is the common case.
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Ok(found);
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.authorities.extend(certificates(&path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        return Err(RegistryError::Config(format!(
                            "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                            key.display(),
                            path.display()
                        )));
                    }
                    let key = PrivateKeyDer::from_pem_file(&key)
                        .map_err(|error| bad_file(&key, &error))?;
                    found.client = Some((certificates(&path)?, key));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    wharf_tls::certificates(path).map_err(|error| bad_file(path, &error))
}

fn bad_file(path: &Path, error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Config(format!("certs.d: {}: {error}", path.display()))
}
