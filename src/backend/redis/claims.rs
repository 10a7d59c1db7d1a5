//! Claims in Redis: a key each, which lapses.
//!
//! ```text
//!  websocket:{pXX}:s:<name>         the holder's address and its proof
//! ```

use std::sync::Arc;

use redis::Value;

use super::hub::{self, Hub};
use super::link::Fault;
use super::presence::text_of;
use super::relay::store_error;
use super::scripts::{CLAIM, RELEASE};
use crate::backend::claims::{CLAIM_MS, Claimed, Claims, Holder};

/// The port.
#[derive(Debug)]
pub(super) struct RedisClaims {
    hub: Arc<Hub>,
}

impl RedisClaims {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// `holder` or nobody claims it.
    fn ask(&self, name: &str, holder: Option<&Holder>, then: Claimed) {
        let then = Box::new(move |reply: Result<Value, Fault>| {
            then(match reply {
                Ok(reply) => Ok(text_of(&reply).and_then(parse)),
                Err(fault) => Err(store_error(&fault)),
            });
        });
        let (partition, key) = self.hub.keys.claim(name);
        let args = vec![hub::text(&holder.map(written).unwrap_or_default()), hub::number(CLAIM_MS)];
        self.hub.run(partition, &CLAIM, vec![key], args, then);
    }
}

impl Claims for RedisClaims {
    fn is_shared(&self) -> bool {
        true
    }

    fn claim(&self, name: &str, holder: &Holder, then: Claimed) {
        self.ask(name, Some(holder), then);
    }

    fn find(&self, name: &str, then: Claimed) {
        self.ask(name, None, then);
    }

    fn release(&self, name: &str, holder: &Holder) {
        let (partition, key) = self.hub.keys.claim(name);
        self.hub.run(partition, &RELEASE, vec![key], vec![hub::text(&written(holder))], Box::new(|_| {}));
    }
}

fn written(holder: &Holder) -> String {
    format!("{} {}", holder.proof, holder.address)
}

fn parse(text: &str) -> Option<Holder> {
    let (proof, address) = text.split_once(' ')?;
    Some(Holder { address: address.into(), proof: proof.into() })
}
