//! What the broker keeps: who is there, what was said, what waits.

use crate::broker::Broker;

use super::page::Page;

pub(super) fn write(page: &mut Page, broker: &Broker) {
    let (census, counters) = (broker.census(), broker.counters());
    page.gauge("stompede_users_online", "Users with a session on this instance.").is(census.online_users);
    page.gauge("stompede_rooms", "Rooms where somebody on this instance is present.").is(census.rooms);
    page.gauge("stompede_rooms_large", "Rooms that are told counts instead of JOIN and LEAVE.")
        .is(census.large_rooms);
    page.gauge("stompede_users_with_status", "Users who have said a status.").is(census.statuses);
    page.gauge(
        "stompede_presence_lingering",
        "Users in rooms, and statuses, whose connection broke and may come back.",
    )
    .is(census.lingering);

    page.gauge(
        "stompede_history_destinations",
        "Destinations of which messages are kept, as far as this instance knows.",
    )
    .is(census.histories);
    page.counter("stompede_history_appends_total", "Messages given to a history.")
        .is(counters.sum(|tally| &tally.history_appends));
    page.counter("stompede_history_reads_total", "Pages asked of a history by subscriptions.")
        .is(counters.sum(|tally| &tally.history_reads));

    page.counter(
        "stompede_gaps_told_total",
        "Subscriptions that were told, or are with what comes next, that something may be missing.",
    )
    .is(counters.sum(|tally| &tally.gaps_told));

    page.gauge("stompede_queues", "Work queues that hold messages.").is(census.queues);
    page.gauge(
        "stompede_queue_messages",
        "Messages in all work queues, waiting, handed out or postponed; with Redis those that this instance has fetched.",
    )
    .is(census.queue_messages);
    page.gauge(
        "stompede_queues_consumed",
        "Work queues and /app destinations that somebody on this instance consumes.",
    )
    .is(census.consumed_queues);
    page.gauge(
        "stompede_queue_consumers",
        "Subscriptions on this instance that consume from work queues or /app.",
    )
    .is(census.consumers);
    let dead = &counters.dead_letters;
    page.counter("stompede_dead_letters_total", "Messages that are delivered no more, by why.")
        .of("kind", "rejected", dead.rejected.value())
        .of("kind", "redelivery-limit", dead.redelivery_limit.value())
        .of("kind", "expired", dead.expired.value());
    page.counter("stompede_dead_letters_lost_total", "Dead letters that were dropped.").is(dead.lost.value());

    let held = broker.held();
    page.gauge(
        "stompede_memory_held_bytes",
        "Memory of buffers and of what is kept in memory, by what holds it.",
    )
    .of("part", "connections", held.connections)
    .of("part", "queues", held.queues)
    .of("part", "history", held.history)
    .of("part", "memberships", held.memberships)
    .of("part", "cursors", held.cursors)
    .of("part", "idempotency", held.idempotency);
    page.gauge("stompede_memory_max_bytes", "With more memory held no SEND is read: memory.max.")
        .is(broker.settings().memory_bytes_max);
}
