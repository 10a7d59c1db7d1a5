//! Sessions by their names, and which of these this instance holds among others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Peers;
use super::session::Session;

/// The sessions of requests at one base path, by the ids that clients chose.
#[derive(Debug, Default)]
pub(in crate::server) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    sessions: HashMap<Box<str>, Arc<Session>>,
    /// How many have a hold on a name: requests that are about to begin a session, and what serves it.
    holds: HashMap<Box<str>, usize>,
}

/// A hold on a name of which this instance may have the claim. With the last one on it the claim is released, however it comes
/// to its end.
pub(super) struct Hold {
    table: Arc<Table>,
    peers: Arc<Peers>,
    id: Box<str>,
    name: String,
    /// The claim is another instance's.
    is_anothers: bool,
    /// The session in the table is in it for this.
    entered: bool,
}

impl Table {
    pub(super) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.0.lock().sessions.get(id).map(Arc::clone)
    }

    /// A hold on the session `id`, which is called `name` among instances.
    pub(super) fn hold(self: &Arc<Self>, peers: &Arc<Peers>, id: &str, name: String) -> Hold {
        *self.0.lock().holds.entry(id.into()).or_default() += 1;
        Hold {
            table: Arc::clone(self),
            peers: Arc::clone(peers),
            id: id.into(),
            name,
            is_anothers: false,
            entered: false,
        }
    }
}

impl Hold {
    /// What the session is called among instances.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Another instance has the claim.
    pub(super) fn give_up(mut self) {
        self.is_anothers = true;
    }

    /// Puts the session into the table for as long as this is held, unless one is there already, which is what is given;
    /// nothing where there are `max`.
    pub(super) fn enter(&mut self, session: &Arc<Session>, max: usize) -> Option<Arc<Session>> {
        let mut entries = self.table.0.lock();
        if let Some(known) = entries.sessions.get(&self.id) {
            return Some(Arc::clone(known));
        }
        if entries.sessions.len() >= max {
            return None;
        }
        entries.sessions.insert(self.id.clone(), Arc::clone(session));
        self.entered = true;
        Some(Arc::clone(session))
    }

    /// Lets the claim stand, as long as it is polled.
    pub(super) async fn keep(&self) {
        self.peers.keep(&self.name).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut entries = self.table.0.lock();
        if self.entered {
            entries.sessions.remove(&self.id);
        }
        let left = entries.holds.get_mut(&self.id).map_or(0, |holds| {
            *holds -= 1;
            *holds
        });
        if left == 0 {
            entries.holds.remove(&self.id);
            if !self.is_anothers {
                // Under the lock: whoever claims it next claims it behind this.
                self.peers.release(&self.name);
            }
        }
    }
}
