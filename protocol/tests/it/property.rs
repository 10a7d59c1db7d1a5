//! What holds for all inputs.

use proptest::collection::vec;
use proptest::prelude::*;
use stompede_protocol::{Command, Frame, Limits, Version};

use crate::support::replay;

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

/// Any text without NUL, rich in what must be escaped.
fn text() -> impl Strategy<Value = String> {
    "([a-z:\\\\\r\n é😀]|[^\0]){0,12}"
}

/// A header that `version` can carry.
fn header(version: Version) -> impl Strategy<Value = (String, String)> {
    let carried = move |text: String| match version {
        Version::V1_0 => text.replace(['\r', '\n'], "").trim_matches([' ', '\t']).to_owned(),
        Version::V1_1 => text.replace('\r', ""),
        Version::V1_2 => text,
    };
    (text(), text()).prop_map(move |(name, value)| {
        let name = carried(name);
        let name = if version == Version::V1_0 { name.replace(':', "") } else { name };
        (if name.is_empty() || name == "content-length" { "name".to_owned() } else { name }, carried(value))
    })
}

fn frame(version: Version) -> impl Strategy<Value = Frame> {
    let commands: Vec<_> = Command::ALL.into_iter().filter(|command| command.is_escaped()).collect();
    (prop::sample::select(commands), vec(header(version), 0..10), vec(any::<u8>(), 0..200)).prop_map(
        |(command, headers, body)| {
            let mut frame = Frame::new(command);
            frame.headers.extend(headers.iter().map(|(name, value)| (&name[..], &value[..])));
            if command.has_body() { frame.with_body(body) } else { frame }
        },
    )
}

fn versioned_frames() -> impl Strategy<Value = (Version, Vec<Frame>)> {
    version().prop_flat_map(|version| (Just(version), vec(frame(version), 1..4)))
}

/// Bytes that look like STOMP more often than noise does.
fn almost_stomp() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"CONNECT\naccept-version:1.2\nhost:h\n\n\0",
        b"CONNECT\naccept-version:1.1\nhost:h\n\n\0",
        b"STOMP\n\n\0",
        b"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\0",
        b"SEND\ndestination:/queue/a\nreceipt:r\n\nbody\0",
        b"SEND\ndestination:/queue/a\ntransaction:t\nreceipt:r\n\nbody\0",
        b"BEGIN\ntransaction:t\n\n\0",
        b"COMMIT\ntransaction:t\n\n\0",
        b"ACK\nid:m1@1-1\n\n\0",
        b"ACK\nmessage-id:m1@1-1\nsubscription:0\ntransaction:t\n\n\0",
        b"UNSUBSCRIBE\nid:0\n\n\0",
        b"DISCONNECT\nreceipt:d\n\n\0",
        b"content-length:3\n",
        b"SEND\n",
        b"a:\\",
        b"\r\n",
        b"\n",
        b"\0",
        b":",
    ];
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn each_frame_cut_at_every_byte_is_the_same((version, frames) in versioned_frames()) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| stompede_protocol::encode(frame, version, &mut bytes));
        let limits = Limits::default();
        let whole = replay::decode(&limits, version, &bytes, usize::MAX);
        prop_assert_eq!(whole.len(), frames.len());
        for cut in 1..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let mut decoder = stompede_protocol::Decoder::new();
            decoder.set_version(version);
            let mut items = Vec::new();
            for mut part in [first, second] {
                items.extend(std::iter::from_fn(|| decoder.decode(&limits, &mut part)));
            }
            prop_assert_eq!(&items, &whole, "cut at {}", cut);
        }
        prop_assert_eq!(replay::decode(&limits, version, &bytes, 1), whole);
    }

    #[test]
    fn what_is_encoded_is_decoded_again_in_each_version((version, frames) in versioned_frames()) {
        frames.iter().for_each(|frame| replay::round_trip(frame, version));
    }

    #[test]
    fn no_header_begins_a_line_of_its_own(version in version(), name in any::<String>(), value in any::<String>()) {
        let frame = Frame::new(Command::Receipt).with(&name, &value).with("last", "1");
        let mut out = Vec::new();
        stompede_protocol::encode(&frame, version, &mut out);
        let lines = out.iter().filter(|byte| **byte == b'\n').count();
        prop_assert!(lines == 4 || lines == 3, "{:?}", out);
        prop_assert_eq!(out.iter().filter(|byte| **byte == 0).count(), 1);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_pass_a_limit_in_the_decoder(bytes in vec(any::<u8>(), 0..800)) {
        replay::decoder(&bytes);
    }

    #[test]
    fn almost_stomp_neither_panics_nor_passes_a_limit(choice in any::<u8>(), bytes in almost_stomp()) {
        let input = [&[choice], &bytes[..]].concat();
        replay::decoder(&input);
        replay::session(&input);
        let opened = [&[choice], &b"CONNECT\naccept-version:1.2\n\n\0"[..], &bytes].concat();
        replay::session(&opened);
    }

    #[test]
    fn any_verbs_of_a_client_are_answered_in_stomp(verbs in vec(any::<u8>(), 2..120)) {
        replay::pair(&verbs);
    }
}
