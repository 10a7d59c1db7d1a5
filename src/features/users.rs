//! `/user/...` is a translation: a user's queue is a destination of its own that all sessions of the user subscribe.

use std::borrow::Cow;

use crate::model::destination::encode_user;
use crate::model::{Address, CloseReason, Destination, Principal, Refusal};

/// The path under which refusals reach a session that asks for them.
pub const ERRORS_PATH: &str = "errors";

/// The destination behind a subscription to one's own queue; `None` when `address` is no user destination.
pub fn own_queue(address: &Address, principal: &Principal) -> Result<Option<Destination>, Refusal> {
    match address {
        Address::OwnQueue { path } => match &principal.user {
            Some(user) => Ok(Some(Destination::of_user(user, path))),
            None => Err(Refusal::new(CloseReason::Forbidden, "only a signed-in user has queues of its own")),
        },
        Address::UserQueue(queue) if is_of(queue, principal) => Ok(Some(queue.clone())),
        Address::UserQueue(_) => {
            Err(Refusal::new(CloseReason::Forbidden, "a user may subscribe to the own queues only"))
        }
        _ => Ok(None),
    }
}

/// A user's queue as its owner may call it, `/user/queue/<path>`: that is how access rules name it.
pub fn short_name(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("/user/").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) if path.starts_with("queue/") => format!("/user/{path}").into(),
        Some(("topic", path)) => format!("/user/queue/topic/{path}").into(),
        Some((id, path)) if id != "queue" && path.starts_with("topic/") => {
            format!("/user/queue/{path}").into()
        }
        _ => name.into(),
    }
}

fn is_of(queue: &Destination, principal: &Principal) -> bool {
    let owner = queue.user_queue().map(|(user, _)| user);
    principal.user.as_deref().is_some_and(|user| owner == Some(&*encode_user(user)))
}

/// The token in the body of a refresh, `{"token":"..."}`.
pub fn token_of(body: &str) -> Option<Box<str>> {
    #[derive(serde::Deserialize)]
    struct Refresh {
        token: Box<str>,
    }
    serde_json::from_str(body).ok().map(|refresh: Refresh| refresh.token)
}

/// What a session that subscribes `/user/queue/errors` reads instead of an ERROR.
pub fn refusal_body(refusal: &Refusal, receipt_id: Option<&str>) -> Vec<u8> {
    let retry_after = refusal.retry_after_value();
    let retry_after =
        retry_after.map(|value| value.parse::<u32>().map_or(serde_json::json!(value), Into::into));
    let body = serde_json::json!({
        "code": refusal.reason.code(),
        "message": refusal.message,
        "destination": refusal.destination,
        "receiptId": receipt_id,
        "retryAfter": retry_after,
    });
    body.to_string().into_bytes()
}

/// The receipt id and the refusal in such a body.
pub fn refusal_of_body(body: &[u8]) -> Option<(Box<str>, Refusal)> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        code: String,
        message: String,
        destination: Option<Box<str>>,
        receipt_id: Option<Box<str>>,
    }
    let told: Told = serde_json::from_slice(body).ok()?;
    let reason = CloseReason::ALL.into_iter().find(|reason| reason.code() == told.code)?;
    let refusal = Refusal { destination: told.destination, ..Refusal::new(reason, told.message) };
    Some((told.receipt_id?, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_own_queue_lead_to_one_destination() {
        let alice = Principal::user("a/b");
        let own = Address::of_subscribe("/user/queue/m").unwrap();
        let named = Address::of_subscribe("/user/a%2Fb/queue/m").unwrap();
        assert_eq!(own_queue(&own, &alice), own_queue(&named, &alice));
        let Address::UserQueue(sent_to) = named else { panic!("{named:?}") };
        assert_eq!(Some(sent_to), own_queue(&own, &alice).unwrap());
        assert_eq!(short_name("/user/a%2Fb/queue/m"), "/user/queue/m");
        assert_eq!(short_name("/user/queue/m"), "/user/queue/m");
        assert_eq!(short_name("/user/queue/queue/m"), "/user/queue/m", "of a user called queue");
        for name in ["/user/topic/m", "/user/a%2Fb/topic/m", "/user/queue/topic/m"] {
            assert_eq!(short_name(name), "/user/queue/topic/m", "{name}");
        }
    }

    #[test]
    fn nobody_listens_to_somebody_elses_queue() {
        let address = Address::of_subscribe("/user/bob/queue/m").unwrap();
        assert_eq!(
            own_queue(&address, &Principal::user("alice")).unwrap_err().reason,
            CloseReason::Forbidden
        );
        let own = Address::of_subscribe("/user/queue/m").unwrap();
        assert_eq!(own_queue(&own, &Principal::anonymous()).unwrap_err().reason, CloseReason::Forbidden);
    }
}
