//! From the configuration to a broker.

use std::sync::Arc;
use std::time::Duration;

use stompede_protocol::HeartBeat;

use crate::backend::Backend;
use crate::backend::disk::{Disk, DiskOptions};
use crate::backend::memory::embedded;
use crate::broker::{Broker, Parts, Settings};
use crate::features::Rooms;
use crate::policy::quota::ConnectionLimits;
use crate::policy::{Connections, Origins, UserRates};
use crate::routing::directory::WORKERS_MAX;
use crate::transport::encode::encoders;

use super::callers::{Callers, ProxyHeaders};
use super::clock::Clock;
use super::config::{Config, DataSection, Problem};
use super::storekeeper::Storekeeper;
use super::{ServerError, system};

/// A broker as configured, and the pages that may connect to it.
pub(super) struct Built {
    pub(super) broker: Arc<Broker>,
    pub(super) origins: Origins,
    /// Who may speak for others.
    pub(super) callers: Callers,
    pub(super) workers: usize,
    /// Where messages are kept on disk. It ends the store in order, whether or not the server ever runs.
    pub(super) storekeeper: Option<Storekeeper>,
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
    let (disk, backend) = match open(&config.data, &parts.settings)? {
        Some((disk, backend)) => (Some(disk), backend),
        None => (None, embedded(&parts.settings.limits, parts.settings.memory_bytes_max)),
    };
    let broker = Arc::new(Broker::new(parts, backend));
    let every = Duration::from_millis(config.data.interval_ms);
    let storekeeper = disk.map(|disk| Storekeeper::start(disk, every)).transpose();
    let storekeeper = storekeeper.map_err(system("start the threads of the store"))?;
    Ok(Built { broker, origins: policy.origins, callers, workers, storekeeper })
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
