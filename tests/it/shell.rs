//! `stompede pub` and `stompede sub` against a peer that speaks STOMP by the protocol crate's own session.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stompede_protocol::{
    Accepted, ErrorFrame, Event, Headers, HeartBeat, Limits, MessageHead, MessageTail, Millis, Session,
    Version,
};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_hdr};

/// What the peer saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Connect { login: Option<String>, authorization: Option<String> },
    Send { destination: String, header: Option<String>, body: Vec<u8> },
    Subscribe(String),
    Disconnect,
}

/// Takes one connection and serves it to its end.
struct Peer {
    port: u16,
    seen: Receiver<Seen>,
    thread: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Door {
    Plain,
    Tls,
    WebSocket,
}

impl Peer {
    /// `messages` are delivered after each SUBSCRIBE's RECEIPT; a login `mallory` is refused.
    fn new(door: Door, messages: &'static [&'static [u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = channel();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            match door {
                Door::Plain => talk(Bytewise(socket), &tell, messages),
                Door::Tls => talk(Bytewise(encrypted(socket)), &tell, messages),
                Door::WebSocket => talk(upgraded(socket), &tell, messages),
            }
        });
        Self { port, seen, thread }
    }

    fn end(self) -> Vec<Seen> {
        self.thread.join().unwrap();
        self.seen.iter().collect()
    }
}

trait Pipe {
    /// Empty at the end.
    fn take(&mut self) -> Vec<u8>;
    fn give(&mut self, bytes: &[u8]);
}

struct Bytewise<S>(S);

impl<S: Read + Write> Pipe for Bytewise<S> {
    fn take(&mut self) -> Vec<u8> {
        let mut chunk = [0; 4096];
        let read = self.0.read(&mut chunk).unwrap_or(0);
        chunk[..read].to_vec()
    }

    fn give(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }
}

impl Pipe for WebSocket<TcpStream> {
    fn take(&mut self) -> Vec<u8> {
        loop {
            match self.read() {
                Ok(Message::Text(text)) => return text.as_bytes().to_vec(),
                Ok(Message::Binary(bytes)) => return bytes.to_vec(),
                Ok(_) => {}
                Err(_) => return Vec::new(),
            }
        }
    }

    fn give(&mut self, bytes: &[u8]) {
        let _ = self.send(Message::binary(bytes.to_vec()));
    }
}

fn encrypted(socket: TcpStream) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), socket)
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn upgraded(socket: TcpStream) -> WebSocket<TcpStream> {
    let choose = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/ws");
        assert_eq!(request.headers()["sec-websocket-protocol"], "v12.stomp, v11.stomp, v10.stomp");
        response.headers_mut().insert("sec-websocket-protocol", "v12.stomp".parse().unwrap());
        Ok(response)
    };
    accept_hdr(socket, choose).unwrap()
}

fn talk(mut pipe: impl Pipe, tell: &Sender<Seen>, messages: &[&[u8]]) {
    let now = Millis(0);
    let mut session = Session::new(Arc::new(Limits::default()), HeartBeat::default(), now);
    loop {
        let chunk = pipe.take();
        if chunk.is_empty() {
            return;
        }
        let mut input = &chunk[..];
        while let Some(event) = session.receive(now, &mut input) {
            let mut after = Vec::new();
            match event {
                Event::Connect(connect) => {
                    let (login, authorization) = (connect.login.clone(), connect.authorization.clone());
                    let (login, authorization) = (login.map(Into::into), authorization.map(Into::into));
                    let refused = login.as_deref() == Some("mallory");
                    tell.send(Seen::Connect { login, authorization }).unwrap();
                    if refused {
                        session.close(&ErrorFrame {
                            message: "login or passcode is wrong",
                            code: "unauthorized",
                            ..ErrorFrame::default()
                        });
                    } else {
                        session.accept(
                            now,
                            Accepted { session: "s", server: "peer/1", user_name: None, headers: &[] },
                        );
                    }
                }
                Event::Subscribe(subscribe) => {
                    tell.send(Seen::Subscribe(subscribe.destination.to_string())).unwrap();
                    subscribe.receipt.into_iter().for_each(|receipt| session.complete(receipt));
                    let id = subscribe.id.as_deref();
                    messages.iter().for_each(|body| deliver(id, &subscribe.destination, body, &mut after));
                }
                Event::Send(send) => {
                    let header = send.headers.get("x").map(str::to_owned);
                    let destination = send.destination.to_string();
                    tell.send(Seen::Send { destination, header, body: send.body.to_vec() }).unwrap();
                    send.receipt.into_iter().for_each(|receipt| session.complete(receipt));
                }
                Event::Disconnect(receipt) => {
                    tell.send(Seen::Disconnect).unwrap();
                    receipt.into_iter().for_each(|receipt| session.complete(receipt));
                }
                event => panic!("{event:?}"),
            }
            while let Some(bytes) = session.poll_transmit() {
                pipe.give(&bytes);
            }
            if !after.is_empty() {
                pipe.give(&after);
            }
            if session.is_closed() {
                return;
            }
        }
    }
}

fn deliver(subscription: Option<&str>, destination: &str, body: &[u8], out: &mut Vec<u8>) {
    MessageHead { subscription, message_id: "1", ack: None }.encode(Version::V1_2, out);
    MessageTail { destination, headers: &Headers::new(), own: &[], body }.encode(Version::V1_2, out);
}

fn stompede(arguments: &[&str], url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
    command.args(arguments).args(["--url", url, "--timeout", "20"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], url: &str) -> Output {
    stompede(arguments, url).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn sent(destination: &str, header: Option<&str>, body: &[u8]) -> Seen {
    Seen::Send { destination: destination.to_owned(), header: header.map(str::to_owned), body: body.to_vec() }
}

fn guest() -> Seen {
    Seen::Connect { login: Some("guest".to_owned()), authorization: None }
}

#[test]
fn pub_sends_and_waits_for_the_receipt() {
    let peer = Peer::new(Door::Plain, &[]);
    let output =
        run(&["pub", "/topic/a", "hello", "--header", "x:1"], &format!("stomp://127.0.0.1:{}", peer.port));
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(peer.end(), [guest(), sent("/topic/a", Some("1"), b"hello"), Seen::Disconnect]);
}

#[test]
fn pub_reads_any_bytes_from_standard_input_and_shows_a_token() {
    let peer = Peer::new(Door::WebSocket, &[]);
    let url = format!("ws://127.0.0.1:{}/ws", peer.port);
    let mut child: Child =
        stompede(&["pub", "/queue/a", "--token", "t"], &url).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[0xff, 0, b'x']).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let connect = Seen::Connect { login: None, authorization: Some("Bearer t".to_owned()) };
    assert_eq!(peer.end()[..2], [connect, sent("/queue/a", None, &[0xff, 0, b'x'])]);
}

#[test]
fn sub_prints_one_message_a_line_and_ends_after_the_count() {
    for (door, scheme) in [(Door::Plain, "stomp"), (Door::WebSocket, "ws"), (Door::Tls, "stomps")] {
        let peer = Peer::new(door, &[b"one", b"two\nlines", b"three"]);
        let url = format!("{scheme}://127.0.0.1:{}", peer.port);
        let output = run(&["sub", "/topic/a", "--count", "2", "--insecure"], &url);
        assert!(output.status.success(), "{scheme}: {}", err(&output));
        assert_eq!(out(&output), "one\ntwo\\nlines\n", "{scheme}");
        assert_eq!(peer.end()[..2], [guest(), Seen::Subscribe("/topic/a".to_owned())]);
    }
}

#[test]
fn sub_prints_json_when_asked() {
    let peer = Peer::new(Door::Plain, &[b"{}"]);
    let output =
        run(&["sub", "/topic/a", "--count", "1", "--json"], &format!("stomp://127.0.0.1:{}", peer.port));
    let line: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!((&line["destination"], &line["body"]), (&"/topic/a".into(), &"{}".into()));
    assert_eq!(line["headers"]["subscription"], "sub-0");
    peer.end();
}

#[test]
fn sub_goes_on_without_a_count_and_says_when_the_connection_ends() {
    let peer = Peer::new(Door::Plain, &[b"one"]);
    let mut child =
        stompede(&["sub", "/topic/a"], &format!("stomp://127.0.0.1:{}", peer.port)).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    peer.end();
}

#[test]
fn a_refusal_is_told_and_ends_with_1() {
    let peer = Peer::new(Door::Plain, &[]);
    let url = format!("stomp://127.0.0.1:{}", peer.port);
    let output = run(&["pub", "/topic/a", "x", "--login", "mallory", "--passcode", "s3cret"], &url);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("unauthorized: login or passcode is wrong"), "{}", err(&output));
    assert!(!err(&output).contains("s3cret"));
    peer.end();
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let peer = Peer::new(Door::Tls, &[]);
    let roots = tempfile::NamedTempFile::new().unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(roots.path(), other.cert.pem()).unwrap();
    let url = format!("stomps://localhost:{}", peer.port);
    let output = run(&["pub", "/topic/a", "x", "--ca", roots.path().to_str().unwrap()], &url);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("certificate"), "{}", err(&output));
    assert_eq!(peer.end(), []);
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = run(&["sub", "/topic/a"], &format!("stomp://127.0.0.1:{port}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains(&format!("127.0.0.1:{port}")), "{}", err(&output));
    assert_eq!(run(&["sub", "/topic/a"], "http://h").status.code(), Some(2));
}
