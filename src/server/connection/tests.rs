use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::super::api::Api;
use super::super::build::build;
use super::super::clock::Clock;
use super::super::config::Config;
use super::super::faces::Faces;
use super::super::http::{Router, Template};
use super::super::pool::Pool;
use super::*;
use crate::transport::memory::pipe;

/// Fails at the first byte.
struct Faulty;

impl Framing for Faulty {
    fn receive(&mut self, _: &[u8], _: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        panic!("a fault of the framing");
    }

    fn set_message_bytes_max(&mut self, _: usize) {}

    fn closing(&mut self) {}

    fn buffered_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_fault_in_the_framing_leaves_nothing_in_the_shard() {
    let built = build(&Config::default()).unwrap();
    let api = Api::start().unwrap();
    let stomp = Template::parse("/ws").unwrap();
    let faces = Faces { stomp, extras: Vec::new(), origins: Arc::default(), router: Router::new() };
    let pool = Pool::start(1, &built.broker, Clock::start(), api.handle(), &faces).unwrap();
    let (_ours, theirs) = pipe(1_024);
    let (begun, opened) = oneshot::channel();
    let placed = pool.begin(move |worker| async move {
        let shown = Shown::Credentials(Box::default());
        let visitor = Visitor { link: Link::Stream, shown, accepted: worker.now() };
        let mut driver = Driver::open(Rc::clone(&worker), Faulty, visitor);
        let _ = begun.send(worker.shard.borrow().connections());
        driver.take(b"x");
        driver.run(theirs).await;
    });
    assert!(placed);
    assert_eq!(opened.blocking_recv().unwrap(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.load() > 0 {
        assert!(Instant::now() < deadline, "the connection does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (tell, left) = oneshot::channel();
    let asked = pool.begin(move |worker| async move {
        let _ = tell.send(worker.shard.borrow().connections());
    });
    assert!(asked);
    assert_eq!(left.blocking_recv().unwrap(), 0);
    pool.join();
}
