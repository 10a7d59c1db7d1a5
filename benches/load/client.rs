//! What each client is to do, before it does it.

use std::fmt::Write as _;

/// One client: who it is, what it subscribes to, what it publishes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// The frame CONNECT.
    pub(crate) connect: String,
    /// It listens to server-sent events instead, for which it asks so.
    pub(crate) request: Option<String>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// What it publishes by itself, each as soon as a receipt comes.
    pub(crate) publishes: Vec<Publication>,
    /// Other threads publish through it.
    pub(crate) is_lent: bool,
    /// Stops reading when told to; what it got does not count.
    pub(crate) is_deaf: bool,
    /// Subscribes, and leaves, when it is told to.
    pub(crate) is_told: bool,
    /// Comes back when its server is lost, and asks for what it missed.
    pub(crate) is_loyal: bool,
    /// Goes and comes back, again and again.
    pub(crate) restless: Option<Restless>,
}

/// How a client comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restless {
    Cut,
    /// Its first subscription only.
    Unsubscribe,
}

#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) destination: String,
    /// What arrives there.
    pub(crate) streams: Vec<u32>,
    /// So many of the messages that are kept come first.
    pub(crate) history: Option<u32>,
}

/// A stream: who publishes where.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) stream: u32,
    /// `SEND`, its destination and other headers, without the last, empty line.
    pub(crate) head: String,
}

impl Publication {
    pub(crate) fn new(stream: u32, destination: &str, headers: &[String]) -> Self {
        let mut head = format!("SEND\ndestination:{destination}\n");
        headers.iter().for_each(|header| {
            let _ = writeln!(head, "{header}");
        });
        Self { stream, head }
    }
}

impl Client {
    /// The request for a stream of events with its subscriptions.
    pub(crate) fn stream(&self, token: Option<&str>) -> String {
        let each = self.subscriptions.iter().map(|one| format!("destination={}", one.destination));
        let query = each.collect::<Vec<_>>().join("&");
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{token}\r\n")
    }

    /// The frames SUBSCRIBE; the last one asks for a receipt, where there are any.
    /// Who knows up to where it has read asks for the rest.
    pub(crate) fn subscribe(&self, has_receipts: bool, since: Option<&str>) -> impl Iterator<Item = String> {
        let last = if has_receipts { self.subscriptions.len() } else { 0 };
        self.subscriptions.iter().zip(1..).map(move |(subscription, n)| {
            let receipt = if n == last { format!("receipt:{SUBSCRIBED}\n") } else { String::new() };
            let history = subscription.history.map(|count| format!("stompede-history:{count}\n"));
            let since = since.map(|position| format!("stompede-since:{position}\n"));
            let history = since.or(history).unwrap_or_default();
            format!(
                "SUBSCRIBE\nid:sub-{}\ndestination:{}\nack:auto\n{history}{receipt}\n\0",
                n - 1,
                subscription.destination
            )
        })
    }
}

/// Receipt ids.
pub(crate) const SUBSCRIBED: &str = "subscribed";
pub(crate) const LEFT: &str = "left";
pub(crate) const SENT: &str = "sent";
