//! The broker in virtual time: the real door, peers and shards, clients in memory, and sockets that do as they are told.

mod destinations;
mod line;
mod person;
mod queues;
mod sessions;
mod wire;
mod world;
