//! From the configuration to a broker.

use std::sync::Arc;

use stompede_protocol::HeartBeat;

use crate::backend::memory::embedded;
use crate::broker::{Broker, Parts, Settings};
use crate::features::Rooms;
use crate::policy::quota::ConnectionLimits;
use crate::policy::{Connections, Origins, UserRates};
use crate::routing::directory::WORKERS_MAX;
use crate::transport::encode::encoders;

use super::ServerError;
use super::config::{Config, Problem};

/// A broker as configured, and the pages that may connect to it.
pub(super) struct Built {
    pub(super) broker: Arc<Broker>,
    pub(super) origins: Origins,
    pub(super) workers: usize,
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
    let beat = &config.heart_beat;
    let parts = Parts {
        settings: Settings {
            heart_beat: HeartBeat { send_ms: beat.send_ms, receive_ms: beat.receive_ms },
            websocket_ping_ms: beat.websocket_ping_ms.into(),
            pong_ms: beat.pong_ms.into(),
            rules,
            rooms: Rooms::new(&config.rooms.topic_prefix, &config.rooms.app_prefix, config.rooms.events),
            linger_ms: config.rooms.linger_ms,
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
    let backend = embedded(&parts.settings.limits, parts.settings.memory_bytes_max);
    Ok(Built { broker: Arc::new(Broker::new(parts, backend)), origins: policy.origins, workers })
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
