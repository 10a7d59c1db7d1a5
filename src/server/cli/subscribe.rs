//! `stompede sub`.

use std::io;

use clap::Args;
use serde_json::{Map, Value, json};
use stompede_protocol::{AckMode, ClientEvent, Frame};

use super::client::{ConnectArguments, Link, borrowed, parse_header};
use super::{CliError, note, print};

/// What to listen to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stompede sub /topic/news\n  \
    stompede sub --count 1 --json '/topic/chat/*'\n  \
    stompede sub --url wss://localhost:8080/ws --insecure /user/queue/errors\n\n\
    Prints one message a line; line ends and control characters in a body are escaped.")]
pub(super) struct SubscribeArguments {
    /// Where from; may be several
    #[arg(value_name = "DESTINATION", required = true)]
    destination: Vec<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print JSON with destination, headers and body
    #[arg(long)]
    json: bool,
    /// A header of SUBSCRIBE, may be given several times
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// Prints messages until there were enough, or the connection ends.
pub(super) fn subscribe(arguments: &SubscribeArguments) -> Result<(), CliError> {
    let mut link = Link::open(&arguments.connect)?;
    let mut early = Vec::new();
    for (i, destination) in arguments.destination.iter().enumerate() {
        let id = format!("sub-{i}");
        let mut headers = borrowed(&arguments.header);
        headers.push(("receipt", &id));
        link.client().subscribe(&id, destination, AckMode::Auto, &headers);
        link.receipt(&id, |message| early.push(message.clone()))?;
        note(&format_args!("subscribed to {destination}"));
    }
    let mut early = early.into_iter();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = match early.next() {
            Some(message) => message,
            None => match link.event()? {
                ClientEvent::Message(message) => message,
                _ => continue,
            },
        };
        let line = if arguments.json { as_json(&message) } else { as_text(&message) };
        if let Err(error) = print(&line) {
            // `stompede sub | head -1` has what it wants.
            return if error.kind() == io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(CliError::failed(error))
            };
        }
        left -= 1;
    }
    link.close();
    Ok(())
}

fn as_text(message: &Frame) -> String {
    let mut line = String::with_capacity(message.body.len());
    for c in String::from_utf8_lossy(&message.body).chars() {
        if c.is_control() && c != '\t' { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn as_json(message: &Frame) -> String {
    let mut headers = Map::new();
    for (name, value) in message.headers.iter() {
        // Of a repeated header the first counts.
        headers.entry(name).or_insert_with(|| value.into());
    }
    let mut object = json!({ "destination": headers.get("destination"), "headers": headers });
    let (name, body) = match std::str::from_utf8(&message.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("bodyHex", message.body.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    object[name] = Value::String(body);
    object.to_string()
}

#[cfg(test)]
mod tests {
    use stompede_protocol::Command;

    use super::*;

    fn message(body: &[u8]) -> Frame {
        let frame =
            Frame::new(Command::Message).with("destination", "/topic/a").with("x", "1").with("x", "2");
        frame.with_body(body.to_vec())
    }

    #[test]
    fn a_message_is_one_line_and_cannot_steer_a_terminal() {
        assert_eq!(as_text(&message("a\nb\t\u{1b}[31mü".as_bytes())), "a\\nb\t\\u{1b}[31mü");
        assert!(!as_json(&message(b"a\nb")).contains('\n'));
    }

    #[test]
    fn json_has_the_headers_and_a_body_of_any_bytes() {
        let object: Value = serde_json::from_str(&as_json(&message(b"hi"))).unwrap();
        assert_eq!(
            object,
            json!({"destination": "/topic/a", "headers": {"destination": "/topic/a", "x": "1"}, "body": "hi"})
        );
        let object: Value = serde_json::from_str(&as_json(&message(&[0xff, 0]))).unwrap();
        assert_eq!((&object["bodyHex"], &object["body"]), (&"ff00".into(), &Value::Null));
    }
}
