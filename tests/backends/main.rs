//! The behaviour of the ports of `backend/`, and every adapter before the same judge.

mod claims;
mod cursors;
mod disk;
mod history;
mod memberships;
mod memory;
mod queues;
mod redis;
mod revocations;
mod sink;
mod subject;
