//! The server that is measured, and what its clients say to it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::Wire;

/// Where it is and how STOMP travels there.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) wire: Wire,
    addresses: Vec<SocketAddr>,
    host: String,
    path: String,
}

impl Target {
    /// The servers of these URLs, which differ in host and port alone.
    pub(crate) fn of_url(urls: &str) -> io::Result<Self> {
        let mut targets = urls.split(',').map(Self::of_one);
        let mut first = targets.next().ok_or_else(|| io::Error::other("no URL"))??;
        for target in targets {
            let Self { wire, addresses, path, .. } = target?;
            if wire != first.wire || path != first.path {
                return Err(io::Error::other(
                    "several servers are spoken to in the same way, at the same path",
                ));
            }
            first.addresses.extend(addresses);
        }
        Ok(first)
    }

    fn of_one(url: &str) -> io::Result<Self> {
        let (wire, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("tcp://")) {
            (Some(rest), _) => (Wire::WebSocket, rest),
            (_, Some(rest)) => (Wire::Tcp, rest),
            _ => return Err(io::Error::other("the URL begins with ws:// or tcp://")),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = host.to_socket_addrs()?.find(SocketAddr::is_ipv4);
        let address = address.ok_or_else(|| io::Error::other(format!("no address of {host}")))?;
        Ok(Self { wire, addresses: vec![address], host: host.to_owned(), path: format!("/{path}") })
    }

    /// Begins to connect the client of this number, which is cut by a reset: a port that rests in TIME-WAIT makes each
    /// further connect slower to find one, tenfold with thirty thousand of them, and that would be measured.
    pub(crate) fn connect(
        &self,
        number: usize,
        is_last_lost: bool,
        receive_buffer: Option<usize>,
    ) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let there = self.addresses.len() - usize::from(is_last_lost);
        let address = self.addresses[number % self.addresses.len() % there];
        if address.ip().is_loopback() && number >= PORTS {
            let [_, _, high, low] = ((number / PORTS + 1) as u32).to_be_bytes();
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0)).into())?;
        }
        match socket.connect(&address.into()) {
            // EINPROGRESS
            Err(error) if error.raw_os_error() != Some(115) => Err(error),
            _ => Ok(socket.into()),
        }
    }

    /// The request that turns a connection into a WebSocket.
    pub(crate) fn upgrade(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: v12.stomp, v11.stomp, v10.stomp\r\n\r\n",
            self.path, self.host
        )
    }
}

/// Clients of one address of the loopback, which has some 28,000 ports.
const PORTS: usize = 20_000;
