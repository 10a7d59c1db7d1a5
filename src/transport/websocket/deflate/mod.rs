//! permessage-deflate (RFC 7692): messages that are compressed one by one.
//!
//! ```text
//!  handshake  negotiate: both sides forget everything between two messages
//!  outbound   RSV1, then  | stored block: a receiver's own head | compressed tail, the same for all |
//!  inbound    Deflated: compressed frames -> a plain frame -> WebSocket
//! ```
//!
//! Nothing is kept from one message to the next (`server_no_context_takeover`, `client_no_context_takeover`). So a
//! message is compressed once for all its receivers, and the machinery on both sides belongs to the thread and not to
//! the connection: 435 KiB for compression and at most 110 KiB for inflating, each from its first use on.

mod compress;
mod inbound;
mod inflate;
mod offer;

#[cfg(test)]
pub(crate) use compress::tests::inflated;
pub(crate) use compress::{STORED_BYTES, compress, store};
pub use inbound::Deflated;
pub use offer::{Agreed, negotiate};
