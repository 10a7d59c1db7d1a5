//! Whose certificates are trusted where we are the client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// No file was named, and there is none where systems have it.
    #[error("the system has no list of certificates")]
    NoSystemRoots,
    /// The file is not what it should be.
    #[error("certificates in {}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The authorities in a PEM file, or those of the system.
///
/// # Errors
/// There is no file, or nothing in it.
pub(crate) fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => system_roots().ok_or(TrustError::NoSystemRoots)?,
    };
    let wrong = |why: String| TrustError::Unusable { path: path.clone(), why };
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| wrong(error.to_string()))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.filter_map(Result::ok));
    if store.is_empty() { Err(wrong("none can be used".to_owned())) } else { Ok(store) }
}

/// A client that trusts `roots`, and shows nothing of its own.
///
/// # Errors
/// The cryptography has no version of TLS in common with rustls.
pub(crate) fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    named.into_iter().chain(usual).find(|path| path.is_file())
}

/// Debian, Fedora, openSUSE, Alpine and macOS.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
