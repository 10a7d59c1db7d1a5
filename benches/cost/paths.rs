//! The hot paths, with inputs that never change.

use std::hint::black_box;
use std::sync::Arc;

use stompede::broker::Link;
use stompede::features::rooms::enrich;
use stompede::transport::Framing;
use stompede::transport::websocket::WebSocket;
use stompede_protocol::{
    Accepted, Command, Decoder, Event, Frame, HeartBeat, Item, Limits, Millis, Session, Version, encode,
};

use crate::room::{BEAT_MS, CHAT, Room, Scene, utterance};

/// One way through the program.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// So many make the way there small beside them, and take valgrind about a second.
    pub(crate) rounds: u64,
    set_up: fn() -> Round,
}

type Round = Box<dyn FnMut()>;

impl Path {
    /// Walks it `rounds` times, after some that fill what is kept between rounds.
    pub(crate) fn walk(&self, rounds: u64) {
        let mut round = (self.set_up)();
        for _ in 0..WARM_UP + rounds {
            round();
        }
    }
}

/// Every path that is watched.
pub(crate) const PATHS: [Path; 23] = [
    Path { name: "decode", rounds: 2_000, set_up: || decode(SEND_BYTES) },
    Path { name: "decode-in-two-pieces", rounds: 2_000, set_up: || decode(60) },
    Path { name: "encode", rounds: 2_000, set_up: encode_message },
    Path { name: "session-send-with-receipt", rounds: 2_000, set_up: session },
    Path { name: "websocket-frame-in", rounds: 2_000, set_up: websocket_frame_in },
    Path { name: "chat-enrich", rounds: 2_000, set_up: chat_enrich },
    Path { name: "route-tcp-1", rounds: 1_000, set_up: || route(&topic(Link::Stream, 1)) },
    Path { name: "route-tcp-10", rounds: 500, set_up: || route(&topic(Link::Stream, 10)) },
    Path { name: "route-tcp-1000", rounds: 20, set_up: || route(&topic(Link::Stream, 1_000)) },
    Path { name: "route-websocket-1", rounds: 1_000, set_up: || route(&topic(Link::WebSocket, 1)) },
    Path { name: "route-websocket-10", rounds: 500, set_up: || route(&topic(Link::WebSocket, 10)) },
    Path { name: "route-websocket-1000", rounds: 20, set_up: || route(&topic(Link::WebSocket, 1_000)) },
    Path {
        name: "route-own-ids-100",
        rounds: 100,
        set_up: || route(&Scene { own_ids: true, ..topic(Link::WebSocket, 100) }),
    },
    Path {
        name: "route-acknowledged-10",
        rounds: 200,
        set_up: || route(&Scene { ack: "client-individual", ..topic(Link::WebSocket, 10) }),
    },
    Path {
        name: "route-8-kib-10",
        rounds: 500,
        set_up: || route(&Scene { body: &[b'x'; 8 << 10], ..topic(Link::WebSocket, 10) }),
    },
    Path {
        name: "chat-10",
        rounds: 500,
        set_up: || {
            route(&Scene {
                listens: "/topic/chat/4711",
                says: "/app/chat/4711/send",
                ..topic(Link::WebSocket, 10)
            })
        },
    },
    Path {
        name: "chat-kept-10",
        rounds: 500,
        set_up: || {
            route(&Scene {
                listens: "/topic/chat/4711",
                says: "/app/chat/4711/send",
                keeps: 100,
                ..topic(Link::WebSocket, 10)
            })
        },
    },
    Path {
        name: "user-queue",
        rounds: 1_000,
        set_up: || {
            route(&Scene {
                listens: "/user/queue/mail",
                says: "/user/bench/queue/mail",
                ..topic(Link::WebSocket, 1)
            })
        },
    },
    Path {
        name: "work-queue",
        rounds: 1_000,
        set_up: || route(&Scene { listens: "/queue/jobs", says: "/queue/jobs", ..topic(Link::WebSocket, 1) }),
    },
    Path {
        name: "wildcard-10",
        rounds: 500,
        set_up: || route(&Scene { listens: "/topic/news/*", ..topic(Link::WebSocket, 10) }),
    },
    Path { name: "subscribe-and-unsubscribe", rounds: 1_000, set_up: || hundred(Room::resubscribe) },
    Path { name: "come-and-go", rounds: 500, set_up: || hundred(Room::come_and_go) },
    Path { name: "heart-beats-100", rounds: 100, set_up: || hundred(Room::beat) },
];

fn topic(link: Link, subscribers: usize) -> Scene<'static> {
    Scene { link, subscribers, ..Scene::default() }
}

/// A SEND of 200 bytes, the first `cut` of them first.
fn decode(cut: usize) -> Round {
    let (limits, frame) = (Limits::default(), send());
    let mut decoder = Decoder::new();
    decoder.set_version(Version::V1_2);
    Box::new(move || {
        let mut frames = 0;
        let (first, second) = black_box(&frame).split_at(cut);
        for mut input in [first, second] {
            while let Some(item) = decoder.decode(&limits, &mut input) {
                frames += usize::from(matches!(black_box(item), Ok(Item::Frame(_))));
            }
        }
        assert_eq!(frames, 1);
    })
}

/// A MESSAGE with four headers.
fn encode_message() -> Round {
    let mut frame = Frame::new(Command::Message).with_body(vec![b'x'; 83]);
    frame.headers.extend([
        ("destination", "/topic/chat/room-4711"),
        ("content-type", "application/json"),
        ("timestamp", "1790000000000"),
        ("user-name", "alice"),
    ]);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        encode(black_box(&frame), Version::V1_2, &mut out);
        black_box(&out);
    })
}

/// A SEND of 200 bytes, and its RECEIPT.
fn session() -> Round {
    let frame = send();
    let mut session = Session::new(Arc::new(Limits::default()), HeartBeat::default(), Millis(0));
    let mut input = &b"CONNECT\naccept-version:1.2\nhost:h\n\n\0"[..];
    assert!(session.receive(Millis(0), &mut input).is_some());
    session.accept(Millis(0), Accepted { session: "1", server: "s", ..Accepted::default() });
    Box::new(move || {
        let Some(Event::Send(send)) = session.receive(Millis(0), &mut black_box(&frame[..])) else {
            unreachable!("a SEND");
        };
        session.complete(send.receipt.expect("a receipt"));
        while let Some(bytes) = session.poll_transmit() {
            black_box(bytes);
        }
    })
}

/// A masked text message of 200 bytes.
fn websocket_frame_in() -> Round {
    let mut socket = WebSocket::new(1 << 20);
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let masked = send().into_iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key);
    let head = [0x81, 0x80 | 126, 0, SEND_BYTES as u8];
    let frame: Vec<u8> = head.into_iter().chain(key).chain(masked).collect();
    Box::new(move || {
        let mut bytes = 0;
        let taken = socket.receive(black_box(&frame), &mut |incoming| {
            if let stompede::transport::Incoming::Payload { bytes: payload, .. } = incoming {
                bytes += payload.len();
            }
        });
        assert!(taken.is_ok() && bytes == SEND_BYTES);
    })
}

/// A chat message of 130 bytes, checked, and told who, when and where.
fn chat_enrich() -> Round {
    Box::new(|| {
        let utterance = utterance();
        assert!(black_box(enrich(black_box(CHAT), &utterance)).is_ok());
    })
}

/// One SEND through a worker's core, from its bytes to those that every socket takes.
fn route(scene: &Scene<'_>) -> Round {
    let mut room = Room::of(scene);
    Box::new(move || room.say())
}

/// Something else that happens to a room of a hundred, who have heart-beats.
fn hundred(what: fn(&mut Room)) -> Round {
    let connect = format!("heart-beat:{BEAT_MS},{BEAT_MS}\n");
    let mut room = Room::of(&Scene { connect: &connect, ..topic(Link::Stream, 100) });
    Box::new(move || what(&mut room))
}

/// Four headers, as stompjs sends them.
fn send() -> Vec<u8> {
    let head = "SEND\ndestination:/topic/chat/room-4711\ncontent-type:application/json\nreceipt:message-12345\n\
        content-length:89\n\n";
    let body = format!("{:-<89}", "{\"type\":\"TEXT\",\"content\":\"Hello, is anybody there?\"}");
    let frame = [head.as_bytes(), body.as_bytes(), b"\0"].concat();
    assert_eq!(frame.len(), SEND_BYTES);
    frame
}

const SEND_BYTES: usize = 200;

const WARM_UP: u64 = 20;
