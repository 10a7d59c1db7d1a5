//! The client's end of a link: STOMP as it is, in WebSocket frames, or in those of SockJS.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use stompede::broker::Link;
use stompede::transport::sockjs::SockJs;
use stompede::transport::tcp::Plain;
use stompede::transport::websocket::{Deflated, WebSocket};
use stompede::transport::{Framing, FramingError, Incoming};

/// The server's framing of a link, chosen at run time.
pub(crate) enum ServerFraming {
    Stream(Plain),
    WebSocket(Box<WebSocket>),
    Deflated(Box<Deflated>),
    SockJs(Box<SockJs<WebSocket>>),
}

impl ServerFraming {
    pub(crate) fn new(link: Link, message_bytes_max: usize) -> Self {
        match link {
            // What is said for a stream of events goes in as it is.
            Link::Stream | Link::Events | Link::SockJsRequests => Self::Stream(Plain),
            Link::WebSocket => Self::WebSocket(Box::new(WebSocket::new(message_bytes_max))),
            Link::DeflateWebSocket => Self::Deflated(Box::new(Deflated::new(message_bytes_max))),
            Link::SockJs => Self::SockJs(Box::new(SockJs::new(WebSocket::new(message_bytes_max)))),
        }
    }

    fn framing(&mut self) -> &mut dyn Framing {
        match self {
            Self::Stream(plain) => plain,
            Self::WebSocket(socket) => &mut **socket,
            Self::Deflated(socket) => &mut **socket,
            Self::SockJs(socket) => &mut **socket,
        }
    }

    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), FramingError> {
        self.framing().receive(bytes, sink)
    }

    pub(crate) fn set_message_bytes_max(&mut self, bytes_max: usize) {
        self.framing().set_message_bytes_max(bytes_max);
    }

    pub(crate) fn closing(&mut self) {
        self.framing().closing();
    }
}

/// What a client finds in the bytes of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Stomp(Vec<u8>),
    /// A part of a stream of events.
    Events(Vec<u8>),
    Ping,
    Close(u16),
}

/// The client's framing.
#[derive(Debug)]
pub(crate) enum ClientFraming {
    Stream,
    Events,
    /// Bytes of a frame that is not complete.
    WebSocket(Vec<u8>),
    /// The same, where both sides may compress.
    Deflated(Vec<u8>),
    /// The same, with frames of SockJS inside.
    SockJs(Vec<u8>),
    /// Bytes of a line of SockJS that is not complete; what goes the other way is as it is.
    SockJsLines(Vec<u8>),
}

impl ClientFraming {
    pub(crate) fn new(link: Link) -> Self {
        match link {
            Link::Stream => Self::Stream,
            Link::Events => Self::Events,
            Link::WebSocket => Self::WebSocket(Vec::new()),
            Link::DeflateWebSocket => Self::Deflated(Vec::new()),
            Link::SockJs => Self::SockJs(Vec::new()),
            Link::SockJsRequests => Self::SockJsLines(Vec::new()),
        }
    }

    /// A STOMP frame as the client writes it.
    pub(crate) fn wrap(&self, stomp: &[u8]) -> Vec<u8> {
        match self {
            Self::Stream | Self::Events | Self::SockJsLines(_) => stomp.to_vec(),
            Self::SockJs(_) => {
                let text = std::str::from_utf8(stomp).expect("SockJS carries text");
                client_frame(0x1, serde_json::json!([text]).to_string().as_bytes())
            }
            Self::WebSocket(_) => client_frame(opcode_of(stomp), stomp),
            Self::Deflated(_) => client_frame(RSV1 | opcode_of(stomp), &deflated(stomp)),
        }
    }

    /// The client's own goodbye.
    pub(crate) fn close(&self) -> Vec<u8> {
        client_frame(0x8, &1000_u16.to_be_bytes())
    }

    /// The answer to a ping.
    pub(crate) fn pong(&self) -> Vec<u8> {
        client_frame(0xa, &[])
    }

    /// What the server's bytes are. Panics on what no client would accept.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Found> {
        let has_sockjs = matches!(self, Self::SockJs(_));
        let (buffer, may_be_compressed) = match self {
            Self::Stream => return vec![Found::Stomp(bytes.to_vec())],
            Self::Events => return vec![Found::Events(bytes.to_vec())],
            Self::SockJsLines(buffer) => return lines(buffer, bytes),
            Self::WebSocket(buffer) | Self::SockJs(buffer) => (buffer, false),
            Self::Deflated(buffer) => (buffer, true),
        };
        buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut closed = false;
        while let Some((first, payload, length)) = server_frame(buffer) {
            assert!(!closed, "the server wrote after its close frame");
            let is_compressed = may_be_compressed && first & RSV1 != 0;
            let inflated = is_compressed.then(|| inflated(payload));
            let message = inflated.as_deref().unwrap_or(payload);
            if has_sockjs && first == 0x1 {
                // Its own close stands before that of the WebSocket.
                found.extend(frame(message).into_iter().filter(|found| !matches!(found, Found::Close(_))));
                buffer.drain(..length);
                continue;
            }
            found.push(match if is_compressed { first & !RSV1 } else { first } {
                0x1 => {
                    assert!(std::str::from_utf8(message).is_ok(), "a text message must be UTF-8");
                    Found::Stomp(message.to_vec())
                }
                0x2 => Found::Stomp(message.to_vec()),
                0x8 => Found::Close(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))),
                0x9 => Found::Ping,
                other => panic!("reserved bits and opcode {other:#x} of the server"),
            });
            closed = matches!(found.last(), Some(Found::Close(_)));
            buffer.drain(..length);
        }
        found
    }
}

/// What the lines say.
fn lines(buffer: &mut Vec<u8>, bytes: &[u8]) -> Vec<Found> {
    buffer.extend_from_slice(bytes);
    let mut found = Vec::new();
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        assert!(!matches!(found.last(), Some(Found::Close(_))), "the server wrote after its last word");
        found.extend(frame(&line[..end]));
    }
    found
}

/// What a frame of SockJS says.
fn frame(frame: &[u8]) -> Vec<Found> {
    let (kind, array) = frame.split_at(1);
    match kind {
        b"h" | b"o" => Vec::new(),
        b"a" => {
            let messages: Vec<String> = serde_json::from_slice(array).expect("an array of strings");
            messages.into_iter().map(|message| Found::Stomp(message.into())).collect()
        }
        b"c" => {
            let (code, _): (u16, String) = serde_json::from_slice(array).expect("a code and why");
            vec![Found::Close(code)]
        }
        other => panic!("a frame of SockJS that begins with {other:?}"),
    }
}

/// A masked frame (RFC 6455, section 5.3); the key 0 leaves the payload readable in a failing test.
fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn opcode_of(stomp: &[u8]) -> u8 {
    if std::str::from_utf8(stomp).is_ok() { 0x1 } else { 0x2 }
}

/// As a client compresses (RFC 7692, section 7.2.1), remembering nothing.
fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 8 + 64);
    Compress::new(Compression::fast(), false)
        .compress_vec(plain, &mut out, FlushCompress::Sync)
        .expect("room");
    assert!(out.ends_with(&FLUSH_END), "the flush is complete");
    out.truncate(out.len() - FLUSH_END.len());
    out
}

/// As a client inflates (section 7.2.2).
fn inflated(payload: &[u8]) -> Vec<u8> {
    let input = [payload, &FLUSH_END].concat();
    let mut plain = Vec::new();
    let mut state = Decompress::new(false);
    while state.total_in() < input.len() as u64 {
        plain.reserve(64 << 10);
        let rest = &input[state.total_in() as usize..];
        state.decompress_vec(rest, &mut plain, FlushDecompress::Sync).expect("deflate");
    }
    plain
}

/// RFC 7692, section 6: the message is compressed.
const RSV1: u8 = 0x40;
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// Reserved bits and opcode, payload and whole length of the first complete frame.
fn server_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0x80, 0x80, "whole messages");
    assert_eq!(second & 0x80, 0, "servers do not mask");
    let (header, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        length => (2, usize::from(*length)),
    };
    let payload = bytes.get(header..header + length)?;
    Some((first & 0x7f, payload, header + length))
}
