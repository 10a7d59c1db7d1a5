//! A small STOMP client for the shell, over every door of a broker.
//!
//! It blocks: one connection, one thread, and reads that end when the protocol has something due.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use stompede_protocol::{Client, ClientEvent, Frame, HeartBeat, Introduction, Limits, Millis};

mod address;
mod http;
mod tls;
mod wire;

pub(super) use address::Address;
pub(super) use http::get;
use wire::{Read, Wire};

use super::CliError;
use crate::model::limits::BODY_BYTES_CEILING;

/// Where to connect and as whom.
#[derive(Debug, Args)]
pub(super) struct ConnectArguments {
    /// Broker: stomp://host:port, stomps://, ws://host:port/ws or wss://
    #[arg(long, value_name = "URL", default_value = "stomp://127.0.0.1:61613", value_parser = Address::parse)]
    url: Address,
    /// Login; without login and token it is guest with passcode guest, for development mode
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// Passcode of the login
    #[arg(long, value_name = "PASSCODE", requires = "login")]
    passcode: Option<String>,
    /// Token, sent as Authorization: Bearer; @FILE reads it from a file
    #[arg(long, value_name = "TOKEN", conflicts_with = "login")]
    token: Option<String>,
    /// Accept any certificate, for brokers with --tls-self-signed
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Certificates to trust (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait for the broker's answers, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: u64,
}

impl ConnectArguments {
    fn trust(&self) -> tls::Trust {
        tls::Trust::of(self.insecure, self.ca.as_deref())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// An open session.
pub(super) struct Link {
    client: Client,
    user: Option<String>,
    wire: Wire,
    started: Instant,
    read: Vec<u8>,
    used: usize,
    timeout: Duration,
}

impl Link {
    /// Connects and waits for CONNECTED.
    pub(super) fn open(arguments: &ConnectArguments) -> Result<Self, CliError> {
        let timeout = arguments.timeout();
        let wire = Wire::open(&arguments.url, &arguments.trust(), timeout)?;
        // The broker's operator may have raised its limits.
        let limits = Limits {
            body_bytes_max: BODY_BYTES_CEILING,
            head_bytes_max: 1 << 20,
            headers_max: 10_000,
            ..Limits::default()
        };
        let client = Client::new(limits);
        let (started, read) = (Instant::now(), Vec::new());
        let mut link = Self { client, user: None, wire, started, read, used: 0, timeout };
        link.introduce(arguments)?;
        match link.answer()? {
            ClientEvent::Connected(connected) => {
                link.user = connected.headers.get("user-name").map(str::to_owned);
                Ok(link)
            }
            other => Err(CliError::Failed(format!("expected CONNECTED, got {other:?}"))),
        }
    }

    /// The client, to queue frames; they leave with the next wait.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What the broker says next, however long it takes.
    pub(super) fn event(&mut self) -> Result<ClientEvent, CliError> {
        loop {
            if let Some(event) = self.event_until(None)? {
                return Ok(event);
            }
        }
    }

    /// Who the broker says we are, if it does.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Waits for what `pick` takes of what comes; `what` is how it is called where it does not come in time.
    pub(super) fn expect<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(ClientEvent) -> Option<T>,
    ) -> Result<T, CliError> {
        let deadline = Instant::now() + self.timeout;
        while let Some(event) = self.event_until(Some(deadline))? {
            if let Some(picked) = pick(event) {
                return Ok(picked);
            }
        }
        Err(CliError::Failed(format!("no {what} within {} s", self.timeout.as_secs())))
    }

    /// Waits for the RECEIPT with this id; what else comes is handed to `other`.
    pub(super) fn receipt(&mut self, id: &str, mut other: impl FnMut(&Frame)) -> Result<(), CliError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.event_until(Some(deadline))? {
                Some(ClientEvent::Receipt(found, _)) if *found == *id => return Ok(()),
                Some(ClientEvent::Message(frame)) => other(&frame),
                Some(_) => {}
                None => {
                    return Err(CliError::Failed(format!("no receipt within {} s", self.timeout.as_secs())));
                }
            }
        }
    }

    /// Says goodbye; the work is done, so nothing that happens now matters.
    pub(super) fn close(mut self) {
        self.client.disconnect(Some("goodbye"));
        let _ = self.receipt("goodbye", |_| {});
        self.wire.close();
    }

    fn introduce(&mut self, arguments: &ConnectArguments) -> Result<(), CliError> {
        let bearer =
            arguments.token.as_deref().map(read_token).transpose()?.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|value| ("Authorization", &**value)).collect();
        let guest = bearer.is_none() && arguments.login.is_none();
        let guest = guest.then_some("guest");
        self.client.connect(&Introduction {
            host: &arguments.url.host,
            login: arguments.login.as_deref().or(guest),
            passcode: arguments.passcode.as_deref().or(guest),
            heart_beat: HeartBeat { send_ms: BEAT_MS, receive_ms: BEAT_MS },
            headers: &headers,
            ..Introduction::default()
        });
        Ok(())
    }

    fn answer(&mut self) -> Result<ClientEvent, CliError> {
        let event = self.event_until(Some(Instant::now() + self.timeout))?;
        event.ok_or_else(|| CliError::Failed(format!("no answer within {} s", self.timeout.as_secs())))
    }

    /// The next event, or `None` when the deadline passes first. ERROR ends the command.
    fn event_until(&mut self, deadline: Option<Instant>) -> Result<Option<ClientEvent>, CliError> {
        loop {
            self.write()?;
            while let Some(event) = self.decode() {
                match event {
                    ClientEvent::HeartBeat => {}
                    ClientEvent::Error(frame) => return Err(CliError::Failed(told(&frame))),
                    ClientEvent::Violation(fault) => {
                        return Err(CliError::Failed(format!("the broker misbehaves: {fault}")));
                    }
                    event => return Ok(Some(event)),
                }
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            self.read_once(self.wait(now, deadline))?;
            if self.client.handle_timeout(self.now()).is_some() {
                return Err(CliError::Failed("the broker has fallen silent".to_owned()));
            }
        }
    }

    fn write(&mut self) -> Result<(), CliError> {
        while let Some(bytes) = self.client.poll_transmit() {
            self.wire.write(bytes).map_err(CliError::Failed)?;
            self.client.sent(self.now());
        }
        Ok(())
    }

    fn decode(&mut self) -> Option<ClientEvent> {
        let now = self.now();
        let mut input = &self.read[self.used..];
        let event = self.client.receive(now, &mut input);
        self.used = self.read.len() - input.len();
        event
    }

    fn read_once(&mut self, wait: Duration) -> Result<(), CliError> {
        self.read.clear();
        self.used = 0;
        match self.wire.read(&mut self.read, wait).map_err(CliError::Failed)? {
            Read::Something | Read::NothingYet => Ok(()),
            Read::End => Err(CliError::Failed("the broker closed the connection".to_owned())),
        }
    }

    /// How long a read may take: until the deadline or the next heart-beat.
    fn wait(&self, now: Instant, deadline: Option<Instant>) -> Duration {
        let beat = self.client.poll_timeout().map(|due| Duration::from_millis(due.since(self.now())));
        let left = deadline.map(|deadline| deadline - now);
        // A socket's timeout of zero would mean none at all.
        beat.into_iter().chain(left).min().unwrap_or(LONG).max(Duration::from_millis(1))
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Reads `NAME:VALUE` or `NAME=VALUE` of `--header`.
pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once([':', '=']).ok_or_else(|| format!("{text:?} is not NAME:VALUE"))?;
    if name.is_empty() {
        return Err("the header has no name".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Headers as the client takes them.
pub(super) fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn read_token(text: &str) -> Result<String, CliError> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let token =
        std::fs::read_to_string(path).map_err(|error| CliError::Usage(format!("--token {text}: {error}")))?;
    Ok(token.trim().to_owned())
}

/// What an ERROR says, on one line.
fn told(error: &Frame) -> String {
    let code = error.headers.get("error-code").map_or(String::new(), |code| format!("{code}: "));
    let message = error.headers.get("message").unwrap_or("the broker sent ERROR without a message");
    format!("{code}{message}").escape_debug().to_string()
}

const BEAT_MS: u32 = 10_000;

/// With no deadline and no heart-beat a read may take as long as it likes; this only bounds one turn.
const LONG: Duration = Duration::from_secs(3_600);
