//! Heart-beats: what both sides offer, what they agree on, and when a beat is due.

use std::fmt;

use crate::Millis;
use crate::error::{Violation, excerpt};

/// A `heart-beat` header: what its sender can do and what it would like to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartBeat {
    /// The sender guarantees a sign of life every so many milliseconds; 0: it cannot.
    pub send_ms: u32,
    /// The sender would like a sign of life every so many milliseconds; 0: it does not want any.
    pub receive_ms: u32,
}

impl HeartBeat {
    /// The smallest interval in milliseconds that we agree to; smaller figures are raised to it.
    pub const FLOOR_MS: u32 = 1_000;

    /// Reads `cx,cy`: two non-negative decimal integers and nothing else. Figures above 32 bits count as the greatest.
    ///
    /// # Errors
    /// [`Violation::BadHeartBeat`].
    pub fn parse(value: &str) -> Result<Self, Violation> {
        let figures =
            value.split_once(',').and_then(|(send, receive)| Some((figure(send)?, figure(receive)?)));
        let (send_ms, receive_ms) =
            figures.ok_or_else(|| Violation::BadHeartBeat { value: excerpt(value.as_bytes()) })?;
        Ok(Self { send_ms, receive_ms })
    }

    /// With figures under [`Self::FLOOR_MS`], but not 0, raised to it.
    #[must_use]
    pub fn floored(self) -> Self {
        let floor = |ms: u32| if ms == 0 { 0 } else { ms.max(Self::FLOOR_MS) };
        Self { send_ms: floor(self.send_ms), receive_ms: floor(self.receive_ms) }
    }

    /// What `self` does after both offers are known: it sends every `send_ms` and may expect something every
    /// `receive_ms`; 0 is never. "every `MAX(<cx>,<sy>)` milliseconds", nothing where either figure is 0.
    #[must_use]
    pub fn negotiate(self, peer: Self) -> Self {
        let agree = |sender: u32, receiver: u32| match (sender, receiver) {
            (0, _) | (_, 0) => 0,
            (sender, receiver) => sender.max(receiver).max(Self::FLOOR_MS),
        };
        Self {
            send_ms: agree(self.send_ms, peer.receive_ms),
            receive_ms: agree(peer.send_ms, self.receive_ms),
        }
    }
}

impl fmt::Display for HeartBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.send_ms, self.receive_ms)
    }
}

/// The two clocks of an agreed heart-beat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    agreed: HeartBeat,
    sent: Millis,
    received: Millis,
    listening: Listening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Yes,
    /// We do not read, so silence means nothing.
    Suspended,
    /// The silence has been told; only a sign of life starts the clock again.
    Told,
}

impl Pulse {
    /// Begins with both clocks at `now`.
    pub(crate) fn new(agreed: HeartBeat, now: Millis) -> Self {
        Self { agreed, sent: now, received: now, listening: Listening::Yes }
    }

    /// Our own sign of life went out.
    pub(crate) fn sent(&mut self, now: Millis) {
        self.sent = self.sent.max(now);
    }

    /// The peer gave a sign of life.
    pub(crate) fn received(&mut self, now: Millis) {
        self.received = self.received.max(now);
        if self.listening == Listening::Told {
            self.listening = Listening::Yes;
        }
    }

    pub(crate) fn suspend(&mut self) {
        self.listening = Listening::Suspended;
    }

    /// The peer has its whole time again: what it sent meanwhile still waits to be read.
    pub(crate) fn resume(&mut self, now: Millis) {
        if self.listening == Listening::Suspended {
            self.listening = Listening::Yes;
            self.received = self.received.max(now);
        }
    }

    /// When our own beat is due: a tenth early, since "the sender guarantees" while timers come late.
    pub(crate) fn beat_due(&self) -> Option<Millis> {
        let interval = u64::from(self.agreed.send_ms);
        (interval > 0).then(|| self.sent.after(interval - interval / 10))
    }

    /// When the peer has been silent for twice its interval: "the receiver SHOULD be tolerant".
    pub(crate) fn silent_due(&self) -> Option<Millis> {
        let listening = self.listening == Listening::Yes && self.agreed.receive_ms > 0;
        listening.then(|| self.received.after(self.silence_ms()))
    }

    /// Milliseconds of silence that are too many.
    pub(crate) fn silence_ms(&self) -> u64 {
        2 * u64::from(self.agreed.receive_ms)
    }

    /// The silence is told once.
    pub(crate) fn told(&mut self) {
        self.listening = Listening::Told;
    }
}

/// A non-negative decimal integer.
fn figure(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn beat(send_ms: u32, receive_ms: u32) -> HeartBeat {
        HeartBeat { send_ms, receive_ms }
    }

    #[test]
    fn two_non_negative_integers_and_a_comma_are_read() {
        assert_eq!(HeartBeat::parse("0,0"), Ok(beat(0, 0)));
        assert_eq!(HeartBeat::parse("10000,20"), Ok(beat(10_000, 20)));
        assert_eq!(HeartBeat::parse("99999999999999999999,1"), Ok(beat(u32::MAX, 1)));
        assert_eq!(beat(5, 7).to_string(), "5,7");
    }

    #[test]
    fn anything_else_is_refused() {
        for value in ["", "0", "T,0", "100,10,50", "-1,0", "+1,0", "1, 2", "1,", ",1", "1.5,2", "٣,1"] {
            assert!(HeartBeat::parse(value).is_err(), "{value:?} was taken");
        }
    }

    #[test]
    fn each_direction_beats_at_the_slower_figure_or_not_at_all() {
        let table = [
            (beat(10_000, 10_000), beat(5_000, 20_000), beat(20_000, 10_000)),
            (beat(10_000, 10_000), beat(0, 0), beat(0, 0)),
            (beat(0, 10_000), beat(3_000, 3_000), beat(0, 10_000)),
            (beat(10_000, 0), beat(3_000, 3_000), beat(10_000, 0)),
            (beat(1, 1), beat(1, 1), beat(1_000, 1_000)),
        ];
        for (server, client, expected) in table {
            assert_eq!(server.negotiate(client), expected);
            assert_eq!(
                client.negotiate(server),
                beat(expected.receive_ms, expected.send_ms),
                "the mirror image"
            );
        }
    }

    #[test]
    fn small_figures_are_raised_and_zero_stays() {
        assert_eq!(beat(1, 999).floored(), beat(1_000, 1_000));
        assert_eq!(beat(0, 2_000).floored(), beat(0, 2_000));
    }

    #[test]
    fn silence_is_told_once_until_a_sign_of_life() {
        let mut pulse = Pulse::new(beat(0, 1_000), Millis(0));
        assert_eq!(pulse.silent_due(), Some(Millis(2_000)));
        pulse.told();
        assert_eq!(pulse.silent_due(), None);
        pulse.received(Millis(2_500));
        assert_eq!(pulse.silent_due(), Some(Millis(4_500)));
    }

    #[test]
    fn a_suspended_clock_begins_anew() {
        let mut pulse = Pulse::new(beat(0, 1_000), Millis(0));
        pulse.suspend();
        assert_eq!(pulse.silent_due(), None);
        pulse.resume(Millis(9_000));
        assert_eq!(pulse.silent_due(), Some(Millis(11_000)));
        pulse.resume(Millis(10_000));
        assert_eq!(pulse.silent_due(), Some(Millis(11_000)), "only a suspended clock resumes");
    }

    #[test]
    fn our_beat_comes_before_the_interval_is_over() {
        let mut pulse = Pulse::new(beat(10_000, 0), Millis(0));
        assert_eq!(pulse.beat_due(), Some(Millis(9_000)));
        pulse.sent(Millis(4_000));
        assert_eq!(pulse.beat_due(), Some(Millis(13_000)));
        assert_eq!(Pulse::new(beat(0, 1_000), Millis(0)).beat_due(), None);
    }
}
