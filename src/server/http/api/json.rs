//! Bodies of requests: JSON within limits.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Api;
use super::problem::Refused;
use crate::model::{CloseReason, Refusal};

/// The body of a request, within the limits of size and depth. It is read by [`Text::read`], so that what is read may
/// borrow from it.
pub(super) struct Text(Bytes);

impl Text {
    /// What it says.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refused> {
        read(&self.0)
    }

    /// As [`Text::read`], where nothing stands for `{}`.
    pub(super) fn read_or_nothing<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        read(if self.0.is_empty() { b"{}" } else { &self.0 })
    }

    /// As it came.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl FromRequest<Arc<Api>> for Text {
    type Rejection = Refused;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refused> {
        let bytes = Bytes::from_request(request, api).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(fault) if fault.status() == 413 => {
                let max = api.settings.body_bytes_max;
                too_large(format!("the body of a request has at most {max} bytes (api.body_bytes_max)"))
            }
            _ => Refused::from(Refusal::new(CloseReason::BadContent, "the body did not come whole")),
        })?;
        let depth_max = api.settings.depth_max;
        if is_deeper(&bytes, depth_max) {
            return Err(too_large(format!(
                "a request has at most {depth_max} objects and lists within each other (api.depth_max)"
            )));
        }
        Ok(Self(bytes))
    }
}

/// Milliseconds since 1970, as many as the description has numbers for.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let at = Option::<u64>::deserialize(deserializer)?;
    if at.is_some_and(|at| i64::try_from(at).is_err()) {
        return Err(D::Error::custom(format_args!("expires is at most {}", i64::MAX)));
    }
    Ok(at)
}

/// An object, by the names of its fields: serde would take a list of their values for it as well.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfNames(PhantomData)).map(Self)
    }
}

struct OfNames<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfNames<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(text).map(|Named(said)| said).map_err(|error| bad(&error))
}

/// An answer.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => Refused::from(CloseReason::Internal).into_response(),
        }
    }
}

/// A limit was crossed.
pub(super) fn too_large(text: String) -> Refused {
    Refusal::new(CloseReason::TooLarge, text).into()
}

/// Something in the request is not what it should be.
pub(super) fn bad_content(text: impl Into<std::borrow::Cow<'static, str>>) -> Refused {
    Refusal::new(CloseReason::BadContent, text).into()
}

/// serde's own words may repeat the body, but here whoever reads them has written it.
fn bad(error: &serde_json::Error) -> Refused {
    let mut text = error.to_string();
    if text.len() > FAULT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX));
    }
    bad_content(format!("the body is not the JSON that is taken here: {text}"))
}

/// Whether more than `depth_max` objects and lists are open at once somewhere.
fn is_deeper(text: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Of a fault, so much is repeated.
const FAULT_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_values_is_no_object() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer<'a> {
            #[serde(default)]
            a: u8,
            #[serde(borrow, default)]
            of: Vec<Named<Inner<'a>>>,
        }
        #[derive(Debug, Deserialize)]
        struct Inner<'a> {
            b: &'a str,
            #[serde(borrow)]
            raw: &'a serde_json::value::RawValue,
        }
        let said: Outer<'_> = read(br#"{"a":1,"of":[{"b":"x","raw": [1, 2]}]}"#).unwrap();
        assert_eq!((said.a, said.of[0].0.b, said.of[0].0.raw.get()), (1, "x", "[1, 2]"));
        for wrong in ["[]", "[1]", "[1,[]]", r#"{"of":[["x",1]]}"#, r#"{"c":1}"#, "1", "null", ""] {
            assert!(read::<Outer<'_>>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn depth_counts_what_is_open_and_no_brackets_in_texts() {
        for (text, deeper) in [
            (r#"{"a":[1]}"#, false),
            (r#"{"a":[{}]}"#, true),
            (r#"{"a":"[[[[{{{"}"#, false),
            (r#"{"a":"\"[[["}"#, false),
            (r#"{"a":"\\","b":[[]]}"#, true),
            ("[][][][]", false),
            ("]]]][[[", true),
        ] {
            assert_eq!(is_deeper(text.as_bytes(), 2), deeper, "{text}");
        }
    }
}
