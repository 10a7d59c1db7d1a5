//! Clients that are connected and wait to be told: they subscribe, get what is kept, and leave.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::{Engine, Stage};
use crate::shared::Wait;

impl Engine {
    pub(super) fn ask_to_join(&mut self, numbers: Range<usize>) {
        for key in self.told() {
            if numbers.contains(&self.connections[key].number) {
                self.begin_to_wait(key);
                self.opening += 1;
                self.run.open.fetch_sub(1, Relaxed);
                self.subscribe(key);
            }
        }
    }

    pub(super) fn ask_to_leave(&mut self) {
        for key in self.told() {
            self.begin_to_wait(key);
            self.leave(key);
        }
    }

    /// Whoever has its RECEIPT, and everything that is kept, waits no more.
    pub(super) fn catch_up(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(wait) = connection.wait.filter(|wait| wait.answered > 0) else { return };
        let sent = |stream: u32| self.run.sent[stream as usize].load(Relaxed);
        if connection.expected.iter().all(|expected| expected.missing(sent(expected.stream)) == 0) {
            connection.wait = None;
            self.run.waited(Wait { whole: self.run.now(), ..wait });
        }
    }

    /// Keys of those that are told, and are there.
    fn told(&self) -> Vec<usize> {
        let is_told = |key: &usize| {
            self.connections[*key].client.is_told && self.connections[*key].stage == Stage::Open
        };
        (0..self.connections.len()).filter(is_told).collect()
    }

    /// Who has lost its server waits from then on, however often it has to try.
    pub(super) fn wait_again(&mut self, key: usize, before: Option<Wait>) {
        match before {
            Some(_) => self.connections[key].wait = before,
            None => self.begin_to_wait(key),
        }
    }

    fn begin_to_wait(&mut self, key: usize) {
        self.connections[key].wait = Some(Wait { asked: self.run.now(), answered: 0, whole: 0 });
    }
}
