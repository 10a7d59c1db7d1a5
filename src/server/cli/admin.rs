//! `stompede admin`: who is there, on whichever instance, and that somebody goes.

use clap::{Args, Subcommand};
use serde_json::Value;
use stompede_protocol::{AckMode, ClientEvent};

use super::client::{ConnectArguments, Link};
use super::{CliError, print};

/// What an operator asks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stompede admin nodes\n  stompede admin sessions --user bob\n  \
    stompede admin kick --user bob\n  \
    stompede admin unsubscribe --user bob --from /topic/chat/42\n\n\
    Any instance answers for all. Who asks must have the service role.")]
pub(super) struct AdminArguments {
    #[command(subcommand)]
    what: What,
}

/// Of whom it is asked, and how the answer is printed.
#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    connect: ConnectArguments,
    /// Print JSON as the broker sends it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Instances, their version and number of sessions
    Nodes {
        #[command(flatten)]
        how: How,
    },
    /// Sessions, their users and subscriptions
    Sessions {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        how: How,
    },
    /// End sessions
    Kick {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        how: How,
    },
    /// End subscriptions
    Unsubscribe {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        how: How,
        /// The destination, as it was subscribed
        #[arg(long, value_name = "DESTINATION")]
        from: String,
    },
}

#[derive(Debug, Args)]
struct Whom {
    /// All sessions of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The session of this name
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
}

/// Asks, and prints what all instances say.
pub(super) fn admin(arguments: &AdminArguments) -> Result<(), CliError> {
    let (name, whom, from, how) = match &arguments.what {
        What::Nodes { how } => ("nodes", None, None, how),
        What::Sessions { whom, how } => ("sessions", Some(whom), None, how),
        What::Kick { whom, how } => ("kick", Some(whom), None, how),
        What::Unsubscribe { whom, from, how } => ("unsubscribe", Some(whom), Some(&**from), how),
    };
    if let (Some(Whom { user: None, session: None }), "kick" | "unsubscribe") = (whom, name) {
        return Err(CliError::Usage("say whom: --user USER or --session SESSION".to_owned()));
    }
    let user = whom.and_then(|whom| whom.user.as_deref()).map(|user| ("user", user));
    let session = whom.and_then(|whom| whom.session.as_deref()).map(|session| ("session", session));
    let headers: Vec<_> = [user, session, from.map(|from| ("from", from)), Some(("receipt", "asked"))]
        .into_iter()
        .flatten()
        .collect();
    let mut link = Link::open(&how.connect)?;
    link.client().subscribe("admin", &format!("/app/stompede/{name}"), AckMode::Auto, &headers);
    let mut answer = None;
    link.receipt("asked", |message| answer = Some(message.body.clone()))?;
    let body = match answer {
        Some(body) => body,
        None => loop {
            if let ClientEvent::Message(message) = link.event()? {
                break message.body;
            }
        },
    };
    link.close();
    let answer: Value = serde_json::from_slice(&body).map_err(CliError::failed)?;
    for line in lines(name, &answer, how.json) {
        print(&line).map_err(CliError::failed)?;
    }
    match answer["missing"].as_u64() {
        Some(missing) => Err(CliError::Failed(format!("{missing} instances have not answered"))),
        None => Ok(()),
    }
}

fn lines(name: &str, answer: &Value, json: bool) -> Vec<String> {
    if json {
        return vec![answer.to_string()];
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").escape_default().to_string();
    let nodes = answer["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let sum = |field: &str| nodes.iter().filter_map(|node| node[field].as_u64()).sum::<u64>();
    let of_node = |node: &Value| {
        let id = text(&node["node"]);
        match name {
            "nodes" => {
                vec![format!("{id}  version {}  {} connections", text(&node["version"]), node["sessions"])]
            }
            "sessions" => {
                let rows = node["listed"].as_array().map_or(&[][..], Vec::as_slice);
                let row = |row: &Value| {
                    let destinations = row["destinations"].as_array().map_or(&[][..], Vec::as_slice);
                    let destinations: Vec<_> = destinations.iter().map(text).collect();
                    format!(
                        "{id}  {}  {}  {}",
                        text(&row["session"]),
                        text(&row["user"]),
                        destinations.join(" ")
                    )
                };
                rows.iter().map(row).collect()
            }
            _ => Vec::new(),
        }
    };
    let mut lines: Vec<String> = nodes.iter().flat_map(of_node).collect();
    lines.push(match name {
        "nodes" => format!("{} instances, {} connections", nodes.len(), sum("sessions")),
        "sessions" => format!("{} sessions on {} instances", sum("sessions"), nodes.len()),
        "kick" => format!("{} sessions ended", sum("sessions")),
        _ => format!("{} subscriptions ended", sum("subscriptions")),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_all_instances_say_is_a_line_each_and_a_sum() {
        let row = json!({"session": "s", "user": "b\u{1b}ob", "destinations": ["/topic/a"]});
        let answer = json!({"nodes": [
            {"node": "1", "version": "0.1.0", "sessions": 1, "listed": [row]},
            {"node": "2", "version": "0.1.0", "sessions": 2, "listed": []},
        ]});
        assert_eq!(
            lines("sessions", &answer, false),
            ["1  s  b\\u{1b}ob  /topic/a", "3 sessions on 2 instances"]
        );
        assert_eq!(lines("kick", &answer, false), ["3 sessions ended"]);
        assert_eq!(lines("nodes", &answer, true).len(), 1);
    }
}
