//! The line as adapters have it.

use std::time::Instant;

use super::line::{Line, wake};
use super::vitals::Vitals;
use crate::backend::redis::keys::Channel;
use crate::backend::redis::link::{Fault, Heard, Link, Order};
use crate::model::WorkerId;

impl Link for Line {
    fn send(&self, order: Order, from: Option<WorkerId>) -> Result<(), Order> {
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            (order.then)(Err(Fault::Unreachable));
            return Ok(());
        }
        let woken = state.lanes.send(order, from)?;
        wake(woken.and_then(|server| state.waker_of(server)), state);
        Ok(())
    }

    fn force(&self, order: Order) {
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            return (order.then)(Err(Fault::Unreachable));
        }
        let woken = state.lanes.force(order);
        wake(woken.and_then(|server| state.waker_of(server)), state);
    }

    fn listen(&self, channel: Channel, then: Option<Heard>) {
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            then.into_iter().for_each(|then| then(Err(Fault::Unreachable)));
            return;
        }
        let server = state.lanes.owner(channel.partition);
        state.channels.listen(channel, then, server);
        state.wake_bus(server);
    }

    fn unlisten(&self, channel: &Channel) {
        let mut state = self.state.lock();
        let server = state.lanes.owner(channel.partition);
        state.channels.unlisten(channel, server);
        state.wake_bus(server);
    }

    fn close(&self) {
        Self::close(self);
    }

    fn health(&self) -> Result<(), String> {
        let state = self.state.lock();
        if let Some(trouble) = &state.trouble {
            return Err(trouble.clone());
        }
        let now = Instant::now();
        state.servers.values().try_for_each(|server| server.health(now))
    }

    fn is_clustered(&self) -> bool {
        self.is_clustered
    }

    fn vitals(&self) -> Vitals {
        self.measure()
    }
}
