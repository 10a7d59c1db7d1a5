//! Frames of a server: header and payload in one buffer. Nothing in them depends on the receiver.

use bytes::{Buf, Bytes};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes to leave free before a payload that [`seal`] turns into a frame: the longest header of a server.
pub(crate) const HEADER_BYTES_MAX: usize = 10;

/// Longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a data frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// One message in one frame.
pub fn message(kind: Kind, payload: &[u8]) -> Bytes {
    whole(data(kind), payload)
}

/// A ping without payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// A close frame. The reason is cut at a character so that it fits; a code that must not be sent (RFC 6455, section
/// 7.4) gives a frame without one.
pub fn close(code: u16, reason: &str) -> Bytes {
    let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !sendable {
        return whole(OpCode::Control(Control::Close), &[]);
    }
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    whole(OpCode::Control(Control::Close), &payload)
}

/// Turns `buffer` into one message without moving the payload: its first [`HEADER_BYTES_MAX`] bytes are room for the
/// header, the payload follows and goes on with `more_bytes` that are sent after it (a shared tail).
pub(crate) fn seal(kind: Kind, buffer: Vec<u8>, more_bytes: usize) -> Bytes {
    in_place(&FrameHeader { opcode: data(kind), ..FrameHeader::default() }, buffer, more_bytes)
}

/// As [`seal`], for a payload that is compressed (RFC 7692, section 6.1).
pub(crate) fn seal_compressed(kind: Kind, buffer: Vec<u8>, more_bytes: usize) -> Bytes {
    in_place(&FrameHeader { opcode: data(kind), rsv1: true, ..FrameHeader::default() }, buffer, more_bytes)
}

/// As [`seal`], but the message is copied out of the buffer, which may be used again.
pub(crate) fn seal_copied(kind: Kind, buffer: &mut [u8]) -> Bytes {
    let header = FrameHeader { opcode: data(kind), ..FrameHeader::default() };
    let start = put_header(&header, buffer, 0);
    Bytes::copy_from_slice(&buffer[start..])
}

/// Writes the header before the payload; returns where it begins.
#[inline(always)]
fn put_header(header: &FrameHeader, buffer: &mut [u8], more_bytes: usize) -> usize {
    let length = (buffer.len() - HEADER_BYTES_MAX + more_bytes) as u64;
    let start = HEADER_BYTES_MAX - header.len(length);
    write(header, length, &mut &mut buffer[start..]);
    start
}

fn in_place(header: &FrameHeader, mut buffer: Vec<u8>, more_bytes: usize) -> Bytes {
    let start = put_header(header, &mut buffer, more_bytes);
    let mut frame = Bytes::from(buffer);
    frame.advance(start);
    frame
}

fn whole(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    write(&header, length, &mut frame);
    frame.extend_from_slice(payload);
    frame.into()
}

fn write(header: &FrameHeader, length: u64, out: &mut impl std::io::Write) {
    // Only the writer can fail, and both writers here have the room.
    let written = header.format(length, out);
    debug_assert!(written.is_ok(), "a frame header has its room");
}

fn data(kind: Kind) -> OpCode {
    OpCode::Data(match kind {
        Kind::Text => Data::Text,
        Kind::Binary => Data::Binary,
    })
}

/// Opens one whole message of a server: whether it is text, and its payload.
#[cfg(test)]
pub(crate) fn open(frame: &[u8]) -> (bool, Vec<u8>) {
    let (header, payload) = parts(frame);
    assert!(!header.rsv1);
    (header.opcode == data(Kind::Text), payload)
}

/// As [`open`], of a message that is compressed: its payload is as it was before.
#[cfg(test)]
pub(crate) fn open_compressed(frame: &[u8]) -> (bool, Vec<u8>) {
    let (header, payload) = parts(frame);
    assert!(header.rsv1);
    (header.opcode == data(Kind::Text), super::deflate::inflated(&payload))
}

#[cfg(test)]
fn parts(frame: &[u8]) -> (FrameHeader, Vec<u8>) {
    let mut cursor = std::io::Cursor::new(frame);
    let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
    assert!(header.is_final && header.mask.is_none() && !header.rsv2 && !header.rsv3);
    let payload = frame[cursor.position() as usize..].to_vec();
    assert_eq!(payload.len() as u64, length);
    (header, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_lengths_of_the_specification() {
        // RFC 6455, section 5.7: the examples.
        assert_eq!(&message(Kind::Text, b"Hello")[..], b"\x81\x05Hello");
        assert_eq!(&message(Kind::Binary, &[7; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(&message(Kind::Binary, &[7; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn sealing_equals_copying_whatever_the_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut buffer = vec![0; HEADER_BYTES_MAX];
            buffer.extend_from_slice(&payload);
            assert_eq!(seal(Kind::Text, buffer, 0), message(Kind::Text, &payload), "{length}");
        }
    }

    #[test]
    fn a_sealed_head_announces_the_tail_that_follows() {
        let mut buffer = vec![0; HEADER_BYTES_MAX];
        buffer.extend_from_slice(b"ab");
        assert_eq!(&seal(Kind::Binary, buffer, 200)[..], b"\x82\x7e\x00\xcaab");
    }

    #[test]
    fn a_close_fits_into_a_control_frame_and_is_cut_at_a_character() {
        assert_eq!(&close(1000, "")[..], [0x88, 2, 3, 0xe8]);
        assert_eq!(&close(4500, "slow")[..], b"\x88\x06\x11\x94slow");
        let frame = close(1002, &"ü".repeat(100));
        assert_eq!(frame[1], 124);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    #[test]
    fn codes_that_must_not_be_sent_are_not_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
            assert_eq!(&close(code, "x")[..], [0x88, 0], "{code}");
        }
    }
}
