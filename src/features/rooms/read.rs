//! What a user has read of a room, as he says it.

use serde::Deserialize;

use crate::model::{CloseReason, MessageId, Refusal, Which};

/// Reads the body of `/app/chat/<room>/read`: `{"messageId":"..."}`, `{"offset":7}`, or nothing for the newest message.
///
/// # Errors
/// `bad-content` for anything else.
pub fn which(body: &[u8]) -> Result<Which, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?.trim();
    if text.is_empty() {
        return Ok(Which::Last);
    }
    let said: Said = serde_json::from_str(text).map_err(|_| malformed())?;
    match said {
        Said { message_id: None, offset: None } => Ok(Which::Last),
        Said { message_id: None, offset: Some(offset) } => Ok(Which::At(offset)),
        Said { message_id: Some(id), offset: None } => {
            id.parse::<MessageId>().map(Which::Id).map_err(|_| unknown())
        }
        Said { .. } => Err(malformed()),
    }
}

/// What is told to who names a message that is not there.
pub fn unknown() -> Refusal {
    Refusal::new(CloseReason::BadContent, "this room has no such message")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Said {
    message_id: Option<String>,
    offset: Option<u64>,
}

fn malformed() -> Refusal {
    let text = "what is read is said by {\"messageId\":\"...\"}, by {\"offset\":7}, or by nothing for all";
    Refusal::new(CloseReason::BadContent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_by_id_by_offset_or_as_the_newest() {
        let id = MessageId { node: 0xab, number: 7 };
        for (body, expected) in [
            ("", Which::Last),
            (" \n", Which::Last),
            ("{}", Which::Last),
            (r#"{"offset":7}"#, Which::At(7)),
            (r#"{"offset":18446744073709551615}"#, Which::At(u64::MAX)),
            (r#"{"messageId":"ab-7"}"#, Which::Id(id)),
        ] {
            assert_eq!(which(body.as_bytes()), Ok(expected), "{body}");
        }
        for body in [
            "7",
            "[]",
            r#"{"offset":-1}"#,
            r#"{"offset":1.5}"#,
            r#"{"offset":18446744073709551616}"#,
            r#"{"offset":"7"}"#,
            r#"{"offset":7,"messageId":"ab-7"}"#,
            r#"{"messageId":"ab-07"}"#,
            r#"{"messageId":""}"#,
            r#"{"message":"ab-7"}"#,
        ] {
            assert_eq!(which(body.as_bytes()).unwrap_err().reason, CloseReason::BadContent, "{body}");
        }
        assert!(which(b"\xff").is_err());
    }
}
