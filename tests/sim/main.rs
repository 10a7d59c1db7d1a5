//! The broker in virtual time: the real door, peers and shards, clients in memory, and sockets that do as they are told.

mod browse;
mod crash;
mod dead_letters;
mod destinations;
mod flow;
mod history;
mod limits;
mod line;
mod mailboxes;
mod members;
mod person;
mod presence;
mod queues;
mod reasons;
mod rooms;
mod sessions;
mod slow;
mod store;
mod walk;
mod walk_queues;
mod wire;
mod world;
