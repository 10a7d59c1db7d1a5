use super::slowness::{LAG_MS_MAX, LENIENCY, MANY_MIN, PATIENCE_MS};
use super::*;

fn push(lanes: &mut Lanes, slot: u32, bytes: usize) -> Pushed {
    lanes.push(slot, Bytes::from(vec![0; bytes]), None, Overflow::Close, 100)
}

/// So many connections, each with 90 bytes waiting, and all blocked from the start.
fn all_blocked(count: usize) -> (Lanes, Vec<u32>) {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..count).map(|_| lanes.open()).collect();
    for slot in &slots {
        push(&mut lanes, *slot, 90);
        lanes.set_blocked(*slot, Some(Millis(0)));
    }
    (lanes, slots)
}

#[test]
fn a_connection_is_slow_only_while_its_socket_refuses() {
    let mut lanes = Lanes::default();
    let (slow, _other, _third) = (lanes.open(), lanes.open(), lanes.open());
    for _ in 0..10 {
        assert_eq!(push(&mut lanes, slow, 60), Pushed::Taken);
    }
    assert_eq!(lanes.backlog_bytes(), 600);
    lanes.set_blocked(slow, Some(Millis(5)));
    lanes.tick(Millis(1_006), 100);
    assert_eq!(lanes.backlog_bytes(), 0);
    assert_eq!(push(&mut lanes, slow, 60), Pushed::Full);
    lanes.advance(slow, 600, Millis(1_006));
    lanes.set_blocked(slow, None);
    assert_eq!(push(&mut lanes, slow, 60), Pushed::Taken);
    assert_eq!(lanes.total_bytes(), 60);
    lanes.close(slow);
    assert_eq!(lanes.total_bytes(), 0);
}

#[test]
fn a_common_cause_stops_publishing_and_closes_nobody() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
    lanes.tick(Millis(1_000), 100);
    for slot in &slots[..5] {
        push(&mut lanes, *slot, 100);
        lanes.set_blocked(*slot, Some(Millis(800)));
        lanes.advance(*slot, 10, Millis(900));
        lanes.set_blocked(*slot, Some(Millis(900)));
    }
    assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Taken);
    assert!(lanes.is_backlogged(usize::MAX));
    for slot in &slots[..5] {
        let bytes = lanes.lane(*slot).unwrap().outbox.bytes();
        lanes.advance(*slot, bytes - 20, Millis(1_000));
        lanes.set_blocked(*slot, Some(Millis(1_000)));
    }
    lanes.tick(Millis(1_100), 100);
    assert!(!lanes.is_backlogged(usize::MAX));
}

#[test]
fn who_has_only_just_been_blocked_is_no_common_cause() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..20).map(|_| lanes.open()).collect();
    for slot in &slots[..10] {
        push(&mut lanes, *slot, 90);
        lanes.set_blocked(*slot, Some(Millis(0)));
    }
    assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Taken);
    assert!(!lanes.is_backlogged(usize::MAX), "publishers wait for those who may never read");
}

#[test]
fn a_trickle_is_given_room_for_a_second_only() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..2).map(|_| lanes.open()).collect();
    for (slot, takes) in slots.iter().zip([1, 50]) {
        push(&mut lanes, *slot, 150);
        lanes.set_blocked(*slot, Some(Millis(0)));
        lanes.tick(Millis(1_100), 100);
        lanes.advance(*slot, takes, Millis(1_100));
        lanes.set_blocked(*slot, Some(Millis(1_100)));
    }
    assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Full);
    assert_eq!(push(&mut lanes, slots[1], 20), Pushed::Taken);
}

#[test]
fn who_has_taken_all_that_waited_begins_to_lag_anew() {
    for (taken, expected) in [(LENIENCY * 100, Pushed::Taken), (LENIENCY * 100 - 1, Pushed::Full)] {
        let mut lanes = Lanes::default();
        let (slot, _other) = (lanes.open(), lanes.open());
        lanes.tick(Millis(0), 100);
        push(&mut lanes, slot, taken + 90);
        lanes.set_blocked(slot, Some(Millis(0)));
        let later = Millis(LAG_MS_MAX + 1);
        lanes.tick(later, 100);
        lanes.advance(slot, taken, later);
        lanes.set_blocked(slot, Some(later));
        assert_eq!(push(&mut lanes, slot, 50), expected);
    }
}

#[test]
fn after_an_outage_the_last_to_resume_have_a_second_to_show_that_they_read() {
    let (mut lanes, slots) = all_blocked(4);
    lanes.tick(Millis(5_000), 100);
    for slot in &slots[..2] {
        lanes.advance(*slot, 90, Millis(5_000));
    }
    assert_eq!(push(&mut lanes, slots[3], 20), Pushed::Taken);
    lanes.tick(Millis(6_100), 100);
    assert_eq!(push(&mut lanes, slots[3], 20), Pushed::Full);
}

#[test]
fn an_outage_is_over_for_those_who_resume_though_they_are_blocked_again_at_once() {
    for (resumed, expected) in [(2, Pushed::Taken), (1, Pushed::Full)] {
        let (mut lanes, slots) = all_blocked(4);
        lanes.tick(Millis(5_000), 100);
        for slot in &slots[..resumed] {
            lanes.advance(*slot, 50, Millis(5_000));
            lanes.set_blocked(*slot, Some(Millis(5_000)));
        }
        assert_eq!(push(&mut lanes, slots[3], 20), expected, "{resumed} have resumed");
        lanes.tick(Millis(6_100), 100);
        assert_eq!(push(&mut lanes, slots[3], 20), Pushed::Full);
    }
}

#[test]
fn a_few_who_come_back_again_and_again_end_no_outage() {
    let (mut lanes, slots) = all_blocked(8);
    for second in 1..=8 {
        let now = Millis(second * 1_100);
        lanes.tick(now, 100);
        for slot in &slots[..2] {
            lanes.advance(*slot, 10, now);
            lanes.set_blocked(*slot, Some(now));
        }
    }
    assert_eq!(push(&mut lanes, slots[7], 20), Pushed::Full);
}

#[test]
fn who_does_not_read_at_all_is_slow_however_many_they_are() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
    lanes.tick(Millis(2_500), 100);
    for slot in &slots {
        push(&mut lanes, *slot, 90);
        lanes.set_blocked(*slot, Some(Millis(1_000)));
    }
    assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Full);
}

#[test]
fn a_few_who_read_but_lag_are_given_more_room_for_a_while() {
    let (mut lanes, slots) = all_blocked(3);
    assert_eq!(push(&mut lanes, slots[0], 100 * LENIENCY - 90), Pushed::Taken);
    lanes.tick(Millis(PATIENCE_MS + 1), 100);
    assert_eq!(push(&mut lanes, slots[0], 1), Pushed::Full);
    lanes.set_blocked(slots[1], None);
    lanes.set_blocked(slots[1], Some(Millis(LAG_MS_MAX)));
    lanes.tick(Millis(LAG_MS_MAX + 1), 100);
    assert_eq!(push(&mut lanes, slots[1], 20), Pushed::Full);
}

#[test]
fn when_most_are_blocked_their_bytes_are_everybodys_backlog() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..3).map(|_| lanes.open()).collect();
    for slot in &slots {
        push(&mut lanes, *slot, 50);
    }
    lanes.set_blocked(slots[0], Some(Millis(1)));
    assert_eq!(lanes.backlog_bytes(), 100);
    lanes.set_blocked(slots[1], Some(Millis(1)));
    assert_eq!(lanes.backlog_bytes(), 150);
}

#[test]
fn a_lone_consumer_that_reads_fast_slows_its_publisher_and_is_not_closed() {
    let mut lanes = Lanes::default();
    let (consumer, _publisher) = (lanes.open(), lanes.open());
    for (taken, expected) in [(60, true), (10, false)] {
        push(&mut lanes, consumer, 150);
        lanes.set_blocked(consumer, Some(Millis(0)));
        lanes.tick(Millis(500), 100);
        lanes.advance(consumer, taken, Millis(500));
        lanes.set_blocked(consumer, Some(Millis(500)));
        push(&mut lanes, consumer, 90);
        assert_eq!(lanes.is_backlogged(usize::MAX), expected, "it took {taken} of 100 in half a second");
        let bytes = lanes.lane(consumer).unwrap().outbox.bytes();
        lanes.advance(consumer, bytes, Millis(600));
        lanes.tick(Millis(600), 100);
        assert!(!lanes.is_backlogged(usize::MAX));
        lanes.tick(Millis(0), 100);
    }
}

/// Blocks `slot` with `bytes` waiting, and lets its socket take them all `ms` later.
fn comes_back(lanes: &mut Lanes, slot: u32, bytes: usize, ms: u64) {
    push(lanes, slot, bytes);
    lanes.set_blocked(slot, Some(Millis(0)));
    lanes.advance(slot, bytes, Millis(ms));
}

#[test]
fn who_needs_as_long_to_come_round_as_many_others_is_waited_for() {
    for (others, expected) in [(MANY_MIN, Pushed::Taken), (MANY_MIN - 1, Pushed::Full)] {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
        slots[..others].iter().for_each(|slot| comes_back(&mut lanes, *slot, 90, 900));
        let waiting = slots[9];
        push(&mut lanes, waiting, LENIENCY * 100 + 90);
        lanes.set_blocked(waiting, Some(Millis(0)));
        lanes.tick(Millis(3_000), 100);
        assert_eq!(push(&mut lanes, waiting, 20), expected, "{others} came back after a second");
        assert_eq!(lanes.is_backlogged(usize::MAX), expected == Pushed::Taken);
    }
}

#[test]
fn who_is_blocked_far_longer_than_those_that_came_back_is_slow() {
    let mut lanes = Lanes::default();
    let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
    slots[..8].iter().for_each(|slot| comes_back(&mut lanes, *slot, 90, 200));
    push(&mut lanes, slots[9], LENIENCY * 100 + 90);
    lanes.set_blocked(slots[9], Some(Millis(0)));
    lanes.tick(Millis(2_500), 100);
    assert_eq!(push(&mut lanes, slots[9], 20), Pushed::Full);
}

#[test]
fn who_stops_reading_is_given_seconds_only_while_little_is_blocked() {
    for (blocked, expected) in [(5, Pushed::Taken), (6, Pushed::Full)] {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..16).map(|_| lanes.open()).collect();
        for slot in &slots[..blocked] {
            push(&mut lanes, *slot, 150);
            lanes.set_blocked(*slot, Some(Millis(0)));
        }
        lanes.tick(Millis(4_000), 100);
        assert_eq!(push(&mut lanes, slots[0], 20), expected);
        lanes.tick(Millis(5_100), 100);
        assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Full);
    }
}

#[test]
fn the_high_water_is_what_waited_for_a_socket_that_took_nothing() {
    let mut lanes = Lanes::default();
    let [idle, blocked] = [(); 2].map(|()| lanes.open());
    let push = |lanes: &mut Lanes, slot, bytes| {
        lanes.push(slot, Bytes::from(vec![0; bytes]), None, Overflow::Close, usize::MAX);
    };
    push(&mut lanes, idle, 1_000);
    assert_eq!((lanes.high_water(), lanes.blocked()), (0, 0), "its turn has not come");
    push(&mut lanes, blocked, 100);
    lanes.set_blocked(blocked, Some(Millis(1)));
    assert_eq!((lanes.high_water(), lanes.blocked(), lanes.blocked_bytes()), (100, 1, 100));
    push(&mut lanes, blocked, 50);
    assert_eq!((lanes.high_water(), lanes.blocked_bytes()), (150, 150));
    lanes.advance(blocked, 150, Millis(2));
    assert_eq!((lanes.high_water(), lanes.blocked(), lanes.blocked_bytes()), (150, 0, 0));
}
