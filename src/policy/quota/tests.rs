use proptest::prelude::*;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let mut rate = Gcra::default();
    for _ in 0..200 {
        rate.check(5, 100, 200).unwrap();
    }
    assert_eq!(rate.check(5, 100, 200), Err(10));
    assert_eq!(rate.check(9_004, 100, 200), Err(2));
    rate.check(10_005, 100, 200).unwrap();
    assert!(rate.check(10_005, 100, 200).is_err());
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let mut rate = Gcra::default();
    assert!((0..10_000).all(|_| rate.check(0, 0, 0).is_ok()));
}

#[test]
fn a_state_is_eight_bytes() {
    assert_eq!(std::mem::size_of::<Gcra>(), 8);
}

proptest! {
    #[test]
    fn no_window_passes_more_than_burst_and_rate(
        per_second in 1u32..5_000, burst in 1u32..50, steps in prop::collection::vec(0u64..3_000, 1..400),
    ) {
        let mut rate = Gcra::default();
        let mut now = 0;
        let mut passed = 0u64;
        for step in steps {
            now += step;
            passed += u64::from(rate.check(now, per_second, burst).is_ok());
            prop_assert!(passed <= u64::from(burst) + now * u64::from(per_second) / SECOND_US + 1);
        }
    }

    #[test]
    fn who_waits_as_told_is_admitted(per_second in 1u32..5_000, burst in 1u32..50) {
        let mut rate = Gcra::default();
        let mut now = 0;
        for _ in 0..200 {
            if let Err(ms) = rate.check(now, per_second, burst) {
                now += u64::from(ms) * 1_000;
                prop_assert!(rate.check(now, per_second, burst).is_ok());
            }
        }
    }
}

#[test]
fn connections_are_counted_by_address_and_released_on_drop() {
    let connections = Connections::new(ConnectionLimits { per_address: 2, ..Default::default() });
    let a = address("10.0.0.1");
    let first = connections.admit_address(a).unwrap();
    let _second = connections.admit_address(address("::ffff:10.0.0.1")).unwrap();
    let refused = connections.admit_address(a).unwrap_err();
    assert_eq!(refused.reason, CloseReason::TooManyConnections);
    assert_eq!(connections.total(), 2);
    let other = connections.admit_address(address("10.0.0.2")).unwrap();
    drop(other);
    drop(first);
    connections.admit_address(a).unwrap();
    assert_eq!(connections.addresses.lock().len(), 1);
}

#[test]
fn addresses_of_one_ipv6_network_count_together() {
    let connections = Connections::new(ConnectionLimits { per_address: 1, ..Default::default() });
    let _one = connections.admit_address(address("2001:db8:1:2::1")).unwrap();
    assert!(connections.admit_address(address("2001:db8:1:2:ffff::9")).is_err());
    assert!(connections.admit_address(address("2001:db8:1:3::1")).is_ok());
}

#[test]
fn the_whole_process_has_a_limit_too() {
    let connections = Connections::new(ConnectionLimits { total: 1, ..Default::default() });
    let one = connections.admit_address(address("10.0.0.1")).unwrap();
    assert!(connections.admit_address(address("10.0.0.2")).is_err());
    drop(one);
    assert!(connections.admit_address(address("10.0.0.2")).is_ok());
    assert_eq!(connections.total(), 0);
    assert!(connections.addresses.lock().is_empty());
}

#[test]
fn a_connection_counts_as_the_address_that_it_turns_out_to_be_of() {
    let connections = Connections::new(ConnectionLimits { per_address: 1, ..Default::default() });
    let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
    let mut through_proxy = connections.admit().unwrap();
    through_proxy.count(connections.admit_share(a).unwrap());
    assert!(connections.admit_address(a).is_err());
    assert_eq!(connections.total(), 1, "one of an address too many counts nowhere");
    through_proxy.count(connections.admit_share(b).unwrap());
    assert!(connections.admit_share(a).is_ok() && connections.admit_share(b).is_err());
    drop(through_proxy);
    assert!(connections.addresses.lock().is_empty());
    assert_eq!(connections.total(), 0);
}

#[test]
fn users_are_counted_and_forgotten() {
    let connections = Connections::new(ConnectionLimits { per_user: 1, ..Default::default() });
    let alice: Arc<str> = "alice".into();
    let one = connections.admit_user(&alice).unwrap();
    assert!(connections.admit_user(&alice).unwrap_err().message.contains("user"));
    connections.admit_user(&"bob".into()).unwrap();
    drop(one);
    assert!(connections.users.lock().is_empty());
    connections.admit_user(&alice).unwrap();
}

#[test]
fn the_connections_of_a_user_share_one_rate_until_the_last_goes() {
    let rates = UserRates::new();
    let alice: Arc<str> = "alice".into();
    let (one, two) = (rates.join(&alice), rates.join(&alice));
    let bob = rates.join(&"bob".into());
    one.check(0, 1, 2).unwrap();
    two.check(0, 1, 2).unwrap();
    assert_eq!(one.check(0, 1, 2), Err(1_000));
    bob.check(0, 1, 2).unwrap();
    drop(one);
    assert_eq!(rates.len(), 2);
    assert!(two.check(0, 1, 2).is_err());
    drop((two, bob));
    assert!(rates.is_empty());
}

#[test]
fn threads_together_do_not_pass_more_than_the_burst() {
    let rates = UserRates::new();
    let user: Arc<str> = "u".into();
    // Without it the first thread to end could take the rate away before the next joins.
    let _present = rates.join(&user);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let rate = rates.join(&user);
                scope.spawn(move || (0..100).filter(|_| rate.check(0, 1, 50).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 50);
}
