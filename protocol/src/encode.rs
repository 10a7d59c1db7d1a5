//! Frames to bytes.
//!
//! A MESSAGE goes to many receivers: what is one receiver's own stands first ([`MessageHead`]), the rest
//! ([`MessageTail`]) is encoded once and shared by all receivers of a version.

use crate::{Command, Frame, Headers, Version, escape_into, header::is_line_breaking};

/// Writes `frame` for a receiver of `version`.
///
/// Adds `content-length` to each MESSAGE and ERROR and to SEND with a body (a `content-length` among the headers is
/// replaced). What the version cannot carry is left out or blanked, so no header can begin a line of its own: see
/// [`escape_into`]; headers without a name are left out, and so are names with a colon where there are no escapes.
/// The body of a frame that must not have one is left out.
pub fn encode(frame: &Frame, version: Version, out: &mut Vec<u8>) {
    let command = frame.command;
    out.reserve(frame.headers.text_bytes() + frame.body.len() + ROOM_BYTES);
    out.extend_from_slice(command.as_str().as_bytes());
    out.push(b'\n');
    let version = if command.is_escaped() { version } else { Version::V1_0 };
    // A frame whose body is left out, or was ignored under 1.0, must not announce one.
    let headers = frame.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
    headers.for_each(|(name, value)| header(name, value, version, out));
    if !command.has_body() {
        body(b"", out);
        return;
    }
    if matches!(command, Command::Message | Command::Error) || !frame.body.is_empty() {
        content_length(frame.body.len(), out);
    }
    body(&frame.body, out);
}

/// Writes a RECEIPT. Of what a session itself says nothing is said as often.
pub(crate) fn receipt(id: &str, own: &[(&'static str, &str)], version: Version, out: &mut Vec<u8>) {
    out.reserve(id.len() + ROOM_BYTES);
    out.extend_from_slice(b"RECEIPT\n");
    field(b"receipt-id:", id, version, out);
    put_own(own, version, out);
    body(b"", out);
}

/// The part of a MESSAGE that is one receiver's: command line, `subscription`, `message-id`, `ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead<'a> {
    /// The id of the subscription; `None` for a 1.0 subscription without one.
    pub subscription: Option<&'a str>,
    /// The id of the message; in client modes an [`AckId`](crate::AckId) on the wire.
    pub message_id: &'a str,
    /// The id that ACK and NACK name; in client modes of 1.2.
    pub ack: Option<&'a str>,
}

impl MessageHead<'_> {
    /// Writes it for a receiver of `version`; a [`MessageTail`] of the same version must follow.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let values = [self.subscription, Some(self.message_id), self.ack];
        out.reserve(values.iter().flatten().map(|value| value.len()).sum::<usize>() + ROOM_BYTES);
        out.extend_from_slice(b"MESSAGE\n");
        if let Some(subscription) = self.subscription {
            field(b"subscription:", subscription, version, out);
        }
        field(b"message-id:", self.message_id, version, out);
        if let Some(ack) = self.ack {
            field(b"ack:", ack, version, out);
        }
    }
}

/// The part of a MESSAGE that all receivers of a version share: the remaining headers, `content-length`, the blank line,
/// the body and the NUL.
#[derive(Clone, Copy, Debug)]
pub struct MessageTail<'a> {
    /// Header `destination`.
    pub destination: &'a str,
    /// The sender's. Those that belong to [`MessageHead`], and `content-length`, are left out: a sender cannot forge
    /// them.
    pub headers: &'a Headers,
    /// The broker's own, whose names need no escape.
    pub own: &'a [(&'static str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl MessageTail<'_> {
    /// Writes it for receivers of `version`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + TAIL_ROOM_BYTES);
        field(b"destination:", self.destination, version, out);
        for (name, value) in self.headers.iter() {
            if !matches!(name, CONTENT_LENGTH | SUBSCRIPTION | MESSAGE_ID | ACK) {
                header(name, value, version, out);
            }
        }
        put_own(self.own, version, out);
        content_length(self.body.len(), out);
        body(self.body, out);
    }
}

fn header(name: &str, value: &str, version: Version, out: &mut Vec<u8>) {
    if !can_carry(name, version) {
        return;
    }
    escape_into(out, name, version);
    out.push(b':');
    escape_into(out, value, version);
    out.push(b'\n');
}

/// A header of ours, whose name needs no escape.
#[inline(always)]
fn field(name_and_colon: &[u8], value: &str, version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(name_and_colon);
    escape_into(out, value, version);
    out.push(b'\n');
}

/// Headers of ours, whose names need no escape.
#[inline(always)]
fn put_own(own: &[(&'static str, &str)], version: Version, out: &mut Vec<u8>) {
    for (name, value) in own {
        out.extend_from_slice(name.as_bytes());
        field(b":", value, version, out);
    }
}

/// A colon in a name that is not escaped would make it another name.
fn can_carry(name: &str, version: Version) -> bool {
    let unescaped = |byte: u8| byte == b':' || is_line_breaking(byte);
    !name.is_empty() && (version != Version::V1_0 || !name.bytes().any(unescaped))
}

#[inline(always)]
fn content_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length:");
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = length;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
    out.push(b'\n');
}

#[inline(always)]
fn body(body: &[u8], out: &mut Vec<u8>) {
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(0);
}

const CONTENT_LENGTH: &str = "content-length";
const SUBSCRIPTION: &str = "subscription";
const MESSAGE_ID: &str = "message-id";
const ACK: &str = "ack";

/// Command, `content-length` and the separators of one frame.
const ROOM_BYTES: usize = 64;
/// A tail's headers are usually shorter than this.
const TAIL_ROOM_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(frame: &Frame, version: Version) -> String {
        let mut out = Vec::new();
        encode(frame, version, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_gets_its_content_length_whatever_the_headers_say() {
        let frame = Frame::new(Command::Send)
            .with("destination", "/a")
            .with("content-length", "7")
            .with_body("hello");
        assert_eq!(encoded(&frame, Version::V1_2), "SEND\ndestination:/a\ncontent-length:5\n\nhello\0");
        let empty = Frame::new(Command::Send).with("destination", "/a").with("content-length", "7");
        assert_eq!(encoded(&empty, Version::V1_2), "SEND\ndestination:/a\n\n\0");
        for (command, name) in [(Command::Message, "MESSAGE"), (Command::Error, "ERROR")] {
            let expected = format!("{name}\ncontent-length:0\n\n\0");
            assert_eq!(encoded(&Frame::new(command), Version::V1_2), expected);
        }
    }

    #[test]
    fn connect_and_connected_are_not_escaped_and_still_cannot_inject_a_line() {
        let frame = Frame::new(Command::Connected).with("session", "a:b\\c\nuser-name:root");
        for version in Version::ALL {
            assert_eq!(encoded(&frame, version), "CONNECTED\nsession:a:b\\c user-name:root\n\n\0");
        }
    }

    #[test]
    fn what_a_version_cannot_carry_is_left_out() {
        let frame = Frame::new(Command::Receipt)
            .with("", "x")
            .with("a:b", "1")
            .with("c\nd", "2")
            .with("e", "\nf:g\r");
        assert_eq!(encoded(&frame, Version::V1_0), "RECEIPT\ne: f:g \n\n\0");
        assert_eq!(encoded(&frame, Version::V1_1), "RECEIPT\na\\cb:1\nc\\nd:2\ne:\\nf\\cg \n\n\0");
        assert_eq!(encoded(&frame, Version::V1_2), "RECEIPT\na\\cb:1\nc\\nd:2\ne:\\nf\\cg\\r\n\n\0");
    }

    #[test]
    fn a_frame_that_must_not_have_a_body_gets_none() {
        assert_eq!(encoded(&Frame::new(Command::Receipt).with_body("x"), Version::V1_2), "RECEIPT\n\n\0");
        let lie = Frame::new(Command::Subscribe).with("content-length", "3");
        assert_eq!(encoded(&lie, Version::V1_0), "SUBSCRIBE\n\n\0", "nor the length of one");
    }

    #[test]
    fn head_and_tail_make_a_message_whose_own_headers_nobody_forges() {
        let mut out = Vec::new();
        let head = MessageHead { subscription: Some("sub:0"), message_id: "m@1-2", ack: Some("m@1-2") };
        head.encode(Version::V1_2, &mut out);
        let headers = [("ack", "forged"), ("subscription", "x"), ("message-id", "y"), ("k", "v")];
        let tail = MessageTail {
            destination: "/a",
            headers: &headers.into_iter().collect(),
            own: &[("user-name", "a:b")],
            body: b"\0\xff",
        };
        tail.encode(Version::V1_2, &mut out);
        let expected = b"MESSAGE\nsubscription:sub\\c0\nmessage-id:m@1-2\nack:m@1-2\ndestination:/a\nk:v\n\
            user-name:a\\cb\ncontent-length:2\n\n\0\xff\0";
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn lengths_are_written_in_decimal() {
        for length in [0, 9, 10, 1_048_576, usize::MAX] {
            let mut out = Vec::new();
            content_length(length, &mut out);
            assert_eq!(&out[..], format!("content-length:{length}\n").as_bytes());
        }
    }
}
