//! Connections of load balancers: whose they are, and what happens when a balancer says it badly.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use stompede::model::CloseReason;
use stompede::server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::served::{DEADLINE, Served, configured, frame, login, rest};

/// Where the balancer of these tests connects from.
const BALANCER: [u8; 4] = [127, 0, 0, 7];
/// Somebody else.
const STRANGER: [u8; 4] = [127, 0, 0, 8];

fn start(mut more: Value) -> Served {
    more["trusted_proxies"] = json!(["127.0.0.7/32", "fd00::/8"]);
    more["limits"]["address_connections_max"] = json!(1);
    Served::start(Config { stomp_tls_port: 0, ..configured(more) })
}

/// One whose ports want a header.
fn start_with_headers(mut more: Value) -> Served {
    more["http_proxy_protocol"] = json!(true);
    more["stomp_proxy_protocol"] = json!(true);
    start(more)
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// A header of version 2 with a TLV behind the addresses.
fn header(client: IpAddr) -> Vec<u8> {
    let (family, addresses) = match client {
        IpAddr::V4(v4) => (0x11, [&v4.octets()[..], &[10, 0, 0, 1, 0x30, 0x39, 0xf0, 0xad]].concat()),
        IpAddr::V6(v6) => (0x21, [&v6.octets()[..], &[0; 16], &[0x30, 0x39, 0xf0, 0xad]].concat()),
    };
    let rest = [&addresses[..], &[4, 0, 3, 0, 0, 0]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family, 0, u8::try_from(rest.len()).unwrap()][..], &rest].concat()
}

/// The answer to a login behind `first`.
async fn logged_in(stream: &mut TcpStream, first: &[u8]) -> String {
    stream.write_all(&[first, login("backend", "right").as_bytes()].concat()).await.unwrap();
    frame(stream).await
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_connection_counts_as_the_client_that_its_header_names() {
    let server = start_with_headers(json!({}));
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        let mut stream = connect(BALANCER, server.ports.stomp).await;
        let answer = logged_in(&mut stream, &header(ip(client))).await;
        assert!(answer.starts_with("CONNECTED"), "{client}: {answer}");
        open.push(stream);
    }
    for first in [header(ip("192.0.2.1")), b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 61613\r\n".to_vec()] {
        let mut stream = connect(BALANCER, server.ports.stomp).await;
        let answer = logged_in(&mut stream, &first).await;
        assert!(answer.contains("error-code:too-many-connections"), "{answer}");
    }
    // The balancer itself, in a health check or for somebody it does not know, is limited by nobody.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec();
    for first in [local.clone(), local, b"PROXY UNKNOWN\r\n".to_vec(), header(ip("127.0.0.7"))] {
        let mut stream = connect(BALANCER, server.ports.stomp).await;
        let answer = logged_in(&mut stream, &first).await;
        assert!(answer.starts_with("CONNECTED"), "{answer}");
        open.push(stream);
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let server = start_with_headers(json!({}));
    for first in [header(ip("192.0.2.1")), b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec()] {
        let mut stream = connect(BALANCER, server.ports.stomp).await;
        stream.set_nodelay(true).unwrap();
        for byte in first {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(logged_in(&mut stream, b"").await.starts_with("CONNECTED"));
    }
}

#[tokio::test]
async fn what_is_no_header_ends_the_connection_and_is_counted() {
    let server = start_with_headers(json!({"limits": {"connect_ms_max": 300}}));
    let whole = header(ip("192.0.2.1"));
    let too_long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x7f\xff"[..], &[0; 64]].concat();
    let cases = [
        login("backend", "right").into_bytes(),
        b"GET /healthz HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n".to_vec(),
        [&b"PROXY "[..], &[b'x'; 1_000]].concat(),
        too_long,
        vec![0xff; 64],
    ];
    for (n, garbage) in (1..).zip(&cases) {
        let address = if n % 2 == 0 { server.ports.http } else { server.ports.stomp };
        ended(&server, address, garbage, CloseReason::BadFrame, n).await;
    }
    for (n, slow) in (1..).zip([&whole[..10], &whole[..20], b"PROXY TCP4", b""]) {
        ended(&server, server.ports.stomp, slow, CloseReason::LoginTimeout, n).await;
    }
    // Who looks only whether somebody accepts is no fault.
    drop(connect(BALANCER, server.ports.stomp).await);
    let mut half = connect(BALANCER, server.ports.stomp).await;
    half.write_all(&whole[..20]).await.unwrap();
    half.shutdown().await.unwrap();
    assert_eq!(rest(&mut half).await, "");
    refused(&server, CloseReason::BadFrame, cases.len() as u64 + 1).await;
    let mut stream = connect(BALANCER, server.ports.stomp).await;
    assert!(logged_in(&mut stream, &whole).await.starts_with("CONNECTED"), "nobody else suffers from it");
}

/// The connection ends without a word after `bytes`, as the `n`th refused for `reason`.
async fn ended(server: &Served, address: SocketAddr, bytes: &[u8], reason: CloseReason, n: u64) {
    let mut stream = connect(BALANCER, address).await;
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // The end may come as a reset: bytes were left unread.
    let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    assert!(end.is_ok() && said.is_empty(), "{}: {}", bytes.escape_ascii(), said.escape_ascii());
    refused(server, reason, n).await;
}

async fn refused(server: &Served, reason: CloseReason, n: u64) {
    let deadline = Instant::now() + DEADLINE;
    while server.broker.counters().refusals(reason) < n {
        assert!(Instant::now() < deadline, "{reason:?} is not counted");
        tokio::task::yield_now().await;
    }
    assert_eq!(server.broker.counters().refusals(reason), n);
}

#[tokio::test]
async fn who_is_no_balancer_comes_without_a_header_and_is_not_believed_with_one() {
    for server in [start_with_headers(json!({})), start(json!({}))] {
        let mut direct = connect(STRANGER, server.ports.stomp).await;
        assert!(logged_in(&mut direct, b"").await.starts_with("CONNECTED"));
        let mut second = connect(STRANGER, server.ports.stomp).await;
        let answer = logged_in(&mut second, &header(ip("192.0.2.1"))).await;
        assert!(answer.contains("error-code:too-many-connections"), "{answer}");
        drop(direct);
        for first in [header(ip("192.0.2.1")), b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec()] {
            let answer = once_alone(&server, server.ports.stomp, &first).await;
            assert!(answer.starts_with("ERROR\n") && answer.contains("trusted_proxies"), "{answer}");
            let answer = once_alone(&server, server.ports.http, &first).await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("trusted_proxies"), "{answer}");
        }
    }
}

/// What a stranger is told, once no earlier connection of his counts any more.
async fn once_alone(server: &Served, address: SocketAddr, bytes: &[u8]) -> String {
    let deadline = Instant::now() + DEADLINE;
    while server.broker.connections().total() > 0 {
        assert!(Instant::now() < deadline, "a connection that ended still counts");
        tokio::task::yield_now().await;
    }
    let mut stream = connect(STRANGER, address).await;
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let server = start_with_headers(json!({"tls": {"self_signed": true}}));
    let ask = |client: &'static str, address| async move {
        let mut stream = connect(BALANCER, address).await;
        stream.write_all(&header(ip(client))).await.unwrap();
        TlsConnector::from(trusting()).connect("localhost".try_into().unwrap(), stream).await
    };
    let mut stomp = ask("192.0.2.1", server.ports.stomp_tls.unwrap()).await.unwrap();
    stomp.write_all(login("backend", "right").as_bytes()).await.unwrap();
    let mut answer = [0; 9];
    stomp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"CONNECTED");
    assert!(ask("192.0.2.1", server.ports.http).await.is_err(), "closed without a handshake");
    let mut http = ask("192.0.2.2", server.ports.http).await.unwrap();
    http.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    http.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 ");
}

/// A client that takes the broker's own certificate.
fn trusting() -> Arc<rustls::ClientConfig> {
    #[derive(Debug)]
    struct Anybody(Arc<rustls::crypto::CryptoProvider>);
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    impl ServerCertVerifier for Anybody {
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
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth())
}

/// A WebSocket, or the status of the refusal.
async fn upgrade(
    stream: TcpStream,
    forwarded: &[&str],
) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, u16> {
    let mut request = "ws://localhost/ws".into_client_request().unwrap();
    for value in forwarded {
        request.headers_mut().append("x-forwarded-for", value.parse().unwrap());
    }
    match client_async(request, stream).await {
        Ok((page, _)) => Ok(page),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_websocket_counts_as_the_client_that_the_balancer_was_asked_by() {
    let server = start(json!({}));
    let come = async |from, forwarded: &[&str]| {
        upgrade(connect(from, server.ports.http).await, forwarded).await.map_err(|status| status.to_string())
    };
    let page = come(BALANCER, &["192.0.2.1"]).await.unwrap();
    let _other = come(BALANCER, &["192.0.2.2"]).await.unwrap();
    // Whatever the client wrote itself stands left of what the balancer wrote.
    for forwarded in [&["192.0.2.1"][..], &["203.0.113.9, 192.0.2.1"], &["203.0.113.9", "192.0.2.1"]] {
        assert_eq!(come(BALANCER, forwarded).await.unwrap_err(), "429", "{forwarded:?}");
    }
    // One balancer behind another.
    assert_eq!(come(BALANCER, &["192.0.2.1, fd00::1"]).await.unwrap_err(), "429");
    let mut admin = TcpStream::connect(server.ports.admin.unwrap()).await.unwrap();
    admin.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let metrics = rest(&mut admin).await;
    assert!(
        metrics.contains("stompede_limits_crossed_total{limit=\"address_connections_max\"} 4\n"),
        "{metrics}"
    );
    drop(page);
    let deadline = Instant::now() + DEADLINE;
    while come(BALANCER, &["192.0.2.1"]).await.is_err() {
        assert!(Instant::now() < deadline, "a connection that ended still counts");
    }
    // Who is no balancer is who he is, whatever he says.
    let _stranger = come(STRANGER, &["192.0.2.77"]).await.unwrap();
    let mut second = connect(STRANGER, server.ports.http).await;
    let request =
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.78\r\nconnection: close\r\n\r\n";
    second.write_all(request.as_bytes()).await.unwrap();
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn each_request_on_a_balancers_connection_counts_as_its_clients() {
    let server = start(json!({}));
    let _page = upgrade(connect(BALANCER, server.ports.http).await, &["192.0.2.1"]).await.unwrap();
    let mut stream = connect(BALANCER, server.ports.http).await;
    for (client, status) in
        [("192.0.2.2", "200"), ("192.0.2.1", "429"), ("192.0.2.2", "200"), ("unknown", "200")]
    {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {client}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = response(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {answer}");
        assert_eq!(answer.contains("retry-after: "), status == "429", "{answer}");
    }
}

/// The next answer of a connection that stays open, its body included.
async fn response(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = async {
        loop {
            answer.push(char::from(stream.read_u8().await.unwrap()));
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("an answer in time");
    answer
}

#[tokio::test]
async fn behind_a_header_the_client_cannot_name_another() {
    let server = start_with_headers(json!({}));
    let come = async |client, forwarded: &[&str]| {
        let mut stream = connect(BALANCER, server.ports.http).await;
        stream.write_all(&header(ip(client))).await.unwrap();
        upgrade(stream, forwarded).await
    };
    let _page = come("192.0.2.1", &["203.0.113.1"]).await.unwrap();
    let mut second = connect(BALANCER, server.ports.http).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.2\r\n\r\n";
    second.write_all(&[&header(ip("192.0.2.1"))[..], request].concat()).await.unwrap();
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 429 "));
    // A balancer behind another, which says by its requests whom they are for.
    let _page = come("fd00::1", &["203.0.113.1"]).await.unwrap();
    assert_eq!(come("fd00::1", &["203.0.113.1"]).await.unwrap_err(), 429);
}
