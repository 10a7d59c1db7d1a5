//! From the configuration to a broker.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use stompede_protocol::HeartBeat;
use tokio::runtime::{Builder, Handle};

use crate::backend::disk::{Disk, DiskOptions};
use crate::backend::memory::embedded;
use crate::backend::redis::{NodeOptions, Options, Redis, check};
use crate::backend::{Backend, Claims};
use crate::broker::{Broker, Parts, Settings};
use crate::features::Rooms;
use crate::features::rooms::Events;
use crate::policy::api_keys::{hash_of_key, key_of};
use crate::policy::quota::ConnectionLimits;
use crate::policy::{ApiKeyConfig, ApiKeys, Connections, Origins, Scope, Secret, UserRates};
use crate::routing::directory::WORKERS_MAX;
use crate::transport::encode::encoders;

use super::callers::{Callers, ProxyHeaders};
use super::clock::Clock;
use super::config::{Config, DataSection, Problem, Rooms as RoomsSection};
use super::courier::Courier;
use super::fetch::Fetch;
use super::hooks::Hooks;
use super::http::client::HttpClient;
use super::keyring::Keyring;
use super::storekeeper::Storekeeper;
use super::trust::{self, roots};
use super::{ServerError, system};

/// A broker as configured, and the pages that may connect to it.
pub(super) struct Built {
    pub(super) broker: Arc<Broker>,
    pub(super) origins: Origins,
    pub(super) api_keys: ApiKeys,
    /// A key of the HTTP API that is good while the process lives, in development mode.
    pub(super) trial_key: Option<String>,
    /// Who may speak for others.
    pub(super) callers: Callers,
    pub(super) workers: usize,
    pub(super) clock: Clock,
    pub(super) keeper: Keeper,
    /// Which instance has which session of requests.
    pub(super) claims: Arc<dyn Claims>,
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
    let clock = Clock::start();
    let parts = Parts {
        settings: Settings {
            heart_beat: HeartBeat { send_ms: beat.send_ms, receive_ms: beat.receive_ms },
            websocket_ping_ms: beat.websocket_ping_ms.into(),
            pong_ms: beat.pong_ms.into(),
            rules,
            rooms: Rooms::new(&config.rooms.topic_prefix, &config.rooms.app_prefix, config.rooms.events),
            linger_ms: config.rooms.linger_ms,
            events: config.sse.settings(),
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
        stopwatch: Box::new(move || clock.nanoseconds()),
    };
    let (backend, keeper) = match config.redis.options().map_err(|problem| fault(&[problem]))? {
        Some(options) => share(&trusting(options, config)?, &parts, &config.rooms, clock)?,
        None => keep(&config.data, &parts.settings)?,
    };
    let claims = Arc::clone(&backend.claims);
    let broker = Arc::new(Broker::new(parts, backend));
    let mut api_keys = policy.api_keys;
    let trial_key = config.is_development().then(|| add_trial_key(&mut api_keys)).transpose()?;
    Ok(Built {
        broker,
        clock,
        origins: policy.origins,
        api_keys,
        trial_key,
        callers,
        workers,
        keeper,
        claims,
    })
}

/// With the certificates that Redis may show, where it is asked for any.
fn trusting(options: Options, config: &Config) -> Result<Options, ServerError> {
    if !options.is_encrypted() {
        return Ok(options);
    }
    let wrong = |error: &dyn std::error::Error| ServerError::Config(format!("redis.ca_file: {error}"));
    let roots = roots(config.redis.ca_file.as_deref()).map_err(|error| wrong(&error))?;
    let tls = trust::client(roots).map_err(|error| wrong(&error))?;
    Ok(options.trust(Arc::new(tls)))
}

/// One more key, for trying the HTTP API out.
fn add_trial_key(keys: &mut ApiKeys) -> Result<String, ServerError> {
    let [high, low] = [random(), random()].map(u128::to_ne_bytes);
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&high);
    bytes[16..].copy_from_slice(&low);
    let key = key_of(bytes);
    let hash = Secret::new(&hash_of_key(&key));
    let config = ApiKeyConfig { name: "development".to_owned(), hash, scopes: Scope::ALL.to_vec() };
    keys.add(&config).map_err(|error| ServerError::Config(error.to_string()))?;
    Ok(key)
}

/// Everything in Redis, shared with other instances.
fn share(
    options: &Options,
    parts: &Parts,
    rooms: &RoomsSection,
    clock: Clock,
) -> Result<(Backend, Keeper), ServerError> {
    let settings = &parts.settings;
    let name = settings.server_name.clone();
    let node = NodeOptions {
        node: parts.node,
        topic_prefix: rooms.topic_prefix.as_str().into(),
        events: match rooms.events {
            Events::Topic => Some("".into()),
            Events::Separate => Some("/events".into()),
            Events::Off => None,
        },
        edges: parts.access.hooks().tells_edges(),
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

/// An unguessable number. The system is asked for many at once: each connection needs one.
pub(super) fn random() -> u128 {
    thread_local! {
        static DRAWN: RefCell<([[u8; 16]; DRAWN_AT_ONCE], usize)> = const { RefCell::new(([[0; 16]; _], 0)) };
    }
    DRAWN.with_borrow_mut(|(drawn, left)| {
        if *left == 0 {
            if let Err(error) = getrandom::fill(drawn.as_flattened_mut()) {
                // Guessable session ids and reply addresses would be worse than no broker.
                tracing::error!(%error, "the system gives no random numbers");
                std::process::abort();
            }
            *left = drawn.len();
        }
        *left -= 1;
        u128::from_ne_bytes(mem::take(&mut drawn[*left]))
    })
}

/// Sees to the keys of issuers, if there are any.
pub(super) fn keyring(config: &Config, broker: &Broker, api: &Handle) -> Result<Arc<Keyring>, ServerError> {
    let sources = broker.authenticator().key_sources();
    if sources.is_empty() {
        return Ok(Arc::default());
    }
    let fetch = fetch(config, sources.iter().map(|source| source.url()))?;
    Ok(Keyring::start(sources, &fetch, Duration::from_secs(config.jwt.jwks_refresh_s), api))
}

/// Who asks the backends that decide, if there are any, in the name of `broker`.
pub(super) fn hooks(
    config: &Config,
    broker: &Broker,
    clock: Clock,
    api: &Handle,
) -> Result<Arc<Hooks>, ServerError> {
    let options = config.hook_options().map_err(|problems| fault(&problems))?;
    let fetch = fetch(config, config.hook.iter().map(|hook| hook.url.as_str()))?;
    let hooks = Arc::new(Hooks::new(options, &fetch, clock, api));
    broker.judge_by(Arc::<Hooks>::clone(&hooks));
    Ok(hooks)
}

/// Asks servers; certificates are looked for only where one of `urls` needs them.
fn fetch<'a>(
    config: &Config,
    mut urls: impl Iterator<Item = &'a str>,
) -> Result<Arc<dyn Fetch>, ServerError> {
    let wrong = |error: &dyn std::error::Error| ServerError::Config(format!("fetch.ca_file: {error}"));
    let is_encrypted = urls.any(|url| url.starts_with("https:"));
    let roots =
        if is_encrypted { roots(config.fetch.ca_file.as_deref()) } else { Ok(RootCertStore::empty()) };
    let roots = roots.map_err(|error| wrong(&error))?;
    let client = HttpClient::new(roots, config.fetch.plain()).map_err(|error| wrong(&error))?;
    Ok(Arc::new(client))
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

/// Random numbers of a thread that are drawn before they are needed.
const DRAWN_AT_ONCE: usize = 16;
