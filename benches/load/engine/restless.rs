//! Connections that come and go, and those that stop reading.

use std::mem;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::{Engine, Stage};
use crate::client::{LEFT, Restless};

impl Engine {
    /// One in so many of those that come and go does; who had unsubscribed subscribes again.
    pub(super) fn churn(&mut self) {
        self.churned += 1;
        let is_restless = |key: &usize| self.connections[*key].client.restless.is_some();
        let restless: Vec<_> = (0..self.connections.len()).filter(is_restless).collect();
        for (n, key) in restless.into_iter().enumerate() {
            let connection = &self.connections[key];
            match (connection.stage, connection.client.restless) {
                (Stage::Away, _) => self.subscribe(key),
                (Stage::Open, Some(way)) if n % CHURN == self.churned % CHURN => match way {
                    Restless::Cut => self.cut(key),
                    Restless::Unsubscribe => self.leave(key),
                },
                _ => {}
            }
        }
    }

    pub(super) fn leave(&mut self, key: usize) {
        self.connections[key].stage = Stage::Leaving;
        self.opening += 1;
        self.run.open.fetch_sub(1, Relaxed);
        self.scratch.out.clear();
        let frame = format!("UNSUBSCRIBE\nid:sub-0\nreceipt:{LEFT}\n\n\0");
        self.run.wire.wrap(1, frame.as_bytes(), &mut self.scratch.out);
        self.transmit(key);
    }

    /// From here on nothing may arrive there.
    pub(super) fn away(&mut self, key: usize) {
        self.connections[key].stage = Stage::Away;
        mem::take(&mut self.connections[key].expected);
        if self.connections[key].client.is_told {
            self.opened(key);
        }
    }

    pub(super) fn turn_deaf(&mut self, is_deaf: bool) {
        let registry = self.poll.registry();
        for (key, connection) in self.connections.iter().enumerate() {
            let Some(link) = connection.link.as_ref().filter(|_| connection.client.is_deaf) else { continue };
            let (fd, both) = (link.stream.as_raw_fd(), Interest::READABLE | Interest::WRITABLE);
            let _ = match is_deaf {
                true => registry.deregister(&mut SourceFd(&fd)),
                false => registry.register(&mut SourceFd(&fd), Token(key), both),
            };
        }
    }
}

/// One in so many of those that come and go is cut at once.
const CHURN: usize = 8;
