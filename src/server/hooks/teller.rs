//! Tells a backend what has happened: a consumer of its queue of notices, on each instance.
//!
//! A notice is settled when the backend has taken it. Until then it comes again, later each time, to whichever instance; when it
//! has come too often it is a dead letter. While the hook is left alone what is out here waits, and the rest in the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::counters::Outcome;
use super::hook::Hook;
use crate::broker::{Broker, Handle, Messages, Received, Settlement};
use crate::features::notices;
use crate::model::{Principal, Refusal, Role};
use crate::server::build::random;

/// Tells notices until the broker takes no more sessions.
pub(super) async fn tell(hook: Arc<Hook>, broker: Arc<Broker>) {
    while !broker.is_draining() {
        match consume(&hook, &broker).await {
            Ok((handle, messages)) => work_off(&hook, &handle, messages).await,
            Err(refusal) => tracing::warn!(hook = hook.name(), %refusal, "notices are not told now"),
        }
        sleep(PAUSE).await;
    }
}

async fn consume(hook: &Hook, broker: &Broker) -> Result<(Handle, Messages), Refusal> {
    // Nobody's: it counts as no user who is online.
    let handle = broker.connect(Principal { role: Role::Service, ..Principal::anonymous() }).await?;
    let queue = notices::queue_of(hook.name());
    let messages = handle.consume(queue.as_str(), hook.concurrency()).await?;
    Ok((handle, messages))
}

async fn work_off(hook: &Arc<Hook>, handle: &Handle, mut messages: Messages) {
    // No more than the prefetch are ever out.
    let mut telling = JoinSet::new();
    loop {
        tokio::select! {
            next = messages.next() => match next {
                Some(received) => {
                    let (hook, handle) = (Arc::clone(hook), handle.clone());
                    telling.spawn(async move { tell_one(&hook, &handle, received).await });
                }
                None => return,
            },
            Some(_) = telling.join_next() => {}
        }
    }
}

async fn tell_one(hook: &Hook, handle: &Handle, received: Received) {
    let before = received.header("stompede-delivery-count").and_then(|count| count.parse().ok()).unwrap_or(0);
    let settlement = if hook.tell(received.body().clone()).await {
        Settlement::Done
    } else if before + 1 >= hook.attempts() {
        hook.counters.count(Outcome::Dead);
        tracing::error!(
            hook = hook.name(),
            attempts = before + 1,
            "a notice cannot be told: it is a dead letter"
        );
        Settlement::Dead
    } else {
        Settlement::Again(pause_ms(before, random() as u64))
    };
    // Where the session has ended it goes back by itself.
    let _ = handle.settle(received, settlement).await;
}

/// After which a notice is told again that was told in vain `before` times, and once more: half of it by chance.
fn pause_ms(before: u32, chance: u64) -> u64 {
    let whole = (PAUSE_MS_MIN << before.min(16)).min(PAUSE_MS_MAX);
    whole / 2 + chance % (whole / 2 + 1)
}

/// First it is told again so soon, at the latest, milliseconds; then each time twice as late,
const PAUSE_MS_MIN: u64 = 500;

/// and so late at most.
const PAUSE_MS_MAX: u64 = 300_000;

/// Between two sessions.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_comes_again_later_each_time_up_to_a_limit_and_spread() {
        assert_eq!(pause_ms(0, 0), PAUSE_MS_MIN / 2);
        assert_eq!(pause_ms(0, PAUSE_MS_MIN / 2), PAUSE_MS_MIN);
        assert_eq!(pause_ms(3, 0), PAUSE_MS_MIN * 4);
        assert!((0..100).all(|before| pause_ms(before, u64::MAX) <= PAUSE_MS_MAX));
        assert!(pause_ms(u32::MAX, 0) == PAUSE_MS_MAX / 2);
    }
}
