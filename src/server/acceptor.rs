//! What listens, and how connections come to the workers.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::yield_now;

use crate::transport::tcp;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// HTTP/1.1: WebSocket, the API, the page.
    Http,
    /// STOMP over the stream.
    Stomp,
}

/// A kind of port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Door {
    /// What is spoken.
    pub face: Face,
    /// Whether it is spoken inside TLS.
    pub tls: bool,
}

/// A connection that nobody serves yet.
#[derive(Debug)]
pub struct Accepted {
    /// Its options set; of the runtime that accepted it.
    pub stream: TcpStream,
    /// The other end.
    pub remote: SocketAddr,
    /// Where it came in.
    pub door: Door,
}

/// Gives accepted connections to whoever serves them.
pub trait Placement {
    /// Takes a connection; dropping it closes it. Must not block.
    fn place(&self, accepted: Accepted);
}

/// A bound port that accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    door: Door,
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {door}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What for.
    pub door: Door,
    /// What the system says.
    pub source: io::Error,
}

impl Listener {
    /// Binds; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or the address is not ours.
    pub fn bind(address: SocketAddr, door: Door) -> Result<Self, BindError> {
        let bound = listen(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        match bound {
            Ok((address, socket)) => Ok(Self { socket, address, door }),
            Err(source) => Err(BindError { address, door, source }),
        }
    }

    /// The address, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What is spoken here.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The same port once more: each connection goes to one of those that accept.
    ///
    /// # Errors
    /// The system gives no file descriptor.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, ..*self })
    }

    /// Accepts until `stop` becomes true or its sender is dropped, then closes the port. An error of one connection or
    /// a lack of file descriptors ends nothing: it is logged once by each that accepts, and tried again, ever slower.
    ///
    /// # Errors
    /// The socket cannot be used with this runtime.
    pub async fn accept(self, placement: impl Placement, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.socket)?;
        let mut stopped = pin!(stop.wait_for(|stop| *stop));
        let mut backoff = Backoff::default();
        let mut at_once = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut stopped => return Ok(()),
                accepted = listener.accept() => accepted.and_then(|(stream, remote)| {
                    prepare(&stream)?;
                    Ok(Accepted { stream, remote, door: self.door })
                }),
            };
            match accepted {
                Ok(accepted) => {
                    backoff.succeeded(self.address);
                    placement.place(accepted);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let pause = tokio::time::sleep(backoff.failed(self.address, &error));
                    tokio::select! {
                        _ = &mut stopped => return Ok(()),
                        () = pause => {}
                    }
                }
            }
            at_once += 1;
            if at_once == ACCEPTS_AT_ONCE {
                at_once = 0;
                yield_now().await;
            }
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.face, self.tls) {
            (Face::Http, false) => "HTTP",
            (Face::Http, true) => "HTTPS",
            (Face::Stomp, false) => "STOMP",
            (Face::Stomp, true) => "STOMP over TLS",
        })
    }
}

/// Pauses between failing accepts, doubled each time; the first failure and the recovery are logged.
#[derive(Debug, Default)]
struct Backoff {
    pause: Duration,
}

impl Backoff {
    fn failed(&mut self, address: SocketAddr, error: &io::Error) -> Duration {
        if self.pause.is_zero() {
            tracing::error!(%address, %error, "cannot accept connections, trying again");
        }
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.pause
    }

    fn succeeded(&mut self, address: SocketAddr) {
        if !self.pause.is_zero() {
            self.pause = Duration::ZERO;
            tracing::info!(%address, "accepting connections again");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // On Linux every accepted socket has them from its listener: seven system calls less for each.
    tcp::set_options(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Here it has them from its listener.
    if cfg!(target_os = "linux") { Ok(()) } else { tcp::set_options(stream) }
}

/// The peer gave up between its arrival and now: no reason to pause.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    // InvalidInput: setting an option of a connection that was reset already.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}

/// Connections that wait in the kernel: a reconnect storm comes within a second. The system may allow fewer.
const BACKLOG: i32 = 4_096;
/// Connections accepted before those that are served already get their turn.
const ACCEPTS_AT_ONCE: usize = 16;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use tokio::sync::mpsc;

    const HTTP: Door = Door { face: Face::Http, tls: false };

    struct Queue(mpsc::UnboundedSender<Accepted>);

    impl Placement for Queue {
        fn place(&self, accepted: Accepted) {
            let _ = self.0.send(accepted);
        }
    }

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// A socket that was given its options itself.
    fn wanted() -> TcpStream {
        let listener = TcpListener::bind(any_port()).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        tcp::set_options(&stream).unwrap();
        stream
    }

    #[tokio::test]
    async fn connections_are_placed_until_the_guard_is_dropped() {
        let listener = Listener::bind(any_port(), HTTP).unwrap();
        let address = listener.local_addr();
        let (placed, mut arrivals) = mpsc::unbounded_channel();
        let (guard, stop) = watch::channel(false);
        let accepting = tokio::spawn(listener.accept(Queue(placed), stop));
        let client = TcpStream::connect(address).unwrap();
        let accepted = arrivals.recv().await.unwrap();
        assert_eq!(accepted.remote, client.local_addr().unwrap());
        assert_eq!(tcp::options(&accepted.stream.into_std().unwrap()), tcp::options(&wanted()));
        assert_eq!(accepted.door, HTTP);
        drop(guard);
        accepting.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the port is closed");
    }

    #[test]
    fn a_taken_port_is_told_with_its_address() {
        let first = Listener::bind(any_port(), HTTP).unwrap();
        let error = Listener::bind(first.local_addr(), HTTP).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
    }

    #[test]
    fn failures_are_tried_again_ever_slower_but_not_for_ever_slower() {
        let mut backoff = Backoff::default();
        // EMFILE
        let error = io::Error::from_raw_os_error(24);
        assert!(!is_of_one_connection(&error));
        let pauses: Vec<_> = (0..12).map(|_| backoff.failed(any_port(), &error)).collect();
        assert_eq!(pauses[..3], [10, 20, 40].map(Duration::from_millis));
        assert_eq!(pauses[11], PAUSE_MAX);
        backoff.succeeded(any_port());
        assert_eq!(backoff.failed(any_port(), &error), PAUSE_MIN);
    }
}
