use super::*;
use crate::backend::memory::MemoryPresence;
use crate::model::WorkerId;

fn attendance(linger_ms: u64) -> Attendance {
    Attendance::new(Arc::new(MemoryPresence::new(1_000)), linger_ms)
}

fn session(slot: usize) -> ConnectionId {
    ConnectionId { worker: WorkerId(0), slot: slot as u32, serial: 0 }
}

fn users(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|n| format!("u{n}").into()).collect()
}

fn ticks(attendance: &Attendance, now_ms: u64) -> Vec<String> {
    let mut told = Vec::new();
    attendance.tick(Millis(now_ms), &mut |room, a| told.push(format!("{room} {a:?}")));
    told
}

#[test]
fn a_room_that_is_large_no_more_hears_a_last_count_and_is_forgotten() {
    let attendance = attendance(0);
    let users = users(SINGLE_EVENTS_MAX + 2);
    for (n, user) in users.iter().enumerate() {
        let row = Row { room: "42", user, session: session(n) };
        attendance.enter(row, Millis(5_000), &mut |_| {}).unwrap();
    }
    for (n, user) in users.iter().enumerate().skip(190) {
        attendance.leave(Row { room: "42", user, session: session(n) }, Millis(5_100), &mut |_| {});
    }
    assert_eq!(ticks(&attendance, 6_000), ["42 Count { count: 190, version: 214 }"]);
    assert_eq!(attendance.large_rooms(), 0);
}

#[test]
fn a_large_room_hears_a_count_at_most_once_a_second() {
    let attendance = attendance(0);
    let mut heard = Vec::new();
    for (n, user) in users(SINGLE_EVENTS_MAX + 50).iter().enumerate() {
        let row = Row { room: "42", user, session: session(n) };
        attendance.enter(row, Millis(5_000), &mut |a| heard.push(format!("{a:?}"))).unwrap();
    }
    assert_eq!(heard.len(), SINGLE_EVENTS_MAX + 1);
    assert_eq!(heard[0], r#"Join { user: "u0", version: 1 }"#);
    assert_eq!(heard[SINGLE_EVENTS_MAX], "Count { count: 201, version: 201 }");
    let counts: Vec<_> = [5_999, 6_000, 7_500].map(|now_ms| ticks(&attendance, now_ms)).concat();
    assert_eq!(counts, ["42 Count { count: 250, version: 250 }"]);
}

#[test]
fn who_is_lost_leaves_after_the_linger_and_a_crowd_in_portions() {
    let attendance = attendance(10_000);
    let users = users(PARTINGS_A_TICK + 10);
    for (n, user) in users.iter().enumerate() {
        let room = n.to_string();
        let row = Row { room: &room, user, session: session(n) };
        attendance.enter(row, Millis(0), &mut |_| {}).unwrap();
        let unheard = &mut |_: &str, a: Announcement<'_>| panic!("{a:?}");
        attendance.lose(room.into(), user, session(n), Millis(50), unheard);
    }
    assert!(ticks(&attendance, 10_049).is_empty());
    let first = ticks(&attendance, 10_050);
    assert_eq!((first.len(), &*first[0]), (PARTINGS_A_TICK, r#"0 Leave { user: "u0", version: 2 }"#));
    assert_eq!((attendance.lingering(), ticks(&attendance, 10_050).len()), (10, 10));
    assert_eq!((attendance.lingering(), attendance.rooms()), (0, 0));
}

#[test]
fn without_a_linger_and_when_too_many_linger_who_is_lost_leaves_at_once() {
    let alice: Arc<str> = "alice".into();
    for (linger_ms, waiting) in [(0, 0), (10_000, LINGERING_MAX)] {
        let attendance = attendance(linger_ms);
        for _ in 0..waiting {
            let parting = Parting { due: Millis(1), user: Arc::clone(&alice), what: What::Status };
            attendance.lingering.lock().push(parting).unwrap();
        }
        attendance.begin(&alice);
        let row = Row { room: "42", user: &alice, session: session(1) };
        attendance.enter(row, Millis(0), &mut |_| {}).unwrap();
        let away = Status { text: "away".into(), until: None };
        let mut told = Vec::new();
        attendance.set_status(&alice, Some(away), &mut |room, a| told.push(format!("{room} {a:?}")));
        attendance.lose("42".into(), &alice, session(1), Millis(5), &mut |_, a| told.push(format!("{a:?}")));
        attendance.end(&alice, Millis(5));
        let expected = [
            r#"42 Status { user: "alice", status: Some("away") }"#,
            r#"Leave { user: "alice", version: 2 }"#,
        ];
        assert_eq!(told, expected);
        assert_eq!((attendance.statuses(), attendance.online()), (0, 0));
    }
}
