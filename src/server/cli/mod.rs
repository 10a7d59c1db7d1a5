//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod admin;
mod api_key;
mod check;
mod client;
mod hash;
mod holder;
mod publish;
mod serve;
mod smoke;
mod subscribe;
mod token;

use super::config::ConfigError;

/// A STOMP broker for application realtime.
#[derive(Debug, Parser)]
#[command(
    name = "stompede",
    version,
    about,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  stompede                                  a broker on this machine, for trying out\n  \
        stompede --config /etc/stompede.toml      a configured one\n  \
        stompede token --sub alice --room 42      a token for alice\n  \
        stompede help serve                       more about one command"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (the default command)
    Serve(serve::ServeArguments),
    /// Print a token for a user
    Token(token::TokenArguments),
    /// Check a configuration file and say what is wrong with it
    Check(check::CheckArguments),
    /// Read a passcode from standard input and print its hash for an account
    Hash(hash::HashArguments),
    /// Make a key for the HTTP API
    ApiKey(api_key::ApiKeyArguments),
    /// Publish one message
    Pub(publish::PublishArguments),
    /// Who is there, on all instances, and that somebody goes
    Admin(admin::AdminArguments),
    /// Try a deployment from outside: health, login, a room, history, presence
    Smoke(smoke::SmokeArguments),
    /// Print the messages of a destination
    Sub(subscribe::SubscribeArguments),
}

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It was tried and went wrong.
    #[error("{0}")]
    Failed(String),
    /// Arguments that cannot be followed.
    #[error("{0}")]
    Usage(String),
    /// A configuration that cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

/// Does what the arguments say; faults are told on standard error.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // --help and --version arrive here too. Nobody is left to tell when the stream is closed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG } else { 0 });
        }
    };
    let done = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Token(arguments) => token::token(arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Hash(arguments) => hash::hash(&arguments),
        Command::ApiKey(arguments) => api_key::api_key(&arguments),
        Command::Pub(arguments) => publish::publish(arguments),
        Command::Admin(arguments) => admin::admin(&arguments),
        Command::Smoke(arguments) => smoke::smoke(&arguments),
        Command::Sub(arguments) => subscribe::subscribe(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => FAILED,
            Self::Usage(_) | Self::Config(_) => WRONG,
        }
    }

    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A line of output. Where nobody reads it any more, as in `stompede sub | head -1`, that is an error to be handled.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A line for the person at the terminal, if there still is one: `eprintln!` would panic.
fn note(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "stompede: {line}");
}

/// Seconds since the Unix epoch.
fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;
