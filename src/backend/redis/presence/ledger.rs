//! What of this node's presence Redis has not been told yet: never more than one entry for each row and each user, however long
//! Redis is away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use stompede_protocol::Millis;

use crate::backend::Status;
use crate::backend::memory::Standing;
use crate::backend::redis::keys::Partition;
use crate::model::Ticket;

/// A user in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) room: Arc<str>,
    pub(super) user: Arc<str>,
}

/// Who is in a room?
#[derive(Debug)]
pub(super) struct Question {
    pub(super) room: Box<str>,
    pub(super) after: u64,
    pub(super) count: usize,
    pub(super) ticket: Ticket,
    /// When it was asked.
    pub(super) since: Millis,
    /// It stands behind so many entries.
    behind: u64,
}

/// What is to be told next.
#[derive(Debug)]
pub(super) enum Task {
    /// How a user was in a room, in this order.
    Row(Place, Vec<(Standing, Tone)>),
    /// Whether a user was online, in this order, and then what he said of himself.
    User(Arc<str>, Vec<bool>, Option<Said>),
    /// All rows have been told again under another name; the one before is to be buried.
    Bury(u64),
    /// What Redis has of this node in a partition, from there on, is to be compared with what is true.
    Audit(Partition, Box<str>),
}

/// What a user says of himself.
#[derive(Debug)]
pub(super) struct Said(pub(super) Option<Status>);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: HashMap<Place, Vec<(Standing, Tone)>, RandomState>,
    users: HashMap<Arc<str>, (Vec<bool>, Option<Said>), RandomState>,
    queue: VecDeque<Key>,
    questions: VecDeque<Question>,
    pushed: u64,
    taken: u64,
    is_overrun: bool,
}

#[derive(Debug)]
enum Key {
    Row(Place),
    User(Arc<str>),
    Bury(u64),
    Audit(Partition, Box<str>),
}

impl Ledger {
    /// How a user is in a room now.
    pub(super) fn note_row(&mut self, room: &str, user: &Arc<str>, standing: Standing, tone: Tone) {
        let place = Place { room: room.into(), user: Arc::clone(user) };
        if let Some(states) = self.rows.get_mut(&place) {
            match states.last_mut() {
                Some((last, known)) if *last == standing => {
                    if tone == Tone::Aloud {
                        *known = tone;
                    }
                }
                _ => {
                    // What is left out may have been the news.
                    let tone = if states.len() < STATES_MAX { tone } else { Tone::Aloud };
                    push(states, (standing, tone));
                }
            }
            return;
        }
        if self.has_room() {
            self.rows.insert(place.clone(), vec![(standing, tone)]);
            self.push(Key::Row(place));
        }
    }

    /// Whether a user is online now.
    pub(super) fn note_user(&mut self, user: &Arc<str>, is_online: bool) {
        if let Some((states, _)) = self.users.get_mut(user) {
            return push(states, is_online);
        }
        if self.has_room() {
            self.users.insert(Arc::clone(user), (vec![is_online], None));
            self.push(Key::User(Arc::clone(user)));
        }
    }

    /// What a user says of himself now. `is_repeated`: it could not be told before, so that a later word is preferred.
    pub(super) fn note_said(&mut self, user: &Arc<str>, said: Said, when: When) {
        if let Some((_, known)) = self.users.get_mut(user) {
            if when == When::Now || known.is_none() {
                *known = Some(said);
            }
            return;
        }
        if self.has_room() {
            self.users.insert(Arc::clone(user), (Vec::new(), Some(said)));
            self.push(Key::User(Arc::clone(user)));
        }
    }

    /// Everything that was noted before is told, and then `incarnation` is to be buried.
    pub(super) fn note_burial(&mut self, incarnation: u64) {
        self.push(Key::Bury(incarnation));
    }

    /// Everything that was noted before is told, and then it is looked whether there is more of it in a partition.
    pub(super) fn note_audit(&mut self, partition: Partition, cursor: &str) {
        self.push(Key::Audit(partition, cursor.into()));
    }

    /// A question, which is asked behind everything that was noted before. `false`: too many wait.
    pub(super) fn ask(
        &mut self,
        room: &str,
        (after, count): (u64, usize),
        ticket: Ticket,
        now: Millis,
    ) -> bool {
        if self.questions.len() >= QUESTIONS_MAX {
            return false;
        }
        let behind = self.pushed;
        self.questions.push_back(Question { room: room.into(), after, count, ticket, since: now, behind });
        true
    }

    /// What is to be told next.
    pub(super) fn take(&mut self) -> Option<Task> {
        let key = self.queue.pop_front()?;
        self.taken += 1;
        Some(match key {
            Key::Row(place) => {
                let states = self.rows.remove(&place).unwrap_or_default();
                Task::Row(place, states)
            }
            Key::User(user) => {
                let (states, said) = self.users.remove(&user).unwrap_or_default();
                Task::User(user, states, said)
            }
            Key::Bury(incarnation) => Task::Bury(incarnation),
            Key::Audit(partition, cursor) => Task::Audit(partition, cursor),
        })
    }

    /// A question whose turn it is.
    pub(super) fn take_question(&mut self) -> Option<Question> {
        self.questions.pop_front_if(|question| question.behind <= self.taken)
    }

    /// A question that was asked before `since`.
    pub(super) fn take_late(&mut self, since: Millis) -> Option<Question> {
        self.questions.pop_front_if(|question| question.since < since)
    }

    /// Whether there was more than could be kept, and all must be told anew. It is forgotten with this.
    pub(super) fn take_overrun(&mut self) -> bool {
        std::mem::take(&mut self.is_overrun)
    }

    /// Entries that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.questions.is_empty() && !self.is_overrun
    }

    fn has_room(&mut self) -> bool {
        if self.is_overrun {
            return false;
        }
        if self.queue.len() < ENTRIES_MAX {
            return true;
        }
        self.overrun();
        false
    }

    /// What waits is forgotten: all must be told anew.
    pub(super) fn overrun(&mut self) {
        self.is_overrun = true;
        self.taken += self.queue.len() as u64;
        self.queue = VecDeque::new();
        self.rows = HashMap::default();
        self.users = HashMap::default();
    }

    fn push(&mut self, key: Key) {
        self.queue.push_back(key);
        self.pushed += 1;
    }
}

/// Whether something is to be told to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// They do not know it yet.
    Aloud,
    /// They were told before, and Redis may have forgotten it.
    Quietly,
}

/// Since when something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// It is news.
    Now,
    /// It was told before, in vain.
    Before,
}

/// Who comes and goes faster than it can be told is told to have come and gone some times less.
fn push<T: PartialEq + Copy>(states: &mut Vec<T>, state: T) {
    if states.last() == Some(&state) {
        return;
    }
    if states.len() >= STATES_MAX {
        states.truncate(1);
        if states.last() == Some(&state) {
            return;
        }
    }
    states.push(state);
}

/// Entries that wait, about 100 bytes each. Beyond them nothing is kept but that all must be told anew, which is done under
/// another name, so that what was not told to have ended ends with the name.
const ENTRIES_MAX: usize = 1 << 18;

/// Questions that wait.
const QUESTIONS_MAX: usize = 1 << 14;

/// Changes of one row that are told one by one.
const STATES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectionId, WorkerId};

    fn ticket() -> Ticket {
        Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call: 0, key: 0 }
    }

    #[test]
    fn a_row_waits_once_with_what_happened_to_it() {
        let mut ledger = Ledger::default();
        let alice: Arc<str> = "alice".into();
        for standing in [Standing::Present, Standing::Present, Standing::Absent, Standing::Present] {
            ledger.note_row("42", &alice, standing, Tone::Aloud);
        }
        ledger.note_row("42", &alice, Standing::Present, Tone::Quietly);
        assert_eq!(ledger.len(), 1);
        let Some(Task::Row(place, states)) = ledger.take() else { panic!() };
        assert_eq!(
            (&*place.room, states),
            (
                "42",
                [Standing::Present, Standing::Absent, Standing::Present]
                    .map(|standing| (standing, Tone::Aloud))
                    .into()
            )
        );
        for _ in 0..100 {
            ledger.note_row("42", &alice, Standing::Present, Tone::Aloud);
            ledger.note_row("42", &alice, Standing::Absent, Tone::Aloud);
        }
        let Some(Task::Row(_, states)) = ledger.take() else { panic!() };
        assert!(states.len() <= STATES_MAX && states.last() == Some(&(Standing::Absent, Tone::Aloud)));
    }

    #[test]
    fn a_question_stands_behind_what_was_noted_before_it() {
        let mut ledger = Ledger::default();
        let alice: Arc<str> = "alice".into();
        ledger.note_row("42", &alice, Standing::Present, Tone::Aloud);
        assert!(ledger.ask("42", (0, 9), ticket(), Millis(5)));
        ledger.note_row("43", &alice, Standing::Present, Tone::Aloud);
        assert!(ledger.take_question().is_none());
        assert!(ledger.take().is_some());
        assert!(ledger.take_question().is_some() && ledger.take_question().is_none());
        assert!(ledger.ask("42", (0, 9), ticket(), Millis(6)));
        assert!(ledger.take_late(Millis(6)).is_none() && ledger.take_late(Millis(7)).is_some());
        for _ in 0..QUESTIONS_MAX {
            assert!(ledger.ask("42", (0, 9), ticket(), Millis(6)));
        }
        assert!(!ledger.ask("42", (0, 9), ticket(), Millis(6)));
    }

    #[test]
    fn the_last_word_is_told() {
        let mut ledger = Ledger::default();
        let alice: Arc<str> = "alice".into();
        let said = |text: &str| Said(Some(Status { text: text.into(), until: None }));
        ledger.note_said(&alice, said("one"), When::Now);
        ledger.note_said(&alice, said("two"), When::Now);
        ledger.note_said(&alice, said("old"), When::Before);
        let Some(Task::User(_, _, Some(Said(Some(status))))) = ledger.take() else { panic!() };
        assert_eq!(&*status.text, "two");
    }

    #[test]
    fn more_than_can_be_kept_is_one_thing_to_know() {
        let mut ledger = Ledger::default();
        for n in 0..=ENTRIES_MAX {
            ledger.note_user(&format!("u{n}").into(), true);
        }
        assert_eq!(ledger.len(), 0);
        assert!(ledger.take_overrun());
        ledger.note_user(&"alice".into(), true);
        assert_eq!((ledger.len(), ledger.take_overrun()), (1, false));
    }
}
