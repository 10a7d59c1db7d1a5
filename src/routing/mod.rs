//! Who wants what, and the bytes on their way: the mechanism of delivery.
//!
//! A destination is delivered where somebody wants it. The first subscriber of a worker gives the *worker* interest
//! ([`table::Table`]), the first worker gives the *node* interest ([`directory::Directory`]). Publishing goes the other
//! way: the directory names the workers, each worker's table its subscribers, [`fanout`] fills their outboxes.
//!
//! Routing knows nothing of users, rooms, history or presence.

pub mod desk;
pub mod directory;
pub mod fanout;
pub mod inbox;
mod item;
pub mod lanes;
pub mod outbox;
mod pieces;
pub mod replies;
mod round;
pub mod table;

pub use desk::{DESK, Desk};
pub use directory::{Directory, Interest, WorkerSet};
pub use inbox::{Inbox, Inboxes, Turn};
pub use item::Item;
pub use lanes::{Lane, Lanes};
pub use outbox::{Outbox, Pushed};
pub use replies::{Listener, Replies, ReplyRoute};
pub use round::Round;
pub use table::{Note, Subscriber, SubscriberId, Table, Topic};
