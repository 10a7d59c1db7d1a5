//! For tests: frames of a client, and what a framing makes of them.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use crate::transport::{Framing, FramingError, Incoming};

/// What a framing told, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Payload(Vec<u8>, bool),
    Alive,
    Reply(Vec<u8>),
    Closed(Option<u16>),
}

/// A frame of a client with this first byte, masked.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = Vec::new();
    let header = FrameHeader { mask: Some(mask), ..FrameHeader::default() };
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes[0] = first;
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

pub(crate) fn feed(socket: &mut dyn Framing, bytes: &[u8]) -> (Vec<Told>, Result<(), FramingError>) {
    let mut told = Vec::new();
    let result = socket.receive(bytes, &mut |incoming| {
        told.push(match incoming {
            Incoming::Payload { bytes, text, end } => {
                assert!(end, "messages come whole");
                Told::Payload(bytes.to_vec(), text)
            }
            Incoming::Alive => Told::Alive,
            Incoming::Reply(bytes) => Told::Reply(bytes.to_vec()),
            Incoming::Closed { code } => Told::Closed(code),
        });
    });
    (told, result)
}

pub(crate) fn told(socket: &mut dyn Framing, bytes: &[u8]) -> Vec<Told> {
    let (told, result) = feed(socket, bytes);
    result.unwrap();
    told
}

/// The last frame of a message.
pub(crate) const FIN: u8 = 0x80;
