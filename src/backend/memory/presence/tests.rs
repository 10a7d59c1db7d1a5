use super::*;
use crate::model::{ConnectionId, WorkerId};

fn name(user: &str) -> Arc<str> {
    user.into()
}

fn session(slot: u32) -> ConnectionId {
    ConnectionId { worker: WorkerId(0), slot, serial: 0 }
}

fn enter(presence: &MemoryPresence, room: &str, user: &str, slot: u32) -> Option<Change> {
    let (user, mut seen) = (name(user), None);
    let row = Row { room, user: &user, session: session(slot) };
    presence.enter(row, &mut |change| seen = Some(change)).ok()?;
    Some(seen.unwrap())
}

fn leave(presence: &MemoryPresence, room: &str, user: &str, slot: u32) -> Option<Change> {
    let (user, mut seen) = (name(user), None);
    let row = Row { room, user: &user, session: session(slot) };
    presence.leave(row, &mut |change| seen = Some(change));
    seen
}

fn listed(presence: &MemoryPresence, after: u64, count: usize) -> (Vec<String>, bool) {
    let members = presence.members_now("42", after, count);
    (members.listed.iter().map(|member| member.user.to_string()).collect(), members.more)
}

fn says(presence: &MemoryPresence, user: &str, status: Option<(&str, Option<u64>)>) -> Vec<String> {
    let mut told = Vec::new();
    let status = status.map(|(text, until)| Status { text: text.into(), until: until.map(Millis) });
    presence.set_status(&name(user), status, &mut |room| told.push(room.to_owned()));
    told
}

#[test]
fn a_user_is_present_from_the_first_session_to_the_last() {
    let presence = MemoryPresence::new(9);
    let change = |user_changed, present, version| Some(Change { user_changed, present, version });
    assert_eq!(enter(&presence, "42", "alice", 1), change(true, 1, 1));
    assert_eq!(enter(&presence, "42", "alice", 2), change(false, 1, 1));
    assert_eq!(enter(&presence, "42", "bob", 3), change(true, 2, 2));
    assert_eq!(listed(&presence, 0, 10), (vec!["alice".to_owned(), "bob".to_owned()], false));
    assert_eq!(listed(&presence, 0, 1), (vec!["alice".to_owned()], true));
    assert_eq!(leave(&presence, "42", "alice", 1), change(false, 2, 2));
    assert_eq!(leave(&presence, "42", "alice", 1), None);
    assert_eq!(leave(&presence, "42", "alice", 2), change(true, 1, 3));
    assert_eq!(enter(&presence, "42", "alice", 1), change(true, 2, 4));
    assert_eq!(listed(&presence, 0, 10), (vec!["bob".to_owned(), "alice".to_owned()], false));
    assert_eq!(leave(&presence, "42", "alice", 1), change(true, 1, 5));
    assert_eq!(leave(&presence, "42", "bob", 3), change(true, 0, 6));
    assert_eq!(presence.rooms(), 0);
    for user in ["alice", "bob"] {
        assert!(presence.users_beside(user).lock().rooms(user).is_empty(), "{user}");
    }
}

#[test]
fn a_room_that_was_forgotten_goes_on_counting() {
    let presence = MemoryPresence::new(9);
    for round in 0..3 {
        let before = presence.members_now("42", 0, 9).version;
        assert_eq!(before, 2 * round);
        assert_eq!(enter(&presence, "42", "alice", 1).unwrap().version, before + 1);
        assert_eq!(leave(&presence, "42", "alice", 1).unwrap().version, before + 2);
        assert_eq!(presence.rooms(), 0);
    }
    // Others of its lock may have counted further: then it goes on from there.
    for n in 0..SHARDS * 20 {
        enter(&presence, &format!("room {n}"), "bob", 2).unwrap();
        leave(&presence, &format!("room {n}"), "bob", 2).unwrap();
    }
    assert!(enter(&presence, "42", "alice", 1).unwrap().version > 7);
}

#[test]
fn pages_are_one_list_whoever_comes_and_goes_meanwhile() {
    let presence = MemoryPresence::new(9);
    for n in 0..10 {
        enter(&presence, "42", &format!("u{n}"), n);
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = presence.members_now("42", after, 3);
        seen.extend(page.listed.iter().map(|member| member.user.to_string()));
        let Some(last) = page.listed.last().filter(|_| page.more) else { break };
        after = last.arrival;
        // Who is last on the page leaves, and comes back behind all others.
        leave(&presence, "42", &last.user, (seen.len() - 1) as u32);
        if seen.len() == 3 {
            enter(&presence, "42", "u2", 2);
        }
    }
    let expected = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "u2"];
    assert_eq!(seen, expected);
}

#[test]
fn a_user_is_in_so_many_rooms_at_most() {
    let presence = MemoryPresence::new(2);
    assert!(enter(&presence, "1", "alice", 1).is_some() && enter(&presence, "2", "alice", 1).is_some());
    assert_eq!(enter(&presence, "3", "alice", 2), None);
    assert!(enter(&presence, "2", "alice", 2).is_some(), "he is there already");
    assert_eq!(presence.rooms(), 2);
    leave(&presence, "1", "alice", 1);
    assert!(enter(&presence, "3", "alice", 2).is_some());
}

#[test]
fn a_status_is_told_where_it_is_news_and_goes_with_the_last_session() {
    let presence = MemoryPresence::new(9);
    assert!(says(&presence, "alice", Some(("away", None))).is_empty(), "she is not here");
    let alice = name("alice");
    presence.begin(&alice);
    presence.begin(&alice);
    assert_eq!(presence.online(), 1);
    enter(&presence, "1", "alice", 1);
    enter(&presence, "2", "alice", 2);
    assert_eq!(says(&presence, "alice", Some(("away", None))), ["1", "2"]);
    assert!(says(&presence, "alice", Some(("away", Some(9)))).is_empty());
    assert_eq!(presence.members_now("1", 0, 1).listed[0].status.as_deref(), Some("away"));
    assert!(!presence.end("alice", Millis(3)), "the other tab is open");
    presence.forget_status("alice", Millis(99));
    assert_eq!(presence.statuses(), 1);
    assert!(presence.end("alice", Millis(5)));
    presence.forget_status("alice", Millis(4));
    assert_eq!(presence.statuses(), 1);
    presence.begin(&alice);
    presence.forget_status("alice", Millis(99));
    assert_eq!(presence.statuses(), 1, "she came back");
    assert!(presence.end("alice", Millis(7)));
    presence.forget_status("alice", Millis(7));
    assert_eq!(presence.statuses(), 0);
    assert_eq!(presence.online(), 0);
    assert!(presence.users.iter().all(|users| users.lock().fall_back(Millis(99)).is_none()));
}

#[test]
fn a_status_falls_back_when_its_time_is_over() {
    let presence = MemoryPresence::new(9);
    for n in 0..4 {
        let user = name(&format!("u{n}"));
        presence.begin(&user);
        enter(&presence, "42", &user, n);
        says(&presence, &user, Some(("busy", Some(100 + u64::from(n)))));
    }
    says(&presence, "u0", Some(("busy", Some(500))));
    says(&presence, "u1", None);
    let fall_back = |now, events| {
        let mut told = Vec::new();
        presence.fall_back(Millis(now), events, &mut |user, room| told.push(format!("{user} {room}")));
        told
    };
    assert!(fall_back(101, 9).is_empty());
    assert_eq!(fall_back(200, 1).len(), 1, "the rest at the next call");
    assert_eq!(fall_back(200, 1).len(), 1);
    assert!(fall_back(200, 1).is_empty());
    assert_eq!(fall_back(500, 9), ["u0 42"]);
    assert_eq!(presence.statuses(), 0);
}
