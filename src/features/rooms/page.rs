//! A part of a list of members: how much of it, and from where on.

use crate::model::{CloseReason, Refusal};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Members listed at most.
    pub count: usize,
    /// Those who arrived after this.
    pub after: u64,
}

impl Page {
    /// Reads the headers `stompede-limit` and `stompede-after`; `count_max` members may be listed in one answer.
    ///
    /// # Errors
    /// `bad-content` for a limit out of range, and for a cursor that no answer has given out.
    pub fn parse(limit: Option<&str>, after: Option<&str>, count_max: usize) -> Result<Self, Refusal> {
        let count = limit.map_or(Ok(count_max), |text| number(text, count_max))?;
        let after = after.map_or(Ok(0), arrival)?;
        Ok(Self { count, after })
    }
}

/// The header that says how many are listed.
pub const LIMIT: &str = "stompede-limit";

/// The header that says after whom the list goes on.
pub const AFTER: &str = "stompede-after";

/// Where a list goes on, as a text that nobody need understand.
pub(super) fn cursor(arrival: u64) -> String {
    format!("{arrival:x}")
}

fn arrival(text: &str) -> Result<u64, Refusal> {
    let arrival = u64::from_str_radix(text, 16).ok().filter(|arrival| cursor(*arrival) == text);
    arrival.ok_or_else(|| bad(format!("{AFTER} takes the field \"next\" of the answer before")))
}

fn number(text: &str, max: usize) -> Result<usize, Refusal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (1..=max).contains(number));
    number.ok_or_else(|| bad(format!("{LIMIT} is a number from 1 to {max}")))
}

fn bad(text: String) -> Refusal {
    Refusal::new(CloseReason::BadContent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_its_headers_say_and_nothing_else_is_understood() {
        fn read(limit: Option<&str>, after: Option<&str>) -> Option<(usize, u64)> {
            Page::parse(limit, after, 1_000).ok().map(|page| (page.count, page.after))
        }
        assert_eq!(read(None, None), Some((1_000, 0)));
        assert_eq!(read(Some("1"), Some(&cursor(77))), Some((1, 77)));
        assert_eq!(read(Some("1000"), Some(&cursor(u64::MAX))), Some((1_000, u64::MAX)));
        for limit in ["0", "1001", "+5", "", "many", "99999999999999999999"] {
            assert_eq!(read(Some(limit), None), None, "{limit}");
        }
        for after in ["", "+4", "-1", "4G", "4D", "04", "10000000000000000"] {
            assert_eq!(read(None, Some(after)), None, "{after}");
        }
    }
}
