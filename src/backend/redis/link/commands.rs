//! One server's connection for orders: many under way at once, answered in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use redis::Value;

use crate::backend::redis::link::Fault;
use crate::backend::redis::scripts::Script;

use super::dial::Primary;
use super::lanes::{Return, Waiting};
use super::line::{Cut, Line, Outcome};
use super::replies::{Verdict, judge};
use super::servers::ServerId;

/// Sends orders until the connection is lost. Tells why it was.
pub(super) async fn run(line: &Arc<Line>, server: ServerId, primary: Primary) -> String {
    let mut commands = Commands::new(Arc::clone(line), server, primary);
    let Cut(why) = std::future::poll_fn(|cx| commands.poll(cx)).await;
    why
}

struct Commands {
    line: Arc<Line>,
    server: ServerId,
    primary: Primary,
    scripts: Vec<Known>,
    /// What is under way, in the order in which it was sent.
    flights: VecDeque<Flight>,
    outcomes: Vec<Outcome>,
    /// What was answered, and is not known yet to be with the replicas.
    unproven: Vec<Outcome>,
    /// Taken, and about to be written.
    taken: Vec<Waiting>,
    /// The server has said that it is of no use. Nothing is sent any more; what was sent is answered, and then it is left.
    verdict: Option<String>,
}

/// Something that is under way, and has a reply of its own.
enum Flight {
    Order(Waiting),
    /// The text of a script.
    Load(&'static Script),
    /// The leave to ask for a slot that is on its way here.
    Asking,
    /// So many replicas have all that came before.
    Replicated,
}

/// A script that was sent in full on this connection.
struct Known {
    script: &'static Script,
    /// By what the server calls it, once it has said so.
    digest: Option<Vec<u8>>,
}

impl Commands {
    fn new(line: Arc<Line>, server: ServerId, primary: Primary) -> Self {
        let (scripts, flights) = (Vec::new(), VecDeque::new());
        let (outcomes, unproven, taken, verdict) = (Vec::new(), Vec::new(), Vec::new(), None);
        Self { line, server, primary, scripts, flights, outcomes, unproven, taken, verdict }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        match self.work(cx) {
            Err(cut) => Poll::Ready(cut),
            Ok(()) => match self.verdict.take_if(|_| self.flights.is_empty()) {
                Some(why) => Poll::Ready(Cut(why)),
                None => Poll::Pending,
            },
        }
    }

    /// Reads what is there, sends what may be sent.
    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), Cut> {
        loop {
            let awaited = self.flights.len();
            let received = self.receive(cx);
            if self.flights.len() < awaited {
                self.line.with_server(self.server, |known| known.replied = Instant::now());
            }
            self.line.settle(self.outcomes.drain(..));
            received?;
            let is_free = self.verdict.is_none() && self.primary.pipe.unwritten() < UNWRITTEN_BYTES_MAX;
            let room = if is_free { FLIGHTS_MAX.saturating_sub(self.flights.len()) } else { 0 };
            let room = room.min(BATCH_ORDERS_MAX);
            self.line.take(self.server, room, &mut self.taken, cx)?;
            let is_done = self.taken.len() < room || room == 0;
            self.write();
            match self.primary.pipe.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Err(Cut(error.to_string())),
                Poll::Ready(Ok(())) if !is_done => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Ok(()),
            }
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Result<(), Cut> {
        while let Poll::Ready(value) = self.primary.pipe.poll_value(cx) {
            let value = value.map_err(|error| Cut(error.to_string()))?;
            if let Value::Push { .. } = value {
                continue;
            }
            match self.flights.pop_front() {
                Some(Flight::Order(waiting)) => self.handle_reply(waiting, value),
                Some(Flight::Load(script)) => self.handle_digest(script, value),
                Some(Flight::Asking) => {}
                Some(Flight::Replicated) => self.handle_replicated(&value),
                None => return Err(Cut("has answered what was not asked".to_owned())),
            }
        }
        Ok(())
    }

    fn handle_reply(&mut self, mut waiting: Waiting, value: Value) {
        waiting.detour = None;
        let outcome = match judge(value) {
            Verdict::Done(value) => Outcome::Ended(waiting, Ok(value)),
            // An order without keys is never told to go elsewhere: its first command was not done.
            Verdict::Refused { text, .. } if waiting.order.keys.is_empty() && text.contains(NOT_HERE) => {
                self.line.ask_survey(Some(self.primary.address.clone()));
                Outcome::Returned(waiting, Return::Moved)
            }
            Verdict::Refused { code, text } => Outcome::Ended(waiting, Err(Fault::Refused { code, text })),
            Verdict::Unknown => {
                self.scripts.retain(|known| !std::ptr::eq(known.script, waiting.order.script));
                Outcome::Returned(waiting, Return::Undone)
            }
            // For whoever owns the slot leave to ask is no more than that: it is given wherever another is asked.
            Verdict::Moved(hint) if waiting.order.is_apart() => {
                let server = self.line.server_at(hint.from(&self.primary.address));
                Outcome::Returned(waiting, Return::Elsewhere(server))
            }
            Verdict::Moved(hint) => {
                self.line.ask_survey(Some(hint.from(&self.primary.address)));
                Outcome::Returned(waiting, Return::Moved)
            }
            Verdict::Ask(hint) => {
                let server = self.line.server_at(hint.from(&self.primary.address));
                Outcome::Returned(waiting, Return::Detour(server))
            }
            Verdict::Rest => Outcome::Returned(waiting, Return::Rest),
            Verdict::Unfit(why) => {
                // Channels may be heard elsewhere too from now on.
                self.line.with_server(self.server, |known| known.bus.cut(&why));
                self.verdict.get_or_insert(why);
                Outcome::Returned(waiting, Return::Undone)
            }
        };
        match self.line.wait_replicas {
            0 => self.outcomes.push(outcome),
            _ => self.unproven.push(outcome),
        }
    }

    /// What was done by then counts as done, if enough replicas have it.
    fn handle_replicated(&mut self, value: &Value) {
        let is_enough = matches!(value, Value::Int(count) if *count >= i64::from(self.line.wait_replicas));
        self.outcomes.extend(self.unproven.drain(..).map(|outcome| match outcome {
            Outcome::Ended(waiting, Ok(_)) if !is_enough => Outcome::Ended(waiting, Err(Fault::Unknown)),
            outcome => outcome,
        }));
    }

    fn handle_digest(&mut self, script: &'static Script, value: Value) {
        // An error is the order's to report, which sends the text again.
        let Value::BulkString(digest) = value else { return };
        if let Some(known) = self.scripts.iter_mut().find(|known| std::ptr::eq(known.script, script)) {
            known.digest = Some(digest);
        }
    }

    fn write(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        let is_waiting = self.line.wait_replicas > 0 && !taken.is_empty();
        for waiting in taken.drain(..) {
            self.write_order(&waiting);
            self.flights.push_back(Flight::Order(waiting));
        }
        self.taken = taken;
        if is_waiting {
            let (replicas, most) = (self.line.wait_replicas.to_string(), WAIT_MS_MAX.to_string());
            let wait: [&[u8]; 3] = [b"WAIT", replicas.as_bytes(), most.as_bytes()];
            self.primary.pipe.command(wait.into_iter());
            self.flights.push_back(Flight::Replicated);
        }
    }

    fn write_order(&mut self, waiting: &Waiting) {
        let order = &waiting.order;
        let script = order.script;
        let known = self.scripts.iter().find(|known| std::ptr::eq(known.script, script));
        let is_known = known.is_some();
        let pipe = &mut self.primary.pipe;
        if !is_known {
            let load: [&[u8]; 3] = [b"SCRIPT", b"LOAD", script.text.as_bytes()];
            pipe.command(load.into_iter());
            self.flights.push_back(Flight::Load(script));
        }
        if waiting.detour.is_some() {
            pipe.command([b"ASKING".as_slice()].into_iter());
            self.flights.push_back(Flight::Asking);
        }
        pipe.begin(4 + order.keys.len() + order.args.len());
        match known.and_then(|known| known.digest.as_deref()) {
            Some(digest) => {
                pipe.part(b"EVALSHA");
                pipe.part(digest);
            }
            None => {
                pipe.part(b"EVAL");
                pipe.part(script.text.as_bytes());
            }
        }
        pipe.number(order.keys.len());
        order.keys.iter().for_each(|key| pipe.part(key.as_bytes()));
        pipe.part(&self.primary.replication_id);
        order.args.iter().for_each(|arg| pipe.part(arg));
        if !is_known {
            self.scripts.push(Known { script, digest: None });
        }
    }
}

impl Drop for Commands {
    /// What was under way is lost, whatever it was that has ended the connection.
    fn drop(&mut self) {
        let flights = std::mem::take(&mut self.flights).into_iter();
        let lost = flights.filter_map(|flight| match flight {
            Flight::Order(waiting) => Some(Outcome::Returned(waiting, Return::Lost)),
            Flight::Load(_) | Flight::Asking | Flight::Replicated => None,
        });
        let unproven = self.unproven.drain(..).map(|outcome| match outcome {
            Outcome::Ended(waiting, Ok(_)) => Outcome::Returned(waiting, Return::Lost),
            outcome => outcome,
        });
        let lost = unproven.chain(lost);
        let taken = self.taken.drain(..).map(|waiting| Outcome::Returned(waiting, Return::Undone));
        self.line.settle(self.outcomes.drain(..).chain(lost).chain(taken));
    }
}

/// What a server of a cluster says to a script that does something in a slot which is not its own.
const NOT_HERE: &str = "access a non local key";

/// Orders under way on one connection.
const FLIGHTS_MAX: usize = 4_096;

/// Replicas have so long to acknowledge, milliseconds; what comes later waits behind.
const WAIT_MS_MAX: u64 = 500;

/// Orders that are taken at once.
const BATCH_ORDERS_MAX: usize = 256;

/// Nothing more is taken while so many bytes wait for the socket.
const UNWRITTEN_BYTES_MAX: usize = 256 << 10;
