//! The process: what listens, who serves it.

pub mod acceptor;
pub mod http;
pub mod misdirected;
pub mod socket;
pub mod tls;

pub use acceptor::{Accepted, Door, Face, Listener, Placement};
pub use socket::Socket;
