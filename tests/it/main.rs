//! The real binary and the real sockets, in one test program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod door;
mod http;
mod tls;
mod websocket;
