//! One hook: its line, its breaker, its requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use stompede_protocol::Millis;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer;
use super::breaker::{Breaker, Standing};
use super::counters::{HookCounters, Outcome};
use super::request;
use crate::model::{CloseReason, Judged, Refusal};
use crate::policy::HookEvent;
use crate::policy::hooks::Case;
use crate::policy::signature::Signer;
use crate::server::build::random;
use crate::server::clock::Clock;
use crate::server::fetch::{Answered, Fetch, FetchError, Question};

/// As configured.
#[derive(Debug)]
pub(crate) struct HookOptions {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) signer: Signer,
    /// From the question to the answer, the wait for a place included.
    pub(crate) timeout: Duration,
    /// Requests at once.
    pub(crate) concurrency: usize,
    /// Questions that wait for a place.
    pub(crate) waiting_max: usize,
    /// So long an answer about access is kept at most, milliseconds.
    pub(crate) cache_ttl_ms: u64,
    /// Headers of CONNECT that are passed on.
    pub(crate) headers: Vec<String>,
    /// So often a notice is told in vain, and no more.
    pub(crate) attempts: u32,
}

/// One hook.
#[derive(Debug)]
pub(crate) struct Hook {
    options: HookOptions,
    fetch: Arc<dyn Fetch>,
    clock: Clock,
    /// Places of those who ask.
    asking: Semaphore,
    /// And of those who ask or wait for it.
    present: Semaphore,
    breaker: Mutex<Breaker>,
    pub(crate) counters: HookCounters,
}

impl Hook {
    pub(super) fn new(options: HookOptions, fetch: Arc<dyn Fetch>, clock: Clock) -> Self {
        Self {
            asking: Semaphore::new(options.concurrency),
            present: Semaphore::new(options.concurrency + options.waiting_max),
            breaker: Mutex::default(),
            counters: HookCounters::default(),
            options,
            fetch,
            clock,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// Whether it is left alone because it has failed.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.lock().standing() == Standing::Open
    }

    /// Asks. Whatever goes wrong is a no that passes.
    pub(super) async fn decide(&self, case: Case) -> Judged {
        let began = Instant::now();
        let deadline = began + self.options.timeout;
        let Ok(_present) = self.present.try_acquire() else {
            self.counters.count(Outcome::Overloaded);
            return unavailable("too many questions wait for this hook", None);
        };
        // A place is given back when its question has ended, so each comes to its turn or its deadline.
        let Ok(Ok(_place)) = timeout_at(deadline, self.asking.acquire()).await else {
            self.counters.count(Outcome::Overloaded);
            return unavailable("the hook had no place in time", None);
        };
        let asked = Instant::now();
        // With too little time left a backend in good health would be late, and be left alone for what is no fault of its.
        if deadline.saturating_duration_since(asked) < self.options.timeout / 2 {
            self.counters.count(Outcome::Overloaded);
            return unavailable("the hook had no place in time", None);
        }
        if let Err(wait_ms) = self.admit() {
            self.counters.count(Outcome::Rejected);
            return unavailable("the hook does not answer", Some(wait_ms));
        }
        let id = format!("{:032x}", random());
        let body = request::body(&case, &id, self.clock.now().wall_ms, &self.options.headers);
        let answered = self.post(body, deadline.saturating_duration_since(asked)).await;
        self.counters.took.record(asked.elapsed());
        let word =
            answered.map_err(|error| error.to_string()).and_then(|Answered { status, body }| match status {
                200 => answer::read(case.event, &body)
                    .map_err(|fault| format!("the answer is not understood: {fault}")),
                _ => Err(format!("the answer has the status {status}")),
            });
        match word {
            Ok(word) => {
                self.breaker.lock().succeeded();
                let is_allowed = word.verdict.is_ok();
                self.counters.count(if is_allowed { Outcome::Allowed } else { Outcome::Denied });
                Judged { verdict: word.verdict, keep_ms: self.keep_ms(case.event, word.ttl_ms) }
            }
            Err(fault) => {
                self.fail(&fault, case.event.name());
                unavailable("the hook gives no answer that can be understood", None)
            }
        }
    }

    /// Tells a notice, as soon as the backend may be asked. Whether it has taken it.
    pub(super) async fn tell(&self, body: Bytes) -> bool {
        // Put back, it would count as told in vain.
        while let Err(wait_ms) = self.admit() {
            sleep(Duration::from_millis(wait_ms).min(LOOK)).await;
        }
        let asked = Instant::now();
        let answered = self.post(body, self.options.timeout).await;
        self.counters.took.record(asked.elapsed());
        let fault = match answered {
            Ok(Answered { status: 200..=299, .. }) => {
                self.breaker.lock().succeeded();
                self.counters.count(Outcome::Told);
                return true;
            }
            Ok(Answered { status, .. }) => format!("the answer has the status {status}"),
            Err(error) => error.to_string(),
        };
        self.fail(&fault, "a notice");
        false
    }

    /// Whether it may be asked now.
    fn admit(&self) -> Result<(), u64> {
        self.breaker.lock().admit(self.now(), self.options.timeout.as_millis() as u64)
    }

    /// So often a notice is told in vain, and no more.
    pub(super) fn attempts(&self) -> u32 {
        self.options.attempts
    }

    /// How many notices are told at once.
    pub(super) fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    /// Notes that there was no answer.
    fn fail(&self, fault: &str, event: &str) {
        self.counters.count(Outcome::Failed);
        let was_open = self.is_open();
        self.breaker.lock().failed(self.now(), random() as u64);
        let (hook, url) = (self.name(), &self.options.url);
        tracing::warn!(hook, url, event, fault, "a hook fails");
        if !was_open && self.is_open() {
            tracing::error!(hook, url, "a hook is left alone for a while: what it decides is refused");
        }
    }

    async fn post(&self, body: Bytes, within: Duration) -> Result<Answered, FetchError> {
        let timestamp_s = self.clock.now().wall_s();
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json".to_owned()),
            ("stompede-timestamp", timestamp_s.to_string()),
            ("stompede-signature", self.options.signer.sign(timestamp_s, &body)),
        ];
        let question = Question {
            url: self.options.url.as_str().into(),
            body: Some(body),
            headers,
            answer_max: within,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.fetch.fetch(question).await
    }

    /// What is said of a message holds for that message, unless the backend says otherwise.
    fn keep_ms(&self, event: HookEvent, ttl_ms: Option<u64>) -> u64 {
        let max = self.options.cache_ttl_ms;
        match event {
            HookEvent::Subscribe => ttl_ms.map_or(max, |ttl_ms| ttl_ms.min(max)),
            HookEvent::Publish => ttl_ms.map_or(0, |ttl_ms| ttl_ms.min(max)),
            _ => 0,
        }
    }

    fn now(&self) -> Millis {
        self.clock.now().mono
    }
}

fn unavailable(text: &'static str, wait_ms: Option<u64>) -> Judged {
    let mut refusal = Refusal::new(CloseReason::Unavailable, text);
    refusal.retry_after_ms = wait_ms.map(|ms| u32::try_from(ms.max(1)).unwrap_or(u32::MAX));
    Judged::failed(refusal)
}

/// Body of an answer, bytes: a message of usual size, in base64 too.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A notice that waits for its backend looks so often at least whether it answers again.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::breaker::FAILURES;
    use super::*;
    use crate::model::Principal;
    use crate::policy::Secret;
    use crate::policy::hooks::HookId;
    use crate::server::fetch::Fetching;

    /// Answers yes, or with a status, after so long.
    #[derive(Debug)]
    struct Slow {
        takes: Duration,
        /// So many first answers are errors.
        failures: u32,
        asked: AtomicU32,
    }

    impl Fetch for Slow {
        fn fetch(&self, question: Question) -> Fetching<'_> {
            let is_failure = self.asked.fetch_add(1, Ordering::Relaxed) < self.failures;
            Box::pin(async move {
                if question.answer_max < self.takes {
                    sleep(question.answer_max).await;
                    return Err(FetchError::Late(question.answer_max));
                }
                sleep(self.takes).await;
                let status = if is_failure { 500 } else { 200 };
                Ok(Answered { status, body: Bytes::from_static(b"{\"allow\":true}") })
            })
        }
    }

    fn hook(takes_ms: u64, failures: u32) -> (Arc<Hook>, Arc<Slow>) {
        let takes = Duration::from_millis(takes_ms);
        let slow = Arc::new(Slow { takes, failures, asked: AtomicU32::new(0) });
        let fetch: Arc<dyn Fetch> = Arc::<Slow>::clone(&slow);
        let options = HookOptions {
            name: "test".into(),
            url: "http://127.0.0.1/".into(),
            signer: Signer::new(&Secret::new("a secret of at least thirty-two bytes")),
            timeout: Duration::from_secs(1),
            concurrency: 1,
            waiting_max: 100,
            cache_ttl_ms: 0,
            headers: Vec::new(),
            attempts: 2,
        };
        (Arc::new(Hook::new(options, fetch, Clock::start())), slow)
    }

    fn case() -> Case {
        Case {
            hook: HookId(0),
            event: HookEvent::Subscribe,
            principal: Arc::new(Principal::anonymous()),
            session: "s".into(),
            destination: "/topic/a".into(),
            headers: Default::default(),
            body: Bytes::new(),
            credentials: None,
            generation: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_a_place_does_not_ask_and_breaks_nothing() {
        // A backend in good health that has more to do than it can: each place comes free later.
        let (hook, slow) = hook(300, 0);
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let hook = Arc::clone(&hook);
                tokio::spawn(async move { hook.decide(case()).await })
            })
            .collect();
        let mut allowed = 0;
        for one in asking {
            match one.await.unwrap().verdict {
                Ok(_) => allowed += 1,
                Err(refusal) => assert_eq!(refusal.reason, CloseReason::Unavailable),
            }
        }
        assert_eq!((allowed, slow.asked.load(Ordering::Relaxed)), (2, 2));
        let counted = [Outcome::Allowed, Outcome::Overloaded, Outcome::Failed].map(|of| hook.counters.of(of));
        assert_eq!(counted, [2, 18, 0]);
        assert_eq!(hook.breaker.lock().standing(), Standing::Closed);
    }
    #[tokio::test]
    async fn a_notice_waits_while_its_backend_is_left_alone_and_is_not_told_in_vain() {
        let (hook, slow) = hook(0, FAILURES);
        for _ in 0..FAILURES {
            assert!(!hook.tell(Bytes::new()).await);
        }
        assert!(hook.is_open());
        assert!(hook.tell(Bytes::new()).await, "it was told before its time");
        assert_eq!(slow.asked.load(Ordering::Relaxed), FAILURES + 1);
        assert!(!hook.is_open());
    }
}
