//! Every row of the table of reasons, reached over a WebSocket: the code, the close code and when to come back.

use stompede::broker::Link;
use stompede::model::CloseReason;
use stompede::model::{Refusal, Revocation, Tokens};
use stompede_protocol::{AckMode, HeartBeat};

use crate::line::Heard;
use crate::person::Person;
use crate::world::{Guest, World};

/// How a reason is reached.
enum Way {
    /// Somebody is thrown out with it.
    By(fn() -> Person),
    /// By no way that exists now.
    NotYet(&'static str),
}

fn way(reason: CloseReason) -> Way {
    use Way::{By, NotYet};
    match reason {
        CloseReason::BadFrame => By(|| alice_writes(b"NONSENSE\n\n\0")),
        CloseReason::UnsupportedVersion => By(|| stranger_writes(b"CONNECT\naccept-version:9\nhost:x\n\n\0")),
        CloseReason::LoginTimeout => By(|| {
            let world = World::new();
            let stranger = world.stranger(Link::WebSocket, None);
            world.runs_for(10_200);
            stranger
        }),
        CloseReason::Unauthorized => {
            By(|| stranger_writes(b"CONNECT\naccept-version:1.2\nhost:x\nlogin:a\npasscode:b\n\n\0"))
        }
        CloseReason::TokenExpired => By(|| {
            let world = World::guarded();
            let alice = world.connect(Guest { ttl_s: 5, ..over_websocket("alice") });
            world.runs_for(5_200);
            alice
        }),
        CloseReason::Conflict | CloseReason::NotFound | CloseReason::BadMethod => {
            NotYet("requests over HTTP alone are answered so")
        }
        CloseReason::TokenRevoked => By(|| {
            let world = World::guarded();
            let alice = world.connect(Guest { ttl_s: 60, ..over_websocket("alice") });
            let tokens = Tokens::OfUser("alice".into());
            let revocation = Revocation { tokens, before_s: u64::MAX, until_s: u64::MAX };
            world.broker().revoke(&revocation, Box::new(|kept| assert_eq!(kept, Ok(()))));
            world.runs_for(200);
            alice
        }),
        CloseReason::Forbidden => By(|| {
            let world = World::guarded();
            let alice = world.connect(over_websocket("alice"));
            alice.sends("/topic/a", "x");
            alice
        }),
        CloseReason::BadDestination => By(|| alice_sends(&World::new(), "/nowhere/a", "x")),
        CloseReason::NoHandler => By(|| {
            let world = World::new();
            let alice = world.connect(over_websocket("alice"));
            alice.sends("/app/nobody", "x");
            world.runs_for(10_200);
            alice
        }),
        CloseReason::NoSuchReply => By(|| alice_sends(&World::new(), "/reply-queue/unknown", "x")),
        CloseReason::BadContent => By(|| alice_sends(&World::new(), "/app/chat/42/send", "x")),
        CloseReason::TooLarge => By(|| {
            alice_sends(&World::with(|setup| setup.limits.body_bytes_max = 9), "/topic/a", "0123456789")
        }),
        CloseReason::TooManySubscriptions => By(|| {
            let world = World::with(|setup| setup.limits.subscriptions_max = 1);
            let alice = world.connect(over_websocket("alice"));
            alice.subscribes("/topic/a");
            alice.subscribes("/topic/b");
            alice
        }),
        CloseReason::TooManyUnacked => NotYet("a queue holds back what a consumer may not have"),
        CloseReason::RateLimited => By(|| {
            let world = World::with(|setup| {
                setup.limits.sends_per_second = 1;
                setup.limits.sends_burst = 1;
            });
            let alice = world.connect(over_websocket("alice"));
            alice.sends("/topic/a", "x");
            alice.sends("/topic/a", "x");
            alice
        }),
        CloseReason::TooManyConnections => By(|| {
            let world = World::with(|setup| setup.limits.user_connections_max = 1);
            let _first = world.connect_as("alice");
            world.knock(over_websocket("alice"))
        }),
        CloseReason::QueueFull => {
            By(|| alice_sends(&World::with(|setup| setup.limits.queue_messages_max = 0), "/queue/a", "x"))
        }
        CloseReason::StoreFull => {
            By(|| alice_sends(&World::with(|setup| setup.memory_bytes_max = 9), "/queue/a", "0123456789"))
        }
        CloseReason::SlowConsumer => By(|| {
            let world = World::with(|setup| setup.limits.outbox_bytes_max = 100);
            let alice = world.connect(over_websocket("alice"));
            alice.subscribes_with("/topic/a", AckMode::Client, &[]);
            alice.stalls();
            let bob = world.connect_as("bob");
            bob.sends("/topic/a", &"x".repeat(100));
            world.runs_for(1_500);
            bob.sends("/topic/a", "x");
            alice.resumes();
            alice
        }),
        CloseReason::HeartBeatLost => By(|| {
            let world = World::new();
            let heart_beat = HeartBeat { send_ms: 10_000, receive_ms: 0 };
            let alice = world.connect(Guest { heart_beat, ..over_websocket("alice") });
            alice.freezes();
            world.runs_for(31_000);
            alice
        }),
        CloseReason::Kicked => By(|| alice_is_ended(CloseReason::Kicked)),
        CloseReason::Unavailable => NotYet("the embedded bus is always there"),
        CloseReason::ShuttingDown => By(|| alice_is_ended(CloseReason::ShuttingDown)),
        CloseReason::Internal => By(|| {
            let world = World::with(|setup| setup.random_fails_at = 2);
            let [bob, carol] = [world.connect_as("bob"), world.knock(over_websocket("carol"))];
            bob.subscribes("/topic/a");
            bob.sends("/topic/a", "others do not notice");
            bob.hears(&["/topic/a: others do not notice"]);
            carol
        }),
    }
}

fn over_websocket(name: &str) -> Guest<'_> {
    Guest { link: Link::WebSocket, ..Guest::named(name) }
}

fn alice_sends(world: &World, destination: &str, body: &str) -> Person {
    let alice = world.connect(over_websocket("alice"));
    alice.sends(destination, body);
    alice
}

fn alice_writes(stomp: &[u8]) -> Person {
    let alice = World::new().connect(over_websocket("alice"));
    alice.writes(&crate::wire::ClientFraming::new(Link::WebSocket).wrap(stomp));
    alice
}

fn stranger_writes(stomp: &[u8]) -> Person {
    let stranger = World::new().stranger(Link::WebSocket, None);
    stranger.writes(&crate::wire::ClientFraming::new(Link::WebSocket).wrap(stomp));
    stranger
}

fn alice_is_ended(reason: CloseReason) -> Person {
    let world = World::new();
    let alice = world.connect(over_websocket("alice"));
    world.ends(&alice, &Refusal::from(reason));
    alice
}

#[test]
fn each_reason_is_told_with_its_own_codes() {
    let mut not_yet = Vec::new();
    for reason in CloseReason::ALL {
        let act = match way(reason) {
            Way::By(act) => act,
            Way::NotYet(why) => {
                assert!(!why.is_empty());
                not_yet.push(reason);
                continue;
            }
        };
        let heard = act().heard();
        let [.., Heard::Error(error), Heard::End(code)] = &heard[..] else { panic!("{reason}: {heard:?}") };
        let said = |name| error.headers.get(name);
        assert_eq!(
            (said("error-code"), *code),
            (Some(reason.code()), Some(reason.row().websocket)),
            "{reason}"
        );
        assert!(said("message").is_some_and(|message| !message.is_empty()), "{reason}");
        if reason != CloseReason::RateLimited {
            let expected = Refusal::from(reason).retry_after_value();
            assert_eq!(said("retry-after"), expected.as_deref(), "{reason}");
        }
    }
    use CloseReason::{BadMethod, Conflict, NotFound, TooManyUnacked, Unavailable};
    assert_eq!(not_yet, [TooManyUnacked, Conflict, NotFound, BadMethod, Unavailable]);
}
