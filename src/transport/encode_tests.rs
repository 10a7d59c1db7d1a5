use super::super::websocket::frame::{open, open_compressed};
use super::*;
use crate::model::{Destination, Message, MessageId};
use proptest::prelude::*;
use stompede_protocol::{AckId, Command, Decoder, Headers, Item, Limits, SubscriptionKey};

fn message(headers: &[(&str, &str)], body: &[u8]) -> Message {
    Message {
        id: MessageId { node: 0xbeef, number: 7 },
        destination: Destination::internal("/topic/a"),
        timestamp_ms: 1_700_000_000_123,
        sender: Some("alice".into()),
        headers: headers.iter().copied().collect::<Headers>(),
        body: Bytes::copy_from_slice(body),
        text: std::str::from_utf8(body).is_ok(),
        position: None,
        numbered: false,
    }
}

fn delivery(message: &Message) -> Delivery<'_> {
    Delivery {
        message,
        subscription: Some("sub-0"),
        shown: message.destination.as_str(),
        ack: None,
        redelivered: None,
        recovered: None,
    }
}

fn of(wire: Wire, version: Version) -> Box<dyn Encoder> {
    Box::new(StompEncoder { wire, version })
}

#[test]
fn a_message_carries_its_headers_in_order() {
    let message = message(&[("content-type", "text/plain"), ("k", "a:b")], b"hi");
    let frame = of(Wire::Raw, Version::V1_2).whole(&delivery(&message));
    let expected = "MESSAGE\nsubscription:sub-0\nmessage-id:beef-7\ndestination:/topic/a\ncontent-type:text/plain\n\
        k:a\\cb\ntimestamp:1700000000123\nuser-name:alice\ncontent-length:2\n\nhi\0";
    assert_eq!(std::str::from_utf8(&frame).unwrap(), expected);
}

#[test]
fn client_modes_number_the_delivery_and_only_1_2_names_ack() {
    let message = message(&[], b"");
    let ack = AckId { subscription: SubscriptionKey(3), number: 41 };
    for version in Version::ALL {
        let delivery =
            Delivery { ack: Some(ack), redelivered: Some(3), shown: "/user/queue/x", ..delivery(&message) };
        let frame = of(Wire::Raw, version).whole(&delivery);
        let text = std::str::from_utf8(&frame).unwrap();
        let id = ack.on_wire(&message.id.to_string());
        assert!(text.contains(&format!("\nmessage-id:{id}\n")), "{text}");
        assert_eq!(text.contains(&format!("\nack:{id}\n")), version == Version::V1_2, "{text}");
        assert!(
            text.contains("\nredelivered:true\nstompede-delivery-count:3\ndestination:/user/queue/x\n"),
            "{text}"
        );
    }
}

#[test]
fn only_utf8_leaves_in_text_messages() {
    let (text, binary) = (message(&[], "ü".as_bytes()), message(&[], b"\xff"));
    for (wire, message, expected) in [
        (Wire::Text, &text, true),
        (Wire::Text, &binary, false),
        (Wire::Binary, &text, false),
        (Wire::Binary, &binary, false),
    ] {
        assert_eq!(open(&of(wire, Version::V1_2).whole(&delivery(message))).0, expected);
    }
    assert!(open(&of(Wire::Text, Version::V1_2).wrap(Bytes::from_static(b"\n"))).0);
    assert!(!open(&of(Wire::Text, Version::V1_2).wrap(Bytes::from_static(b"ERROR\n\n\xff\0"))).0);
    assert!(!open(&of(Wire::Binary, Version::V1_2).wrap(Bytes::from_static(b"\n"))).0);
    assert_eq!(of(Wire::Raw, Version::V1_2).wrap(Bytes::from_static(b"\n")), "\n");
}

#[test]
fn a_long_message_is_compressed_where_it_was_agreed() {
    let body = r#"{"room":"4711","content":"Hello?"},"#.repeat(20);
    let (long, short) = (message(&[], body.as_bytes()), message(&[], b"Hello?"));
    let binary = message(&[], &[body.as_bytes(), b"\xff"].concat());
    for (wire, text) in [(Wire::DeflateText, true), (Wire::DeflateBinary, false)] {
        let encoder = of(wire, Version::V1_2);
        let whole = encoder.whole(&delivery(&long));
        let (is_text, opened) = open_compressed(&whole);
        assert_eq!(is_text, text);
        assert_eq!(opened, of(Wire::Raw, Version::V1_2).whole(&delivery(&long)));
        assert!(whole.len() * 2 < opened.len(), "{} of {}", whole.len(), opened.len());
        assert_eq!(open(&encoder.whole(&delivery(&short))).0, text);
        assert!(!open_compressed(&encoder.whole(&delivery(&binary))).0);
        assert_eq!(
            open(&encoder.wrap(long.body.clone())).0,
            text,
            "nothing of the broker's own is compressed"
        );
    }
    let plain = of(Wire::Text, Version::V1_2).whole(&delivery(&long));
    assert_eq!(open(&plain).1, of(Wire::Raw, Version::V1_2).whole(&delivery(&long)));
}

#[test]
fn a_message_that_carries_a_secret_is_not_compressed() {
    let body = "a guess at the secret ".repeat(50);
    for name in SECRET_HEADERS {
        let message = message(&[(name, "/reply-queue/00c0ffee")], body.as_bytes());
        let encoder = of(Wire::DeflateText, Version::V1_2);
        assert!(!encoder.tail(&delivery(&message)).is_compressed, "{name}");
        open(&encoder.whole(&delivery(&message)));
    }
    let message = message(&[("content-type", "text/plain")], body.as_bytes());
    assert!(of(Wire::DeflateText, Version::V1_2).tail(&delivery(&message)).is_compressed);
}

#[test]
fn a_subscription_id_longer_than_a_stored_block_is_sent_whole() {
    let message = message(&[], "word ".repeat(200).as_bytes());
    let id = "i".repeat(70_000);
    let delivery = Delivery { subscription: Some(&id), ..delivery(&message) };
    let (_, opened) = open_compressed(&of(Wire::DeflateText, Version::V1_2).whole(&delivery));
    assert_eq!(opened, of(Wire::Raw, Version::V1_2).whole(&delivery));
}

#[test]
fn only_websockets_ping_and_say_why_they_close() {
    assert_eq!(of(Wire::Raw, Version::V1_2).ping(), None);
    assert_eq!(of(Wire::Raw, Version::V1_2).close(1000, ""), None);
    assert_eq!(of(Wire::Text, Version::V1_2).ping().unwrap(), b"\x89\0"[..]);
    for wire in [Wire::Binary, Wire::DeflateText] {
        assert_eq!(of(wire, Version::V1_2).close(1002, "x").unwrap(), b"\x88\x03\x03\xeax"[..]);
    }
    assert_eq!(of(Wire::DeflateBinary, Version::V1_2).ping().unwrap(), b"\x89\0"[..]);
}

#[test]
fn each_kind_finds_its_own_encoder() {
    let message = message(&[("k", "\r")], b"\xff");
    let delivery =
        Delivery { ack: Some(AckId { subscription: SubscriptionKey(0), number: 1 }), ..delivery(&message) };
    let encoders = encoders();
    for wire in STOMP {
        for version in Version::ALL {
            let expected = of(wire, version).whole(&delivery);
            assert_eq!(encoders.of(kind(wire, version)).whole(&delivery), expected, "{wire:?} {version}");
        }
    }
}

proptest! {
    #[test]
    fn head_and_tail_are_the_whole_whatever_the_wire(
        body in prop::collection::vec(any::<u8>(), 0..70_000),
        headers in prop::collection::vec((".{1,9}", ".{0,30}"), 0..9),
        subscription in prop::option::of(".{0,20}"),
        acknowledged in any::<bool>(),
        redelivered in any::<Option<u32>>(),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let message = message(&headers, &body);
        let ack = acknowledged.then_some(AckId { subscription: SubscriptionKey(1), number: 2 });
        let delivery = Delivery { subscription: subscription.as_deref(), ack, redelivered, ..delivery(&message) };
        for version in Version::ALL {
            let plain = of(Wire::Raw, version).whole(&delivery);
            prop_assert!(plain.ends_with(&[b"\n\n", &body[..], b"\0"].concat()));
            for wire in STOMP {
                let encoder = of(wire, version);
                let tail = encoder.tail(&delivery);
                let joined = encoder.join(&delivery, &tail);
                let parts = [encoder.head(&delivery, &tail), tail.bytes].concat();
                prop_assert_eq!(&parts[..], &joined[..]);
                prop_assert_eq!(&parts[..], &encoder.whole(&delivery)[..]);
                let opened = match wire {
                    Wire::Raw => parts,
                    _ if tail.is_compressed => open_compressed(&parts).1,
                    _ => open(&parts).1,
                };
                prop_assert_eq!(&opened[..], &plain[..]);
            }
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again(
        body in prop::collection::vec(any::<u8>(), 0..300),
        headers in prop::collection::vec(("[a-z:\\\\ü]{1,9}", "[a-z:\\\\ü\r\n]{0,30}"), 0..9),
        subscription in "[a-z:]{1,20}",
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let message = message(&headers, &body);
        let delivery = Delivery { subscription: Some(&subscription), ..delivery(&message) };
        for version in Version::ALL {
            let bytes = of(Wire::Raw, version).whole(&delivery);
            let mut decoder = Decoder::new();
            decoder.set_version(version);
            let mut input = &bytes[..];
            let decoded = decoder.decode(&Limits::default(), &mut input);
            let Some(Ok(Item::Frame(frame))) = decoded else { panic!("{version}: {decoded:?}") };
            prop_assert!(input.is_empty());
            prop_assert_eq!(frame.command, Command::Message);
            prop_assert_eq!(&frame.body[..], &body[..]);
            prop_assert_eq!(frame.headers.get("subscription"), Some(&*subscription));
            prop_assert_eq!(frame.headers.get("user-name"), Some("alice"));
            if version == Version::V1_2 {
                let own = frame.headers.len() - headers.len();
                prop_assert_eq!(own, 6, "{:?}", frame.headers);
                let sent: Vec<_> = frame.headers.iter().skip(3).take(headers.len()).collect();
                prop_assert_eq!(sent, headers.clone());
            }
        }
    }

    #[test]
    fn a_frame_without_escapes_takes_one_allocation(
        body in prop::collection::vec(any::<u8>(), 0..5_000),
        headers in prop::collection::vec(("[a-z]{1,9}", "[a-z]{0,90}"), 0..20),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let message = message(&headers, &body);
        let delivery = delivery(&message);
        let encoder = StompEncoder { wire: Wire::Text, version: Version::V1_2 };
        let mut out = encoder.begin(head_room(&delivery) + tail_room(&delivery));
        let place = out.as_ptr();
        encoder.put_head(&delivery, &mut out);
        encoder.put_tail(&delivery, &mut out);
        prop_assert_eq!(out.as_ptr(), place);
    }
}

#[test]
fn a_small_frame_takes_no_more_room_than_it_needs() {
    let wires = [Wire::Raw, Wire::Text, Wire::Binary];
    let cases =
        [0, 1, 200, COPIED_BODY_BYTES_MAX].into_iter().flat_map(|bytes| wires.map(|wire| (bytes, wire)));
    for (bytes, wire) in cases {
        let message = message(&[("a", "b:c")], &vec![b'x'; bytes]);
        let frame = of(wire, Version::V1_2).whole(&delivery(&message));
        let length = frame.len();
        assert!(length > bytes);
        let capacity = frame.try_into_mut().map(|frame| frame.capacity());
        assert_eq!(capacity, Ok(length), "{wire:?}, {bytes} bytes");
    }
}

/// Streams of events are no STOMP, and tried where they are made.
const STOMP: [Wire; 5] = [Wire::Raw, Wire::Text, Wire::Binary, Wire::DeflateText, Wire::DeflateBinary];
