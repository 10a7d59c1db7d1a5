//! Bytes to and from a broker: TCP or TLS, as they are or in WebSocket messages.

use std::io::{self, ErrorKind, Read as _, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client_with_config};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, HandshakeError};

use super::address::Address;
use super::tls::Trust;
use crate::model::limits::BODY_BYTES_CEILING;
use crate::server::cli::CliError;

/// One open connection.
pub(super) struct Wire {
    /// The socket under everything, for its timeout.
    socket: TcpStream,
    framing: Framing,
}

enum Framing {
    Plain(Box<dyn Stream>),
    WebSocket(Box<WebSocket<Box<dyn Stream>>>),
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes.
    Something,
    /// Nothing within the time.
    NothingYet,
    /// The broker closed.
    End,
}

pub(super) trait Stream: io::Read + Write {}

impl<T: io::Read + Write> Stream for T {}

impl Wire {
    /// Connects, within `timeout` for each step.
    pub(super) fn open(address: &Address, trust: &Trust, timeout: Duration) -> Result<Self, CliError> {
        let (socket, stream) = dial(address, trust, timeout)?;
        let framing = if address.websocket {
            Framing::WebSocket(Box::new(upgrade(address, stream).map_err(|error| cannot(address, &error))?))
        } else {
            Framing::Plain(stream)
        };
        Ok(Self { socket, framing })
    }

    /// Writes everything.
    pub(super) fn write(&mut self, bytes: Bytes) -> Result<(), String> {
        let written = match &mut self.framing {
            Framing::Plain(stream) => {
                stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(|e| e.to_string())
            }
            // STOMP over WebSocket is text where it can be; some brokers take nothing else.
            Framing::WebSocket(socket) => {
                let message = match std::str::from_utf8(&bytes) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::binary(bytes),
                };
                socket.send(message).map_err(|error| error.to_string())
            }
        };
        written.map_err(|error| format!("cannot send: {error}"))
    }

    /// Appends what comes within `wait` to `into`.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, wait: Duration) -> Result<Read, String> {
        self.socket.set_read_timeout(Some(wait)).map_err(|error| error.to_string())?;
        match &mut self.framing {
            Framing::Plain(stream) => read_plain(stream, into),
            Framing::WebSocket(socket) => read_message(socket, into),
        }
    }

    /// Closes in the way of the framing, as far as the broker still listens.
    pub(super) fn close(&mut self) {
        if let Framing::WebSocket(socket) = &mut self.framing {
            let _ = socket.close(None);
            let _ = socket.flush();
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

/// The stream, inside TLS where the address says so, and the socket under it.
pub(super) fn dial(
    address: &Address,
    trust: &Trust,
    timeout: Duration,
) -> Result<(TcpStream, Box<dyn Stream>), CliError> {
    let socket = connect(address, timeout).map_err(|error| cannot(address, &error))?;
    let under = socket.try_clone().map_err(|error| cannot(address, &error))?;
    if !address.tls {
        return Ok((socket, Box::new(under)));
    }
    let name = ServerName::try_from(address.host.clone()).map_err(|error| cannot(address, &error))?;
    let session = ClientConnection::new(trust.config()?, name).map_err(|error| cannot(address, &error))?;
    Ok((socket, Box::new(StreamOwned::new(session, under))))
}

fn cannot(address: &Address, why: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(format!("cannot connect to {address}: {why}"))
}

/// The first address of the name that answers.
fn connect(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (&*address.host, address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(timeout))?;
                socket.set_write_timeout(Some(timeout))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn upgrade(address: &Address, stream: Box<dyn Stream>) -> Result<WebSocket<Box<dyn Stream>>, String> {
    let mut request = address.url().into_client_request().map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("v12.stomp, v11.stomp, v10.stomp"));
    // A frame is one message at least: room for the largest body and its head.
    let bytes_max = Some(BODY_BYTES_CEILING + (2 << 20));
    let config = WebSocketConfig::default().max_message_size(bytes_max).max_frame_size(bytes_max);
    match client_with_config(request, stream, Some(config)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Interrupted(_)) => Err("no answer to the WebSocket handshake".to_owned()),
        Err(HandshakeError::Failure(error)) => Err(error.to_string()),
    }
}

fn read_plain(stream: &mut Box<dyn Stream>, into: &mut Vec<u8>) -> Result<Read, String> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk) {
        Ok(0) => Ok(Read::End),
        Ok(n) => {
            into.extend_from_slice(&chunk[..n]);
            Ok(Read::Something)
        }
        Err(error) => waiting(&error),
    }
}

fn read_message(socket: &mut WebSocket<Box<dyn Stream>>, into: &mut Vec<u8>) -> Result<Read, String> {
    match socket.read() {
        Ok(Message::Text(text)) => into.extend_from_slice(text.as_bytes()),
        Ok(Message::Binary(bytes)) => into.extend_from_slice(&bytes),
        Ok(Message::Ping(_)) => {
            // The pong was queued by the read.
            socket.flush().map_err(|error| error.to_string())?;
            return Ok(Read::NothingYet);
        }
        Ok(_) => return Ok(Read::NothingYet),
        Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Read::End),
        Err(Error::Io(error)) => return waiting(&error),
        Err(error) => return Err(error.to_string()),
    }
    Ok(Read::Something)
}

/// A read that timed out is no fault, and a broker that closes hard has closed.
fn waiting(error: &io::Error) -> Result<Read, String> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(Read::NothingYet),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => Ok(Read::End),
        _ => Err(format!("cannot read: {error}")),
    }
}
