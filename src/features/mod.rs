//! What applications are built of: rooms, presence and status, user queues, work queues.
//!
//! Features speak through the ports of [`crate::backend`] and the mechanisms of [`crate::routing`]; they know neither
//! connections nor frames, and not each other.

pub mod control;
pub mod idempotency;
pub mod notices;
pub mod presence;
pub mod queues;
pub mod revoke;
pub mod rooms;
pub mod unread;
pub mod users;

pub use idempotency::Idempotency;
pub use presence::Attendance;
pub use queues::{Belongings, Consumer, DeadLetterCounters, Dispatcher};
pub use rooms::Rooms;
