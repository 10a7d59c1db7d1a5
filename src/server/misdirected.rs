//! Whoever comes to the wrong port is told in his own language what belongs there.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use stompede_protocol::Command;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::acceptor::{Door, Face};
use super::socket::Socket;
use crate::transport::proxy_protocol;

/// What the first bytes of a connection look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// A method and a blank.
    Http,
    /// A command of a STOMP client and an end of line; HTTP has a method CONNECT too, but a blank follows it.
    Stomp,
    /// The record of a TLS handshake.
    Tls,
    /// The header with which a load balancer says whose connection it passes on, from one that is not asked for it.
    Proxy,
    /// Something else.
    Unknown,
}

/// Judges the first bytes of a connection; `None` while there are too few. Ends of line before a frame or request
/// belong to neither.
pub fn guess(first: &[u8]) -> Option<Speech> {
    if first.first() == Some(&TLS_HANDSHAKE) {
        return Some(Speech::Tls);
    }
    if proxy_protocol::is_header(first) {
        return Some(Speech::Proxy);
    }
    let start = first.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let word = &first[start..];
    let Some(end) = word.iter().position(|byte| !byte.is_ascii_alphabetic()) else {
        return (word.len() > WORD_BYTES_MAX).then_some(Speech::Unknown);
    };
    let command = std::str::from_utf8(&word[..end]).ok().and_then(Command::parse);
    Some(match word[end] {
        b' ' if end > 0 => Speech::Http,
        b'\r' | b'\n' if command.is_some() => Speech::Stomp,
        _ => Speech::Unknown,
    })
}

/// What to answer somebody who speaks `speech` at `door`; `None` when it is the right one.
pub fn answer(speech: Speech, door: Door) -> Option<Bytes> {
    let sentence = match (speech, door.face, door.tls) {
        (Speech::Unknown, ..) | (Speech::Http, Face::Http, false) | (Speech::Stomp, Face::Stomp, false) => {
            return None;
        }
        (Speech::Tls, _, true) => return None,
        (Speech::Proxy, ..) => {
            "No PROXY protocol header is expected here from your address: see trusted_proxies, http_proxy_protocol and \
             stomp_proxy_protocol in the configuration."
        }
        (Speech::Tls, Face::Http, false) => {
            "This port speaks HTTP and WebSocket without TLS: use http:// or ws:// here."
        }
        (Speech::Tls, Face::Stomp, false) => "This port speaks STOMP without TLS.",
        (_, Face::Http, true) => "This port speaks HTTP and WebSocket over TLS: use https:// or wss:// here.",
        (_, Face::Stomp, true) => "This port speaks STOMP over TLS.",
        (Speech::Stomp, Face::Http, false) => {
            "This port speaks HTTP and WebSocket (ws://.../ws); STOMP over TCP has a port of its own, 61613 by default."
        }
        (Speech::Http, Face::Stomp, false) => {
            "This port speaks STOMP over TCP; HTTP and WebSocket have a port of their own, 8080 by default."
        }
    };
    Some(match speech {
        Speech::Stomp => stomp_error(sentence),
        Speech::Proxy if door.face == Face::Stomp => stomp_error(sentence),
        _ => http_error(sentence),
    })
}

/// Reads until it is clear what the peer speaks; gives the bytes beside the stream. `None`: it ended, or was answered and
/// is gone because it does not belong here.
///
/// # Errors
/// The stream broke.
pub async fn admit(mut socket: Socket, door: Door, remote: IpAddr) -> io::Result<Option<(Socket, Bytes)>> {
    let mut first = Vec::new();
    let speech = loop {
        if let Some(speech) = guess(&first) {
            break speech;
        }
        if first.len() >= FIRST_BYTES_MAX {
            break Speech::Unknown;
        }
        if poll_fn(|context| read_more(&mut socket, context, &mut first)).await? == 0 {
            return Ok(None);
        }
    };
    // Inside TLS the decrypted speech is what counts.
    let inner = Door { tls: false, ..door };
    match answer(speech, inner) {
        Some(answer) => {
            log(speech, door, remote);
            dismiss(socket, &answer).await?;
            Ok(None)
        }
        None => Ok(Some((socket, first.into()))),
    }
}

/// Reads what there is, most often the whole request, and keeps no more room than for that; gives its length.
fn read_more(socket: &mut Socket, context: &mut Context<'_>, first: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); FIRST_READ_BYTES];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(socket).poll_read(context, &mut buffer))?;
    first.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Tells the operator of a peer that was answered.
pub(super) fn log(speech: Speech, door: Door, remote: IpAddr) {
    let what = match speech {
        Speech::Proxy => "a PROXY protocol header that is not expected from this peer; see trusted_proxies",
        _ => "the peer speaks something else than this port",
    };
    tracing::info!(%remote, ?speech, %door, "refused: {what}");
}

/// Says a last word and ends the stream, so that the word arrives: what the peer still sends is read and dropped for a
/// moment, since unread bytes would make the end a reset.
///
/// # Errors
/// The stream broke first.
pub async fn dismiss<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, last_word: &[u8]) -> io::Result<()> {
    let goodbye = async {
        stream.write_all(last_word).await?;
        stream.shutdown().await?;
        let mut dropped = [0; 1 << 10];
        while stream.read(&mut dropped).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(GOODBYE_MAX, goodbye).await?
}

fn stomp_error(sentence: &str) -> Bytes {
    let length = sentence.len();
    format!("ERROR\nmessage:wrong port\ncontent-type:text/plain\ncontent-length:{length}\n\n{sentence}\0")
        .into()
}

fn http_error(sentence: &str) -> Bytes {
    let length = sentence.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{sentence}\n"
    )
    .into()
}

/// Content type of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Longer than any method or command.
const WORD_BYTES_MAX: usize = 32;
/// Enough for a word after some ends of line.
const FIRST_BYTES_MAX: usize = 64;
/// Bytes read at a time: a handshake with a cookie and a token.
const FIRST_READ_BYTES: usize = 4 << 10;
/// How long a peer may take to hear the last word.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_tells_what_is_spoken() {
        let cases: [(&[u8], Option<Speech>); 21] = [
            (b"", None),
            (b"\n\r\n", None),
            (b"CONNECT", None),
            (b"CONNECT\n", Some(Speech::Stomp)),
            (b"CONNECT\r\n", Some(Speech::Stomp)),
            (b"\nSTOMP\n", Some(Speech::Stomp)),
            (b"SEND\n", Some(Speech::Stomp)),
            (b"CONNECT example.com:443 HTTP/1.1", Some(Speech::Http)),
            (b"GET ", Some(Speech::Http)),
            (b"\r\nPOST /", Some(Speech::Http)),
            (b"HELO\r\n", Some(Speech::Unknown)),
            (b" GET", Some(Speech::Unknown)),
            (b"\x16", Some(Speech::Tls)),
            (b"\x16\x03\x01", Some(Speech::Tls)),
            (b"\xff", Some(Speech::Unknown)),
            (&[b'A'; 33], Some(Speech::Unknown)),
            (b"PROXY", None),
            (b"PROXY TCP4 192.0.2.7", Some(Speech::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n", Some(Speech::Proxy)),
            (b"\r\n\r\n\0\n", Some(Speech::Unknown)),
            (b"\r\n\r\nCONNECT\n", Some(Speech::Stomp)),
        ];
        for (first, expected) in cases {
            assert_eq!(guess(first), expected, "{:?}", String::from_utf8_lossy(first));
        }
    }

    #[test]
    fn only_the_wrong_door_answers_and_in_the_callers_language() {
        for face in [Face::Http, Face::Stomp] {
            for tls in [false, true] {
                let door = Door { face, tls };
                for speech in [Speech::Http, Speech::Stomp, Speech::Tls] {
                    let right = match speech {
                        Speech::Tls => tls,
                        Speech::Http => !tls && face == Face::Http,
                        _ => !tls && face == Face::Stomp,
                    };
                    let answer = answer(speech, door);
                    assert_eq!(answer.is_none(), right, "{speech:?} at {door}");
                    let language: &[u8] = if speech == Speech::Stomp { b"ERROR\n" } else { b"HTTP/1.1 400 " };
                    assert!(answer.is_none_or(|answer| answer.starts_with(language)), "{speech:?} at {door}");
                }
            }
        }
    }
}
