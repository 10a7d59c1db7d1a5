//! STOMP 1.1 where it differs from 1.2.

use stompede_protocol::{Limits, Version};

use crate::support::Server;

fn server() -> Server {
    Server::connected(Version::V1_1)
}

fn with_three_outstanding(ack: &str) -> Server {
    let mut server = server();
    server.hear(format!("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:{ack}\n\n\0"));
    for _ in 0..3 {
        server.publish("/queue/a", &[], b"");
    }
    server.take();
    server
}

#[test]
fn newline_colon_and_backslash_are_escaped() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\nk:a\\nb\\cc\\\\\n\n\0");
    assert!(message.contains("\nk:a\\nb\\cc\\\\\n"), "{message}");
}

#[test]
fn an_escaped_carriage_return_is_undefined_hence_fatal() {
    assert!(server().refuse("SEND\ndestination:/a\nk:\\r\n\n\0").contains("no escape of STOMP 1.1"));
    server().refuse("SEND\ndestination:/a\nk:\\t\n\n\0");
}

#[test]
fn a_carriage_return_in_a_value_cannot_reach_a_receiver() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    server.publish("/topic/a", &[("k", "a\r\nb:c")], b"");
    let message = String::from_utf8(server.take().concat()).unwrap();
    assert!(message.contains("\nk:a \\nb\\cc\n"), "{message}");
}

#[test]
fn telnet_style_line_ends_are_tolerated() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\r\naccept-version:1.1\r\nhost:h\r\n\r\n\0\r\n").contains("\nversion:1.1\n"));
    assert_eq!(
        server.hear("SEND\r\ndestination:/a\r\nreceipt:1\r\n\r\n\0\r\n"),
        "RECEIPT\nreceipt-id:1\n\n\0"
    );
}

#[test]
fn headers_are_not_trimmed() {
    assert_eq!(server().hear("SEND\ndestination:/a\nreceipt: 1 \n\n\0"), "RECEIPT\nreceipt-id: 1 \n\n\0");
}

#[test]
fn connected_has_version_and_heart_beat() {
    let mut server = Server::new(Limits::default());
    let connected = server.hear("CONNECT\naccept-version:1.0,1.1\nhost:h\nheart-beat:0,0\n\n\0");
    assert!(connected.starts_with("CONNECTED\nversion:1.1\nheart-beat:10000,10000\n"), "{connected}");
}

#[test]
fn a_message_has_no_ack_header() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\nack:client\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\n\n\0");
    let expected = "MESSAGE\nsubscription:0\nmessage-id:m1@1-1\ndestination:/topic/a\ncontent-length:0\n\n\0";
    assert_eq!(message, expected);
}

#[test]
fn ack_and_nack_need_message_id_and_subscription() {
    let mut server = with_three_outstanding("client-individual");
    server.hear("ACK\nmessage-id:m1@1-1\nsubscription:0\n\n\0NACK\nsubscription:0\nmessage-id:m2@1-2\n\n\0");
    assert_eq!((&server.acked[..], &server.nacked[..]), (&[1][..], &[2][..]));
    for frame in
        ["ACK\nmessage-id:m3@1-3", "ACK\nsubscription:0", "ACK\nid:m3@1-3", "NACK\nmessage-id:m3@1-3"]
    {
        let mut server = with_three_outstanding("client-individual");
        assert!(server.refuse(format!("{frame}\n\n\0")).contains("needs the header"));
    }
}

#[test]
fn the_subscription_of_an_ack_must_be_that_of_the_message() {
    let mut server = with_three_outstanding("client");
    server.hear("SUBSCRIBE\nid:1\ndestination:/queue/b\nack:client\n\n\0");
    server.refuse("ACK\nmessage-id:m1@1-1\nsubscription:1\n\n\0");
    assert!(server.acked.is_empty());
}

#[test]
fn a_client_ack_is_cumulative() {
    let mut server = with_three_outstanding("client");
    server.hear("ACK\nmessage-id:m3@1-3\nsubscription:0\n\n\0");
    assert_eq!(server.acked, [1, 2, 3]);
}

#[test]
fn subscribe_and_unsubscribe_need_an_id() {
    server().refuse("SUBSCRIBE\ndestination:/a\n\n\0");
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/a\n\n\0");
    server.refuse("UNSUBSCRIBE\ndestination:/a\n\n\0");
}

#[test]
fn no_common_version_is_an_error() {
    Server::new(Limits::default()).refuse("CONNECT\naccept-version:0.9,2.0\nhost:h\n\n\0");
}

#[test]
fn stomp_is_accepted_as_connect() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("STOMP\naccept-version:1.1\nhost:h\n\n\0").starts_with("CONNECTED\nversion:1.1\n"));
}
