//! What is judged of presence, of what operators read, of answers and of the order of the queue.

use std::collections::{BTreeMap, BTreeSet};

use stompede_protocol::AckMode;

use crate::person::{Person, bodies};
use crate::world::Guest;

use super::{Account, Asked, Item, QUEUE, ROOM, Walk};

/// Somebody came to a room, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    came: bool,
    user: String,
    version: u64,
}

impl Change {
    /// Reads the body of an event; `None` if it is of another kind.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let event: serde_json::Value = serde_json::from_slice(body).ok()?;
        let came = match event["type"].as_str()? {
            "JOIN" => true,
            "LEAVE" => false,
            _ => return None,
        };
        Some(Self { came, user: event["userId"].as_str()?.to_owned(), version: event["version"].as_u64()? })
    }
}

impl Walk {
    /// Who is in the room: those who have an open session that has subscribed to it.
    fn present(&self) -> BTreeSet<String> {
        let is_in = |account: &Account| {
            let rooms = account.asked.iter().filter(|asked| asked.name == ROOM && !asked.left);
            !account.ended && rooms.into_iter().any(|asked| asked.active_from.is_some())
        };
        let present = self.people.iter().filter(|(_, account)| is_in(account));
        present.map(|(_, account)| account.user.clone()).collect()
    }

    /// Each node says who is in the room. Its version there.
    pub(super) fn judge_presence(&mut self) -> Result<u64, String> {
        let present = self.present();
        let mut versions = BTreeSet::new();
        for node in self.cluster.awake() {
            let observer = self.cluster.worlds[node].knock(Guest::named("observer"));
            self.cluster.settles();
            observer.subscribes("/app/chat/42/members");
            self.cluster.settles();
            let frames = observer.frames();
            let answer: serde_json::Value = frames
                .first()
                .and_then(|frame| serde_json::from_slice(&frame.body).ok())
                .ok_or_else(|| format!("node {node} does not say who is in the room"))?;
            let members = answer["members"].as_array().into_iter().flatten();
            let known: BTreeSet<String> =
                members.filter_map(|member| member["userId"].as_str()).map(str::to_owned).collect();
            if known != present {
                return Err(format!("present are {present:?}, node {node} says {known:?}"));
            }
            versions.extend(answer["version"].as_u64());
            observer.vanishes();
        }
        match versions.len() {
            1 => Ok(versions.pop_first().unwrap_or_default()),
            _ => Err(format!("nodes tell of different versions of the room: {versions:?}")),
        }
    }

    /// What operators read is true.
    pub(super) fn judge_keys(&mut self) -> Result<(), String> {
        let here = self.people.iter().filter(|(_, account)| account.connected && !account.ended);
        let online: BTreeSet<String> = here.map(|(_, account)| account.user.clone()).collect();
        let present = self.present();
        let bus = &mut self.cluster.bus;
        let named = |family: &str, names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().map(|name| format!("{family}{name}")).collect()
        };
        let rooms: BTreeSet<String> = present.first().map(|_| "42".to_owned()).into_iter().collect();
        for (family, names) in [(STATUS, &online), (ROOM_USERS, &rooms), (USER_ROOMS, &present)] {
            let (found, expected) = (bus.names(&format!("{family}*")), named(family, names));
            if found != expected {
                return Err(format!("there should be {expected:?}, and there is {found:?}"));
            }
        }
        let sets = [(ONLINE.to_owned(), &online)].into_iter();
        let sets = sets.chain(rooms.iter().map(|room| (format!("{ROOM_USERS}{room}"), &present)));
        let sets = sets.chain(present.iter().map(|user| (format!("{USER_ROOMS}{user}"), &rooms)));
        for (name, expected) in sets {
            let found = bus.members(&name);
            if found != *expected {
                return Err(format!("{name} should be {expected:?} and is {found:?}"));
            }
        }
        let strange =
            online.iter().find(|user| bus.text(&format!("{STATUS}{user}")).as_deref() != Some("online"));
        strange.map_or(Ok(()), |user| Err(format!("{user} is not told to be online")))
    }

    /// Who came and who went is told once: versions grow, and between two departures of a user, of whose versions none is
    /// missing, he has come. Where nothing was lost on the way to a node, none is missing from the first that is heard to
    /// `version`, which is that of the room.
    pub(super) fn judge_changes(&self, version: u64) -> Result<(), String> {
        for (_, account) in &self.people {
            for asked in &account.asked {
                let is_whole = !asked.is_muted && !self.disturbed[account.node];
                let stays = !account.ended && !asked.left && account.wants(&asked.name, ROOM);
                let last = judge_told(asked, is_whole, self.has_forgotten)
                    .map_err(|fault| format!("{} {} {}: {fault}", account.name, asked.id, asked.name))?;
                if let Some(last) = last.filter(|last| is_whole && stays && *last != version) {
                    return Err(format!(
                        "{} {} heard of changes up to {last}, the room is at {version}",
                        account.name, asked.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// An answer comes once, to whoever asked. What was confirmed has come where nothing was lost on the way.
    pub(super) fn judge_answers_of_the_application(&self) -> Result<(), String> {
        let mut askers = BTreeMap::new();
        for (_, account) in &self.people {
            let different: BTreeSet<&String> = account.replies.iter().collect();
            if different.len() != account.replies.len() {
                return Err(format!("{} was answered twice: {:?}", account.name, account.replies));
            }
            let own = format!("re:{}?", account.name);
            if let Some(other) = account.replies.iter().find(|reply| !reply.starts_with(&own)) {
                return Err(format!("{} was told {other}", account.name));
            }
            askers.insert(&*account.name, account);
        }
        for (worker, receipt, question) in &self.replied {
            let is_confirmed = self.people[*worker].1.answers.contains(receipt);
            let asker = question.split('?').next().and_then(|name| askers.get(name));
            let asker = asker.filter(|asker| !asker.ended && !self.disturbed[asker.node]);
            let is_due =
                |asker: &&&&Account| is_confirmed && !asker.replies.contains(&format!("re:{question}"));
            if let Some(asker) = asker.as_ref().filter(is_due) {
                return Err(format!("{} was never told what became of {question}", asker.name));
            }
        }
        Ok(())
    }

    /// In the end somebody asks on each node, and is answered from another.
    pub(super) fn judge_asking(&mut self) -> Result<(), String> {
        let nodes = self.cluster.awake();
        for (turn, node) in nodes.iter().enumerate() {
            let other = nodes[(turn + 1) % nodes.len()];
            let worker = self.cluster.worlds[other].knock(Guest::named("service"));
            let asker = self.cluster.worlds[*node].knock(Guest::named("asker"));
            self.cluster.settles();
            worker.subscribes("/app/last");
            self.cluster.settles();
            asker.subscribes("/app/last");
            self.rests();
            let asked = worker.frames();
            let reply_to = asked.first().and_then(|frame| frame.headers.get("reply-to"));
            let Some(reply_to) = reply_to.filter(|_| asked.len() == 1) else {
                return Err(format!("node {node} asked, and node {other} heard {asked:?}"));
            };
            worker.sends(reply_to, "EUR");
            self.rests();
            let answers = bodies(&asker.frames());
            if answers != ["EUR"] {
                return Err(format!("node {other} answered, and node {node} heard {answers:?}"));
            }
            worker.vanishes();
            asker.vanishes();
            self.rests();
        }
        Ok(())
    }

    /// Whoever works next gets what was accepted and not lost, once, and of each sender in its order; and so does, on
    /// another node, whoever works when he is gone.
    pub(super) fn judge_queue(&mut self) -> Result<(), String> {
        let nodes = self.cluster.awake();
        let first = self.works_on(nodes[0]);
        let from = if self.cluster.bus.losses > 0 { self.last_loss } else { 0 };
        let due = self.log[from..].iter().filter(|sent| sent.accepted && sent.destination == QUEUE);
        if let Some(sent) = due.into_iter().find(|sent| !first.contains(&sent.body)) {
            return Err(format!("{} was accepted and is not in the queue: {first:?}", sent.body));
        }
        let different: BTreeSet<&String> = first.iter().collect();
        if different.len() != first.len() {
            return Err(format!("something is in the queue twice: {first:?}"));
        }
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for (sender, serial) in first.iter().filter_map(|body| body.split_once('.')) {
            let serial = serial.parse().map_err(|_| format!("{sender} never sent {serial}"))?;
            if last.insert(sender, serial).is_some_and(|before| before > serial) {
                return Err(format!("{sender}.{serial} stands behind what was sent after it: {first:?}"));
            }
        }
        let again = self.works_on(*nodes.last().unwrap_or(&nodes[0]));
        match first == again {
            true => Ok(()),
            false => Err(format!("the queue was {first:?}, went back, and is {again:?}")),
        }
    }

    /// What somebody gets who works at the queue on a node, until he goes.
    fn works_on(&mut self, node: usize) -> Vec<String> {
        let worker: Person = self.cluster.worlds[node].knock(Guest::named("worker"));
        self.cluster.settles();
        worker.subscribes_with(QUEUE, AckMode::ClientIndividual, &[]);
        self.cluster.settles();
        self.cluster.rests_for(2_000);
        let there = bodies(&worker.frames());
        worker.vanishes();
        self.rests();
        there
    }

    fn rests(&mut self) {
        self.cluster.settles();
        self.cluster.rests_for(500);
    }
}

/// The version of the last change of the room that a subscription was told of.
fn judge_told(asked: &Asked, is_whole: bool, has_forgotten: bool) -> Result<Option<u64>, String> {
    let mut last: Option<u64> = None;
    let mut present: BTreeMap<&str, bool> = BTreeMap::new();
    let changes = asked.heard.iter().filter_map(|Item { change, .. }| change.as_ref());
    for change @ Change { came, user, version } in changes {
        let before = last.replace(*version);
        let is_back = before.is_some_and(|before| *version <= before);
        let is_next = before.is_none_or(|before| *version == before + 1);
        // Who has lost everything counts from the time on, which may be behind what was counted before.
        if is_back && !has_forgotten {
            return Err(format!("told {change:?} after version {before:?}"));
        }
        if !is_next && is_whole {
            return Err(format!("told {change:?} after version {before:?}, and nothing between"));
        }
        if !is_next {
            present.clear();
        }
        if present.insert(user, *came) == Some(*came) {
            return Err(format!("told {change:?} twice"));
        }
    }
    Ok(last)
}

/// What operators read.
const ONLINE: &str = "websocket:online_users";
const STATUS: &str = "websocket:user:status:";
const ROOM_USERS: &str = "websocket:chatroom:users:";
const USER_ROOMS: &str = "websocket:user:chatrooms:";
