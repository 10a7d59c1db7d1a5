//! `stompede smoke`: whether a deployment works, seen from outside.

use std::time::{Instant, SystemTime};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use stompede_protocol::{AckMode, ClientEvent, Frame};

use super::client::{ConnectArguments, Link, get};
use super::{CliError, print};

/// What to try, and as whom.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stompede smoke --url ws://localhost:8080/ws\n  \
    stompede smoke --url wss://chat.example.com/ws --token @token --room 42\n  \
    stompede smoke --url stomp://10.0.0.7:61613 --login probe --passcode ... --skip history\n\n\
    One line for each check; exit code 0 when all have passed. It leaves one message in the room.")]
pub(super) struct SmokeArguments {
    /// The room in which is spoken; whoever the login or token names must be allowed there
    #[arg(long, value_name = "ROOM", default_value = "smoke")]
    room: String,
    /// A check that is left out; may be given several times
    #[arg(long, value_name = "CHECK")]
    skip: Vec<Check>,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// In the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// /healthz and /readyz say yes; needs a ws:// or wss:// URL
    Health,
    /// The login or token is accepted
    Token,
    /// The room can be subscribed
    Room,
    /// A message to it is confirmed
    Send,
    /// Another session gets it
    Receive,
    /// It is kept for those who come later
    History,
    /// The room's members are listed
    Presence,
}

/// What the checks have come to; each is told at once.
struct Report<'a> {
    skip: &'a [Check],
    passed: usize,
    failed: usize,
    /// The first that is not told yet.
    next: usize,
}

/// Makes all checks, and tells of each.
pub(super) fn smoke(arguments: &SmokeArguments) -> Result<(), CliError> {
    let begun = Instant::now();
    let mut report = Report { skip: &arguments.skip, passed: 0, failed: 0, next: 0 };
    // What follows does not need it, and may say more.
    report.make(Check::Health, || health(&arguments.connect));
    let mut sessions = None;
    report.make(Check::Token, || {
        let (listener, speaker) = (Link::open(&arguments.connect)?, Link::open(&arguments.connect)?);
        let user = listener.user().map_or("not signed in".to_owned(), |user| format!("accepted as {user}"));
        sessions = Some((listener, speaker));
        Ok(user)
    });
    if let Some((mut listener, mut speaker)) = sessions {
        // A session that was refused something has ended.
        if talk(&mut report, &arguments.room, &mut listener, &mut speaker).is_some() {
            listener.close();
            speaker.close();
        }
    }
    report.finish(begun)
}

/// What two sessions do in a room; nothing when a check has failed that the others need.
fn talk(report: &mut Report<'_>, room: &str, listener: &mut Link, speaker: &mut Link) -> Option<()> {
    let topic = format!("/topic/chat/{room}");
    let said = said();
    report.make(Check::Room, || {
        listener.client().subscribe("room", &topic, AckMode::Auto, &[("receipt", "room")]);
        listener.receipt("room", |_| {})?;
        Ok(format!("{topic} is subscribed"))
    })?;
    report.make(Check::Send, || {
        let body = json!({"type": "TEXT", "content": said}).to_string();
        let headers = [("content-type", "application/json"), ("receipt", "said")];
        speaker.client().send(&format!("/app/chat/{room}/send"), &headers, body.into_bytes());
        speaker.receipt("said", |_| {})?;
        Ok("confirmed".to_owned())
    })?;
    report.make(Check::Receive, || {
        listener.expect("message", |event| match event {
            ClientEvent::Message(message) if says(&message, &said) => Some(()),
            _ => None,
        })?;
        Ok("by the other session".to_owned())
    })?;
    report.make(Check::History, || history(speaker, &topic, &said))?;
    report.make(Check::Presence, || presence(speaker, room))
}

fn health(connect: &ConnectArguments) -> Result<String, CliError> {
    for (path, what) in [("/healthz", "not healthy"), ("/readyz", "not ready")] {
        let Some(answer) = get(connect, path)? else {
            return Ok("no HTTP at this URL: a ws:// or wss:// URL tries it".to_owned());
        };
        if answer.status != 200 {
            let words = answer.body.escape_debug();
            return Err(CliError::Failed(format!("{what}: {path} says {} {words}", answer.status)));
        }
    }
    Ok("healthy and ready".to_owned())
}

/// Whoever comes now is given what was said.
fn history(session: &mut Link, topic: &str, said: &str) -> Result<String, CliError> {
    let headers = [("receipt", "history"), ("stompede-history", "1")];
    session.client().subscribe("history", topic, AckMode::Auto, &headers);
    let mut is_there = false;
    let is_kept = session.expect("receipt", |event| match event {
        ClientEvent::Receipt(id, headers) if *id == *"history" => {
            Some(headers.get("stompede-position").is_some())
        }
        ClientEvent::Message(message) => {
            is_there |= says(&message, said);
            None
        }
        _ => None,
    })?;
    if !is_kept {
        let words = "the room keeps no messages ([[destination]] history); --skip history if it is meant to";
        return Err(CliError::Failed(words.to_owned()));
    }
    if !is_there {
        session.expect("message out of the history", |event| match event {
            ClientEvent::Message(message) if says(&message, said) => Some(()),
            _ => None,
        })?;
    }
    Ok("kept for those who come later".to_owned())
}

/// Whoever asks is told who is in the room, and we are.
fn presence(session: &mut Link, room: &str) -> Result<String, CliError> {
    let members = format!("/app/chat/{room}/members");
    session.client().subscribe("members", &members, AckMode::Auto, &[]);
    let answer = session.expect("list of members", |event| match event {
        ClientEvent::Message(message) if message.headers.get("subscription") == Some("members") => {
            Some(serde_json::from_slice::<Value>(&message.body))
        }
        _ => None,
    })?;
    let answer =
        answer.map_err(|error| CliError::Failed(format!("the list of members is no JSON: {error}")))?;
    let listed = answer["members"].as_array().map_or(&[][..], Vec::as_slice);
    let count = answer["count"].as_u64().unwrap_or(0);
    let is_there = |user: &str| listed.iter().any(|member| member["userId"] == user);
    let is_whole = answer["next"].is_null();
    match session.user() {
        Some(user) if is_whole && !is_there(user) => {
            Err(CliError::Failed(format!("{count} are present, and {user} is not among them")))
        }
        _ => Ok(format!("{count} present")),
    }
}

impl Report<'_> {
    /// Makes a check unless it is to be left out. Nothing when it failed.
    fn make(&mut self, check: Check, make: impl FnOnce() -> Result<String, CliError>) -> Option<()> {
        self.next = check as usize + 1;
        // Without a session there is nothing to try.
        if self.skip.contains(&check) && check != Check::Token {
            tell("skipped", check, "", "as it was asked for");
            return Some(());
        }
        let start = Instant::now();
        let made = make();
        let took = format!("{} ms", start.elapsed().as_millis());
        match made {
            Ok(words) => {
                self.passed += 1;
                tell("ok", check, &took, &words);
                Some(())
            }
            Err(error) => {
                self.failed += 1;
                tell("FAILED", check, &took, &error.to_string());
                None
            }
        }
    }

    fn finish(self, begun: Instant) -> Result<(), CliError> {
        let Self { passed, failed, next, .. } = self;
        let untried = Check::value_variants().get(next..).unwrap_or_default();
        untried.iter().for_each(|check| tell("-", *check, "", "not tried"));
        if failed > 0 {
            let untried = untried.len();
            return Err(CliError::Failed(format!("{failed} failed, {passed} passed, {untried} not tried")));
        }
        let took = begun.elapsed().as_millis();
        print(&format!("{passed} checks passed in {took} ms")).map_err(CliError::failed)
    }
}

/// A text that nobody else says.
fn said() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("stompede smoke {}-{}", now.as_nanos(), std::process::id())
}

fn says(message: &Frame, said: &str) -> bool {
    let body = serde_json::from_slice::<Value>(&message.body);
    body.is_ok_and(|body| body["content"] == said)
}

/// A line of a check.
fn tell(result: &str, check: Check, took: &str, words: &str) {
    let name = check.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    // Who reads no further still gets the exit code.
    let _ = print(&format!("{result:<8}{name:<10}{took:>9}  {words}"));
}
