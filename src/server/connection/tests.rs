use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::super::acceptor::{Door, Face};
use super::super::api::Api;
use super::super::build::build;
use super::super::clock::Clock;
use super::super::config::Config;
use super::super::doorman::{self, Visit};
use super::super::faces::Faces;
use super::super::http::sockjs::Peers;
use super::super::http::{Router, Serving, Template};
use super::super::pool::Pool;
use super::super::shutdown::Closing;
use super::super::socket::Socket;
use super::super::worker::Job;
use super::*;
use crate::backend::Unshared;
use crate::broker::Transport;
use crate::policy::Connections;
use crate::policy::quota::ConnectionLimits;
use crate::transport::memory::pipe;
use crate::transport::websocket::WebSocket;

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

fn pool_of(workers: usize) -> (Api, Pool) {
    let built = build(&Config::default()).unwrap();
    let api = Api::start().unwrap();
    let stomp = Template::parse("/ws").unwrap();
    let (origins, callers, router) = (Arc::default(), Arc::default(), Router::new());
    let (extras, streams) = (Vec::new(), Vec::new());
    let peers = Peers::new(Arc::new(Unshared), None, 0, api.handle());
    let (sockjs, sockjs_extras) = (None, Vec::new());
    let faces = Faces {
        stomp,
        compression: false,
        extras,
        origins,
        callers,
        router,
        streams,
        sockjs,
        sockjs_extras,
        peers,
    };
    let pool =
        Pool::start(workers, &built.broker, Clock::start(), api.handle(), &faces, &Arc::default()).unwrap();
    (api, pool)
}

/// What an idle WebSocket holds beside its session: see ARCHITECTURE.md, where each byte goes.
#[test]
fn an_idle_connection_is_two_small_allocations() {
    assert!(size_of::<Line<Socket, WebSocket>>() <= 256, "{}", size_of::<Line<Socket, WebSocket>>());
    let (_api, pool) = pool_of(1);
    let (tell, told) = oneshot::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (_open, closing) = tokio::sync::watch::channel(false);
    let connections = Arc::new(Connections::new(ConnectionLimits::default()));
    let visit = Visit {
        remote: [127, 0, 0, 1].into(),
        door: Door { face: Face::Http, tls: false },
        certificate: None,
        counted: connections.admit_address([127, 0, 0, 1].into()),
        callers: Arc::default(),
        closing: Closing::new(closing),
    };
    let placed = pool.begin(move |worker| {
        let stream = TcpStream::from_std(stream).unwrap();
        let serving = doorman::serve(worker, stream, visit);
        let _ = tell.send(size_of_val(&serving));
        Box::pin(serving)
    });
    assert!(placed);
    let bytes = told.blocking_recv().unwrap();
    assert!(bytes <= 112, "{bytes}");
    pool.join();
}

/// Has the first worker accept so many connections that nobody says anything on.
fn accept_at_the_first(pool: &Arc<Pool>, count: usize) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let streams: Vec<_> = (0..count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let (tell, told) = oneshot::channel();
    let placing = Arc::clone(pool);
    let accepted: Job = Box::new(move |here| {
        for stream in streams {
            stream.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(stream).unwrap();
            let serve = |_, stream| -> Serving {
                Box::pin(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                })
            };
            placing.place(here, stream, serve);
        }
        let _ = tell.send(());
    });
    assert!(pool.submit(0, accepted).is_ok());
    told.blocking_recv().unwrap();
}

#[test]
fn whoever_accepts_connections_they_go_where_there_are_fewer() {
    let (_api, pool) = pool_of(2);
    let pool = Arc::new(pool);
    accept_at_the_first(&pool, 100);
    assert_eq!(pool.loads(), [50, 50]);
}

#[test]
fn a_worker_that_has_ended_by_a_fault_is_handed_nothing() {
    let (_api, pool) = pool_of(2);
    let pool = Arc::new(pool);
    assert!(pool.submit(1, Box::new(|_| panic!("a fault of a worker"))).is_ok());
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.submit(1, Box::new(|_| ())).is_ok() {
        assert!(Instant::now() < deadline, "the worker does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    accept_at_the_first(&pool, 10);
    assert_eq!(pool.loads(), [10, 0]);
    assert!(pool.begin(|_| Box::pin(std::future::pending())));
    assert_eq!(pool.loads(), [11, 0]);
}

#[test]
fn a_fault_in_the_framing_leaves_nothing_in_the_shard() {
    let (_api, pool) = pool_of(1);
    let (_ours, theirs) = pipe(1_024);
    let (begun, opened) = oneshot::channel();
    let placed = pool.begin(move |worker| {
        Box::pin(async move {
            let shown = Shown::Credentials(Box::default());
            let transport = Transport::Embedded;
            let visitor = Visitor { link: Link::Stream, transport, shown, accepted: worker.now() };
            let mut line = Line::open(&worker, theirs, Faulty, visitor);
            let _ = begun.send(worker.shard.borrow().connections());
            line.take(b"x");
            line.run().await;
        })
    });
    assert!(placed);
    assert_eq!(opened.blocking_recv().unwrap(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.load() > 0 {
        assert!(Instant::now() < deadline, "the connection does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (tell, left) = oneshot::channel();
    let asked = pool.begin(move |worker| {
        Box::pin(async move {
            let _ = tell.send(worker.shard.borrow().connections());
        })
    });
    assert!(asked);
    assert_eq!(left.blocking_recv().unwrap(), 0);
    pool.join();
}
