//! Messages to single users: no delivery shares its encoding with another.

use std::io;

use super::{Cast, deliver};
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> io::Result<Report> {
    let mut cast = Cast::new(options, "/user/{user}/queue/m", "/user/queue/m", "{user}")?;
    let publishers = (0..options.publishers.max(1))
        .map(|n| cast.add(&format!("publisher{n}"), &[]))
        .collect::<io::Result<Vec<_>>>()?;
    for n in 0..options.connections.unwrap_or(1_000) {
        let user = format!("user{n}");
        let stream = cast.publish(publishers[n % publishers.len()], "", &user);
        let client = cast.add(&user, &[])?;
        cast.subscribe(client, "", &user, vec![stream]);
    }
    deliver(options, cast)
}
