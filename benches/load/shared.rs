//! What the threads know of each other.

use std::io::{self, Write};
use std::mem;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::body::{Stamp, Template};
use crate::client::{Publication, SENT};
use crate::options::{Options, Scenario};
use crate::wire::Wire;

/// One run's clock, counters and switches.
pub(crate) struct Run {
    start: Instant,
    pub(crate) wire: Wire,
    pub(crate) template: Template,
    /// The server answers receipts.
    pub(crate) has_receipts: bool,
    /// Receipts of SENDs carry the message's stamp: they are received, and counted, like messages.
    pub(crate) stamps_receipts: bool,
    /// Sizes of bodies, in turn.
    pub(crate) bytes: Vec<usize>,
    /// Subscribed, failed or closed by the server, cut by us.
    pub(crate) open: AtomicUsize,
    pub(crate) failed: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    /// Stamped messages that arrived, and when the last did.
    pub(crate) received: AtomicU64,
    pub(crate) last: AtomicU64,
    /// Numbers given out, by stream.
    pub(crate) sent: Vec<AtomicU32>,
    /// Latency counts for messages due from here on.
    pub(crate) measured_from: AtomicU64,
    /// The last server was killed; and how many of those who came back were told that something is missing.
    pub(crate) has_lost: AtomicBool,
    pub(crate) unrecovered: AtomicU64,
    /// Publishers that wait for receipts go on.
    pub(crate) is_publishing: AtomicBool,
    /// What went wrong, in words: the first few.
    notes: Mutex<Vec<String>>,
    /// Of those who ask when they are told.
    waits: Mutex<Vec<Wait>>,
    /// Links that other threads may publish through, by client.
    pub(crate) links: Vec<Mutex<Option<Arc<Link>>>>,
}

/// What a client that was told to ask waited for; nanoseconds of the run's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The frame left.
    pub(crate) asked: u64,
    /// Its RECEIPT came; 0 until then.
    pub(crate) answered: u64,
    /// The last of what is kept had come too.
    pub(crate) whole: u64,
}

/// The sending side of a connection.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    /// What the socket would not take.
    pending: Mutex<Vec<u8>>,
}

impl Run {
    pub(crate) fn new(
        wire: Wire,
        template: Template,
        options: &Options,
        streams: usize,
        clients: usize,
    ) -> Self {
        let bytes = options.bytes.clone().unwrap_or_else(|| vec![200]);
        Self {
            start: Instant::now(),
            wire,
            template,
            has_receipts: !options.no_receipts,
            stamps_receipts: matches!(options.scenario, Scenario::Receipts | Scenario::Replay),
            bytes,
            open: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            last: AtomicU64::new(0),
            sent: (0..streams).map(|_| AtomicU32::new(0)).collect(),
            measured_from: AtomicU64::new(u64::MAX),
            has_lost: AtomicBool::new(false),
            unrecovered: AtomicU64::new(0),
            is_publishing: AtomicBool::new(false),
            notes: Mutex::default(),
            waits: Mutex::default(),
            links: (0..clients).map(|_| Mutex::default()).collect(),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// A SEND with the next number of a stream, as it leaves.
    pub(crate) fn send(
        &self,
        publication: &Publication,
        due: u64,
        with_receipt: bool,
        scratch: &mut Scratch,
    ) {
        let stream = publication.stream;
        let number = self.sent[stream as usize].fetch_add(1, Ordering::Relaxed);
        let Scratch { frame, out } = scratch;
        frame.clear();
        frame.extend_from_slice(publication.head.as_bytes());
        let stamp = Stamp { stream, number, due };
        if self.stamps_receipts {
            frame.extend_from_slice(b"receipt:");
            stamp.mark(frame);
            frame.push(b'\n');
        } else if with_receipt && self.has_receipts {
            let _ = writeln!(frame, "receipt:{SENT}");
        }
        frame.push(b'\n');
        stamp.write(&self.template, self.bytes[number as usize % self.bytes.len()], frame);
        frame.push(0);
        self.wire.wrap(1, frame, out);
    }

    /// Waits until `is_so`; gives up when `progress` stands still for so long.
    pub(crate) fn wait<T: PartialEq>(
        &self,
        patience: Duration,
        progress: impl Fn(&Self) -> T,
        is_so: impl Fn(&Self) -> bool,
    ) -> bool {
        let (mut last, mut since) = (progress(self), Instant::now());
        while !is_so(self) {
            thread::sleep(Duration::from_millis(1));
            let now = progress(self);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > patience {
                return false;
            }
        }
        true
    }

    pub(crate) fn note(&self, text: &str) {
        let (text, mut notes) = (text.trim_end_matches('\0').replace(['\n', '\r'], " "), lock(&self.notes));
        if notes.len() < NOTES && !notes.contains(&text) {
            notes.push(text);
        }
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        lock(&self.notes).clone()
    }

    /// Somebody's wait is over.
    pub(crate) fn waited(&self, wait: Wait) {
        lock(&self.waits).push(wait);
    }

    /// How many waits are over.
    pub(crate) fn waits(&self) -> usize {
        lock(&self.waits).len()
    }

    /// Hands out the waits that are over.
    pub(crate) fn take_waits(&self) -> Vec<Wait> {
        mem::take(&mut lock(&self.waits))
    }

    pub(crate) fn link(&self, client: usize) -> MutexGuard<'_, Option<Arc<Link>>> {
        lock(&self.links[client])
    }
}

/// Buffers to build frames in.
#[derive(Default)]
pub(crate) struct Scratch {
    frame: Vec<u8>,
    pub(crate) out: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Mutex::default() }
    }

    /// Writes what the socket takes; the rest waits for [`Link::flush`].
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut pending = lock(&self.pending);
        let count = if pending.is_empty() { write(&self.stream, bytes)? } else { 0 };
        pending.extend_from_slice(&bytes[count..]);
        Ok(())
    }

    /// Says how many bytes still wait.
    pub(crate) fn flush(&self) -> io::Result<usize> {
        let mut pending = lock(&self.pending);
        if !pending.is_empty() {
            let count = write(&self.stream, &pending)?;
            pending.drain(..count);
        }
        Ok(pending.len())
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOTES: usize = 5;
