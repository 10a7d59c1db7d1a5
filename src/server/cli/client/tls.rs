//! Whose certificates the client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::server::cli::CliError;

/// Which certificates are good.
#[derive(Debug)]
pub(super) enum Trust {
    /// Any: the connection is encrypted, but nobody knows with whom.
    Everybody,
    /// Those that lead to one of these.
    Authorities(PathBuf),
    /// Those that lead to an authority of the system.
    System,
}

impl Trust {
    pub(super) fn of(insecure: bool, authorities: Option<&Path>) -> Self {
        match (insecure, authorities) {
            (true, _) => Self::Everybody,
            (false, Some(path)) => Self::Authorities(path.to_owned()),
            (false, None) => Self::System,
        }
    }

    /// What rustls needs for a connection.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, CliError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(CliError::failed)?;
        let config = match self {
            Self::Everybody => {
                let verifier = Arc::new(AnyCertificate { provider });
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Self::Authorities(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
            Self::System => builder.with_root_certificates(roots(&system_roots()?)?).with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// Checks that the peer holds the key of its certificate, and nothing about whose it is.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn roots(path: &Path) -> Result<RootCertStore, CliError> {
    let wrong = |why: String| CliError::Usage(format!("certificates in {}: {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.filter_map(Result::ok));
    if store.is_empty() { Err(wrong("none can be used".to_owned())) } else { Ok(store) }
}

fn system_roots() -> Result<PathBuf, CliError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.is_file());
    found.ok_or_else(|| {
        CliError::Usage("the system has no list of certificates: give one with --ca FILE".to_owned())
    })
}

/// Debian, Fedora, openSUSE, Alpine and macOS.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
