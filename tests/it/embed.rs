//! The broker inside another program.

use std::sync::Arc;
use std::time::Duration;

use stompede::broker::{Broker, Messages};
use stompede::model::{CloseReason, Principal};
use stompede::server::config::{AdminPort, AdminSection};
use stompede::server::{Config, Running, Server};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A server in this process; it ends with the test.
struct Embedded {
    broker: Arc<Broker>,
    stop: Option<oneshot::Sender<()>>,
    waiting: Option<std::thread::JoinHandle<()>>,
}

impl Embedded {
    fn start() -> Self {
        let admin = AdminSection { port: AdminPort::Off, ..AdminSection::default() };
        let config = Config { http_port: 0, stomp_port: 0, admin, workers: 2, ..Config::default() };
        let running: Running = Server::new(config).unwrap().start().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let broker = running.broker();
        let waiting = std::thread::spawn(move || running.wait(async { drop(stopped.await) }).unwrap());
        Self { broker, stop: Some(stop), waiting: Some(waiting) }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.waiting.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the server ended by a panic");
    }
}

async fn body(messages: &mut Messages) -> String {
    let received =
        timeout(DEADLINE, messages.next()).await.expect("a message in time").expect("an open session");
    String::from_utf8(received.body().to_vec()).unwrap()
}

#[tokio::test]
async fn a_program_publishes_and_subscribes_through_the_same_door() {
    let server = Embedded::start();
    let listener = server.broker.connect(Principal::service("reports")).await.unwrap();
    let publisher = server.broker.connect(Principal::service("orders")).await.unwrap();
    let mut orders = listener.subscribe("/topic/orders/*").await.unwrap();
    publisher.publish("/topic/orders/7", &[("x", "a:b\nc")], "paid").await.unwrap();
    let received = timeout(DEADLINE, orders.next()).await.unwrap().unwrap();
    assert_eq!(received.destination(), "/topic/orders/7");
    assert_eq!(received.header("user-name"), Some("orders"));
    assert_eq!(received.header("x"), Some("a:b\nc"));
    assert_eq!(&received.body()[..], b"paid");
}

#[tokio::test]
async fn a_refusal_is_the_answer_of_one_call_and_the_session_goes_on() {
    let server = Embedded::start();
    let alice = server.broker.connect(Principal::user("alice")).await.unwrap();
    let refused = alice.publish("/topic/orders", &[], "x").await.unwrap_err();
    assert_eq!(refused.reason, CloseReason::Forbidden);
    let refused = alice.subscribe("/topic/chat/42").await.unwrap_err();
    assert_eq!(
        (refused.reason, refused.destination.as_deref()),
        (CloseReason::Forbidden, Some("/topic/chat/42"))
    );
    let mut own = alice.subscribe("/user/queue/messages").await.unwrap();
    let service = server.broker.connect(Principal::service("orders")).await.unwrap();
    service.publish("/user/alice/queue/messages", &[], "hello").await.unwrap();
    assert_eq!(body(&mut own).await, "hello");
}

#[tokio::test]
async fn dropped_messages_unsubscribe_and_a_closed_session_leaves_its_rooms() {
    let server = Embedded::start();
    let service = server.broker.connect(Principal::service("watch")).await.unwrap();
    let mut events = service.subscribe("/topic/chat/42").await.unwrap();
    assert!(body(&mut events).await.contains("JOIN"));
    let bob = server.broker.connect(Principal::service("bob")).await.unwrap();
    let room = bob.subscribe("/topic/chat/42").await.unwrap();
    assert!(body(&mut events).await.contains(r#""userId":"bob""#));
    drop(room);
    assert!(body(&mut events).await.contains("LEAVE"));
    let _room = bob.subscribe("/topic/chat/42").await.unwrap();
    assert!(body(&mut events).await.contains("JOIN"));
    bob.close().await;
    assert!(body(&mut events).await.contains("LEAVE"));
}

#[tokio::test]
async fn nobody_connects_to_a_broker_that_does_not_run() {
    let server = Server::new(Config::default()).unwrap();
    let refused = server.broker().connect(Principal::service("x")).await.unwrap_err();
    assert_eq!(refused.reason, CloseReason::Unavailable);
}

const DEADLINE: Duration = Duration::from_secs(20);
