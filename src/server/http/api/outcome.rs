//! What requests that send are answered.

use serde::Serialize;
use utoipa::ToSchema;

use super::office::Outcomes;
use super::problem::Refused;
use crate::broker::Accepted;

/// A message that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    /// The message's id, as receivers see it. Missing where it became no message, as past its time, or where an earlier one
    /// with the same key is not remembered in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Where it stands in the history of its destination, if that is kept: `stompede-position` in STOMP.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// It was accepted before under the same idempotency key, and not published again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl From<Accepted> for Posted {
    fn from(accepted: Accepted) -> Self {
        let Accepted { id, position, repeated } = accepted;
        Self {
            message_id: id.map(|id| id.to_string()),
            position: position.map(|position| position.to_string()),
            repeated,
        }
    }
}

/// Messages that were accepted, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllPosted {
    results: Vec<Posted>,
}

impl AllPosted {
    /// All of them, or the first that was refused.
    pub(super) fn of(outcomes: Outcomes) -> Result<Self, Refused> {
        let outcomes = outcomes.into_iter().enumerate();
        let results =
            outcomes.map(|(at, outcome)| outcome.map(Into::into).map_err(|refusal| Refused::at(refusal, at)));
        Ok(Self { results: results.collect::<Result<_, _>>()? })
    }
}
