//! Memberships before a real server: what stands in the room follows what stands at the user.

use super::*;
use crate::backend::redis::testing::{
    Answers, Driven, Memory, RedisServer, eventually, hub, options, ticket,
};

struct Stand {
    members: RedisMemberships,
    answers: Arc<Answers>,
    driven: Driven,
}

impl Stand {
    fn new(server: &RedisServer, limits: &Limits) -> Self {
        let (options, answers) = (options(server), Arc::<Answers>::default());
        let driven = Driven::open(&options, Arc::<Memory>::default());
        let members = RedisMemberships::new(hub(&options, driven.link(), &answers), limits);
        Self { members, answers, driven }
    }

    fn enrol(&self, room: &str, user: &str) -> Result<bool, MembershipError> {
        self.members.enrol(room, user, 0, ticket(1));
        self.enrolled()
    }

    fn enrolled(&self) -> Result<bool, MembershipError> {
        match self.answers.wait(1) {
            Answer::Enrolled(enrolled) => enrolled,
            other => panic!("{other:?}"),
        }
    }

    fn withdraw(&self, room: &str, user: &str) -> bool {
        self.members.withdraw(room, user, ticket(2));
        match self.answers.wait(2) {
            Answer::Withdrawn(Ok(withdrawn)) => withdrawn,
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, room: &str, user: &str) -> Option<u64> {
        self.members.membership(room, user, ticket(3));
        match self.answers.wait(3) {
            Answer::Membership(Ok(membership)) => membership.map(|membership| membership.read),
            other => panic!("{other:?}"),
        }
    }

    /// Keys of the room: its members, the meta of its log.
    fn keys(&self, room: &str) -> [String; 2] {
        let hub = &self.members.hub;
        let partition = hub.partition_of_room(room);
        let topic = format!("/topic/chat/{room}");
        [hub.keys.key(partition, MEMBERS, room), hub.keys.key(partition, META, &topic)]
    }

    fn enrolment(&self, room: &str, user: &str) -> Enrolment {
        Enrolment { pair: self.members.pair(room, user), most: self.members.most, ticket: ticket(1) }
    }
}

/// Names of the room's members, in order.
fn listed(server: &RedisServer, key: &str) -> Vec<String> {
    let mut names: Vec<_> = server.cli(&["smembers", key]).split_whitespace().map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn settles(server: &RedisServer, key: &str, expected: &[&str]) {
    eventually(|| match listed(server, key) {
        names if names == expected => Ok(()),
        names => Err(names),
    });
}

#[test]
fn who_joins_has_read_what_was_said_before_and_who_leaves_is_in_no_list() {
    let server = RedisServer::start();
    let stand = Stand::new(&server, &Limits::default());
    let [members, meta] = stand.keys("{4}2");
    server.cli(&["hset", &meta, "top", "1048577"]);
    for user in ["al/i{ce}", "bob"] {
        assert_eq!(stand.enrol("{4}2", user), Ok(true));
        assert_eq!(stand.read("{4}2", user), Some(1_048_577));
    }
    settles(&server, &members, &["al/i{ce}", "bob"]);
    server.cli(&["hset", &meta, "top", "1048580"]);
    assert_eq!(stand.enrol("{4}2", "bob"), Ok(false));
    assert_eq!(stand.read("{4}2", "bob"), Some(1_048_577), "he has not read what was said since");
    assert!(stand.withdraw("{4}2", "al/i{ce}"));
    settles(&server, &members, &["bob"]);
}

#[test]
fn who_may_not_join_after_all_is_taken_out_of_the_room_again() {
    let server = RedisServer::start();
    let stand = Stand::new(&server, &Limits { memberships_of_user_max: 1, ..Limits::default() });
    let [members, _] = stand.keys("42");
    // Another session of his was faster, in another room.
    stand.enrolment("42", "alice").pair.add();
    assert_eq!(stand.enrol("41", "alice"), Ok(true));
    settles(&server, &members, &["alice"]);
    stand.enrolment("42", "alice").write(0);
    assert_eq!(stand.enrolled(), Err(MembershipError::Rooms(1)));
    settles(&server, &members, &[]);
    // In the same room: he is a member, whoever made him one.
    stand.enrolment("41", "alice").write(0);
    assert_eq!(stand.enrolled(), Ok(true));
}

#[test]
fn who_is_taken_out_while_he_joins_is_in_the_room_again() {
    let server = RedisServer::start();
    let stand = Stand::new(&server, &Limits::default());
    let [members, _] = stand.keys("42");
    assert_eq!(stand.enrol("42", "alice"), Ok(true));
    settles(&server, &members, &["alice"]);
    server.cli(&["srem", &members, "alice"]);
    stand.members.pair("42", "alice").remove();
    settles(&server, &members, &["alice"]);
}

#[test]
fn members_are_in_their_rooms_whatever_two_nodes_did_at_once() {
    let server = RedisServer::start();
    let [one, other] = [(); 2].map(|()| Stand::new(&server, &Limits::default()));
    let (rooms, users) = (["r0", "r1"], ["u0", "u1", "u2"]);
    let pairs = || rooms.into_iter().flat_map(|room| users.map(|user| (room, user)));
    for _ in 0..30 {
        for (room, user) in pairs() {
            one.withdraw(room, user);
        }
        // Nobody waits for an answer before the next.
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for (room, user) in pairs() {
                    one.members.enrol(room, user, 0, ticket(9));
                }
                pairs().for_each(|_| drop(one.answers.wait(9)));
            });
            threads.spawn(|| {
                for (room, user) in pairs() {
                    other.members.enrol(room, user, 0, ticket(8));
                }
                for (room, user) in pairs() {
                    other.members.withdraw(room, user, ticket(9));
                }
                pairs().for_each(|_| drop(other.answers.wait(9)));
                pairs().for_each(|_| drop(other.answers.wait(8)));
            });
        });
        // What follows an answer goes from one partition to the other twice at most.
        for node in [&one, &other].repeat(3) {
            for (room, user) in pairs() {
                let (members, partition) =
                    (node.keys(room)[0].clone(), node.members.hub.partition_of_room(room));
                assert!(node.driven.run(&scripts::EXPEL, partition, &[&members], &["nobody"]).is_ok());
                node.read(room, user);
            }
        }
        for room in rooms {
            let names = listed(&server, &one.keys(room)[0]);
            let joined = users.into_iter().filter(|user| one.read(room, user).is_some());
            joined.for_each(|user| {
                assert!(names.iter().any(|name| name == user), "{user} in {room}: {names:?}")
            });
        }
    }
}

#[test]
fn without_redis_nobody_is_told_what_is_not_known() {
    let server = RedisServer::start();
    let Stand { members, answers, driven } = Stand::new(&server, &Limits::default());
    drop(driven);
    members.enrol("42", "alice", 0, ticket(1));
    assert!(matches!(answers.wait(1), Answer::Enrolled(Err(MembershipError::Unavailable))));
    members.rooms_of("alice", ticket(4));
    assert!(matches!(answers.wait(4), Answer::Memberships(Err(StoreError::Unavailable))));
    members.mark_read("42", "alice", 1, ticket(5));
    assert!(matches!(answers.wait(5), Answer::Marked(Err(StoreError::Unavailable))));
}

#[test]
fn what_nobody_of_us_has_written_is_not_taken_for_a_membership() {
    let server = RedisServer::start();
    let stand = Stand::new(&server, &Limits::default());
    let hub = &stand.members.hub;
    let key = hub.keys.key(Partition::of_user("alice"), ROOMS, "alice");
    server.cli(&["set", &key, "x"]);
    assert_eq!(stand.enrol("42", "alice"), Err(MembershipError::Unavailable));
    server.cli(&["del", &key]);
    server.cli(&["hset", &key, "42", "many"]);
    stand.members.rooms_of("alice", ticket(4));
    assert!(matches!(stand.answers.wait(4), Answer::Memberships(Err(StoreError::Unavailable))));
}
