use std::cell::Cell;

use proptest::prelude::*;
use stompede_protocol::Headers;

use super::*;
use crate::model::{Destination, Message, MessageId};

fn message(headers: &[(&str, &str)], body: &[u8], position: Option<Position>) -> Message {
    Message {
        id: MessageId { node: 1, number: 7 },
        destination: Destination::internal("/topic/a"),
        timestamp_ms: 0,
        sender: None,
        headers: headers.iter().copied().collect::<Headers>(),
        body: Bytes::copy_from_slice(body),
        text: std::str::from_utf8(body).is_ok(),
        position,
        numbered: false,
    }
}

fn delivery(message: &Message) -> Delivery<'_> {
    let shown = message.destination.as_str();
    Delivery { message, subscription: Some("1"), shown, ack: None, redelivered: None, recovered: None }
}

fn event(headers: &[(&str, &str)], body: &[u8]) -> String {
    let message = message(headers, body, None);
    let encoded = EventEncoder { is_numbered: true }.whole(&delivery(&message));
    String::from_utf8(encoded.to_vec()).unwrap()
}

/// The name and the data of the one event in a text, read as the specification says.
fn read(text: &str) -> (String, String) {
    let (mut name, mut data) = (String::new(), String::new());
    let block = text.strip_suffix("\n\n").unwrap();
    for line in block.split('\n') {
        assert!(!line.is_empty(), "two events in {text:?}");
        match line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")) {
            ("event", value) => name = value.to_owned(),
            ("data", value) => data += &format!("{value}\n"),
            (field, _) => panic!("{field} in {text:?}"),
        }
    }
    (name, data.strip_suffix('\n').unwrap().to_owned())
}

#[test]
fn a_message_is_an_event_with_the_name_that_its_sender_gave_it() {
    assert_eq!(event(&[("event", "price")], b"{\"a\":1}"), "event: price\ndata: {\"a\":1}\n\n");
    assert_eq!(event(&[], b""), "event: message\ndata: \n\n");
}

#[test]
fn no_sender_speaks_for_the_stream_or_breaks_a_line() {
    for name in
        ["", "connected", "recovered", "heartbeat", "closed", "binary", "open", "error", "a\nid: 1", "a\r"]
    {
        assert_eq!(read(&event(&[("event", name)], b"x")), ("message".into(), "x".into()), "{name:?}");
    }
}

#[test]
fn what_is_no_text_is_said_to_be_none() {
    assert_eq!(event(&[("event", "price")], &[0, 0xff]), "event: binary\ndata: AP8=\n\n");
}

#[test]
fn a_position_is_the_cursor_of_those_with_one_destination_only() {
    let message = message(&[], b"x", Some(Position { epoch: 0xab, offset: 7 }));
    let of = |is_numbered| EventEncoder { is_numbered }.whole(&delivery(&message));
    assert_eq!(of(true), "id: 00000000000000ab-7\nevent: message\ndata: x\n\n");
    assert_eq!(of(false), "event: message\ndata: x\n\n");
}

#[test]
fn head_and_tail_are_the_whole() {
    for recovered in [None, Some(true), Some(false)] {
        let message = message(&[("event", "e")], b"x\ny", Some(Position { epoch: 1, offset: 1 }));
        let encoder = EventEncoder { is_numbered: true };
        let delivery = Delivery { recovered, ..delivery(&message) };
        let tail = encoder.tail(&delivery);
        let parts = [encoder.head(&delivery, &tail), tail.bytes.clone()].concat();
        assert_eq!(encoder.whole(&delivery), parts);
        assert_eq!(encoder.join(&delivery, &tail), parts);
        let is_told = parts.starts_with(b"event: recovered\ndata: false\n\n");
        assert_eq!(is_told, recovered == Some(false));
    }
}

#[test]
fn a_cursor_is_read_as_it_was_written_and_another_leads_nowhere() {
    let position = |offset| Some(Position { epoch: u64::MAX, offset });
    let all = vec![position(u64::MAX); 16];
    assert!(cursor(&all).len() <= 16 * 38);
    for wanted in [vec![None], vec![position(1)], vec![position(1), None, position(3)], all] {
        assert_eq!(positions(&cursor(&wanted), wanted.len()), wanted);
    }
    let one = cursor(&[position(1)]);
    for (text, count) in
        [("", 1), ("x", 1), (&*one, 2), (&*format!("{one},{one}"), 1), (&*",".repeat(1 << 16), 2)]
    {
        assert_eq!(positions(text, count), vec![None; count], "{text:.40}");
    }
}

#[test]
fn the_first_that_is_fed_is_said_for_the_client_and_too_much_of_its_own_is_an_error() {
    let (mut events, said) = (Events::default(), Cell::new(0));
    let mut sink = |incoming: Incoming<'_>| match incoming {
        Incoming::Payload { bytes, .. } => said.set(said.get() + bytes.len()),
        other => panic!("{other:?}"),
    };
    events.receive(b"CONNECT\n\n\0", &mut sink).unwrap();
    events.receive(&[b'x'; DISCARDED_BYTES_MAX], &mut sink).unwrap();
    assert_eq!(said.get(), 10);
    let error = events.receive(b"x", &mut sink).unwrap_err();
    assert_eq!(error.reason(), crate::model::CloseReason::TooLarge);
}

proptest! {
    /// Its lines, however they end; what ends them is a line feed then, and NUL is nothing.
    #[test]
    fn every_text_arrives(text in "([a-zü:]| |\n|\r|\r\n|\0){0,20}") {
        let expected = text.replace('\0', "").replace("\r\n", "\n").replace('\r', "\n");
        // A carriage return and a line feed with NUL between them are two ends.
        let apart = text.contains("\r\0");
        let (name, data) = read(&event(&[], text.as_bytes()));
        prop_assert_eq!(name, "message");
        prop_assert!(apart || data == expected, "{:?}", data);
    }
}
