//! Who is in a room, and who belongs to it.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::auth::Caller;
use super::super::json::{Json, bad_content};
use super::super::page::{NO_CURSOR, Part, Path, Query, encoded, user_of};
use super::super::problem::{Problem, Refused};
use super::{room_of, synced};
use crate::features::control::{self, Order};
use crate::model::{Answer, CloseReason, Members, People, Principal, Refusal, StoreError, Task, Whom};
use crate::policy::Scope;
use crate::policy::access::Action;

/// Who is in a room and who belongs to it, or some of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct MembersAnswer {
    chat_room_id: String,
    /// Who is present, by arrival.
    present: Vec<Present>,
    /// How many are present, listed or not.
    present_count: usize,
    /// The room's version of which that is true.
    version: u64,
    /// Who belongs to it, present or not. Each is listed once, in rare cases twice.
    enrolled: Vec<String>,
    /// How many belong to it, listed or not.
    enrolled_count: usize,
    /// Where the lists go on, if one of them does: the parameter `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One who is present.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Present {
    user_id: String,
    /// What he says of himself.
    status: String,
}

/// Whether something was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Changed {
    /// It was not so before.
    changed: bool,
}

/// Where two lists go on. A list that has ended goes on nowhere.
#[derive(Debug, Default)]
struct Places {
    present: Option<u64>,
    enrolled: Option<Option<String>>,
}

impl Places {
    fn begin() -> Self {
        Self { present: Some(0), enrolled: Some(None) }
    }

    fn parse(cursor: &str) -> Option<Self> {
        let (present, enrolled) = cursor.split_once('|')?;
        let present = if present.is_empty() { None } else { Some(present.parse().ok()?) };
        let enrolled = match enrolled.split_once('=') {
            Some(("", place)) => Some(Some(place.to_owned())),
            None if enrolled.is_empty() => None,
            _ => return None,
        };
        Some(Self { present, enrolled })
    }
}

/// List members of a room
///
/// Who is present, and who belongs to the room.
#[utoipa::path(
    get, path = "/api/v1/rooms/{room}/members", tag = "rooms", operation_id = "roomMembers",
    params(("room" = String, Path, description = "The room", min_length = 1), Part),
    responses((status = 200, body = MembersAnswer), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(in super::super) async fn members(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(room): Path<String>,
    Query(part): Query<Part>,
) -> Result<Json<MembersAnswer>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let room = room_of(&api, &principal, &room, &[Action::Subscribe, Action::Presence]).await?;
    let limit = part.count()?;
    let places = match part.cursor()? {
        None => Places::begin(),
        Some(cursor) => Places::parse(&cursor).ok_or_else(|| bad_content(NO_CURSOR))?,
    };
    // Who asks for no more of a list still hears how long it is.
    let (after, wanted) = places.present.map_or((u64::MAX >> 12, 1), |after| (after, limit));
    let present = api.office.ask(
        |broker, ticket| broker.members(&room, after, wanted, ticket),
        |answer| match answer {
            Answer::Members(members) => Some(members),
            _ => None,
        },
    );
    let present: Members = present.await?;
    let from = places.enrolled.clone().flatten();
    let enrolled = api.office.ask(
        |broker, ticket| broker.enrolled(&room, from.as_deref(), limit, ticket),
        |answer| match answer {
            Answer::People(people) => Some(people),
            _ => None,
        },
    );
    let mut enrolled: People = enrolled.await?;
    if places.enrolled.is_none() {
        enrolled = People { count: enrolled.count, ..People::default() };
    }
    let more = present.more.then(|| present.listed.last().map(|member| member.arrival)).flatten();
    let next = (more.is_some() || enrolled.next.is_some()).then(|| {
        let present = more.map_or_else(String::new, |arrival| arrival.to_string());
        let enrolled = enrolled.next.map_or_else(String::new, |next| format!("={next}"));
        encoded(&format!("{present}|{enrolled}"))
    });
    let told = |member: crate::model::Member| Present {
        user_id: member.user.to_string(),
        status: member.status.map_or_else(|| "online".to_owned(), |status| status.to_string()),
    };
    Ok(Json(MembersAnswer {
        chat_room_id: room.name.into(),
        present: present.listed.into_iter().map(told).collect(),
        present_count: present.count,
        version: present.version,
        enrolled: enrolled.listed.iter().map(|user| user.to_string()).collect(),
        enrolled_count: enrolled.count,
        next,
    }))
}

/// Make a user a member of a room
///
/// As his first SUBSCRIBE does; what is there does not wait to be read. It changes nothing in who may use the room. A user may
/// do it for himself, where he may SUBSCRIBE.
#[utoipa::path(
    put, path = "/api/v1/rooms/{room}/members/{id}", tag = "rooms", operation_id = "enrol",
    params(("room" = String, Path, description = "The room", min_length = 1), ("id" = String, Path, description = "The user", max_length = 256, min_length = 1)),
    responses((status = 200, body = Changed), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(in super::super) async fn enrol(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((room, id)): Path<(String, String)>,
) -> Result<Json<Changed>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let room = room_of(&api, &principal, &room, &[Action::Subscribe, Action::Presence]).await?;
    let user = user_of(&id)?;
    check_self(&principal, &user)?;
    let enrolled = api.office.ask(
        |broker, ticket| broker.enrol(&room, &user, ticket),
        |answer| match answer {
            Answer::Enrolled(enrolled) => Some(Ok::<_, StoreError>(enrolled)),
            _ => None,
        },
    );
    let changed = enrolled.await?.map_err(Refusal::from)?;
    if changed {
        api.office.broker().membership_changed(&room, &user, api.office.now());
    }
    synced(&api).await?;
    Ok(Json(Changed { changed }))
}

/// Remove a user from a room
///
/// He belongs to it no more, and his subscriptions to it end, on all instances. It changes nothing in who may use the room. A
/// user may do it for himself.
#[utoipa::path(
    delete, path = "/api/v1/rooms/{room}/members/{id}", tag = "rooms", operation_id = "removeMember",
    params(("room" = String, Path, description = "The room", min_length = 1), ("id" = String, Path, description = "The user", max_length = 256, min_length = 1)),
    responses((status = 200, body = Changed), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(in super::super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((room, id)): Path<(String, String)>,
) -> Result<Json<Changed>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let room = room_of(&api, &principal, &room, &[Action::Subscribe]).await?;
    let user = user_of(&id)?;
    check_self(&principal, &user)?;
    let withdrawn = api.office.ask(
        |broker, ticket| broker.withdraw(&room, &user, ticket),
        |answer| match answer {
            Answer::Withdrawn(withdrawn) => Some(withdrawn),
            _ => None,
        },
    );
    let withdrawn = withdrawn.await?;
    if withdrawn {
        api.office.broker().membership_changed(&room, &user, api.office.now());
    }
    // Who subscribes belongs to the room; that a user asks again is no reason to search all sessions.
    if !withdrawn && !principal.is_service() {
        return Ok(Json(Changed { changed: false }));
    }
    let whom = Whom { user: Some((&*user).into()), session: None };
    let order = Order { whom, task: Task::Unsubscribe(room.topic.as_str().into()) };
    let (reports, _) = api.office.order(&order).await?;
    synced(&api).await?;
    Ok(Json(Changed { changed: withdrawn || control::sum_subscriptions(&reports) > 0 }))
}

/// A user decides about himself alone.
fn check_self(principal: &Principal, user: &str) -> Result<(), Refused> {
    if principal.is_service() || principal.user.as_deref() == Some(user) {
        return Ok(());
    }
    Err(Refusal::new(CloseReason::Forbidden, "only services decide about others").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_two_lists_says_where_each_goes_on() {
        let places = |cursor: &str| Places::parse(cursor).map(|places| (places.present, places.enrolled));
        assert_eq!(places("7|=bob"), Some((Some(7), Some(Some("bob".to_owned())))));
        assert_eq!(places("7|"), Some((Some(7), None)));
        assert_eq!(places("|=a|b=c"), Some((None, Some(Some("a|b=c".to_owned())))));
        for cursor in ["", "7", "x|", "7|bob"] {
            assert_eq!(places(cursor), None, "{cursor}");
        }
    }
}
