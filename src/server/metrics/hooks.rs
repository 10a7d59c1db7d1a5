//! Backends that are asked.

use std::sync::Arc;

use crate::broker::Broker;
use crate::server::hooks::Hook;
use crate::server::hooks::counters::{Outcome, TOOK_BOUNDS_MS};

use super::page::Page;

pub(super) fn write(page: &mut Page, hooks: &[Arc<Hook>], broker: &Broker) {
    let mut calls = page.counter("stompede_hook_calls_total", "Questions to hooks, by how they ended.");
    for hook in hooks {
        for outcome in Outcome::ALL {
            let count = hook.counters.of(outcome);
            calls.of_both([("hook", hook.name()), ("outcome", outcome.name())], count);
        }
    }
    let mut open = page.gauge("stompede_hook_open", "Whether a hook is left alone because it has failed.");
    for hook in hooks {
        open.of("hook", hook.name(), u8::from(hook.is_open()));
    }
    let mut took = page.histogram_by("stompede_hook_seconds", "How long requests to hooks took.", "hook");
    for hook in hooks {
        let took_by = &hook.counters.took;
        let bounds = TOOK_BOUNDS_MS.map(|ms| ms as f64 / 1e3);
        took.of(hook.name(), &bounds, took_by.counts(), took_by.sum_us() as f64 / 1e6);
    }
    page.gauge(
        "stompede_hook_verdicts",
        "Answers of hooks that are kept, so that they need not be asked again.",
    )
    .is(broker.verdicts());
    let (queued, lost) = broker.notices();
    page.counter(
        "stompede_hook_notices_total",
        "Notices for hooks, as they came: put in a queue, or lost for want of room.",
    )
    .of("result", "queued", queued)
    .of("result", "lost", lost);
}
