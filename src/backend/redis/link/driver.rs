//! Sees that every server is dialled, that it is known who owns what, and looks at the clock for everybody.
//!
//! ```text
//!  driver --+-- keep_commands, one for each server ---- orders
//!           +-- keep_bus, one for each server --------- channels
//!           +-- sentinels: watch                        the primary changes
//!           +-- cluster: survey                         slots move
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};

use crate::backend::redis::keys::Keys;
use crate::backend::redis::link::{Ears, Link};

use super::dial::Dialler;
use super::keep::{Keeper, Way};
use super::line::Line;
use super::options::{Address, Login, Options, OptionsError, Place};
use super::sentinel::Sentinels;
use super::{canary, cluster};

/// Makes the way to Redis. Nothing comes or goes on it before the future runs, which ends after [`Line::close`]; dropping it
/// ends everything at once. It wants a tokio runtime with I/O and time, and that no other task of it blocks.
///
/// # Errors
/// The certificates cannot be read. That Redis is not there is no error.
pub(in crate::backend::redis) fn open(
    options: &Options,
    ears: Arc<dyn Ears>,
) -> Result<(Arc<Line>, impl Future<Output = ()> + Send + use<>), OptionsError> {
    let is_clustered = matches!(options.place, Place::Cluster(_));
    let line = Arc::new(Line::new(Keys::new(&options.prefix), ears, options.wait_replicas, is_clustered));
    let dialler = Dialler::of(options)?;
    let driver = Driver {
        line: Arc::clone(&line),
        sentinels: sentinels(options, &dialler),
        dialler,
        place: options.place.clone(),
        tasks: JoinSet::new(),
        posts: HashMap::new(),
        surveys: JoinSet::new(),
        surveyed: None,
        turn: 0,
    };
    Ok((line, driver.run()))
}

impl Dialler {
    pub(super) fn of(options: &Options) -> Result<Self, OptionsError> {
        let mode = if matches!(options.place, Place::Cluster(_)) { "cluster" } else { "standalone" };
        Ok(Self {
            login: options.login.clone(),
            database: options.database,
            tls: options.tls()?,
            accepts_eviction: options.accepts_eviction,
            mode,
        })
    }
}

/// Those who know the primary, if somebody does.
pub(super) fn sentinels(options: &Options, dialler: &Dialler) -> Option<Arc<Sentinels>> {
    let Place::Sentinel { sentinels, name } = &options.place else { return None };
    let login: Login = options.sentinel_login.clone();
    let dialler = Dialler { login, database: 0, mode: "sentinel", ..dialler.clone() };
    let (addresses, name, next) = (sentinels.clone(), name.clone(), AtomicUsize::new(0));
    Some(Arc::new(Sentinels { dialler, addresses, name, next }))
}

struct Driver {
    line: Arc<Line>,
    dialler: Dialler,
    place: Place,
    sentinels: Option<Arc<Sentinels>>,
    /// One for each connection; dropped with the driver.
    tasks: JoinSet<()>,
    /// What they do, to begin it anew where one has panicked.
    posts: HashMap<Id, Post>,
    /// The question who owns what, one at a time.
    surveys: JoinSet<Result<Vec<Option<Address>>, String>>,
    /// When that was answered last, or not.
    surveyed: Option<Instant>,
    /// Counts surveys: each begins with another server.
    turn: usize,
}

/// What a task does.
#[derive(Debug, Clone)]
enum Post {
    Commands(Keeper),
    Bus(Keeper),
    Watch(Arc<Sentinels>),
}

impl Driver {
    async fn run(mut self) {
        let _end = End(Arc::clone(&self.line));
        match &self.place {
            Place::Standalone(address) => self.line.add_only_server(Some(address.clone())),
            Place::Sentinel { .. } => self.line.add_only_server(None),
            Place::Cluster(_) => self.line.ask_survey(None),
        }
        if let Some(sentinels) = self.sentinels.clone() {
            self.post(Post::Watch(sentinels));
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut deadline = None;
        loop {
            self.employ();
            self.send_surveyor();
            tokio::select! {
                _ = tick.tick() => {}
                () = self.line.stirred.notified() => {}
                Some(survey) = self.surveys.join_next() => self.learn(survey.ok()),
                Some(ended) = self.tasks.join_next_with_id() => self.relieve(ended),
            }
            let now = Instant::now();
            self.line.tick(now);
            canary::release(&self.line, now);
            if self.line.is_closing() {
                let deadline = *deadline.get_or_insert(now + CLOSE_MAX);
                if self.line.is_idle() || now >= deadline {
                    return self.tasks.shutdown().await;
                }
            }
        }
    }

    /// Sees that new servers are dialled.
    fn employ(&mut self) {
        for (server, address) in self.line.newcomers() {
            let way = match (address, &self.sentinels) {
                (Some(address), _) => Way::Fixed(address),
                (None, Some(sentinels)) => Way::Asked(Arc::clone(sentinels)),
                (None, None) => continue,
            };
            let (line, dialler) = (Arc::clone(&self.line), self.dialler.clone());
            let keeper = Keeper { line, server, dialler, way };
            self.post(Post::Commands(keeper.clone()));
            self.post(Post::Bus(keeper));
        }
    }

    fn post(&mut self, post: Post) {
        let task = match post.clone() {
            Post::Commands(keeper) => self.tasks.spawn(keeper.keep_commands()),
            Post::Bus(keeper) => self.tasks.spawn(keeper.keep_bus()),
            Post::Watch(sentinels) => self.tasks.spawn(sentinels.watch(Arc::clone(&self.line))),
        };
        self.posts.insert(task.id(), post);
    }

    /// A task that has ended is not needed; one that has panicked begins anew: what it had under way it has given back.
    fn relieve(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let post = self.posts.remove(&id);
        if let (Err(error), Some(post)) = (ended, post)
            && error.is_panic()
        {
            tracing::error!("a connection to Redis has panicked and begins anew");
            self.post(post);
        }
    }

    /// Sees that it is asked who owns what, when that is wanted or has not been asked for long.
    fn send_surveyor(&mut self) {
        let Place::Cluster(seeds) = &self.place else { return };
        let age = self.surveyed.map(|surveyed| surveyed.elapsed());
        if !self.surveys.is_empty() || age.is_some_and(|age| age < SURVEY_GAP) {
            return;
        }
        let period = if self.line.health().is_ok() { SURVEY_PERIOD } else { SURVEY_PERIOD_ILL };
        let wish = self.line.take_survey();
        if wish.is_none() && age.is_some_and(|age| age < period) {
            return;
        }
        let mut known = self.line.addresses();
        known.extend(seeds.iter().cloned());
        self.turn += 1;
        let first = self.turn % known.len();
        known.rotate_left(first);
        let mut places = wish.unwrap_or_default();
        places.extend(known);
        let mut seen = std::collections::BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        self.surveys.spawn(cluster::survey(self.dialler.clone(), places));
    }

    fn learn(&mut self, survey: Option<Result<Vec<Option<Address>>, String>>) {
        self.surveyed = Some(Instant::now());
        match survey {
            Some(Ok(owners)) => self.line.set_owners(&owners),
            Some(Err(why)) => self.line.set_trouble(format!("Redis: {why}")),
            None => {}
        }
    }
}

/// Whatever ends the driver, nobody is left waiting.
struct End(Arc<Line>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What waits when it is closed is sent for so long.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// It is not asked more often who owns what.
const SURVEY_GAP: Duration = Duration::from_millis(100);

/// It is asked at least so often.
const SURVEY_PERIOD: Duration = Duration::from_secs(10);

/// And so often while something is wrong.
const SURVEY_PERIOD_ILL: Duration = Duration::from_millis(500);
