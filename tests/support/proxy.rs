//! A TCP proxy that does to connections what networks do: it delays, swallows one way or both, resets, cuts into pieces.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Stands before a server on a port of its own. New connections are subject to what is set, too.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// One way through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From whoever has dialled.
    ToServer = 0,
    /// From the server.
    ToClient = 1,
}

#[derive(Debug, Default)]
struct Shared {
    swallows: [AtomicBool; 2],
    latency_ms: AtomicU64,
    /// Bytes of a piece; 0 leaves them as they come.
    piece_bytes: AtomicUsize,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl FaultProxy {
    /// A proxy before `server` that does nothing yet.
    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // Where there is no server the client sees the connection end.
                let Ok((client, server)) =
                    client.and_then(|client| Ok((client, TcpStream::connect(server)?)))
                else {
                    continue;
                };
                Shared::join(&accepting, &client, &server);
            }
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Lets nothing through that way, without a word; or again everything that comes from then on and came meanwhile.
    pub(crate) fn set_swallow(&self, way: Way, swallows: bool) {
        self.shared.swallows[way as usize].store(swallows, Ordering::SeqCst);
    }

    /// Holds every piece back for so long.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.shared.latency_ms.store(latency.as_millis() as u64, Ordering::SeqCst);
    }

    /// Cuts what goes through into pieces of so many bytes; 0 ends that.
    pub(crate) fn set_piece_bytes(&self, bytes: usize) {
        self.shared.piece_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Resets all connections that there are, to both sides.
    pub(crate) fn reset(&self) {
        for stream in self.shared.streams.lock().expect("no panic").drain(..) {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.reset();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn join(this: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        for (way, from, to) in [(Way::ToServer, client, server), (Way::ToClient, server, client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let _ = (to.set_nodelay(true), from.set_read_timeout(Some(LOOK)));
            if let Ok(known) = from.try_clone() {
                this.streams.lock().expect("no panic").push(known);
            }
            let shared = Arc::clone(this);
            std::thread::spawn(move || shared.carry(way, from, to));
        }
    }

    fn carry(&self, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while !self.is_over.load(Ordering::SeqCst) {
            if self.swallows[way as usize].load(Ordering::SeqCst) {
                std::thread::sleep(LOOK);
                continue;
            }
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            std::thread::sleep(Duration::from_millis(self.latency_ms.load(Ordering::SeqCst)));
            // What was read when it began to swallow is swallowed too.
            while self.swallows[way as usize].load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK);
            }
            let piece = match self.piece_bytes.load(Ordering::SeqCst) {
                0 => count,
                bytes => bytes,
            };
            if buffer[..count].chunks(piece).any(|piece| to.write_all(piece).is_err()) {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// How soon a change is noticed.
const LOOK: Duration = Duration::from_millis(5);
