//! A client and a server on one wire, in virtual time.

use stompede_protocol::{
    Client, ClientEvent, Frame, HeartBeat, Introduction, Limits, Millis, Timeout, Version,
};

use super::Server;

pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: Server,
    /// What the client heard and was not asked for yet.
    pub(crate) heard: Vec<ClientEvent>,
    /// Deadlines that passed: of the server's session, and of the client.
    pub(crate) server_timeouts: Vec<(Millis, Timeout)>,
    pub(crate) client_timeouts: Vec<(Millis, Timeout)>,
    /// Bytes of one piece on the wire.
    pub(crate) piece_bytes: usize,
    /// The client is gone without a word: nothing of it arrives.
    pub(crate) client_vanished: bool,
    now: Millis,
}

impl Pair {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            client: Client::new(limits.clone()),
            server: Server::new(limits),
            heard: Vec::new(),
            server_timeouts: Vec::new(),
            client_timeouts: Vec::new(),
            piece_bytes: usize::MAX,
            client_vanished: false,
            now: Millis(0),
        }
    }

    pub(crate) fn connected(version: Version) -> Self {
        Self::beating(version, HeartBeat::default())
    }

    pub(crate) fn beating(version: Version, heart_beat: HeartBeat) -> Self {
        let mut pair = Self::new(Limits::default());
        pair.client.connect(&Introduction { versions: &[version], heart_beat, ..Introduction::default() });
        pair.drive();
        let connected = pair.heard.remove(0);
        assert!(matches!(&connected, ClientEvent::Connected(it) if it.version == version), "{connected:?}");
        pair
    }

    /// Carries bytes both ways until nobody has more to say.
    pub(crate) fn drive(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(bytes) = self.client.poll_transmit() {
                quiet = false;
                self.client.sent(self.now);
                if !self.client_vanished {
                    bytes.chunks(self.piece_bytes).for_each(|piece| self.server.feed(piece));
                }
            }
            for bytes in self.server.take() {
                quiet = false;
                self.server.session.sent(self.now);
                for mut piece in bytes.chunks(self.piece_bytes) {
                    while let Some(event) = self.client.receive(self.now, &mut piece) {
                        self.heard.push(event);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while let Some(next) = self.next_deadline().filter(|next| *next <= end) {
            self.tick(next);
            let timeout = self.server.session.handle_timeout(next);
            self.server_timeouts.extend(timeout.map(|timeout| (next, timeout)));
            let timeout = self.client.handle_timeout(next);
            self.client_timeouts.extend(timeout.map(|timeout| (next, timeout)));
            self.drive();
            assert!(
                self.next_deadline() > Some(next) || self.next_deadline().is_none(),
                "a deadline stands still"
            );
        }
        self.tick(end);
    }

    /// The frames of the messages heard since the last time; anything else but heart-beats is a failure.
    pub(crate) fn messages(&mut self) -> Vec<Frame> {
        let message = |event| match event {
            ClientEvent::Message(frame) => Some(frame),
            ClientEvent::HeartBeat => None,
            other => panic!("heard {other:?}"),
        };
        self.heard.drain(..).filter_map(message).collect()
    }

    /// The ids of the receipts heard since the last time; anything else is a failure.
    pub(crate) fn receipts(&mut self) -> Vec<String> {
        let receipt = |event| match event {
            ClientEvent::Receipt(id, _) => String::from(id),
            other => panic!("heard {other:?}"),
        };
        self.heard.drain(..).map(receipt).collect()
    }

    fn next_deadline(&self) -> Option<Millis> {
        [self.server.session.poll_timeout(), self.client.poll_timeout()].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Millis) {
        self.now = now;
        self.server.now = now;
    }
}
