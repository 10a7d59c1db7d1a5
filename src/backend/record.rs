//! A message as it is kept: one run of bytes, the same in memory, on disk and on a bus. Where it stands, and under which
//! destination, is said by the key that leads to it.
//!
//! ```text
//! format u8 | flags u8 | timestamp_ms u64 | id.node u64 | id.number u64
//! sender bytes varint, sender | headers varint | (name bytes varint, name, value bytes varint, value)* | body
//! ```
//! Numbers are little-endian, varints LEB128.

use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::Headers;

use crate::model::{Destination, Message, MessageId, Position};

/// The bytes are no record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored message is damaged")]
pub struct Damaged;

/// The record of a message.
pub fn encode(message: &Message) -> Box<[u8]> {
    let sender = message.sender.as_deref().unwrap_or("");
    let room = FIXED_BYTES + sender.len() + message.headers.text_bytes() + message.headers.len() * 4;
    let mut out = Vec::with_capacity(room + VARINT_BYTES_MAX + message.body.len());
    out.push(FORMAT);
    let flags = [(TEXT, message.text), (SENT, message.sender.is_some()), (NUMBERED, message.numbered)];
    out.push(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum());
    for number in [message.timestamp_ms, message.id.node, message.id.number] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_text(sender, &mut out);
    put_number(message.headers.len() as u64, &mut out);
    for (name, value) in message.headers.iter() {
        put_text(name, &mut out);
        put_text(value, &mut out);
    }
    out.extend_from_slice(&message.body);
    out.into_boxed_slice()
}

/// The message of a record that stands at `position` of `destination`.
///
/// # Errors
/// The bytes are no record.
pub fn decode(record: &[u8], destination: &Destination, position: Position) -> Result<Message, Damaged> {
    let mut message = decode_unplaced(record, destination)?;
    message.place(position);
    Ok(message)
}

/// The message of a record that stands nowhere.
///
/// # Errors
/// The bytes are no record.
pub fn decode_unplaced(record: &[u8], destination: &Destination) -> Result<Message, Damaged> {
    let mut rest = record;
    let [FORMAT, flags] = take_array(&mut rest)? else { return Err(Damaged) };
    let timestamp_ms = u64::from_le_bytes(take_array(&mut rest)?);
    let id = MessageId {
        node: u64::from_le_bytes(take_array(&mut rest)?),
        number: u64::from_le_bytes(take_array(&mut rest)?),
    };
    let sender = take_text(&mut rest)?;
    let count = take_number(&mut rest)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut rest)?;
        headers.push(name, take_text(&mut rest)?);
    }
    Ok(Message {
        id,
        destination: destination.clone(),
        timestamp_ms,
        sender: (flags & SENT != 0).then(|| Arc::from(sender)),
        headers,
        body: Bytes::copy_from_slice(rest),
        text: flags & TEXT != 0,
        position: None,
        numbered: flags & NUMBERED != 0,
    })
}

/// When the message of a record was accepted, milliseconds since the Unix epoch.
///
/// # Errors
/// The bytes are no record.
pub fn timestamp_ms(record: &[u8]) -> Result<u64, Damaged> {
    let mut rest = record.get(TIMESTAMP_AT..).ok_or(Damaged)?;
    take_array(&mut rest).map(u64::from_le_bytes)
}

/// Who sent the message of a record; empty for the broker itself.
///
/// # Errors
/// The bytes are no record.
pub fn sender(record: &[u8]) -> Result<&str, Damaged> {
    take_text(&mut record.get(SENDER_AT..).ok_or(Damaged)?)
}

/// Identity of the message of a record.
///
/// # Errors
/// The bytes are no record.
pub fn id(record: &[u8]) -> Result<MessageId, Damaged> {
    let mut rest = record.get(ID_AT..).ok_or(Damaged)?;
    Ok(MessageId {
        node: u64::from_le_bytes(take_array(&mut rest)?),
        number: u64::from_le_bytes(take_array(&mut rest)?),
    })
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (taken, left) = rest.split_first_chunk().ok_or(Damaged)?;
    *rest = left;
    Ok(*taken)
}

fn take_number(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = take_array(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Damaged> {
    let len = usize::try_from(take_number(rest)?).map_err(|_| Damaged)?;
    let (taken, left) = rest.split_at_checked(len).ok_or(Damaged)?;
    *rest = left;
    std::str::from_utf8(taken).map_err(|_| Damaged)
}

/// The layout above.
const FORMAT: u8 = 1;

const TEXT: u8 = 1;
const SENT: u8 = 2;
const NUMBERED: u8 = 4;

const TIMESTAMP_AT: usize = 2;
const ID_AT: usize = TIMESTAMP_AT + 8;
const SENDER_AT: usize = ID_AT + 16;
const FIXED_BYTES: usize = SENDER_AT;

/// Two lengths of texts, each at most so many bytes.
const VARINT_BYTES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(sender: Option<&str>, headers: &[(String, String)], body: &[u8]) -> Message {
        Message {
            id: MessageId { node: 0xbeef, number: 7 },
            destination: Destination::internal("/topic/a"),
            timestamp_ms: 1_700_000_000_123,
            sender: sender.map(Arc::from),
            headers: headers.iter().map(|(name, value)| (&**name, &**value)).collect(),
            body: Bytes::copy_from_slice(body),
            text: std::str::from_utf8(body).is_ok(),
            position: None,
            numbered: false,
        }
    }

    fn back(record: &[u8]) -> Result<Message, Damaged> {
        decode(record, &Destination::internal("/topic/a"), Position { epoch: 1, offset: 5 })
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was_kept(
            sender in proptest::option::of(".{0,200}"),
            headers in prop::collection::vec((".{0,40}", ".{0,200}"), 0..12),
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let kept = message(sender.as_deref(), &headers, &body);
            let record = encode(&kept);
            let read = back(&record).unwrap();
            prop_assert_eq!(&read.sender, &kept.sender);
            prop_assert!(read.headers.iter().eq(kept.headers.iter()));
            prop_assert_eq!((read.id, read.timestamp_ms, read.text), (kept.id, kept.timestamp_ms, kept.text));
            prop_assert_eq!(read.body, kept.body);
            prop_assert_eq!(super::sender(&record).unwrap(), kept.sender.as_deref().unwrap_or(""));
            prop_assert_eq!(super::timestamp_ms(&record).unwrap(), kept.timestamp_ms);
            prop_assert_eq!(super::id(&record).unwrap(), kept.id);
        }

        #[test]
        fn what_is_damaged_is_told_and_never_a_panic(
            mut record in prop::collection::vec(any::<u8>(), 0..100),
            good in any::<bool>(),
            cut in 0_usize..120,
        ) {
            if good {
                record = encode(&message(Some("alice"), &[("a".into(), "b".into())], b"body")).into_vec();
                record.truncate(cut);
            }
            let _ = (back(&record), sender(&record), timestamp_ms(&record), id(&record));
        }
    }

    #[test]
    fn another_format_is_no_record() {
        let mut record = encode(&message(None, &[], b"x"));
        assert!(back(&record).is_ok());
        record[0] = FORMAT + 1;
        assert_eq!(back(&record).unwrap_err(), Damaged);
    }
}
