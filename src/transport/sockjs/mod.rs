//! SockJS (protocol 0.3.3): strings in JSON, over WebSocket or over plain requests where WebSocket does not get through.
//!
//! - [`frame`] writes and reads what travels: `o`, `h`, `a[...]`, `c[...]`, and the arrays of a client.
//! - [`SockJs`] is the framing inside a WebSocket.
//! - [`State`] is a session of requests: what waits for the next one, who receives, and how it ends. No I/O, no clock, no lock.
//!
//! ```text
//! POST xhr_send -> State::receive -> State::read  -> the session's handler
//! xhr, ... <- State::take <- State::write, State::push <-+
//! ```

mod encoder;
pub mod frame;
mod framing;
mod state;

pub(super) use encoder::SockJsEncoder;
pub use framing::SockJs;
pub use state::{Attached, Bounds, State, cost_of};
