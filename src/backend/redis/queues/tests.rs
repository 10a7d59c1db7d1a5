//! Several nodes on one Redis.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use stompede_protocol::Headers;

use super::*;
use crate::backend::redis::keys::Keys;
use crate::backend::redis::link::Ears;
use crate::backend::redis::testing::{Driven, RedisServer, eventually, keys, options};
use crate::backend::redis::wire::{self, Heard};
use crate::backend::{Attending, Due, Journal, Kept, Queues, Quiet, Soon};
use crate::model::{Answer, ConnectionId, Full, Message, MessageId, Now, StoreError, Ticket, WorkerId};

use super::super::journal::RedisJournal;

mod nodes;
mod scripts;

/// One node.
struct Node {
    queues: Arc<RedisQueues>,
    port: QueuesPort,
    journal: RedisJournal,
    told: Arc<Told>,
    driven: Driven,
    calls: AtomicU64,
}

/// What the node's workers were told.
#[derive(Debug, Default)]
struct Told {
    answers: Mutex<Vec<(u32, Answer)>>,
    ready: Mutex<Vec<Destination>>,
}

#[derive(Debug)]
struct Listener(Arc<RedisQueues>);

impl Ears for Listener {
    fn hear(&self, channel: &Channel, payload: &Bytes) -> Result<(), Full> {
        if let Ok(Heard::Called(incarnation)) = wire::parse(payload) {
            self.0.called(channel, incarnation);
        }
        Ok(())
    }

    fn interrupted(&self, _: &BTreeSet<Partition>) {}

    fn missed(&self, partitions: &BTreeSet<Partition>) {
        partitions.iter().for_each(|partition| self.0.missed(*partition));
    }

    fn room(&self, _: WorkerId) {}

    fn reunited(&self) {
        self.0.reunited();
    }
}

impl Quiet for Told {
    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.answers.lock().push((ticket.call, answer));
    }

    fn ready(&self, queue: &Destination) {
        self.ready.lock().push(queue.clone());
    }
}

impl Node {
    fn new(server: &RedisServer) -> Self {
        Self::within(server, &Limits::default())
    }

    fn within(server: &RedisServer, limits: &Limits) -> Self {
        let begin = Instant::now();
        let clock = move || Now {
            mono: Millis(begin.elapsed().as_millis() as u64),
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64,
        };
        let random = || {
            static LAST: AtomicU64 = AtomicU64::new(0);
            u128::from(LAST.fetch_add(2, Ordering::Relaxed) + 0xabcd_0000_0001)
        };
        let options = options(server);
        let hub = Arc::new(Hub::new(keys(&options), "/topic/chat/", Arc::new(clock), Arc::new(random)));
        let ledger = Arc::new(Ledger::new(Arc::clone(&hub)));
        let queues = Arc::new(RedisQueues::new(Arc::clone(&hub), Arc::clone(&ledger), limits));
        let driven = Driven::open(&options, Arc::new(Listener(Arc::clone(&queues))));
        let told = Arc::<Told>::default();
        hub.connect(driven.link());
        hub.serve(told.clone());
        let (port, journal) = (QueuesPort(Arc::clone(&queues)), RedisJournal(ledger));
        Self { queues, port, journal, told, driven, calls: AtomicU64::new(0) }
    }

    fn ticket(&self) -> Ticket {
        let connection = ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 };
        let call = self.calls.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        Ticket { connection, call, key: 0 }
    }

    fn answer(&self, ticket: Ticket) -> Answer {
        eventually(|| {
            self.tick();
            let mut answers = self.told.answers.lock();
            let place = answers.iter().position(|(call, _)| *call == ticket.call).ok_or("no answer")?;
            Ok::<_, &str>(answers.remove(place).1)
        })
    }

    fn put(&self, queue: &Destination, message: Arc<Message>) -> Result<(), StoreError> {
        let ticket = self.ticket();
        self.port.put(queue, message, ticket).unwrap();
        self.queued(ticket)
    }

    fn queued(&self, ticket: Ticket) -> Result<(), StoreError> {
        match self.answer(ticket) {
            Answer::Queued(_, queued) => queued,
            other => panic!("{other:?}"),
        }
    }

    fn fill(&self, queue: &Destination, numbers: std::ops::RangeInclusive<u64>) {
        let tickets: Vec<_> = numbers
            .map(|number| {
                let ticket = self.ticket();
                self.port.put(queue, message(queue, number, &[]), ticket).unwrap();
                ticket
            })
            .collect();
        tickets.into_iter().for_each(|ticket| assert_eq!(self.queued(ticket), Ok(())));
    }

    /// What a dispatcher does several times a second.
    fn tick(&self) -> Due {
        self.port.sweep((self.queues.hub.clock)().wall_ms, 1_000)
    }

    /// Takes a message, however long that takes.
    fn take(&self, queue: &Destination) -> Queued {
        eventually(|| {
            self.tick();
            self.port.take(queue).ok_or("nothing to take")
        })
    }

    fn take_number(&self, queue: &Destination) -> (u64, u32) {
        let queued = self.take(queue);
        (queued.message.id.number, queued.deliveries)
    }

    /// Everything that was asked of Redis is done.
    fn settles(&self) {
        eventually(|| {
            let is_done = self.queues.is_quiet() && self.queues.ledger.len() == 0;
            is_done.then_some(()).ok_or("not quiet")
        });
    }

    fn incarnation(&self) -> u64 {
        self.queues.hub.incarnation()
    }

    /// It takes part no more, and tells nobody.
    fn die(self) -> u64 {
        let incarnation = self.incarnation();
        self.settles();
        drop(self);
        incarnation
    }

    fn bury(&self, partition: Partition, dead: u64) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.queues.bury_incarnation(partition, dead, Box::new(move |done| sender.send(done).unwrap()));
        assert!(receiver.recv().unwrap());
    }

    /// Numbers and deliveries of all that is in the queue, in order.
    fn look(&self, queue: &Destination) -> Vec<(u64, u32)> {
        let ticket = self.ticket();
        assert!(matches!(self.port.browse(queue, 0, 1_000, ticket), Soon::Later));
        match self.answer(ticket) {
            Answer::Browsed(Ok(look)) => {
                look.listed.iter().map(|queued| (queued.message.id.number, queued.deliveries)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn message(queue: &Destination, number: u64, headers: &[(&str, &str)]) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId { node: 1, number },
        destination: queue.clone(),
        timestamp_ms: 0,
        sender: Some("alice".into()),
        headers: headers.iter().copied().collect::<Headers>(),
        body: Bytes::from_static(b"body"),
        text: true,
        position: None,
        numbered: false,
    })
}

fn name(queue: &str) -> (Destination, Partition) {
    (Destination::internal(queue), Partition::of_destination(queue))
}
