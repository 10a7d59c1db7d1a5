//! Parts of paths and of lists.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query as AxumQuery};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Api;
use super::json::bad_content;
use super::problem::Refused;
use crate::model::principal::USER_BYTES_MAX;
use crate::model::{CloseReason, Refusal};

/// The parameters of a path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let found: Result<axum::extract::Path<T>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, api).await;
        found.map(|path| Self(path.0)).map_err(|_| bad_content("the path is no valid text"))
    }
}

/// The parameters of a query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let found: Result<AxumQuery<T>, QueryRejection> = AxumQuery::from_request_parts(parts, state).await;
        found.map(|query| Self(query.0)).map_err(|rejection| bad_content(rejection.body_text()))
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// How many are listed, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the list goes on: `next` of the answer before.
    #[param(max_length = 2048)]
    after: Option<String>,
}

impl Part {
    /// How many are listed.
    pub(super) fn count(&self) -> Result<usize, Refused> {
        match self.limit {
            None => Ok(LIMIT),
            Some(count @ 1..=LIMIT_MAX) => Ok(count),
            Some(_) => Err(bad_content(format!("limit is a number from 1 to {LIMIT_MAX}"))),
        }
    }

    /// The cursor, as it was before it was given out.
    pub(super) fn cursor(&self) -> Result<Option<String>, Refused> {
        let read = |after: &String| decoded(after).ok_or_else(|| bad_content(NO_CURSOR));
        self.after.as_ref().map(read).transpose()
    }
}

/// A cursor as it is given out: nobody need understand it, and it fits into any URL.
pub(super) fn encoded(cursor: &str) -> String {
    cursor.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    let is_ours = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    if digits.is_empty()
        || digits.len() > CURSOR_BYTES_MAX
        || !digits.len().is_multiple_of(2)
        || !digits.iter().all(is_ours)
    {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?).ok()
}

/// The user of a path.
pub(super) fn user_of(id: &str) -> Result<Arc<str>, Refused> {
    if id.is_empty() || id.len() > USER_BYTES_MAX || id.chars().any(char::is_control) {
        let text = format!("a user id has 1 to {USER_BYTES_MAX} bytes without control characters");
        return Err(Refusal::new(CloseReason::BadDestination, text).into());
    }
    Ok(id.into())
}

pub(super) const NO_CURSOR: &str = "after takes the field next of the answer before";

/// How many are listed where nothing else is said.
const LIMIT: usize = 100;

/// How many are listed at most.
pub(super) const LIMIT_MAX: usize = 1_000;

/// Digits of a cursor: a user or a room, and some numbers.
const CURSOR_BYTES_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_nothing_else_is_one() {
        for cursor in ["0", "7:grüße/%", "3:a:b"] {
            assert_eq!(decoded(&encoded(cursor)).as_deref(), Some(cursor));
        }
        for text in ["", "0", "zz", "FF", "ff", "+1", &"00".repeat(CURSOR_BYTES_MAX)] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
