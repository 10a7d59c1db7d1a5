//! A random walk: clients come, subscribe, publish, stall, leave and are cut off, in an order drawn from a seed; what they
//! heard is judged afterwards.
//!
//! Judged are the invariants that a client can see: nobody hears what he did not subscribe to; a subscription hears a
//! message once; everybody hears the same order of a destination; after the RECEIPT of a SUBSCRIBE each accepted message
//! arrives, unless the session or the subscription ended; each receipt comes once; presence equals the truth, and its
//! events are numbered without a gap; nothing is left when all have gone.

use std::collections::{BTreeMap, BTreeSet};

use stompede::broker::Link;
use stompede::model::{Destination, Pattern};
use stompede_protocol::{AckMode, Frame};

use crate::line::Heard;
use crate::person::Person;
use crate::world::{Guest, World, mixed};

/// Numbers from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mixed(seed + 1))
    }

    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 = mixed(self.0);
        (self.0 >> 16) as usize % sides
    }

    pub(crate) fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}

/// What the judge knows of one client: what it asked for and what it heard, in order.
#[derive(Default)]
struct Account {
    name: String,
    user: String,
    asked: Vec<Asked>,
    heard: Vec<Told>,
    ended: bool,
    connected: bool,
    /// DISCONNECT was sent.
    left: bool,
    /// The connection was cut.
    cut: bool,
    /// Its socket took nothing for a while: the broker may have given it up before anybody else knows.
    stalled: bool,
    /// When it was cut, or first seen to be gone.
    gone_ms: Option<u64>,
    /// By subscription, the last version that an event of the room carried.
    versions: BTreeMap<String, u64>,
    /// What was wrong with one of them.
    astray: Option<String>,
}

#[derive(Clone, Debug)]
struct Asked {
    id: String,
    name: String,
    /// UNSUBSCRIBE was sent.
    left: bool,
    /// Its MESSAGEs heard before the RECEIPT do not matter; how much was published everywhere when that came.
    active_from: Option<usize>,
    /// When SUBSCRIBE was sent.
    at_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Message { subscription: String, destination: String, body: String },
    Receipt(String),
}

struct Walk {
    world: World,
    dice: Dice,
    people: Vec<(Person, Account)>,
    /// Bodies by the receipt that says they were accepted.
    sent: BTreeMap<String, (String, String)>,
    /// Destination and body of what was sent, oldest first, by the time of sending.
    log: Vec<(String, String)>,
    serial: usize,
    linger_ms: u64,
}

const ROOM: &str = "/topic/chat/42";
const TOPICS: [&str; 4] = ["/topic/a", "/topic/a/b", "/topic/c", "/topic/chat/42"];
const NAMES: [&str; 7] =
    ["/topic/a", "/topic/a/b", "/topic/c", "/topic/chat/42", "/topic/*", "/topic/a/**", "/topic/**"];

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let inbox = dice.one_of(&[2, 5, 1_000]);
        let outbox = dice.one_of(&[2_000, 100_000]);
        let linger_ms = dice.one_of(&[0, 1_000, 10_000]);
        let world = World::with(|setup| {
            setup.shards = 3;
            setup.limits.inbox_messages_max = inbox;
            setup.limits.outbox_bytes_max = outbox;
            setup.limits.user_connections_max = 0;
            setup.linger_ms = linger_ms;
        });
        world.holds_still();
        let (people, sent, log) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { world, dice, people, sent, log, serial: 0, linger_ms }
    }

    fn goes(&mut self, actions: usize) {
        for _ in 0..actions {
            self.acts();
            for _ in 0..self.dice.below(6) {
                let choice = self.dice.below(1_000);
                self.world.steps(choice);
            }
            if self.dice.below(20) == 0 {
                let ms = self.dice.one_of(&[100, 1_000, 3_000]);
                self.world.runs_for(ms);
            }
            self.listens();
        }
        // Quiet: all sockets open, everything delivered.
        for (person, _) in &self.people {
            person.resumes();
        }
        self.world.moves_again();
        self.listens();
    }

    fn acts(&mut self) {
        let here: Vec<usize> = (0..self.people.len()).filter(|n| !self.people[*n].0.is_gone()).collect();
        if here.len() < 3 || here.len() < 10 && self.dice.below(8) == 0 {
            return self.comes();
        }
        let who = here[self.dice.below(here.len())];
        match self.dice.below(24) {
            20..=23 | 0..=4 => self.subscribes(who),
            5 | 6 => self.unsubscribes(who),
            7..=14 => self.publishes(who),
            15 => {
                self.people[who].1.stalled = true;
                self.people[who].0.stalls();
            }
            16 => {
                self.people[who].1.stalled = true;
                self.people[who].0.takes(40);
            }
            17 => self.people[who].0.resumes(),
            18 => {
                self.people[who].1.left = true;
                self.people[who].0.leaves();
            }
            _ => {
                // Not when it is seen: time may pass until then, and the linger counts from here.
                self.people[who].1.gone_ms = Some(self.world.now_ms());
                self.people[who].1.cut = true;
                self.people[who].0.vanishes();
            }
        }
    }

    fn comes(&mut self) {
        self.serial += 1;
        let user = format!("u{}", self.dice.below(4));
        let link = self.dice.one_of(&[Link::Stream, Link::WebSocket, Link::DeflateWebSocket]);
        let shard = Some(self.dice.below(3));
        let person = self.world.knock(Guest { link, shard, ..Guest::named(&user) });
        let piece = self.dice.one_of(&[11, 300, 65_536, 65_536]);
        person.line(|line| line.piece_bytes = piece);
        let account = Account { name: format!("c{}", self.serial), user, ..Account::default() };
        self.people.push((person, account));
    }

    fn subscribes(&mut self, who: usize) {
        let name = self.dice.one_of(&NAMES);
        let ack = self.dice.one_of(&[AckMode::Auto, AckMode::Client]);
        let (person, account) = &mut self.people[who];
        // Ids and receipts alike: `s1`, `s2`, ...
        let id = format!("s{}", account.asked.len() + 1);
        person.subscribes_with(name, ack, &[("receipt", &id)]);
        let at_ms = self.world.now_ms();
        account.asked.push(Asked { id, name: name.to_owned(), left: false, active_from: None, at_ms });
    }

    fn unsubscribes(&mut self, who: usize) {
        let (person, account) = &mut self.people[who];
        // Only what is known to be open, or the ERROR would end the session by rights.
        let open: Vec<usize> = (0..account.asked.len())
            .filter(|n| account.asked[*n].active_from.is_some() && !account.asked[*n].left)
            .collect();
        if !open.is_empty() {
            let n = open[self.dice.below(open.len())];
            account.asked[n].left = true;
            person.unsubscribes(&account.asked[n].id);
        }
    }

    fn publishes(&mut self, who: usize) {
        let destination = self.dice.one_of(&TOPICS);
        let padding = self.dice.one_of(&[0, 300]);
        for _ in 0..=self.dice.below(4) {
            self.serial += 1;
            let (person, account) = &self.people[who];
            let receipt = format!("m{}", self.serial);
            let body = format!("{}.{}{}", account.name, self.serial, "x".repeat(padding));
            self.sent.insert(receipt.clone(), (destination.to_owned(), body.clone()));
            self.log.push((destination.to_owned(), body.clone()));
            person.sends_with(destination, &[("receipt", &receipt)], &body);
        }
    }

    /// Takes down what everybody heard.
    fn listens(&mut self) {
        let (published, now_ms) = (self.log.len(), self.world.now_ms());
        for (person, account) in &mut self.people {
            if person.is_gone() {
                account.gone_ms.get_or_insert(now_ms);
            }
            for heard in person.heard() {
                match heard {
                    Heard::Connected(_) => account.connected = true,
                    Heard::Message(frame) if frame.headers.get("event").is_some() => account.follows(&frame),
                    Heard::Message(frame) => account.heard.push(Told::Message {
                        subscription: frame.headers.get("subscription").unwrap_or("").to_owned(),
                        destination: frame.headers.get("destination").unwrap_or("").to_owned(),
                        body: String::from_utf8_lossy(&frame.body).into_owned(),
                    }),
                    Heard::Receipt(id, _) => {
                        if let Some(asked) = account.asked.iter_mut().find(|asked| asked.id == id) {
                            asked.active_from = Some(published);
                        }
                        account.heard.push(Told::Receipt(id));
                    }
                    Heard::Error(_) | Heard::End(_) => account.ended = true,
                }
            }
        }
    }

    fn judge(&self) -> Result<(), String> {
        let accounts: Vec<&Account> = self.people.iter().map(|(_, account)| account).collect();
        judge(&accounts, &self.sent, &self.log)?;
        if let Some(astray) = accounts.iter().find_map(|account| account.astray.as_ref()) {
            return Err(astray.clone());
        }
        self.judge_presence()
    }

    /// Present in the room is who has an open session that subscribed it, or whose connection broke within the linger.
    fn judge_presence(&self) -> Result<(), String> {
        let now_ms = self.world.now_ms();
        let members = self.members();
        let all = self.people.iter().map(|(_, account)| account);
        let surely: BTreeSet<&str> = all
            .clone()
            .filter(|a| a.is_here() || a.lingers(now_ms, self.linger_ms) && !self.is_back(a))
            .map(|a| &*a.user)
            .collect();
        let maybe: BTreeSet<&str> = all
            .clone()
            .filter(|a| a.is_here() || a.may_linger(now_ms, self.linger_ms))
            .map(|a| &*a.user)
            .collect();
        let known: BTreeSet<&str> = members.iter().map(|user| &**user).collect();
        if !surely.is_subset(&known) || !known.is_subset(&maybe) {
            return Err(format!("present are {surely:?}, perhaps {maybe:?}, the room says {known:?}"));
        }
        self.world.runs_for(self.linger_ms + 2 * TICK_MS);
        let open: BTreeSet<&str> = all.filter(|account| account.is_here()).map(|a| &*a.user).collect();
        let members = self.members();
        let known: BTreeSet<&str> = members.iter().map(|user| &**user).collect();
        if known != open {
            return Err(format!("open are the sessions of {open:?}, the room says {known:?}"));
        }
        Ok(())
    }

    /// Another session of the user may have entered the room after this one was gone: whether he is there is for that
    /// one to say.
    fn is_back(&self, account: &Account) -> bool {
        let others = self.people.iter().map(|(_, other)| other).filter(|other| other.user == account.user);
        let mut entered =
            others.flat_map(Account::rooms).filter_map(|asked| account.gone_ms.map(|gone| (asked, gone)));
        entered.any(|(asked, gone_ms)| asked.at_ms + TICK_MS >= gone_ms)
    }

    fn members(&self) -> Vec<String> {
        let observer = self.world.connect_as("observer");
        observer.subscribes("/app/chat/42/members");
        let answer: serde_json::Value =
            serde_json::from_slice(&observer.message().body).expect("a list of members");
        observer.leaves();
        let members = answer["members"].as_array().expect("a list of members").iter();
        members.filter_map(|member| member["userId"].as_str()).map(str::to_owned).collect()
    }

    fn ends(self) {
        for (person, _) in &self.people {
            if person.is_gone() {
                continue;
            }
            person.vanishes();
        }
        self.world.runs_for(self.linger_ms + 2 * TICK_MS);
        self.world.is_deserted();
    }
}

impl Account {
    /// Its open session has subscribed to the room.
    fn is_here(&self) -> bool {
        self.gone_ms.is_none() && self.rooms().any(|asked| !asked.left)
    }

    /// It was in the room when its connection was cut, and that was less than the linger ago.
    fn lingers(&self, now_ms: u64, linger_ms: u64) -> bool {
        let was_here = self.rooms().any(|asked| !asked.left && asked.active_from.is_some());
        let broken = self.cut && !self.left && !self.stalled;
        broken && was_here && self.gone_ms.is_some_and(|gone_ms| now_ms < gone_ms + linger_ms)
    }

    /// Not known for sure: when a slow one was given up, or whether the last word of one who was cut was read.
    fn may_linger(&self, now_ms: u64, linger_ms: u64) -> bool {
        let recently = |gone_ms| now_ms <= gone_ms + linger_ms + TICK_MS;
        self.gone_ms.is_some_and(recently) && linger_ms > 0 && self.rooms().next().is_some()
    }

    fn rooms(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| asked.name == ROOM)
    }

    /// An event of the room: its version is one more than that of the one before.
    fn follows(&mut self, event: &Frame) {
        let body: serde_json::Value = serde_json::from_slice(&event.body).expect("JSON");
        let version = body["version"].as_u64().expect("a version");
        let subscription = event.headers.get("subscription").unwrap_or("").to_owned();
        let before = self.versions.insert(subscription, version);
        if before.is_some_and(|before| version != before + 1) {
            self.astray = Some(format!("{} heard version {version} after {before:?}", self.name));
        }
    }
}

/// Checks what all clients heard against what was sent.
fn judge(
    accounts: &[&Account],
    sent: &BTreeMap<String, (String, String)>,
    log: &[(String, String)],
) -> Result<(), String> {
    let known: BTreeSet<(&str, &str)> =
        log.iter().map(|(destination, body)| (&**destination, &**body)).collect();
    let accepted: BTreeSet<&str> = accounts
        .iter()
        .flat_map(|account| &account.heard)
        .filter_map(|told| match told {
            Told::Receipt(id) => sent.get(id).map(|(_, body)| &**body),
            Told::Message { .. } => None,
        })
        .collect();
    for account in accounts {
        judge_receipts(account)?;
        judge_deliveries(account, &known)?;
        judge_completeness(account, &accepted, log)?;
    }
    judge_order(accounts)
}

fn judge_receipts(account: &Account) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for told in &account.heard {
        if let Told::Receipt(id) = told
            && !seen.insert(id)
        {
            return Err(format!("{} heard receipt {id} twice", account.name));
        }
    }
    Ok(())
}

fn judge_deliveries(account: &Account, known: &BTreeSet<(&str, &str)>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for told in &account.heard {
        let Told::Message { subscription, destination, body } = told else { continue };
        let asked = account.asked.iter().find(|asked| asked.id == *subscription);
        let wanted = asked.is_some_and(|asked| matches(&asked.name, destination));
        if !wanted || !known.contains(&(destination, body)) {
            return Err(format!(
                "{} heard {destination} {body} by {subscription}, and wanted no such thing",
                account.name
            ));
        }
        if !seen.insert((subscription, body)) {
            return Err(format!("{} heard {body} twice by {subscription}", account.name));
        }
    }
    Ok(())
}

/// Who stayed to the end heard all that was accepted and sent after the RECEIPT of his SUBSCRIBE.
fn judge_completeness(
    account: &Account,
    accepted: &BTreeSet<&str>,
    log: &[(String, String)],
) -> Result<(), String> {
    if account.ended || !account.connected {
        return Ok(());
    }
    for asked in account.asked.iter().filter(|asked| !asked.left) {
        let from =
            asked.active_from.ok_or_else(|| format!("{} heard no receipt of {}", account.name, asked.id))?;
        let heard: BTreeSet<&str> = account
            .heard
            .iter()
            .filter_map(|told| match told {
                Told::Message { subscription, body, .. } if *subscription == asked.id => Some(&**body),
                _ => None,
            })
            .collect();
        let missing = log[from..].iter().find(|(destination, body)| {
            matches(&asked.name, destination) && accepted.contains(&**body) && !heard.contains(&**body)
        });
        if let Some((destination, body)) = missing {
            return Err(format!("{} missed {destination} {body} by {}", account.name, asked.id));
        }
    }
    Ok(())
}

/// Of each destination every subscription heard a part of one order: no two of them disagree about any pair.
fn judge_order(accounts: &[&Account]) -> Result<(), String> {
    let mut follows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for account in accounts {
        let mut last: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for told in &account.heard {
            let Told::Message { subscription, destination, body } = told else { continue };
            let before = last.entry((subscription, destination)).or_default();
            for earlier in before.iter() {
                if follows.get(&**body).is_some_and(|later| later.contains(earlier)) {
                    return Err(format!(
                        "{} heard {earlier} before {body}, somebody else after",
                        account.name
                    ));
                }
                follows.entry(earlier).or_default().insert(body);
            }
            before.push(body);
        }
    }
    Ok(())
}

/// The world's own: what comes due is noticed so much later at most.
const TICK_MS: u64 = 100;

fn matches(name: &str, destination: &str) -> bool {
    if !name.contains('*') {
        return name == destination;
    }
    let Ok(stompede::model::Address::Topic(destination)) = stompede::model::Address::of_send(destination)
    else {
        return false;
    };
    let destination: Destination = destination;
    Pattern::parse(name).is_ok_and(|pattern| pattern.matches(&destination))
}

#[test]
fn whatever_happens_the_promises_hold() {
    let seeds = match std::env::var("STOMPEDE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..300).collect(),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            walk.goes(120);
            walk.judge().unwrap();
            walk.ends();
        });
        if outcome.is_err() {
            panic!("seed {seed} breaks a promise; run it alone with STOMPEDE_SEED={seed}");
        }
    }
}

#[test]
fn the_judge_sees_each_broken_promise() {
    let message = |subscription: &str, body: &str| Told::Message {
        subscription: subscription.to_owned(),
        destination: "/topic/a".to_owned(),
        body: body.to_owned(),
    };
    let account = |heard: Vec<Told>| Account {
        name: "c".to_owned(),
        connected: true,
        asked: vec![Asked {
            id: "s1".to_owned(),
            name: "/topic/*".to_owned(),
            left: false,
            active_from: Some(0),
            at_ms: 0,
        }],
        heard,
        ..Account::default()
    };
    let log = ["1", "2"].map(|body| ("/topic/a".to_owned(), body.to_owned()));
    let sent: BTreeMap<_, _> = log.iter().map(|row| (format!("m{}", row.1), row.clone())).collect();
    let verdict = |accounts: &[Account]| judge(&accounts.iter().collect::<Vec<_>>(), &sent, &log);
    let receipts = || vec![Told::Receipt("m1".to_owned()), Told::Receipt("m2".to_owned())];
    let with = |more: &[Told]| account(receipts().into_iter().chain(more.iter().cloned()).collect());
    let (one, two) = (message("s1", "1"), message("s1", "2"));
    let good = with(&[one.clone(), two.clone()]);
    assert_eq!(verdict(&[good]), Ok(()));
    for (bad, word) in [
        (with(std::slice::from_ref(&one)), "missed"),
        (with(&[one.clone(), two.clone(), two.clone()]), "twice"),
        (with(&[one.clone(), two.clone(), message("s2", "1")]), "wanted no such"),
        (with(&[one.clone(), two.clone(), message("s1", "3")]), "wanted no such"),
        (with(&[one.clone(), two.clone(), Told::Receipt("m1".to_owned())]), "receipt"),
    ] {
        let said = verdict(&[bad]).unwrap_err();
        assert!(said.contains(word), "{said}");
    }
    let said = verdict(&[with(&[one.clone(), two.clone()]), account(vec![two, one])]).unwrap_err();
    assert!(said.contains("somebody else after"), "{said}");
}
