//! The stores beside memory.

use std::sync::{Arc, Weak};

use crate::backend::disk::Disk;
use crate::backend::redis::Redis;
use crate::server::build::Keeper;

use super::page::Page;

/// What is kept elsewhere. Known weakly: it ends when the server says so.
pub(super) enum Store {
    /// Nothing.
    Memory,
    /// On disk.
    Disk(Weak<Disk>),
    /// In Redis.
    Redis(Weak<Redis>),
}

impl Store {
    pub(super) fn of(keeper: &Keeper) -> Self {
        match keeper {
            Keeper::Nobody => Self::Memory,
            Keeper::Disk(storekeeper) => Self::Disk(Arc::downgrade(storekeeper.disk())),
            Keeper::Shared(courier) => Self::Redis(Arc::downgrade(courier.redis())),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        match self {
            Self::Memory => {}
            Self::Disk(disk) => disk.upgrade().iter().for_each(|disk| write_disk(page, disk)),
            Self::Redis(redis) => redis.upgrade().iter().for_each(|redis| write_redis(page, redis)),
        }
    }
}

fn write_disk(page: &mut Page, disk: &Disk) {
    let vitals = disk.vitals();
    page.gauge("stompede_disk_records_bytes", "Bytes of all records in the data directory.")
        .is(vitals.records);
    page.gauge(
        "stompede_disk_records_max_bytes",
        "At so many bytes of records no message is taken: data.bytes_max.",
    )
    .is(vitals.records_max);
    if let Some(free) = vitals.free {
        page.gauge("stompede_disk_free_bytes", "Free bytes of the file system with the data directory.")
            .is(free);
    }
    page.gauge(
        "stompede_disk_free_min_bytes",
        "With fewer free bytes no message is taken: data.free_bytes_min.",
    )
    .is(vitals.free_min);
    page.gauge("stompede_disk_orders_waiting", "What waits to be written to the data directory.")
        .is(disk.orders());
    page.gauge("stompede_disk_questions_waiting", "Questions that wait to be read from the disk.")
        .is(disk.questions());
}

fn write_redis(page: &mut Page, redis: &Redis) {
    let vitals = redis.vitals();
    let link = vitals.link;
    page.gauge(
        "stompede_redis_up",
        "Whether all that is wanted is proven to come through Redis, as /readyz has it.",
    )
    .is(u8::from(redis.health().is_ok()));
    page.gauge("stompede_redis_servers", "Redis servers on which something of ours lies.").is(link.servers);
    page.gauge(
        "stompede_redis_servers_connected",
        "Redis servers that are connected, for orders or to hear channels.",
    )
    .of("connection", "orders", link.servers_for_orders)
    .of("connection", "channels", link.servers_for_channels);
    page.counter(
        "stompede_redis_connects_total",
        "How often a connection has come about, the first time included.",
    )
    .of("connection", "orders", link.dialled_for_orders)
    .of("connection", "channels", link.dialled_for_channels);
    if let Some(round_trip) = link.round_trip {
        page.gauge(
            "stompede_redis_round_trip_seconds",
            "How long the last canary, sent each second, was on its way through Redis and back; of several servers the slowest.",
        )
        .is(round_trip.as_secs_f64());
    }
    if let Some(ago) = link.proven_ago {
        page.gauge("stompede_redis_proven_ago_seconds", "How long ago the canary left that came back last.")
            .is(ago.as_secs_f64());
    }
    page.gauge("stompede_redis_orders_waiting", "Orders that wait for Redis or are on their way.")
        .is(link.orders);
    page.gauge(
        "stompede_redis_orders_waiting_bytes",
        "Bytes of the orders that wait for Redis or are on their way.",
    )
    .is(link.order_bytes);
    page.gauge("stompede_redis_channels", "Channels that this instance listens to.").is(vitals.channels);
    page.counter("stompede_redis_unknown_total", "What came by Redis and was not understood.")
        .is(vitals.unknown);
    page.counter("stompede_redis_fills_total", "Pages read of what had not come by its channel.")
        .is(vitals.fills);
    page.counter(
        "stompede_redis_filled_messages_total",
        "Messages out of pages that were read of what had not come by its channel.",
    )
    .is(vitals.filled);
}
