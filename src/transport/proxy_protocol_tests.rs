use proptest::prelude::*;

use super::*;

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn tcp4(tlvs: &[u8]) -> Vec<u8> {
    binary(PROXY, TCP4, &[&[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0xf0, 0xad], tlvs].concat())
}

fn whole(bytes: &[u8], client: Option<&str>) -> Result<Header, Malformed> {
    Ok(Header::Whole { length: bytes.len(), client: client.map(|text| text.parse().unwrap()) })
}

#[test]
fn the_client_is_the_source_in_either_version() {
    let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let mapped: Ipv6Addr = "::ffff:192.0.2.7".parse().unwrap();
    let rest = |source: Ipv6Addr| [&source.octets()[..], &[0; 16], &[0, 1, 0, 2]].concat();
    let cases = [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 61613\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY TCP6 2001:db8::7 ::1 65535 0\r\n".to_vec(), Some("2001:db8::7")),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN whatever it says 1 2 3\r\n".to_vec(), None),
        (tcp4(&[]), Some("192.0.2.7")),
        (tcp4(&[4; 500]), Some("192.0.2.7")),
        (binary(PROXY, TCP6, &rest(v6)), Some("2001:db8::7")),
        (binary(PROXY, TCP6, &rest(mapped)), Some("192.0.2.7")),
        (binary(PROXY, 0x00, &[1, 2, 3]), None),
        (binary(PROXY, 0x31, &[0; 216]), None),
        (binary(LOCAL, 0x00, &[]), None),
        // "the receiver must use the real connection endpoints and discard the protocol block including the family"
        (binary(LOCAL, TCP4, &[9; 12]), None),
        (binary(LOCAL, 0xff, &[9; 3]), None),
    ];
    for (bytes, client) in cases {
        assert_eq!(parse(&bytes), whole(&bytes, client), "{}", bytes.escape_ascii());
        // What follows is the client's, whatever it is.
        assert_eq!(parse(&[&bytes[..], b"CONNECT\n\n\0"].concat()), whole(&bytes, client));
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Header::Partial), "{}", bytes[..end].escape_ascii());
        }
    }
}

#[test]
fn what_is_malformed_is_told_as_soon_as_it_can_be_seen() {
    let cases: [(&[u8], Malformed); 19] = [
        (b"C", Malformed::NoHeader),
        (b"\n", Malformed::NoHeader),
        (b"\x16\x03\x01", Malformed::NoHeader),
        (b"PROXY\t", Malformed::NoHeader),
        (b"\r\n\r\n\0\r\nQUIX", Malformed::NoHeader),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n", Malformed::Line),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", Malformed::Line),
        (b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n", Malformed::Line),
        (b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n", Malformed::Line),
        (b"PROXY \xff\r\n", Malformed::Line),
        (&binary(0x11, TCP4, &[0; 12]), Malformed::Command(0x11)),
        (&binary(0x22, TCP4, &[0; 12]), Malformed::Command(0x22)),
        (&binary(PROXY, 0x12, &[0; 12]), Malformed::Family(0x12)),
        (&binary(PROXY, TCP4, &[0; 11]), Malformed::TooShort { length: 27 }),
        (&tcp4(&[0; 509])[..16], Malformed::TooLong { length: 537 }),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse(bytes), Err(expected), "{}", bytes.escape_ascii());
    }
    let endless = [LINE, &[b'x'; 200]].concat();
    assert_eq!(parse(&endless[..106]), Ok(Header::Partial));
    assert_eq!(parse(&endless[..107]), Err(Malformed::TooLong { length: 107 }));
}

#[test]
fn a_header_is_told_from_what_clients_begin_with() {
    for bytes in [&tcp4(&[])[..], b"PROXY TCP4 ", b"PROXY ", b"\r\n\r\n\0\r"] {
        assert!(is_header(bytes), "{}", bytes.escape_ascii());
    }
    for bytes in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n\r\nCONNECT\n",
        b"\n\n\n\n\n\n\n",
        b"PROXY",
        b"PROXIES",
        b"GET / HTTP",
    ] {
        assert!(!is_header(bytes), "{}", bytes.escape_ascii());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_claim_more_than_there_is(
        start in prop_oneof![Just(&b""[..]), Just(LINE), Just(SIGNATURE), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = [start, &rest].concat();
        match parse(&bytes) {
            Ok(Header::Whole { length, .. }) => {
                prop_assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX);
                prop_assert_eq!(parse(&bytes[..length]), parse(&bytes), "what follows changes nothing");
                prop_assert_eq!(parse(&bytes[..length - 1]), Ok(Header::Partial));
            }
            Ok(Header::Partial) => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
            Err(_) => {}
        }
    }

    #[test]
    fn every_client_comes_out_as_it_went_in(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in any::<u16>()) {
        for address in [IpAddr::from(v4), IpAddr::from(v6)] {
            let (name, family, octets) = match address {
                IpAddr::V4(v4) => ("TCP4", TCP4, v4.octets().to_vec()),
                IpAddr::V6(v6) => ("TCP6", TCP6, v6.octets().to_vec()),
            };
            let line = format!("PROXY {name} {address} {address} {port} {port}\r\n").into_bytes();
            let bytes = binary(PROXY, family, &[&octets[..], &octets, &[0; 4]].concat());
            for header in [line, bytes] {
                let client = Some(address.to_canonical());
                prop_assert_eq!(parse(&header), Ok(Header::Whole { length: header.len(), client }));
            }
        }
    }
}
