use super::super::hearing::{FIN, Told, client_frame, feed, told};
use super::*;
use proptest::prelude::*;

/// A frame of a client, masked.
fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    client_frame(opcode | if last { FIN } else { 0 }, payload)
}

fn error(bytes: &[u8]) -> FramingError {
    feed(&mut WebSocket::new(1_000), bytes).1.unwrap_err()
}

#[test]
fn each_ping_gets_its_pong_before_the_next_message() {
    let bytes =
        [frame(9, true, b"1"), frame(9, true, b""), frame(1, true, b"x"), frame(10, true, b"")].concat();
    let expected = [
        Told::Alive,
        Told::Reply(b"\x8a\x011".to_vec()),
        Told::Alive,
        Told::Reply(b"\x8a\0".to_vec()),
        Told::Payload(b"x".to_vec(), true),
        Told::Alive,
    ];
    assert_eq!(told(&mut WebSocket::new(1_000), &bytes), expected);
}

#[test]
fn a_close_is_echoed_and_nothing_after_it_is_looked_at() {
    let bytes = [frame(8, true, &[3, 0xe8, b'b']), frame(1, true, b"late")].concat();
    let mut socket = WebSocket::new(1_000);
    let expected = [Told::Reply(b"\x88\x03\x03\xe8b".to_vec()), Told::Closed(Some(1000))];
    assert_eq!(told(&mut socket, &bytes), expected);
    assert_eq!(told(&mut socket, &frame(9, true, b"")), []);
    let expected = [Told::Reply(b"\x88\0".to_vec()), Told::Closed(None)];
    assert_eq!(told(&mut WebSocket::new(1_000), &frame(8, true, b"")), expected);
}

#[test]
fn after_our_close_no_frame_of_ours_follows() {
    let mut socket = WebSocket::new(1_000);
    socket.closing();
    socket.closing();
    assert_eq!(told(&mut socket, &frame(9, true, b"x")), [Told::Alive]);
    assert_eq!(told(&mut socket, &frame(2, true, b"m")), [Told::Payload(b"m".to_vec(), false)]);
    assert_eq!(told(&mut socket, &frame(8, true, &[3, 0xe8])), [Told::Closed(Some(1000))]);
}

#[test]
fn each_misdeed_has_its_close_code() {
    let unmasked = [0x81, 1, b'x'].as_slice();
    let cases: [(&[u8], u16); 12] = [
        (unmasked, 1002),
        (&frame(3, true, b""), 1002),
        (&frame(11, true, b""), 1002),
        (&frame(9, false, b""), 1002),
        (&frame(9, true, &[0; 126]), 1002),
        (&frame(0, true, b""), 1002),
        (&[frame(1, false, b"a"), frame(1, true, b"b")].concat(), 1002),
        (&frame(8, true, b"x"), 1002),
        (&frame(1, true, b"\xff"), 1007),
        (&frame(8, true, b"\x03\xe8\xff"), 1007),
        (&frame(2, true, &[0; 1_001]), 1009),
        (&[frame(2, false, &[0; 600]), frame(0, true, &[0; 600])].concat(), 1009),
    ];
    for (bytes, code) in cases {
        assert_eq!(error(bytes).close_code(), code, "{bytes:?}");
    }
    let mut reserved = frame(1, true, b"x");
    reserved[0] |= 0x40;
    assert_eq!(error(&reserved).close_code(), 1002);
}

#[test]
fn a_text_that_comes_in_pieces_fails_at_its_first_wrong_byte() {
    let text = b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80 and much more that never comes".as_slice();
    let whole = frame(1, true, text);
    let fragments =
        [frame(1, false, &text[..1]), frame(9, true, b"\xff"), frame(0, true, &text[1..])].concat();
    for (bytes, wrong) in [(&whole, 6 + 6), (&fragments, 7 + 7 + 6 + 5)] {
        let mut socket = WebSocket::new(1_000);
        let failed =
            bytes.iter().position(|byte| feed(&mut socket, &[*byte]).1 == Err(FramingError::NotUtf8));
        assert_eq!(failed, Some(wrong));
        assert_eq!(feed(&mut WebSocket::new(1_000), &bytes[..=wrong]).1, Err(FramingError::NotUtf8));
        assert_eq!(feed(&mut WebSocket::new(1_000), &bytes[..wrong]).1, Ok(()));
    }
}

#[test]
fn what_came_before_a_misdeed_is_told() {
    let bytes = [frame(1, true, b"good"), frame(3, true, b"")].concat();
    let (told, result) = feed(&mut WebSocket::new(1_000), &bytes);
    assert_eq!(told, [Told::Payload(b"good".to_vec(), true)]);
    assert!(result.is_err());
}

#[test]
fn a_message_above_the_limit_is_refused_by_its_header_alone() {
    let mut socket = WebSocket::new(1_000);
    let header = &frame(2, true, &[0; 70_000])[..14];
    let expected = FramingError::TooLarge { bytes: 70_000, bytes_max: 1_000 };
    assert_eq!(feed(&mut socket, header).1, Err(expected));
}

#[test]
fn the_limit_can_be_raised_for_a_session() {
    let mut socket = WebSocket::new(16);
    socket.set_message_bytes_max(100_000);
    let bytes = frame(2, true, &[7; 70_000]);
    assert_eq!(told(&mut socket, &bytes), [Told::Payload(vec![7; 70_000], false)]);
    assert_eq!(feed(&mut socket, &frame(2, true, &[7; 100_001])).1.unwrap_err().close_code(), 1009);
}

#[test]
fn what_is_held_is_counted_and_a_large_message_leaves_nothing_behind() {
    let mut socket = WebSocket::new(1 << 20);
    let bytes = frame(2, true, &[1; 100_000]);
    told(&mut socket, &bytes[..90_000]);
    assert!(socket.buffered_bytes() > 89_000, "{}", socket.buffered_bytes());
    told(&mut socket, &bytes[90_000..]);
    assert_eq!(socket.buffered_bytes(), 0);
    assert!(socket.context.is_none(), "the large buffer was given back");
    assert_eq!(told(&mut socket, &frame(9, true, b"")).len(), 2, "and the connection goes on");
}

#[test]
fn an_idle_connection_is_small_and_owns_nothing() {
    assert!(size_of::<WebSocket>() <= 96, "{} bytes", size_of::<WebSocket>());
    let mut socket = WebSocket::new(1 << 20);
    assert!(socket.context.is_none());
    let bytes = frame(1, true, b"hello");
    told(&mut socket, &bytes[..7]);
    assert!(socket.context.is_some(), "a message is in progress");
    told(&mut socket, &bytes[7..]);
    assert!(socket.context.is_none());
}

#[test]
fn connections_that_share_a_context_do_not_meet_in_it() {
    let (mut one, mut other) = (WebSocket::new(1 << 20), WebSocket::new(64));
    let (long, short) = (frame(1, true, &[b'x'; 100]), frame(1, true, b"short"));
    told(&mut one, &long[..50]);
    assert_eq!(told(&mut other, &short).len(), 1);
    assert_eq!(told(&mut one, &long[50..]).len(), 1);
    let refused = other.receive(&long, &mut |_| panic!("above the limit of this connection"));
    assert_eq!(refused, Err(FramingError::TooLarge { bytes: 100, bytes_max: 64 }));
    assert_eq!(told(&mut one, &long).len(), 1, "the limit is each connection's own");
}

#[derive(Debug, Clone)]
enum Sent {
    Message { text: bool, fragments: Vec<String>, pings: bool },
    Pong,
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = (any::<bool>(), prop::collection::vec(".{0,200}", 1..5), any::<bool>());
    prop_oneof![
        5 => message.prop_map(|(text, fragments, pings)| Sent::Message { text, fragments, pings }),
        1 => Just(Sent::Pong),
    ]
}

fn bytes_of(all: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sent in all {
        match sent {
            Sent::Pong => bytes.extend(frame(10, true, b"")),
            Sent::Message { text, fragments, pings } => {
                for (i, fragment) in fragments.iter().enumerate() {
                    let opcode = if i > 0 { 0 } else { 2 - u8::from(*text) };
                    bytes.extend(frame(opcode, i + 1 == fragments.len(), fragment.as_bytes()));
                    if *pings {
                        bytes.extend(frame(9, true, &[i as u8]));
                    }
                }
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn any_split_tells_what_the_whole_tells(
        all in prop::collection::vec(sent(), 1..8),
        cuts in prop::collection::vec(1usize..400, 1..50),
    ) {
        let bytes = bytes_of(&all);
        let whole = told(&mut WebSocket::new(1 << 20), &bytes);
        let messages = all.iter().filter_map(|sent| match sent {
            Sent::Message { text, fragments, .. } => Some(Told::Payload(fragments.concat().into_bytes(), *text)),
            Sent::Pong => None,
        });
        let payloads = whole.iter().filter(|told| matches!(told, Told::Payload(..))).cloned();
        prop_assert_eq!(payloads.collect::<Vec<_>>(), messages.collect::<Vec<_>>());

        let mut socket = WebSocket::new(1 << 20);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces.extend(told(&mut socket, piece));
            rest = later;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(pieces, whole);
        prop_assert_eq!(socket.buffered_bytes(), 0);
    }
}
