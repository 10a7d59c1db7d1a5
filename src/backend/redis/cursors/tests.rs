//! Cursors before a real server.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::backend::redis::keys::Channel;
use crate::backend::redis::link::{Heard, Link};
use crate::backend::redis::scripts::Script;
use crate::backend::redis::testing::{Answers, Driven, Memory, RedisServer, eventually, hub, options};
use crate::model::WorkerId;

/// Keeps messages 1 to `ARGV[2]` as history does, ten bytes each.
static FILL: Script = Script {
    name: "fill",
    text: "for n = 1, tonumber(ARGV[2]) do redis.call('XADD', KEYS[1], n .. '-0', 'm', '0123456789') end
        redis.call('HSET', KEYS[2], 'top', ARGV[2], 'bytes', 10 * ARGV[2], 'primary', ARGV[1])",
};

struct Stand {
    cursors: RedisCursors,
    queue: Destination,
    driven: Driven,
    server: RedisServer,
}

impl Stand {
    fn new(devices_of_user_max: usize) -> Self {
        Self::over(devices_of_user_max, |link| link)
    }

    fn over(devices_of_user_max: usize, between: impl FnOnce(Arc<dyn Link>) -> Arc<dyn Link>) -> Self {
        let server = RedisServer::start();
        let options = options(&server);
        let driven = Driven::open(&options, Arc::<Memory>::default());
        let hub = hub(&options, between(driven.link()), &Arc::<Answers>::default());
        let cursors = RedisCursors::new(hub, &Limits { devices_of_user_max, ..Limits::default() });
        Self { cursors, queue: Destination::of_user("al/ice", "notes"), driven, server }
    }

    fn key(&self, family: &str) -> String {
        let queue = self.queue.as_str();
        self.cursors.course.hub.keys.key(Partition::of_destination(queue), family, queue)
    }

    fn fill(&self, count: usize) {
        let partition = Partition::of_destination(self.queue.as_str());
        let keys = [&*self.key(STREAM), &*self.key(META)];
        self.driven.run(&FILL, partition, &keys, &[&count.to_string()]).expect("it is filled");
    }

    fn takes(&self, device: &str, offset: u64, now_ms: u64) {
        assert_eq!(self.cursors.advance(&self.queue, device, offset, now_ms), None);
    }

    fn stands(&self, device: &str, expected: &str) {
        eventually(|| match self.server.cli(&["hget", &self.key(CURSORS), device]) {
            found if found == expected => Ok(()),
            found => Err(found),
        });
    }

    /// Messages that are kept, and their bytes.
    fn keeps(&self, messages: usize) {
        let expected = (messages.to_string(), (10 * messages).to_string());
        eventually(|| {
            let length = self.server.cli(&["xlen", &self.key(STREAM)]);
            let bytes = self.server.cli(&["hget", &self.key(META), "bytes"]);
            if (&length, &bytes) == (&expected.0, &expected.1) { Ok(()) } else { Err((length, bytes)) }
        });
    }

    fn settles(&self) {
        eventually(|| if self.cursors.is_empty() { Ok(()) } else { Err("something is under way") });
    }
}

#[test]
fn what_all_devices_have_taken_goes_however_much_it_is() {
    let stand = Stand::new(2);
    stand.fill(2_500);
    for (device, now_ms) in [("phone", 1), ("", 2)] {
        stand.cursors.begin(&stand.queue, device, now_ms);
    }
    stand.takes("phone", 2_500, 3);
    stand.settles();
    stand.keeps(2_500);
    stand.takes("", 2_400, 4);
    stand.keeps(100);
    stand.stands("phone", "2500 3");
    // The third takes the place of the phone, and has taken nothing.
    stand.cursors.begin(&stand.queue, "desk", 5);
    stand.takes("", 2_450, 6);
    stand.stands("phone", "");
    stand.stands("", "2450 6");
    stand.keeps(100);
}

#[test]
fn of_one_device_one_script_is_under_way_and_the_next_takes_all_the_rest() {
    let stand = Stand::new(2);
    stand.fill(1_000);
    stand.server.cli(&["config", "resetstat"]);
    stand.server.freeze();
    (1..=1_000).for_each(|offset| stand.takes("phone", offset, offset));
    assert_eq!(stand.cursors.len(), 1);
    stand.server.thaw();
    stand.stands("phone", "1000 1000");
    stand.settles();
    stand.keeps(0);
    let stats = stand.server.cli(&["info", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xrange:calls=")?.split(',').next());
    assert_eq!(calls, Some("2"), "{stats}");
}

#[test]
fn a_device_that_was_not_seen_is_forgotten_when_another_comes_and_with_the_last_of_them_all() {
    let stand = Stand::new(9);
    stand.fill(10);
    stand.cursors.begin(&stand.queue, "gone", 1_000);
    stand.takes("here", 7, 2_000);
    stand.settles();
    stand.keeps(10);
    stand.cursors.tick(1_500);
    stand.cursors.begin(&stand.queue, "here", 3_600_000);
    stand.stands("here", "7 3600000");
    stand.stands("gone", "");
    stand.keeps(3);
    let left_ms: i64 = stand.server.cli(&["pttl", &stand.key(CURSORS)]).parse().expect("a number");
    assert!((1..=3_598_500).contains(&left_ms), "{left_ms}");
}

#[test]
fn who_is_ahead_of_a_log_that_begins_anew_is_at_its_beginning() {
    let stand = Stand::new(9);
    stand.fill(10);
    stand.takes("phone", 9, 1);
    stand.stands("phone", "9 1");
    stand.server.cli(&["del", &stand.key(STREAM), &stand.key(META)]);
    stand.fill(5);
    stand.takes("desk", 5, 2);
    stand.settles();
    stand.keeps(5);
    stand.cursors.begin(&stand.queue, "phone", 3);
    stand.stands("phone", "0 3");
    // What another primary has acknowledged may be lost here: the log will jump over it.
    stand.server.cli(&["hset", &stand.key(META), "primary", "another"]);
    stand.takes("phone", 9, 4);
    stand.stands("phone", "9 4");
}

/// Takes orders only while it has room.
#[derive(Debug)]
struct Narrow {
    link: Arc<dyn Link>,
    is_full: AtomicBool,
}

impl Link for Narrow {
    fn send(&self, order: Order, from: Option<WorkerId>) -> Result<(), Order> {
        if self.is_full.load(Ordering::Relaxed) { Err(order) } else { self.link.send(order, from) }
    }

    fn force(&self, order: Order) {
        self.link.force(order);
    }

    fn listen(&self, channel: Channel, then: Option<Heard>) {
        self.link.listen(channel, then);
    }

    fn unlisten(&self, channel: &Channel) {
        self.link.unlisten(channel);
    }

    fn close(&self) {
        self.link.close();
    }

    fn health(&self) -> Result<(), String> {
        self.link.health()
    }

    fn is_clustered(&self) -> bool {
        self.link.is_clustered()
    }
}

#[test]
fn what_finds_no_room_goes_later_with_what_was_taken_meanwhile() {
    let mut narrow = None;
    let stand = Stand::over(2, |link| {
        let made = Arc::new(Narrow { link, is_full: AtomicBool::new(true) });
        narrow = Some(Arc::clone(&made));
        made
    });
    stand.fill(10);
    stand.takes("phone", 3, 1);
    stand.takes("phone", 4, 2);
    stand.cursors.tick(0);
    stand.takes("phone", 2, 3);
    assert_eq!(stand.cursors.len(), 1);
    narrow.expect("it was made").is_full.store(false, Ordering::Relaxed);
    stand.cursors.tick(0);
    stand.stands("phone", "4 3");
    stand.settles();
    stand.keeps(6);
}
