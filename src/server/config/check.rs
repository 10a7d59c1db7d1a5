//! What can be read but must not be run.

use std::ops::RangeInclusive;
use std::path::Path;

use super::{AdminPort, Config, Problem, Size};
use crate::model::limits::BODY_BYTES_CEILING;
use crate::server::http::client::check_url;

impl Config {
    /// Everything that forbids starting with this configuration, each under its key; nothing when it can be used.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_exposure(&mut problems);
        self.check_ports(&mut problems);
        self.check_proxies(&mut problems);
        self.check_tls(&mut problems);
        self.check_limits(&mut problems);
        self.check_times(&mut problems);
        self.check_data(&mut problems);
        self.check_fetch(&mut problems);
        self.check_redis(&mut problems);
        self.sse.check(&mut problems);
        self.sockjs.check(&self.origins.allow, &mut problems);
        self.check_api(&mut problems);
        self.check_hooks(&mut problems);
        problems.extend(self.policy().err().unwrap_or_default());
        problems.extend(self.destination_rules().err().unwrap_or_default());
        problems
    }

    fn check_exposure(&self, problems: &mut Vec<Problem>) {
        if self.is_development() && !self.listen.is_loopback() && !self.allow_insecure {
            let fault = format!(
                "{} is open to the network, but no key is configured, so anybody could be anybody: set jwt.secret, \
                 jwt.public_key_file, jwt.jwks_url, an account or an API key, or accept it with allow_insecure = true (--allow-insecure)",
                self.listen
            );
            problems.push(Problem::new("listen", fault));
        }
        if self.server.name.is_empty() || self.server.name.chars().any(char::is_control) {
            problems.push(Problem::new("server.name", "it must not be empty or have control characters"));
        }
    }

    fn check_ports(&self, problems: &mut Vec<Problem>) {
        let ports = [
            ("http_port", self.http_port),
            ("stomp_port", self.stomp_port),
            ("stomp_tls_port", self.stomp_tls_port),
            ("admin.port", if let AdminPort::On(port) = self.admin.port { port } else { 0 }),
        ];
        for (i, (key, port)) in ports.iter().enumerate() {
            let same = ports[..i].iter().find(|(_, other)| *port != 0 && port == other);
            if let Some((other, _)) = same {
                problems.push(Problem::new(key, format!("{port} is the port of {other} already")));
            }
        }
    }

    fn check_proxies(&self, problems: &mut Vec<Problem>) {
        let expected = [
            ("http_proxy_protocol", self.http_proxy_protocol),
            ("stomp_proxy_protocol", self.stomp_proxy_protocol),
        ];
        for (key, _) in expected.into_iter().filter(|(_, on)| *on && self.trusted_proxies.is_empty()) {
            let fault = "nobody may send a PROXY protocol header: name the load balancers in trusted_proxies";
            problems.push(Problem::new(key, fault));
        }
    }

    fn check_tls(&self, problems: &mut Vec<Problem>) {
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => {
                problems.push(Problem::new("tls.cert", "a certificate needs its private key: set tls.key"))
            }
            (None, Some(_)) => {
                problems.push(Problem::new("tls.key", "a private key needs its certificate: set tls.cert"))
            }
            (Some(_), Some(_)) if self.tls.self_signed => {
                problems.push(Problem::new("tls.self_signed", "it excludes tls.cert and tls.key"));
            }
            _ => {}
        }
        let files = [("tls.cert", &self.tls.cert), ("tls.key", &self.tls.key)];
        for (key, path) in files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?))) {
            problems.extend(unreadable(key, path));
        }
    }

    fn check_limits(&self, problems: &mut Vec<Problem>) {
        let limits = &self.limits;
        let ranges = [
            ("body_bytes_max", limits.body_bytes_max, 1, BODY_BYTES_CEILING),
            ("headers_max", limits.headers_max, 8, 10_000),
            ("head_bytes_max", limits.head_bytes_max, 1 << 10, 1 << 20),
            ("unconnected_bytes_max", limits.unconnected_bytes_max, 1 << 10, 1 << 20),
            ("subscriptions_max", limits.subscriptions_max, 1, 1 << 20),
            ("unacked_max", limits.unacked_max, 1, 1 << 20),
            ("transactions_max", limits.transactions_max, 0, 1 << 16),
            ("transaction_bytes_max", limits.transaction_bytes_max, 1 << 10, 1 << 30),
            ("outbox_bytes_max", limits.outbox_bytes_max, 16 << 10, 1 << 30),
            ("queue_messages_max", limits.queue_messages_max, 1, usize::MAX),
            ("queue_bytes_max", limits.queue_bytes_max, 1, usize::MAX),
            ("inbox_messages_max", limits.inbox_messages_max, 16, 1 << 24),
            ("inbox_bytes_max", limits.inbox_bytes_max, 64 << 10, usize::MAX),
            ("backlog_bytes_max", limits.backlog_bytes_max, 64 << 10, usize::MAX),
            ("members_listed_max", limits.members_listed_max, 1, 1 << 20),
            ("user_rooms_max", limits.user_rooms_max, 1, 1 << 20),
        ];
        for (key, value, min, max) in ranges {
            if (min..=max).contains(&value) {
                continue;
            }
            let bound = if value < min { format!("at least {min}") } else { format!("at most {max}") };
            problems.push(Problem::new(&format!("limits.{key}"), format!("{value} must be {bound}")));
        }
        if limits.sends_per_second > 0 && limits.sends_burst == 0 {
            problems.push(Problem::new("limits.sends_burst", "0 would let no SEND through: set at least 1"));
        }
    }

    fn check_times(&self, problems: &mut Vec<Problem>) {
        let beat = &self.heart_beat;
        for (key, ms) in [("send_ms", beat.send_ms), ("receive_ms", beat.receive_ms)] {
            if ms != 0 && ms < HEART_BEAT_MS_MIN {
                let fault = format!("{ms} must be 0 (none) or at least {HEART_BEAT_MS_MIN}");
                problems.push(Problem::new(&format!("heart_beat.{key}"), fault));
            }
        }
        let waits = [
            ("heart_beat.websocket_ping_ms", u64::from(beat.websocket_ping_ms)),
            ("heart_beat.pong_ms", u64::from(beat.pong_ms)),
            ("limits.connect_ms_max", self.limits.connect_ms_max),
            ("limits.write_ms_max", self.limits.write_ms_max),
        ];
        if self.rooms.linger_ms > LINGER_MS_CEILING {
            let fault = format!("{} must be at most {LINGER_MS_CEILING} milliseconds", self.rooms.linger_ms);
            problems.push(Problem::new("rooms.linger_ms", fault));
        }
        for (key, ms) in waits.into_iter().filter(|(_, ms)| *ms < WAIT_MS_MIN) {
            problems.push(Problem::new(key, format!("{ms} must be at least {WAIT_MS_MIN} milliseconds")));
        }
    }

    fn check_data(&self, problems: &mut Vec<Problem>) {
        let data = &self.data;
        if data.dir.as_deref().is_some_and(|dir| dir.as_os_str().is_empty()) {
            problems.push(Problem::new(
                "data.dir",
                "it must name a directory: leave it out to keep all in memory",
            ));
        }
        if !(1..=INTERVAL_MS_MAX).contains(&data.interval_ms) {
            let fault = format!("{} must be 1 to {INTERVAL_MS_MAX} milliseconds", data.interval_ms);
            problems.push(Problem::new("data.interval_ms", fault));
        }
        if data.bytes_max < DATA_BYTES_MIN {
            let fault = format!("{} must be at least {DATA_BYTES_MIN}", data.bytes_max);
            problems.push(Problem::new("data.bytes_max", fault));
        }
    }
}

impl Config {
    fn check_fetch(&self, problems: &mut Vec<Problem>) {
        for (key, url) in self.jwt.jwks_urls() {
            let fault = check_url(url, self.fetch.plain()).err();
            problems.extend(fault.map(|fault| Problem::new(&key, fault)));
        }
        if !JWKS_REFRESH_S.contains(&self.jwt.jwks_refresh_s) {
            let fault = format!("{} must be 10 to 86400 seconds", self.jwt.jwks_refresh_s);
            problems.push(Problem::new("jwt.jwks_refresh_s", fault));
        }
        problems.extend(self.fetch.ca_file.as_deref().and_then(|path| unreadable("fetch.ca_file", path)));
    }

    fn check_redis(&self, problems: &mut Vec<Problem>) {
        problems.extend(self.redis.options().err());
        if self.redis.url.is_some() && self.data.dir.is_some() {
            let fault = "with redis.url everything is kept in Redis: leave out one of the two";
            problems.push(Problem::new("data.dir", fault));
        }
        problems.extend(self.redis.ca_file.as_deref().and_then(|path| unreadable("redis.ca_file", path)));
    }
}

fn unreadable(key: &str, path: &Path) -> Option<Problem> {
    let error = std::fs::File::open(path).err()?;
    Some(Problem::new(key, format!("cannot read {}: {error}", path.display())))
}

/// More often would be a burden to issuers; a key that is withdrawn should be gone within the day.
const JWKS_REFRESH_S: RangeInclusive<u64> = 10..=86_400;

/// As in the protocol: shorter intervals cost more than they tell.
const HEART_BEAT_MS_MIN: u32 = 1_000;

/// Whoever has not come back after ten minutes is not expected by the others any more.
const LINGER_MS_CEILING: u64 = 600_000;

/// Anything shorter would end healthy connections.
const WAIT_MS_MIN: u64 = 100;

/// More than the last minute should not be lost with the power, and a full disk should not go unnoticed for longer.
const INTERVAL_MS_MAX: u64 = 60_000;

/// One message of the largest size that is usual.
const DATA_BYTES_MIN: Size = Size(1 << 20);
