use super::*;
use crate::Command;

fn decode_all(decoder: &mut Decoder, limits: &Limits, mut input: &[u8]) -> Vec<Result<Item, Violation>> {
    std::iter::from_fn(|| decoder.decode(limits, &mut input)).collect()
}

fn decoded(version: Version, input: &[u8]) -> Vec<Result<Item, Violation>> {
    decoded_within(&Limits::default(), version, input)
}

/// Decodes whole, and byte by byte, and holds one against the other.
fn decoded_within(limits: &Limits, version: Version, input: &[u8]) -> Vec<Result<Item, Violation>> {
    let mut decoder = Decoder::new();
    decoder.set_version(version);
    let whole = decode_all(&mut decoder, limits, input);
    let mut decoder = Decoder::new();
    decoder.set_version(version);
    let bytewise: Vec<_> = input.chunks(1).flat_map(|byte| decode_all(&mut decoder, limits, byte)).collect();
    assert_eq!(whole, bytewise);
    whole
}

fn send(body: &'static [u8]) -> Result<Item, Violation> {
    Ok(Item::Frame(Frame::new(Command::Send).with("destination", "/a").with_body(body)))
}

const EOL: Result<Item, Violation> = Ok(Item::HeartBeat);

#[test]
fn a_body_ends_at_its_nul_and_ends_of_line_may_follow() {
    let input = b"SEND\ndestination:/a\n\nhello\0\n\r\nSEND\r\ndestination:/a\r\n\r\n\0";
    assert_eq!(decoded(Version::V1_2, input), [send(b"hello"), EOL, EOL, send(b"")]);
}

#[test]
fn content_length_counts_octets_whatever_they_are() {
    let items = decoded(Version::V1_2, b"SEND\ncontent-length:4\n\n\0\n\0\xff\0\n");
    let frame = Frame::new(Command::Send).with("content-length", "4").with_body(&b"\0\n\0\xff"[..]);
    assert_eq!(items, [Ok(Item::Frame(frame)), EOL]);
}

#[test]
fn the_first_content_length_counts() {
    let items = decoded(Version::V1_2, b"SEND\ncontent-length:1\ncontent-length:3\n\na\0");
    assert!(matches!(&items[..], [Ok(Item::Frame(frame))] if &frame.body[..] == b"a"));
}

#[test]
fn faults_are_told_once_and_nothing_is_read_after_them() {
    let table: [(&[u8], Violation); 12] = [
        (b"SEND\ndestination:/a\0", Violation::NulInHead),
        (b"\r\r\n", Violation::BareCarriageReturn),
        (b"\rSEND\n\n\0", Violation::BareCarriageReturn),
        (b"SEND\ncontent-length:2\n\nabc\0", Violation::BodyNotTerminated { content_length: 2 }),
        (b"SEND\ncontent-length:-1\n\na\0", Violation::BadContentLength { value: "-1".into() }),
        (b"SEND\ncontent-length:+1\n\na\0", Violation::BadContentLength { value: "+1".into() }),
        (b"SEND\ncontent-length:\n\na\0", Violation::BadContentLength { value: "".into() }),
        (b"SEND\ncontent-length:1x\n\na\0", Violation::BadContentLength { value: "1x".into() }),
        (b"BEGIN\ntransaction:1\n\na\0", Violation::UnexpectedBody { command: Command::Begin }),
        (b"BEGIN\ncontent-length:1\n\na\0", Violation::UnexpectedBody { command: Command::Begin }),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Violation::HttpOnStompPort),
        (b"\x16\x03\x01\x00\xa5", Violation::TlsOnStompPort),
    ];
    for (input, violation) in table {
        let input = [input, b"\nSEND\n\n\0"].concat();
        assert_eq!(decoded(Version::V1_2, &input), [Err(violation)]);
    }
}

#[test]
fn a_byte_order_mark_is_told_apart() {
    assert_eq!(decoded(Version::V1_2, b"\xef\xbb\xbfCONNECT\n\n\0"), [Err(Violation::ByteOrderMark)]);
}

#[test]
fn what_looks_like_http_is_an_unknown_command_after_the_first_frame() {
    let items = decoded(Version::V1_2, b"SEND\n\n\0GET / HTTP/1.1\r\n\r\n");
    assert_eq!(items[1], Err(Violation::UnknownCommand { name: "GET / HTTP/1.1".into() }));
}

#[test]
fn a_needless_body_is_ignored_under_1_0() {
    let subscribe = Ok(Item::Frame(Frame::new(Command::Subscribe).with("destination", "/a")));
    let items = decoded(Version::V1_0, b"SUBSCRIBE\ndestination: /a\n\nignored\0\n");
    assert_eq!(items, [subscribe, EOL]);
    let counted = decoded(Version::V1_0, b"SUBSCRIBE\ncontent-length:3\n\na\0b\0\n");
    assert!(matches!(&counted[..], [Ok(Item::Frame(frame)), Ok(Item::HeartBeat)] if frame.body.is_empty()));
}

#[test]
fn a_connect_without_accept_version_may_have_a_body_to_ignore_and_another_may_not() {
    let limits = Limits::default();
    let old = decode_all(&mut Decoder::new(), &limits, b"CONNECT\n\nx\0");
    assert!(matches!(&old[..], [Ok(Item::Frame(_))]));
    let new = decode_all(&mut Decoder::new(), &limits, b"CONNECT\naccept-version:1.2\n\nx\0");
    assert_eq!(new, [Err(Violation::UnexpectedBody { command: Command::Connect })]);
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let head = b"SEND\na:bcd\n\n";
    let input = [&head[..], b"\0"].concat();
    let limits = |head_bytes_max| Limits { head_bytes_max, ..Limits::default() };
    assert!(decoded_within(&limits(head.len()), Version::V1_2, &input)[0].is_ok());
    let limit = head.len() - 1;
    assert_eq!(
        decoded_within(&limits(limit), Version::V1_2, &input),
        [Err(Violation::HeadTooLarge { limit })]
    );
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let limits = |body_bytes_max| Limits { body_bytes_max, ..Limits::default() };
    for input in [&b"SEND\n\nabcd\0"[..], b"SEND\ncontent-length:4\n\nabcd\0"] {
        assert!(decoded_within(&limits(4), Version::V1_2, input)[0].is_ok());
        assert_eq!(
            decoded_within(&limits(3), Version::V1_2, input),
            [Err(Violation::BodyTooLarge { limit: 3 })]
        );
    }
    let ignored = b"BEGIN\n\nabcd\0";
    assert!(decoded_within(&limits(4), Version::V1_0, ignored)[0].is_ok());
    assert_eq!(
        decoded_within(&limits(3), Version::V1_0, ignored),
        [Err(Violation::BodyTooLarge { limit: 3 })]
    );
}

#[test]
fn a_content_length_beyond_all_numbers_is_too_large() {
    let items = decoded(Version::V1_2, b"SEND\ncontent-length:99999999999999999999999999\n\n");
    assert_eq!(items, [Err(Violation::BodyTooLarge { limit: Limits::default().body_bytes_max })]);
}

#[test]
fn what_is_only_announced_is_not_allocated() {
    let mut decoder = Decoder::new();
    decode_all(&mut decoder, &Limits::default(), b"SEND\ncontent-length:1000000\n\nab");
    assert!(decoder.buffered_bytes() < 1_000, "{} bytes held for 2", decoder.buffered_bytes());
}

#[test]
fn a_body_is_an_allocation_of_its_own_length() {
    for cut in [0, 30, 40] {
        let mut body = None;
        let input = b"SEND\ncontent-length:17\n\n0123456789abcdefg\0";
        let (mut first, mut second) = input.split_at(cut);
        let mut decoder = Decoder::new();
        for part in [&mut first, &mut second] {
            if let Some(Ok(Item::Frame(frame))) = decoder.decode(&Limits::default(), part) {
                body = Some(frame.body);
            }
        }
        let vec = Vec::from(body.unwrap());
        assert_eq!((vec.len(), vec.capacity()), (17, 17));
    }
}

#[test]
fn the_memory_of_an_incomplete_frame_stays_below_the_limits() {
    let limits = Limits { head_bytes_max: 1_000, body_bytes_max: 5_000, ..Limits::default() };
    let mut decoder = Decoder::new();
    let head = [&b"SEND\na:"[..], &[b'x'; 900], b"\n\n"].concat();
    let input = [&head[..], &[b'y'; 5_000]].concat();
    for byte in input.chunks(1) {
        assert!(decode_all(&mut decoder, &limits, byte).is_empty());
        assert!(decoder.buffered_bytes() <= 6_000 + 400, "{}", decoder.buffered_bytes());
    }
    assert!(matches!(&decode_all(&mut decoder, &limits, b"\0")[..], [Ok(Item::Frame(_))]));
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[test]
fn no_frame_before_the_version_is_unescaped() {
    let items = decode_all(&mut Decoder::new(), &Limits::default(), b"ERROR\nmessage:a\\b\n\n\0");
    assert_eq!(items, [Ok(Item::Frame(Frame::new(Command::Error).with("message", "a\\b")))]);
}
