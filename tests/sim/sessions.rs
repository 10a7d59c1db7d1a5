//! A session from CONNECT to its end: receipts, refusals, tokens, signs of life.

use std::collections::BTreeMap;

use stompede::broker::Link;
use stompede::model::{CloseReason, Principal, Refusal};
use stompede::policy::accounts::AccountRole;
use stompede::policy::{AccountConfig, Secret};
use stompede_protocol::{AckMode, HeartBeat, Version};

use crate::line::Heard;
use crate::world::{Guest, World};

#[test]
fn connected_says_who_and_what() {
    let world = World::new();
    let alice = world.knock(Guest::named("alice"));
    let heard = alice.heard();
    let [Heard::Connected(connected)] = &heard[..] else { panic!("{heard:?}") };
    let said = |name| connected.headers.get(name);
    assert_eq!(said("version"), Some("1.2"));
    assert_eq!(said("server"), Some("stompede/test"));
    assert_eq!(said("user-name"), Some("alice"));
    assert_eq!(said("heart-beat"), Some("10000,10000"));
    assert_eq!(said("session").map(str::len), Some(32));
}

#[test]
fn every_frame_that_asks_gets_its_receipt_in_order() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.writes(
        b"SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\nreceipt:subscribe\n\n\0\
          SEND\ndestination:/queue/a\nreceipt:send\n\nx\0\
          BEGIN\ntransaction:t\nreceipt:begin\n\n\0\
          COMMIT\ntransaction:t\nreceipt:commit\n\n\0\
          BEGIN\ntransaction:t\nreceipt:begin2\n\n\0\
          ABORT\ntransaction:t\nreceipt:abort\n\n\0",
    );
    let heard = alice.heard();
    let receipts: Vec<_> =
        heard.iter().filter(|h| matches!(h, Heard::Receipt(..))).map(crate::person::words).collect();
    let expected = ["subscribe", "send", "begin", "commit", "begin2", "abort"];
    assert_eq!(receipts, expected.map(|id| format!("RECEIPT {id}")));
    let Some(Heard::Message(message)) = heard.iter().find(|h| matches!(h, Heard::Message(_))) else {
        panic!()
    };
    alice.says(|client| client.ack(message, &[("receipt", "ack")]));
    alice.says(|client| client.unsubscribe("1", &[("receipt", "unsubscribe")]));
    alice.leaves();
    alice.hears(&["RECEIPT ack", "RECEIPT unsubscribe", "RECEIPT bye", "END"]);
    world.is_deserted();
}

#[test]
fn frames_cut_anywhere_are_the_same_conversation() {
    for link in [Link::Stream, Link::WebSocket, Link::SockJs, Link::SockJsRequests] {
        for piece in [1, 2, 7, 64] {
            let world = World::new();
            let alice = world.connect(Guest { link, ..Guest::named("alice") });
            alice.line(|line| line.piece_bytes = piece);
            alice.subscribes("/topic/a");
            for n in 0..5 {
                alice.sends("/topic/a", &n.to_string());
            }
            alice.hears(&["/topic/a: 0", "/topic/a: 1", "/topic/a: 2", "/topic/a: 3", "/topic/a: 4"]);
            alice.leaves();
            let end = if link == Link::Stream { "END" } else { "END 1000" };
            alice.hears(&["RECEIPT bye", end]);
        }
    }
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/a");
    alice.says(|client| client.begin("t", &[]));
    for body in ["1", "2"] {
        alice.sends_with("/topic/a", &[("transaction", "t"), ("receipt", body)], body);
    }
    alice.hears(&[]);
    bob.hears(&[]);
    alice.says(|client| client.commit("t", &[("receipt", "c")]));
    alice.hears(&["RECEIPT 1", "RECEIPT 2", "RECEIPT c"]);
    bob.hears(&["/topic/a: 1", "/topic/a: 2"]);
    alice.says(|client| client.begin("t", &[]));
    alice.sends_with("/topic/a", &[("transaction", "t"), ("receipt", "never")], "3");
    alice.says(|client| client.abort("t", &[("receipt", "a")]));
    alice.hears(&["RECEIPT a"]);
    bob.hears(&[]);
}

#[test]
fn a_transaction_with_one_refused_frame_publishes_nothing() {
    let world = World::with(|setup| setup.limits.queue_messages_max = 1);
    let bob = world.connect_as("bob");
    bob.subscribes("/topic/a");
    for (destination, code) in
        [("/topic/a/*", "bad-destination"), ("/queue/full", "queue-full"), ("/app/none", "no-handler")]
    {
        let alice = world.connect_as("alice");
        alice.says(|client| client.begin("t", &[]));
        alice.sends_with("/topic/a", &[("transaction", "t"), ("receipt", "1")], "1");
        alice.sends_with(destination, &[("transaction", "t")], "2");
        alice.sends_with(destination, &[("transaction", "t")], "3");
        alice.says(|client| client.commit("t", &[("receipt", "c")]));
        world.runs_for(10_200);
        let error = alice.error();
        assert_eq!(error.headers.get("error-code"), Some(code));
        assert_eq!(error.headers.get("receipt-id"), Some("c"));
        bob.hears(&[]);
    }
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/full");
    carol.hears(&[]);
}

#[test]
fn an_ack_inside_a_transaction_counts_at_commit() {
    for (end, left) in [("commit", 0), ("abort", 1)] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        let id = bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
        alice.sends("/queue/a", "x");
        let message = bob.message();
        bob.says(|client| client.begin("t", &[]));
        bob.says(|client| client.ack(&message, &[("transaction", "t")]));
        bob.says(|client| if end == "commit" { client.commit("t", &[]) } else { client.abort("t", &[]) });
        bob.unsubscribes(&id);
        let carol = world.connect_as("carol");
        carol.subscribes("/queue/a");
        assert_eq!(carol.messages().len(), left, "{end}");
    }
}

#[test]
fn an_ack_of_a_subscription_that_ended_before_commit_is_no_fault() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let id = bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    alice.sends("/queue/a", "x");
    let message = bob.message();
    bob.says(|client| client.begin("t", &[]));
    bob.says(|client| client.ack(&message, &[("transaction", "t")]));
    bob.unsubscribes(&id);
    bob.says(|client| client.commit("t", &[("receipt", "c")]));
    bob.hears(&["RECEIPT c"]);
}

#[test]
fn acknowledgements_of_a_refused_transaction_bring_the_messages_back() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/user/queue/errors");
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[("prefetch-count", "1")]);
    alice.sends("/queue/a", "x");
    let message = bob.message();
    bob.says(|client| client.begin("t", &[]));
    bob.says(|client| client.ack(&message, &[("transaction", "t")]));
    bob.sends_with("/nowhere/a", &[("transaction", "t")], "y");
    bob.says(|client| client.commit("t", &[]));
    bob.hears(&["/user/queue/errors error bad-destination"]);
    world.runs_for(1_100);
    let again = bob.message();
    assert_eq!((&again.body[..], again.headers.get("redelivered")), (&b"x"[..], Some("true")));
}

#[test]
fn a_session_that_hears_of_refusals_stays() {
    let world = World::guarded();
    let alice = world.connect_as("alice");
    alice.subscribes("/user/queue/errors");
    alice.sends_with("/topic/a", &[("receipt", "r")], "x");
    let refusal = alice.message();
    assert_eq!(refusal.headers.get("destination"), Some("/user/queue/errors"));
    assert_eq!(refusal.headers.get("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!(body["code"], "forbidden");
    assert_eq!(body["destination"], "/topic/a");
    assert_eq!(body["receiptId"], "r");
    assert_eq!(body["retryAfter"], "never");
    let id = alice.subscribes_with("/topic/a", AckMode::Auto, &[("receipt", "s")]);
    alice.hears(&["/user/queue/errors error forbidden"]);
    alice.says(|client| client.subscribe(&id, "/user/queue/mail", AckMode::Auto, &[("receipt", "free")]));
    alice.hears(&["RECEIPT free"]);
    alice.writes(b"UNSUBSCRIBE\nid:unknown\n\n\0");
    alice.is_thrown_out("bad-frame", "no subscription");
}

#[test]
fn a_refusal_can_be_acknowledged_like_any_message() {
    let world = World::guarded();
    let [alice, service] = ["alice", "service"].map(|name| world.connect_as(name));
    alice.subscribes_with("/user/queue/errors", AckMode::ClientIndividual, &[]);
    alice.sends("/topic/a", "x");
    service.sends("/user/alice/queue/errors", "from the application");
    alice.sends("/topic/a", "x");
    let messages = alice.messages();
    let mut ids: Vec<_> = messages.iter().map(|message| message.headers.get("ack").unwrap()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each delivery has an id of its own: {messages:?}");
    for message in &messages {
        alice.acks(message);
    }
    alice.hears(&[]);
}

#[test]
fn the_errors_queue_may_be_subscribed_twice_and_left_once() {
    let world = World::guarded();
    let alice = world.connect_as("alice");
    alice.subscribes("/user/queue/errors");
    let second = alice.subscribes("/user/alice/queue/errors");
    alice.unsubscribes(&second);
    alice.sends("/topic/a", "x");
    alice.hears(&["/user/queue/errors error forbidden"]);
}

#[test]
fn a_refusal_names_the_receipt_and_when_to_come_back() {
    let world = World::guarded();
    let alice = world.connect_as("alice");
    alice.sends_with("/topic/a", &[("receipt", "r")], "x");
    let error = alice.error();
    assert_eq!(error.headers.get("receipt-id"), Some("r"));
    assert_eq!(error.headers.get("retry-after"), Some("never"));
    assert!(error.headers.get("message").unwrap().contains("/topic/a"));
}

#[test]
fn a_client_cannot_forge_what_the_broker_says() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let id = bob.subscribes("/topic/a");
    let forged = [
        ("message-id", "forged"),
        ("subscription", "forged"),
        ("ack", "forged"),
        ("user-name", "forged"),
        ("redelivered", "forged"),
        ("timestamp", "forged"),
        ("stompede-position", "forged"),
        ("passcode", "forged"),
        ("Authorization", "forged"),
        ("authorization", "forged"),
        ("Stompede-Event", "forged"),
        ("login", "forged"),
        ("session", "forged"),
        ("command", "forged"),
        ("x-own", "kept"),
    ];
    alice.sends_with("/topic/a", &forged, "x");
    let message = bob.message();
    assert!(message.headers.iter().all(|(_, value)| value != "forged"), "{:?}", message.headers);
    assert_eq!(message.headers.get("x-own"), Some("kept"));
    assert_eq!(message.headers.get("user-name"), Some("alice"));
    assert_eq!(message.headers.get("subscription"), Some(&*id));
}

#[test]
fn the_session_ends_with_its_token_unless_a_fresh_one_came() {
    let world = World::guarded();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect(Guest { ttl_s: 60, ..Guest::named(name) }));
    world.runs_for(50_000);
    let fresh = world.token(&Guest { ttl_s: 120, ..Guest::named("alice") });
    alice.sends_with("/app/auth/refresh", &[("receipt", "r")], &format!("{{\"token\":\"{fresh}\"}}"));
    alice.hears(&["RECEIPT r"]);
    world.runs_for(10_100);
    bob.is_thrown_out("token-expired", "expired");
    world.runs_for(100_000);
    alice.hears(&[]);
    world.runs_for(10_000);
    alice.is_thrown_out("token-expired", "expired");
}

#[test]
fn a_fresh_token_of_somebody_else_or_with_less_rights_ends_the_session() {
    let world = World::guarded();
    let [alice, bob] =
        ["alice", "bob"].map(|name| world.connect(Guest { rooms: &["1"], ..Guest::named(name) }));
    let other = world.token(&Guest::named("eve"));
    alice.sends("/app/auth/refresh", &other);
    alice.is_thrown_out("unauthorized", "another user");
    bob.subscribes("/topic/chat/1");
    let less = world.token(&Guest::named("bob"));
    bob.sends("/app/auth/refresh", &less);
    bob.is_thrown_out("forbidden", "/topic/chat/1");
}

#[test]
fn a_worker_that_is_none_any_more_gets_no_more_work() {
    let world = World::guarded();
    let worker = world.connect_as("service");
    worker.subscribes("/app/jobs");
    let less = world.token(&Guest { service: false, ..Guest::named("service") });
    worker.sends("/app/auth/refresh", &less);
    worker.is_thrown_out("forbidden", "/app/jobs");
}

#[test]
fn wrong_or_missing_credentials_are_refused() {
    let world = World::guarded();
    let alice = world.stranger(Link::Stream, None);
    alice.writes(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0");
    alice.is_thrown_out("unauthorized", "token");
    let bob = world.stranger(Link::WebSocket, None);
    bob.writes(&ws(b"CONNECT\naccept-version:1.2\nhost:x\nAuthorization:Bearer a.b.c\n\n\0"));
    bob.is_thrown_out("unauthorized", "token");
}

fn ws(stomp: &[u8]) -> Vec<u8> {
    crate::wire::ClientFraming::new(Link::WebSocket).wrap(stomp)
}

/// A world where `alice` has an account, so that finding out who she is takes its time.
fn with_account() -> World {
    World::with(|setup| {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        setup.accounts = vec![AccountConfig {
            login: "alice".to_owned(),
            passcode_hash: Secret::new(hash),
            role: AccountRole::User,
            claims: BTreeMap::new(),
        }];
    })
}

const PIPELINED: &[u8] = b"CONNECT\naccept-version:1.2\nhost:x\nlogin:alice\npasscode:x\n\n\0\
    SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r\n\n\0SEND\ndestination:/topic/a\n\nx\0";

#[test]
fn what_follows_connect_waits_until_it_is_known_who_it_is() {
    for piece in [5, 1_000] {
        let world = with_account();
        let alice = world.stranger(Link::Stream, None);
        alice.line(|line| line.piece_bytes = piece);
        alice.writes(PIPELINED);
        alice.hears(&[]);
        // The client has said all that it must: the time limit for CONNECT is over.
        world.runs_for(30_000);
        alice.hears(&[]);
        assert_eq!(world.answers_calls(&Ok(Principal::service("alice"))), 1);
        alice.hears(&["CONNECTED", "RECEIPT r", "/topic/a: x"]);
    }
}

#[test]
fn who_turns_out_to_be_nobody_is_refused_and_what_followed_is_not_read() {
    let world = with_account();
    let [alice, gone] = [(), ()].map(|()| world.stranger(Link::Stream, None));
    alice.writes(PIPELINED);
    gone.writes(PIPELINED);
    gone.vanishes();
    world.answers_calls(&Err(CloseReason::Unauthorized.into()));
    alice.is_thrown_out("unauthorized", "credentials");
    gone.hears(&["END"]);
    world.is_deserted();
}

#[test]
fn a_stranger_must_speak_our_language_in_time() {
    let world = World::new();
    let silent = world.stranger(Link::Stream, None);
    let foreign = world.stranger(Link::Stream, None);
    foreign.writes(b"CONNECT\naccept-version:2.0\nhost:x\n\n\0");
    assert_eq!(foreign.error().headers.get("version"), Some("1.0,1.1,1.2"));
    let http = world.stranger(Link::Stream, None);
    http.writes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    http.is_thrown_out("bad-frame", "STOMP port");
    world.runs_for(10_200);
    silent.is_thrown_out("login-timeout", "10000 ms");
    world.is_deserted();
}

#[test]
fn close_codes_on_a_websocket_are_those_of_the_table() {
    let world = World::new();
    let guest = |name| Guest { link: Link::WebSocket, ..Guest::named(name) };
    let alice = world.connect(guest("alice"));
    alice.sends("/nowhere/a", "x");
    alice.hears(&["ERROR bad-destination", "END 1008"]);
    let bob = world.connect(guest("bob"));
    bob.writes(&ws(b"NONSENSE\n\n\0"));
    bob.hears(&["ERROR bad-frame", "END 1002"]);
    let carol = world.connect(guest("carol"));
    world.ends(&carol, &Refusal::from(CloseReason::ShuttingDown));
    carol.hears(&["ERROR shutting-down", "END 1012"]);
    let dave = world.connect(guest("dave"));
    world.ends(&dave, &Refusal::from(CloseReason::Kicked));
    dave.hears(&["ERROR kicked", "END 1008"]);
    world.is_deserted();
}

#[test]
fn a_draining_broker_takes_nobody_in() {
    let world = World::new();
    let alice = world.connect_as("alice");
    world.broker().drain();
    let bob = world.knock(Guest::named("bob"));
    bob.is_thrown_out("shutting-down", "shutting down");
    alice.subscribes("/topic/a");
    // Those who would get it may be gone already: a receipt would promise too much.
    alice.sends_with("/topic/a", &[("receipt", "r")], "too late");
    let error = alice.error();
    assert_eq!(error.headers.get("error-code"), Some("shutting-down"));
    assert_eq!(error.headers.get("receipt-id"), Some("r"));
}

#[test]
fn names_that_clients_trim_cannot_forge_either() {
    let world = World::new();
    let [bob, mallory] = ["bob", "mallory"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/chat/42");
    bob.heard();
    let forged =
        [(" user-name", "root"), ("timestamp ", "1"), ("\tack", "z"), (" event", "LEAVE"), ("x", "1")];
    mallory.sends_with("/app/chat/42/send", &forged, r#"{"type":"TEXT","content":"x"}"#);
    mallory.sends_with("/topic/chat/42", &forged, "x");
    for message in bob.messages() {
        let trimmed = |name: &str| {
            let found = message.headers.iter().find(|(known, _)| known.trim() == name);
            found.map(|(_, value)| value.to_owned())
        };
        assert_eq!(trimmed("user-name").as_deref(), Some("mallory"));
        assert_ne!(trimmed("timestamp").as_deref(), Some("1"));
        assert_eq!(trimmed("ack"), None);
        assert_eq!(trimmed("x").as_deref(), Some("1"));
    }
}

#[test]
fn what_somebody_wrote_is_not_repeated_in_a_refusal() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.subscribes("/user/queue/errors");
    alice.heard();
    alice.sends("/app/chat/42/send", "\"my diary\"");
    let refused = alice.message();
    assert!(refused.body.len() < 1_000);
    assert!(!String::from_utf8_lossy(&refused.body).contains("diary"));
}

#[test]
fn subscriptions_come_and_go_at_a_bounded_rate() {
    let world = World::with(|setup| {
        setup.limits.sends_per_second = 10;
        setup.limits.sends_burst = 3;
    });
    let alice = world.connect_as("alice");
    for _ in 0..3 {
        let id = alice.subscribes("/topic/a");
        alice.unsubscribes(&id);
    }
    alice.heard();
    alice.says(|client| client.subscribe("s9", "/topic/a", stompede_protocol::AckMode::Auto, &[]));
    alice.is_thrown_out("rate-limited", "SUBSCRIBE frames a second");
}

#[test]
fn a_request_names_only_reply_queues_of_its_own() {
    let world = World::new();
    let worker = world.connect(Guest { service: true, ..Guest::named("guest") });
    worker.subscribes("/app/price");
    for (to, code) in [("/user/bob/queue/errors", "bad-destination"), ("/topic/chat/42", "bad-destination")] {
        let alice = world.connect_as("alice");
        alice.sends_with("/app/price", &[("reply-to", to)], "EUR");
        alice.is_thrown_out(code, "/temp-queue/");
    }
    let alice = world.connect_as("alice");
    alice.sends("/temp-queue/never", "x");
    alice.is_thrown_out("no-such-reply", "reply-to");
}

#[test]
fn both_sides_keep_their_heart_beats() {
    let world = World::new();
    let heart_beat = HeartBeat { send_ms: 10_000, receive_ms: 10_000 };
    let alice = world.connect(Guest { heart_beat, ..Guest::named("alice") });
    let tab = world.connect(Guest { heart_beat, link: Link::WebSocket, ..Guest::named("tab") });
    world.runs_for(120_000);
    alice.hears(&[]);
    tab.hears(&[]);
    assert!(
        alice.line(|line| line.client.poll_timeout()).is_some_and(|due| due.0 > 121_000),
        "the server beats"
    );
    alice.freezes();
    world.runs_for(20_200);
    alice.is_thrown_out("heart-beat-lost", "20000 ms");
}

#[test]
fn a_background_tab_stays_while_its_browser_answers_pings() {
    let world = World::new();
    let heart_beat = HeartBeat { send_ms: 10_000, receive_ms: 10_000 };
    let tab = world.connect(Guest { heart_beat, link: Link::WebSocket, ..Guest::named("tab") });
    tab.line(|line| line.sleepy = true);
    world.runs_for(120_000);
    tab.hears(&[]);
    tab.freezes();
    world.runs_for(40_000);
    tab.hears(&["ERROR heart-beat-lost", "END 1002"]);
}

#[test]
fn a_background_tab_stays_while_its_requests_are_answered() {
    let world = World::new();
    let heart_beat = HeartBeat { send_ms: 10_000, receive_ms: 10_000 };
    let tab = world.connect(Guest { heart_beat, link: Link::SockJsRequests, ..Guest::named("tab") });
    tab.line(|line| line.sleepy = true);
    world.runs_for(120_000);
    tab.hears(&[]);
    assert!(!tab.is_gone(), "whoever answers its requests knows whether it lives");
}

#[test]
fn silence_means_nothing_while_we_do_not_read() {
    let world = World::with(|setup| setup.limits.hold_ms_max = 60_000);
    let heart_beat = HeartBeat { send_ms: 1_000, receive_ms: 0 };
    let alice = world.connect(Guest { heart_beat, ..Guest::named("alice") });
    let bob = world.connect(Guest { heart_beat, ..Guest::named("bob") });
    alice.sends_with("/app/nobody", &[("receipt", "r")], "x");
    bob.freezes();
    world.runs_for(45_000);
    assert!(bob.is_gone());
    assert!(!alice.is_gone());
    let worker = world.connect_as("service");
    worker.subscribes("/app/nobody");
    world.runs_for(100);
    alice.hears(&["RECEIPT r"]);
}

#[test]
fn a_client_that_reads_slowly_is_not_taken_for_a_silent_one() {
    // Above the outbox's limit nothing is read of it, its heart-beats neither.
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 1_000);
    let heart_beat = HeartBeat { send_ms: 1_000, receive_ms: 0 };
    let alice = world.connect_as("alice");
    let bob = world.connect(Guest { heart_beat, ..Guest::named("bob") });
    bob.subscribes("/queue/a");
    bob.stalls();
    alice.sends("/queue/a", &"x".repeat(3_000));
    for _ in 0..6 {
        world.runs_for(5_000);
        bob.takes(50);
    }
    assert!(!bob.is_gone());
    bob.resumes();
    assert_eq!(bob.message().body.len(), 3_000);
    world.runs_for(10_000);
    bob.hears(&[]);
}

#[test]
fn who_closes_his_side_has_everything_handled_first() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/a");
    alice.line(|line| line.closes());
    alice.sends("/topic/a", "last words");
    bob.hears(&["/topic/a: last words"]);
    alice.hears(&["END"]);
    bob.hangs_up();
    world.is_deserted();
}

#[test]
fn one_peers_violation_never_disturbs_another() {
    let world = World::new();
    let alice = world.connect(Guest { shard: Some(0), ..Guest::named("alice") });
    let bob = world.connect(Guest { shard: Some(0), ..Guest::named("bob") });
    let eve = world.connect(Guest { shard: Some(0), ..Guest::named("eve") });
    bob.subscribes("/topic/a");
    eve.writes(b"SEND\ndestination:/topic/a\n\nok\0NONSENSE\n\n\0SEND\ndestination:/topic/a\n\nnever\0");
    eve.hears(&["ERROR bad-frame", "END"]);
    alice.sends("/topic/a", "hello");
    bob.hears(&["/topic/a: ok", "/topic/a: hello"]);
}

#[test]
fn nothing_is_delivered_to_a_connection_that_is_closing() {
    let world = World::new();
    let worker = world.connect_as("service");
    let alice = world.connect(Guest { link: Link::WebSocket, ..Guest::named("alice") });
    worker.subscribes("/app/price");
    alice.subscribes("/topic/a");
    alice.subscribes("/queue/a");
    alice.subscribes("/temp-queue/y");
    alice.sends_with("/app/price", &[("reply-to", "/temp-queue/x")], "EUR");
    let address = worker.message().headers.get("reply-to").unwrap().to_owned();
    alice.stalls();
    world.holds_still();
    worker.sends(&address, "7");
    worker.sends("/topic/a", "x");
    worker.sends("/queue/a", "x");
    // The worker's frames are read, Alice misbehaves, and only then her shard looks into its inbox.
    while world.steps_line() {}
    alice.writes(&ws(b"NONSENSE\n\n\0"));
    while world.steps_line() {}
    world.moves_again();
    alice.resumes();
    let heard: Vec<_> = alice.heard().iter().map(crate::person::words).collect();
    assert_eq!(heard[heard.len() - 2..], ["ERROR bad-frame", "END 1002"], "{heard:?}");
}

#[test]
fn a_version_is_spoken_to_its_end() {
    for version in Version::ALL {
        let world = World::new();
        let versions = [version];
        let alice = world.connect(Guest { versions: &versions, ..Guest::named("alice") });
        alice.subscribes("/topic/a");
        alice.sends_with("/topic/a", &[("k", "a:b")], "x");
        assert_eq!(alice.message().headers.get("k"), Some("a:b"));
        alice.leaves();
        alice.hears(&["RECEIPT bye", "END"]);
    }
}

#[test]
fn nothing_follows_the_close_frame_of_a_websocket() {
    for seed in 0..50 {
        let mut dice = crate::walk::Dice::new(seed);
        let world = World::new();
        let bob = world.connect(Guest { link: Link::WebSocket, ..Guest::named("bob") });
        let alice = world.connect_as("alice");
        bob.subscribes("/topic/a");
        bob.subscribes("/queue/a");
        bob.heard();
        world.holds_still();
        for n in 0..20 {
            if n == 10 {
                bob.line(crate::line::Line::says_goodbye);
            }
            alice.sends("/topic/a", "x");
            alice.sends("/queue/a", &n.to_string());
            let choice = dice.below(100);
            for _ in 0..dice.below(4) {
                world.steps(choice);
            }
        }
        world.moves_again();
        let heard = bob.heard();
        // The client's framing would have panicked at data behind it.
        assert!(matches!(heard.last(), Some(Heard::End(Some(1000)))), "{:?}", heard.last());
        // What the queue had for him is not lost with it.
        let taken = |heard: &Heard| matches!(heard, Heard::Message(frame) if frame.headers.get("destination") == Some("/queue/a"));
        let taken = heard.iter().filter(|heard| taken(heard)).count();
        let carol = world.connect_as("carol");
        carol.subscribes("/queue/a");
        assert_eq!(taken + carol.messages().len(), 20, "seed {seed}");
    }
}
