//! Counts that are gathered, room by room, for one message.

use std::collections::HashMap;
use std::sync::Arc;

use stompede_protocol::{Headers, SubscriptionKey};

use crate::backend::Question;
use crate::broker::door::JSON;
use crate::features::unread::{Count, UNREAD_PATH, unread_body};
use crate::model::{Destination, Membership, Reader, StoreError};

use super::{Env, Peer};

/// Counts that are being gathered for one message.
#[derive(Debug)]
pub(super) struct Tally {
    /// Who gets it.
    pub(super) key: SubscriptionKey,
    pub(super) purpose: Purpose,
    /// The question for the rooms, if it is open.
    pub(super) asked: Option<u32>,
    /// Rooms by open question.
    open: HashMap<u32, Arc<str>>,
    counts: Vec<Count>,
}

impl Tally {
    pub(super) fn new(key: SubscriptionKey, purpose: Purpose) -> Self {
        Self { key, purpose, asked: None, open: HashMap::new(), counts: Vec::new() }
    }

    /// The same, with the question for the rooms that is open now.
    pub(super) fn asking(self, asked: Option<u32>) -> Self {
        Self { asked, ..self }
    }

    fn is_complete(&self) -> bool {
        self.asked.is_none() && self.open.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All counts.
    Answer,
    /// Those that have changed.
    Changes,
}

impl Peer {
    /// Asks for the counts of all `rooms`.
    pub(super) fn count(&mut self, env: &mut Env<'_>, mut tally: Tally, rooms: Vec<Membership>) {
        let Some(user) = self.user().cloned() else { return };
        for Membership { room, read } in rooms {
            let ticket = self.ticket();
            let topic = env.broker.settings().rooms.topic(&room);
            let readers = Box::new([Reader { user: Arc::clone(&user), read }]);
            tally.open.insert(ticket.call, room);
            env.broker.history.ask(&topic, Question::Count(readers), ticket, env.now.wall_ms);
        }
        self.unread.get_or_insert_default().tallies.push(tally);
        self.tell_counts(env);
    }

    /// A count has come.
    pub(in crate::broker::peer) fn counted(
        &mut self,
        env: &mut Env<'_>,
        call: u32,
        counts: Result<Box<[u32]>, StoreError>,
    ) {
        let Some(unread) = &mut self.unread else { return };
        let mut tallies = unread.tallies.iter_mut();
        let found = tallies.find_map(|tally| Some((tally.open.remove(&call)?, tally)));
        let Some((room, tally)) = found else { return };
        // A room that cannot be counted now is left out; it is counted when something happens there.
        if let Ok(counts) = counts {
            tally.counts.push(Count { room, unread: counts.first().copied().unwrap_or(0) });
        }
        self.tell_counts(env);
    }

    /// Tells the counts that are complete.
    fn tell_counts(&mut self, env: &mut Env<'_>) {
        let Some(unread) = &mut self.unread else { return };
        let complete: Vec<Tally> = unread.tallies.extract_if(.., |tally| tally.is_complete()).collect();
        for Tally { key, purpose, mut counts, .. } in complete {
            counts.sort_unstable_by(|a, b| a.room.cmp(&b.room));
            if purpose == Purpose::Changes {
                counts.retain(|count| self.is_news(count));
                if counts.is_empty() {
                    continue;
                }
            }
            self.tell(env, key, &counts);
        }
        self.unread.take_if(|unread| unread.book.is_none() && unread.tallies.is_empty());
    }

    /// Whether the count is another than what was told last; it is told now.
    fn is_news(&mut self, count: &Count) -> bool {
        let watch = self.book().and_then(|book| book.rooms.get_mut(&count.room));
        watch.is_some_and(|watch| watch.told.replace(count.unread) != Some(count.unread))
    }

    fn tell(&mut self, env: &mut Env<'_>, key: SubscriptionKey, counts: &[Count]) {
        let Some(user) = self.user() else { return };
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        headers.push("event", "UNREAD");
        let destination = Destination::of_user(user, UNREAD_PATH);
        let message = env.broker.message(destination, None, headers, unread_body(counts).into(), env.now);
        self.deliver_direct(env, key, &message);
    }
}
