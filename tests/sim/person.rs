//! Somebody with a client: the verbs of the conversations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stompede_protocol::{AckMode, Client, Frame};

use crate::line::{Heard, Line};
use crate::world::Core;

pub(crate) struct Person {
    core: Rc<RefCell<Core>>,
    at: usize,
    subscriptions: Cell<u32>,
}

impl Person {
    pub(crate) fn new(core: Rc<RefCell<Core>>, at: usize) -> Self {
        Self { core, at, subscriptions: Cell::new(0) }
    }

    pub(crate) fn line<R>(&self, act: impl FnOnce(&mut Line) -> R) -> R {
        act(&mut self.core.borrow_mut().lines[self.at])
    }

    /// Its place among the lines of the world.
    pub(crate) fn number(&self) -> usize {
        self.at
    }

    pub(crate) fn place(&self, core: &Core) -> (usize, u32) {
        let line = &core.lines[self.at];
        (line.shard, line.id.slot)
    }

    /// Anything the client can say; the world goes on afterwards.
    pub(crate) fn says(&self, say: impl FnOnce(&mut Client)) {
        self.line(|line| {
            say(&mut line.client);
            line.transmits();
        });
        self.core.borrow_mut().settle();
    }

    /// Bytes as they are.
    pub(crate) fn writes(&self, bytes: &[u8]) {
        self.line(|line| line.writes(bytes));
        self.core.borrow_mut().settle();
    }

    /// SUBSCRIBE in auto mode; ids are `s1`, `s2` and so on.
    pub(crate) fn subscribes(&self, destination: &str) -> String {
        self.subscribes_with(destination, AckMode::Auto, &[])
    }

    pub(crate) fn subscribes_with(
        &self,
        destination: &str,
        ack: AckMode,
        headers: &[(&str, &str)],
    ) -> String {
        self.subscriptions.set(self.subscriptions.get() + 1);
        let id = format!("s{}", self.subscriptions.get());
        self.says(|client| client.subscribe(&id, destination, ack, headers));
        id
    }

    pub(crate) fn unsubscribes(&self, id: &str) {
        self.says(|client| client.unsubscribe(id, &[]));
    }

    pub(crate) fn sends(&self, destination: &str, body: &str) {
        self.sends_with(destination, &[], body);
    }

    pub(crate) fn sends_with(&self, destination: &str, headers: &[(&str, &str)], body: &str) {
        self.says(|client| client.send(destination, headers, body.to_owned()));
    }

    pub(crate) fn acks(&self, message: &Frame) {
        self.says(|client| client.ack(message, &[]));
    }

    pub(crate) fn nacks(&self, message: &Frame) {
        self.says(|client| client.nack(message, &[]));
    }

    /// DISCONNECT, with the receipt `bye`.
    pub(crate) fn leaves(&self) {
        self.says(|client| client.disconnect(Some("bye")));
    }

    /// The connection breaks without a word.
    pub(crate) fn vanishes(&self) {
        let mut core = self.core.borrow_mut();
        let now = core.now();
        let Core { lines, shards, .. } = &mut *core;
        lines[self.at].breaks(shards, now);
        core.settle();
    }

    /// The client closes its sending side.
    pub(crate) fn hangs_up(&self) {
        self.line(Line::closes);
        self.core.borrow_mut().settle();
    }

    /// The socket takes no byte any more.
    pub(crate) fn stalls(&self) {
        self.line(Line::stalls);
    }

    /// The socket takes `bytes` more.
    pub(crate) fn takes(&self, bytes: usize) {
        self.line(|line| line.makes_room(Some(bytes)));
        self.core.borrow_mut().settle();
    }

    /// The socket takes everything again.
    pub(crate) fn resumes(&self) {
        self.line(|line| line.makes_room(None));
        self.core.borrow_mut().settle();
    }

    pub(crate) fn freezes(&self) {
        self.line(|line| line.frozen = true);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.core.borrow().lines[self.at].is_gone()
    }

    /// Everything heard since the last question.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.line(Line::take_heard)
    }

    /// What was heard since the last question, each in a few words; see [`words`].
    #[track_caller]
    pub(crate) fn hears(&self, expected: &[&str]) {
        let heard: Vec<String> = self.heard().iter().map(words).collect();
        assert_eq!(heard, expected);
    }

    /// The messages heard since the last question; nothing else may be among them.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<Frame> {
        let message = |heard| match heard {
            Heard::Message(frame) => frame,
            other => panic!("heard {}", words(&other)),
        };
        self.heard().into_iter().map(message).collect()
    }

    /// The messages heard since the last question; what else was heard is passed over.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let message = |heard| match heard {
            Heard::Message(frame) => Some(frame),
            _ => None,
        };
        self.heard().into_iter().filter_map(message).collect()
    }

    /// What came of a stream of events since the last question.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.line(|line| std::mem::take(&mut line.told))).expect("text")
    }

    /// The same, one line for each event: `<name> <data>`.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let of = |block: &str, field: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(field));
            values.collect::<Vec<_>>().join("/")
        };
        let blocks = text.split_terminator("\n\n");
        blocks.map(|block| format!("{} {}", of(block, "event: "), of(block, "data: "))).collect()
    }

    /// The one message heard since the last question.
    #[track_caller]
    pub(crate) fn message(&self) -> Frame {
        let messages = self.messages();
        let [message] = <[Frame; 1]>::try_from(messages).expect("one message");
        message
    }

    /// The one ERROR heard since the last question; then the connection has ended.
    #[track_caller]
    pub(crate) fn error(&self) -> Frame {
        let heard = self.heard();
        let (Some(Heard::End(_)), true) = (heard.last(), self.is_gone()) else {
            panic!("no end: {:?}", heard.iter().map(words).collect::<Vec<_>>())
        };
        let mut errors = heard.into_iter().filter_map(|heard| match heard {
            Heard::Error(frame) => Some(frame),
            _ => None,
        });
        errors.next().expect("an ERROR")
    }

    /// Was refused with this code and a text that has `part`, and was closed.
    #[track_caller]
    pub(crate) fn is_thrown_out(&self, code: &str, part: &str) {
        let error = self.error();
        let message = error.headers.get("message").unwrap_or_default();
        assert_eq!(error.headers.get("error-code"), Some(code), "{message}");
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// The body of a message as text.
pub(crate) fn body(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.body).into_owned()
}

/// The bodies of messages as texts.
pub(crate) fn bodies(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(body).collect()
}

/// `<destination>: <body>`, `RECEIPT <id>`, `ERROR <code>`, `END <close code>`; of an event of a room
/// `<destination> <event> <user or count>`.
pub(crate) fn words(heard: &Heard) -> String {
    match heard {
        Heard::Connected(_) => "CONNECTED".to_owned(),
        Heard::Receipt(id, _) => format!("RECEIPT {id}"),
        Heard::Error(frame) => format!("ERROR {}", frame.headers.get("error-code").unwrap_or("")),
        Heard::End(None) => "END".to_owned(),
        Heard::End(Some(code)) => format!("END {code}"),
        Heard::Message(frame) => {
            let destination = frame.headers.get("destination").unwrap_or("");
            let body = String::from_utf8_lossy(&frame.body);
            match frame.headers.get("event") {
                Some(event) => format!("{destination} {event} {}", subject(&body)),
                None => format!("{destination}: {body}"),
            }
        }
    }
}

/// Whom or how many an event is about, or which refusal.
fn subject(body: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let named = ["userId", "count", "code"].iter().find_map(|field| event.get(field));
    match named {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => body.to_owned(),
    }
}
