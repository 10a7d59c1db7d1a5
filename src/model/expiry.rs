//! Until when a message is good: the headers `expires` of ActiveMQ and `expiration` of RabbitMQ.

use stompede_protocol::Headers;

use super::message::Message;

/// A header that should say until when a message is good, and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadExpiry {
    /// The header `expires` is no point in time.
    #[error("expires is a time in milliseconds since 1970, or 0 for never")]
    Expires,
    /// The header `expiration` is no duration.
    #[error("expiration is a number of milliseconds")]
    Expiration,
}

impl Message {
    /// The last millisecond since the Unix epoch at which the message is good; `None`: for ever.
    pub fn expires_ms(&self) -> Option<u64> {
        // What was malformed has not passed the door.
        expires_ms(&self.headers, self.timestamp_ms).ok().flatten()
    }
}

/// Reads both headers of a message that was sent at `sent_ms`: `expires`, absolute, counts before `expiration`, which is
/// relative. `None`: it never expires.
///
/// # Errors
/// [`BadExpiry`] where one of them is no whole number, whichever counts.
pub fn expires_ms(headers: &Headers, sent_ms: u64) -> Result<Option<u64>, BadExpiry> {
    let absolute = whole(headers.get(EXPIRES)).ok_or(BadExpiry::Expires)?;
    let relative = whole(headers.get(EXPIRATION)).ok_or(BadExpiry::Expiration)?;
    Ok(match (absolute, relative) {
        (Some(0), _) => None,
        (Some(at), _) => Some(at),
        (None, after) => after.map(|after| sent_ms.saturating_add(after)),
    })
}

/// Whether what is good until `expires_ms` is so no more.
pub fn is_past(expires_ms: Option<u64>, wall_ms: u64) -> bool {
    expires_ms.is_some_and(|at| wall_ms > at)
}

/// Digits and nothing else: `+5` is a number to Rust, and to no other broker. `None` for anything else.
fn whole(text: Option<&str>) -> Option<Option<u64>> {
    let Some(text) = text else { return Some(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some)
}

/// The header with the absolute time, milliseconds since the Unix epoch.
pub const EXPIRES: &str = "expires";

/// The header with the time from SEND on, milliseconds.
pub const EXPIRATION: &str = "expiration";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Option<u64>, BadExpiry> {
        expires_ms(&headers.iter().copied().collect(), 1_000)
    }

    #[test]
    fn the_absolute_time_counts_before_the_relative_one() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("expires", "0")]), Ok(None));
        assert_eq!(read(&[("expires", "7")]), Ok(Some(7)));
        assert_eq!(read(&[("expiration", "7")]), Ok(Some(1_007)));
        assert_eq!(read(&[("expiration", "0")]), Ok(Some(1_000)));
        assert_eq!(read(&[("expiration", "5"), ("expires", "9")]), Ok(Some(9)));
        assert_eq!(read(&[("expiration", "5"), ("expires", "0")]), Ok(None));
        assert_eq!(read(&[("expires", "1"), ("expires", "2")]), Ok(Some(1)), "the first of two counts");
        assert_eq!(read(&[("expiration", &u64::MAX.to_string())]), Ok(Some(u64::MAX)));
    }

    #[test]
    fn what_is_no_whole_number_is_malformed() {
        for bad in ["", " 1", "+1", "-1", "1.5", "soon", "18446744073709551616"] {
            assert_eq!(read(&[("expires", bad)]), Err(BadExpiry::Expires), "{bad:?}");
            assert_eq!(read(&[("expires", "1"), ("expiration", bad)]), Err(BadExpiry::Expiration), "{bad:?}");
        }
    }

    #[test]
    fn the_last_millisecond_is_still_good() {
        assert!(!is_past(Some(5), 5));
        assert!(is_past(Some(5), 6));
        assert!(!is_past(None, u64::MAX));
    }
}
