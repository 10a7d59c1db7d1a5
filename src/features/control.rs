//! What operators ask and what nodes report, as JSON.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stompede_protocol::Headers;

use crate::model::{CloseReason, Findings, Refusal, SessionRow, Task, Whom};

/// A question or an order to all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whom it means.
    pub whom: Whom,
    /// What is to be done.
    pub task: Task,
}

/// What operators subscribe begins with this.
pub const PREFIX: &str = "/app/stompede/";

/// How an order travels.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    task: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    node: &'a str,
    version: &'a str,
    sessions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<Listed<'a>>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    session: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    destinations: &'a [Box<str>],
}

impl Order {
    /// The order in a SUBSCRIBE to [`PREFIX`] and this name.
    ///
    /// # Errors
    /// There is no such order, or it means nobody.
    pub fn parse(name: &str, headers: &Headers) -> Result<Self, Refusal> {
        let whom = Whom {
            user: headers.get("user").map(Into::into),
            session: headers.get("session").map(Into::into),
        };
        let is_aimed = whom.user.is_some() || whom.session.is_some();
        let bad = |text: &'static str| Err(Refusal::new(CloseReason::BadContent, text));
        let task = match name {
            "nodes" => return Ok(Self { whom: Whom { session: Some("".into()), ..whom }, task: Task::List }),
            "sessions" => Task::List,
            "kick" | "unsubscribe" if !is_aimed => return bad("say whom, by a header user or session"),
            "kick" => Task::Kick(headers.get("reason").map(Into::into)),
            "unsubscribe" => match headers.get("from") {
                Some(destination) => Task::Unsubscribe(destination.into()),
                None => return bad("say from which destination, by a header from"),
            },
            _ => {
                let text = "there are /app/stompede/nodes, sessions, kick, unsubscribe and revoke";
                return Err(Refusal::new(CloseReason::BadDestination, text));
            }
        };
        Ok(Self { whom, task })
    }

    /// As it travels.
    pub fn encode(&self) -> Bytes {
        let (task, destination) = match &self.task {
            Task::List => ("list", None),
            Task::Count => ("count", None),
            Task::Kick(_) => ("kick", None),
            // Each node gives it to itself.
            Task::Review => ("review", None),
            Task::Unsubscribe(destination) => ("unsubscribe", Some(destination.clone())),
            Task::Rooms => ("rooms", None),
            Task::Consumers => ("consumers", None),
        };
        let reason = match &self.task {
            Task::Kick(reason) => reason.clone(),
            _ => None,
        };
        let Whom { user, session } = self.whom.clone();
        let written = Written { task: task.into(), user, session, destination, reason };
        serde_json::to_vec(&written).unwrap_or_default().into()
    }

    /// What another node has written; `None` where this version does not know it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Written { task, user, session, destination, reason } = serde_json::from_slice(bytes).ok()?;
        let task = match (&*task, destination) {
            ("list", _) => Task::List,
            ("count", _) => Task::Count,
            ("kick", _) => Task::Kick(reason),
            ("rooms", _) => Task::Rooms,
            ("consumers", _) => Task::Consumers,
            ("unsubscribe", Some(destination)) => Task::Unsubscribe(destination),
            _ => return None,
        };
        Some(Self { whom: Whom { user, session }, task })
    }
}

/// What a node reports; `sessions` is how many it has in all.
pub fn report(node: u64, sessions: usize, order: &Order, findings: &Findings) -> Bytes {
    let is_count = order.whom.session.as_deref() == Some("");
    let listed = findings.listed.iter().map(|row| {
        let SessionRow { session, user, destinations } = row;
        Listed { session, user: user.as_deref(), destinations }
    });
    let told = Told {
        node: &format!("{node:016x}"),
        version: env!("CARGO_PKG_VERSION"),
        sessions: if is_count { sessions } else { findings.sessions },
        subscriptions: matches!(order.task, Task::Unsubscribe(_)).then_some(findings.subscriptions),
        listed: (order.task == Task::List && !is_count).then(|| listed.collect()),
    };
    serde_json::to_vec(&told).unwrap_or_default().into()
}

/// What a node reports that was asked for sizes: names, and how much is there.
pub fn report_sizes<'a>(node: u64, sizes: impl Iterator<Item = (&'a str, usize)>) -> Bytes {
    let sizes: Vec<_> = sizes.take(SIZES_MAX).collect();
    serde_json::to_vec(&Sizes { node: format!("{node:016x}").into(), sizes }).unwrap_or_default().into()
}

/// Such a report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "N: Deserialize<'de>"))]
struct Sizes<N> {
    node: Box<str>,
    sizes: Vec<(N, usize)>,
}

/// Sizes of all nodes, those of one name added up.
pub fn sum_sizes(reports: &[Bytes]) -> HashMap<Box<str>, usize> {
    let mut sums: HashMap<Box<str>, usize> = HashMap::new();
    for report in reports {
        let Ok(Sizes::<Box<str>> { sizes, .. }) = serde_json::from_slice(report) else { continue };
        for (name, size) in sizes {
            *sums.entry(name).or_default() += size;
        }
    }
    sums
}

/// A session that nodes have reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedSession {
    /// Its node.
    pub node: Box<str>,
    /// Its name.
    pub session: Box<str>,
    /// Its user.
    pub user: Option<Box<str>>,
    /// What it subscribes.
    pub destinations: Vec<Box<str>>,
}

/// How many sessions nodes have reported, and those that they have listed.
pub fn sum_sessions(reports: &[Bytes]) -> (usize, Vec<ReportedSession>) {
    #[derive(Deserialize)]
    struct Report {
        node: Box<str>,
        sessions: usize,
        #[serde(default)]
        listed: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        session: Box<str>,
        user: Option<Box<str>>,
        destinations: Vec<Box<str>>,
    }
    let (mut count, mut listed) = (0, Vec::new());
    for Report { node, sessions, listed: rows } in
        reports.iter().filter_map(|report| serde_json::from_slice(report).ok())
    {
        count += sessions;
        let row = |Row { session, user, destinations }| {
            let node = node.clone();
            ReportedSession { node, session, user, destinations }
        };
        listed.extend(rows.into_iter().map(row));
    }
    (count, listed)
}

/// How many subscriptions nodes have ended.
pub fn sum_subscriptions(reports: &[Bytes]) -> usize {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        subscriptions: usize,
    }
    let reports = reports.iter().filter_map(|report| serde_json::from_slice::<Report>(report).ok());
    reports.map(|report| report.subscriptions).sum()
}

/// Rooms or queues of which one node reports the size.
pub const SIZES_MAX: usize = 10_000;

/// All reports as one answer; `nodes` is how many there should be, if some are missing.
pub fn answer(reports: &[Bytes], nodes: Option<usize>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        nodes: Vec<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<usize>,
    }
    let reports: Vec<_> =
        reports.iter().filter_map(|report| serde_json::from_slice::<&RawValue>(report).ok()).collect();
    let missing = nodes.map(|nodes| nodes.saturating_sub(reports.len()));
    serde_json::to_vec(&Answer { nodes: reports, missing }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, headers: &[(&str, &str)]) -> Result<Order, Refusal> {
        Order::parse(name, &headers.iter().copied().collect())
    }

    #[test]
    fn an_order_arrives_as_it_was_given() {
        for (name, headers) in [
            ("nodes", &[][..]),
            ("sessions", &[]),
            ("sessions", &[("user", "bob")]),
            ("kick", &[("session", "s")]),
            ("unsubscribe", &[("user", "bob"), ("from", "/topic/a")]),
        ] {
            let order = parse(name, headers).unwrap();
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
    }

    #[test]
    fn who_names_nobody_kicks_nobody() {
        assert!(parse("kick", &[]).is_err());
        assert!(parse("unsubscribe", &[("user", "bob")]).is_err());
        assert!(parse("reboot", &[("user", "bob")]).is_err());
        assert_eq!(Order::decode(b"{\"task\":\"dance\"}"), None);
        assert_eq!(Order::decode(b"\xff"), None);
    }

    #[test]
    fn reports_are_put_side_by_side() {
        let order = parse("sessions", &[]).unwrap();
        let row = SessionRow {
            session: "s".into(),
            user: Some("bob".into()),
            destinations: vec!["/topic/a".into()],
        };
        let found = Findings { sessions: 1, subscriptions: 0, listed: vec![row] };
        let text = String::from_utf8(answer(&[report(7, 9, &order, &found)], Some(2))).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "{{\"nodes\":[{{\"node\":\"0000000000000007\",\"version\":\"{version}\",\"sessions\":1,\"listed\":[{{\"session\":\"s\",\
             \"user\":\"bob\",\"destinations\":[\"/topic/a\"]}}]}}],\"missing\":1}}"
        );
        assert_eq!(text, expected);
    }
}
