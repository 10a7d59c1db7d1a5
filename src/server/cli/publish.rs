//! `stompede pub`.

use std::io::Read;

use clap::Args;

use super::CliError;
use super::client::{ConnectArguments, Link, borrowed, parse_header};

/// What to publish where.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stompede pub /topic/news 'Hello'\n  \
    stompede pub --url ws://localhost:8080/ws --token \"$(stompede token --sub alice --room 42)\" \\\n    \
        /app/chat/42/send '{\"type\":\"TEXT\",\"content\":\"Hi\"}'\n  \
    stompede pub /queue/jobs < job.json\n\n\
    Ends when the broker has confirmed the message.")]
pub(super) struct PublishArguments {
    /// Where to
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The body; without it standard input is read
    #[arg(value_name = "BODY")]
    body: Option<String>,
    /// A header, may be given several times
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// Sends one message and waits for its RECEIPT.
pub(super) fn publish(arguments: PublishArguments) -> Result<(), CliError> {
    let body = match arguments.body {
        Some(body) => body.into_bytes(),
        None => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body).map_err(CliError::failed)?;
            body
        }
    };
    let mut link = Link::open(&arguments.connect)?;
    let mut headers = borrowed(&arguments.header);
    headers.push(("receipt", RECEIPT));
    link.client().send(&arguments.destination, &headers, body);
    link.receipt(RECEIPT, |_| {})?;
    link.close();
    Ok(())
}

const RECEIPT: &str = "sent";
