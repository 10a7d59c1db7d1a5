//! The real binary and the real sockets, in one test program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod balancer;
mod cli;
mod cost;
mod deflate;
mod disk;
mod door;
mod embed;
mod examples;
mod hooks;
mod http;
mod jwks;
mod listener;
mod logins;
mod metrics;
mod monitoring;
mod process;
mod proxied;
mod quotas;
mod readiness;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;
mod revocation;
mod serve;
mod served;
mod shell;
mod shutdown;
mod slow;
mod smoke;
mod sockjs;
mod sse;
mod tls;
mod trace;
mod visitor;
mod websocket;
mod wire_table;
