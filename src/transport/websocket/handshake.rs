//! The opening handshake (RFC 6455, section 4.2), as far as it is about WebSocket: who may come from where is policy.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, write_response};
use tokio_tungstenite::tungstenite::http::{
    self, HeaderMap, HeaderValue, Method, StatusCode, Version, header, request,
};

use super::deflate;

/// Subprotocols of STOMP, the preferred one first: the newest wins whatever the order of the offer.
pub const STOMP_SUBPROTOCOLS: [&str; 3] = ["v12.stomp", "v11.stomp", "v10.stomp"];

/// A request that may be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    accept: HeaderValue,
    deflate: Option<deflate::Agreed>,
}

/// Why a request is no WebSocket handshake of ours. Its `Display` is a sentence for the person who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another method than GET.
    #[error("A WebSocket belongs here: the handshake is a GET request.")]
    NotGet,
    /// A request of HTTP/1.0 or before.
    #[error("A WebSocket belongs here: the handshake needs HTTP/1.1.")]
    OldHttp,
    /// An ordinary request, without `Upgrade`.
    #[error("A WebSocket belongs here: connect with a WebSocket client, ws:// or wss://, to this address.")]
    NoUpgrade,
    /// It asks for another protocol.
    #[error("Can \"Upgrade\" only to \"WebSocket\".")]
    OtherUpgrade,
    /// The header `Connection` does not name `Upgrade`, as that of a proxy that was not told to pass it on.
    #[error(
        "\"Connection\" must be \"upgrade\" for a WebSocket: a proxy on the way has to pass both headers on."
    )]
    NoConnection,
    /// Another version of WebSocket than 13.
    #[error("Only WebSocket version 13 (RFC 6455) is spoken here.")]
    BadVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in Base64.
    #[error("The header Sec-WebSocket-Key must be 16 bytes in Base64, once.")]
    BadKey,
}

/// The head of a GET request of HTTP/1.1 that `bytes` are, from its beginning to its end.
pub fn parse(bytes: &[u8]) -> Option<request::Parts> {
    let (length, request) = Request::try_parse(bytes).ok()??;
    (length == bytes.len()).then(|| request.into_parts().0)
}

/// An answer as it goes over the wire; `None` when a header is no text.
pub fn written<B>(answer: &http::Response<B>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    write_response(&mut bytes, answer).ok()?;
    Some(bytes)
}

/// Checks a request against section 4.2.1.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<Upgrade, Refused> {
    if method != Method::GET {
        return Err(Refused::NotGet);
    }
    if !headers.contains_key(header::UPGRADE) {
        return Err(Refused::NoUpgrade);
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(Refused::OtherUpgrade);
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(Refused::NoConnection);
    }
    if version < Version::HTTP_11 {
        return Err(Refused::OldHttp);
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refused::BadVersion);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key.as_bytes()))
        .ok_or(Refused::BadKey)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| Refused::BadKey)?;
    Ok(Upgrade { accept, deflate: None })
}

/// The subprotocol to answer: the first of `known` that the client offers. `None` leaves the header out, which is right
/// both for a client that offered none and for one whose offers are all unknown: it decides whether it goes on.
pub fn choose<'k>(headers: &HeaderMap, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .copied()
        .find(|known| tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|offer| offer == *known))
}

impl Upgrade {
    /// Tells the client that messages may be compressed.
    #[must_use]
    pub fn with_deflate(self, deflate: Option<deflate::Agreed>) -> Self {
        Self { deflate, ..self }
    }

    /// The answer that makes the connection a WebSocket.
    pub fn answer<B: Default>(self, subprotocol: Option<&str>) -> http::Response<B> {
        let mut response = http::Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(value) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        if let Some(deflate) = self.deflate {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate.answer());
        }
        response
    }
}

impl Refused {
    /// The answer that says what belongs here.
    pub fn answer<B: From<String>>(self) -> http::Response<B> {
        let mut response = http::Response::new(format!("{self}\n").into());
        *response.status_mut() = match self {
            Self::NotGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpgrade | Self::BadVersion => StatusCode::UPGRADE_REQUIRED,
            Self::OtherUpgrade | Self::NoConnection | Self::OldHttp | Self::BadKey => StatusCode::BAD_REQUEST,
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::NotGet => drop(headers.insert(header::ALLOW, HeaderValue::from_static("GET"))),
            Self::NoUpgrade | Self::BadVersion => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            }
            Self::OtherUpgrade | Self::NoConnection | Self::OldHttp | Self::BadKey => {}
        }
        response
    }
}

/// Whether the client wants the connection to end after the answer.
pub fn says_close(headers: &HeaderMap) -> bool {
    has_token(headers, header::CONNECTION, "close")
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|each| each.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The value of a header that must not be repeated.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// 16 bytes are 22 characters of Base64 and two of padding.
fn is_key(key: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.split_last_chunk(), Some((value, b"==")) if value.len() == 22 && value.iter().all(base64))
}

/// Room for an answer with a subprotocol.
const ANSWER_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&str, Option<&str>)]) -> HeaderMap {
        // RFC 6455, section 1.3: the example.
        let mut all = vec![
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        all.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        all.extend(changes.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        let pairs = all.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect::<Vec<(header::HeaderName, HeaderValue)>>().into_iter().fold(
            HeaderMap::new(),
            |mut map, (n, v)| {
                map.append(n, v);
                map
            },
        )
    }

    fn checked(changes: &[(&str, Option<&str>)]) -> Result<Upgrade, Refused> {
        check(&Method::GET, Version::HTTP_11, &request(changes))
    }

    #[test]
    fn the_example_of_the_specification_is_answered_as_it_says() {
        let response: http::Response<String> = checked(&[]).unwrap().answer(Some("v12.stomp"));
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], "v12.stomp");
        let response: http::Response<String> = checked(&[]).unwrap().answer(None);
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn tokens_may_stand_in_lists_and_in_any_case() {
        assert!(
            checked(&[("connection", Some("keep-alive, UPGRADE")), ("upgrade", Some("h2c,WebSocket"))])
                .is_ok()
        );
        assert!(checked(&[("connection", Some("keep-alive")), ("connection", Some("upgrade"))]).is_ok());
    }

    #[test]
    fn each_fault_has_its_own_answer() {
        let cases = [
            (checked(&[("upgrade", None)]), Refused::NoUpgrade, 426),
            (checked(&[("upgrade", Some("h2c"))]), Refused::OtherUpgrade, 400),
            (checked(&[("connection", Some("upgraded"))]), Refused::NoConnection, 400),
            (checked(&[("connection", None)]), Refused::NoConnection, 400),
            (checked(&[("sec-websocket-version", Some("8"))]), Refused::BadVersion, 426),
            (checked(&[("sec-websocket-version", None)]), Refused::BadVersion, 426),
            (checked(&[("sec-websocket-key", None)]), Refused::BadKey, 400),
            (checked(&[("sec-websocket-key", Some("c2hvcnQ="))]), Refused::BadKey, 400),
            (checked(&[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ!="))]), Refused::BadKey, 400),
            (check(&Method::POST, Version::HTTP_11, &request(&[])), Refused::NotGet, 405),
            (check(&Method::POST, Version::HTTP_11, &request(&[("upgrade", None)])), Refused::NotGet, 405),
            (check(&Method::GET, Version::HTTP_10, &request(&[])), Refused::OldHttp, 400),
        ];
        for (result, expected, status) in cases {
            assert_eq!(result, Err(expected));
            let response: http::Response<String> = expected.answer();
            assert_eq!(response.status(), status, "{expected:?}");
            assert!(response.body().contains("WebSocket"), "{expected:?}");
        }
        let response: http::Response<String> = Refused::BadVersion.answer();
        assert_eq!(response.headers()["sec-websocket-version"], "13");
    }

    #[test]
    fn the_newest_stomp_wins_whatever_the_order_and_unknown_ones_are_not_answered() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&["v10.stomp, v11.stomp, v12.stomp"], Some("v12.stomp")),
            (&["v10.stomp", "v11.stomp"], Some("v11.stomp")),
            (&["mqtt,v10.stomp"], Some("v10.stomp")),
            (&["mqtt"], None),
            (&["V12.STOMP"], None),
            (&[], None),
        ];
        for (offers, expected) in cases {
            let changes: Vec<_> =
                offers.iter().map(|offer| ("sec-websocket-protocol", Some(*offer))).collect();
            assert_eq!(choose(&request(&changes), &STOMP_SUBPROTOCOLS), expected, "{offers:?}");
        }
    }
}
