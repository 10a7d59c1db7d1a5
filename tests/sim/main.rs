//! The broker in virtual time: the real door, peers and shards, clients in memory, and sockets that do as they are told.

mod destinations;
mod flow;
mod limits;
mod line;
mod person;
mod presence;
mod queues;
mod reasons;
mod rooms;
mod sessions;
mod slow;
mod walk;
mod walk_queues;
mod wire;
mod world;
