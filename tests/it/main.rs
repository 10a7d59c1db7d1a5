//! The real binary and the real sockets, in one test program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancer;
mod cli;
mod cost;
mod deflate;
mod disk;
mod door;
mod embed;
mod examples;
mod http;
mod logins;
mod process;
mod proxied;
mod quotas;
mod serve;
mod served;
mod shell;
mod shutdown;
mod slow;
mod tls;
mod visitor;
mod websocket;
mod wire_table;
