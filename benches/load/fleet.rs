//! All clients of a run, spread over threads, and what they do together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::body::Template;
use crate::client::{Client, Publication};
use crate::engine::{Command, Engine, WAKE};
use crate::options::Options;
use crate::process::Cpu;
use crate::shared::{Run, Scratch, Wait};
use crate::tally::Tally;
use crate::target::Target;

pub(crate) struct Fleet {
    pub(crate) run: Arc<Run>,
    engines: Vec<(Sender<Command>, Waker, JoinHandle<io::Result<Tally>>)>,
    /// Those that come and go are not waited for.
    lasting: usize,
    /// Who publishes which stream, and how many receive it.
    streams: Vec<(usize, Publication)>,
    receivers: Vec<u64>,
    pub(crate) patience: Duration,
    /// Their CPU time is added to the server's.
    also_pid: Vec<u32>,
}

/// A stretch of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) elapsed: Duration,
    pub(crate) delivered: u64,
    /// Of the server, if its process is known, and of this program.
    pub(crate) server_cpu: Option<Duration>,
    pub(crate) load_cpu: Duration,
}

/// The beginning of a [`Span`].
pub(crate) struct Mark {
    at: Instant,
    delivered: u64,
    pid: Option<u32>,
    server_cpu: Option<Cpu>,
    load_cpu: Option<Cpu>,
}

impl Fleet {
    /// Starts the threads; nothing is connected yet. Streams are numbered as they stand, with the client that publishes.
    pub(crate) fn launch(
        options: &Options,
        template: Template,
        clients: Vec<Client>,
        streams: Vec<(usize, Publication)>,
        heart_beat: Option<Duration>,
    ) -> io::Result<Self> {
        let target = Target::of_url(&options.url)?;
        let run = Arc::new(Run::new(target.wire, template, options, streams.len(), clients.len()));
        let threads = options.threads.max(1);
        let lasting = clients.len();
        let mut receivers = vec![u64::from(run.stamps_receipts); streams.len()];
        let receiving = clients.iter().filter(|client| !client.is_deaf && !client.is_told);
        for subscription in receiving.flat_map(|client| &client.subscriptions) {
            subscription.streams.iter().for_each(|stream| receivers[*stream as usize] += 1);
        }
        let mut engines = Vec::new();
        let mut parts: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
        clients
            .into_iter()
            .enumerate()
            .for_each(|(number, client)| parts[number % threads].push((number, client)));
        for part in parts {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (sender, commands) = channel();
            let mut engine = Engine::new(poll, Arc::clone(&run), target.clone(), commands);
            engine.opening_max = (options.opening / threads).max(1);
            engine.heart_beat = heart_beat;
            part.into_iter().for_each(|(number, client)| engine.add(number, client));
            engines.push((sender, waker, thread::spawn(move || engine.work())));
        }
        let patience = Duration::from_secs_f64(options.patience);
        Ok(Self { run, engines, lasting, streams, receivers, patience, also_pid: options.also_pid.clone() })
    }

    pub(crate) fn tell(&self, command: Command) -> io::Result<()> {
        for (sender, waker, _) in &self.engines {
            sender.send(command).map_err(|_| io::Error::other("a reading thread has ended"))?;
            waker.wake()?;
        }
        Ok(())
    }

    /// Opens all that is closed, and waits until it is subscribed or has failed.
    pub(crate) fn open(&self) -> io::Result<Duration> {
        let start = Instant::now();
        self.tell(Command::Open)?;
        let done = |run: &Run| run.open.load(Relaxed) + run.failed.load(Relaxed) + run.ended.load(Relaxed);
        let all = self.run.wait(self.patience, done, |run| done(run) >= self.lasting);
        let open = self.run.open.load(Relaxed);
        if !all || open == 0 {
            let why = self.run.notes().join("; ");
            return Err(io::Error::other(format!("{open} of {} connections are open. {why}", self.lasting)));
        }
        let elapsed = start.elapsed();
        if !self.run.has_receipts {
            // Nobody says when the subscriptions are active.
            thread::sleep(Duration::from_secs(1));
        }
        Ok(elapsed)
    }

    pub(crate) fn wait_until_open(&self, count: usize) -> io::Result<()> {
        let open = |run: &Run| run.open.load(Relaxed);
        let is_so = self.run.wait(self.patience, open, |run| open(run) == count);
        is_so.then_some(()).ok_or_else(|| io::Error::other("the connections do not close"))
    }

    /// Has clients that wait for it ask something, and waits until `count` of them have got all of it.
    pub(crate) fn ask(&self, command: Command, count: usize) -> io::Result<Vec<Wait>> {
        self.run.take_waits();
        self.tell(command)?;
        let progress = |run: &Run| (run.waits(), run.received.load(Relaxed));
        if !self.run.wait(self.patience, progress, |run| run.waits() >= count) {
            let (done, why) = (self.run.waits(), self.run.notes().join("; "));
            return Err(io::Error::other(format!("{done} of {count} got what they asked for. {why}")));
        }
        Ok(self.run.take_waits())
    }

    /// By rate or by window, as the options say.
    pub(crate) fn publish(&self, options: &Options) -> io::Result<Span> {
        let span = match options.rate {
            Some(rate) => self.publish_at_rate(options, rate),
            None => self.publish_at_will(options),
        };
        span.map_err(|error| io::Error::other(format!("{error}. {}", self.run.notes().join("; "))))
    }

    pub(crate) fn mark(&self, pid: Option<u32>) -> Mark {
        let delivered = self.run.received.load(Relaxed);
        let (server_cpu, load_cpu) =
            (Cpu::of_all(pid.into_iter().chain(self.also_pid.iter().copied())), Cpu::of(std::process::id()));
        Mark { at: Instant::now(), delivered, pid, server_cpu, load_cpu }
    }

    pub(crate) fn since(&self, mark: &Mark) -> Span {
        let end = self.mark(mark.pid);
        Span {
            elapsed: end.at - mark.at,
            delivered: end.delivered - mark.delivered,
            server_cpu: between(&mark.server_cpu, &end.server_cpu),
            load_cpu: between(&mark.load_cpu, &end.load_cpu).unwrap_or_default(),
        }
    }

    /// Publishers with a window send as their receipts come, first to warm up, then measured.
    fn publish_at_will(&self, options: &Options) -> io::Result<Span> {
        self.run.is_publishing.store(true, Relaxed);
        self.tell(Command::Start(options.window.unwrap_or(WINDOW)))?;
        thread::sleep(Duration::from_secs_f64(options.warm));
        self.run.measured_from.store(self.run.now(), Relaxed);
        let mark = self.mark(options.pid);
        thread::sleep(Duration::from_secs_f64(options.seconds));
        let span = self.since(&mark);
        self.run.is_publishing.store(false, Relaxed);
        Ok(span)
    }

    /// Sends at a fixed rate whatever the server does, through the clients named, in turn.
    fn publish_at_rate(&self, options: &Options, rate: f64) -> io::Result<Span> {
        let links: Vec<_> = self.streams.iter().map(|(client, _)| self.run.link(*client).clone()).collect();
        let mut scratch = Scratch::default();
        let (start, step) = (self.run.now(), 1e9 / rate);
        let warm = (options.warm * rate) as u64;
        let count = warm + (options.seconds * rate) as u64;
        let mut mark = self.mark(options.pid);
        for n in 0..count {
            let due = start + (n as f64 * step) as u64;
            if n == warm {
                self.run.measured_from.store(due, Relaxed);
                mark = self.mark(options.pid);
            }
            while let Some(early) = due.checked_sub(self.run.now()).filter(|early| *early > 0) {
                thread::sleep(Duration::from_nanos(early));
            }
            let at = n as usize % self.streams.len();
            let link = links[at].as_ref().ok_or_else(|| io::Error::other("a publisher is gone"))?;
            scratch.out.clear();
            self.run.send(&self.streams[at].1, due, false, &mut scratch);
            link.send(&scratch.out)?;
            // A server that does not read slows us down; the time that was due stays.
            let stuck = Instant::now();
            while link.flush()? > PENDING {
                if stuck.elapsed() > self.patience {
                    return Err(io::Error::other("the server does not read a publisher any more"));
                }
                thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(self.since(&mark))
    }

    /// Sends the `n`th message of a run outside any schedule; says when.
    pub(crate) fn send_one(&self, n: usize) -> io::Result<u64> {
        let (client, publication) = &self.streams[n % self.streams.len()];
        let link = self.run.link(*client).clone().ok_or_else(|| io::Error::other("a publisher is gone"))?;
        let (mut scratch, now) = (Scratch::default(), self.run.now());
        self.run.send(publication, now, false, &mut scratch);
        link.send(&scratch.out)?;
        Ok(now)
    }

    /// Waits for what was sent so far; false when nothing more comes.
    pub(crate) fn all_have_come(&self) -> bool {
        let received = |run: &Run| run.received.load(Relaxed);
        let expected = |run: &Run| {
            let counts = run.sent.iter().zip(&self.receivers);
            counts.map(|(sent, receivers)| u64::from(sent.load(Relaxed)) * receivers).sum()
        };
        self.run.wait(self.patience, received, |run| received(run) >= expected(run))
    }

    /// Waits for everything; says how many messages were sent.
    pub(crate) fn drain(&self) -> u64 {
        // Publishers with a window may be sending at this moment.
        self.settle(Duration::from_millis(50));
        self.all_have_come();
        self.run.sent.iter().map(|count| u64::from(count.load(Relaxed))).sum()
    }

    /// Waits until nothing has come for so long; says how many messages were sent.
    pub(crate) fn settle(&self, quiet: Duration) -> u64 {
        self.run.wait(quiet, |run| run.received.load(Relaxed), |_| false);
        self.run.sent.iter().map(|count| u64::from(count.load(Relaxed))).sum()
    }

    pub(crate) fn finish(self) -> io::Result<Tally> {
        self.tell(Command::Finish)?;
        let mut all = Tally::default();
        for (_, _, thread) in self.engines {
            all.add(&thread.join().map_err(|_| io::Error::other("a reading thread panicked"))??);
        }
        Ok(all)
    }
}

fn between(start: &Option<Cpu>, end: &Option<Cpu>) -> Option<Duration> {
    Some(end.as_ref()?.since(start.as_ref()?))
}

/// SENDs of one publisher that wait for their receipts.
const WINDOW: u32 = 6;
/// Bytes that a publisher's socket may refuse before we wait for it.
const PENDING: usize = 1 << 20;
