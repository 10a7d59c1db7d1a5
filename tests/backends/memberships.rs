//! What every store of memberships does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

use std::collections::BTreeSet;

use stompede::backend::Memberships;
use stompede::model::{Answer, Limits, Membership, MembershipError, People};

use crate::subject::Subject;

/// Makes an empty store within limits.
pub(crate) type Maker = fn(&Limits) -> Subject<dyn Memberships>;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::memberships::judge!($maker, shared);
        crate::memberships::judge! { $maker =>
            all_together_are_bounded
        }
    };
    // A shared store has no bound over all users: it keeps as many as it has memory for.
    ($maker:expr, shared) => {
        crate::memberships::judge! { $maker =>
            membership_is_kept_until_it_is_ended_and_reading_goes_forward_only
            users_and_rooms_are_bounded
            of_many_who_enrol_and_leave_at_once_the_last_word_counts
            the_members_of_a_room_are_listed_page_by_page
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::memberships::$test($maker);
        })*
    };
}
pub(crate) use judge;

impl Subject<dyn Memberships> {
    pub(crate) fn enrol(&self, room: &str, user: &str, read: u64) -> Result<bool, MembershipError> {
        self.says(
            |port, ticket| port.enrol(room, user, read, ticket),
            |answer| if let Answer::Enrolled(enrolled) = answer { Ok(enrolled) } else { Err(answer) },
        )
    }

    pub(crate) fn withdraw(&self, room: &str, user: &str) -> bool {
        self.says(
            |port, ticket| port.withdraw(room, user, ticket),
            |answer| if let Answer::Withdrawn(Ok(withdrawn)) = answer { Ok(withdrawn) } else { Err(answer) },
        )
    }

    pub(crate) fn mark_read(&self, room: &str, user: &str, offset: u64) -> Option<bool> {
        self.says(
            |port, ticket| port.mark_read(room, user, offset, ticket),
            |answer| if let Answer::Marked(Ok(moved)) = answer { Ok(moved) } else { Err(answer) },
        )
    }

    pub(crate) fn membership(&self, room: &str, user: &str) -> Option<Membership> {
        self.says(
            |port, ticket| port.membership(room, user, ticket),
            |answer| if let Answer::Membership(Ok(found)) = answer { Ok(found) } else { Err(answer) },
        )
    }

    pub(crate) fn rooms_of(&self, user: &str) -> Vec<Membership> {
        self.says(
            |port, ticket| port.rooms_of(user, ticket),
            |answer| if let Answer::Memberships(Ok(all)) = answer { Ok(all) } else { Err(answer) },
        )
    }
}

impl Subject<dyn Memberships> {
    fn members(&self, room: &str, next: Option<&str>, count: usize) -> People {
        self.settles();
        self.says(
            |port, ticket| port.members(room, next, count, ticket),
            |answer| if let Answer::People(Ok(people)) = answer { Ok(people) } else { Err(answer) },
        )
    }
}

pub(crate) fn the_members_of_a_room_are_listed_page_by_page(maker: Maker) {
    let members = maker(&Limits::default());
    let mut expected: Vec<String> = (0..1_500).map(|n| format!("user {n}")).collect();
    for user in &expected {
        assert_eq!(members.enrol("42", user, 0), Ok(true));
    }
    members.enrol("41", "alice", 0).expect("room");
    let (mut listed, mut next, mut pages) = (BTreeSet::new(), None::<Box<str>>, 0);
    loop {
        let page = members.members("42", next.as_deref(), 100);
        assert_eq!(page.count, expected.len());
        listed.extend(page.listed.iter().map(|user| user.to_string()));
        (next, pages) = (page.next, pages + 1);
        if next.is_none() {
            break;
        }
    }
    expected.sort_unstable();
    assert_eq!(listed.into_iter().collect::<Vec<_>>(), expected);
    assert!(pages > 5, "{pages} pages");
    assert!(members.withdraw("41", "alice"));
    assert_eq!(members.members("41", None, 10), People::default());
}

fn few() -> Limits {
    Limits { memberships_of_user_max: 2, members_of_room_max: 2, memberships_max: 4, ..Limits::default() }
}

pub(crate) fn membership_is_kept_until_it_is_ended_and_reading_goes_forward_only(maker: Maker) {
    let members = maker(&few());
    // A shared store knows itself that nothing stands there.
    let begin = if members.is_shared { 0 } else { 5 };
    assert_eq!(members.mark_read("42", "alice", 7), None);
    assert_eq!(members.enrol("42", "alice", begin), Ok(true));
    assert_eq!(members.enrol("42", "alice", 9), Ok(false));
    assert_eq!(members.membership("42", "alice").map(|membership| membership.read), Some(begin));
    assert_eq!(members.mark_read("42", "alice", begin), Some(false));
    assert_eq!(members.mark_read("42", "alice", 7), Some(true));
    assert_eq!(members.mark_read("42", "alice", 6), Some(false));
    assert_eq!(members.enrol("41", "alice", 0), Ok(true));
    let rooms: Vec<_> = members.rooms_of("alice").into_iter().map(|m| (m.room.to_string(), m.read)).collect();
    assert_eq!(rooms, [("41".to_owned(), 0), ("42".to_owned(), 7)]);
    assert_eq!(members.membership("42", "alice").map(|membership| membership.read), Some(7));
    assert!(members.withdraw("42", "alice") && !members.withdraw("42", "alice"));
    assert_eq!(members.membership("42", "alice"), None);
    assert!(members.withdraw("41", "alice"));
    assert!(members.rooms_of("alice").is_empty());
    if !members.is_shared {
        assert!(members.is_empty());
    }
    assert_eq!(members.bytes(), 0);
}

pub(crate) fn users_and_rooms_are_bounded(maker: Maker) {
    let members = maker(&few());
    for (room, user, expected) in [
        ("1", "alice", Ok(true)),
        ("2", "alice", Ok(true)),
        ("3", "alice", Err(MembershipError::Rooms(2))),
        ("1", "bob", Ok(true)),
        ("1", "carol", Err(MembershipError::Members(2))),
        ("1", "bob", Ok(false)),
        ("2", "alice", Ok(false)),
        ("3", "carol", Ok(true)),
    ] {
        assert_eq!(members.enrol(room, user, 0), expected, "{user} in {room}");
    }
    members.withdraw("1", "bob");
    assert_eq!(members.enrol("1", "carol", 0), Ok(true));
    members.withdraw("2", "alice");
    assert_eq!(members.enrol("3", "alice", 0), Ok(true), "who was refused there takes no place there");
}

pub(crate) fn all_together_are_bounded(maker: Maker) {
    let members = maker(&few());
    for (room, user) in [("1", "alice"), ("2", "alice"), ("1", "bob"), ("3", "carol")] {
        assert_eq!(members.enrol(room, user, 0), Ok(true), "{user} in {room}");
    }
    assert_eq!(members.enrol("4", "dave", 0), Err(MembershipError::Store(4)));
    members.withdraw("1", "bob");
    assert_eq!(members.enrol("1", "carol", 0), Ok(true));
}

pub(crate) fn of_many_who_enrol_and_leave_at_once_the_last_word_counts(maker: Maker) {
    let members = maker(&Limits::default());
    std::thread::scope(|threads| {
        for n in 0..4 {
            let members = &members;
            threads.spawn(move || {
                for round in 0..200 {
                    let (room, user) = (format!("r{}", round % 5), format!("u{}", (n + round) % 3));
                    let _ = members.enrol(&room, &user, 0);
                    members.mark_read(&room, &user, round);
                    if round % 3 == 0 {
                        members.withdraw(&room, &user);
                    }
                }
            });
        }
    });
    let all: usize = (0..3).map(|n| members.rooms_of(&format!("u{n}")).len()).sum();
    if !members.is_shared {
        assert_eq!(members.len(), all);
    }
}
