//! Lanes by themselves: what is done in which order, whatever comes back.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use redis::Value;

use super::*;
use crate::backend::redis::link::calls::Calls;
use crate::backend::redis::link::lanes::{Lanes, Return, Waiting};
use crate::backend::redis::link::servers::ServerId;

const ONE: ServerId = ServerId(1);
const TWO: ServerId = ServerId(2);
const PARTITION: Partition = Partition(5);

/// Lanes, and what orders were told.
struct Desk {
    lanes: Lanes,
    calls: Calls<Value>,
}

impl Desk {
    fn new() -> Self {
        let mut lanes = Lanes::new();
        lanes.set_owner(PARTITION, Some(ONE));
        Self { lanes, calls: Calls::default() }
    }

    fn order(&mut self, key: &str, doubt: Doubt) -> Receiver<Result<Value, Fault>> {
        let (sender, receiver) = mpsc::channel();
        let then = Box::new(move |result| drop(sender.send(result)));
        let keys = vec![key.to_owned()];
        self.lanes.force(Order {
            partition: PARTITION,
            script: &APPEND,
            keys,
            args: Vec::new(),
            doubt,
            then,
        });
        receiver
    }

    fn take(&mut self, server: ServerId) -> Vec<Waiting> {
        let mut taken = Vec::new();
        self.lanes.take(server, 100, &mut taken);
        taken
    }

    fn give_back(&mut self, waiting: Waiting, why: Return) {
        self.lanes.give_back(waiting, why, &mut self.calls);
    }

    fn settle(&mut self, waiting: Waiting) {
        self.lanes.settle(waiting, Ok(Value::Nil), &mut self.calls);
    }

    fn told(&mut self, receiver: &Receiver<Result<Value, Fault>>) -> Option<Result<Value, Fault>> {
        std::mem::take(&mut self.calls).make();
        receiver.try_recv().ok()
    }
}

fn keys(taken: &[Waiting]) -> Vec<&str> {
    taken.iter().map(|waiting| waiting.order.keys[0].as_str()).collect()
}

#[test]
fn what_comes_back_stands_before_what_came_later() {
    let mut desk = Desk::new();
    let _ends = ["a", "b"].map(|key| desk.order(key, Doubt::Repeat));
    let mut taken = desk.take(ONE);
    let _later = desk.order("c", Doubt::Repeat);
    let second = taken.pop().unwrap();
    desk.give_back(taken.pop().unwrap(), Return::Lost);
    assert!(desk.take(ONE).is_empty(), "nothing passes what is under way still");
    desk.give_back(second, Return::Lost);
    assert_eq!(keys(&desk.take(ONE)), ["a", "b", "c"]);
}

#[test]
fn an_order_that_was_overtaken_for_its_keys_is_not_done_any_more() {
    let mut desk = Desk::new();
    let ends = ["a", "b", "a"].map(|key| desk.order(key, Doubt::Repeat));
    let [first, second, third] = <[Waiting; 3]>::try_from(desk.take(ONE)).unwrap();
    desk.give_back(first, Return::Rest);
    desk.give_back(second, Return::Rest);
    desk.settle(third);
    assert_eq!(desk.told(&ends[0]), Some(Err(Fault::Unreachable)));
    assert_eq!(desk.told(&ends[2]), Some(Ok(Value::Nil)));
    assert_eq!(desk.told(&ends[1]), None, "other keys keep their turn");
    assert!(desk.take(ONE).is_empty(), "which is after a while");
    desk.lanes.tick(Instant::now(), &mut desk.calls);
    assert_eq!(keys(&desk.take(ONE)), ["b"]);
}

#[test]
fn a_lane_that_goes_elsewhere_waits_for_what_is_under_way() {
    let mut desk = Desk::new();
    let _first = desk.order("a", Doubt::Repeat);
    let mut taken = desk.take(ONE);
    desk.lanes.set_owner(PARTITION, Some(TWO));
    let _second = desk.order("b", Doubt::Repeat);
    assert!(desk.take(TWO).is_empty() && desk.take(ONE).is_empty());
    desk.give_back(taken.pop().unwrap(), Return::Moved);
    assert!(desk.take(TWO).is_empty(), "halted until it is known anew who owns it");
    desk.lanes.set_owner(PARTITION, Some(TWO));
    assert_eq!(keys(&desk.take(TWO)), ["a", "b"]);
}

#[test]
fn a_detour_is_taken_by_one_order_at_a_time() {
    let mut desk = Desk::new();
    let _ends = ["a", "b"].map(|key| desk.order(key, Doubt::Repeat));
    let [first, second] = <[Waiting; 2]>::try_from(desk.take(ONE)).unwrap();
    desk.give_back(first, Return::Detour(TWO));
    desk.give_back(second, Return::Detour(TWO));
    assert!(desk.take(ONE).is_empty());
    let mut first = desk.take(TWO);
    assert_eq!(keys(&first), ["a"]);
    assert!(desk.take(TWO).is_empty() && desk.take(ONE).is_empty());
    desk.settle(first.pop().unwrap());
    assert_eq!(keys(&desk.take(TWO)), ["b"]);
}

#[test]
fn what_waits_too_long_ends_and_says_whether_it_may_have_been_done() {
    let mut desk = Desk::new();
    let doubtful = desk.order("a", Doubt::Repeat);
    let lost = desk.take(ONE).pop().unwrap();
    desk.give_back(lost, Return::Lost);
    let waiting = desk.order("b", Doubt::Repeat);
    let told = desk.order("c", Doubt::Tell);
    let late = Instant::now() + Duration::from_millis(HOLD_MS + 1);
    desk.lanes.tick(late, &mut desk.calls);
    assert_eq!(desk.told(&doubtful), Some(Err(Fault::Unknown)));
    assert_eq!(desk.told(&waiting), Some(Err(Fault::Unreachable)));
    assert_eq!(desk.told(&told), Some(Err(Fault::Unreachable)));
    assert!(desk.lanes.is_empty());
}
