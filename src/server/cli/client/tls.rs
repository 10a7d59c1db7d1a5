//! Whose certificates the client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::server::cli::CliError;
use crate::server::trust::{self, TrustError};

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
        let roots = match self {
            Self::Everybody => RootCertStore::empty(),
            Self::Authorities(path) => roots(Some(path))?,
            Self::System => roots(None)?,
        };
        let mut config = trust::client(roots).map_err(CliError::failed)?;
        if matches!(self, Self::Everybody) {
            let provider = Arc::clone(config.crypto_provider());
            config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate { provider }));
        }
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

fn roots(file: Option<&Path>) -> Result<RootCertStore, CliError> {
    trust::roots(file).map_err(|error| {
        CliError::Usage(match error {
            TrustError::NoSystemRoots => format!("{error}: give one with --ca FILE"),
            TrustError::Unusable { .. } => error.to_string(),
        })
    })
}
