//! `stompede hash`.

use std::io::Read;

use clap::Args;

use super::{CliError, print};
use crate::policy::accounts::hash_passcode;

/// No arguments: a passcode on the command line would stand in the shell's history.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  printf %s \"$PASSCODE\" | stompede hash\n\n\
    One line end at the end of the input does not belong to the passcode.")]
pub(super) struct HashArguments {}

/// Prints what `passcode_hash` of an account takes.
pub(super) fn hash(_: &HashArguments) -> Result<(), CliError> {
    let mut passcode = String::new();
    let mut input = std::io::stdin().take(PASSCODE_BYTES_MAX + 1);
    input.read_to_string(&mut passcode).map_err(CliError::failed)?;
    if passcode.ends_with('\n') {
        passcode.pop();
        if passcode.ends_with('\r') {
            passcode.pop();
        }
    }
    if passcode.is_empty() {
        return Err(CliError::Usage("the passcode is read from standard input, which was empty".to_owned()));
    }
    if passcode.len() as u64 > PASSCODE_BYTES_MAX {
        return Err(CliError::Usage(format!("a passcode has at most {PASSCODE_BYTES_MAX} bytes")));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(CliError::failed)?;
    print(&hash_passcode(&passcode, salt).map_err(CliError::failed)?).map_err(CliError::failed)
}

/// More does not fit into what a client may send before CONNECTED.
const PASSCODE_BYTES_MAX: u64 = 4 << 10;
