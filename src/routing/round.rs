//! An operator's order on its round through the workers.

use std::fmt;

use parking_lot::Mutex;

use crate::model::control::LISTED_MAX;
use crate::model::{Findings, Task, Whom};

/// An order to all workers of a node.
pub struct Round {
    /// Whom it means.
    pub whom: Whom,
    /// What is to be done.
    pub task: Task,
    state: Mutex<State>,
}

struct State {
    findings: Findings,
    left: usize,
    done: Option<Box<dyn FnOnce(Findings) + Send>>,
}

impl Round {
    /// An order to so many workers; `done` is called when all have answered.
    pub fn new(whom: Whom, task: Task, workers: usize, done: Box<dyn FnOnce(Findings) + Send>) -> Self {
        let state = State { findings: Findings::default(), left: workers, done: Some(done) };
        Self { whom, task, state: Mutex::new(state) }
    }

    /// One worker has done it.
    pub fn answer(&self, mut found: Findings) {
        let done = {
            let mut state = self.state.lock();
            let State { findings, left, done } = &mut *state;
            findings.sessions += found.sessions;
            findings.subscriptions += found.subscriptions;
            findings.listed.append(&mut found.listed);
            findings.listed.truncate(LISTED_MAX);
            *left = left.saturating_sub(1);
            if *left > 0 {
                return;
            }
            done.take().map(|done| (done, std::mem::take(findings)))
        };
        if let Some((done, findings)) = done {
            done(findings);
        }
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round").field("whom", &self.whom).field("task", &self.task).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_all_workers_found_is_told_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let heard = Arc::clone(&told);
        let done = Box::new(move |findings: Findings| {
            heard.fetch_add(findings.sessions, Ordering::Relaxed);
        });
        let round = Round::new(Whom::default(), Task::List, 2, done);
        round.answer(Findings { sessions: 3, ..Findings::default() });
        assert_eq!(told.load(Ordering::Relaxed), 0);
        round.answer(Findings { sessions: 4, ..Findings::default() });
        round.answer(Findings { sessions: 9, ..Findings::default() });
        assert_eq!(told.load(Ordering::Relaxed), 7);
    }
}
