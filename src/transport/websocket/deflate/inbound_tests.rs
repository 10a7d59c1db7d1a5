use super::super::inflate::FRAME_BYTES_KEPT;
use super::*;
use crate::transport::websocket::hearing::{FIN, Told, client_frame as frame, feed, told};
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

const PING: u8 = 9;
const CLOSE: u8 = 8;

/// As a client compresses a message, by zlib's own flush.
fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + 1_000);
    Compress::new(Compression::best(), false).compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// A whole compressed message in one frame.
fn message(opcode: u8, plain: &[u8]) -> Vec<u8> {
    frame(FIN | RSV1 | opcode, &compressed(plain))
}

fn error(bytes: &[u8]) -> FramingError {
    feed(&mut Deflated::new(1_000), bytes).1.unwrap_err()
}

#[test]
fn the_examples_of_the_specification_are_understood() {
    // RFC 7692, section 7.2.3: one block, two fragments, a stored block, a block marked as the last, two blocks.
    let hello = |payload: &[u8]| frame(FIN | RSV1 | TEXT, payload);
    let whole = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let cases = [
        hello(&whole),
        [frame(RSV1 | TEXT, &whole[..3]), frame(FIN, &whole[3..])].concat(),
        hello(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
        hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        hello(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
        // And as senders write the fourth that forget the empty block at its end.
        hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
        frame(FIN | TEXT, b"Hello"),
    ];
    for bytes in cases {
        let expected = [Told::Payload(b"Hello".to_vec(), true)];
        assert_eq!(told(&mut Deflated::new(5), &bytes), expected, "{bytes:x?}");
    }
    // An empty message, as section 7.2.3.6 has it.
    assert_eq!(told(&mut Deflated::new(5), &hello(&[0])), [Told::Payload(vec![], true)]);
}

#[test]
fn control_frames_are_answered_within_a_compressed_message() {
    let payload = compressed(b"to be or not to be");
    let bytes = [
        frame(RSV1 | BINARY, &payload[..4]),
        frame(FIN | PING, b"1"),
        frame(CONTINUATION, b""),
        frame(FIN | PING, b"2"),
        frame(FIN, &payload[4..]),
    ]
    .concat();
    let expected = [
        Told::Alive,
        Told::Reply(b"\x8a\x011".to_vec()),
        Told::Alive,
        Told::Reply(b"\x8a\x012".to_vec()),
        Told::Payload(b"to be or not to be".to_vec(), false),
    ];
    assert_eq!(told(&mut Deflated::new(1_000), &bytes), expected);
}

#[test]
fn compressed_and_plain_messages_may_follow_each_other() {
    let bytes = [
        frame(FIN | TEXT, b"one"),
        message(TEXT, b"two"),
        frame(TEXT, b"th"),
        frame(FIN, b"ree"),
        message(BINARY, b"four"),
        frame(FIN | BINARY, b""),
    ]
    .concat();
    let expected = [("one", true), ("two", true), ("three", true), ("four", false), ("", false)];
    let expected = expected.map(|(payload, text)| Told::Payload(payload.into(), text));
    assert_eq!(told(&mut Deflated::new(1_000), &bytes), expected);
}

#[test]
fn each_misdeed_has_its_close_code() {
    let begun = frame(RSV1 | TEXT, &compressed(b"a")[..1]);
    let mut unmasked = frame(FIN | RSV1 | TEXT, b"");
    unmasked[1] &= 0x7f;
    let after = |more: &[u8]| [&begun[..], more].concat();
    let cases: [(&str, Vec<u8>, u16); 14] = [
        ("RSV1 on a continuation", after(&frame(FIN | RSV1, b"")), 1002),
        ("RSV2 on a continuation", after(&frame(FIN | 0x20, b"")), 1002),
        ("a message within a compressed one", after(&frame(FIN | TEXT, b"b")), 1002),
        ("a compressed one within a compressed one", after(&message(TEXT, b"b")), 1002),
        (
            "RSV1 on a continuation of a plain message",
            [frame(TEXT, b"a"), frame(FIN | RSV1, b"")].concat(),
            1002,
        ),
        ("a compressed one within a plain one", [frame(TEXT, b"a"), message(TEXT, b"b")].concat(), 1002),
        ("a continuation of nothing", frame(FIN | RSV1, &compressed(b"a")), 1002),
        ("a compressed ping", frame(FIN | RSV1 | PING, b""), 1002),
        ("another reserved bit", frame(FIN | 0x60 | TEXT, &compressed(b"a")), 1002),
        ("an unknown opcode", frame(FIN | RSV1 | 3, &compressed(b"a")), 1002),
        ("no mask", unmasked, 1002),
        ("no deflate stream", frame(FIN | RSV1 | TEXT, b"\x07"), 1002),
        ("text that is none", message(TEXT, b"\xff"), 1007),
        ("more than the limit", message(TEXT, &[b'a'; 1_001]), 1009),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(error(&bytes).close_code(), code, "{what}");
        let mut socket = Deflated::new(1_000);
        let one_by_one = bytes.iter().find_map(|byte| feed(&mut socket, &[*byte]).1.err());
        assert_eq!(one_by_one.map(|error| error.close_code()), Some(code), "{what}, byte by byte");
    }
}

#[test]
fn what_came_before_a_misdeed_is_told() {
    let bytes = [frame(FIN | TEXT, b"good"), message(TEXT, b"too"), frame(FIN | RSV1, b"")].concat();
    let (told, result) = feed(&mut Deflated::new(1_000), &bytes);
    assert_eq!(told, [Told::Payload(b"good".to_vec(), true), Told::Payload(b"too".to_vec(), true)]);
    assert!(result.is_err());
}

#[test]
fn nothing_after_a_close_is_looked_at() {
    let wrong = frame(FIN | RSV1, b"");
    let bytes = [frame(FIN | CLOSE, &[3, 0xe8]), message(TEXT, b"late"), wrong.clone()].concat();
    let mut socket = Deflated::new(1_000);
    let expected = [Told::Reply(b"\x88\x02\x03\xe8".to_vec()), Told::Closed(Some(1000))];
    assert_eq!(told(&mut socket, &bytes), expected);
    assert_eq!(told(&mut socket, &wrong), []);
}

#[test]
fn after_our_close_messages_are_still_told() {
    let mut socket = Deflated::new(1_000);
    socket.closing();
    let bytes = [message(BINARY, b"m"), frame(FIN | PING, b"")].concat();
    assert_eq!(told(&mut socket, &bytes), [Told::Payload(b"m".to_vec(), false), Told::Alive]);
}

#[test]
fn a_bomb_is_stopped_at_the_limit_and_not_at_its_end() {
    let bomb = compressed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 70_000, "{}", bomb.len());
    for bytes_max in [16 << 10, 1 << 20] {
        let mut socket = Deflated::new(bytes_max);
        let Err(FramingError::TooLarge { bytes, bytes_max: told }) =
            feed(&mut socket, &frame(FIN | RSV1 | BINARY, &bomb[..10_000])).1
        else {
            panic!("the bomb was taken")
        };
        assert_eq!(told, bytes_max);
        assert!(bytes <= bytes_max + FRAME_BYTES_KEPT, "{bytes} bytes were inflated");
    }
    Inflater::with(|_| {});
    Inflater::with(|inflater| assert!(inflater.frame_bytes() <= FRAME_BYTES_KEPT));
}

#[test]
fn what_is_read_at_a_time_becomes_four_mebibytes_at_worst() {
    let ratio = (64 << 20) / compressed(&vec![0; 64 << 20]).len();
    assert!(ratio > 1_000, "{ratio}");
    assert!(Deflated::new(1).read_bytes_max() * ratio <= 4_300_000);
}

#[test]
fn a_payload_above_the_limit_is_refused_by_its_header_alone() {
    let incompressible = frame(FIN | RSV1 | BINARY, &[0; 2_000]);
    assert_eq!(error(&incompressible[..8]), FramingError::TooLarge { bytes: 2_000, bytes_max: 1_000 });
    let fragments = [frame(RSV1 | BINARY, &[0; 900]), frame(0, &[0; 900])].concat();
    assert_eq!(error(&fragments[..920]), FramingError::TooLarge { bytes: 1_800, bytes_max: 1_000 });
    let absurd = [&[FIN | RSV1 | BINARY, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    assert_eq!(error(&absurd).close_code(), 1009);
}

#[test]
fn a_message_of_the_limit_is_taken_however_badly_it_is_compressed() {
    for bytes_max in [0, 1, 125, 1_000, 65_536, 1 << 20] {
        let plain = vec![7; bytes_max];
        let mut stored: Vec<u8> = Vec::new();
        for block in plain.chunks(16 << 10) {
            let [low, high] = (block.len() as u16).to_le_bytes();
            stored.extend([0, low, high, !low, !high]);
            stored.extend(block);
        }
        stored.push(0);
        let taken = told(&mut Deflated::new(bytes_max), &frame(FIN | RSV1 | BINARY, &stored));
        assert_eq!(taken, [Told::Payload(plain, false)], "{bytes_max}");
    }
}

#[test]
fn the_limit_can_be_raised_for_a_session() {
    let mut socket = Deflated::new(16);
    socket.set_message_bytes_max(100_000);
    let plain = vec![7; 100_000];
    assert_eq!(told(&mut socket, &message(BINARY, &plain)), [Told::Payload(plain, false)]);
    assert_eq!(feed(&mut socket, &message(BINARY, &[7; 100_001])).1.unwrap_err().close_code(), 1009);
}

#[test]
fn streams_that_end_and_begin_anew_are_bounded() {
    // An empty block, marked as the last, padded to a byte.
    let ends = |count| frame(FIN | RSV1 | BINARY, &[&[3, 0].repeat(count)[..], &[0]].concat());
    assert_eq!(told(&mut Deflated::new(1_000), &ends(64)), [Told::Payload(vec![], false)]);
    assert_eq!(error(&ends(65)).close_code(), 1002);
}

#[test]
fn what_is_held_is_counted_and_an_idle_connection_keeps_nothing() {
    let plain: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bytes = message(BINARY, &plain);
    let mut socket = Deflated::new(1 << 20);
    for cut in [1, 5, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(told(&mut socket, &bytes[..cut]), []);
        assert!((cut.saturating_sub(14)..3 * cut + 64).contains(&socket.buffered_bytes()), "{cut}");
        assert_eq!(told(&mut socket, &bytes[cut..]).len(), 1);
        assert_eq!(socket.buffered_bytes(), 0);
        assert!(socket.progress.is_none());
    }
    told(&mut socket, &frame(FIN | BINARY, &[0; 5])[..7]);
    assert!(socket.buffered_bytes() > 0, "a plain message counts as ever");
    assert!(size_of::<Deflated>() <= size_of::<WebSocket>() + size_of::<usize>());
}

#[derive(Debug, Clone)]
struct Sent {
    text: bool,
    is_compressed: bool,
    fragments: Vec<String>,
    pings: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let fragments = prop::collection::vec(".{0,200}", 1..5);
    (any::<bool>(), any::<bool>(), fragments, any::<bool>())
        .prop_map(|(text, is_compressed, fragments, pings)| Sent { text, is_compressed, fragments, pings })
}

impl Sent {
    fn plain(&self) -> Vec<u8> {
        self.fragments.concat().into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let payload = if self.is_compressed { compressed(&self.plain()) } else { self.plain() };
        let size = payload.len().div_ceil(self.fragments.len()).max(1);
        let mut pieces: Vec<&[u8]> = payload.chunks(size).collect();
        pieces.resize(self.fragments.len(), &[]);
        let mut bytes = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let kind = (if self.text { TEXT } else { BINARY }) | if self.is_compressed { RSV1 } else { 0 };
            let first = if i == 0 { kind } else { CONTINUATION };
            bytes.extend(frame(if i + 1 == pieces.len() { FIN | first } else { first }, piece));
            if self.pings {
                bytes.extend(frame(FIN | PING, &[i as u8]));
            }
        }
        bytes
    }
}

proptest! {
    #[test]
    fn any_split_tells_what_was_sent(
        all in prop::collection::vec(sent(), 1..8),
        cuts in prop::collection::vec(1usize..400, 1..50),
    ) {
        let bytes: Vec<u8> = all.iter().flat_map(Sent::bytes).collect();
        let whole = told(&mut Deflated::new(1 << 20), &bytes);
        let payloads = whole.iter().filter(|told| matches!(told, Told::Payload(..))).cloned();
        let expected: Vec<_> = all.iter().map(|sent| Told::Payload(sent.plain(), sent.text)).collect();
        prop_assert_eq!(payloads.collect::<Vec<_>>(), expected);

        let mut socket = Deflated::new(1 << 20);
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
        prop_assert!(socket.progress.is_none());
    }

    #[test]
    fn plain_bytes_tell_what_they_tell_without_the_extension(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0x81), Just(0x82), Just(0x89), 0..0x90u8], 0..200),
    ) {
        // RSV1 is what the extension is about; without it nothing may differ.
        let mut plain = WebSocket::new(100);
        let mut expected = Vec::new();
        let result = plain.receive(&bytes, &mut |incoming| expected.push(format!("{incoming:?}")));
        let mut deflated = Deflated::new(100);
        let mut got = Vec::new();
        let seen = deflated.receive(&bytes, &mut |incoming| got.push(format!("{incoming:?}")));
        if !compresses(&bytes) {
            prop_assert_eq!(got, expected);
            prop_assert_eq!(seen, result);
        }
    }

    #[test]
    fn garbage_is_refused_or_taken_but_never_more_than_the_limit(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        text in ".{100,300}",
        real in any::<bool>(),
        bytes_max in 0usize..2_000,
    ) {
        let mut payload = if real { compressed(text.repeat(5).as_bytes()) } else { payload };
        for (at, byte) in damage {
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
        }
        let mut socket = Deflated::new(bytes_max);
        let (found, result) = feed(&mut socket, &frame(FIN | RSV1 | BINARY, &payload));
        match (&found[..], &result) {
            ([Told::Payload(plain, false)], Ok(())) => prop_assert!(plain.len() <= bytes_max),
            ([], Err(FramingError::Malformed(_) | FramingError::TooLarge { .. })) => {}
            other => prop_assert!(false, "{other:?}"),
        }
        // The thread's inflater is as good as new.
        let after = told(&mut Deflated::new(10_000), &message(TEXT, text.as_bytes()));
        prop_assert_eq!(after, [Told::Payload(text.into_bytes(), true)]);
    }
}

/// Whether the bytes, as frames, begin a compressed message.
fn compresses(mut bytes: &[u8]) -> bool {
    let mut header = HeaderReader::default();
    while let Some(header) = header.take(&mut bytes) {
        if header.first & RSV1 != 0 {
            return true;
        }
        let skipped = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX).min(bytes.len());
        bytes = &bytes[skipped..];
    }
    header.len() > 0
}
