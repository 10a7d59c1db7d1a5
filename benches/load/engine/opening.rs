//! From a closed connection to one that is subscribed.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::{Connection, Engine, Stage};
use crate::body::Expected;
use crate::shared::Link;
use crate::wire::Wire;

impl Engine {
    pub(super) fn open(&mut self, key: usize) {
        let Connection { number, client, .. } = &self.connections[key];
        let stream = match self.target.connect(
            *number,
            self.run.has_lost.load(Relaxed),
            client.is_deaf.then_some(DEAF_BUFFER),
        ) {
            Ok(stream) => stream,
            Err(error) => return self.fail(key, &format!("connect: {error}")),
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(key), both);
        self.opening += 1;
        let connection = &mut self.connections[key];
        connection.stage = Stage::Connecting;
        connection.link = Some(Arc::new(Link::new(stream)));
        if let Err(error) = registered {
            self.fail(key, &format!("epoll: {error}"));
        }
    }

    pub(super) fn writable(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(link) = &connection.link else { return };
        if connection.stage > Stage::Connecting {
            if let Err(error) = link.flush() {
                self.fail(key, &format!("write: {error}"));
            }
            return;
        }
        if let Ok(Some(error)) | Err(error) = link.stream.take_error() {
            return self.fail(key, &format!("connect: {error}"));
        }
        if let Some(request) = &connection.client.request {
            connection.stage = Stage::Upgrading;
            let sent = link.send(request.as_bytes());
            self.check(key, sent);
        } else if self.target.wire == Wire::WebSocket {
            connection.stage = Stage::Upgrading;
            let sent = link.send(self.target.upgrade().as_bytes());
            self.check(key, sent);
        } else {
            self.greet(key);
        }
    }

    pub(super) fn greet(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Greeting;
        self.scratch.out.clear();
        self.run.wire.wrap(1, connection.client.connect.as_bytes(), &mut self.scratch.out);
        self.transmit(key);
    }

    /// A stream of events is subscribed from its first one on.
    pub(super) fn attend(&mut self, key: usize) {
        self.expect(key);
        self.opened(key);
    }

    pub(super) fn subscribe(&mut self, key: usize) {
        self.connections[key].stage = Stage::Subscribing;
        self.expect(key);
        let connection = &self.connections[key];
        self.scratch.out.clear();
        for frame in connection.client.subscribe(self.run.has_receipts, connection.since.as_deref()) {
            self.run.wire.wrap(1, frame.as_bytes(), &mut self.scratch.out);
        }
        let is_answered = self.run.has_receipts && !connection.client.subscriptions.is_empty();
        self.transmit(key);
        if !is_answered && self.connections[key].stage == Stage::Subscribing {
            self.opened(key);
        }
    }

    fn expect(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        for (subscription, number) in connection.client.subscriptions.iter().zip(0..) {
            // Who comes back still waits for what it waited for.
            if connection.since.is_some() {
                break;
            }
            for stream in &subscription.streams {
                let mut expected = Expected::new(*stream, number);
                if let Some(count) = subscription.history {
                    let sent = self.run.sent[*stream as usize].load(Relaxed);
                    expected.join(sent.saturating_sub(count));
                }
                connection.expected.push(expected);
            }
        }
        if self.run.stamps_receipts {
            let receipts = connection.client.publishes.iter().map(|one| Expected::new(one.stream, 0));
            connection.expected.extend(receipts);
        }
        connection.expected.sort_unstable_by_key(|expected| expected.stream);
    }

    pub(super) fn opened(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Open;
        self.opening -= 1;
        let run = &self.run;
        for expected in &mut connection.expected {
            expected.join(run.sent[expected.stream as usize].load(Relaxed));
        }
        if let Some(wait) = &mut connection.wait {
            wait.answered = run.now();
        }
        if connection.client.is_lent {
            self.run.link(connection.number).clone_from(&connection.link);
        }
        self.run.open.fetch_add(1, Relaxed);
    }
}

/// Bytes that the system takes for one who does not read.
const DEAF_BUFFER: usize = 8 << 10;
