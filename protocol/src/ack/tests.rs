use super::*;

fn ledger(deliveries: u64) -> Ledger {
    let mut ledger = Ledger::new();
    for tag in 1..=deliveries {
        assert_eq!(ledger.push(tag * 10, 1_000), Some(tag));
    }
    ledger
}

fn tags(ledger: &Ledger) -> Vec<u64> {
    ledger.tags().collect()
}

#[test]
fn a_client_ack_covers_all_earlier_deliveries() {
    let mut ledger = ledger(4);
    let numbers = ledger.covered(3, AckMode::Client).unwrap();
    assert_eq!(ledger.settle(&numbers)[..], [10, 20, 30]);
    assert_eq!(tags(&ledger), [40]);
    assert_eq!(ledger.covered(2, AckMode::Client), None, "settled already");
}

#[test]
fn an_individual_ack_covers_its_delivery_alone() {
    let mut ledger = ledger(4);
    for (number, left) in [(3, vec![10, 20, 40]), (1, vec![20, 40]), (4, vec![20])] {
        let numbers = ledger.covered(number, AckMode::ClientIndividual).unwrap();
        assert_eq!(ledger.settle(&numbers)[..], [number * 10]);
        assert_eq!(tags(&ledger), left);
        assert_eq!(ledger.covered(number, AckMode::ClientIndividual), None);
    }
}

#[test]
fn cumulative_settling_passes_over_gaps() {
    let mut ledger = ledger(6);
    ledger.settle(&[2]);
    ledger.settle(&[4]);
    let numbers = ledger.covered(5, AckMode::Client).unwrap();
    assert_eq!(numbers[..], [1, 3, 5]);
    assert_eq!(ledger.settle(&numbers)[..], [10, 30, 50]);
    assert_eq!(tags(&ledger), [60]);
}

#[test]
fn what_a_transaction_holds_is_neither_covered_nor_gone() {
    let mut ledger = ledger(3);
    ledger.hold(&[1, 2]);
    assert_eq!(ledger.covered(2, AckMode::ClientIndividual), None);
    assert_eq!(ledger.covered(3, AckMode::Client).unwrap()[..], [3]);
    assert_eq!(ledger.len(), 3);
    ledger.unhold(&[1, 2]);
    assert_eq!(ledger.covered(3, AckMode::Client).unwrap()[..], [1, 2, 3]);
    assert_eq!(ledger.settle(&[1, 2, 7])[..], [10, 20], "what is gone is passed over");
}

#[test]
fn a_full_ledger_takes_nothing_until_something_is_settled() {
    let mut ledger = Ledger::new();
    assert_eq!((ledger.push(1, 2), ledger.push(2, 2), ledger.push(3, 2)), (Some(1), Some(2), None));
    ledger.settle(&[1]);
    assert_eq!(ledger.push(3, 2), Some(3), "a refused delivery takes no number");
    assert!(!ledger.is_empty());
}

#[test]
fn an_ack_id_is_what_follows_the_last_at_sign() {
    let id = AckId { subscription: SubscriptionKey(7), number: 42 };
    assert_eq!(id.on_wire("m@1"), "m@1@7-42");
    assert_eq!(AckId::parse("m@1@7-42"), Some(id));
    for text in
        ["7-42", "m@7", "m@7-", "m@-42", "m@7-4x", "m@+7-42", "m@7--42", "m@4294967296-1", "m@7-42@", ""]
    {
        assert_eq!(AckId::parse(text), None, "{text:?}");
    }
}

#[test]
fn each_version_knows_its_ack_modes() {
    for version in Version::ALL {
        assert_eq!(AckMode::parse(None, version), Ok(AckMode::Auto));
        for mode in [AckMode::Auto, AckMode::Client] {
            assert_eq!(AckMode::parse(Some(mode.as_str()), version), Ok(mode));
        }
        let individual = AckMode::parse(Some("client-individual"), version);
        assert_eq!(individual.is_ok(), version > Version::V1_0);
        assert!(AckMode::parse(Some("bogus"), version).is_err());
        assert!(AckMode::parse(Some("Auto"), version).is_err());
    }
}
