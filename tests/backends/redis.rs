//! The adapters on Redis, each with a server of its own.

mod hand_over;
#[expect(dead_code, reason = "other tests use more of it, and the library's own")]
#[path = "../support/redis.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use server::RedisServer;
use stompede::backend::redis::{NodeOptions, Options, Redis};
use stompede::backend::{Backend, Bus, Cursors, History, Kept, Memberships, Queues, Relay, Wanted};
use stompede::model::{Address, Answer, DestinationRule, DestinationRules, Limits, Now, Pattern, Retention};
use stompede_protocol::Millis;

use crate::cursors::Devices;
use crate::sink::Heard;
use crate::subject::Subject;

/// A node.
struct Node {
    redis: Arc<Redis>,
    thread: Option<JoinHandle<()>>,
}

/// A node of which nobody else knows.
struct Alone {
    node: Node,
    _server: RedisServer,
}

/// What a node has of Redis.
struct Stores {
    node: Alone,
    heard: Arc<Heard>,
    memberships: Arc<dyn Memberships>,
    queues: Arc<dyn Queues>,
    cursors: Arc<dyn Cursors>,
    history: Arc<dyn History>,
    relay: Arc<dyn Relay>,
}

fn stores(limits: &Limits, age_ms_max: u64) -> Stores {
    let server = RedisServer::start();
    let heard = Arc::<Heard>::default();
    let (node, backend) = open(&server, 1, limits, age_ms_max);
    let Backend { memberships, queues, cursors, bus, .. } = backend;
    let Bus { relay, history, .. } = bus(Arc::<Heard>::clone(&heard) as _);
    let node = Alone { node, _server: server };
    node.node.waits_until_healthy();
    Stores { node, heard, memberships, queues, cursors, history, relay }
}

/// A node on a server that others may use as well.
fn open(server: &RedisServer, node: u64, limits: &Limits, age_ms_max: u64) -> (Node, Backend) {
    let retention = Retention { messages_max: 100, bytes_max: usize::MAX, age_ms_max };
    let rules = ["/topic/**", "/user/**"].map(|pattern| DestinationRule {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        overflow: None,
        history: Some(retention),
        offline: None,
    });
    let (begun, numbers) = (Instant::now(), AtomicU64::new(1));
    let options = NodeOptions {
        node,
        topic_prefix: "/topic/chat/".into(),
        events: Some("".into()),
        linger_ms: 10_000,
        describe: Arc::new(|| "{}".to_owned()),
        rules: DestinationRules::new(rules.into()),
        limits: limits.clone(),
        clock: Arc::new(move || Now { mono: Millis(begun.elapsed().as_millis() as u64), wall_ms: 0 }),
        random: Arc::new(move || {
            RANDOM.wrapping_mul((numbers.fetch_add(1, Ordering::Relaxed) << 32 | node).into())
        }),
    };
    let url = Options::parse(&server.url()).expect("its address");
    let (redis, backend, work) = Redis::open(&url, options).expect("good options");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let thread = Some(std::thread::spawn(move || runtime.block_on(work)));
    (Node { redis, thread }, backend)
}

impl Alone {
    /// Of all of it, so that whoever calls this keeps the server too.
    fn waits_until_quiet(&self) {
        waits(|| self.node.redis.is_quiet().then_some(()).ok_or_else(|| "is never quiet".to_owned()));
    }
}

impl Node {
    fn waits_until_healthy(&self) {
        waits(|| self.redis.health());
    }
}

fn waits(attempt: impl Fn() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = attempt() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.redis.close();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking(), "it panicked");
    }
}

fn memberships(limits: &Limits) -> Subject<dyn Memberships> {
    let Stores { node, heard, memberships, .. } = stores(limits, u64::MAX);
    Subject::shared(heard, memberships, node)
}

// Of all memberships together Redis keeps as many as it has memory for.
crate::memberships::judge! { memberships =>
    membership_is_kept_until_it_is_ended_and_reading_goes_forward_only
    users_and_rooms_are_bounded
    of_many_who_enrol_and_leave_at_once_the_last_word_counts
}

fn cursors(limits: &Limits) -> Devices {
    let Stores { node, heard, cursors, history, .. } = stores(limits, u64::MAX);
    Devices::Kept(cursors, Subject::shared(heard, history, node))
}

// Queues are as many as Redis has memory for, and forgotten by Redis itself.
crate::cursors::judge! { cursors =>
    what_one_device_has_taken_the_other_has_not
    devices_are_bounded_and_the_one_unseen_for_the_longest_goes
}

fn history(age_ms_max: u64) -> Subject<dyn History> {
    let Stores { node, heard, history, relay, .. } = stores(&Limits::default(), age_ms_max);
    let history = Subject::shared(heard, history, node);
    let Ok(Address::Topic(topic)) = Address::of_send("/topic/a") else { panic!("a topic") };
    let ticket = history.ticket();
    if relay.listen(Wanted::Exact(&topic), Some(ticket)) == Kept::Later {
        assert!(matches!(history.answer(ticket), Answer::Listening(Ok(()))));
    }
    history
}

// Where an inbox here is full, what is kept comes later.
crate::history::judge! { history =>
    pages_follow_each_other_until_the_end
    a_page_is_bounded_in_bytes_but_has_one_message
    number_bytes_and_age_bound_what_is_kept
    a_log_that_begins_anew_repeats_no_offset_and_an_old_end_is_still_the_end
    a_position_of_elsewhere_is_not_taken_for_one_of_here
    what_everybody_has_taken_goes
    unread_is_what_others_sent_after_what_was_read
    who_has_many_unread_is_told_so_whoever_else_is_counted
    a_message_is_found_by_its_id_its_offset_and_as_the_last
    what_is_kept_has_all_that_was_sent
}

fn queues(limits: &Limits, _total_bytes_max: usize) -> Subject<dyn Queues> {
    let Stores { node, heard, queues, .. } = stores(limits, u64::MAX);
    Subject::slow(heard, queues, move || node.waits_until_quiet())
}

// Of all queues together Redis keeps as much as it has memory for, and as many in each of its partitions.
crate::queues::judge! { queues =>
    what_comes_back_stands_before_everything_newer_in_its_order
    a_hand_out_counts_unless_nobody_can_have_seen_it
    a_message_that_is_taken_again_counts_once_more
    what_is_settled_is_gone_and_leaves_nothing
    what_is_not_taken_cannot_be_given_back_or_settled
    bytes_are_bounded_too_but_one_message_always_fits
    what_has_begun_is_finished_past_every_limit
    what_is_out_or_postponed_counts_towards_the_limits
    a_postponed_message_is_ready_when_it_is_due_and_stands_where_it_stood
    what_expires_is_handed_over_once_it_is_past_its_time
    what_is_taken_does_not_expire_until_it_comes_back
    a_postponed_message_may_expire_before_it_is_due
    a_sweep_does_no_more_than_it_is_told_and_the_next_one_goes_on
    a_buried_message_stands_at_the_end_of_the_other_queue
    the_oldest_that_are_ready_make_room_for_what_is_buried
    a_letter_that_nothing_can_make_room_for_is_lost
    burying_what_is_not_taken_changes_nothing
    the_last_message_of_a_queue_makes_room_for_the_queue_of_its_letter
    whoever_looks_sees_everything_in_order_page_by_page
    a_tag_is_never_given_twice
}

/// Odd, so that no two products are alike.
const RANDOM: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
