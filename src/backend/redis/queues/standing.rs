//! What a node is to a queue, and whether Redis knows.

use stompede_protocol::Millis;

/// What we are to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody here consumes from it.
    Attending,
    /// Nobody does, but we may have messages of it.
    Holding,
    /// Nothing.
    Gone,
}

/// What Redis knows of us, as far as it has said so.
#[derive(Debug, Default)]
pub(super) struct Standing {
    known: Option<Presence>,
    /// It is being told.
    is_telling: bool,
    /// It could not be told: again then.
    again: Option<Millis>,
}

impl Standing {
    /// It is being told.
    pub(super) fn tell(&mut self) {
        (self.is_telling, self.again) = (true, None);
    }

    /// It was told, or could not be.
    pub(super) fn told(&mut self, presence: Presence, is_told: bool, again: Millis) {
        self.is_telling = false;
        self.known = is_told.then_some(presence);
        self.again = (!is_told).then_some(again);
    }

    /// We take messages: of that Redis takes note by itself.
    pub(super) fn take(&mut self) {
        self.known.take_if(|presence| *presence == Presence::Gone);
    }

    /// Whether it is to be told that we are this.
    pub(super) fn is_to_tell(&self, presence: Presence, now: Millis) -> bool {
        let is_due = self.again.is_none_or(|at| at <= now);
        let is_other = match presence {
            Presence::Holding => self.known == Some(Presence::Attending),
            presence => self.known != Some(presence),
        };
        !self.is_telling && is_due && is_other
    }

    /// Whether it knows us no more.
    pub(super) fn is_gone(&self) -> bool {
        !self.is_telling && self.known == Some(Presence::Gone)
    }
}
