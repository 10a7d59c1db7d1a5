//! What backends have said lately, so that they are not asked the same again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::Millis;

use super::{Case, HookEvent, HookId};
use crate::model::{Allowance, Judged, Refusal, Role};

/// Answers that still hold, at most [`VERDICTS_MAX`]; the oldest make room.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Known, RandomState>,
    /// In the order in which they came; those that were replaced or forgotten since are passed over.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    /// Grows when something is forgotten: what was asked before must not be kept after it.
    generation: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    hook: HookId,
    event: HookEvent,
    user: Option<Arc<str>>,
    role: Role,
    destination: Box<str>,
}

#[derive(Debug)]
struct Known {
    allowed: Result<(), Refusal>,
    until: Millis,
    serial: u64,
}

impl Verdicts {
    /// For [`Case::generation`].
    pub fn generation(&self) -> u64 {
        self.0.lock().generation
    }

    /// What was said of this, if it still holds.
    pub fn known(&self, case: &Case, now: Millis) -> Option<Judged> {
        let state = self.0.lock();
        let known = state.known.get(&Key::of(case)).filter(|known| now < known.until)?;
        let verdict = known.allowed.clone().map(|()| Box::<Allowance>::default());
        Some(Judged { verdict, keep_ms: known.until.since(now) })
    }

    /// Notes what was said. A yes with more than that is not kept: it was about this message alone.
    pub fn keep(&self, case: &Case, judged: &Judged, now: Millis) {
        let is_plain = |allowed: &Allowance| allowed.body.is_none() && allowed.headers.is_empty();
        let allowed = match &judged.verdict {
            Ok(allowance) if is_plain(allowance) => Ok(()),
            Ok(_) => return,
            Err(refusal) => Err(refusal.clone()),
        };
        let mut state = self.0.lock();
        if judged.keep_ms == 0 || state.generation != case.generation {
            return;
        }
        state.serial += 1;
        let (key, serial) = (Key::of(case), state.serial);
        state.order.push_back((key.clone(), serial));
        state.known.insert(key, Known { allowed, until: now.after(judged.keep_ms), serial });
        state.make_room();
    }

    /// Nothing that was said of `user` holds any more; of nobody with `None`.
    pub fn forget(&self, user: Option<&str>) {
        let mut state = self.0.lock();
        state.generation += 1;
        match user {
            Some(user) => state.known.retain(|key, _| key.user.as_deref() != Some(user)),
            None => state.known.clear(),
        }
    }

    /// How many hold, or did until lately.
    pub fn len(&self) -> usize {
        self.0.lock().known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn make_room(&mut self) {
        // What was forgotten leaves its place in the order, so that is bounded, too.
        while self.known.len() > VERDICTS_MAX || self.order.len() > 2 * VERDICTS_MAX {
            let Some((key, serial)) = self.order.pop_front() else { return };
            if self.known.get(&key).is_some_and(|known| known.serial == serial) {
                self.known.remove(&key);
            }
        }
    }
}

impl Key {
    fn of(case: &Case) -> Self {
        let Case { hook, event, principal, destination, .. } = case;
        let (user, role) = (principal.user.clone(), principal.role);
        Self { hook: *hook, event: *event, user, role, destination: destination.clone() }
    }
}

/// Answers that are kept: some 200 bytes each, so 13 MiB.
pub const VERDICTS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CloseReason, Principal};
    use bytes::Bytes;
    use stompede_protocol::Headers;

    fn case(user: &str, destination: &str, verdicts: &Verdicts) -> Case {
        Case {
            hook: HookId(0),
            event: HookEvent::Subscribe,
            principal: Arc::new(Principal::user(user)),
            session: "".into(),
            destination: destination.into(),
            headers: Headers::new(),
            body: Bytes::new(),
            credentials: None,
            generation: verdicts.generation(),
        }
    }

    fn yes(keep_ms: u64) -> Judged {
        Judged { verdict: Ok(Box::default()), keep_ms }
    }

    #[test]
    fn an_answer_holds_for_its_user_destination_and_time_alone() {
        let verdicts = Verdicts::default();
        let asked = case("alice", "/topic/a", &verdicts);
        assert!(verdicts.known(&asked, Millis(0)).is_none());
        verdicts.keep(&asked, &yes(100), Millis(0));
        assert!(verdicts.known(&asked, Millis(99)).is_some_and(|known| known.verdict.is_ok()));
        assert!(verdicts.known(&asked, Millis(100)).is_none());
        for other in [case("bob", "/topic/a", &verdicts), case("alice", "/topic/b", &verdicts)] {
            assert!(verdicts.known(&other, Millis(0)).is_none());
        }
        let published = Case { event: HookEvent::Publish, ..asked.clone() };
        assert!(verdicts.known(&published, Millis(0)).is_none());
        let as_service = Case { principal: Arc::new(Principal::service("alice")), ..asked };
        assert!(verdicts.known(&as_service, Millis(0)).is_none());
    }

    #[test]
    fn a_no_holds_as_well_and_what_is_said_of_one_message_does_not() {
        let verdicts = Verdicts::default();
        let asked = case("alice", "/topic/a", &verdicts);
        let no = Judged { verdict: Err(CloseReason::Forbidden.into()), keep_ms: 10 };
        verdicts.keep(&asked, &no, Millis(0));
        assert!(verdicts.known(&asked, Millis(5)).is_some_and(|known| known.verdict.is_err()));
        verdicts.keep(&asked, &yes(0), Millis(0));
        assert!(verdicts.known(&asked, Millis(5)).is_some_and(|known| known.verdict.is_err()));
        let other = case("alice", "/topic/b", &verdicts);
        let changed = Allowance { body: Some(Bytes::from_static(b"x")), ..Allowance::default() };
        verdicts.keep(&other, &Judged { verdict: Ok(Box::new(changed)), keep_ms: 10 }, Millis(0));
        assert!(verdicts.known(&other, Millis(5)).is_none());
    }

    #[test]
    fn who_is_sent_away_is_asked_about_anew_even_if_the_answer_was_on_its_way() {
        let verdicts = Verdicts::default();
        let (alice, bob) = (case("alice", "/topic/a", &verdicts), case("bob", "/topic/a", &verdicts));
        verdicts.keep(&alice, &yes(10), Millis(0));
        verdicts.keep(&bob, &yes(10), Millis(0));
        let late = case("alice", "/topic/b", &verdicts);
        verdicts.forget(Some("alice"));
        verdicts.keep(&late, &yes(10), Millis(0));
        assert!(verdicts.known(&alice, Millis(0)).is_none() && verdicts.known(&late, Millis(0)).is_none());
        assert!(verdicts.known(&bob, Millis(0)).is_some());
        verdicts.forget(None);
        assert!(verdicts.is_empty());
    }

    #[test]
    fn the_oldest_answers_make_room() {
        let verdicts = Verdicts::default();
        for number in 0..=VERDICTS_MAX {
            verdicts.keep(&case("alice", &format!("/topic/{number}"), &verdicts), &yes(10), Millis(0));
        }
        assert_eq!(verdicts.len(), VERDICTS_MAX);
        assert!(verdicts.known(&case("alice", "/topic/0", &verdicts), Millis(0)).is_none());
        assert!(verdicts.known(&case("alice", "/topic/1", &verdicts), Millis(0)).is_some());
        for _ in 0..3 * VERDICTS_MAX {
            verdicts.keep(&case("alice", "/topic/1", &verdicts), &yes(10), Millis(0));
        }
        assert!(verdicts.0.lock().order.len() <= 2 * VERDICTS_MAX);
    }
}
