//! Bytes of a socket to what matters of them, at the least cost: no allocation per message.

use memchr::{memchr, memmem};

/// How STOMP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Tcp,
    WebSocket,
}

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived<'a> {
    Connected,
    /// By its `receipt-id`.
    Receipt {
        id: &'a [u8],
        head: &'a [u8],
    },
    Message {
        head: &'a [u8],
        body: &'a [u8],
    },
    Error(&'a [u8]),
    /// With what belongs into the pong.
    Ping(&'a [u8]),
    /// The WebSocket is being closed, with this number.
    Close(u16),
}

impl Wire {
    /// Hands out whole frames of `input`; returns how many bytes they took. STOMP frames that are spread over several
    /// WebSocket messages are put together in `pieces`.
    pub(crate) fn scan(self, input: &[u8], pieces: &mut Vec<u8>, mut each: impl FnMut(Arrived<'_>)) -> usize {
        if self == Self::Tcp {
            return frames(input, &mut each);
        }
        let mut at = 0;
        while let Some((opcode, start, end)) = header(&input[at..]) {
            let payload = &input[at + start..at + end];
            match opcode {
                0..=2 if pieces.is_empty() => {
                    let used = frames(payload, &mut each);
                    pieces.extend_from_slice(&payload[used..]);
                }
                0..=2 => {
                    pieces.extend_from_slice(payload);
                    let used = frames(pieces, &mut each);
                    pieces.drain(..used);
                }
                8 => each(Arrived::Close(
                    payload.first_chunk().map_or(1005, |number: &[u8; 2]| u16::from_be_bytes(*number)),
                )),
                9 => each(Arrived::Ping(payload)),
                _ => {}
            }
            at += end;
        }
        at
    }

    /// Appends `payload` as it is sent, masked where that is asked for.
    pub(crate) fn wrap(self, opcode: u8, payload: &[u8], to: &mut Vec<u8>) {
        if self == Self::Tcp {
            to.extend_from_slice(payload);
            return;
        }
        to.push(0x80 | opcode);
        match payload.len() {
            length @ 0..126 => to.push(0x80 | length as u8),
            length @ 126..65_536 => {
                to.push(0x80 | 126);
                to.extend((length as u16).to_be_bytes());
            }
            length => {
                to.push(0x80 | 127);
                to.extend((length as u64).to_be_bytes());
            }
        }
        to.extend(MASK);
        let start = to.len();
        to.extend_from_slice(payload);
        for chunk in to[start..].chunks_mut(MASK.len()) {
            chunk.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

/// Hands out whole server-sent events; returns how many bytes they took.
pub(crate) fn events(input: &[u8], mut each: impl FnMut(Arrived<'_>)) -> usize {
    let mut at = 0;
    while let Some(length) = memmem::find(&input[at..], b"\n\n") {
        let event = &input[at..at + length];
        at += length + 2;
        let Some(data) = memmem::find(event, b"data:") else { continue };
        let (head, data) = event.split_at(data);
        let body = data[b"data:".len()..].trim_ascii_start();
        match header_value(head, b"event:").trim_ascii() {
            b"connected" => each(Arrived::Connected),
            b"heartbeat" => {}
            b"closed" => each(Arrived::Error(body)),
            _ => each(Arrived::Message { head, body }),
        }
    }
    at
}

/// Whole STOMP frames. All end at their first NUL: no body in this program holds one.
fn frames(input: &[u8], each: &mut impl FnMut(Arrived<'_>)) -> usize {
    let mut at = 0;
    loop {
        while input.get(at).is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            at += 1;
        }
        let Some(length) = memchr(0, &input[at..]) else { return at };
        let frame = &input[at..at + length];
        at += length + 1;
        let Some(head) = memmem::find(frame, b"\n\n") else { continue };
        match frame[0] {
            b'M' => each(Arrived::Message { head: &frame[..=head], body: &frame[head + 2..] }),
            b'R' => {
                let head = &frame[..=head];
                each(Arrived::Receipt { id: header_value(head, b"\nreceipt-id:"), head });
            }
            b'C' => each(Arrived::Connected),
            _ => each(Arrived::Error(frame)),
        }
    }
}

/// Which of its subscriptions, by number, a MESSAGE says it belongs to.
pub(crate) fn subscription(head: &[u8]) -> Option<u32> {
    std::str::from_utf8(header_value(head, b"\nsubscription:sub-")).ok()?.parse().ok()
}

pub(crate) fn header_value<'a>(head: &'a [u8], name: &[u8]) -> &'a [u8] {
    let Some(start) = memmem::find(head, name) else { return b"" };
    let value = &head[start + name.len()..];
    &value[..memchr(b'\n', value).unwrap_or(value.len())]
}

/// Opcode of an unmasked WebSocket frame, where its payload begins and ends, once all of it is there.
fn header(input: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    let (start, length): (usize, usize) = match second & 0x7f {
        126 => (4, u16::from_be_bytes(*input.get(2..)?.first_chunk()?).into()),
        127 => (10, usize::try_from(u64::from_be_bytes(*input.get(2..)?.first_chunk()?)).ok()?),
        short => (2, short.into()),
    };
    let end = start.checked_add(length)?;
    (input.len() >= end).then_some((first & 0x0f, start, end))
}

/// Any key is legal; one that is not zero has the server do its work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
