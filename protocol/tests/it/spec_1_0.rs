//! STOMP 1.0 where it differs from the later versions.

use stompede_protocol::{Limits, Version};

use crate::support::Server;

fn server() -> Server {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\nlogin: user\npasscode: secret\n\n\0").starts_with("CONNECTED\n"));
    assert_eq!(server.session.version(), Version::V1_0);
    server
}

#[test]
fn connected_has_a_session_and_says_that_there_are_no_heart_beats() {
    let mut server = Server::new(Limits::default());
    let connected = server.hear("CONNECT\nlogin:a\npasscode:b\n\n\0");
    assert_eq!(connected, "CONNECTED\nversion:1.0\nheart-beat:0,0\nsession:s:1\nserver:test/1\n\n\0");
    assert_eq!(server.session.poll_timeout(), None);
}

#[test]
fn padding_of_connect_headers_is_no_part_of_them() {
    use stompede_protocol::{Event, Millis};
    let mut server = Server::new(Limits::default());
    let mut input = &b"CONNECT\nlogin: user \npasscode: \n\n\0"[..];
    let Some(Event::Connect(connect)) = server.session.receive(Millis(0), &mut input) else {
        panic!("no CONNECT")
    };
    assert_eq!((connect.login.as_deref(), connect.passcode.as_deref()), (Some("user"), Some("")));
    assert_eq!(connect.headers.get("login"), Some("user"));
}

#[test]
fn padding_of_values_is_trimmed() {
    assert_eq!(server().hear("SEND\ndestination: /a\nreceipt: 1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
}

#[test]
fn nothing_is_escaped_and_values_may_hold_colons() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a:b\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a:b\nk:\\n\\t\\c:d\n\n\0");
    let expected = "MESSAGE\nmessage-id:m1\ndestination:/topic/a:b\nk:\\n\\t\\c:d\ncontent-length:0\n\n\0";
    assert_eq!(message, expected);
}

#[test]
fn no_header_of_another_version_injects_a_line() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a\n\n\0");
    server.publish("/topic/a", &[("k", "a\r\nadmin:yes"), ("x:y", "z"), ("a\nb", "c")], b"");
    let message = String::from_utf8(server.take().concat()).unwrap();
    let expected = "MESSAGE\nmessage-id:m1\ndestination:/topic/a\nk:a  admin:yes\ncontent-length:0\n\n\0";
    assert_eq!(message, expected);
}

#[test]
fn the_id_of_a_subscription_is_optional() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:7\ndestination:/topic/b\n\n\0");
    assert!(!server.hear("SEND\ndestination:/topic/a\n\n\0").contains("subscription"));
    assert!(server.hear("SEND\ndestination:/topic/b\n\n\0").contains("\nsubscription:7\n"));
}

#[test]
fn without_ids_a_destination_is_subscribed_once() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    server.refuse("SUBSCRIBE\ndestination:/topic/a\n\n\0");
}

#[test]
fn unsubscribe_names_the_id_or_the_destination() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:7\ndestination:/topic/a\n\n\0");
    assert_eq!(
        server.hear("UNSUBSCRIBE\ndestination:/topic/a\nreceipt:1\n\n\0"),
        "RECEIPT\nreceipt-id:1\n\n\0"
    );
    assert_eq!(server.session.subscriptions().next().and_then(|left| left.id.as_deref()), Some("7"));
    server.hear("UNSUBSCRIBE\nid:7\n\n\0");
    assert_eq!(server.session.subscriptions().count(), 0);
    server.refuse("UNSUBSCRIBE\ndestination:/topic/a\n\n\0");
}

#[test]
fn unsubscribe_that_names_nothing_is_refused() {
    server().refuse("UNSUBSCRIBE\n\n\0");
}

#[test]
fn the_body_of_subscribe_is_ignored() {
    let answer = server()
        .hear("SUBSCRIBE\ndestination:/a\nreceipt:1\n\nignored\0\nSEND\ndestination:/b\nreceipt:2\n\n\0");
    assert_eq!(answer, "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0");
}

#[test]
fn ack_names_the_message_alone() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/queue/a\nack:client\n\n\0");
    server.hear("SEND\ndestination:/queue/a\n\n\0SEND\ndestination:/queue/a\n\n\0");
    assert_eq!(server.hear("ACK\nmessage-id: m2@1-2\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
    assert_eq!(server.acked, [1, 2]);
    server.refuse("ACK\nid:m2@1-2\n\n\0");
}

#[test]
fn there_is_no_nack_and_no_client_individual() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/queue/a\nack:client\n\n\0SEND\ndestination:/queue/a\n\n\0");
    assert!(server.refuse("NACK\nmessage-id:m1@1-1\n\n\0").contains("does not exist in STOMP 1.0"));
    self::server().refuse("SUBSCRIBE\ndestination:/queue/a\nack:client-individual\n\n\0");
}

#[test]
fn transactions_work_as_later() {
    let mut server = server();
    server.hear("SUBSCRIBE\ndestination:/topic/a\n\n\0BEGIN\ntransaction:t\n\n\0");
    assert_eq!(server.hear("SEND\ndestination:/topic/a\ntransaction:t\n\nx\0"), "");
    assert!(server.hear("COMMIT\ntransaction:t\n\n\0").ends_with("\n\nx\0"));
}

#[test]
fn telnet_style_line_ends_are_tolerated() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\r\nlogin:a\r\n\r\n\0\r\n").starts_with("CONNECTED\n"));
    assert_eq!(
        server.hear("SEND\r\ndestination:/a\r\nreceipt:1\r\n\r\n\0\r\n"),
        "RECEIPT\nreceipt-id:1\n\n\0"
    );
}

#[test]
fn accept_version_1_0_is_the_same_and_its_heart_beat_is_ignored() {
    let mut server = Server::new(Limits::default());
    let connected = server.hear("CONNECT\naccept-version:1.0\nheart-beat:nonsense\n\n\0");
    assert!(connected.starts_with("CONNECTED\nversion:1.0\nheart-beat:0,0\nsession:"), "{connected}");
}

#[test]
fn disconnect_may_ask_for_a_receipt() {
    assert_eq!(server().hear("DISCONNECT\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
}
