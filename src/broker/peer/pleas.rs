//! What a backend is to say a word on before the client's frames go on.
//!
//! Meanwhile nothing further is read from the client: what it sends takes effect in its order. A transaction's questions are
//! asked side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::broker::letters::{Letter, Sender};
use crate::broker::pleas::{About, Leave, Plea, changed};
use crate::broker::post::Unposted;
use crate::model::{Allowance, Answer, Judged};
use crate::policy::hooks::Told;

use super::calls::CALLS_MAX;
use super::work::Stage;
use super::{Env, Identity, Peer};

impl Peer {
    /// Turns what backends have allowed into what is to be done.
    ///
    /// # Errors
    /// One of them has said no, or has not said anything yet.
    pub(super) fn hear_out(
        &mut self,
        env: &mut Env<'_>,
        steps: &mut VecDeque<Stage>,
    ) -> Result<(), Unposted> {
        let (mut at, mut open) = (0, 0);
        while let Some(step) = steps.get_mut(at) {
            if let Stage::Post(Letter::Backend(hook, message)) = step {
                *step = Stage::Plea(Box::new(Plea::of_message(*hook, Arc::clone(message))));
            }
            let Stage::Plea(plea) = step else {
                at += 1;
                continue;
            };
            if plea.is_new() && open < CALLS_MAX {
                self.plead(env, plea);
            }
            let Some(verdict) = plea.verdict() else {
                (at, open) = (at + 1, open + 1);
                continue;
            };
            let allowance = verdict.map_err(Unposted::Refused)?.clone();
            let Some(Stage::Plea(plea)) = steps.remove(at) else { continue };
            // What it has become is looked at again: a message to the application may be a question, too.
            for (place, stage) in self.granted(env, *plea, &allowance)?.into_iter().enumerate() {
                steps.insert(at + place, stage);
            }
        }
        if open > 0 { Err(Unposted::Unjudged) } else { Ok(()) }
    }

    fn plead(&mut self, env: &Env<'_>, plea: &mut Plea) {
        let ticket = self.ticket();
        let Some(member) = self.member() else { return };
        let sender = Sender { principal: &member.principal, session: &member.session };
        let sink = Arc::clone(&env.broker.sink);
        let told = || -> Told { Box::new(move |judged| sink.answer(ticket, Answer::Judged(judged))) };
        env.broker.plead(plea, sender, ticket.call, told, env.now);
    }

    fn granted(
        &mut self,
        env: &mut Env<'_>,
        plea: Plea,
        allowance: &Allowance,
    ) -> Result<Vec<Stage>, Unposted> {
        let hook = plea.hook();
        match plea.about {
            About::Subscribe(subscribe, leave) => {
                Err(Unposted::Granted(Box::new((subscribe, leave.and(hook)))))
            }
            About::Send(mut send) => {
                let limits = &env.broker.settings().limits;
                changed(&mut send, allowance, limits).map_err(Unposted::Refused)?;
                let letter = self.admit_send(env, &mut send, Leave::Given(hook));
                Ok(vec![Stage::Post(letter.map_err(|unruled| Unposted::Refused(unruled.refusal()))?)])
            }
            About::Room => Ok(Vec::new()),
            About::Message(message) => {
                let letters = env.broker.outcome(&message, allowance, env.now).map_err(Unposted::Refused)?;
                Ok(letters.into_iter().map(Stage::Post).collect())
            }
        }
    }

    /// A backend has said its word.
    pub(super) fn judged(&mut self, env: &mut Env<'_>, call: u32, judged: Judged) {
        if let Identity::Asking(Some(introduced)) = &self.identity {
            if introduced.call == Some(call) {
                self.recognised(env, judged);
            }
            return;
        }
        let mut judged = Some(judged);
        for step in self.held_steps().into_iter().flatten() {
            let Stage::Plea(plea) = step else { continue };
            let Some(word) = judged.take() else { break };
            judged = plea.judge(env.broker, call, word, env.now);
        }
        if judged.is_none() {
            self.retry(env);
        }
    }
}
