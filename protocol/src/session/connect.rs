//! The first frame of a connection: CONNECT or STOMP, and how little a stranger may send before it is answered.

use super::{Connect, Event, Phase, Session};
use crate::parse::trim;
use crate::{Command, Decoder, Frame, Headers, HeartBeat, Item, Limits, Version, Violation};

impl Session {
    #[inline(never)]
    pub(super) fn handle_connect(&mut self, frame: Frame) -> Result<Event, Violation> {
        // "STOMP servers MUST handle a STOMP frame in the same manner as a CONNECT frame."
        if !matches!(frame.command, Command::Connect | Command::Stomp) {
            return Err(Violation::NotConnected { command: frame.command });
        }
        let version = Version::negotiate(frame.headers.get("accept-version"))?;
        let headers = if version == Version::V1_0 { trimmed(&frame.headers) } else { frame.headers };
        let heart_beat = match headers.get("heart-beat").filter(|_| version > Version::V1_0) {
            Some(value) => HeartBeat::parse(value)?,
            None => HeartBeat::default(),
        };
        self.version = version;
        self.decoder.set_version(version);
        self.phase = Phase::Waiting(heart_beat);
        let text = |name| headers.get(name).map(Into::into);
        Ok(Event::Connect(Connect {
            version,
            login: text("login"),
            passcode: text("passcode"),
            // Frontends write it both ways, and as in HTTP nobody expects the case to matter.
            authorization: text("Authorization").or_else(|| text("authorization")),
            host: text("host"),
            heart_beat,
            headers,
        }))
    }
}

/// Decodes what a stranger sends, of which there may not be much.
#[inline(never)]
pub(super) fn decode_fresh(
    decoder: &mut Decoder,
    limits: &Limits,
    bytes: &mut usize,
    input: &mut &[u8],
) -> Option<Result<Item, Violation>> {
    let limit = limits.unconnected_bytes_max;
    let mut window = &input[..input.len().min(limit.saturating_sub(*bytes))];
    let offered = window.len();
    let decoded = decoder.decode(limits, &mut window);
    let used = offered - window.len();
    *bytes += used;
    *input = &input[used..];
    if decoded.is_none() && !input.is_empty() {
        return Some(Err(Violation::UnconnectedTooLarge { limit }));
    }
    decoded
}

fn trimmed(headers: &Headers) -> Headers {
    headers.iter().map(|(name, value)| (name, trim(value))).collect()
}
