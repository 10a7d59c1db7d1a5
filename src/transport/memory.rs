//! A connection inside the process: two bounded byte streams, for tests and embedding.

use tokio::io::DuplexStream;

/// One end of a pipe.
pub type Pipe = DuplexStream;

/// Two ends; each direction holds at most `bytes_max` unread bytes, then its writer waits.
pub fn pipe(bytes_max: usize) -> (Pipe, Pipe) {
    tokio::io::duplex(bytes_max)
}
