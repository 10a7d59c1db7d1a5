//! The behaviour of the ports of `backend/`, and every adapter before the same judge.

mod disk;
mod history;
mod memory;
mod queues;
mod sink;
