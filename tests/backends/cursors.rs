//! What every store of cursors does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

use std::sync::Arc;

use stompede::backend::{Appended, Cursor, Cursors, History, Patience, Question, Read};
use stompede::model::{Answer, Destination, Limits, Message, MessageId, Page, Retention, Start};

use crate::subject::Subject;

/// Makes an empty store within limits.
pub(crate) type Maker = fn(&Limits) -> Devices;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::cursors::judge!($maker, shared);
        crate::cursors::judge! { $maker =>
            queues_are_bounded_and_forgotten
        }
    };
    // A shared store keeps cursors of as many queues as it has memory for, and forgets them by itself.
    ($maker:expr, shared) => {
        crate::cursors::judge! { $maker =>
            what_one_device_has_taken_the_other_has_not
            devices_are_bounded_and_the_one_unseen_for_the_longest_goes
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::cursors::$test($maker);
        })*
    };
}
pub(crate) use judge;

/// A store of cursors.
pub(crate) enum Devices {
    /// It says where a device is.
    Told(Arc<dyn Cursors>),
    /// It keeps the messages as well, and where a device is shows in what it reads.
    Kept(Arc<dyn Cursors>, Subject<dyn History>),
}

impl Devices {
    fn cursors(&self) -> &dyn Cursors {
        let (Self::Told(cursors) | Self::Kept(cursors, _)) = self;
        &**cursors
    }

    /// So many messages are kept there, where any are.
    fn keeps(&self, queue: &Destination, count: u64) {
        let Self::Kept(_, history) = self else { return };
        let retention = Retention { messages_max: 1_000, bytes_max: usize::MAX, age_ms_max: u64::MAX };
        for number in 1..=count {
            let (ticket, mut message) = (history.ticket(), Arc::new(message(queue, number)));
            let appended = history.append(&mut message, &retention, Patience::None, ticket).expect("taken");
            let offset = match appended {
                Appended::Now(position) => position.offset,
                Appended::Later => match history.answer(ticket) {
                    Answer::Stored(Ok(position)) => position.offset,
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(offset, number);
        }
    }

    /// The device comes, and is found to have taken everything up to `expected`.
    fn begins(&self, queue: &Destination, device: &str, now_ms: u64, expected: Option<u64>) {
        match (self.cursors().begin(queue, device, now_ms), self) {
            (Cursor::At(found), _) => assert_eq!(found, expected, "{device}"),
            (Cursor::Kept, Self::Kept(_, history)) => {
                let resumed = first(&read(history, queue, |read| Question::Resume(device.into(), read)));
                let oldest = first(&read(history, queue, Question::Read));
                assert_eq!(resumed, expected.map_or(oldest, |offset| offset + 1), "{device}");
            }
            (Cursor::Kept, Self::Told(_)) => panic!("where is {device}?"),
        }
    }

    /// The device has taken more, and then all of them have taken everything up to `expected`.
    fn takes(&self, queue: &Destination, device: &str, offset: u64, now_ms: u64, expected: u64) {
        match (self.cursors().advance(queue, device, offset, now_ms), self) {
            (Some(all), _) => assert_eq!(all, expected, "{device}"),
            (None, Self::Kept(_, history)) => {
                history.settles();
                assert_eq!(first(&read(history, queue, Question::Read)), expected + 1, "{device}");
            }
            (None, Self::Told(_)) => panic!("what may be forgotten?"),
        }
    }
}

fn read(history: &Subject<dyn History>, queue: &Destination, ask: impl FnOnce(Read) -> Question) -> Page {
    let ticket = history.ticket();
    let read = Read {
        start: Start::Since(None, usize::MAX),
        messages_max: 1_000,
        bytes_max: usize::MAX,
        is_followed: false,
    };
    history.ask(queue, ask(read), ticket, 0);
    match history.answer(ticket) {
        Answer::Page(Ok(page)) => page,
        other => panic!("{other:?}"),
    }
}

/// Offset of what is read first, or would be.
fn first(page: &Page) -> u64 {
    let offset = page.messages.first().and_then(|message| message.position).map(|position| position.offset);
    offset.unwrap_or(page.end.offset + 1)
}

fn message(queue: &Destination, number: u64) -> Message {
    Message {
        id: MessageId { node: 1, number },
        destination: queue.clone(),
        timestamp_ms: 0,
        sender: None,
        headers: stompede_protocol::Headers::new(),
        body: bytes::Bytes::from_static(b"x"),
        text: true,
        position: None,
        numbered: false,
    }
}

fn few() -> Limits {
    Limits { devices_of_user_max: 2, offline_queues_max: 2, ..Limits::default() }
}

pub(crate) fn what_one_device_has_taken_the_other_has_not(maker: Maker) {
    let (devices, queue) = (maker(&few()), Destination::of_user("alice", "notes"));
    devices.keeps(&queue, 9);
    devices.begins(&queue, "phone", 1, None);
    devices.begins(&queue, "", 2, None);
    devices.takes(&queue, "phone", 7, 3, 0);
    devices.takes(&queue, "", 5, 4, 5);
    // Never back.
    devices.takes(&queue, "", 3, 5, 5);
    devices.begins(&queue, "phone", 6, Some(7));
    devices.begins(&queue, "", 7, Some(5));
}

pub(crate) fn devices_are_bounded_and_the_one_unseen_for_the_longest_goes(maker: Maker) {
    let (devices, queue) = (maker(&few()), Destination::of_user("alice", "notes"));
    devices.keeps(&queue, 19);
    // Where two are known, the phone has to go for the desk, which has taken nothing before.
    for (n, (device, all)) in [("phone", 10), ("tablet", 10), ("desk", 11)].into_iter().enumerate() {
        let n = n as u64;
        devices.begins(&queue, device, n, None);
        devices.takes(&queue, device, 10 + n, n, all);
    }
    devices.begins(&queue, "tablet", 3, Some(11));
    devices.begins(&queue, "phone", 4, None);
}

pub(crate) fn queues_are_bounded_and_forgotten(maker: Maker) {
    let (devices, queue) = (maker(&few()), Destination::of_user("alice", "notes"));
    let cursors = devices.cursors();
    for (n, device) in ["phone", "tablet"].into_iter().enumerate() {
        devices.begins(&queue, device, 3 + n as u64, None);
        cursors.advance(&queue, device, 10, 3 + n as u64);
    }
    cursors.begin(&Destination::of_user("bob", "notes"), "", 5);
    cursors.begin(&Destination::of_user("carol", "notes"), "", 5);
    assert_eq!(cursors.len(), 2);
    passes(cursors, 4);
    assert_eq!(cursors.len(), 2);
    devices.begins(&queue, "phone", 6, None);
    devices.begins(&queue, "tablet", 6, Some(10));
    passes(cursors, 9);
    assert!(cursors.is_empty());
}

/// Time goes by until every queue was looked at.
fn passes(cursors: &dyn Cursors, seen_ms: u64) {
    (0..256).for_each(|_| cursors.tick(seen_ms));
}
