//! What every store of cursors does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

use std::sync::Arc;

use stompede::backend::Cursors;
use stompede::model::{Destination, Limits};

/// Makes an empty store within limits.
pub(crate) type Maker = fn(&Limits) -> Arc<dyn Cursors>;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::cursors::judge! { $maker =>
            what_one_device_has_taken_the_other_has_not
            devices_and_queues_are_bounded_and_forgotten
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::cursors::$test($maker);
        })*
    };
}
pub(crate) use judge;

fn few() -> Limits {
    Limits { devices_of_user_max: 2, offline_queues_max: 2, ..Limits::default() }
}

pub(crate) fn what_one_device_has_taken_the_other_has_not(maker: Maker) {
    let (cursors, queue) = (maker(&few()), Destination::of_user("alice", "notes"));
    assert_eq!(cursors.begin(&queue, "phone", 1), None);
    assert_eq!(cursors.begin(&queue, "", 2), None);
    assert_eq!(cursors.advance(&queue, "phone", 7, 3), 0);
    assert_eq!(cursors.advance(&queue, "", 5, 4), 5);
    assert_eq!(cursors.advance(&queue, "", 3, 5), 5, "never back");
    assert_eq!((cursors.begin(&queue, "phone", 6), cursors.begin(&queue, "", 7)), (Some(7), Some(5)));
}

pub(crate) fn devices_and_queues_are_bounded_and_forgotten(maker: Maker) {
    let (cursors, queue) = (maker(&few()), Destination::of_user("alice", "notes"));
    for (n, device) in ["phone", "tablet", "desk"].iter().enumerate() {
        cursors.begin(&queue, device, n as u64);
        cursors.advance(&queue, device, 10 + n as u64, n as u64);
    }
    assert_eq!(cursors.begin(&queue, "tablet", 3), Some(11));
    assert_eq!(cursors.begin(&queue, "phone", 4), None, "it had not been seen for the longest");
    cursors.begin(&Destination::of_user("bob", "notes"), "", 5);
    cursors.begin(&Destination::of_user("carol", "notes"), "", 5);
    assert_eq!(cursors.len(), 2);
    passes(&*cursors, 4);
    assert_eq!((cursors.len(), cursors.begin(&queue, "tablet", 6)), (2, None));
    passes(&*cursors, 9);
    assert!(cursors.is_empty());
}

/// Time goes by until every queue was looked at.
fn passes(cursors: &dyn Cursors, seen_ms: u64) {
    (0..256).for_each(|_| cursors.tick(seen_ms));
}
