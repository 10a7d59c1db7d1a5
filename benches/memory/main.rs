//! What an idle connection costs, by the allocator's own count: many clients in this process, each over the real WebSocket
//! adapter, signed in, with one subscription, and with nothing on the other end that would cost memory itself.
//!
//! `cargo bench --bench memory -- [CONNECTIONS]`; a million by default. Prints bytes for each, after all of them came,
//! went, and came again; before that, what presence in rooms and history cost. With 0 connections only
//! that.

#![allow(clippy::unwrap_used, reason = "a program for measuring, not a library")]

mod history;
mod presence;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use std::{fs, io};

use parking_lot::Mutex;
use peak_alloc::PeakAlloc;
use stompede::server::config::{AdminPort, AdminSection};
use stompede::server::{Config, Running, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let connections = arguments.next().map_or(1_000_000, |count| count.parse().unwrap());
    presence::measure(|| ALLOCATED.current_usage());
    history::measure(|| ALLOCATED.current_usage());
    if connections == 0 {
        return;
    }
    let admin = AdminSection { port: AdminPort::Off, ..AdminSection::default() };
    let config = Config { http_port: 0, stomp_port: 0, admin, workers: 1, ..Config::default() };
    let running = Server::new(config).unwrap().start().unwrap();
    let broker = running.broker();
    let crowd = Arc::new(Crowd::default());
    come(&running, &crowd, connections);
    go(&running, &crowd);
    let (allocated, resident) = (ALLOCATED.current_usage(), resident_bytes());
    come(&running, &crowd, connections);
    let each = (ALLOCATED.current_usage() - allocated) / connections;
    println!("connections            {connections}, {} destinations", broker.destinations());
    println!("allocated for each     {each} bytes");
    println!("allocated in all       {} MiB", ALLOCATED.current_usage() >> 20);
    println!(
        "process in all         {} MiB, {} MiB when nobody was there",
        resident_bytes() >> 20,
        resident >> 20
    );
    go(&running, &crowd);
    let (stop, stopped) = oneshot::channel::<()>();
    drop(stop);
    running.wait(async { drop(stopped.await) }).unwrap();
}

/// All who are connected.
#[derive(Default)]
struct Crowd {
    /// Those whose subscription has been confirmed.
    subscribed: AtomicUsize,
    present: AtomicUsize,
    leaving: Mutex<Leaving>,
}

#[derive(Default)]
struct Leaving {
    begun: bool,
    wakers: Vec<Waker>,
}

fn come(running: &Running, crowd: &Arc<Crowd>, connections: usize) {
    *crowd.leaving.lock() = Leaving::default();
    crowd.subscribed.store(0, Ordering::SeqCst);
    for n in 0..connections {
        while !running.serve_websocket(Client::new(n, crowd)) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    wait(|| crowd.subscribed.load(Ordering::SeqCst) == connections);
}

fn go(running: &Running, crowd: &Crowd) {
    let wakers = {
        let mut leaving = crowd.leaving.lock();
        leaving.begun = true;
        std::mem::take(&mut leaving.wakers)
    };
    wakers.into_iter().for_each(Waker::wake);
    wait(|| crowd.present.load(Ordering::SeqCst) == 0 && running.broker().destinations() == 0);
}

fn wait(done: impl Fn() -> bool) {
    while !done() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// A client's end that says CONNECT and SUBSCRIBE, and keeps nothing.
struct Client {
    crowd: Arc<Crowd>,
    number: usize,
    said: bool,
}

impl Client {
    fn new(number: usize, crowd: &Arc<Crowd>) -> Self {
        crowd.present.fetch_add(1, Ordering::SeqCst);
        Self { crowd: Arc::clone(crowd), number, said: false }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.crowd.present.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.said {
            self.said = true;
            let number = self.number;
            buffer.put_slice(&masked(&format!(
                "CONNECT\naccept-version:1.2\nhost:bench\nlogin:user{number}\npasscode:guest\n\n\0"
            )));
            buffer
                .put_slice(&masked("SUBSCRIBE\nid:sub-0\ndestination:/topic/idle\nreceipt:subscribed\n\n\0"));
            return Poll::Ready(Ok(()));
        }
        let mut leaving = self.crowd.leaving.lock();
        if leaving.begun {
            return Poll::Ready(Ok(()));
        }
        // Wakers stand in one list, which is no part of what a connection costs.
        if leaving.wakers.len() <= self.number {
            leaving.wakers.resize(self.number + 1, Waker::noop().clone());
        }
        if !leaving.wakers[self.number].will_wake(context.waker()) {
            leaving.wakers[self.number] = context.waker().clone();
        }
        Poll::Pending
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.windows(RECEIPT.len()).any(|window| window == RECEIPT) {
            self.crowd.subscribed.fetch_add(1, Ordering::SeqCst);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A text message of a client, masked with zeros.
fn masked(payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0x81, 0x80 | length.min(126)];
    if length >= 126 {
        frame.extend([0, length]);
    }
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() << 10
}

const RECEIPT: &[u8] = b"RECEIPT\n";
