//! STOMP straight over a stream, and the options of every TCP socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::{Framing, FramingError, Incoming};

/// The bytes are the payload: STOMP over TCP has no framing of its own.
#[derive(Debug, Default)]
pub struct Plain;

impl Framing for Plain {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        if !bytes.is_empty() {
            sink(Incoming::Payload { bytes, text: false, end: false });
        }
        Ok(())
    }

    /// There are no messages to bound; the STOMP decoder has limits of its own.
    fn set_message_bytes_max(&mut self, _bytes_max: usize) {}

    fn closing(&mut self) {}

    fn buffered_bytes(&self) -> usize {
        0
    }
}

/// Sets what every accepted socket needs: no delay for small frames, and an end for peers that vanished without a word.
///
/// # Errors
/// The socket is gone already, or the system refuses an option.
pub fn set_options<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&probes.with_retries(KEEPALIVE_PROBES))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    }
    Ok(())
}

/// What [`set_options`] sets, as the socket has it.
#[cfg(test)]
pub(crate) fn options(stream: &std::net::TcpStream) -> impl PartialEq + std::fmt::Debug + use<> {
    let socket = SockRef::from(stream);
    let basic = (socket.tcp_nodelay().unwrap(), socket.keepalive().unwrap());
    #[cfg(target_os = "linux")]
    let basic = (
        basic,
        (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
        socket.tcp_keepalive_retries().unwrap(),
        (socket.tcp_user_timeout().unwrap(), socket.tcp_notsent_lowat().unwrap()),
    );
    basic
}

/// Silence after which the system asks the peer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time between two of its questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Questions without answer that end the connection: a vanished client is gone 30 s after its last word.
const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that nobody acknowledges for so long end the connection.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Bytes that the system holds for a peer beyond what its window takes. What waits longer should wait with us, where it
/// is counted and bounded.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_payload_and_nothing_is_kept() {
        let mut got = Vec::new();
        let mut sink = |incoming: Incoming<'_>| match incoming {
            Incoming::Payload { bytes, .. } => got.extend_from_slice(bytes),
            other => panic!("{other:?}"),
        };
        for piece in [&b"SEND\n"[..], b"", b"\n\0"] {
            Plain.receive(piece, &mut sink).unwrap();
        }
        assert_eq!(got, b"SEND\n\n\0");
    }

    #[test]
    fn an_accepted_socket_gets_its_options() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_options(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
        }
    }
}
