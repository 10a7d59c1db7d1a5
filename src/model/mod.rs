//! The words that every room of the house shares: destinations, patterns, messages, principals, limits, reasons.
//!
//! Nothing here does I/O, holds a lock or knows a runtime.

pub mod answer;
pub mod close;
pub mod control;
pub mod counter;
pub mod destination;
pub mod encoding;
pub mod expiry;
pub mod history;
pub mod ids;
pub mod limits;
pub mod message;
pub mod now;
pub mod pattern;
pub mod people;
pub mod principal;
pub mod revocation;
pub mod rules;
pub mod trie;
pub mod verdict;

pub use answer::{Answer, Depth, Look, Queued, StoreError, Ticket};
pub use close::{CloseReason, Refusal, Retry};
pub use control::{Findings, SessionRow, Task, Whom};
pub use counter::Counter;
pub use destination::{Address, Destination};
pub use encoding::{Delivery, Encoder, EncoderKind, Encoders, Tail};
pub use history::{Page, Place, Position, Reader, Retention, Start, Which};
pub use ids::{ConnectionId, Full, WorkerId};
pub use limits::Limits;
pub use message::{Message, MessageId};
pub use now::Now;
pub use pattern::Pattern;
pub use people::{Member, Members, Membership, MembershipError, People, Person};
pub use principal::{Claims, Principal, Role};
pub use revocation::{Revocation, Tokens};
pub use rules::{DestinationRule, DestinationRules, Overflow};
pub use verdict::{Allowance, Content, Identity, Judged, Outgoing};
