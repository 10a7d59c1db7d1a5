//! Conversations between a client and a server, in virtual time.

use stompede_protocol::{
    AckMode, ClientEvent, Command, Frame, HeartBeat, Introduction, Limits, Millis, Timeout, Version,
};

use crate::support::pair::Pair;

const EVERY_10_S: HeartBeat = HeartBeat { send_ms: 10_000, receive_ms: 10_000 };

#[test]
fn a_client_of_each_version_hears_what_it_sends() {
    for version in Version::ALL {
        let mut pair = Pair::connected(version);
        pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[("receipt", "r")]);
        pair.drive();
        assert_eq!(pair.receipts(), ["r"]);
        pair.client.send("/topic/a", &[("k", "v")], &b"\0\xff\n"[..]);
        pair.drive();
        let messages = pair.messages();
        let [message] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(message.headers.get("subscription"), Some("0"));
        assert_eq!(message.headers.get("destination"), Some("/topic/a"));
        assert_eq!(message.headers.get("k"), Some("v"));
        assert_eq!(&message.body[..], b"\0\xff\n");
    }
}

#[test]
fn odd_headers_survive_byte_by_byte_where_the_version_can_carry_them() {
    for (version, name, value) in [
        (Version::V1_0, "name", "a:b\\c\\n"),
        (Version::V1_1, "na:me\n", " a:b\\c\n\\n "),
        (Version::V1_2, "na:me\r\n", "\ra:b\\c\r\n\\n "),
    ] {
        let mut pair = Pair::connected(version);
        pair.piece_bytes = 1;
        pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[]);
        pair.client.send("/topic/a", &[(name, value)], "");
        pair.drive();
        assert_eq!(pair.messages()[0].headers.get(name), Some(value), "{version}");
    }
}

#[test]
fn messages_come_in_the_order_of_their_sends() {
    let mut pair = Pair::connected(Version::V1_2);
    pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[]);
    (0..100).for_each(|number: u32| pair.client.send("/topic/a", &[], number.to_string()));
    pair.drive();
    let bodies: Vec<_> = pair.messages().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn each_version_acknowledges_in_its_own_way() {
    for version in Version::ALL {
        let mut pair = Pair::connected(version);
        pair.client.subscribe("0", "/queue/a", AckMode::Client, &[]);
        (0..4).for_each(|_| pair.client.send("/queue/a", &[], ""));
        pair.drive();
        let messages = pair.messages();
        pair.client.ack(&messages[1], &[("receipt", "a")]);
        pair.drive();
        assert_eq!(pair.receipts(), ["a"]);
        assert_eq!(pair.server.acked, [1, 2]);
        if version > Version::V1_0 {
            pair.client.nack(&messages[3], &[]);
            pair.drive();
            assert_eq!(pair.server.nacked, [3, 4]);
        }
    }
}

#[test]
fn ids_of_messages_and_acks_differ_between_subscriptions() {
    let mut pair = Pair::connected(Version::V1_2);
    for id in ["0", "1"] {
        pair.client.subscribe(id, "/queue/a", AckMode::ClientIndividual, &[]);
    }
    (0..3).for_each(|_| pair.client.send("/queue/a", &[], ""));
    pair.drive();
    for name in ["message-id", "ack"] {
        let mut ids: Vec<_> = pair
            .heard
            .iter()
            .map(|event| if let ClientEvent::Message(it) = event { it.headers.get(name) } else { None })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6, "{ids:?}");
    }
}

#[test]
fn a_transaction_over_several_destinations() {
    let mut pair = Pair::connected(Version::V1_2);
    pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[]);
    pair.client.subscribe("1", "/topic/b", AckMode::Auto, &[]);
    pair.client.begin("t", &[]);
    pair.client.send("/topic/a", &[("transaction", "t")], "1");
    pair.client.send("/topic/b", &[("transaction", "t")], "2");
    pair.drive();
    assert!(pair.messages().is_empty());
    pair.client.commit("t", &[]);
    pair.drive();
    let bodies: Vec<_> = pair.messages().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["1", "2"]);
}

#[test]
fn both_sides_beat_and_stay() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    pair.advance(600_000);
    assert!(pair.server_timeouts.is_empty() && pair.client_timeouts.is_empty());
    let beats = pair.heard.iter().filter(|event| **event == ClientEvent::HeartBeat).count();
    assert!((60..=70).contains(&beats), "{beats} beats in 600 s");
}

#[test]
fn a_client_that_vanishes_is_told_once_after_twice_its_interval() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    pair.client_vanished = true;
    pair.advance(19_999);
    assert!(pair.server_timeouts.is_empty());
    pair.advance(100_000);
    assert_eq!(pair.server_timeouts, [(Millis(20_000), Timeout::Silent)]);
    let silence = pair.server.session.violation_of(Timeout::Silent).to_string();
    assert!(silence.contains("20000 ms"), "{silence}");
}

#[test]
fn a_sign_of_life_that_is_no_stomp_counts() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    pair.client_vanished = true;
    for _ in 0..10 {
        pair.advance(15_000);
        pair.server.session.touch(pair.server.now);
    }
    assert!(pair.server_timeouts.is_empty());
}

#[test]
fn while_the_server_does_not_read_silence_means_nothing() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    pair.client_vanished = true;
    pair.server.session.suspend();
    pair.advance(100_000);
    assert!(pair.server_timeouts.is_empty());
    pair.server.session.resume(pair.server.now);
    pair.advance(19_999);
    assert!(pair.server_timeouts.is_empty());
    pair.advance(1);
    assert_eq!(pair.server_timeouts, [(Millis(120_000), Timeout::Silent)]);
}

#[test]
fn one_byte_of_a_frame_is_a_sign_of_life() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    pair.client_vanished = true;
    for byte in b"SEND\ndestination" {
        pair.advance(15_000);
        pair.server.feed(&[*byte]);
    }
    assert!(pair.server_timeouts.is_empty());
}

#[test]
fn the_client_tells_a_server_that_falls_silent() {
    let mut pair = Pair::beating(Version::V1_1, HeartBeat { send_ms: 0, receive_ms: 10_000 });
    assert_eq!(pair.server.session.poll_timeout(), Some(Millis(9_000)), "a beat of ours is due in time");
    pair.server.session.end();
    pair.advance(60_000);
    assert_eq!(pair.client_timeouts, [(Millis(20_000), Timeout::Silent)]);
}

#[test]
fn no_beats_where_one_side_wants_none() {
    for heart_beat in [HeartBeat::default(), HeartBeat { send_ms: 0, receive_ms: 0 }] {
        let mut pair = Pair::beating(Version::V1_2, heart_beat);
        assert_eq!(pair.server.session.poll_timeout(), None);
        pair.advance(60_000);
        assert!(pair.heard.is_empty());
    }
    let pair = Pair::beating(Version::V1_0, EVERY_10_S);
    assert_eq!(pair.server.session.poll_timeout(), None, "1.0 has no heart-beats");
}

#[test]
fn what_is_written_puts_off_the_beat() {
    let mut pair = Pair::beating(Version::V1_2, EVERY_10_S);
    for _ in 0..20 {
        pair.advance(5_000);
        pair.client.send("/nobody", &[("receipt", "r")], "");
        pair.drive();
    }
    assert!(!pair.heard.contains(&ClientEvent::HeartBeat));
}

#[test]
fn malformed_heart_beats_are_refused_by_name() {
    for heart_beat in ["0", "T,0", "100,10,50", "-1,0", ""] {
        let mut pair = Pair::new(Limits::default());
        pair.client
            .connect(&Introduction { headers: &[("heart-beat", heart_beat)], ..Introduction::default() });
        pair.drive();
        let [ClientEvent::Error(error)] = &pair.heard[..] else { panic!("{:?}", pair.heard) };
        assert!(error.headers.get("message").is_some_and(|it| it.starts_with("heart-beat")), "{error:?}");
    }
}

#[test]
fn the_last_messages_before_disconnect_are_not_lost() {
    let mut pair = Pair::connected(Version::V1_2);
    pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[]);
    (0..10).for_each(|_| pair.client.send("/topic/a", &[], ""));
    pair.client.disconnect(Some("bye"));
    pair.drive();
    assert!(matches!(pair.heard.pop(), Some(ClientEvent::Receipt(id, _)) if &*id == "bye"));
    assert_eq!(pair.messages().len(), 10);
    assert!(pair.server.session.is_closed());
}

#[test]
fn an_error_ends_the_conversation_on_both_sides() {
    let mut pair = Pair::connected(Version::V1_2);
    pair.client.frame(&Frame::new(Command::Commit).with("transaction", "t").with("receipt", "r"));
    pair.client.send("/topic/a", &[("receipt", "late")], "");
    pair.drive();
    let [ClientEvent::Error(error)] = &pair.heard[..] else { panic!("{:?}", pair.heard) };
    assert_eq!(error.headers.get("receipt-id"), Some("r"));
    assert!(pair.server.session.is_closed() && !pair.client.is_open());
    assert_eq!(pair.server.session.poll_timeout(), None);
}

#[test]
fn big_bodies_with_and_without_a_nul() {
    let mut pair = Pair::connected(Version::V1_2);
    pair.piece_bytes = 1_460;
    pair.client.subscribe("0", "/topic/a", AckMode::Auto, &[]);
    for fill in [b'x', 0] {
        pair.client.send("/topic/a", &[], vec![fill; 1024 * 1024]);
        pair.drive();
        assert_eq!(pair.messages()[0].body, vec![fill; 1024 * 1024]);
    }
}
