//! Signs of life on a transport that can ask for them.

use stompede_protocol::Millis;

/// When to ping a WebSocket, and when to give it up. Background tabs stop their timers but their browser still answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Liveness {
    next_ping: Millis,
    /// A ping is out; without an answer the connection is gone then.
    pong_due: Option<Millis>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Ping,
    GiveUp,
}

impl Liveness {
    pub(super) fn new(now: Millis, ping_ms: u64) -> Self {
        Self { next_ping: now.after(ping_ms), pong_due: None }
    }

    pub(super) fn deadline(&self) -> Millis {
        self.pong_due.map_or(self.next_ping, |due| due.min(self.next_ping))
    }

    /// Bytes came.
    pub(super) fn alive(&mut self) {
        self.pong_due = None;
    }

    /// Nothing came for longer than agreed: ask at once, unless a question is out.
    pub(super) fn silent(&mut self, now: Millis) {
        if self.pong_due.is_none() {
            self.next_ping = now;
        }
    }

    /// What is due. `answerable` is false while the answer could not be seen (we do not read) or the question would
    /// stand behind other bytes: then nobody is given up.
    pub(super) fn poll(
        &mut self,
        now: Millis,
        ping_ms: u64,
        pong_ms: u64,
        answerable: bool,
    ) -> Option<Demand> {
        match self.pong_due {
            Some(due) if due <= now && answerable => return Some(Demand::GiveUp),
            Some(due) if due <= now => self.pong_due = Some(now.after(pong_ms)),
            _ => {}
        }
        if self.next_ping > now {
            return None;
        }
        self.next_ping = now.after(ping_ms);
        if answerable && self.pong_due.is_none() {
            self.pong_due = Some(now.after(pong_ms));
        }
        Some(Demand::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_ping_ends_it_and_any_byte_keeps_it() {
        let mut liveness = Liveness::new(Millis(0), 25_000);
        assert_eq!(liveness.poll(Millis(24_999), 25_000, 10_000, true), None);
        assert_eq!(liveness.poll(Millis(25_000), 25_000, 10_000, true), Some(Demand::Ping));
        assert_eq!(liveness.deadline(), Millis(35_000));
        liveness.alive();
        assert_eq!(liveness.poll(Millis(35_000), 25_000, 10_000, true), None);
        assert_eq!(liveness.poll(Millis(50_000), 25_000, 10_000, true), Some(Demand::Ping));
        assert_eq!(liveness.poll(Millis(60_000), 25_000, 10_000, true), Some(Demand::GiveUp));
    }

    #[test]
    fn silence_asks_at_once_and_only_once() {
        let mut liveness = Liveness::new(Millis(0), 25_000);
        liveness.silent(Millis(5_000));
        assert_eq!(liveness.poll(Millis(5_000), 25_000, 10_000, true), Some(Demand::Ping));
        liveness.silent(Millis(6_000));
        assert_eq!(liveness.poll(Millis(6_000), 25_000, 10_000, true), None);
        assert_eq!(liveness.poll(Millis(15_000), 25_000, 10_000, true), Some(Demand::GiveUp));
    }

    #[test]
    fn nobody_is_given_up_while_we_do_not_read() {
        let mut liveness = Liveness::new(Millis(0), 25_000);
        liveness.poll(Millis(25_000), 25_000, 10_000, true);
        assert_eq!(liveness.poll(Millis(35_000), 25_000, 10_000, false), None);
        assert_eq!(liveness.poll(Millis(45_000), 25_000, 10_000, true), Some(Demand::GiveUp));
    }
}
