//! One worker's subscribers. Owned by its thread: no locks, no atomics.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use slab::Slab;
use stompede_protocol::SubscriptionKey;

use crate::model::trie::Trie;
use crate::model::{Destination, EncoderKind, Pattern};

use super::directory::Interest;

/// A place in a [`Table`], from subscribe until unsubscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriberId(u32);

/// One live subscription of a connection of this worker.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// The connection's slot in the worker.
    pub slot: u32,
    /// The subscription on that connection.
    pub key: SubscriptionKey,
    /// How its frames are encoded.
    pub kind: EncoderKind,
    /// Header `subscription`.
    pub id: Option<Rc<str>>,
    /// Header `destination` where it is not the message's own.
    pub shown: Option<Rc<str>>,
    /// In client ack modes: deliveries so far.
    pub issued: Option<u64>,
    /// What is special about its next delivery.
    pub note: Note,
}

/// What a subscriber's next delivery is to be, other than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Note {
    /// Nothing.
    #[default]
    None,
    /// None is made: the subscriber reads what is kept.
    Muted,
    /// None is made: the subscriber is only told that there is something, see
    /// [`Incidents::watched`](super::fanout::Incidents::watched).
    Watch,
    /// It says whether something is missing before it: [`Delivery::recovered`](crate::model::Delivery::recovered).
    Say(bool),
}

/// What a subscription names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One destination.
    Exact(Destination),
    /// All destinations that match.
    Wildcard(Pattern),
}

/// The table.
#[derive(Debug, Default)]
pub struct Table {
    lists: Slab<List>,
    exact: HashMap<Destination, u32, RandomState>,
    patterns: HashMap<Pattern, u32, RandomState>,
    trie: Trie<u32>,
    places: Slab<Place>,
    texts: Texts,
}

#[derive(Debug)]
struct List {
    topic: Topic,
    subscribers: Vec<(SubscriberId, Subscriber)>,
}

/// Where a subscriber stands, so that it is removed without a search.
#[derive(Debug, Clone, Copy)]
struct Place {
    list: u32,
    position: u32,
}

impl Table {
    /// Adds a subscriber; [`Interest::Gained`] when it is the topic's first on this worker.
    pub fn add(&mut self, topic: Topic, subscriber: Subscriber) -> (SubscriberId, Interest) {
        let (list, interest) = self.list_of(topic);
        let subscribers = &mut self.lists[list as usize].subscribers;
        let id = SubscriberId(self.places.insert(Place { list, position: subscribers.len() as u32 }) as u32);
        subscribers.push((id, subscriber));
        (id, interest)
    }

    /// Removes a subscriber; the topic and [`Interest::Lost`] when it was the topic's last on this worker.
    pub fn remove(&mut self, id: SubscriberId) -> (Topic, Interest) {
        let place = self.places.remove(id.0 as usize);
        let list = &mut self.lists[place.list as usize];
        let (_, gone) = list.subscribers.swap_remove(place.position as usize);
        if let Some((moved, _)) = list.subscribers.get(place.position as usize) {
            self.places[moved.0 as usize].position = place.position;
        }
        self.texts.release(gone.id);
        self.texts.release(gone.shown);
        if !self.lists[place.list as usize].subscribers.is_empty() {
            return (self.lists[place.list as usize].topic.clone(), Interest::Same);
        }
        let List { topic, .. } = self.lists.remove(place.list as usize);
        match &topic {
            Topic::Exact(destination) => {
                self.exact.remove(destination);
            }
            Topic::Wildcard(pattern) => {
                self.patterns.remove(pattern);
                self.trie.remove(pattern, &place.list);
            }
        }
        (topic, Interest::Lost)
    }

    /// The subscriber.
    pub fn subscriber(&self, id: SubscriberId) -> &Subscriber {
        let place = self.places[id.0 as usize];
        &self.lists[place.list as usize].subscribers[place.position as usize].1
    }

    /// Sets what is special about the next delivery; returns what was.
    pub fn note(&mut self, id: SubscriberId, note: Note) -> Note {
        let place = self.places[id.0 as usize];
        let subscriber = &mut self.lists[place.list as usize].subscribers[place.position as usize].1;
        std::mem::replace(&mut subscriber.note, note)
    }

    /// Numbers a delivery that reaches the subscriber past the fan-out; `None` in auto mode.
    pub fn issue(&mut self, id: SubscriberId) -> Option<u64> {
        let place = self.places[id.0 as usize];
        let issued = &mut self.lists[place.list as usize].subscribers[place.position as usize].1.issued;
        issued.as_mut().map(|issued| {
            *issued += 1;
            *issued
        })
    }

    /// Calls `visit` for each subscriber of `destination`: by name first, then by pattern. With each goes whether others may
    /// follow.
    pub fn for_each(&mut self, destination: &Destination, mut visit: impl FnMut(&mut Subscriber, bool)) {
        let patterns_follow = !self.patterns.is_empty();
        if let Some(list) = self.exact.get(destination)
            && let Some(((_, last), others)) = self.lists[*list as usize].subscribers.split_last_mut()
        {
            others.iter_mut().for_each(|(_, s)| visit(s, true));
            visit(last, patterns_follow);
        }
        if patterns_follow {
            let lists = &mut self.lists;
            self.trie.for_each_match(destination, |list| {
                lists[*list as usize].subscribers.iter_mut().for_each(|(_, s)| visit(s, true));
            });
        }
    }

    /// Calls `visit` for each subscriber of a pattern.
    pub fn for_each_of_patterns(&self, mut visit: impl FnMut(&Pattern, &Subscriber)) {
        for (pattern, list) in &self.patterns {
            self.lists[*list as usize].subscribers.iter().for_each(|(_, s)| visit(pattern, s));
        }
    }

    /// One shared text for equal texts: most clients number their subscriptions alike.
    pub fn text(&mut self, text: &str) -> Rc<str> {
        self.texts.share(text)
    }

    /// Number of subscribers.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn list_of(&mut self, topic: Topic) -> (u32, Interest) {
        let known = match &topic {
            Topic::Exact(destination) => self.exact.get(destination),
            Topic::Wildcard(pattern) => self.patterns.get(pattern),
        };
        if let Some(list) = known {
            return (*list, Interest::Same);
        }
        let list = self.lists.insert(List { topic: topic.clone(), subscribers: Vec::new() }) as u32;
        match topic {
            Topic::Exact(destination) => {
                self.exact.insert(destination, list);
            }
            Topic::Wildcard(pattern) => {
                self.trie.insert(&pattern, list);
                self.patterns.insert(pattern, list);
            }
        }
        (list, Interest::Gained)
    }
}

/// Interned texts; each lives as long as a subscriber holds it.
#[derive(Debug, Default)]
struct Texts(hashbrown::HashSet<Rc<str>, RandomState>);

impl Texts {
    fn share(&mut self, text: &str) -> Rc<str> {
        self.0.get_or_insert_with(text, |text: &str| Rc::from(text)).clone()
    }

    fn release(&mut self, text: Option<Rc<str>>) {
        // Two are left: the set's and the one in hand.
        if let Some(text) = text.filter(|text| Rc::strong_count(text) == 2) {
            self.0.remove(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(table: &mut Table, slot: u32) -> Subscriber {
        let id = Some(table.text("sub-0"));
        Subscriber {
            slot,
            key: SubscriptionKey(1),
            kind: EncoderKind(0),
            id,
            shown: None,
            issued: None,
            note: Note::None,
        }
    }

    fn slots(table: &mut Table, name: &str) -> Vec<u32> {
        let mut slots = Vec::new();
        table.for_each(&Destination::internal(name), |s, _| slots.push(s.slot));
        slots.sort_unstable();
        slots
    }

    #[test]
    fn removing_from_the_middle_keeps_the_others_reachable() {
        let mut table = Table::default();
        let topic = Topic::Exact(Destination::internal("/topic/a"));
        let ids: Vec<_> = (0..5)
            .map(|slot| {
                let subscriber = subscriber(&mut table, slot);
                table.add(topic.clone(), subscriber)
            })
            .collect();
        assert_eq!(ids[0].1, Interest::Gained);
        assert_eq!(ids[1].1, Interest::Same);
        assert_eq!(table.remove(ids[1].0).1, Interest::Same);
        assert_eq!(table.remove(ids[4].0).1, Interest::Same);
        assert_eq!(slots(&mut table, "/topic/a"), [0, 2, 3]);
        table.remove(ids[0].0);
        table.remove(ids[3].0);
        assert_eq!(table.remove(ids[2].0), (topic, Interest::Lost));
        assert!(table.is_empty() && table.exact.is_empty() && table.texts.0.is_empty());
    }

    #[test]
    fn a_pattern_and_a_name_both_deliver() {
        let mut table = Table::default();
        let (one, two) = (subscriber(&mut table, 1), subscriber(&mut table, 2));
        table.add(Topic::Exact(Destination::internal("/topic/a")), one);
        let pattern = Topic::Wildcard(Pattern::parse("/topic/*").unwrap());
        let (id, interest) = table.add(pattern.clone(), two);
        assert_eq!(interest, Interest::Gained);
        assert_eq!(slots(&mut table, "/topic/a"), [1, 2]);
        assert_eq!(slots(&mut table, "/topic/b"), [2]);
        assert_eq!(table.remove(id), (pattern, Interest::Lost));
        assert_eq!(slots(&mut table, "/topic/b"), [] as [u32; 0]);
    }
}
