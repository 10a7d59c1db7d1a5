//! What an operator asks of every worker of every node: who is there, and that somebody goes.

use std::sync::Arc;

/// Whom an order means. Without any of the two: everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    /// All sessions of this user.
    pub user: Option<Box<str>>,
    /// The session of this name, as CONNECTED said it.
    pub session: Option<Box<str>>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// List sessions, and count them.
    List,
    /// Count sessions.
    Count,
    /// End sessions, with the reason `kicked` and this text.
    Kick(Option<Box<str>>),
    /// End sessions whose tokens are revoked.
    Review,
    /// End subscriptions to this destination, as it was subscribed.
    Unsubscribe(Box<str>),
    /// Name rooms where somebody is present, the largest first.
    Rooms,
    /// Count consumers, queue by queue.
    Consumers,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its name.
    pub session: Box<str>,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// What it subscribes.
    pub destinations: Vec<Box<str>>,
}

/// What workers found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Sessions that were meant.
    pub sessions: usize,
    /// Subscriptions of theirs that were meant.
    pub subscriptions: usize,
    /// Some of them, [`LISTED_MAX`] at most.
    pub listed: Vec<SessionRow>,
}

impl Whom {
    /// Whether it means this session.
    pub fn is(&self, session: &str, user: Option<&str>) -> bool {
        self.session.as_deref().is_none_or(|wanted| wanted == session)
            && self.user.as_deref().is_none_or(|wanted| Some(wanted) == user)
    }
}

/// Sessions that a node lists at a time.
pub const LISTED_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_means_whom_it_names() {
        let whom = |user: Option<&str>, session: Option<&str>| Whom {
            user: user.map(Into::into),
            session: session.map(Into::into),
        };
        assert!(whom(None, None).is("s", None));
        assert!(whom(Some("bob"), None).is("s", Some("bob")));
        assert!(!whom(Some("bob"), None).is("s", None));
        assert!(!whom(Some("bob"), Some("t")).is("s", Some("bob")));
    }
}
