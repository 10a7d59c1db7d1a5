//! A broker with a data directory, over its ends: asked for, by a crash, by a full disk.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stompede::server::Config;

use crate::process::Broker;
use crate::served::{DEADLINE, Served};
use crate::visitor::{Told, Visitor};

/// A broker whose data are in `directory`, with some more configuration.
fn start(directory: &Path, config: &str) -> Broker {
    let (file, data) = (directory.join("stompede.toml"), directory.join("data"));
    std::fs::write(&file, config).unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--data", data.to_str().unwrap()];
    Broker::start(directory, &arguments)
}

/// What a broker on `data` says that cannot start.
fn refused(data: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
    command.args(["serve", "--http-port", "0", "--stomp-port", "0", "--admin-port", "0", "--data"]);
    command.arg(data).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > DEADLINE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot open the data directory: "), "{text}");
    text
}

fn get(broker: &Broker, path: &str) -> String {
    let mut stream = TcpStream::connect(&broker.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn accepted(answer: &Told) {
    assert_eq!(answer.command, "RECEIPT", "{answer:?}");
}

#[track_caller]
fn store_full(answer: &Told) {
    assert_eq!((answer.command.as_str(), answer.header("error-code")), ("ERROR", "store-full"), "{answer:?}");
}

fn json_of(message: &Told) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

/// Says something in room 42.
fn say(visitor: &mut Visitor, content: &str) {
    let body = json!({"type": "TEXT", "content": content}).to_string();
    accepted(&visitor.send("/app/chat/42/send", &body));
}

/// A room, a member with one message read and two unread, a note for one who is away, a queue with its first job done: all of
/// it is there again after `end`.
fn everything_is_there_after(end: impl FnOnce(Broker), config: &str) {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[[destination]]\npattern = \"/user/queue/notes\"\noffline = {{}}\n{config}");
    let broker = start(directory.path(), &config);
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.subscribe("/topic/chat/42", ""));
    let mut bob = Visitor::new(&broker.stomp, "bob");
    for content in ["one", "two", "three"] {
        say(&mut bob, content);
    }
    let before = [alice.message(), alice.message(), alice.message()];
    let first = json_of(&before[0])["offset"].as_u64().unwrap();
    accepted(&alice.send("/app/chat/42/read", &json!({"offset": first}).to_string()));
    accepted(&bob.send("/user/carol/queue/notes", "see me"));
    for job in ["job 1", "job 2", "job 3"] {
        accepted(&bob.send("/queue/jobs", job));
    }
    let mut worker = Visitor::new(&broker.stomp, "guest");
    accepted(&worker.subscribe("/queue/jobs", "\nack:client-individual\nprefetch-count:1"));
    let job = worker.message();
    assert_eq!(job.body, "job 1");
    worker.acknowledge(&job);
    end(broker);

    let broker = start(directory.path(), &config);
    assert!(get(&broker, "/api/v1/info").contains(r#""store":"disk""#));
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.subscribe("/app/chat/unread", ""));
    assert_eq!(json_of(&alice.message()), json!({"rooms": [{"chatRoomId": "42", "unread": 2}]}));
    let since = format!("\nstompede-since:{}", before[0].header("stompede-position"));
    let answer = alice.subscribe("/topic/chat/42", &since);
    assert_eq!(answer.header("stompede-recovered"), "true", "{answer:?}");
    for known in &before[1..] {
        let again = alice.message();
        assert_eq!(again.body, known.body);
        for header in ["stompede-position", "message-id", "timestamp", "user-name"] {
            assert_eq!(again.header(header), known.header(header), "{header}");
        }
    }
    let mut bob = Visitor::new(&broker.stomp, "bob");
    say(&mut bob, "four");
    let fourth = alice.message();
    assert_eq!(json_of(&fourth)["content"], "four");
    assert_eq!(json_of(&fourth)["offset"], first + 3, "offsets go on");
    assert!(before.iter().all(|message| message.header("message-id") != fourth.header("message-id")));
    let mut carol = Visitor::new(&broker.stomp, "carol");
    accepted(&carol.subscribe("/user/queue/notes", ""));
    assert_eq!(carol.message().body, "see me");
    let mut worker = Visitor::new(&broker.stomp, "guest");
    accepted(&worker.subscribe("/queue/jobs", "\nack:client-individual"));
    assert_eq!([worker.message().body, worker.message().body], ["job 2", "job 3"]);
}

#[test]
fn everything_is_there_after_an_orderly_end() {
    everything_is_there_after(Broker::stop, "");
}

#[test]
fn everything_is_there_after_a_crash() {
    // Dropped, it is killed.
    everything_is_there_after(drop, "");
}

#[test]
fn a_crash_loses_nothing_even_where_only_a_loss_of_power_would() {
    everything_is_there_after(drop, "[data]\nfsync = \"interval\"\ninterval_ms = 60000\n");
}

/// One who sends numbers to a destination, some of them ahead of their receipts.
struct Repeater {
    name: String,
    destination: String,
    sent: usize,
    receipted: usize,
}

impl Repeater {
    /// Two of them send to each destination.
    fn new(number: usize) -> Self {
        let place = ["/topic/chat/a", "/queue/a", "/topic/chat/b", "/queue/b"][number % 4];
        Self { name: format!("sender{number}"), destination: place.to_owned(), sent: 0, receipted: 0 }
    }

    fn frame(&self, number: usize) -> String {
        let Self { name, destination, .. } = self;
        format!(
            "SEND\ndestination:{destination}\nidempotency-key:{name} {number}\nreceipt:{number}\n\n{name} {number}\0"
        )
    }

    /// Sends until the connection breaks; tells of each receipt.
    fn send_to_the_end(mut self, broker: &str, told: &Sender<()>) -> Self {
        let mut visitor = Visitor::new(broker, &self.name);
        loop {
            while self.sent < SENDS_MAX && self.sent < self.receipted + AHEAD {
                // What could not be written may have gone in part, and counts as sent.
                self.sent += 1;
                if !visitor.write(&self.frame(self.sent - 1)) {
                    break;
                }
            }
            let Some(receipt) = visitor.read() else { return self };
            assert_eq!(receipt.header("receipt-id"), self.receipted.to_string(), "{receipt:?}");
            self.receipted += 1;
            let _ = told.send(());
        }
    }

    /// Sends what has no receipt once more.
    fn repeat(&self, broker: &str) {
        let mut visitor = Visitor::new(broker, &self.name);
        for number in self.receipted..self.sent {
            assert!(visitor.write(&self.frame(number)));
            let receipt = visitor.read().unwrap();
            assert_eq!(receipt.header("receipt-id"), number.to_string(), "{receipt:?}");
        }
    }
}

#[test]
fn what_was_confirmed_before_a_crash_is_there_in_order_and_what_is_repeated_comes_once() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "");
    let (tell, told) = channel();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (address, tell) = (broker.stomp.clone(), tell.clone());
            std::thread::spawn(move || Repeater::new(number).send_to_the_end(&address, &tell))
        })
        .collect();
    for _ in 0..1_000 {
        told.recv_timeout(DEADLINE).unwrap();
    }
    drop(broker);
    let senders: Vec<Repeater> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (sent, receipted) = senders.iter().fold((0, 0), |(s, r), one| (s + one.sent, r + one.receipted));
    assert!(receipted < sent, "the crash came too late: {receipted} of {sent}");

    let broker = start(directory.path(), "");
    for sender in &senders {
        sender.repeat(&broker.stomp);
    }
    let mut next: HashMap<String, usize> = HashMap::new();
    for destination in ["/topic/chat/a", "/topic/chat/b", "/queue/a", "/queue/b"] {
        let mut reader = Visitor::new(&broker.stomp, "guest");
        let headers = if destination.starts_with("/topic") { "\nstompede-history:1000" } else { "" };
        accepted(&reader.subscribe(destination, headers));
        accepted(&reader.send(destination, "end"));
        loop {
            let message = reader.message();
            if message.body == "end" {
                break;
            }
            let (sender, number) = message.body.split_once(' ').unwrap();
            let expected = next.entry(sender.to_owned()).or_default();
            assert_eq!(number, expected.to_string(), "of {sender} in {destination}");
            *expected += 1;
        }
    }
    for sender in &senders {
        assert_eq!(next.get(&sender.name), Some(&sender.sent), "of {}", sender.name);
    }
}

#[test]
fn a_second_process_is_refused_by_name_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "");
    let text = refused(&directory.path().join("data"));
    assert!(text.contains(&format!("in use by process {}", broker.child.id())), "{text}");
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.send("/queue/a", "x"));
    accepted(&alice.send("/topic/chat/1", "x"));
    broker.stop();
    start(directory.path(), "").stop();
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    start(directory.path(), "").stop();
    let file = directory.path().join("data/stompede.store");
    let text = std::fs::read_to_string(&file).unwrap();
    let newer =
        |line: &str| if line.starts_with("format ") { "format 99\n".into() } else { format!("{line}\n") };
    std::fs::write(&file, text.lines().map(newer).collect::<String>()).unwrap();
    let text = refused(&directory.path().join("data"));
    assert!(text.contains("format 99") && text.contains("newer"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_had_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = refused(file.path());
    assert!(text.contains(file.path().to_str().unwrap()), "{text}");
}

#[test]
fn with_too_little_free_space_it_takes_nothing_and_gives_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "");
    assert!(get(&broker, "/readyz").starts_with("HTTP/1.1 200 "));
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.subscribe("/topic/chat/1", ""));
    accepted(&alice.send("/topic/chat/1", "kept"));
    broker.stop();

    let broker = start(directory.path(), "[data]\nfree_bytes_min = \"8000000GiB\"\ninterval_ms = 10\n");
    let begin = Instant::now();
    let answer = loop {
        let answer = get(&broker, "/readyz");
        if answer.starts_with("HTTP/1.1 503 ") {
            break answer;
        }
        assert!(begin.elapsed() < DEADLINE, "it stays ready: {answer}");
    };
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["ready"], false);
    assert!(body["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{body}");
    assert!(get(&broker, "/healthz").starts_with("HTTP/1.1 200 "), "there is no use in starting it again");
    for destination in ["/topic/chat/1", "/app/chat/1/send", "/queue/a"] {
        let mut alice = Visitor::new(&broker.stomp, "alice");
        store_full(&alice.send(destination, r#"{"type":"TEXT","content":"x"}"#));
    }
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.send("/topic/news", "what is not kept goes on"));
    let answer = alice.subscribe("/topic/chat/1", "\nstompede-history:10");
    assert_eq!(answer.header("stompede-recovered"), "true", "{answer:?}");
    assert_eq!(alice.message().body, "kept");
}

#[test]
fn a_store_keeps_no_more_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), "[data]\nbytes_max = \"1MiB\"\ninterval_ms = 10\n");
    let body = "x".repeat(16 << 10);
    let mut alice = Visitor::new(&broker.stomp, "alice");
    let mut kept = 0;
    let refusal = loop {
        let answer = alice.send(&format!("/topic/chat/{}", kept % 4), &body);
        if answer.command == "ERROR" {
            break answer;
        }
        kept += 1;
        assert!(kept < 256, "four times what it may keep");
    };
    store_full(&refusal);
    assert!(kept >= 32, "it is full with {kept} messages of 16 KiB");
    let mut alice = Visitor::new(&broker.stomp, "alice");
    store_full(&alice.send("/queue/a", &body));
    let mut alice = Visitor::new(&broker.stomp, "alice");
    accepted(&alice.subscribe("/topic/chat/0", "\nstompede-history:1"));
    assert_eq!(alice.message().body, body);
}

#[tokio::test]
async fn a_program_may_end_its_broker_and_start_it_again() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let config: Config = serde_json::from_value(json!({"data": {"dir": directory.path()}})).unwrap();
        let server = Served::start(config);
        assert!(server.get("/api/v1/info").await.contains(r#""store":"disk""#));
    }
}

/// Of one sender; two of them fit into the history of a room.
const SENDS_MAX: usize = 450;

/// SENDs of one connection that have no RECEIPT yet.
const AHEAD: usize = 32;
