//! From options to a backend: what one node has of Redis.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::claims::RedisClaims;
use super::control::{ControlPort, RedisControl};
use super::cursors::RedisCursors;
use super::custody::Custody;
use super::history::{HistoryPort, RedisHistory};
use super::hub::{Clock, Hub, Random};
use super::interest::Interest;
use super::journal::{Ledger, RedisJournal};
use super::keys::{Keys, PARTITIONS};
use super::link::{Ears, Link, Options, OptionsError, Vitals, open};
use super::listener::Listener;
use super::logs::Logs;
use super::memberships::RedisMemberships;
use super::presence::{PresenceOptions, RedisPresence, Scribe};
use super::queues::{Fenced, QueuesPort, RedisQueues};
use super::registry::{Description, Pace, Registry};
use super::relay::RedisRelay;
use super::revocations::{RedisRevocations, RevocationsPort};
use crate::backend::{Backend, Bus};
use crate::model::{DestinationRules, Limits};

/// What a node is, beside where its Redis is.
pub struct NodeOptions {
    /// The node in identities of messages and in reply addresses.
    pub node: u64,
    /// What a room's topic begins with.
    pub topic_prefix: Box<str>,
    /// What follows a room's topic in the name where its events are published; `None`: they are not.
    pub events: Option<Box<str>>,
    /// Whether backends are told that a room has its first user, or has lost its last ([`Sink::edge`](crate::backend::Sink::edge)).
    pub edges: bool,
    /// What this node leaves behind when it ends lingers so long, milliseconds.
    pub linger_ms: u64,
    /// How it describes itself to operators.
    pub describe: Description,
    /// What is kept.
    pub rules: DestinationRules,
    /// Every limit.
    pub limits: Limits,
    /// The broker's clock.
    pub clock: Clock,
    /// Unguessable numbers.
    pub random: Random,
}

/// What operators see of a node's part in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeVitals {
    /// The way there.
    pub link: Vitals,
    /// Channels that the node listens to.
    pub channels: usize,
    /// What came by the bus and was not understood.
    pub unknown: u64,
    /// Pages that were read of what had not come by the bus.
    pub fills: u64,
    /// Messages out of them.
    pub filled: u64,
}

/// Makes the way to Redis, once it is known who hears what is published.
pub type LinkMaker = Box<dyn FnOnce(Arc<dyn Ears>) -> Arc<dyn Link>>;

/// A node's part in Redis.
#[derive(Debug)]
pub struct Redis {
    hub: Arc<Hub>,
    link: Arc<dyn Link>,
    interest: Arc<Interest>,
    history: Arc<RedisHistory>,
    control: Arc<RedisControl>,
    presence: Arc<RedisPresence>,
    registry: Arc<Registry>,
    /// The node is to end.
    closing: Notify,
    queues: Arc<RedisQueues>,
    revocations: Arc<RedisRevocations>,
}

impl Redis {
    /// A backend on Redis, and the future that works for it: until it runs, nothing comes or goes.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub fn open(
        options: &Options,
        node: NodeOptions,
    ) -> Result<(Arc<Self>, Backend, impl Future<Output = ()> + Send + use<>), OptionsError> {
        let mut driver = None;
        let (redis, backend) = Self::build(options.key_prefix(), node, |ears| {
            let (line, works) = open(options, ears)?;
            driver = Some(works);
            Ok(line as Arc<dyn Link>)
        })?;
        let worker = Arc::clone(&redis);
        let run = async move {
            let Some(driver) = driver else { return };
            tokio::select! {
                () = driver => {}
                () = worker.work() => {}
            }
        };
        Ok((redis, backend, run))
    }

    /// A backend on a link that somebody else works for; names begin with `prefix`. The future works for what stands on it.
    pub fn on(
        prefix: &str,
        node: NodeOptions,
        link: LinkMaker,
    ) -> (Arc<Self>, Backend, impl Future<Output = ()> + Send + use<>) {
        let Ok((redis, backend)) = Self::build(prefix, node, |ears| Ok::<_, Infallible>(link(ears)));
        let worker = Arc::clone(&redis);
        (redis, backend, worker.work())
    }

    fn build<E>(
        prefix: &str,
        node: NodeOptions,
        link: impl FnOnce(Arc<dyn Ears>) -> Result<Arc<dyn Link>, E>,
    ) -> Result<(Arc<Self>, Backend), E> {
        let NodeOptions {
            node,
            topic_prefix,
            events,
            edges,
            linger_ms,
            describe,
            rules,
            limits,
            clock,
            random,
        } = node;
        let hub = Arc::new(Hub::new(Keys::new(prefix), &topic_prefix, clock, random));
        let interest = Arc::new(Interest::new(Arc::clone(&hub)));
        let logs = Arc::new(Logs::new(Arc::clone(&hub), rules.clone()));
        let history = RedisHistory::new(Arc::clone(&hub), Arc::clone(&interest), Arc::clone(&logs), rules);
        let history = Arc::new(history);
        let control = Arc::new(RedisControl::new(Arc::clone(&hub), node));
        let revocations = Arc::new(RedisRevocations::new(Arc::clone(&hub)));
        let ledger = Arc::new(Ledger::new(Arc::clone(&hub)));
        let queues = Arc::new(RedisQueues::new(Arc::clone(&hub), Arc::clone(&ledger), &limits));
        let custody = Arc::new(Custody::new(Arc::clone(&hub)));
        let presence_options =
            PresenceOptions { user_rooms_max: limits.user_rooms_max, events, edges, linger_ms };
        let scribe = Arc::new(Scribe::new(Arc::clone(&hub), &presence_options));
        let presence = Arc::new(RedisPresence::new(
            Arc::clone(&hub),
            Arc::clone(&interest),
            scribe,
            Arc::clone(&custody),
            &presence_options,
        ));
        custody.register(Arc::new(Arc::clone(&presence)));
        custody.register(Arc::new(QueuesPort(Arc::clone(&queues))));
        let fencing = Arc::downgrade(&custody);
        queues.tell_when_fenced(Fenced(Box::new(move |incarnation| {
            fencing.upgrade().into_iter().for_each(|custody| custody.fenced(incarnation));
        })));
        let registry = Arc::new(Registry::new(Arc::clone(&hub), custody, Pace::default(), describe));
        let listener = Listener {
            presence: Arc::clone(&presence),
            registry: Arc::clone(&registry),
            hub: Arc::clone(&hub),
            interest: Arc::clone(&interest),
            logs: Arc::clone(&logs),
            history: Arc::clone(&history),
            control: Arc::clone(&control),
            queues: Arc::clone(&queues),
            revocations: Arc::clone(&revocations),
            misunderstood: (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect(),
        };
        let link = link(Arc::new(listener))?;
        link.listen(hub.keys.replies(node), None);
        link.listen(hub.keys.control(), None);
        hub.connect(Arc::clone(&link));
        let redis = Arc::new(Self {
            hub: Arc::clone(&hub),
            link,
            interest: Arc::clone(&interest),
            history: Arc::clone(&history),
            control: Arc::clone(&control),
            presence: Arc::clone(&presence),
            registry,
            closing: Notify::new(),
            queues: Arc::clone(&queues),
            revocations: Arc::clone(&revocations),
        });
        let backend = Backend {
            presence,
            cursors: Arc::new(RedisCursors::new(Arc::clone(&hub), &limits)),
            memberships: Arc::new(RedisMemberships::new(Arc::clone(&hub), &limits)),
            queues: Arc::new(QueuesPort(queues)),
            claims: Arc::new(RedisClaims::new(Arc::clone(&hub))),
            journal: Arc::new(RedisJournal(ledger)),
            known_keys: Vec::new(),
            bus: Box::new(move |sink| {
                hub.serve(sink);
                let relay = Arc::new(RedisRelay::new(hub, interest, logs));
                Bus {
                    relay,
                    history: Arc::new(HistoryPort(history)),
                    control: Arc::new(ControlPort(control)),
                    revocations: Arc::new(RevocationsPort(revocations)),
                }
            }),
        };
        Ok((redis, backend))
    }

    /// Ends it: what its clients had here lingers, and what waits is sent, for some seconds at most.
    pub fn close(&self) {
        self.closing.notify_one();
    }

    /// Whether everything that is wanted comes through.
    ///
    /// # Errors
    /// Why not, in words for an operator.
    pub fn health(&self) -> Result<(), String> {
        self.link.health()
    }

    /// How all of it is, in figures.
    pub fn vitals(&self) -> NodeVitals {
        let counted = &self.hub.counted;
        NodeVitals {
            link: self.link.vitals(),
            channels: self.interest.len(),
            unknown: counted.unknown.value(),
            fills: counted.fills.value(),
            filled: counted.filled.value(),
        }
    }

    /// All nodes, as they describe themselves; `then` is called once, by the thread that works for Redis.
    pub fn nodes(&self, then: Box<dyn FnOnce(Option<Vec<String>>) + Send>) {
        self.registry.list(Box::new(move |nodes| {
            then(nodes.ok().map(|nodes| nodes.into_iter().map(|(_, description)| description).collect()));
        }));
    }

    /// Whether everything that was done in queues is done in Redis.
    pub fn is_quiet(&self) -> bool {
        self.queues.is_quiet()
    }

    /// Channels that this node listens to.
    pub fn channels(&self) -> usize {
        self.interest.len()
    }

    async fn work(self: Arc<Self>) {
        // In this order, so that who runs it in a time of his own sees it go the same way again.
        tokio::select! {
            biased;
            () = Arc::clone(&self).look_after() => {}
            _ = Arc::clone(&self.presence).run() => {}
            _ = Arc::clone(&self.registry).run() => {}
            _ = self.end() => {}
        }
    }

    async fn end(&self) -> Infallible {
        self.closing.notified().await;
        if self.health().is_ok() {
            self.registry.retire(&self.presence).await;
        }
        self.link.close();
        std::future::pending().await
    }

    async fn look_after(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_usize.. {
            ticks.tick().await;
            let now = (self.hub.clock)().mono;
            self.interest.tick(now);
            self.control.tick(now);
            if tick % REVOCATION_TICKS == 0 && self.health().is_ok() {
                self.revocations.read();
            }
            if tick % TICKS_A_SECOND == 0 {
                self.history.compare(tick / TICKS_A_SECOND);
            }
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
const TICKS_A_SECOND: usize = 10;

/// What is revoked elsewhere is looked for this often, if nobody calls: two seconds.
const REVOCATION_TICKS: usize = 2 * TICKS_A_SECOND;
