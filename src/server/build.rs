//! From the configuration to a broker.

use std::sync::Arc;
use std::time::Duration;

use stompede_protocol::HeartBeat;
use tokio::runtime::Builder;

use crate::backend::Backend;
use crate::backend::disk::{Disk, DiskOptions};
use crate::backend::memory::embedded;
use crate::backend::redis::{NodeOptions, Options, Redis, check};
use crate::broker::{Broker, Parts, Settings};
use crate::features::Rooms;
use crate::features::rooms::Events;
use crate::policy::quota::ConnectionLimits;
use crate::policy::{Connections, Origins, UserRates};
use crate::routing::directory::WORKERS_MAX;
use crate::transport::encode::encoders;

use super::callers::{Callers, ProxyHeaders};
use super::clock::Clock;
use super::config::{Config, DataSection, Problem, Rooms as RoomsSection};
use super::courier::Courier;
use super::storekeeper::Storekeeper;
use super::{ServerError, system};

/// A broker as configured, and the pages that may connect to it.
pub(super) struct Built {
    pub(super) broker: Arc<Broker>,
    pub(super) origins: Origins,
    /// Who may speak for others.
    pub(super) callers: Callers,
    pub(super) workers: usize,
    pub(super) clock: Clock,
    pub(super) keeper: Keeper,
}

/// Who sees to what the broker keeps. Dropped, he ends it in order, whether or not the server ever runs.
#[derive(Debug)]
pub(super) enum Keeper {
    /// It is in memory.
    Nobody,
    /// It is on disk.
    Disk(Storekeeper),
    /// It is in Redis.
    Shared(Courier),
}

impl Keeper {
    /// What messages are kept in, in a word.
    pub(super) fn store(&self) -> &'static str {
        match self {
            Self::Nobody => "memory",
            Self::Disk(_) => "disk",
            Self::Shared(_) => "redis",
        }
    }
}

pub(super) fn build(config: &Config) -> Result<Built, ServerError> {
    let policy = config.policy().map_err(|problems| fault(&problems))?;
    let rules = config.destination_rules().map_err(|problems| fault(&problems))?;
    let limits = config.effective_limits();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if config.workers == 0 { cores } else { config.workers }.min(WORKERS_MAX);
    let connections = Connections::new(ConnectionLimits {
        total: limits.connections_max,
        per_address: limits.address_connections_max,
        per_user: limits.user_connections_max,
    });
    let headers = ProxyHeaders { http: config.http_proxy_protocol, stomp: config.stomp_proxy_protocol };
    let callers = Callers::new(policy.proxies, headers, Arc::clone(&connections));
    let beat = &config.heart_beat;
    let parts = Parts {
        settings: Settings {
            heart_beat: HeartBeat { send_ms: beat.send_ms, receive_ms: beat.receive_ms },
            websocket_ping_ms: beat.websocket_ping_ms.into(),
            pong_ms: beat.pong_ms.into(),
            rules,
            rooms: Rooms::new(&config.rooms.topic_prefix, &config.rooms.app_prefix, config.rooms.events),
            linger_ms: config.rooms.linger_ms,
            mark_read_on_subscribe: config.rooms.mark_read_on_subscribe,
            server_name: config.server.name.as_str().into(),
            memory_bytes_max: usize::try_from(config.memory.max.bytes()).unwrap_or(usize::MAX),
            limits,
        },
        authenticator: policy.authenticator,
        access: policy.access,
        connections,
        user_rates: UserRates::new(),
        encoders: encoders(),
        workers,
        node: random() as u64,
        random: Box::new(random),
    };
    let clock = Clock::start();
    let (backend, keeper) = match config.redis.options().map_err(|problem| fault(&[problem]))? {
        Some(options) => share(&options, parts.node, &config.rooms, &parts.settings, clock)?,
        None => keep(&config.data, &parts.settings)?,
    };
    let broker = Arc::new(Broker::new(parts, backend));
    Ok(Built { broker, clock, origins: policy.origins, callers, workers, keeper })
}

/// Everything in Redis, shared with other instances.
fn share(
    options: &Options,
    node: u64,
    rooms: &RoomsSection,
    settings: &Settings,
    clock: Clock,
) -> Result<(Backend, Keeper), ServerError> {
    let name = settings.server_name.clone();
    let node = NodeOptions {
        node,
        topic_prefix: rooms.topic_prefix.as_str().into(),
        events: match rooms.events {
            Events::Topic => Some("".into()),
            Events::Separate => Some("/events".into()),
            Events::Off => None,
        },
        linger_ms: rooms.linger_ms,
        describe: Arc::new(move || describe(&name)),
        rules: settings.rules.clone(),
        limits: settings.limits.clone(),
        clock: Arc::new(move || clock.now()),
        random: Arc::new(random),
    };
    let asking = Builder::new_current_thread().enable_all().build().map_err(system("ask Redis"))?;
    asking.block_on(check(options))?;
    let opened = Redis::open(options, node);
    let (redis, backend, work) = opened.map_err(|error| ServerError::Config(error.to_string()))?;
    let courier = Courier::start(redis, work).map_err(system("start the thread for Redis"))?;
    Ok((backend, Keeper::Shared(courier)))
}

/// How a node is listed for operators.
fn describe(name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    serde_json::json!({ "name": name, "version": version, "pid": std::process::id() }).to_string()
}

/// Everything in this process, and on its disk if there is a data directory.
fn keep(data: &DataSection, settings: &Settings) -> Result<(Backend, Keeper), ServerError> {
    let Some((disk, backend)) = open(data, settings)? else {
        return Ok((embedded(&settings.limits, settings.memory_bytes_max), Keeper::Nobody));
    };
    let storekeeper = Storekeeper::start(disk, Duration::from_millis(data.interval_ms));
    Ok((backend, Keeper::Disk(storekeeper.map_err(system("start the threads of the store"))?)))
}

/// The store in the data directory, if there is to be one.
fn open(data: &DataSection, settings: &Settings) -> Result<Option<(Arc<Disk>, Backend)>, ServerError> {
    let Some(dir) = data.dir.clone() else { return Ok(None) };
    let memory_bytes_max = settings.memory_bytes_max;
    let options = DiskOptions {
        dir,
        fsync: data.fsync,
        bytes_max: data.bytes_max.0,
        free_bytes_min: data.free_bytes_min.0,
        cache_bytes: CACHE_BYTES_MAX.min(memory_bytes_max as u64 / CACHE_PART),
        accept_loss: data.accept_loss,
    };
    let now_ms = Clock::start().now().wall_ms;
    let Settings { limits, rules, .. } = settings;
    Ok(Some(Disk::open(&options, limits, rules, memory_bytes_max, now_ms, random())?))
}

/// An unguessable number.
fn random() -> u128 {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Guessable session ids and reply addresses would be worse than no broker.
        tracing::error!(%error, "the system gives no random numbers");
        std::process::abort();
    }
    u128::from_ne_bytes(bytes)
}

fn fault(problems: &[Problem]) -> ServerError {
    let texts: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.fault)).collect();
    ServerError::Config(texts.join("; "))
}

/// Of the process's memory, what is read from the disk may be cached in one part in so many.
const CACHE_PART: u64 = 8;

/// What is read is what came lately; the system's own cache has the rest.
const CACHE_BYTES_MAX: u64 = 64 << 20;
