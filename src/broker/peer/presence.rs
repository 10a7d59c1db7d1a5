//! The client among others: in which rooms it is, whether its user is online, where it types.

use crate::broker::letters::Letter;
use crate::model::{CloseReason, Refusal};

use super::{Env, Identity, Peer};

/// How a session ends, for the rooms it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Its user wants to go, or has to: he leaves at once.
    Meant,
    /// He may be back before anybody need know.
    Broken,
}

impl Departure {
    /// Of a session that ends by ERROR.
    pub(super) fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Kicked | CloseReason::TokenRevoked => Self::Meant,
            _ => Self::Broken,
        }
    }
}

impl Peer {
    /// The user counts as online while this session lives.
    pub(super) fn go_online(&mut self, env: &Env<'_>) {
        if let Some(user) = self.member().and_then(|member| member.principal.user.as_ref()) {
            env.broker.begin_session(user);
            self.online = true;
        }
    }

    /// As far as this session goes. A second call changes nothing.
    pub(super) fn go_offline(&mut self, env: &Env<'_>) {
        let was_online = std::mem::take(&mut self.online);
        let user = self.member().and_then(|member| member.principal.user.as_ref());
        if let Some(user) = user.filter(|_| was_online) {
            env.broker.end_session(user, env.now);
        }
    }

    /// The backend hears of the end of a session, once; of services it does not.
    pub(super) fn tell_ended(&mut self, env: &Env<'_>, reason: &str) {
        let Identity::Known(member) = &mut self.identity else { return };
        let Some(since) = member.since.take().filter(|_| !member.principal.is_service()) else { return };
        let (user, duration_ms) = (member.principal.user.as_deref(), env.now.mono.since(since));
        env.broker.tell_session_ended(user, &member.session, reason, duration_ms, env.now);
    }

    pub(super) fn enter_room(&self, env: &Env<'_>, room: &str) -> Result<(), Refusal> {
        match self.member().and_then(|member| member.principal.user.as_ref()) {
            Some(user) => env.broker.enter_room(room, user, self.id, env.now),
            None => Err(CloseReason::Internal.into()),
        }
    }

    pub(super) fn leave_room(&self, env: &Env<'_>, room: Box<str>, departure: Departure) {
        let Some(user) = self.member().and_then(|member| member.principal.user.as_ref()) else { return };
        match departure {
            Departure::Meant => env.broker.leave_room(&room, user, self.id, env.now),
            Departure::Broken => env.broker.lose_from_room(room, user, self.id, env.now),
        }
    }

    /// What is said too often is accepted, and goes no further.
    pub(super) fn quieten(&mut self, env: &Env<'_>, letter: Letter) -> Letter {
        let Letter::Typing(message) = letter else { return letter };
        let Identity::Known(member) = &mut self.identity else { return Letter::Nothing };
        let typing = member.typing.get_or_insert_default();
        if typing.admit(&message.destination, env.now.mono) {
            Letter::Typing(message)
        } else {
            Letter::Nothing
        }
    }
}
