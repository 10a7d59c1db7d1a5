//! A walk through everything that this node has, to tell it again: some of it at a time, so that what happens meanwhile is told
//! in between.

use std::sync::Arc;

use crate::backend::memory::MemoryPresence;
use crate::backend::redis::keys::Partition;

use super::RedisPresence;
use super::ledger::Tone;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    part: usize,
    are_users_done: bool,
    users: Vec<Arc<str>>,
    rooms: Vec<Arc<str>>,
    /// Up to where the last of the rooms was told.
    after: u64,
    /// Names under which this node was known before, to be buried behind it.
    graves: Vec<u64>,
}

enum Step {
    User(Arc<str>),
    Room(Arc<str>, u64),
    End,
}

impl Walk {
    fn step(&mut self, local: &MemoryPresence) -> Step {
        loop {
            if let Some(user) = self.users.pop() {
                return Step::User(user);
            }
            if let Some(room) = self.rooms.last() {
                return Step::Room(Arc::clone(room), self.after);
            }
            if self.part == MemoryPresence::PARTS {
                if self.are_users_done {
                    return Step::End;
                }
                self.are_users_done = true;
                self.part = 0;
            }
            if self.are_users_done {
                self.rooms = local.rooms_of_part(self.part);
                self.rooms.sort_unstable();
            } else {
                self.users = local.users_of_part(self.part);
                self.users.sort_unstable();
            }
            self.part += 1;
        }
    }
}

impl RedisPresence {
    /// From the beginning; `grave` is to be buried behind it.
    pub(super) fn walk_again(&self, grave: Option<u64>) {
        {
            let mut walk = self.walk.lock();
            let mut graves = walk.take().map(|walk| walk.graves).unwrap_or_default();
            graves.extend(grave);
            *walk = Some(Walk { graves, ..Walk::default() });
        }
        self.stirred.notify_one();
    }

    /// Notes what comes next, unless much waits already. Whether there was anything.
    pub(super) fn advance(&self) -> bool {
        let mut current = self.walk.lock();
        let mut was_any = false;
        while let Some(walk) = current.as_mut() {
            if self.ledger.lock().len() >= WAITING_MAX {
                return was_any;
            }
            was_any = true;
            match walk.step(&self.local) {
                Step::User(user) => {
                    let _held = self.stripe(&user);
                    self.note_user(&user);
                }
                Step::Room(room, after) => {
                    let _held = self.stripe(&room);
                    let (page, next) = self.local.page(&room, after, PAGE);
                    let mut ledger = self.ledger.lock();
                    // Who was taken away with the name before has come anew.
                    let tone = if walk.graves.is_empty() { Tone::Quietly } else { Tone::Aloud };
                    page.iter().for_each(|(user, standing)| ledger.note_row(&room, user, *standing, tone));
                    drop(ledger);
                    walk.after = next.unwrap_or(0);
                    if next.is_none() {
                        walk.rooms.pop();
                    }
                }
                Step::End => {
                    let mut ledger = self.ledger.lock();
                    walk.graves.drain(..).for_each(|grave| ledger.note_burial(grave));
                    // And where something has ended that Redis was told and has forgotten, it ends again.
                    Partition::all().for_each(|partition| ledger.note_audit(partition, "0"));
                    *current = None;
                }
            }
        }
        was_any
    }
}

/// The walk waits while so many entries do.
const WAITING_MAX: usize = 512;

/// Rows that are noted at once.
const PAGE: usize = 256;
