//! SockJS inside a WebSocket: each message of the client is an array of strings.

use super::frame;
use crate::transport::{Framing, FramingError, Incoming};

/// Takes the strings out of what another framing finds.
#[derive(Debug)]
pub struct SockJs<F> {
    inner: F,
    /// The begin of a message whose end is yet to come.
    begun: Vec<u8>,
}

impl<F: Framing> SockJs<F> {
    /// Within `inner`.
    pub fn new(inner: F) -> Self {
        Self { inner, begun: Vec::new() }
    }
}

impl<F: Framing> Framing for SockJs<F> {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        let Self { inner, begun } = self;
        let mut fault = None;
        let received = inner.receive(bytes, &mut |incoming| match incoming {
            // What follows a fault is not looked at.
            _ if fault.is_some() => {}
            Incoming::Payload { bytes, end: false, .. } => begun.extend_from_slice(bytes),
            Incoming::Payload { bytes, end: true, .. } if begun.is_empty() => {
                fault = take(bytes, sink).err();
            }
            Incoming::Payload { bytes, end: true, .. } => {
                begun.extend_from_slice(bytes);
                fault = take(&std::mem::take(begun), sink).err();
            }
            other => sink(other),
        });
        fault.map_or(received, Err)
    }

    fn read_bytes_max(&self) -> usize {
        self.inner.read_bytes_max()
    }

    fn set_message_bytes_max(&mut self, bytes_max: usize) {
        self.inner.set_message_bytes_max(bytes_max);
    }

    fn closing(&mut self) {
        self.inner.closing();
    }

    fn buffered_bytes(&self) -> usize {
        self.inner.buffered_bytes() + self.begun.len()
    }
}

/// Gives the messages of one WebSocket message, of which an empty one has none.
fn take(bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
    if bytes.is_empty() {
        return Ok(());
    }
    for message in frame::messages(bytes).map_err(|_| FramingError::NotSockJs)? {
        sink(Incoming::Payload { bytes: message.as_bytes(), text: true, end: true });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::websocket::WebSocket;

    /// One message of a client, masked by zeros.
    fn masked(text: &str, first: u8) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        [&[first, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    fn received(pieces: &[&[u8]]) -> (Vec<String>, Result<(), FramingError>) {
        let mut framing = SockJs::new(WebSocket::new(1_000));
        let mut got = Vec::new();
        for piece in pieces {
            let result = framing.receive(piece, &mut |incoming| match incoming {
                Incoming::Payload { bytes, text, end } => {
                    assert!(text && end);
                    got.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
                Incoming::Reply(_) => got.push("pong".to_owned()),
                other => got.push(format!("{other:?}")),
            });
            if result.is_err() {
                return (got, result);
            }
        }
        (got, Ok(()))
    }

    #[test]
    fn strings_come_out_of_arrays_however_the_message_is_cut() {
        let whole =
            [masked(r#"["a","b"]"#, 0x81), masked("", 0x81), masked("[]", 0x81), masked(r#"["c"]"#, 0x81)]
                .concat();
        let wanted = (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], Ok(()));
        assert_eq!(received(&[&whole]), wanted);
        for cut in 1..whole.len() {
            assert_eq!(received(&[&whole[..cut], &whole[cut..]]), wanted, "cut at {cut}");
        }
        let fragments = [masked(r#"["a"#, 0x01), masked(r#"","b","#, 0x00), masked(r#""c"]"#, 0x80)].concat();
        assert_eq!(received(&[&fragments]), wanted);
    }

    #[test]
    fn signs_of_life_pass_and_broken_json_ends_it() {
        let ping = [masked("", 0x89), masked(r#"["a"#, 0x81), masked(r#"["b"]"#, 0x81)].concat();
        let (got, result) = received(&[&ping]);
        assert!(got.contains(&"pong".to_owned()), "{got:?}");
        assert!(!got.contains(&"b".to_owned()), "{got:?}");
        assert_eq!(result, Err(FramingError::NotSockJs));
        assert_eq!(FramingError::NotSockJs.close_code(), 1007);
    }
}
