//! The broker in virtual time: the real door, peers and shards, clients in memory, and sockets that do as they are told.

mod browse;
mod bus;
mod cluster;
mod crash;
mod dead_letters;
mod destinations;
mod flow;
mod history;
mod hooks;
mod limits;
mod line;
mod mailboxes;
mod members;
mod nodes;
mod nodes_queues;
mod person;
mod presence;
mod queues;
mod reasons;
#[expect(dead_code, reason = "other tests use more of it, and the library's own")]
#[path = "../support/redis.rs"]
mod redis_server;
mod rooms;
mod sessions;
mod slow;
mod store;
mod streams;
mod walk;
mod walk_queues;
mod wire;
mod world;
