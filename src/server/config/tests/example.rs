//! `stompede.example.toml` against the code, both ways.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::*;
use crate::model::Overflow;
use crate::policy::ProviderConfig;
use crate::policy::access::{AccessRuleConfig, Action};
use crate::policy::accounts::{AccountConfig, ClaimValue};
use crate::policy::hooks::{Ask, HookEvent};
use crate::policy::{ApiKeyConfig, Scope};
use crate::server::config::sections::History;

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/stompede.example.toml"));

#[test]
fn the_example_as_it_stands_is_the_default() {
    assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_lists_every_key_and_no_other() {
    let example = parse(&uncommented()).unwrap_or_else(|error| panic!("{error}"));
    let listed = keys(&toml::from_str(&uncommented()).unwrap());
    let known = keys(&Table::try_from(everything()).unwrap());
    let missing: Vec<_> = known.difference(&listed).collect();
    let extra: Vec<_> = listed.difference(&known).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    assert_eq!(example.destination.len(), 2);
}

#[test]
fn every_key_of_the_example_has_a_comment() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| is_setting(line)) {
        let before = lines.get(i.wrapping_sub(1)).copied().unwrap_or_default();
        let explained = before.starts_with("# ") || before.starts_with("#[[") || is_setting(before);
        assert!(explained, "line {}: {line}", i + 1);
    }
}

/// The example with the settings that have no default switched on: `#key = value` and `#[[table]]`.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_setting(rest) || rest.starts_with('[') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(line).collect()
}

fn is_setting(line: &str) -> bool {
    let name = line.trim_start_matches('#').split(" = ").next().unwrap_or_default();
    line.contains(" = ")
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
}

fn keys(table: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in table {
        let inner = match value {
            Value::Table(table) => keys(table),
            Value::Array(list) => list.iter().filter_map(Value::as_table).flat_map(keys).collect(),
            _ => BTreeSet::new(),
        };
        found.extend(inner.iter().map(|key| format!("{name}.{key}")));
        if inner.is_empty() {
            found.insert(name.clone());
        }
    }
    found
}

/// A configuration in which nothing is left out, so that no key hides behind an absent value. Written without `..` where
/// keys may be absent: a new one does not compile until it stands here.
fn everything() -> Config {
    let jwt = JwtConfig {
        secret: Some(Secret::new("s")),
        secret_base64: Some(Secret::new("s")),
        public_key_file: Some("p".into()),
        jwks_url: Some("u".to_owned()),
        jwks_refresh_s: 0,
        allow_short_secret: false,
        algorithms: vec![],
        issuer: Some("i".to_owned()),
        audience: vec!["a".to_owned()],
        required_claims: [("azp".to_owned(), "a".to_owned())].into(),
        user_claim: String::new(),
        role_claims: vec![],
        service_role: String::new(),
        leeway_s: 0,
        provider: vec![ProviderConfig {
            issuer: "i".to_owned(),
            jwks_url: "u".to_owned(),
            audience: vec!["a".to_owned()],
            algorithms: vec![],
            required_claims: [("azp".to_owned(), "a".to_owned())].into(),
            user_claim: Some("c".to_owned()),
            user_prefix: String::new(),
        }],
    };
    let account = AccountConfig {
        login: "l".to_owned(),
        passcode_hash: Secret::new("h"),
        role: AccountRole::User,
        claims: [("rooms".to_owned(), ClaimValue::One("1".to_owned()))].into(),
    };
    let rule = AccessRuleConfig { pattern: String::new(), actions: vec![Action::Send], who: vec![] };
    Config {
        listen: Config::default().listen,
        http_port: 0,
        stomp_port: 0,
        stomp_tls_port: 0,
        trusted_proxies: vec![],
        http_proxy_protocol: false,
        stomp_proxy_protocol: false,
        workers: 0,
        ports_file: Some("p".into()),
        allow_insecure: false,
        admin: AdminSection::default(),
        server: Server::default(),
        tls: Tls { cert: Some("c".into()), key: Some("k".into()), self_signed: false },
        jwt,
        fetch: FetchSection { ca_file: Some("c".into()), ..FetchSection::default() },
        account: vec![account],
        api: ApiSection {
            key: vec![ApiKeyConfig {
                name: String::new(),
                hash: Secret::new("h"),
                scopes: vec![Scope::Publish],
            }],
            ..ApiSection::default()
        },
        access: AccessSection { rule: vec![rule], ..AccessSection::default() },
        hook: vec![HookSection {
            name: String::new(),
            on: vec![HookEvent::Connect],
            url: String::new(),
            secret: Some(Secret::new("s")),
            secret_file: Some("s".into()),
            patterns: vec![],
            ask: Ask::Always,
            authenticates: false,
            headers: vec![],
            timeout_ms: 0,
            concurrency: 0,
            waiting_max: 0,
            cache_ttl_ms: 0,
            attempts: 1,
        }],
        origins: OriginsSection::default(),
        limits: Limits::default(),
        websocket: WebSocketSection::default(),
        sse: SseSection {
            max_age_s: Some(1),
            path: vec![SsePath { path: String::new(), destination: String::new() }],
            ..SseSection::default()
        },
        sockjs: SockJsSection::default(),
        memory: Memory::default(),
        data: DataSection { dir: Some("d".into()), ..DataSection::default() },
        redis: RedisSection {
            url: Some(Secret::new("u")),
            node_address: Some("a".into()),
            username: Some("n".into()),
            password: Some(Secret::new("p")),
            sentinel_username: Some("n".into()),
            sentinel_password: Some(Secret::new("p")),
            ca_file: Some("c".into()),
            ..RedisSection::default()
        },
        heart_beat: HeartBeat::default(),
        destination: vec![DestinationSection {
            pattern: String::new(),
            overflow: Some(Overflow::Close),
            history: Some(History::default()),
            offline: Some(History::default()),
        }],
        rooms: Rooms::default(),
        log: Log::default(),
        shutdown: Shutdown::default(),
    }
}
