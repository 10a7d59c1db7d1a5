//! Sees to the keys that issuers publish: fetches them, keeps them fresh, and looks again where a token names an unknown one.
//!
//! One task for each URL, so no two requests to it are ever under way. Who waits for a key waits for the attempt that is under
//! way, or has one made, unless the last one is too fresh: tokens with made-up key ids must not hammer the issuer.
//!
//! ```text
//!            first, each refresh, each retry
//!  +--------------------------------------+
//!  v                                      |
//!  fetching --- ended ---> resting -------+
//!                             |  a key is wanted, and the last attempt is not too fresh
//!                             +----------------------------------------------> fetching
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::policy::KeySource;

use super::fetch::{Fetch, Question};

/// The keys of all issuers.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    tended: Box<[Tended]>,
}

/// One URL.
struct Tended {
    source: Arc<KeySource>,
    state: watch::Sender<State>,
}

/// Where its attempts stand.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Attempts that have ended.
    ended: u64,
    /// One is under way.
    fetching: bool,
    /// Somebody waits for another one.
    wanted: bool,
    /// None is made before, whoever waits.
    not_before: Instant,
}

impl Keyring {
    /// Fetches from all sources, on `api`, as long as that lives.
    pub(crate) fn start(
        sources: &[Arc<KeySource>],
        fetch: &Arc<dyn Fetch>,
        refresh: Duration,
        api: &Handle,
    ) -> Arc<Self> {
        let now = Instant::now();
        let tended = sources.iter().map(|source| {
            let state = State { ended: 0, fetching: true, wanted: false, not_before: now };
            Tended { source: Arc::clone(source), state: watch::Sender::new(state) }
        });
        let keyring = Arc::new(Self { tended: tended.collect() });
        for number in 0..keyring.tended.len() {
            let (keyring, fetch) = (Arc::clone(&keyring), Arc::clone(fetch));
            api.spawn(async move { keyring.tended[number].tend(&*fetch, refresh).await });
        }
        keyring
    }

    /// Whether keys of a source are being fetched, or may be.
    pub(crate) fn may_find(&self, source: usize) -> bool {
        self.tended.get(source).is_some_and(|tended| {
            let state = *tended.state.borrow();
            state.fetching || Instant::now() >= state.not_before
        })
    }

    /// Returns when the keys of a source are as fresh as they may be: after the attempt that is under way, or another one,
    /// or at once when the last one was just now.
    pub(crate) async fn look_up(&self, source: usize) {
        let Some(tended) = self.tended.get(source) else { return };
        let mut states = tended.state.subscribe();
        let state = *states.borrow_and_update();
        if !state.fetching && Instant::now() < state.not_before {
            return;
        }
        tended.state.send_if_modified(|now| {
            let is_first = !now.fetching && !now.wanted && now.ended == state.ended;
            now.wanted |= is_first;
            is_first
        });
        // An attempt has its own end; this is for one that never begins.
        let _ = timeout(ANSWER_MAX * 2, states.wait_for(|now| now.ended > state.ended)).await;
    }
}

impl Tended {
    async fn tend(&self, fetch: &dyn Fetch, refresh: Duration) {
        let mut retry = RETRY_MIN;
        let mut states = self.state.subscribe();
        loop {
            let has_keys = self.attempt(fetch).await;
            let (pause, fresh) = if has_keys { (refresh, FRESH) } else { (retry, FRESH_FAILURE) };
            retry = if has_keys { RETRY_MIN } else { (retry * 2).min(RETRY_MAX).min(refresh.max(RETRY_MIN)) };
            let now = Instant::now();
            self.state.send_modify(|state| {
                *state =
                    State { ended: state.ended + 1, fetching: false, wanted: false, not_before: now + fresh };
            });
            tokio::select! {
                () = sleep_until(now + pause) => {}
                _ = states.wait_for(|state| state.wanted) => {}
            }
            self.state.send_modify(|state| (state.fetching, state.wanted) = (true, false));
        }
    }

    /// Whether it brought keys.
    async fn attempt(&self, fetch: &dyn Fetch) -> bool {
        let source = &self.source;
        let question = Question {
            url: source.url().into(),
            body: None,
            headers: vec![("accept", "application/jwk-set+json, application/json".to_owned())],
            answer_max: ANSWER_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let learned = match fetch.fetch(question).await {
            Ok(answer) if answer.status == 200 => {
                source.learn(&answer.body).map_err(|error| error.to_string())
            }
            Ok(answer) => Err(format!("the answer has the status {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        match &learned {
            Ok(keys) => tracing::debug!(url = source.url(), keys, "keys of an issuer fetched"),
            Err(fault) => {
                source.fail(fault);
                tracing::warn!(url = source.url(), fault, "keys of an issuer cannot be fetched");
            }
        }
        learned.is_ok()
    }
}

impl fmt::Debug for Tended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tended").field("source", &self.source).finish_non_exhaustive()
    }
}

/// From a request for keys to the last byte of its answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Keys of an issuer, bytes: a hundred keys with their certificates.
const ANSWER_BYTES_MAX: usize = 512 << 10;

/// Keys that were fetched so lately are not fetched again for a token that names another one.
const FRESH: Duration = Duration::from_secs(5);

/// After an attempt that brought none they are, but no sooner than this.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

/// After an attempt that brought none the next one follows by itself, first so soon, then each time twice as late.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// And so late at most, nor later than a refresh would.
const RETRY_MAX: Duration = Duration::from_secs(30);
