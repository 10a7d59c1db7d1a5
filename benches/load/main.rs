//! A load program for STOMP servers: `cargo bench --bench load -- --help`, and `benches/README.md`.
//!
//! It is thin, so that it does not take the machine from what it measures: one thread reads all connections by epoll, into
//! one buffer, and allocates nothing per message.

mod body;
mod client;
mod engine;
mod fleet;
mod jwt;
mod options;
mod process;
mod report;
mod scenarios;
mod shared;
mod tally;
mod target;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    // Cargo adds the flag to whatever it runs as a bench.
    let options = Options::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let is_clean = scenarios::run(&options).map(|report| report.print(&options));
    match is_clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
