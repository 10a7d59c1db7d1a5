//! The load program's judgement: what proves that a broker delivers must see when it does not.

#[allow(dead_code, reason = "the load program uses all of it")]
#[path = "../benches/load/body.rs"]
mod body;
#[allow(dead_code, reason = "the load program uses all of it")]
#[path = "../benches/load/tally.rs"]
mod tally;
#[allow(dead_code, reason = "the load program uses all of it")]
#[path = "../benches/load/wire.rs"]
mod wire;

use body::{Expected, Stamp, Template};
use tally::Tally;
use wire::{Arrived, Wire};

/// What a receiver of one stream counts, to whom these numbers come, of five that were sent.
fn counted(numbers: &[u32]) -> Tally {
    let mut expected = [Expected::new(7, 0)];
    expected[0].join(0);
    let mut tally = Tally::default();
    for number in numbers {
        tally.arrive(&mut expected, Stamp { stream: 7, number: *number, due: 1_000 }, None, 5_000_000, 0);
    }
    tally.missing += u64::from(expected[0].missing(5));
    tally
}

#[test]
fn all_messages_in_their_order_are_clean() {
    let tally = counted(&[0, 1, 2, 3, 4]);
    assert!(tally.is_clean(), "{tally:?}");
    assert_eq!(tally.received, 5);
    assert!((4.99..5.01).contains(&tally.latency.ms(0.5)), "due to received: {}", tally.latency.ms(0.5));
}

#[test]
fn a_lost_message_is_seen_at_the_beginning_in_between_and_at_the_end() {
    for numbers in [[1, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3]] {
        let tally = counted(&numbers);
        assert_eq!((tally.missing, tally.is_clean()), (1, false), "{numbers:?}");
    }
    assert_eq!(counted(&[]).missing, 5);
}

#[test]
fn a_doubled_message_is_seen() {
    let tally = counted(&[0, 1, 1, 2, 3, 4]);
    assert_eq!((tally.again, tally.missing, tally.is_clean()), (1, 0, false));
}

#[test]
fn two_messages_that_changed_places_are_seen() {
    let tally = counted(&[0, 2, 1, 3, 4]);
    assert_eq!((tally.again, tally.is_clean()), (1, false));
}

#[test]
fn one_who_joins_must_get_everything_sent_after_his_receipt() {
    let joined = |first: u32| {
        let mut expected = Expected::new(0, 0);
        expected.join(3);
        expected.arrive(first);
        expected.missing(6)
    };
    let mut late = Expected::new(0, 0);
    late.join(3);
    assert_eq!(late.arrive(4), body::Arrival::After(1));
    assert_eq!((joined(2), joined(3)), (3, 2), "what was sent before the receipt may come");
    let mut never = Expected::new(0, 0);
    never.join(3);
    assert_eq!(never.missing(6), 3);
}

#[test]
fn one_who_was_promised_what_is_kept_must_get_it_too() {
    let mut expected = Expected::new(0, 0);
    expected.join(2);
    expected.join(5);
    assert_eq!(expected.missing(5), 3, "the RECEIPT takes nothing back");
    assert_eq!(expected.arrive(3), body::Arrival::After(1));
    assert_eq!(expected.missing(5), 1);
}

#[test]
fn a_receipt_carries_the_stamp_of_its_message() {
    let stamp = Stamp { stream: 3, number: 70_000, due: u64::MAX / 7 };
    let mut frame = b"RECEIPT\nreceipt-id:".to_vec();
    stamp.mark(&mut frame);
    frame.extend_from_slice(b"\n\n\0");
    let mut found = None;
    Wire::Tcp.scan(&frame, &mut Vec::new(), |arrived| match arrived {
        Arrived::Receipt { id, .. } => found = Stamp::read(id),
        other => panic!("{other:?}"),
    });
    assert_eq!((found, Stamp::read(b"subscribed")), (Some(stamp), None));
}

#[test]
fn a_message_of_no_subscribed_stream_or_under_another_subscription_is_seen() {
    let mut expected = [Expected::new(1, 0), Expected::new(2, 1)];
    let mut tally = Tally::default();
    let stamp = Stamp { stream: 2, number: 0, due: 0 };
    tally.arrive(&mut expected, stamp, Some(1), 0, 0);
    assert!(tally.is_clean());
    tally.arrive(&mut expected, Stamp { number: 1, ..stamp }, Some(0), 0, 0);
    tally.arrive(&mut expected, Stamp { stream: 3, ..stamp }, Some(1), 0, 0);
    assert_eq!((tally.stray, tally.is_clean()), (2, false));
}

#[test]
fn a_stamp_survives_whatever_stands_around_it() {
    let stamp = Stamp { stream: 0xfffe, number: 12_345, due: u64::MAX / 3 };
    for (text, padding) in
        [("{stamp}{pad}", "x"), ("{\"type\":\"TEXT\",\"content\":\"{stamp}{pad}\"}", "wörter 단어 ")]
    {
        let template = Template::new(text, padding).unwrap();
        for bytes in [0, 33, 100, 101, 4_097] {
            let mut body = Vec::new();
            stamp.write(&template, bytes, &mut body);
            assert_eq!(Stamp::read(&body), Some(stamp));
            assert!(body.len() == bytes || (bytes < 100 && body.len() < 100), "{} for {bytes}", body.len());
            assert!(String::from_utf8(body).is_ok());
        }
    }
    assert_eq!(Stamp::read(b"{\"type\":\"JOIN\"}"), None);
    assert!(Template::new("no place", "x").is_none());
}

#[test]
fn frames_are_found_however_the_bytes_are_cut() {
    let message = "MESSAGE\nsubscription:sub-12\nmessage-id:a\n\nbody\0";
    for wire in [Wire::Tcp, Wire::WebSocket] {
        let whole =
            [unmasked(wire, message), unmasked(wire, "\n"), unmasked(wire, "RECEIPT\nreceipt-id:r\n\n\0")]
                .concat();
        // One frame in two WebSocket messages.
        let halves = [unmasked(wire, &message[..20]), unmasked(wire, &message[20..])].concat();
        for (bytes, expected) in [(whole, vec!["12 body", "r"]), (halves, vec!["12 body"])] {
            for cut in 0..=bytes.len() {
                let (mut pieces, mut found) = (Vec::new(), Vec::new());
                let mut note = |arrived: Arrived<'_>| match arrived {
                    Arrived::Message { head, body } => {
                        let subscription = wire::subscription(head).unwrap();
                        found.push(format!("{subscription} {}", String::from_utf8_lossy(body)));
                    }
                    Arrived::Receipt { id, .. } => found.push(String::from_utf8_lossy(id).into_owned()),
                    other => panic!("{other:?}"),
                };
                let used = wire.scan(&bytes[..cut], &mut pieces, &mut note);
                let rest = wire.scan(&bytes[used..], &mut pieces, &mut note);
                assert_eq!(
                    (used + rest, found.clone()),
                    (bytes.len(), expected.iter().map(|s| (*s).to_owned()).collect())
                );
            }
        }
    }
}

/// As a server sends it.
fn unmasked(wire: Wire, payload: &str) -> Vec<u8> {
    let header = if wire == Wire::Tcp { vec![] } else { vec![0x81, payload.len() as u8] };
    [header, payload.as_bytes().to_vec()].concat()
}

#[test]
fn what_is_sent_is_masked_and_tells_its_length() {
    for length in [0, 125, 126, 65_535, 65_536] {
        let mut bytes = Vec::new();
        Wire::WebSocket.wrap(1, &vec![b'a'; length], &mut bytes);
        let header = if length < 126 {
            6
        } else if length < 65_536 {
            8
        } else {
            14
        };
        assert_eq!((bytes[0], bytes[1] >> 7, bytes.len()), (0x81, 1, header + length));
        let mask = bytes[header - 4..header].to_vec();
        assert!(bytes[header..].iter().zip(mask.iter().cycle()).all(|(byte, mask)| byte ^ mask == b'a'));
    }
}

#[test]
fn the_floor_stays_bare() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let lines: usize = files.map(|text| text.lines().count()).sum();
    assert!(lines < 400, "the floor has {lines} lines");
}
