//! STOMP 1.2, one test for each thing a server must do. The numbers are lines of `CHECKLIST.md`.

use stompede_protocol::{Limits, Millis, Timeout, Version};

use crate::support::Server;

fn server() -> Server {
    Server::connected(Version::V1_2)
}

/// A server whose client is subscribed to `/queue/a` as `0` and was sent three messages.
fn with_three_outstanding(ack: &str) -> Server {
    let mut server = server();
    server.hear(format!("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:{ack}\n\n\0"));
    for _ in 0..3 {
        server.publish("/queue/a", &[], b"");
    }
    server.take();
    server
}

// Frames

#[test]
fn a_line_ends_with_lf_and_an_optional_cr() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\r\naccept-version:1.2\r\nhost:h\r\n\r\n\0\r\n").starts_with("CONNECTED\n"));
    assert_eq!(
        server.hear("SEND\r\ndestination:/a\r\nreceipt:1\r\n\r\n\0\r\n"),
        "RECEIPT\nreceipt-id:1\n\n\0"
    );
    assert_eq!(server.hear("SEND\ndestination:/a\r\nreceipt:2\n\r\n\0"), "RECEIPT\nreceipt-id:2\n\n\0");
}

#[test]
fn any_number_of_ends_of_line_may_follow_a_frame() {
    let input =
        "\n\r\n\nSEND\ndestination:/a\nreceipt:1\n\n\0\n\n\r\n\nSEND\ndestination:/a\nreceipt:2\n\n\0";
    assert_eq!(server().hear(input), "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0");
}

#[test]
fn commands_and_header_names_are_case_sensitive() {
    assert!(server().refuse("send\ndestination:/a\n\n\0").contains("unknown command 'send'"));
    assert!(server().refuse("SEND\nDestination:/a\n\n\0").contains("needs the header 'destination'"));
}

#[test]
fn commands_and_headers_are_utf_8() {
    let mut server = server();
    assert_eq!(server.hear("SEND\ndestination:/ü\nreceipt:ü😀\n\n\0"), "RECEIPT\nreceipt-id:ü😀\n\n\0");
    server.refuse(b"SEND\ndestination:/a\nx:\xc3\x28\n\n\0");
}

#[test]
fn escapes_are_decoded_and_encoded_in_names_and_values() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:a\\cb\ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\nk\\c\\n:v\\r\\n\\c\\\\\n\n\0");
    assert!(message.contains("\nsubscription:a\\cb\n"), "{message}");
    assert!(message.contains("\nk\\c\\n:v\\r\\n\\c\\\\\n"), "{message}");
}

#[test]
fn connect_and_connected_are_not_escaped() {
    let mut server = Server::new(Limits::default());
    let connected = server.hear("CONNECT\naccept-version:1.2\nhost:h\npasscode:a\\t\\b\n\n\0");
    assert!(connected.contains("\nsession:s:1\n"), "{connected}");
}

#[test]
fn an_undefined_escape_is_fatal() {
    assert!(server().refuse("SEND\ndestination:/a\nk:\\t\n\n\0").contains("no escape of STOMP 1.2"));
    server().refuse("SEND\ndestination:/a\nk:v\\\n\n\0");
}

#[test]
fn headers_are_not_trimmed() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid: 0 \ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\n k : v \n\n\0");
    assert!(message.contains("\nsubscription: 0 \n"), "{message}");
    assert!(message.contains("\n k : v \n"), "{message}");
}

#[test]
fn only_send_message_and_error_have_bodies() {
    for frame in ["SUBSCRIBE\nid:0\ndestination:/a\n\n", "BEGIN\ntransaction:1\n\n", "DISCONNECT\n\n"] {
        server().refuse(format!("{frame}body\0"));
    }
    server().refuse("BEGIN\ntransaction:1\ncontent-length:4\n\nbody\0");
    assert_eq!(server().hear("BEGIN\ntransaction:1\ncontent-length:0\n\n\0"), "");
}

#[test]
fn a_counted_body_is_read_whatever_octets_it_has() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\ncontent-length:7\n\na\0b\n\n\0c\0");
    assert!(message.ends_with("\ncontent-length:7\n\na\0b\n\n\0c\0"), "{message:?}");
}

#[test]
fn a_nul_follows_a_counted_body() {
    server().refuse("SEND\ndestination:/a\ncontent-length:2\n\nabc\0");
}

#[test]
fn a_content_length_is_digits() {
    for length in ["-1", "x", "1.0", "", "0x1", "1 "] {
        let error = server().refuse(format!("SEND\ndestination:/a\ncontent-length:{length}\n\na\0"));
        assert!(error.contains("content-length"), "{error}");
    }
}

#[test]
fn a_message_has_content_length_even_if_the_send_had_none() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    assert!(server.hear("SEND\ndestination:/topic/a\n\nhello\0").ends_with("\ncontent-length:5\n\nhello\0"));
    assert!(server.hear("SEND\ndestination:/topic/a\n\n\0").ends_with("\ncontent-length:0\n\n\0"));
}

#[test]
fn an_error_with_a_body_has_content_length_and_content_type() {
    use stompede_protocol::ErrorFrame;
    let mut server = server();
    server.session.close(&ErrorFrame { message: "m", code: "c", body: b"why", ..ErrorFrame::default() });
    let expected =
        "ERROR\nmessage:m\nerror-code:c\ncontent-type:text/plain;charset=utf-8\ncontent-length:3\n\nwhy\0";
    assert_eq!(server.hear(""), expected);
}

#[test]
fn content_type_passes_through() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\ncontent-type:text/html;charset=utf-8\n\nx\0");
    assert!(message.contains("\ncontent-type:text/html;charset=utf-8\n"), "{message}");
}

#[test]
fn any_frame_but_connect_may_ask_for_a_receipt() {
    let mut server = Server::new(Limits::default());
    let connected = server.hear("CONNECT\naccept-version:1.2\nhost:h\nreceipt:0\n\n\0");
    assert!(!connected.contains("receipt"), "{connected}");
    let frames = [
        "SEND\ndestination:/a",
        "SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client",
        "UNSUBSCRIBE\nid:0",
        "BEGIN\ntransaction:1",
        "COMMIT\ntransaction:1",
        "BEGIN\ntransaction:1",
        "ABORT\ntransaction:1",
        "DISCONNECT",
    ];
    for (number, frame) in frames.into_iter().enumerate() {
        let answer = server.hear(format!("{frame}\nreceipt:{number}\n\n\0"));
        assert_eq!(answer, format!("RECEIPT\nreceipt-id:{number}\n\n\0"), "{frame}");
    }
}

#[test]
fn the_first_of_repeated_headers_counts() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\nid:1\ndestination:/topic/a\ndestination:/topic/b\n\n\0");
    assert_eq!(server.hear("SEND\ndestination:/topic/b\ndestination:/topic/a\n\n\0"), "");
    let message = server.hear("SEND\ndestination:/topic/a\ndestination:/topic/b\n\n\0");
    assert!(message.contains("\nsubscription:0\n"), "{message}");
}

#[test]
fn limits_on_headers_head_and_body_end_in_an_error_that_names_them() {
    let limits = || Limits { headers_max: 3, head_bytes_max: 200, body_bytes_max: 10, ..Limits::default() };
    let refused = |frame: &str| Server::connected_within(Version::V1_2, limits()).refuse(frame);
    assert!(refused("SEND\na:1\nb:2\nc:3\nd:4\n\n\0").contains("more than 3 headers"));
    assert!(refused(&format!("SEND\na:{}\n\n\0", "x".repeat(200))).contains("longer than 200 bytes"));
    assert!(refused("SEND\ndestination:/a\n\n01234567890\0").contains("longer than 10 bytes"));
    assert!(refused("SEND\ndestination:/a\ncontent-length:11\n\n").contains("longer than 10 bytes"));
}

#[test]
fn a_header_without_colon_or_name_is_refused() {
    server().refuse("SEND\ndestination:/a\nnonsense\n\n\0");
    server().refuse("SEND\ndestination:/a\n:v\n\n\0");
}

#[test]
fn a_header_of_a_kibibyte_passes() {
    let receipt = "x".repeat(1_024);
    let answer = server().hear(format!("SEND\ndestination:/a\nreceipt:{receipt}\n\n\0"));
    assert_eq!(answer, format!("RECEIPT\nreceipt-id:{receipt}\n\n\0"));
}

// Connect

#[test]
fn connect_tells_the_broker_who_it_is() {
    use stompede_protocol::{Event, HeartBeat};
    let mut server = Server::new(Limits::default());
    let mut input = &b"CONNECT\naccept-version:1.2\nhost:h\nlogin: a\npasscode:b:c\nAuthorization:Bearer d\n\
        heart-beat:1,2\n\n\0SEND\n"[..];
    let Some(Event::Connect(connect)) = server.session.receive(Millis(0), &mut input) else {
        panic!("no CONNECT")
    };
    assert_eq!((connect.login.as_deref(), connect.passcode.as_deref()), (Some(" a"), Some("b:c")));
    assert_eq!((connect.host.as_deref(), connect.authorization.as_deref()), (Some("h"), Some("Bearer d")));
    assert_eq!(connect.heart_beat, HeartBeat { send_ms: 1, receive_ms: 2 });
    assert!(server.session.receive(Millis(0), &mut input).is_none());
    assert_eq!(input, b"SEND\n", "what follows CONNECT waits for the answer");
}

#[test]
fn stomp_is_handled_as_connect() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("STOMP\naccept-version:1.2\nhost:h\n\n\0").starts_with("CONNECTED\nversion:1.2\n"));
}

#[test]
fn a_rejected_connect_gets_error_and_the_end() {
    let mut server = Server::new(Limits::default());
    server.refuse("CONNECT\naccept-version:1.2\nhost:h\nheart-beat:x\n\n\0");
}

#[test]
fn connected_says_version_heart_beat_session_and_server() {
    let mut server = Server::new(Limits::default());
    let expected = "CONNECTED\nversion:1.2\nheart-beat:10000,10000\nsession:s:1\nserver:test/1\n\n\0";
    assert_eq!(server.hear("CONNECT\naccept-version:1.2\nhost:h\n\n\0"), expected);
}

#[test]
fn without_accept_version_it_is_1_0() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\nlogin:a\n\n\0").starts_with("CONNECTED\nversion:1.0\n"));
    assert_eq!(server.session.version(), Version::V1_0);
}

#[test]
fn the_highest_common_version_is_used() {
    for (accepted, version) in
        [("1.0,1.1,1.2", "1.2"), ("1.2,1.0", "1.2"), ("1.0,1.1,1.3", "1.1"), ("1.0,10.1", "1.0")]
    {
        let mut server = Server::new(Limits::default());
        let connected = server.hear(format!("CONNECT\naccept-version:{accepted}\nhost:h\n\n\0"));
        assert!(connected.contains(&format!("\nversion:{version}\n")), "{accepted}: {connected}");
    }
}

#[test]
fn no_common_version_is_an_error_that_lists_ours() {
    let error = Server::new(Limits::default()).refuse("CONNECT\naccept-version:1.3,2.0\nhost:h\n\n\0");
    assert!(error.contains("\nversion:1.0,1.1,1.2\n"), "{error}");
    assert!(error.contains("\nmessage:none of the versions '1.3,2.0' is supported"), "{error}");
}

#[test]
fn a_missing_host_is_accepted() {
    let mut server = Server::new(Limits::default());
    assert!(server.hear("CONNECT\naccept-version:1.2\n\n\0").starts_with("CONNECTED\n"));
}

#[test]
fn no_frame_before_connect_is_obeyed() {
    for frame in ["SEND\ndestination:/a\n\n\0", "SUBSCRIBE\nid:0\ndestination:/a\n\n\0", "DISCONNECT\n\n\0"] {
        assert!(Server::new(Limits::default()).refuse(frame).contains("came before CONNECT"));
    }
}

#[test]
fn a_second_connect_is_refused() {
    for command in ["CONNECT", "STOMP"] {
        let error = server().refuse(format!("{command}\naccept-version:1.2\nhost:h\n\n\0"));
        assert!(error.contains("connected already"), "{error}");
    }
}

#[test]
fn a_connect_that_never_comes_is_told_once() {
    let mut server = Server::new(Limits::default());
    server.feed(b"CONNECT\naccept");
    assert_eq!(server.session.poll_timeout(), Some(Millis(10_000)));
    assert_eq!(server.session.handle_timeout(Millis(9_999)), None);
    assert_eq!(server.session.handle_timeout(Millis(10_000)), Some(Timeout::Login));
    assert_eq!(server.session.handle_timeout(Millis(10_001)), None);
    assert!(server.session.violation_of(Timeout::Login).to_string().contains("10000 ms"));
}

#[test]
fn a_stranger_may_send_little() {
    let limits = Limits { unconnected_bytes_max: 100, ..Limits::default() };
    let mut server = Server::new(limits.clone());
    assert!(server.refuse("\n".repeat(101)).contains("more than 100 bytes"));
    let mut server = Server::new(limits);
    assert_eq!(server.hear("\n".repeat(60)), "");
    assert!(
        server.refuse("CONNECT\naccept-version:1.2\nlogin:someone\n\n\0").contains("more than 100 bytes")
    );
}

#[test]
fn what_belongs_here_is_told_to_http_and_tls() {
    let mut server = Server::new(Limits::default());
    assert!(server.refuse("GET /ws HTTP/1.1\r\n\r\n").contains("STOMP port"));
    let mut server = Server::new(Limits::default());
    assert!(server.refuse(b"\x16\x03\x01\x02\x00\x01\x00").contains("TLS"));
}

// Client frames

#[test]
fn an_unknown_command_is_refused_and_named_safely() {
    let error = server().refuse("FOO\u{7}BAR\n\n\0");
    assert!(error.contains("message:unknown command 'FOO?BAR'"), "{error}");
}

#[test]
fn a_frame_of_the_server_is_refused() {
    for command in ["MESSAGE", "RECEIPT", "CONNECTED", "ERROR"] {
        server().refuse(format!("{command}\n\n\0"));
    }
}

#[test]
fn send_and_subscribe_need_a_destination() {
    for frame in ["SEND\n", "SEND\ndestination:\n", "SUBSCRIBE\nid:0\n", "SUBSCRIBE\nid:0\ndestination:\n"] {
        assert!(server().refuse(format!("{frame}\n\0")).contains("destination"));
    }
}

#[test]
fn user_headers_pass_through_to_the_message() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\ncorrelation-id:7\npriority:9\nfoo:bar\n\n\0");
    for header in ["correlation-id:7", "priority:9", "foo:bar"] {
        assert!(message.contains(&format!("\n{header}\n")), "{message}");
    }
}

#[test]
fn subscribe_needs_an_id() {
    assert!(server().refuse("SUBSCRIBE\ndestination:/a\n\n\0").contains("needs the header 'id'"));
}

#[test]
fn ids_of_subscriptions_differ_within_a_connection() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/a\n\n\0");
    assert!(
        server.refuse("SUBSCRIBE\nid:0\ndestination:/b\n\n\0").contains("subscription '0' is open already")
    );
}

#[test]
fn a_freed_id_can_be_used_again() {
    let mut server = server();
    let answer = server.hear(
        "SUBSCRIBE\nid:0\ndestination:/a\n\n\0UNSUBSCRIBE\nid:0\n\n\0SUBSCRIBE\nid:0\ndestination:/a\nreceipt:1\n\n\0",
    );
    assert_eq!(answer, "RECEIPT\nreceipt-id:1\n\n\0");
}

#[test]
fn subscriptions_and_their_ids_are_bounded() {
    let limits = || Limits { subscriptions_max: 2, subscription_id_bytes_max: 4, ..Limits::default() };
    let mut server = Server::connected_within(Version::V1_2, limits());
    server.hear("SUBSCRIBE\nid:0\ndestination:/a\n\n\0SUBSCRIBE\nid:1\ndestination:/a\n\n\0");
    assert!(server.refuse("SUBSCRIBE\nid:2\ndestination:/a\n\n\0").contains("more than 2 subscriptions"));
    let mut server = Server::connected_within(Version::V1_2, limits());
    assert!(server.refuse("SUBSCRIBE\nid:01234\ndestination:/a\n\n\0").contains("longer than 4 bytes"));
}

#[test]
fn ack_is_auto_by_default_and_one_of_three() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    assert!(!server.hear("SEND\ndestination:/topic/a\n\n\0").contains("\nack:"));
    for mode in ["auto", "client", "client-individual"] {
        let frame = format!("SUBSCRIBE\nid:{mode}\ndestination:/topic/b\nack:{mode}\nreceipt:1\n\n\0");
        assert_eq!(server.hear(frame), "RECEIPT\nreceipt-id:1\n\n\0");
    }
    server.refuse("SUBSCRIBE\nid:x\ndestination:/topic/a\nack:bogus\n\n\0");
}

#[test]
fn a_client_ack_covers_its_message_and_all_earlier_ones() {
    let mut server = with_three_outstanding("client");
    assert_eq!(server.hear("ACK\nid:m2@1-2\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
    assert_eq!(server.acked, [1, 2]);
    server.hear("NACK\nid:m3@1-3\n\n\0");
    assert_eq!(server.nacked, [3]);
}

#[test]
fn an_individual_ack_covers_its_message_alone() {
    let mut server = with_three_outstanding("client-individual");
    server.hear("ACK\nid:m3@1-3\n\n\0NACK\nid:m1@1-1\n\n\0ACK\nid:m2@1-2\n\n\0");
    assert_eq!((&server.acked[..], &server.nacked[..]), (&[3, 2][..], &[1][..]));
}

#[test]
fn nothing_comes_after_unsubscribe() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    assert_eq!(server.hear("UNSUBSCRIBE\nid:0\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
    assert_eq!(server.hear("SEND\ndestination:/topic/a\n\n\0"), "");
}

#[test]
fn unsubscribe_needs_the_id_of_a_subscription() {
    assert!(server().refuse("UNSUBSCRIBE\nid:7\n\n\0").contains("no subscription '7'"));
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/a\n\n\0");
    assert!(server.refuse("UNSUBSCRIBE\ndestination:/a\n\n\0").contains("needs the header 'id'"));
}

#[test]
fn what_was_not_acknowledged_comes_back_with_unsubscribe() {
    let mut server = with_three_outstanding("client-individual");
    server.hear("ACK\nid:m2@1-2\n\n\0UNSUBSCRIBE\nid:0\n\n\0");
    assert_eq!(server.returned, [1, 3]);
    server.refuse("ACK\nid:m1@1-1\n\n\0");
}

#[test]
fn ack_needs_the_id_that_the_message_had_as_ack() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\nack:client\n\n\0");
    let message = server.hear("SEND\ndestination:/topic/a\n\n\0");
    assert!(message.contains("\nmessage-id:m1@1-1\n") && message.contains("\nack:m1@1-1\n"), "{message}");
    assert_eq!(server.hear("ACK\nid:m1@1-1\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
    let error = server.refuse("ACK\nmessage-id:m1@1-1\nsubscription:0\nreceipt:2\n\n\0");
    assert!(error.contains("needs the header 'id'") && error.contains("\nreceipt-id:2\n"), "{error}");
}

#[test]
fn an_unknown_ack_id_is_refused_with_its_receipt_id_and_settles_nothing() {
    for id in ["m4@1-4", "m1@2-1", "m1", "1-1", "", "m1@1-0"] {
        for command in ["ACK", "NACK"] {
            let mut server = with_three_outstanding("client");
            let error = server.refuse(format!("{command}\nid:{id}\nreceipt:9\n\n\0"));
            assert!(error.contains("\nreceipt-id:9\n"), "{error}");
            let key = server.session.subscriptions().next().unwrap().key;
            assert_eq!((server.session.unacked(key), server.acked.len(), server.nacked.len()), (3, 0, 0));
        }
    }
}

#[test]
fn an_ack_without_any_subscription_or_in_auto_mode_is_refused() {
    server().refuse("ACK\nid:m1@1-1\n\n\0");
    with_three_outstanding("auto").refuse("ACK\nid:m1@1-1\n\n\0");
}

#[test]
fn a_second_ack_of_a_message_is_refused() {
    let mut server = with_three_outstanding("client-individual");
    server.hear("ACK\nid:m1@1-1\n\n\0");
    server.refuse("ACK\nid:m1@1-1\n\n\0");
    assert_eq!(server.acked, [1]);
}

#[test]
fn deliveries_wait_when_too_many_are_unacknowledged() {
    let limits = Limits { unacked_max: 2, ..Limits::default() };
    let mut server = Server::connected_within(Version::V1_2, limits);
    server.hear("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\0");
    let key = server.session.subscriptions().next().unwrap().key;
    assert!(server.session.deliver(key, 1).is_some() && server.session.deliver(key, 2).is_some());
    assert_eq!(server.session.deliver(key, 3), None);
    server.hear("ACK\nid:m@1-1\n\n\0");
    assert_eq!(server.session.deliver(key, 3).map(|id| id.number), Some(3));
}

// Transactions

#[test]
fn a_transaction_takes_effect_at_commit_in_order_with_its_receipts_after_it() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:1\ndestination:/topic/b\n\n\0");
    assert_eq!(server.hear("BEGIN\ntransaction:t\nreceipt:b\n\n\0"), "RECEIPT\nreceipt-id:b\n\n\0");
    assert_eq!(server.hear("SEND\ndestination:/topic/a\ntransaction:t\nreceipt:1\n\none\0"), "");
    assert_eq!(server.hear("SEND\ndestination:/topic/b\ntransaction:t\nreceipt:2\n\ntwo\0"), "");
    let all = server.hear("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    let places =
        ["one\0", "receipt-id:1\n", "two\0", "receipt-id:2\n", "receipt-id:c\n"].map(|part| all.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{all}");
}

#[test]
fn an_aborted_transaction_has_no_effect_and_no_receipts_but_its_own() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0BEGIN\ntransaction:t\n\n\0");
    assert_eq!(server.hear("SEND\ndestination:/topic/a\ntransaction:t\nreceipt:1\n\none\0"), "");
    assert_eq!(server.hear("ABORT\ntransaction:t\nreceipt:a\n\n\0"), "RECEIPT\nreceipt-id:a\n\n\0");
}

#[test]
fn a_transaction_id_is_free_again_after_its_end() {
    let mut server = server();
    for end in ["COMMIT", "ABORT", "COMMIT"] {
        let answer = server.hear(format!("BEGIN\ntransaction:t\n\n\0{end}\ntransaction:t\nreceipt:1\n\n\0"));
        assert_eq!(answer, "RECEIPT\nreceipt-id:1\n\n\0");
    }
}

#[test]
fn ids_of_open_transactions_differ() {
    let mut server = server();
    server.hear("BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:u\n\n\0");
    assert!(server.refuse("BEGIN\ntransaction:t\n\n\0").contains("transaction 't' is open already"));
}

#[test]
fn an_unknown_transaction_is_refused() {
    for frame in ["COMMIT\n", "ABORT\n", "SEND\ndestination:/a\n", "ACK\nid:m1@1-1\n", "NACK\nid:m1@1-1\n"] {
        let error = with_three_outstanding("client").refuse(format!("{frame}transaction:t\nreceipt:1\n\n\0"));
        assert!(
            error.contains("no transaction 't'") && error.contains("\nreceipt-id:1\n"),
            "{frame}: {error}"
        );
    }
}

#[test]
fn begin_commit_and_abort_need_a_transaction() {
    for command in ["BEGIN", "COMMIT", "ABORT"] {
        assert!(server().refuse(format!("{command}\n\n\0")).contains("needs the header 'transaction'"));
    }
}

#[test]
fn an_ack_in_a_transaction_settles_at_commit_only() {
    let mut server = with_three_outstanding("client");
    server.hear("BEGIN\ntransaction:t\n\n\0ACK\nid:m2@1-2\ntransaction:t\n\n\0");
    assert!(server.acked.is_empty());
    server.hear("COMMIT\ntransaction:t\n\n\0");
    assert_eq!(server.acked, [1, 2]);
}

#[test]
fn an_ack_in_an_aborted_transaction_can_be_done_again() {
    for (mode, settled) in [("client", vec![1, 2]), ("client-individual", vec![2])] {
        let mut server = with_three_outstanding(mode);
        server
            .hear("BEGIN\ntransaction:t\n\n\0ACK\nid:m2@1-2\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0");
        assert!(server.acked.is_empty());
        assert_eq!(server.hear("ACK\nid:m2@1-2\nreceipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0");
        assert_eq!(server.acked, settled);
    }
}

#[test]
fn acks_in_a_transaction_may_come_in_any_order() {
    let mut server = with_three_outstanding("client-individual");
    server.hear(
        "BEGIN\ntransaction:t\n\n\0ACK\nid:m3@1-3\ntransaction:t\n\n\0NACK\nid:m1@1-1\ntransaction:t\n\n\0",
    );
    server.hear("ACK\nid:m2@1-2\ntransaction:t\n\n\0COMMIT\ntransaction:t\n\n\0");
    assert_eq!((&server.acked[..], &server.nacked[..]), (&[3, 2][..], &[1][..]));
}

#[test]
fn what_a_transaction_acknowledges_is_not_acknowledged_twice() {
    let mut server = with_three_outstanding("client-individual");
    server.hear("BEGIN\ntransaction:t\n\n\0ACK\nid:m1@1-1\ntransaction:t\n\n\0");
    server.refuse("ACK\nid:m1@1-1\n\n\0");
}

#[test]
fn one_transaction_for_each_of_fifty_messages() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client-individual\n\n\0");
    for number in 1..=50 {
        server.publish("/queue/a", &[], b"");
        let ack = format!("ACK\nid:m{number}@1-{number}\ntransaction:t\n\n\0");
        server.hear(format!("BEGIN\ntransaction:t\n\n\0{ack}COMMIT\ntransaction:t\n\n\0"));
    }
    assert_eq!(server.acked, (1..=50).collect::<Vec<_>>());
}

#[test]
fn transactions_and_what_they_hold_are_bounded() {
    let limits = || Limits { transactions_max: 2, transaction_bytes_max: 4_096, ..Limits::default() };
    let mut server = Server::connected_within(Version::V1_2, limits());
    server.hear("BEGIN\ntransaction:1\n\n\0BEGIN\ntransaction:2\n\n\0");
    assert!(server.refuse("BEGIN\ntransaction:3\n\n\0").contains("more than 2 open transactions"));
    let big = format!("SEND\ndestination:/a\ntransaction:1\n\n{}\0", "x".repeat(2_000));
    let mut server = Server::connected_within(Version::V1_2, limits());
    server.hear("BEGIN\ntransaction:1\n\n\0");
    assert_eq!(server.hear(&big), "");
    assert!(server.refuse(&big).contains("more than 4096 bytes"));
    let mut server = Server::connected_within(Version::V1_2, limits());
    server.hear("BEGIN\ntransaction:1\n\n\0");
    let small = "SEND\ndestination:/a\ntransaction:1\n\n\0".repeat(20);
    assert!(server.refuse(small).contains("more than 4096 bytes"), "empty frames take memory, too");
}

#[test]
fn open_transactions_are_aborted_at_disconnect() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0BEGIN\ntransaction:t\n\n\0");
    server.hear("SEND\ndestination:/topic/a\ntransaction:t\nreceipt:1\n\none\0");
    assert_eq!(server.hear("DISCONNECT\nreceipt:2\n\n\0"), "RECEIPT\nreceipt-id:2\n\n\0");
}

// Disconnect, and the server's frames

#[test]
fn a_session_that_ended_holds_next_to_nothing() {
    let mut server = server();
    server.hear(
        "SUBSCRIBE\nid:0\ndestination:/a\n\n\0BEGIN\ntransaction:t\n\n\0SEND\ndestination:/a\n\nhalf a body",
    );
    assert!(server.session.buffered_bytes() > 0);
    server.session.end();
    assert_eq!((server.session.buffered_bytes(), server.session.poll_timeout()), (0, None));
    assert!(server.take().is_empty());
}

#[test]
fn disconnect_gets_its_receipt_and_nothing_after_it_is_read() {
    let mut server = server();
    let input = "SEND\ndestination:/a\nreceipt:1\n\n\0DISCONNECT\nreceipt:2\n\n\0SEND\ndestination:/a\nreceipt:3\n\n\0";
    assert_eq!(server.hear(input), "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0");
    assert!(server.session.is_closed());
}

#[test]
fn a_message_has_destination_message_id_subscription_and_ack() {
    let mut server = server();
    server.hear(
        "SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:1\ndestination:/topic/a\nack:client\n\n\0",
    );
    let expected = "MESSAGE\nsubscription:0\nmessage-id:m1\ndestination:/topic/a\ncontent-length:1\n\nx\0\
        MESSAGE\nsubscription:1\nmessage-id:m1@2-1\nack:m1@2-1\ndestination:/topic/a\ncontent-length:1\n\nx\0";
    assert_eq!(server.hear("SEND\ndestination:/topic/a\n\nx\0"), expected);
}

#[test]
fn a_sender_forges_none_of_the_servers_headers() {
    let mut server = server();
    server.hear("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
    let send =
        "SEND\ndestination:/topic/a\nmessage-id:x\nsubscription:y\nack:z\nk:v\\nsubscription\\cw\n\nx\0";
    let expected = "MESSAGE\nsubscription:0\nmessage-id:m1\ndestination:/topic/a\nk:v\\nsubscription\\cw\n\
        content-length:1\n\nx\0";
    assert_eq!(server.hear(send), expected);
}

#[test]
fn the_receipt_has_the_id_byte_for_byte() {
    assert_eq!(
        server().hear("SEND\ndestination:/a\nreceipt: a\\cb\\\\ \n\n\0"),
        "RECEIPT\nreceipt-id: a\\cb\\\\ \n\n\0"
    );
}

#[test]
fn an_error_has_message_and_the_receipt_id_of_the_frame_at_fault() {
    let error = server().refuse("UNSUBSCRIBE\nid:7\nreceipt:r\n\n\0");
    assert_eq!(error, "ERROR\nmessage:there is no subscription '7'\nreceipt-id:r\ncontent-length:0\n\n\0");
}

#[test]
fn an_error_has_the_receipt_id_even_if_the_body_is_at_fault() {
    let limits = || Limits { body_bytes_max: 10, ..Limits::default() };
    for body in ["\n01234567890\0", "content-length:11\n\n01234567890\0", "content-length:1\n\n01\0"] {
        let frame = format!("SEND\ndestination:/a\nreceipt:r\n{body}");
        let whole = Server::connected_within(Version::V1_2, limits()).refuse(&frame);
        assert!(whole.contains("\nreceipt-id:r\n"), "{whole}");
        let mut server = Server::connected_within(Version::V1_2, limits());
        let cut: String = frame.as_bytes().chunks(1).map(|byte| server.hear(byte)).collect();
        assert_eq!(cut, whole);
    }
}

#[test]
fn receipts_already_owed_can_be_given_after_a_fault_and_before_the_error() {
    use stompede_protocol::{ErrorFrame, Event};
    let mut server = server();
    let mut input = &b"SEND\ndestination:/a\nreceipt:1\n\n\0NONSENSE\n\n\0"[..];
    let Some(Event::Send(send)) = server.session.receive(Millis(0), &mut input) else { panic!("no SEND") };
    let Some(Event::Violation(..)) = server.session.receive(Millis(0), &mut input) else {
        panic!("no violation")
    };
    server.session.complete(send.receipt.unwrap());
    server.session.close(&ErrorFrame { message: "m", ..ErrorFrame::default() });
    assert_eq!(server.hear(""), "RECEIPT\nreceipt-id:1\n\n\0ERROR\nmessage:m\ncontent-length:0\n\n\0");
}

#[test]
fn several_frames_in_one_write_and_one_frame_in_many() {
    let frames = "SEND\ndestination:/a\nreceipt:1\n\n\0SEND\ndestination:/a\nreceipt:2\n\n\0";
    let receipts = "RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0";
    assert_eq!(server().hear(frames), receipts);
    let mut server = server();
    let answers: String = frames.as_bytes().chunks(3).map(|part| server.hear(part)).collect();
    assert_eq!(answers, receipts);
}

#[test]
fn a_carriage_return_in_a_header_is_fatal() {
    for head in ["k:a\rb", "k\ra:b", "k:a\r\r"] {
        let error = server().refuse(format!("SEND\ndestination:/topic/a\n{head}\n\n\0"));
        assert!(error.contains("carriage return"), "{error}");
    }
}
