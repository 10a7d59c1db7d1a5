//! permessage-deflate over real sockets, with a client that speaks bytes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::json;
use stompede::server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::served::{DEADLINE, Served, configured, login};

/// A WebSocket of a client that compresses, frame by frame.
struct Client {
    stream: TcpStream,
    /// The header of the answer, `None` when the offer was declined.
    agreed: Option<String>,
}

/// A message of the server.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    compressed: bool,
    opcode: u8,
    /// Inflated.
    payload: Vec<u8>,
    /// Bytes on the wire without the header.
    bytes: usize,
}

impl Client {
    async fn open(server: &Served, offer: &str) -> Self {
        let mut stream = TcpStream::connect(server.ports.http).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: {offer}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let agreed = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        Self { stream, agreed: agreed.map(str::to_owned) }
    }

    async fn signed_in(server: &Served, name: &str) -> Self {
        let mut client = Self::open(server, "permessage-deflate; client_max_window_bits").await;
        client.send(login(name, "guest").as_bytes()).await;
        let connected = client.next().await;
        assert!(connected.payload.starts_with(b"CONNECTED\n") && !connected.compressed, "{connected:?}");
        client
    }

    async fn subscribed(server: &Served, id: &str, destination: &str) -> Self {
        let mut client = Self::signed_in(server, "alice").await;
        let subscribe = format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:r\n\n\0");
        client.send(subscribe.as_bytes()).await;
        assert!(client.next().await.payload.starts_with(b"RECEIPT\n"));
        client
    }

    /// Sends a compressed text message.
    async fn send(&mut self, stomp: &[u8]) {
        self.write(0xc1, &deflated(stomp)).await;
    }

    async fn write(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        // A server that has heard enough may have closed.
        let _ = self.stream.write_all(&frame).await;
    }

    /// The next message but pings.
    async fn next(&mut self) -> Message {
        loop {
            let message = timeout(DEADLINE, self.read()).await.expect("a message in time");
            if message.opcode != 9 {
                return message;
            }
        }
    }

    async fn read(&mut self) -> Message {
        let first = self.stream.read_u8().await.unwrap();
        let length = match self.stream.read_u8().await.unwrap() {
            126 => usize::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap() as usize,
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.unwrap();
        let compressed = first & 0x40 != 0;
        assert_eq!(first & 0xb0, 0x80, "whole messages, no other reserved bit");
        Message {
            compressed,
            opcode: first & 0x0f,
            payload: if compressed { inflated(&payload) } else { payload },
            bytes: length,
        }
    }

    /// Reads to the close frame; its code, and the ERROR before it.
    async fn closed(&mut self) -> (u16, String) {
        let mut error = String::new();
        loop {
            let message = self.next().await;
            if message.opcode == 8 {
                return (u16::from_be_bytes([message.payload[0], message.payload[1]]), error);
            }
            assert!(!message.compressed, "{message:?}");
            error = String::from_utf8(message.payload).unwrap();
        }
    }
}

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + 1_000);
    Compress::new(Compression::best(), false).compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(4 << 20);
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut plain, FlushDecompress::Sync).unwrap();
    plain
}

fn compressing() -> Served {
    Served::start(serde_json::from_value(json!({ "websocket": { "compression": true } })).unwrap())
}

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[tokio::test]
async fn compression_is_agreed_on_only_where_it_is_configured_and_can_be_kept() {
    let on = compressing();
    assert_eq!(Client::open(&on, "permessage-deflate").await.agreed.as_deref(), Some(ANSWER));
    let both = "permessage-deflate; server_max_window_bits=9, permessage-deflate; server_max_window_bits=15";
    let expected = format!("{ANSWER}; server_max_window_bits=15");
    assert_eq!(Client::open(&on, both).await.agreed, Some(expected));
    assert_eq!(Client::open(&on, "permessage-deflate; server_max_window_bits=9").await.agreed, None);
    let off = Served::start(Config::default());
    assert_eq!(Client::open(&off, "permessage-deflate").await.agreed, None);
}

#[tokio::test]
async fn a_compressed_frame_is_refused_where_nothing_was_agreed() {
    for server in [Served::start(Config::default()), compressing()] {
        let mut client = Client::open(&server, "permessage-bzip2").await;
        client.send(login("alice", "guest").as_bytes()).await;
        let (code, error) = client.closed().await;
        assert_eq!(code, 1002);
        assert!(error.contains("error-code:bad-frame\n"), "{error}");
    }
}

#[tokio::test]
async fn receivers_of_every_kind_read_the_same_message() {
    let server = compressing();
    let destination = "/topic/mixed";
    let mut same = Client::subscribed(&server, "sub-0", destination).await;
    let mut other = Client::subscribed(&server, "another", destination).await;
    let mut binary = Client::open(&server, "permessage-deflate").await;
    binary.write(0xc2, &deflated(login("alice", "guest").as_bytes())).await;
    assert_eq!(binary.next().await.opcode, 2);
    let subscribe = format!("SUBSCRIBE\nid:sub-0\ndestination:{destination}\nreceipt:r\n\n\0");
    binary.write(0xc2, &deflated(subscribe.as_bytes())).await;
    binary.next().await;
    let mut plain = Client::open(&server, "").await;
    plain.write(0x81, login("bob", "guest").as_bytes()).await;
    plain.next().await;
    plain.write(0x81, subscribe.as_bytes()).await;
    plain.next().await;

    let body = r#"{"symbol":"ACME","bid":12.5,"ask":12.75,"name":"Acme Corporation"},"#.repeat(8);
    for body in [body.clone(), body.repeat(20), "short".to_owned()] {
        let send = format!("SEND\ndestination:{destination}\ncontent-type:application/json\n\n{body}\0");
        same.send(send.as_bytes()).await;
        let told = plain.next().await;
        assert!(!told.compressed && told.opcode == 1, "{told:?}");
        let text = String::from_utf8(told.payload.clone()).unwrap();
        assert!(text.ends_with(&format!("\n\n{body}\0")), "{text}");
        let is_long = body.len() > 256;
        let first = same.next().await;
        assert_eq!((first.compressed, first.opcode), (is_long, 1));
        assert_eq!(first.payload, told.payload);
        assert!(!is_long || first.bytes * 2 < told.bytes, "{} of {} bytes", first.bytes, told.bytes);
        let second = binary.next().await;
        assert_eq!((second.compressed, second.opcode), (is_long, 2));
        assert_eq!(second.payload, told.payload);
        let third = other.next().await;
        let expected = text.replace("subscription:sub-0\n", "subscription:another\n");
        assert_eq!((third.compressed, third.payload), (is_long, expected.into_bytes()));
    }
}

#[tokio::test]
async fn a_reply_address_is_never_compressed() {
    let server = compressing();
    let mut worker = Client::signed_in(&server, "guest").await;
    worker.send(b"SUBSCRIBE\nid:w\ndestination:/app/work\nreceipt:r\n\n\0").await;
    worker.next().await;
    let mut asker = Client::signed_in(&server, "alice").await;
    let body = "a guess at the secret ".repeat(50);
    for header in ["reply-to:/temp-queue/x\n", ""] {
        let send = format!("SEND\ndestination:/app/work\n{header}\n{body}\0");
        asker.send(send.as_bytes()).await;
        let work = worker.next().await;
        assert!(!work.compressed, "{header:?}");
        let text = String::from_utf8(work.payload).unwrap();
        assert!(text.contains("\nsession:"), "{text}");
        assert_eq!(text.contains("\nreply-to:/reply-queue/"), !header.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn a_strangers_bomb_is_stopped_at_what_a_stranger_may_send() {
    let server = compressing();
    let bomb = deflated(&vec![b'\n'; 8 << 20]);
    assert!(bomb.len() < 16 << 10);
    let mut stranger = Client::open(&server, "permessage-deflate").await;
    stranger.write(0xc1, &bomb).await;
    let (code, error) = stranger.closed().await;
    assert_eq!(code, 1009);
    assert!(error.contains("error-code:too-large\n") && error.contains("16384"), "{error}");
    let mut stranger = Client::open(&server, "permessage-deflate").await;
    for _ in 0..20 {
        stranger.send(&[b'\n'; 1 << 10]).await;
    }
    assert_eq!(stranger.closed().await.0, 1009, "many small ones count together");
}

#[tokio::test]
async fn a_session_may_send_its_limit_and_not_more() {
    let server = Served::start(configured(json!({
        "websocket": { "compression": true },
        "limits": { "body_bytes_max": 100_000 },
    })));
    let mut client = Client::open(&server, "permessage-deflate").await;
    client.send(login("backend", "right").as_bytes()).await;
    client.next().await;
    let mut send = b"SEND\ndestination:/topic/a\nreceipt:1\n\n".to_vec();
    send.resize(send.len() + 100_000, b'x');
    send.push(0);
    client.send(&send).await;
    assert!(client.next().await.payload.starts_with(b"RECEIPT\n"));
    client.send(&vec![b'\n'; 8 << 20]).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let server = compressing();
    let mut good = Client::subscribed(&server, "sub-0", "/topic/good").await;
    let garbage: [(&str, u8, &[u8]); 4] = [
        ("no deflate stream", 0xc1, &[0x07, 0xff, 0xff]),
        ("a window that is not there", 0xc1, &[0x4b, 0x04, 0x62, 0x00]),
        ("RSV1 on a continuation", 0xc0, &[0]),
        ("RSV1 on a ping", 0xc9, &[0]),
    ];
    for (what, first, payload) in garbage {
        let mut bad = Client::signed_in(&server, "bob").await;
        bad.write(first, payload).await;
        let (code, error) = bad.closed().await;
        assert_eq!(code, 1002, "{what}");
        assert!(error.contains("error-code:bad-frame\n"), "{what}: {error}");
    }
    good.send(format!("SEND\ndestination:/topic/good\n\n{}\0", "still here ".repeat(50)).as_bytes()).await;
    let message = good.next().await;
    assert!(message.compressed && message.payload.ends_with(b"still here \0"), "{message:?}");
}
