use std::path::PathBuf;

use super::*;
use crate::backend::disk::Fsync;
use crate::policy::{Secret, accounts::AccountRole};

fn parse(text: &str) -> Result<Config, ConfigError> {
    with_variables(text, &[])
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Loaded::parse(Some((PathBuf::from("s.toml"), text.to_owned())), variables).map(|loaded| loaded.config)
}

fn complaint(text: &str) -> String {
    let loaded = Loaded::parse(Some((PathBuf::from("s.toml"), text.to_owned())), []);
    loaded.and_then(Loaded::check).unwrap_err().to_string()
}

const KEY: &str = "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(Config::default().check(), []);
}

#[test]
fn faults_of_the_text_are_told_with_file_line_column_and_key() {
    let cases = [
        ("http_port = 70000", "s.toml:1:13: http_port: ", "0 to 65535"),
        ("\n[limits]\n body_bytes_max = \"1\"", "s.toml:3:19: limits.body_bytes_max: ", "a whole number"),
        ("htpp_port = 1", "s.toml:1:1: ", "did you mean `http_port`?"),
        ("[limits]\nbody_byte_max = 1", "s.toml:2:1: ", "did you mean `body_bytes_max`?"),
        ("listen = \"here\"", "s.toml:1:10: listen: ", "0.0.0.0"),
        ("listen = \n", "s.toml:1:", "expected"),
        ("[log]\nlevel = \"loud\"", "s.toml:2:9: log.level: ", "`debug`"),
        ("[memory]\nmax = \"60\u{2030}\"", "s.toml:2:7: memory.max: ", "2GiB"),
        ("[data]\nfsync = \"never\"", "s.toml:2:9: data.fsync: ", "`interval`"),
        ("[data]\nbytes_max = \"60%\"", "s.toml:2:13: data.bytes_max: ", "64GiB"),
        ("[data]\nfree_bytes_min = -1", "s.toml:2:18: data.free_bytes_min: ", "512MiB"),
        ("[data]\naccept_loss = true", "s.toml:2:1: ", "unknown field"),
        ("[[account]]\nlogin = \"a\"", "s.toml:1:1: account[0]: ", "passcode_hash"),
        ("[[access.rule]]\npattern=\"/topic/a\"\nactions=[\"fly\"]\nwho=[]", "s.toml:3:", "subscribe"),
    ];
    for (text, start, part) in cases {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.starts_with(start) && message.contains(part), "{text}: {message}");
    }
}

#[test]
fn no_complaint_repeats_a_secret() {
    for text in [
        "jwt = \"s3cretive\"",
        "[jwt]\nsecret = 53637\n",
        "[jwt]\nsecret = \"53637\"",
        "[jwt]\nsecret_base64 = \"53637!\"",
        "[[account]]\nlogin = \"a\"\npasscode_hash = \"53637\"",
        "[tls]\nself_signed = \"s3cretive\"",
    ] {
        let message = complaint(text);
        assert!(!message.contains("53637") && !message.contains("s3cretive"), "{message}");
    }
}

#[test]
fn a_printed_configuration_holds_no_secret() {
    let config =
        parse(&format!("{KEY}[[account]]\nlogin = \"a\"\npasscode_hash = \"$argon2id$x\"\n")).unwrap();
    for text in [format!("{config:?}"), toml::to_string(&config).unwrap()] {
        assert!(!text.contains("0123456789") && !text.contains("argon2id"), "{text}");
    }
}

#[test]
fn insecure_or_impossible_combinations_are_refused_by_name() {
    let cases = [
        ("listen = \"0.0.0.0\"", "s.toml:1:1: listen: ", "allow_insecure"),
        ("[jwt]\nsecret = \"short\"", "s.toml:1:1: jwt: ", "jwt.allow_short_secret"),
        ("[jwt]\njwks_url = \"https://a.example/k\"", "s.toml:1:1: jwt: ", "audience or required_claims"),
        (
            "[jwt]\nissuer = \"a\"\naudience = \"b\"\njwks_url = \"http://a.example/k\"",
            "s.toml:4:1: jwt.jwks_url: ",
            "fetch.allow_http",
        ),
        (
            "[[jwt.provider]]\nissuer = \"a\"\naudience = [\"b\"]\njwks_url = \"file:///k\"",
            "s.toml:4:1: jwt.provider[0].jwks_url: ",
            "https://",
        ),
        ("[jwt]\njwks_refresh_s = 1", "s.toml:2:1: jwt.jwks_refresh_s: ", "10 to 86400"),
        ("[tls]\ncert = \"/none.pem\"", "s.toml:2:1: tls.cert: ", "tls.key"),
        ("[tls]\nkey = \"/none.pem\"", "s.toml:2:1: tls.key: ", "tls.cert"),
        ("http_port = 5\nstomp_port = 5", "s.toml:2:1: stomp_port: ", "http_port"),
        ("trusted_proxies = [\"::1\", \"10.0.0.0/33\"]", "s.toml:1:1: trusted_proxies: ", "10.0.0.0/24"),
        ("http_proxy_protocol = true", "s.toml:1:1: http_proxy_protocol: ", "trusted_proxies"),
        ("stomp_proxy_protocol = true", "s.toml:1:1: stomp_proxy_protocol: ", "trusted_proxies"),
        ("[limits]\nbody_bytes_max = 67108865", "s.toml:2:1: limits.body_bytes_max: ", "at most 67108864"),
        ("[limits]\nsubscriptions_max = 0", "s.toml:2:1: limits.subscriptions_max: ", "at least 1"),
        ("[heart_beat]\nsend_ms = 500", "s.toml:2:1: heart_beat.send_ms: ", "1000"),
        ("[data]\ndir = \"\"", "s.toml:2:1: data.dir: ", "directory"),
        ("[data]\ninterval_ms = 0", "s.toml:2:1: data.interval_ms: ", "60000"),
        ("[data]\ninterval_ms = 60001", "s.toml:2:1: data.interval_ms: ", "60000"),
        ("[data]\nbytes_max = \"1023KiB\"", "s.toml:2:1: data.bytes_max: ", "at least 1MiB"),
        ("[origins]\nallow = [\"https://*\"]", "s.toml:2:1: origins.allow: ", "every page"),
        (
            "[[destination]]\npattern = \"/queue/a\"\noverflow = \"close\"",
            "s.toml:2:1: destination[0].pattern: ",
            "/topic/",
        ),
        ("[rooms]\ntopic_prefix = \"/topic/chat\"", "s.toml:2:1: rooms.topic_prefix: ", "end with /"),
        (
            "[[access.rule]]\npattern = \"a\"\nactions = [\"send\"]\nwho = [\"anyone\"]",
            "s.toml:1:1: access.rule[0]: ",
            "begins with /",
        ),
        ("[[account]]\nlogin = \"a\"\npasscode_hash = \"x\"", "s.toml:1:1: account[0]: ", "stompede hash"),
    ];
    for (text, start, part) in cases {
        let message = complaint(text);
        assert!(message.starts_with(start) && message.contains(part), "{text}: {message}");
    }
    let both = complaint("[limits]\nheaders_max = 0\n[tls]\nkey = \"k\"");
    assert!(both.contains("headers_max") && both.contains("tls.key"), "{both}");
    let known = format!("[jwt]\nsecret = \"{}\"", crate::policy::jwt::DEVELOPMENT_SECRET);
    assert!(complaint(&known).contains("development secret"));
}

#[test]
fn what_is_asked_for_by_name_is_allowed() {
    for text in [
        "listen = \"0.0.0.0\"\nallow_insecure = true".to_owned(),
        format!("listen = \"0.0.0.0\"\n{KEY}"),
        "[jwt]\nsecret = \"short\"\nallow_short_secret = true".to_owned(),
        "[limits]\nbody_bytes_max = 67108864".to_owned(),
        "listen = \"localhost\"".to_owned(),
    ] {
        assert_eq!(parse(&text).unwrap().check(), [], "{text}");
    }
}

#[test]
fn variables_win_over_the_file() {
    let config = with_variables(
        "http_port = 1\n[origins]\nallow = [\"https://a.example\"]",
        &[
            ("STOMPEDE_HTTP_PORT", "2"),
            ("STOMPEDE_JWT__SECRET", "12345678901234567890123456789012"),
            ("STOMPEDE_TLS__SELF_SIGNED", "true"),
            ("STOMPEDE_ORIGINS__ALLOW", "https://b.example, https://c.example"),
            ("STOMPEDE_TRUSTED_PROXIES", "10.0.0.7,fd00::/8"),
            ("STOMPEDE_STOMP_PROXY_PROTOCOL", "true"),
            ("STOMPEDE_LOG__FORMAT", "json"),
            ("STOMPEDE_MEMORY__MAX", "1GiB"),
            ("STOMPEDE_DATA__DIR", "/srv/5"),
            ("STOMPEDE_DATA__FSYNC", "interval"),
            ("STOMPEDE_DATA__BYTES_MAX", "1048576"),
            ("STOMPEDE_DATA__FREE_BYTES_MIN", "0"),
            ("STOMPEDE_SERVER__NAME", "5"),
            ("STOMPEDE_WORKERS", ""),
            ("OTHER", "x"),
        ],
    );
    let config = config.unwrap();
    assert_eq!((config.http_port, config.tls.self_signed, config.workers), (2, true, 0));
    assert_eq!(config.jwt.secret, Some(Secret::new("12345678901234567890123456789012")));
    assert_eq!(config.origins.allow, ["https://b.example", "https://c.example"]);
    assert_eq!(
        (config.trusted_proxies, config.stomp_proxy_protocol),
        (vec!["10.0.0.7".to_owned(), "fd00::/8".to_owned()], true)
    );
    assert_eq!((config.log.format, config.memory.max), (LogFormat::Json, MemoryMax::Bytes(1 << 30)));
    assert_eq!(config.server.name, "5");
    let data = DataSection {
        dir: Some("/srv/5".into()),
        fsync: Fsync::Interval,
        bytes_max: Size(1 << 20),
        free_bytes_min: Size(0),
        ..DataSection::default()
    };
    assert_eq!(config.data, data);
}

#[test]
fn faults_of_variables_are_told_by_name() {
    let message = |name: &str, value: &str| with_variables("", &[(name, value)]).unwrap_err().to_string();
    let port = message("STOMPEDE_HTTP_PORT", "many");
    assert!(port.starts_with("variable STOMPEDE_HTTP_PORT: ") && port.contains("65535"), "{port}");
    assert!(message("STOMPEDE_HTP_PORT", "1").contains("did you mean `http_port`?"));
    assert!(message("STOMPEDE_HTTP_PORT__X", "1").contains("STOMPEDE_HTTP_PORT__X"));
}

#[test]
fn what_kubernetes_puts_into_the_environment_is_not_for_us() {
    let injected = [
        ("STOMPEDE_PORT", "tcp://10.0.0.1:61613"),
        ("STOMPEDE_SERVICE_HOST", "10.0.0.1"),
        ("STOMPEDE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("STOMPEDE_LOG", "debug"),
        ("STOMPEDE_CONFIG", "x.toml"),
    ];
    assert_eq!(with_variables("", &injected).unwrap(), Config::default());
}

#[test]
fn development_mode_has_no_rates() {
    let config = Config::default();
    let limits = config.effective_limits();
    let rates = (limits.sends_per_second, limits.user_sends_per_second);
    assert_eq!(rates, (0, 0));
    assert_eq!((limits.user_connections_max, limits.address_connections_max), (0, 0));
    assert_eq!(limits.body_bytes_max, config.limits.body_bytes_max);
    let production = parse(KEY).unwrap();
    assert_eq!(production.effective_limits(), production.limits);
    assert!(!production.is_development() && config.is_development());
}

#[test]
fn the_policy_is_what_is_configured() {
    use crate::model::Principal;
    use crate::policy::Action;
    let rule =
        "[[access.rule]]\npattern = \"/topic/news/*\"\nactions = [\"subscribe\"]\nwho = [\"anyone\"]\n";
    let rooms = "[rooms]\ntopic_prefix = \"/topic/room/\"\napp_prefix = \"/app/room/\"\n";
    let policy = parse(&format!("{rooms}{KEY}{rule}")).unwrap().policy().unwrap();
    assert!(policy.access.may(&Principal::anonymous(), Action::Subscribe, "/topic/news/a"));
    assert!(policy.access.claims().contains("rooms"));
    assert!(policy.access.may(&Principal::user("a"), Action::Send, "/app/x"));
    assert!(!policy.access.may(&Principal::user("a"), Action::Send, "/app/room/1/send"));
    let bare = format!("[access]\ndefaults = false\n{KEY}{rule}");
    let policy = parse(&bare).unwrap().policy().unwrap();
    assert!(!policy.access.may(&Principal::user("a"), Action::Send, "/app/x"));
    assert!(policy.origins.check(Some("http://localhost:3000"), None, false).is_err());
    let development = Config::default().policy().unwrap();
    assert!(development.authenticator.is_development());
    assert!(development.origins.check(Some("http://localhost:3000"), None, false).is_ok());
}

#[test]
fn tokens_of_development_mode_work_there() {
    use crate::policy::{Credentials, JwtSigner, TokenOrder};
    let config = Config::default();
    let order = TokenOrder { user: "alice".to_owned(), ttl_s: 60, ..TokenOrder::default() };
    let token = JwtSigner::new(&config.signing()).unwrap().sign(&order, 1_000).unwrap();
    let shown = Credentials { query_token: Some(token.into()), ..Credentials::default() };
    let alice = config.policy().unwrap().authenticator.authenticate(&shown, 1_000).unwrap();
    assert_eq!(alice.name(), "alice");
}

mod example;
