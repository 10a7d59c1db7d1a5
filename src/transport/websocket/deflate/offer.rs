//! Negotiation (RFC 7692, section 7.1).

use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};

/// The terms on which messages may be compressed.
///
/// Always without context takeover on either side, and with windows of 32 KiB: what the broker sends is made once for
/// all receivers, and it inflates whatever a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    answer: &'static str,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn answer(self) -> HeaderValue {
        HeaderValue::from_static(self.answer)
    }
}

/// The first offer in a request that can be accepted. What cannot is declined, as section 5 demands: another extension,
/// an unknown, repeated or malformed parameter, a window of the server below 32 KiB.
pub fn negotiate(headers: &HeaderMap) -> Option<Agreed> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).into_iter();
    let mut offers = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| split(line, ','));
    offers.find_map(accept)
}

fn accept(offer: &str) -> Option<Agreed> {
    let mut parts = split(offer, ';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let mut seen = [false; PARAMETERS.len()];
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (part, None),
        };
        let (seen, (_, is_acceptable)) =
            seen.iter_mut().zip(PARAMETERS).find(|(_, (known, _))| *known == name)?;
        if std::mem::replace(seen, true) || !is_acceptable(value) {
            return None;
        }
    }
    let [.., server_max_window_bits] = seen;
    // Section 7.1.2.1: who accepts the parameter says so. The other two may be answered whether offered or not
    // (sections 7.1.1.1 and 7.1.1.2); `client_max_window_bits` need not be (section 7.1.2.2).
    Some(Agreed { answer: if server_max_window_bits { WITH_WINDOW } else { WITHOUT_WINDOW } })
}

type IsAcceptable = fn(Option<&str>) -> bool;

/// What an offer may say, and the values that can be accepted.
const PARAMETERS: [(&str, IsAcceptable); 4] = [
    ("server_no_context_takeover", |value| value.is_none()),
    ("client_no_context_takeover", |value| value.is_none()),
    // A hint: a smaller window of the client fits into ours.
    ("client_max_window_bits", |value| {
        value.is_none_or(|bits| matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15"))
    }),
    // A demand. One window fits all receivers: the largest.
    ("server_max_window_bits", |value| value == Some("15")),
];

const WITHOUT_WINDOW: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// The parts between separators that stand outside of quotes (RFC 7230, section 3.2.6).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            _ if is_escaped => {}
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            c => return c == separator && !quoted,
        }
        false
    })
}

/// The text of a quoted value; no value that can be accepted needs an escape.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(offers: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(offer).unwrap());
        }
        negotiate(&headers).map(|agreed| agreed.answer().to_str().unwrap().to_owned())
    }

    #[test]
    fn both_sides_forget_between_messages_whatever_was_offered() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"15\"",
            "permessage-deflate ; server_no_context_takeover ; client_no_context_takeover",
            " permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]).as_deref(), Some(WITHOUT_WINDOW), "{offer}");
        }
    }

    #[test]
    fn a_window_of_the_server_is_answered_only_where_it_was_asked_for() {
        for offer in [
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits = \"15\"; client_max_window_bits",
        ] {
            assert_eq!(answer(&[offer]).as_deref(), Some(WITH_WINDOW), "{offer}");
        }
    }

    #[test]
    fn an_offer_that_cannot_be_kept_or_understood_is_declined() {
        for offer in [
            "",
            ",",
            "permessage-bzip2",
            "x-webkit-deflate-frame",
            "permessage-deflate-x",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=\"15",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover=",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; level=9",
            "permessage-deflate;",
            "permessage-deflate; ; client_max_window_bits",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_taken() {
        let wanted = "permessage-deflate; server_max_window_bits=10";
        assert_eq!(answer(&[&format!("{wanted}, permessage-deflate")]).as_deref(), Some(WITHOUT_WINDOW));
        assert_eq!(answer(&[wanted, "permessage-deflate"]).as_deref(), Some(WITHOUT_WINDOW));
        let both = "permessage-deflate; server_max_window_bits=15, permessage-deflate";
        assert_eq!(answer(&[both]).as_deref(), Some(WITH_WINDOW));
        assert_eq!(answer(&["mux; max-channels=4, permessage-deflate"]).as_deref(), Some(WITHOUT_WINDOW));
    }

    #[test]
    fn a_separator_in_quotes_separates_nothing() {
        assert_eq!(answer(&[r#"foo; x="a, permessage-deflate, \", permessage-deflate""#]), None);
        assert_eq!(answer(&[r#"foo; x="a, \\", permessage-deflate"#]).as_deref(), Some(WITHOUT_WINDOW));
        assert_eq!(answer(&[r#"permessage-deflate; client_max_window_bits="1;5""#]), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(text in "[ -~\t]{0,80}") {
            let known = [None, Some(WITHOUT_WINDOW.to_owned()), Some(WITH_WINDOW.to_owned())];
            prop_assert!(known.contains(&answer(&[&text])));
            let more = format!("{text}; permessage-deflate");
            prop_assert!(known.contains(&answer(&[&more, "permessage-deflate"])));
        }
    }
}
