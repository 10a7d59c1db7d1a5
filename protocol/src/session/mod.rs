//! The server's side of one connection.
mod event;

use crate::{AckId, HeartBeat, Limits, Millis, SubscriptionKey, Version};
use bytes::Bytes;
use std::sync::Arc;

pub use event::{
    Accepted, Commit, Connect, ErrorFrame, Event, Receipt, Send, Settle, Step, Subscribe, Subscription,
    Timeout, Unsubscribe,
};

/// The server's side of one connection.
#[derive(Debug)]
pub struct Session {
    subscriptions: Vec<Subscription>,
}

#[expect(missing_docs, unused_variables, clippy::needless_pass_by_value, reason = "signatures first")]
impl Session {
    #[must_use]
    pub fn new(limits: Arc<Limits>, heart_beat: HeartBeat, now: Millis) -> Self {
        unimplemented!()
    }
    pub fn receive(&mut self, now: Millis, input: &mut &[u8]) -> Option<Event> {
        unimplemented!()
    }
    pub fn accept(&mut self, now: Millis, accepted: &Accepted<'_>) {
        unimplemented!()
    }
    pub fn complete(&mut self, receipt: Receipt) {
        unimplemented!()
    }
    pub fn close(&mut self, error: &ErrorFrame<'_>) {
        unimplemented!()
    }
    pub fn end(&mut self) {
        unimplemented!()
    }
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Millis) -> Option<Timeout> {
        unimplemented!()
    }
    /// What a [`Timeout`] is, in words for the ERROR frame.
    #[must_use]
    pub fn violation_of(&self, timeout: Timeout) -> crate::Violation {
        unimplemented!()
    }
    pub fn sent(&mut self, now: Millis) {
        unimplemented!()
    }
    pub fn touch(&mut self, now: Millis) {
        unimplemented!()
    }
    pub fn suspend(&mut self) {
        unimplemented!()
    }
    pub fn resume(&mut self, now: Millis) {
        unimplemented!()
    }
    #[must_use]
    pub fn version(&self) -> Version {
        unimplemented!()
    }
    #[must_use]
    pub fn is_open(&self) -> bool {
        unimplemented!()
    }
    #[must_use]
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }
    #[must_use]
    pub fn subscription(&self, key: SubscriptionKey) -> Option<&Subscription> {
        unimplemented!()
    }
    pub fn cancel_subscription(&mut self, key: SubscriptionKey) -> Vec<u64> {
        unimplemented!()
    }
    pub fn track(&mut self, key: SubscriptionKey) {
        unimplemented!()
    }
    pub fn deliver(&mut self, key: SubscriptionKey, tag: u64) -> Option<AckId> {
        unimplemented!()
    }
    #[must_use]
    pub fn unacked(&self, key: SubscriptionKey) -> usize {
        unimplemented!()
    }
}
