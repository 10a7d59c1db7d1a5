//! The HTTP door over TLS.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stompede::server::Face;
use stompede::server::tls::{TlsError, TlsSettings, config};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message as Sent;

use crate::door::{Options, Running, ask};
use crate::websocket::mounts;

/// A certificate in files, as an operator has it.
struct Files {
    _directory: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _directory: directory, certificate, key }
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings::Files { certificate: self.certificate.clone(), key: self.key.clone() }
    }

    fn start(&self) -> Running {
        let tls = Some(config(&self.settings(), Face::Http).unwrap());
        Running::start(Options { tls, ..Options::default() }, mounts)
    }

    /// A client that trusts this certificate and no other.
    async fn connect(&self, door: &Running) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, door.connect().await).await
    }
}

#[tokio::test]
async fn https_is_answered_and_speaks_http_1_1() {
    let files = Files::new();
    let door = files.start();
    let stream = files.connect(&door).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = ask(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn wss_echoes_large_messages() {
    let files = Files::new();
    let door = files.start();
    let stream = files.connect(&door).await.unwrap();
    let (mut client, _) = tokio_tungstenite::client_async("wss://localhost/echo", stream).await.unwrap();
    for message in [Sent::text("hello"), Sent::binary(vec![7; 1 << 20])] {
        client.send(message.clone()).await.unwrap();
        assert!(client.next().await.unwrap().unwrap() == message);
    }
}

#[tokio::test]
async fn who_speaks_without_tls_is_told_in_his_own_language() {
    let files = Files::new();
    let door = files.start();
    let answer = door.request("GET", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let answer = door.ask("CONNECT\n\n\0").await;
    assert!(answer.starts_with("ERROR\n") && answer.contains("over TLS"), "{answer}");
}

#[tokio::test]
async fn stomp_inside_tls_on_the_https_port_is_told_too() {
    let files = Files::new();
    let door = files.start();
    let stream = files.connect(&door).await.unwrap();
    let answer = ask(stream, "CONNECT\n\n\0").await;
    assert!(answer.starts_with("ERROR\n"), "{answer}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_made_anew_and_trusted_by_nobody() {
    let tls = Some(config(&TlsSettings::SelfSigned, Face::Http).unwrap());
    let door = Running::start(Options { tls, ..Options::default() }, mounts);
    let error = Files::new().connect(&door).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn wrong_files_are_named() {
    let files = Files::new();
    let with = |certificate: &PathBuf, key: &PathBuf| {
        let settings = TlsSettings::Files { certificate: certificate.clone(), key: key.clone() };
        config(&settings, Face::Stomp).unwrap_err()
    };
    let missing = files.certificate.with_file_name("missing.pem");
    assert!(with(&missing, &files.key).to_string().contains("missing.pem"));
    assert!(matches!(with(&files.key, &files.key), TlsError::Empty { wanted: "certificate", .. }));
    assert!(matches!(
        with(&files.certificate, &files.certificate),
        TlsError::Empty { wanted: "private key", .. }
    ));
    let other = Files::new();
    assert!(matches!(with(&files.certificate, &other.key), TlsError::Unusable(_)));
}
