//! TLS: the certificate, and the handshake of one connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::acceptor::{Door, Face};
use super::misdirected::{self, Speech};
use super::socket::Socket;

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// PEM files.
    Files {
        /// The certificate, followed by those of its issuers.
        certificate: PathBuf,
        /// Its private key: PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
    /// A new certificate for localhost, for development.
    SelfSigned,
}

/// What is wrong with the certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds nothing of the kind.
    #[error("{} holds no {wanted} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Certificate and key are not fit for use, or not for each other.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The certificate for development could not be made.
    #[error("cannot make a certificate: {0}")]
    Unmade(#[from] rcgen::Error),
}

/// The configuration of a port. On HTTP ports HTTP/1.1 is agreed on.
///
/// # Errors
/// A file is missing or not what it should be.
pub fn config(settings: &TlsSettings, face: Face) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match settings {
        TlsSettings::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?),
        TlsSettings::SelfSigned => self_signed()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    if face == Face::Http {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Arc::new(config))
}

/// The handshake of one connection. A peer that speaks without TLS is told so in its own language.
///
/// # Errors
/// The peer does not speak TLS, or not ours, or takes longer than ten seconds.
pub async fn accept(stream: TcpStream, config: Arc<ServerConfig>, face: Face) -> io::Result<Socket> {
    tokio::time::timeout(HANDSHAKE_MAX, handshake(stream, config, face)).await?
}

async fn handshake(stream: TcpStream, config: Arc<ServerConfig>, face: Face) -> io::Result<Socket> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if misdirected::guess(&first) != Some(Speech::Tls) {
        return Err(refuse_plain(stream, face).await);
    }
    let limited =
        |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(SEND_BUFFER_BYTES_MAX));
    Ok(TlsAcceptor::from(config).accept_with(stream, limited).await?.into())
}

async fn refuse_plain(mut stream: TcpStream, face: Face) -> io::Error {
    let mut first = [0; 64];
    let count = stream.read(&mut first).await.unwrap_or(0);
    let speech = misdirected::guess(&first[..count]).unwrap_or(Speech::Unknown);
    if let Some(answer) = misdirected::answer(speech, Door { face, tls: true }) {
        // Best effort: the connection ends either way.
        let _ = misdirected::dismiss(stream, &answer).await;
    }
    io::Error::new(io::ErrorKind::InvalidData, "the peer speaks without TLS on a TLS port")
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Empty { path: path.to_owned(), wanted: "certificate" }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| TlsError::Empty { path: path.to_owned(), wanted: "private key" })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed() -> Result<Identity, TlsError> {
    let names = SELF_SIGNED_NAMES.map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// From the first byte to the end of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Encrypted bytes that wait inside one session: our outbox is the buffer, this is one write ahead.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
