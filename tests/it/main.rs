//! The real binary and the real sockets, in one test program.

mod cli;
mod door;
mod http;
mod tls;
mod websocket;
