//! The header of a trusted load balancer, read off a connection before anything else is: TLS comes after it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::transport::proxy_protocol::{HEADER_BYTES_MAX, Header, Malformed, parse};

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The connection ended without a byte, as that of a health check that looks whether somebody accepts.
    #[error("the connection ended without a word")]
    Silent,
    /// It did not come, or not whole, in time.
    #[error("no whole PROXY protocol header came in {} ms", after.as_millis())]
    Late {
        /// The time there was.
        after: Duration,
    },
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The stream broke, or ended within the header.
    #[error("the connection broke within its PROXY protocol header: {0}")]
    Broken(#[from] io::Error),
}

/// Takes the header, and no byte more, off the stream: the client, if it is anybody's connection but the proxy's own.
///
/// # Errors
/// There is none within `patience`.
pub(super) async fn read(stream: &mut TcpStream, patience: Duration) -> Result<Option<IpAddr>, HeaderError> {
    let late = |_| HeaderError::Late { after: patience };
    timeout(patience, take(stream)).await.map_err(late)?
}

async fn take(stream: &mut TcpStream) -> Result<Option<IpAddr>, HeaderError> {
    let mut header = [0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut header[taken..]).await?;
        if seen == taken {
            return Err(if taken == 0 { HeaderError::Silent } else { eof().into() });
        }
        // What was seen of a header that goes on is taken, or the next look would be answered with it at once.
        let (end, client) = match parse(&header[..seen])? {
            Header::Partial => (seen, None),
            Header::Whole { length, client } => (length, Some(client)),
        };
        stream.read_exact(&mut header[taken..end]).await?;
        taken = end;
        if let Some(client) = client {
            return Ok(client);
        }
    }
}

fn eof() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Which proxies the operator was told of lately, for sending no header, or something else.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<HashMap<IpAddr, Instant>>,
}

impl Complaints {
    /// Logs it, at once and then once a minute for each address.
    pub(super) fn log(&self, peer: IpAddr, error: &HeaderError) {
        if self.is_due(peer, Instant::now()) {
            tracing::warn!(%peer, "closed: {error}; the configuration has trusted_proxies begin with one here");
        } else {
            tracing::debug!(%peer, "closed: {error}");
        }
    }

    fn is_due(&self, peer: IpAddr, now: Instant) -> bool {
        let mut last = self.last.lock();
        last.retain(|_, at| now.duration_since(*at) < COMPLAINT_EVERY);
        if last.contains_key(&peer) || last.len() >= COMPLAINTS_MAX {
            return false;
        }
        last.insert(peer, now);
        true
    }
}

/// How often one address is complained of.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// Addresses that are complained of within that time; there are few proxies.
const COMPLAINTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_complained_of_once_a_minute_and_so_are_few_at_all() {
        let (complaints, begin) = (Complaints::default(), Instant::now());
        let address = |n: u16| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        assert!(complaints.is_due(address(0), begin));
        assert!(!complaints.is_due(address(0), begin + COMPLAINT_EVERY / 2));
        let more = (1..200).filter(|n| complaints.is_due(address(*n), begin + COMPLAINT_EVERY / 2)).count();
        assert_eq!(more, COMPLAINTS_MAX - 1);
        assert!(complaints.is_due(address(0), begin + COMPLAINT_EVERY));
        assert_eq!(complaints.last.lock().len(), COMPLAINTS_MAX);
    }
}
