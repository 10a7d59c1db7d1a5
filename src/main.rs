//! Arguments, configuration, run.

use std::process::ExitCode;

use stompede::server::cli;

fn main() -> ExitCode {
    cli::main()
}
