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
    stompede admin unsubscribe --user bob --from /topic/chat/42\n  \
    stompede admin revoke --jti 8f14e45f\n  \
    stompede admin revoke --user bob --issued-before \"$(date +%s)\"\n\n\
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
    /// Make tokens good no more, and end the sessions that they opened
    Revoke {
        #[command(flatten)]
        tokens: Tokens,
        #[command(flatten)]
        how: How,
    },
}

/// Times are seconds since 1970, as `date +%s` prints them.
#[derive(Debug, Args)]
struct Tokens {
    /// The token with this `jti`
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "issued_before"])]
    jti: Option<String>,
    /// All tokens of this user, issued until now if no time is given
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those issued before this time; without --user everybody's
    #[arg(long, value_name = "SECONDS", required_unless_present_any = ["jti", "user"])]
    issued_before: Option<u64>,
    /// When the last of them expires, if that is known: then it is forgotten; else after 400 days
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
}

impl Tokens {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| Some((name, value.clone()?));
        let number = |name, value: Option<u64>| Some((name, value?.to_string()));
        let all = [
            text("jti", &self.jti),
            text("user", &self.user),
            number("issued-before", self.issued_before),
            number("until", self.until),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Whom {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| Some((name, value.clone()?));
        [text("user", &self.user), text("session", &self.session)].into_iter().flatten().collect()
    }
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
    let (name, mut asked, how) = match &arguments.what {
        What::Nodes { how } => ("nodes", Vec::new(), how),
        What::Sessions { whom, how } => ("sessions", whom.headers(), how),
        What::Kick { whom, how } => ("kick", whom.headers(), how),
        What::Unsubscribe { whom, how, .. } => ("unsubscribe", whom.headers(), how),
        What::Revoke { tokens, how } => ("revoke", tokens.headers(), how),
    };
    if asked.is_empty() && matches!(name, "kick" | "unsubscribe") {
        return Err(CliError::Usage("say whom: --user USER or --session SESSION".to_owned()));
    }
    if let What::Unsubscribe { from, .. } = &arguments.what {
        asked.push(("from", from.clone()));
    }
    asked.push(("receipt", "asked".to_owned()));
    let headers: Vec<_> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
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
    if name == "revoke" {
        return vec![format!("revoked until {}", answer["until"])];
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
