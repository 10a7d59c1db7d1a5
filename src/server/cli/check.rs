//! `stompede check FILE`.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, print};
use crate::server::config::Loaded;

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stompede check /etc/stompede.toml\n\n\
    The environment is left out; exit code 2 when the file cannot be used.")]
pub(super) struct CheckArguments {
    /// Configuration file (TOML)
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Says whether a broker could start with the file.
pub(super) fn check(arguments: &CheckArguments) -> Result<(), CliError> {
    let config = Loaded::read(Some(&arguments.file), [])?.check()?;
    let mode = if config.is_development() { "; no key is configured: development mode" } else { "" };
    print(&format!("{}: ok{mode}", arguments.file.display())).map_err(CliError::failed)
}
