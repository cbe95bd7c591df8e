//! TLS settings per registry: the system's roots, `certs.d`, or no verification at all for insecure registries.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::Config(format!("tls: {error}")))?;
    let files = HostFiles::read(&certs_dir.join(authority))?;
    let builder = if verify {
        let mut roots = system_roots().clone();
        for authority in files.authorities {
            roots
                .add(authority)
                .map_err(|error| RegistryError::Config(format!("certs.d: {error}")))?;
        }
        builder.with_root_certificates(roots)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    match files.client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| RegistryError::Config(format!("certs.d: {error}"))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Read when the first registry needs it: an idle daemon does without.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
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
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| bad_file(path, &error))
}

fn bad_file(path: &Path, error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Config(format!("certs.d: {}: {error}", path.display()))
}

/// For `insecure-registries`: the name and the chain are not looked at, the handshake's signatures are.
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
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
