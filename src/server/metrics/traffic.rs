//! Messages on their way, what waits for sockets, how busy the workers are.

use crate::broker::counters::{Counter, FAN_OUTS_A_SAMPLE};
use crate::broker::{Broker, Counters, Tally};

use super::page::{Page, seconds};

pub(super) fn write(page: &mut Page, broker: &Broker) {
    let counters = broker.counters();
    write_messages(page, counters);
    page.gauge("stompede_subscriptions", "Subscriptions to topics and user queues.")
        .is(broker.subscriptions());
    page.gauge("stompede_destinations", "Destinations and patterns that somebody subscribes.")
        .is(broker.destinations());
    write_outboxes(page, counters);
    write_workers(page, broker);
}

fn write_messages(page: &mut Page, counters: &Counters) {
    let sum = |of: fn(&Tally) -> &Counter| counters.sum(of);
    page.counter("stompede_messages_accepted_total", "SENDs that were accepted.")
        .is(sum(|tally| &tally.messages_accepted));
    page.counter("stompede_messages_held_total", "SENDs that had to wait for room, a handler or a store.")
        .is(sum(|tally| &tally.sends_held));
    page.counter("stompede_messages_expired_total", "SENDs that were past their time when they came.")
        .is(sum(|tally| &tally.sends_expired));
    page.counter("stompede_deliveries_total", "Messages put in the outbox of a connection.")
        .is(sum(|tally| &tally.deliveries));
    page.counter("stompede_deliveries_dropped_total", "Deliveries dropped where overflow = \"drop-oldest\".")
        .is(sum(|tally| &tally.deliveries_dropped));
    page.histogram(
        "stompede_fan_out_seconds",
        &format!(
            "How long it takes to put one message in the outboxes of one worker's subscribers; of {FAN_OUTS_A_SAMPLE} one is \
             timed."
        ),
        counters.workers().map(|tally| &tally.fan_outs),
    );
}

fn write_outboxes(page: &mut Page, counters: &Counters) {
    page.gauge("stompede_outbox_bytes", "Bytes that wait for sockets.")
        .is(counters.sum(|tally| &tally.outbox_bytes));
    page.gauge("stompede_outbox_blocked_bytes", "Bytes that wait for sockets that take none.")
        .is(counters.sum(|tally| &tally.blocked_bytes));
    page.gauge("stompede_connections_blocked", "Connections whose socket takes no bytes.")
        .is(counters.sum(|tally| &tally.blocked_connections));
    let high_water = counters.workers().map(|tally| tally.outbox_high_water.value()).max();
    page.gauge(
        "stompede_outbox_high_water_bytes",
        "The most bytes that have waited for one socket that took none, since the start.",
    )
    .is(high_water.unwrap_or(0));
}

fn write_workers(page: &mut Page, broker: &Broker) {
    let inboxes = || broker.inboxes().workers().map(|worker| (worker.0, broker.inboxes().of(worker)));
    let mut items =
        page.gauge("stompede_worker_inbox_messages", "What waits to be done by a worker, by its number.");
    inboxes().for_each(|(worker, inbox)| _ = items.of("worker", worker, inbox.len()));
    let mut bytes = page
        .gauge("stompede_worker_inbox_bytes", "Bytes of what waits to be done by a worker, by its number.");
    inboxes().for_each(|(worker, inbox)| _ = bytes.of("worker", worker, inbox.bytes()));
    let mut busy = page.counter(
        "stompede_worker_busy_seconds_total",
        "How long a worker's thread has been at work, not waiting; its rate is the share of a core that is used.",
    );
    for (worker, tally) in broker.counters().workers().enumerate() {
        busy.of("worker", worker, seconds(tally.busy_ns.value()));
    }
}
