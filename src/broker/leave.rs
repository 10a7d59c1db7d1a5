//! Which backends have been asked about something and have said yes.

use crate::model::{CloseReason, Refusal};
use crate::policy::hooks::HookId;

use super::pleas::{Asks, Unruled};

/// Which backends have said yes already. Of each destination there are two that can be asked: one where rules leave it open, and
/// one that hears of what rules allow, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// None has.
    Open,
    /// This one has: that holds for whatever is left to it.
    Given(HookId),
    /// Both have.
    Both(HookId, HookId),
    /// Whatever is left to backends goes through: they are asked elsewhere, or it is no affair of theirs.
    Any,
}

impl Leave {
    /// The same, with a yes of `hook`.
    pub(super) fn and(self, hook: HookId) -> Self {
        match self {
            Self::Open => Self::Given(hook),
            Self::Given(first) => Self::Both(first, hook),
            Self::Both(..) | Self::Any => self,
        }
    }

    /// Whether what is left to `hook` may be.
    pub(super) fn is_of(self, hook: HookId) -> bool {
        match self {
            Self::Open => false,
            Self::Given(first) => first == hook,
            Self::Both(first, second) => first == hook || second == hook,
            Self::Any => true,
        }
    }

    /// Has the hook asked, unless it has said yes.
    pub(super) fn check(self, asks: Asks) -> Result<(), Unruled> {
        match self {
            _ if self.is_of(asks.hook) => Ok(()),
            // Who is asked in turns would be asked for ever.
            Self::Both(..) => Err(Refusal::from(CloseReason::Internal).at(&asks.destination).into()),
            _ => Err(Unruled::Asks(asks)),
        }
    }
}
