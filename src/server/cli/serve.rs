//! `stompede serve`.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, holder, now_s};
use crate::policy::{JwtConfig, JwtSigner, PolicyError, Secret, TokenOrder};
use crate::server::admin::ADMIN_FLAG;
use crate::server::config::{AdminPort, Config, Loaded, LogFormat, LogLevel, parse_address};
use crate::server::{Ports, Running, Server, ServerError, telemetry};

/// What can be set by flags; they win over file and environment.
#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:\n  stompede serve --config /etc/stompede.toml\n  \
    stompede serve --http-port 9000 --tls-self-signed\n\n\
    Every key of the file can also be set by a variable: STOMPEDE_HTTP_PORT=9000, STOMPEDE_JWT__SECRET=...")]
pub(super) struct ServeArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "STOMPEDE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on, such as 0.0.0.0 or ::
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<IpAddr>,
    /// Port for WebSocket, HTTP and the page; 0 takes any free one
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Port for STOMP over TCP; 0 takes any free one
    #[arg(long, value_name = "PORT")]
    stomp_port: Option<u16>,
    /// Port for STOMP over TLS; 0 takes any free one
    #[arg(long, value_name = "PORT")]
    stomp_tls_port: Option<u16>,
    /// Port for metrics, health and readiness, on this machine alone; 0 takes any free one, off opens none
    #[arg(long, value_name = "PORT|off")]
    admin_port: Option<AdminPort>,
    /// Worker threads; 0 takes one for each core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// File that gets the addresses in use, as JSON, once they are open
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// Listen beyond this machine without any key
    #[arg(long)]
    allow_insecure: bool,
    /// Encrypt with a certificate made at start, for development
    #[arg(long)]
    tls_self_signed: bool,
    /// Certificate and chain (PEM)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Directory in which messages outlive the process
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Redis over which several instances act as one broker, such as redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Open a damaged data directory with what is left of it
    #[arg(long)]
    accept_loss: bool,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The least important line that is written
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

impl ServeArguments {
    fn apply(self, config: &mut Config) {
        replace(&mut config.listen, self.listen);
        replace(&mut config.http_port, self.http_port);
        replace(&mut config.stomp_port, self.stomp_port);
        replace(&mut config.stomp_tls_port, self.stomp_tls_port);
        replace(&mut config.admin.port, self.admin_port);
        replace(&mut config.workers, self.workers);
        replace(&mut config.log.format, self.log_format);
        replace(&mut config.log.level, self.log_level);
        config.ports_file = self.ports_file.or(config.ports_file.take());
        config.tls.cert = self.tls_cert.or(config.tls.cert.take());
        config.tls.key = self.tls_key.or(config.tls.key.take());
        config.data.dir = self.data.or(config.data.dir.take());
        config.data.accept_loss = self.accept_loss;
        config.redis.url = self.redis.as_deref().map(Secret::new).or(config.redis.url.take());
        config.tls.self_signed |= self.tls_self_signed;
        config.allow_insecure |= self.allow_insecure;
    }
}

/// Runs the broker until it is asked to end.
pub(super) fn serve(mut arguments: ServeArguments) -> Result<(), CliError> {
    let file = arguments.config.take();
    let mut loaded = Loaded::read(file.as_deref(), variables())?;
    arguments.apply(&mut loaded.config);
    let config = loaded.check()?;
    let filter = std::env::var(telemetry::FILTER_VARIABLE).ok();
    telemetry::init(&config.log, filter.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
    let failed = |error: ServerError| CliError::Failed(told(&error));
    let development = config.is_development().then(|| config.signing());
    let (secure, data) = (config.tls.is_on(), config.data.dir.clone());
    let running = Server::new(config).and_then(Server::start).map_err(failed)?;
    if let Some(signing) = development {
        let welcomed = welcome(&signing, &running, secure, data.as_deref());
        welcomed.map_err(|error| CliError::Failed(error.to_string()))?;
    }
    running.wait(std::future::pending()).map_err(failed)
}

/// Development mode says so, and how to try it.
fn welcome(
    signing: &JwtConfig,
    running: &Running,
    secure: bool,
    data: Option<&Path>,
) -> Result<(), PolicyError> {
    tracing::warn!("development mode: no key and no account is configured, so anybody may be anybody");
    let signer = JwtSigner::new(signing)?;
    let token = |user: &str, service: bool| {
        let claims = [("rooms".to_owned(), vec!["42"].into())].into_iter().collect();
        signer.sign(&TokenOrder { user: user.to_owned(), service, claims, ttl_s: TRIAL_TOKEN_S }, now_s())
    };
    let (http, ws) = if secure { ("https", "wss") } else { ("http", "ws") };
    let Ports { http: web, stomp, admin, .. } = running.ports();
    let metrics =
        admin.map_or_else(String::new, |admin| format!("\n  metrics          http://{admin}/metrics"));
    let data = data.map_or_else(String::new, |dir| format!("\n  messages kept in {}", dir.display()));
    // Whoever started it without a terminal does not need to read this.
    let _ = writeln!(
        std::io::stdout(),
        "\nstompede runs in DEVELOPMENT MODE: any login with the passcode guest is that user.\n\n  \
           page to try it   {http}://{web}/\n  \
           WebSocket        {ws}://{web}/ws\n  \
           STOMP over TCP   {stomp}{metrics}{data}\n\n\
         Tokens for an hour:\n  \
           alice, room 42   {}\n  \
           a service        {}\n\n\
         A key of the HTTP API, good until this process ends:\n  \
           {}\n",
        token("alice", false)?,
        token("backend", true)?,
        running.trial_key().unwrap_or_default(),
    );
    Ok(())
}

/// The environment as far as it is text; a key cannot be anything else.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn told(error: &ServerError) -> String {
    match error {
        ServerError::Bind { address, flag, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = holder::of_port(address.port()).map_or(String::new(), |who| format!(" by {who}"));
            let port = address.port();
            let without =
                if *flag == ADMIN_FLAG { format!(", do without by {flag} off,") } else { ",".to_owned() };
            format!(
                "port {port} is taken{holder}: choose another with {flag} PORT{without} or end what holds it"
            )
        }
        _ => error.to_string(),
    }
}

fn replace<T>(setting: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *setting = value;
    }
}

/// How long the printed tokens are good, seconds.
const TRIAL_TOKEN_S: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_flag_and_holder() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let source = std::net::TcpListener::bind(address).unwrap_err();
        let text = told(&ServerError::Bind { address, flag: "--http-port", source });
        let pid = format!("process {}", std::process::id());
        for part in [address.port().to_string(), "--http-port".to_owned(), pid] {
            assert!(text.contains(&part), "{text}");
        }
    }

    #[test]
    fn flags_win() {
        let mut config = Config { http_port: 1, workers: 3, ..Config::default() };
        config.data.dir = Some("old".into());
        let flags = ServeArguments {
            http_port: Some(2),
            allow_insecure: true,
            data: Some("new".into()),
            accept_loss: true,
            ..ServeArguments::default()
        };
        flags.apply(&mut config);
        assert_eq!((config.data.dir, config.data.accept_loss), (Some("new".into()), true));
        assert_eq!((config.http_port, config.workers, config.allow_insecure), (2, 3, true));
    }
}
