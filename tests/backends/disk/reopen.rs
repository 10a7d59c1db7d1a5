//! What is there when a store comes back.

use std::path::Path;
use std::sync::Arc;

use stompede::backend::disk::{DiskOptions, Fsync, OpenError};
use stompede::backend::{Appended, Cursor, Memberships, Patience, Question, Read, Soon};
use stompede::model::{Address, Answer, Destination, Limits, Message, MessageId, Position, Retention, Start};
use stompede_protocol::Headers;
use tempfile::TempDir;

use super::{Store, options};
use crate::sink::{Heard, ticket};

/// How a store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order.
    Closed,
    /// By `kill -9`, or with the machine: what it had not written is lost.
    Killed,
}

const ENDS: [End; 2] = [End::Closed, End::Killed];

/// A directory, and the store on it while there is one.
struct Place {
    dir: TempDir,
    heard: Arc<Heard>,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let heard = Arc::<Heard>::default();
        let store = open(dir.path(), &heard);
        Self { dir, heard, store }
    }

    fn comes_back(self, end: End) -> Self {
        let (dir, heard) = self.ends(end);
        let store = open(dir.path(), &heard);
        Self { dir, heard, store }
    }

    /// The directory as it is left.
    fn ends(self, end: End) -> (TempDir, Arc<Heard>) {
        let Self { dir, heard, store } = self;
        let dir = match end {
            End::Closed => {
                store.disk.close();
                store.disk.finish();
                drop(store);
                dir
            }
            End::Killed => {
                // What is in the files at this moment, as after the death of the process.
                let copy = tempfile::tempdir().expect("a directory can be made");
                copy_all(dir.path(), copy.path());
                drop(store);
                copy
            }
        };
        (dir, heard)
    }

    fn appends(&self, name: &str, body: &str) -> Position {
        let mut message = Arc::new(message(name, body, &[]));
        let retention = Retention { messages_max: 100, bytes_max: usize::MAX, age_ms_max: u64::MAX };
        let appended =
            self.store.history.append(&mut message, &retention, Patience::None, ticket(1)).expect("taken");
        assert_eq!(appended, Appended::Later);
        self.store.settle();
        match self.heard.answer_to(1) {
            Some(Answer::Stored(Ok(position))) => position,
            other => panic!("{other:?}"),
        }
    }

    fn reads(&self, name: &str, start: Start) -> (Vec<String>, bool) {
        let read = Read { start, messages_max: 100, bytes_max: usize::MAX, is_followed: false };
        self.store.history.ask(&address(name), Question::Read(read), ticket(2), 0);
        self.store.settle();
        match self.heard.answer_to(2) {
            Some(Answer::Page(Ok(page))) => {
                let body = |message: &Arc<Message>| String::from_utf8_lossy(&message.body).into_owned();
                (page.messages.iter().map(body).collect(), page.recovered)
            }
            other => panic!("{other:?}"),
        }
    }

    fn puts(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            let message = Arc::new(message(queue, body, &[]));
            self.store.queues.put(&address(queue), message, ticket(3)).expect("there is room");
        }
        self.store.settle();
    }

    /// Bodies and deliveries before.
    fn takes_all(&self, queue: &str) -> Vec<(String, u32)> {
        let queued = std::iter::from_fn(|| self.store.queues.take(&address(queue)));
        queued.map(|q| (String::from_utf8_lossy(&q.message.body).into_owned(), q.deliveries)).collect()
    }
}

fn open(dir: &Path, heard: &Arc<Heard>) -> Store {
    open_as(&options(dir), heard).expect("it opens")
}

fn open_as(options: &DiskOptions, heard: &Arc<Heard>) -> Result<Store, OpenError> {
    Store::open(options, &Limits::default(), usize::MAX, u64::MAX, Arc::<Heard>::clone(heard))
}

fn address(name: &str) -> Destination {
    match Address::of_send(name) {
        Ok(Address::Topic(found) | Address::Queue(found) | Address::UserQueue(found)) => found,
        other => panic!("{name} is no destination: {other:?}"),
    }
}

/// Up to where a member of the room 42 has read.
fn read_by(members: &Arc<dyn Memberships>, user: &str) -> Option<u64> {
    match members.membership("42", user, ticket(4)) {
        Soon::Now(membership) => membership.map(|membership| membership.read),
        Soon::Later => panic!("it is here"),
    }
}

fn message(name: &str, body: &str, headers: &[(&str, &str)]) -> Message {
    Message {
        id: MessageId { node: 1, number: body.len() as u64 },
        destination: address(name),
        timestamp_ms: 0,
        sender: Some("alice".into()),
        headers: headers.iter().copied().collect::<Headers>(),
        body: body.to_owned().into(),
        text: true,
        position: None,
        numbered: false,
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in
        std::fs::read_dir(from).expect("the directory is there").map(|entry| entry.expect("readable"))
    {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("readable").is_dir() {
            std::fs::create_dir(&to).expect("it can be made");
            copy_all(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("it can be copied");
        }
    }
}

#[test]
fn messages_and_their_numbering_go_on_where_they_were() {
    for end in ENDS {
        let place = Place::new();
        let first = place.appends("/topic/a", "1");
        place.appends("/topic/a", "2");
        let place = place.comes_back(end);
        assert_eq!(place.reads("/topic/a", Start::Since(Some(first), 0)), (vec!["2".to_owned()], true));
        let third = place.appends("/topic/a", "3");
        assert_eq!((third.epoch, third.offset), (first.epoch, 3), "{end:?}");
        assert_eq!(place.reads("/topic/a", Start::Last(9)).0, ["1", "2", "3"]);
    }
}

#[test]
fn who_has_taken_everything_has_missed_nothing_whatever_happened_elsewhere() {
    for end in ENDS {
        let place = Place::new();
        let last = place.appends("/topic/a", "x");
        place.store.history.trim(&address("/topic/a"), 1);
        (0..5).for_each(|_| assert!(place.appends("/topic/b", "y").offset > 0));
        let place = place.comes_back(end);
        assert_eq!(place.reads("/topic/a", Start::Since(Some(last), 0)), (vec![], true), "{end:?}");
        assert_eq!(place.appends("/topic/a", "z").offset, 2);
    }
}

#[test]
fn a_log_that_was_forgotten_repeats_no_offset_after_that() {
    for end in ENDS {
        let place = Place::new();
        for _ in 0..5 {
            place.appends(UNRULED, "x");
        }
        // Older than anything may be of which no rule says how old.
        (0..64).for_each(|_| place.store.history.tick(u64::MAX));
        place.store.settle();
        let place = place.comes_back(end);
        assert_eq!(place.store.history.len(), 0);
        assert_eq!(place.appends(UNRULED, "y").offset, 6, "{end:?}");
    }
}

#[test]
fn groups_keep_their_place_in_the_line_and_are_not_cut() {
    let place = Place::new();
    let members = &place.store.memberships;
    let (inside, outside) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            inside.wait();
            members.withdraw("42", "alice", ticket(4));
            outside.wait();
        });
        place.store.journal.as_one(&mut || {
            assert_eq!(members.enrol("42", "alice", 0, ticket(4)), Soon::Now(Ok(true)));
            assert!(!place.store.disk.write_now(), "the group is not complete");
            inside.wait();
            outside.wait();
        });
    });
    place.store.settle();
    let place = place.comes_back(End::Killed);
    assert_eq!(
        place.store.memberships.membership("42", "alice", ticket(4)),
        Soon::Now(None),
        "the last word counts"
    );
}

#[test]
fn what_was_not_written_was_never_accepted() {
    let place = Place::new();
    place.appends("/topic/a", "1");
    let mut lost = Arc::new(message("/topic/a", "2", &[]));
    let retention = Retention { messages_max: 9, bytes_max: usize::MAX, age_ms_max: u64::MAX };
    place.store.history.append(&mut lost, &retention, Patience::None, ticket(9)).expect("taken");
    let queue = address("/queue/a");
    place.store.queues.put(&queue, Arc::new(message("/queue/a", "q", &[])), ticket(9)).expect("taken");
    assert!(place.store.queues.take(&queue).is_none(), "it is not ready before it is safe");
    let place = place.comes_back(End::Killed);
    assert_eq!(place.reads("/topic/a", Start::Last(9)).0, ["1"]);
    assert_eq!(place.takes_all("/queue/a"), []);
    assert!(place.heard.answer_to(9).is_none());
}

#[test]
fn an_orderly_end_writes_what_waits() {
    let place = Place::new();
    let mut waits = Arc::new(message("/topic/a", "1", &[]));
    let retention = Retention { messages_max: 9, bytes_max: usize::MAX, age_ms_max: u64::MAX };
    place.store.history.append(&mut waits, &retention, Patience::None, ticket(9)).expect("taken");
    let place = place.comes_back(End::Closed);
    assert_eq!(place.reads("/topic/a", Start::Last(9)).0, ["1"]);
}

#[test]
fn members_and_what_they_have_read_are_there_again() {
    for end in ENDS {
        let place = Place::new();
        let members = &place.store.memberships;
        for (room, user, read) in [("42", "alice", 1), ("41", "alice", 0), ("42", "bob", 7)] {
            assert_eq!(members.enrol(room, user, read, ticket(4)), Soon::Now(Ok(true)));
        }
        members.mark_read("42", "alice", 5, ticket(4));
        members.withdraw("41", "alice", ticket(4));
        place.store.settle();
        let place = place.comes_back(end);
        let members = &place.store.memberships;
        let Soon::Now(rooms) = members.rooms_of("alice", ticket(4)) else { panic!("they are here") };
        assert_eq!(rooms.iter().map(|m| (&*m.room, m.read)).collect::<Vec<_>>(), [("42", 5)]);
        assert_eq!(read_by(members, "bob"), Some(7));
        assert_eq!(members.len(), 2);
        for user in ["alice", "bob"] {
            assert_eq!(members.withdraw("42", user, ticket(4)), Soon::Now(true), "{end:?}");
        }
    }
}

#[test]
fn devices_go_on_where_they_were() {
    for end in ENDS {
        let place = Place::new();
        let (queue, cursors) = (Destination::of_user("alice", "notes"), &place.store.cursors);
        cursors.begin(&queue, "phone", 1);
        cursors.begin(&queue, "desk", 2);
        cursors.advance(&queue, "phone", 7, 3);
        cursors.begin(&queue, "gone", 1);
        (0..256).for_each(|_| cursors.tick(2));
        place.store.settle();
        let place = place.comes_back(end);
        let cursors = &place.store.cursors;
        assert_eq!(cursors.begin(&queue, "phone", 9), Cursor::At(Some(7)));
        assert_eq!(cursors.advance(&queue, "desk", 3, 9), Some(3), "nobody else is there: {end:?}");
    }
}

#[test]
fn queues_have_what_was_not_settled_in_its_order_and_know_what_was_handed_out() {
    for end in ENDS {
        let place = Place::new();
        place.puts("/queue/a", &["1", "2", "3", "4", "5"]);
        let (a, queues) = (address("/queue/a"), &place.store.queues);
        let taken: Vec<_> = (0..4).map(|_| queues.take(&a).expect("ready").tag).collect();
        queues.settle(&a, taken[0]);
        queues.give_back(&a, taken[2]);
        queues.release(&a, taken[3]);
        queues.retake(&a, taken[1]);
        place.store.settle();
        let place = place.comes_back(end);
        let expected = [("2", 2), ("3", 0), ("4", 1), ("5", 0)].map(|(body, n)| (body.to_owned(), n));
        assert_eq!(place.takes_all("/queue/a"), expected, "{end:?}");
        place.puts("/queue/a", &["6"]);
        assert_eq!(place.takes_all("/queue/a"), [("6".to_owned(), 0)], "behind all others");
    }
}

#[test]
fn a_postponed_message_is_still_postponed_and_a_dead_letter_is_where_it_was_buried() {
    for end in ENDS {
        let place = Place::new();
        place.puts("/queue/a", &["1", "2"]);
        let (a, dead, queues) = (address("/queue/a"), address("/queue/dlq.a"), &place.store.queues);
        let [one, two] = [(); 2].map(|()| queues.take(&a).expect("ready").tag);
        queues.postpone(&a, one, 5_000);
        assert_eq!(queues.bury(&a, two, &dead, Arc::new(message("/queue/dlq.a", "2", &[]))), 0);
        place.store.settle();
        let place = place.comes_back(end);
        assert_eq!(place.takes_all("/queue/a"), []);
        assert_eq!(place.takes_all("/queue/dlq.a"), [("2".to_owned(), 0)]);
        place.store.queues.sweep(5_000, 9);
        assert_eq!(place.takes_all("/queue/a"), [("1".to_owned(), 1)], "{end:?}");
    }
}

#[test]
fn the_steps_of_a_transaction_are_there_together_or_not_at_all() {
    let place = Place::new();
    let (a, b) = (address("/queue/a"), address("/queue/b"));
    place.puts("/queue/a", &["1"]);
    let tag = place.store.queues.take(&a).expect("ready").tag;
    place.store.settle();
    place.store.journal.as_one(&mut || {
        place.store.queues.settle(&a, tag);
        place.store.queues.put(&b, Arc::new(message("/queue/b", "2", &[])), ticket(9)).expect("taken");
        assert!(!place.store.disk.write_now(), "nothing is written before all of it is there");
    });
    place.store.disk.write_now();
    let place = place.comes_back(End::Killed);
    assert_eq!((place.takes_all("/queue/a"), place.takes_all("/queue/b").len()), (vec![], 1));
}

#[test]
fn idempotency_keys_are_known_until_their_window_ends() {
    let place = Place::new();
    let mut sent = Arc::new(message("/topic/a", "1", &[("idempotency-key", "k1")]));
    let retention = Retention { messages_max: 9, bytes_max: usize::MAX, age_ms_max: u64::MAX };
    place.store.history.append(&mut sent, &retention, Patience::None, ticket(9)).expect("taken");
    let queued = Arc::new(message("/queue/a", "2", &[("idempotency-key", "k2")]));
    place.store.queues.put(&address("/queue/a"), queued, ticket(9)).expect("taken");
    place.store.settle();
    place.takes_all("/queue/a");
    let place = place.comes_back(End::Killed);
    let keys: Vec<_> =
        place.store.known_keys.iter().map(|k| (k.destination.as_str(), &*k.user, &*k.key)).collect();
    assert_eq!(keys, [("/topic/a", "alice", "k1"), ("/queue/a", "alice", "k2")]);
    place.store.journal.tick(10 * 60 * 1_000);
    place.appends("/topic/a", "3");
    let place = place.comes_back(End::Killed);
    assert_eq!(place.store.known_keys, []);
    assert!(place.dir.path().exists());
}

#[test]
fn damage_is_told_by_name_and_after_an_accepted_loss_no_position_is_given_twice() {
    let place = Place::new();
    for body in ["1", "2", "3", "4"] {
        place.appends("/topic/a", body);
    }
    let last = place.appends("/topic/a", "5");
    place.store.cursors.begin(&Destination::of_user("alice", "notes"), "phone", 1);
    place.store.settle();
    let (dir, heard) = place.ends(End::Killed);
    let journal = dir.path().join("db/0.jnl");
    let mut bytes = std::fs::read(&journal).expect("a journal");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
    bytes[end / 2] ^= 0x40;
    std::fs::write(&journal, bytes).expect("it can be written");
    match open_as(&options(dir.path()), &heard) {
        Err(OpenError::Damaged { path, .. }) => assert_eq!(path, journal),
        other => panic!("{:?}", other.map(|store| store.disk)),
    }
    let accepting = DiskOptions { accept_loss: true, ..options(dir.path()) };
    let store = open_as(&accepting, &heard).expect("it opens with what is left");
    let place = Place { dir, heard, store };
    let (left, recovered) = place.reads("/topic/a", Start::Since(Some(last), 9));
    assert!(!recovered && left.len() < 5 && left.starts_with(&["1".to_owned()]), "{left:?}");
    let next = place.appends("/topic/a", "6");
    assert!(next.epoch != last.epoch && next.offset > last.offset, "{next:?} after {last:?}");
    // What was left out is no hole.
    let (all, recovered) = place.reads("/topic/a", Start::Last(2));
    assert_eq!((all, recovered), (vec![left.last().cloned().expect("some"), "6".to_owned()], true));
    let place = place.comes_back(End::Closed);
    assert_eq!(place.appends("/topic/a", "7"), Position { offset: next.offset + 1, ..next });
    assert_eq!(place.reads("/topic/a", Start::Since(Some(next), 0)), (vec!["7".to_owned()], true));
}

#[test]
fn a_store_of_the_first_format_is_read() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backends/disk/format-1");
    let dir = tempfile::tempdir().expect("a directory can be made");
    copy_all(&kept, dir.path());
    for keyspace in std::fs::read_dir(dir.path().join("db/keyspaces")).expect("the sample is there") {
        // Git keeps no empty directories.
        let _ = std::fs::create_dir(keyspace.expect("readable").path().join("tables"));
    }
    let heard = Arc::<Heard>::default();
    let store = open(dir.path(), &heard);
    assert_eq!(store.known_keys.iter().map(|known| &*known.key).collect::<Vec<_>>(), ["k1"]);
    assert_eq!(read_by(&store.memberships, "alice"), Some(2));
    let queue = Destination::of_user("alice", "notes");
    assert_eq!(store.cursors.begin(&queue, "phone", 2), Cursor::At(Some(1)));
    let place = Place { dir, heard, store };
    let first = Position { epoch: FIRST_EPOCH, offset: 1 };
    let rest = vec!["second".to_owned(), "third".to_owned()];
    assert_eq!(place.reads("/topic/chat/42", Start::Since(Some(first), 0)), (rest, true));
    let waiting = [("job 1", 1), ("job 2", 0)].map(|(body, n)| (body.to_owned(), n));
    assert_eq!(place.takes_all("/queue/jobs"), waiting);
    assert_eq!(place.appends("/topic/chat/42", "fourth"), Position { offset: 4, ..first });
}

/// Makes the sample that [`a_store_of_the_first_format_is_read`] reads, in the directory that the variable names.
#[test]
#[ignore = "it was run once for each format"]
fn make_the_sample() {
    let dir = std::env::var_os("STOMPEDE_SAMPLE").expect("where to");
    let heard = Arc::<Heard>::default();
    let options = || DiskOptions { fsync: Fsync::Always, ..options(Path::new(&dir)) };
    let store = open_as(&options(), &heard).expect("it opens");
    let place = Place { dir: tempfile::tempdir().expect("a directory"), heard, store };
    for body in ["first", "second", "third"] {
        let position = place.appends("/topic/chat/42", body);
        println!("{body} stands at {position:?}");
    }
    let keyed = Arc::new(message("/queue/jobs", "job 1", &[("idempotency-key", "k1")]));
    place.store.queues.put(&address("/queue/jobs"), keyed, ticket(3)).expect("there is room");
    place.puts("/queue/jobs", &["job 2"]);
    place.store.queues.take(&address("/queue/jobs"));
    assert_eq!(place.store.memberships.enrol("42", "alice", 2, ticket(4)), Soon::Now(Ok(true)));
    let queue = Destination::of_user("alice", "notes");
    place.store.cursors.begin(&queue, "phone", 1);
    place.store.cursors.advance(&queue, "phone", 1, 1);
    // A journal is cut to what is in it when it is read.
    let Place { heard, store, .. } = place;
    (0..2).fold(store, |store, _| {
        store.disk.close();
        store.disk.finish();
        drop(store);
        open_as(&options(), &heard).expect("it opens again")
    });
}

/// Kept by no rule of these stores.
const UNRULED: &str = "/user/alice/queue/notes";

/// Of `/topic/chat/42` in the sample.
const FIRST_EPOCH: u64 = 5_944_291_969_320_268_380;

#[test]
fn what_is_revoked_stays_revoked_until_it_is_forgotten() {
    use crate::revocations::bearer;
    use stompede::model::{Revocation, Tokens};
    for end in ENDS {
        let place = Place::new();
        let revoke = |tokens, before_s, until_s| {
            let done = Box::new(|kept| assert_eq!(kept, Ok(())));
            place.store.revocations.revoke(&Revocation { tokens, before_s, until_s }, done);
        };
        revoke(Tokens::Named("1".into()), 0, 100);
        revoke(Tokens::OfUser("bob".into()), 60, 200);
        revoke(Tokens::OfUser("bob".into()), 50, 100);
        place.store.settle();
        let place = place.comes_back(end);
        let is_revoked = |place: &Place, principal| place.store.revocations.check(&principal).is_err();
        assert!(is_revoked(&place, bearer("alice", "1", 10)), "{end:?}");
        assert!(is_revoked(&place, bearer("bob", "2", 59)) && !is_revoked(&place, bearer("bob", "3", 60)));
        place.store.revocations.forget_old(100);
        place.store.settle();
        let place = place.comes_back(end);
        assert_eq!(place.store.revocations.len(), 1, "{end:?}");
        assert!(is_revoked(&place, bearer("bob", "2", 59)));
    }
}
