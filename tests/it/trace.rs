//! Distributed tracing: what a publisher says of its trace (W3C Trace Context) reaches everybody who gets the message.

use crate::metrics::get;
use crate::process::Broker;
use crate::redis::RedisServer;
use crate::served::DEADLINE;
use crate::visitor::{Told, Visitor};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=a,other=b";

#[track_caller]
fn accepted(told: &Told) {
    assert_eq!(told.command, "RECEIPT", "{told:?}");
}

/// Says `body` at `destination` as part of the trace.
#[track_caller]
fn say(visitor: &mut Visitor, destination: &str, body: &str) {
    let head = format!("{destination}\ntraceparent:{TRACE}\ntracestate:{STATE}");
    accepted(&visitor.send(&head, body));
}

#[track_caller]
fn traced(message: &Told) {
    assert_eq!((message.header("traceparent"), message.header("tracestate")), (TRACE, STATE), "{message:?}");
}

/// `alice` says something everywhere on one instance; `bob` hears it on another, or the same.
fn a_trace_goes_on(alice: &Broker, bob: &Broker) {
    let mut listener = Visitor::new(&bob.stomp, "bob");
    for destination in ["/topic/news/*", "/topic/chat/7", "/user/queue/mail", "/queue/jobs"] {
        accepted(&listener.subscribe(destination, ""));
    }
    let mut speaker = Visitor::new(&alice.stomp, "alice");
    let chat = r#"{"type":"TEXT","content":"hello"}"#;
    for (destination, body) in [
        ("/topic/news/a", "news"),
        ("/app/chat/7/send", chat),
        ("/topic/chat/7", "straight"),
        ("/user/bob/queue/mail", "mail"),
        ("/queue/jobs", "job"),
    ] {
        say(&mut speaker, destination, body);
        let message = listener.message();
        assert!(message.body.contains(if body == chat { "hello" } else { body }), "{message:?}");
        traced(&message);
    }
    let mut late = Visitor::new(&bob.stomp, "late");
    accepted(&late.subscribe("/topic/chat/7", "\nstompede-history:10"));
    for _ in 0..2 {
        traced(&late.message());
    }
    accepted(&speaker.send("/topic/news/b", "untraced"));
    assert_eq!(listener.message().header("traceparent"), "");
}

#[test]
fn what_a_publisher_says_of_its_trace_reaches_all_who_get_the_message_kept_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    a_trace_goes_on(&broker, &broker);
}

#[test]
fn a_trace_survives_a_restart_with_what_is_kept_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let arguments = ["--data", data.to_str().unwrap()];
    let broker = Broker::start(directory.path(), &arguments);
    let mut alice = Visitor::new(&broker.stomp, "alice");
    say(&mut alice, "/topic/chat/7", "kept");
    say(&mut alice, "/queue/jobs", "job");
    broker.stop();
    let broker = Broker::start(directory.path(), &arguments);
    let mut bob = Visitor::new(&broker.stomp, "bob");
    accepted(&bob.subscribe("/topic/chat/7", "\nstompede-history:10"));
    traced(&bob.message());
    accepted(&bob.subscribe("/queue/jobs", ""));
    traced(&bob.message());
}

#[test]
fn a_trace_goes_through_redis_to_another_instance() {
    let redis = RedisServer::start();
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let brokers =
        directories.each_ref().map(|directory| Broker::start(directory.path(), &["--redis", &redis.url()]));
    let deadline = std::time::Instant::now() + DEADLINE;
    for broker in &brokers {
        while !get(&broker.admin, "/readyz").0.starts_with("HTTP/1.1 200 ") {
            assert!(std::time::Instant::now() < deadline, "it does not become ready");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    a_trace_goes_on(&brokers[0], &brokers[1]);
}
