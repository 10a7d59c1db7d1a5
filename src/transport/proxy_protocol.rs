//! The header that a load balancer puts before all else on a connection: whose connection it passes on.
//!
//! Both forms of the [PROXY protocol](https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt): the line of version 1,
//! which nginx writes, and the bytes of version 2. Only who comes from is read; where to, and what more a version 2 header
//! says (TLVs), is skipped. Whoever may send a header may claim any address, so it is for the caller to ask for one only
//! where it is expected.
//!
//! Our own, though there is a crate: of what that reads we need one address, and it panicked on four bytes of garbage until
//! its release 2.3. These few lines property tests hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// All of them belong to a header that goes on.
    Partial,
    /// A header.
    Whole {
        /// Its length, bytes; what follows is the client's.
        length: usize,
        /// The client. `None`: the load balancer speaks for itself, as in a health check, or does not know.
        client: Option<IpAddr>,
    },
}

/// Why the bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They begin like neither version.
    #[error("the connection does not begin with a PROXY protocol header")]
    NoHeader,
    /// The line of version 1 is not of the form.
    #[error("the line is not of the form PROXY TCP4 <source> <destination> <port> <port>")]
    Line,
    /// A version that does not exist, or a command.
    #[error("version and command are {0:#04x}; 0x20 and 0x21 are known")]
    Command(u8),
    /// A family or transport that no connection of ours has.
    #[error("family and transport are {0:#04x}: no stream")]
    Family(u8),
    /// The addresses of this family do not fit in.
    #[error("{length} bytes are too few for the addresses")]
    TooShort {
        /// As announced.
        length: usize,
    },
    /// A header above [`HEADER_BYTES_MAX`].
    #[error("{length} bytes are more than the {HEADER_BYTES_MAX} that are taken")]
    TooLong {
        /// As announced, or as far as it came.
        length: usize,
    },
}

/// Reads what there is of a header at the beginning of `bytes`.
///
/// # Errors
/// It is none, and more bytes would not make it one.
pub fn parse(bytes: &[u8]) -> Result<Header, Malformed> {
    if begins(bytes, LINE) {
        parse_line(bytes)
    } else if begins(bytes, SIGNATURE) {
        parse_binary(bytes)
    } else {
        Err(Malformed::NoHeader)
    }
}

/// Whether these, the first bytes of a connection, can be nothing but a header.
pub fn is_header(first: &[u8]) -> bool {
    // Fewer could be another word, or the ends of line that may stand before a frame or a request.
    first.len() >= LINE.len() && (begins(first, LINE) || begins(first, SIGNATURE))
}

/// Whether `bytes` begin with `word`, as far as they go.
fn begins(bytes: &[u8], word: &[u8]) -> bool {
    let length = bytes.len().min(word.len());
    bytes[..length] == word[..length]
}

/// Section 2.1: a line of at most 107 bytes with its CR LF.
fn parse_line(bytes: &[u8]) -> Result<Header, Malformed> {
    let first = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = first.iter().position(|byte| *byte == b'\n') else {
        let full = first.len() == LINE_BYTES_MAX;
        return if full { Err(Malformed::TooLong { length: bytes.len() }) } else { Ok(Header::Partial) };
    };
    let line = first[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(Malformed::Line)?.split(' ').skip(1);
    let client = match words.next() {
        // "the receiver must ignore anything presented before the CRLF is found"
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?.into()),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?.into()),
        _ => return Err(Malformed::Line),
    };
    Ok(Header::Whole { length: end + 1, client: client.map(|address: IpAddr| address.to_canonical()) })
}

/// Two addresses and two ports, of which the first address counts.
fn addresses<'a, A: std::str::FromStr>(mut words: impl Iterator<Item = &'a str>) -> Result<A, Malformed> {
    let mut address = || words.next().and_then(|word| word.parse::<A>().ok()).ok_or(Malformed::Line);
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(|word| word.parse::<u16>().ok()).ok_or(Malformed::Line);
    let _ports = (port()?, port()?);
    if words.next().is_some() { Err(Malformed::Line) } else { Ok(source) }
}

/// Section 2.2: the signature, version and command, family and transport, the length of the rest, the rest.
fn parse_binary(bytes: &[u8]) -> Result<Header, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else { return Ok(Header::Partial) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong { length });
    }
    let is_local = match command {
        LOCAL => true,
        PROXY => false,
        _ => return Err(Malformed::Command(command)),
    };
    let address_bytes = match family {
        _ if is_local => 0,
        // Unspecified, and a Unix socket: there is no address that could be counted.
        0x00 | 0x31 => 0,
        TCP4 => 12,
        TCP6 => 36,
        _ => return Err(Malformed::Family(family)),
    };
    if length < FIXED_BYTES + address_bytes {
        return Err(Malformed::TooShort { length });
    }
    if bytes.len() < length {
        return Ok(Header::Partial);
    }
    let client = match family {
        _ if is_local => None,
        TCP4 => rest.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        TCP6 => rest.first_chunk::<16>().map(|octets| IpAddr::from(*octets).to_canonical()),
        _ => None,
    };
    Ok(Header::Whole { length, client })
}

/// Largest header that is taken, bytes: the specification has senders keep it within the smallest segment of TCP.
pub const HEADER_BYTES_MAX: usize = 536;

/// "a 108-byte buffer is always enough to store all the line and a trailing zero"
const LINE_BYTES_MAX: usize = 107;
const LINE: &[u8] = b"PROXY ";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
