//! What nodes say to each other over channels: a version, a kind, and what belongs to it.
//!
//! ```text
//!  version u8 | 'p' | destination '\n' | record                          published, not kept
//!  version u8 | 'k' | nonce ' ' offset ' ' destination '\n' | record     published and kept
//!  version u8 | 'o' | node ' ' number '\n' | order                       an operator's order, by whom, the how many-th
//!  version u8 | 'r' | number '\n' | report                               what a node says to it
//!  version u8 | 'v'                                                     tokens were revoked
//!  version u8 | 'q' | incarnation                                       a queue has messages for that node
//!  version u8 | 'p' | '/at' destination ' ' nonce ' ' offset '\n'       a mark: what is kept stands here, at this place
//! ```
//! To versions that know no marks a mark is a message to a destination that nobody can want: they skip it, and miss nothing.
//! The head is text, since scripts write a part of it: the nonce has 16 hexadecimal digits, the offset is decimal. A node
//! understands its own version and the one before; it skips, counts and reports as missing what it does not understand.

pub(super) mod presence;

use bytes::{Bytes, BytesMut};

use crate::model::{Destination, Position};

/// What came over a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message that is kept nowhere.
    Published(Destination, Bytes),
    /// A message that is kept, and where.
    Kept(Destination, Position, Bytes),
    /// Everything up to that position was published before this, everything else comes behind it.
    Mark(Destination, Position),
    /// The node that waits under that name is to come for messages of a queue.
    Called(u64),
    /// Something else: its kind, and what follows.
    Other(u8, Bytes),
}

/// The bytes are none that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes on the bus that no known version has written")]
pub(super) struct Unknown;

/// Reads what came.
pub(super) fn parse(payload: &Bytes) -> Result<Heard, Unknown> {
    let [VERSION, kind, ..] = **payload else { return Err(Unknown) };
    let rest = payload.slice(2..);
    match kind {
        PUBLISHED => {
            let (name, record) = split_line(&rest)?;
            match name.strip_prefix(MARK_PREFIX).filter(|rest| rest.starts_with('/')) {
                Some(mark) => read_mark(mark),
                None => Ok(Heard::Published(destination(name)?, record)),
            }
        }
        KEPT => {
            let (head, record) = split_line(&rest)?;
            let (nonce, head) = head.split_once(' ').ok_or(Unknown)?;
            let (offset, name) = head.split_once(' ').ok_or(Unknown)?;
            let position = Position { epoch: epoch(nonce)?, offset: offset.parse().map_err(|_| Unknown)? };
            Ok(Heard::Kept(destination(name)?, position, record))
        }
        CALLED => {
            let incarnation = std::str::from_utf8(&rest).map_err(|_| Unknown)?;
            u64::from_str_radix(incarnation, 16).map(Heard::Called).map_err(|_| Unknown)
        }
        kind => Ok(Heard::Other(kind, rest)),
    }
}

/// A message that is kept nowhere.
pub(super) fn published(destination: &Destination, record: &[u8]) -> Bytes {
    let name = destination.as_str();
    let mut out = BytesMut::with_capacity(2 + name.len() + 1 + record.len());
    out.extend_from_slice(&[VERSION, PUBLISHED]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\n");
    out.extend_from_slice(record);
    out.freeze()
}

/// With what a mark of a destination begins; the script adds nonce and offset.
pub(super) fn mark_head(destination: &Destination) -> Bytes {
    let name = destination.as_str();
    [&[VERSION, PUBLISHED], MARK_PREFIX.as_bytes(), name.as_bytes(), b" "].concat().into()
}

fn read_mark(mark: &str) -> Result<Heard, Unknown> {
    let (head, offset) = mark.rsplit_once(' ').ok_or(Unknown)?;
    let (name, nonce) = head.rsplit_once(' ').ok_or(Unknown)?;
    let position = Position { epoch: epoch(nonce)?, offset: offset.parse().map_err(|_| Unknown)? };
    Ok(Heard::Mark(destination(name)?, position))
}

/// An order of `node`, its `number`-th.
pub(super) fn order(node: u64, number: u64, order: &[u8]) -> Bytes {
    headed(ORDER, &format!("{node:016x} {number}\n"), order)
}

/// What a node says to the order of that number.
pub(super) fn report(number: u64, report: &[u8]) -> Bytes {
    headed(REPORT, &format!("{number}\n"), report)
}

/// What follows [`ORDER`]: the node that ordered, the number there, the order.
pub(super) fn split_order(payload: &Bytes) -> Result<(u64, u64, Bytes), Unknown> {
    let (head, order) = split_line(payload)?;
    let (node, number) = head.split_once(' ').ok_or(Unknown)?;
    Ok((epoch(node)?, number.parse().map_err(|_| Unknown)?, order))
}

/// What follows [`REPORT`].
pub(super) fn split_report(payload: &Bytes) -> Result<(u64, Bytes), Unknown> {
    let (number, report) = split_line(payload)?;
    Ok((number.parse().map_err(|_| Unknown)?, report))
}

fn headed(kind: u8, head: &str, rest: &[u8]) -> Bytes {
    [&[VERSION, kind], head.as_bytes(), rest].concat().into()
}

/// With what a message that is kept begins; the script adds the rest.
pub(super) const KEPT_HEAD: [u8; 2] = [VERSION, KEPT];

/// With what a call to a node begins; the script adds whom it calls.
pub(super) const CALLED_HEAD: [u8; 2] = [VERSION, CALLED];

/// A nonce as scripts and heads have it.
pub(super) fn nonce(epoch: u64) -> Bytes {
    Bytes::from(format!("{epoch:016x}"))
}

/// The epoch of a nonce.
pub(super) fn epoch(nonce: &str) -> Result<u64, Unknown> {
    u64::from_str_radix(nonce, 16).map_err(|_| Unknown)
}

fn split_line(bytes: &Bytes) -> Result<(&str, Bytes), Unknown> {
    let end = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n').ok_or(Unknown)?;
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| Unknown)?;
    Ok((line, bytes.slice(end + 1..)))
}

fn destination(name: &str) -> Result<Destination, Unknown> {
    if name.starts_with('/') { Ok(Destination::internal(name)) } else { Err(Unknown) }
}

/// What this version of the program writes.
const VERSION: u8 = 1;

/// An operator's order.
pub(super) const ORDER: u8 = b'o';

/// What a node says to it.
pub(super) const REPORT: u8 = b'r';

/// Tokens were revoked: nothing follows, for it is read where it is kept.
pub(super) const REVOKED: u8 = b'v';

/// The whole of it.
pub(super) const REVOKED_CALL: [u8; 2] = [VERSION, REVOKED];

const PUBLISHED: u8 = b'p';

/// Before the name of a destination in a mark. No name that a client can use begins so.
const MARK_PREFIX: &str = "/at";
const KEPT: u8 = b'k';
const CALLED: u8 = b'q';

/// Longest head: a destination, a nonce and an offset.
const LINE_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let name = Destination::internal("/topic/a b");
        assert_eq!(
            parse(&published(&name, b"x\ny")),
            Ok(Heard::Published(name.clone(), Bytes::from_static(b"x\ny")))
        );
        let mut kept = KEPT_HEAD.to_vec();
        kept.extend_from_slice(&nonce(0xab));
        kept.extend_from_slice(b" 7 /topic/a b\nrecord");
        let position = Position { epoch: 0xab, offset: 7 };
        assert_eq!(parse(&kept.into()), Ok(Heard::Kept(name, position, Bytes::from_static(b"record"))));
        assert_eq!(parse(&Bytes::from_static(b"\x01q00000000000000ff")), Ok(Heard::Called(255)));
        let mut mark = mark_head(&Destination::internal("/topic/a b")).to_vec();
        mark.extend_from_slice(&nonce(0xab));
        mark.extend_from_slice(b" 7\n");
        assert_eq!(parse(&mark.into()), Ok(Heard::Mark(Destination::internal("/topic/a b"), position)));
        let other = Destination::internal("/attic");
        assert_eq!(parse(&published(&other, b"x")), Ok(Heard::Published(other, Bytes::from_static(b"x"))));
        assert_eq!(
            parse(&Bytes::from_static(b"\x01jabc")),
            Ok(Heard::Other(b'j', Bytes::from_static(b"abc")))
        );
    }

    #[test]
    fn orders_and_reports_are_read_as_they_were_written() {
        let Ok(Heard::Other(ORDER, rest)) = parse(&order(7, 3, b"do\nit")) else { panic!("no order") };
        assert_eq!(split_order(&rest), Ok((7, 3, Bytes::from_static(b"do\nit"))));
        let Ok(Heard::Other(REPORT, rest)) = parse(&report(3, b"done")) else { panic!("no report") };
        assert_eq!(split_report(&rest), Ok((3, Bytes::from_static(b"done"))));
    }

    #[test]
    fn what_another_version_writes_is_not_guessed() {
        for bytes in [
            "",
            "\u{1}",
            "\u{2}p/a\n",
            "\u{1}pa\n",
            "\u{1}p/a",
            "\u{1}k7 /a\n",
            "\u{1}kzz 7 /a\n",
            "\u{1}qz",
            "\u{1}p/at/a 7\n",
            "\u{1}p/at/a z 7\n",
            "\u{1}p/at/a 0 z\n",
        ] {
            assert_eq!(parse(&Bytes::from(bytes)), Err(Unknown), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), known in any::<bool>()) {
            let mut bytes = bytes;
            if known && bytes.len() > 1 {
                bytes[0] = VERSION;
                bytes[1] = if bytes[1] % 2 == 0 { KEPT } else { PUBLISHED };
            }
            let _ = parse(&bytes.into());
        }
    }
}
