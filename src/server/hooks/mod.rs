//! Backends that decide, asked by HTTP.
//!
//! ```text
//!  a session  ->  Judge::ask  ->  a task of the API runtime: line, breaker, POST  ->  told
//! ```

mod answer;
mod breaker;
pub(crate) mod counters;
mod hook;
mod request;
mod teller;

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::broker::Broker;
use crate::model::{CloseReason, Judged};
use crate::policy::hooks::{Case, HookId, HookRule, Judge, Told};

use super::clock::Clock;
use super::fetch::Fetch;

pub(crate) use hook::{Hook, HookOptions};

/// All hooks, in the order of the configuration.
pub(crate) struct Hooks {
    hooks: Box<[Arc<Hook>]>,
    api: Handle,
}

impl Hooks {
    /// Asks on `api`, as long as that lives.
    pub(crate) fn new(options: Vec<HookOptions>, fetch: &Arc<dyn Fetch>, clock: Clock, api: &Handle) -> Self {
        let hooks = options.into_iter().map(|options| Arc::new(Hook::new(options, Arc::clone(fetch), clock)));
        Self { hooks: hooks.collect(), api: api.clone() }
    }

    /// Tells notices of `broker`, as long as that takes connections.
    pub(crate) fn tell(&self, broker: &Arc<Broker>) {
        let rules = broker.hook_rules();
        for (place, hook) in self.hooks.iter().enumerate() {
            if rules.rule(HookId(place)).is_some_and(HookRule::is_told) {
                self.api.spawn(teller::tell(Arc::clone(hook), Arc::clone(broker)));
            }
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<Hook>] {
        &self.hooks
    }
}

impl Judge for Hooks {
    fn ask(&self, case: Case, told: Told) {
        let answering = Answering(Some(told));
        // Dropped, it answers.
        let Some(hook) = self.hooks.get(case.hook.0).cloned() else { return };
        self.api.spawn(async move { answering.tell(hook.decide(case).await) });
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// Answers once, also where the task ends by a fault of ours.
struct Answering(Option<Told>);

impl Answering {
    fn tell(mut self, judged: Judged) {
        if let Some(told) = self.0.take() {
            told(judged);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Judged::failed(CloseReason::Unavailable.into()));
        }
    }
}
