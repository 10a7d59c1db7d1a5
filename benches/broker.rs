//! What a publish costs: from the bytes of a SEND to the bytes in its receivers' sockets, and the parts of that way.
//!
//! `cargo bench --bench broker`; `-- --test` runs each once. Figures in `benches/README.md`.

#[path = "support/room.rs"]
mod room;

use std::hint::black_box;
use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use flate2::{Compress, Compression, FlushCompress};
use stompede::broker::Link;
use stompede::features::rooms::enrich;
use stompede::model::trie::Trie;
use stompede::model::{Address, Delivery, Destination, Message, MessageId, Overflow, Pattern};
use stompede::routing::Outbox;
use stompede::transport::encode::{Wire, encoders, kind};
use stompede::transport::websocket::{Deflated, WebSocket};
use stompede::transport::{Framing, Incoming};
use stompede_protocol::{Headers, Version};

use room::{BEAT_MS, CHAT, Room, Scene, TOPIC, utterance};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    targets = route, sessions, encode, deflate, outbox, trie, chat, presence
}
criterion_main!(benches);

/// One SEND through a worker's core: decoded, checked, routed, delivered, and taken by every socket.
fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for (link, subscribers) in
        [(Link::Stream, 1), (Link::Stream, 10), (Link::Stream, 1_000), (Link::WebSocket, 1_000)]
    {
        let mut room = Room::of(&Scene { link, subscribers, ..Scene::default() });
        group.throughput(Throughput::Elements(subscribers as u64));
        group.bench_function(BenchmarkId::new(format!("{link:?}"), subscribers), |bencher| {
            bencher.iter(|| room.say());
        });
        assert_eq!(room.deliveries() % subscribers as u64, 0, "a delivery was lost");
    }
    group.finish();
}

/// What clients do beside talking, in a room of a thousand.
fn sessions(criterion: &mut Criterion) {
    let connect = format!("heart-beat:{BEAT_MS},{BEAT_MS}\n");
    let mut room = Room::of(&Scene { connect: &connect, subscribers: RECEIVERS, ..Scene::default() });
    let mut group = criterion.benchmark_group("session");
    group.bench_function("UNSUBSCRIBE and SUBSCRIBE", |bencher| bencher.iter(|| room.resubscribe()));
    group.bench_function("come, subscribe and go", |bencher| bencher.iter(|| room.come_and_go()));
    group.throughput(Throughput::Elements(RECEIVERS as u64));
    group.bench_function("1,000 heart-beats both ways", |bencher| bencher.iter(|| room.beat()));
    group.finish();
}

/// One message for a thousand receivers: encoded for each, or once and shared.
fn encode(criterion: &mut Criterion) {
    let all = encoders();
    let encoder = all.of(kind(Wire::Text, Version::V1_2));
    let message = message();
    let delivery = Delivery {
        message: &message,
        subscription: Some("sub-0"),
        shown: TOPIC,
        ack: None,
        redelivered: None,
    };
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(RECEIVERS as u64));
    let mut frames: Vec<Bytes> = Vec::with_capacity(RECEIVERS);
    group.bench_function("for each receiver", |bencher| {
        bencher.iter(|| {
            frames.clear();
            frames.extend((0..RECEIVERS).map(|_| encoder.whole(black_box(&delivery))));
        });
    });
    group.bench_function("once for all", |bencher| {
        bencher.iter(|| {
            frames.clear();
            let frame = encoder.whole(black_box(&delivery));
            frames.extend((0..RECEIVERS).map(|_| frame.clone()));
        });
    });
    group.bench_function("head for each, tail for all", |bencher| {
        bencher.iter(|| {
            frames.clear();
            let tail = encoder.tail(black_box(&delivery));
            frames.extend((0..RECEIVERS).map(|_| encoder.head(&delivery, &tail)));
        });
    });
    group.finish();
}

/// What compression costs, and what it saves: a publish with and without it, by the size of the body, and what a client
/// sends.
fn deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    let prices = prices();
    for size in [128, 512, 2 << 10, 16 << 10, 64 << 10] {
        let body = if size == CHAT.len() { CHAT } else { &prices[..size] };
        for subscribers in [1, 1_000] {
            for link in [Link::WebSocket, Link::DeflateWebSocket] {
                let mut room = Room::of(&Scene { link, subscribers, body, ..Scene::default() });
                let before = room.taken_bytes();
                room.say();
                let bytes = (room.taken_bytes() - before) / subscribers;
                println!("{link:?}, {subscribers} x {size} bytes: {bytes} bytes a delivery");
                group.throughput(Throughput::Elements(subscribers as u64));
                group.bench_function(format!("{link:?}, {subscribers} x {size}"), |bencher| {
                    bencher.iter(|| room.say());
                });
            }
        }
        receive(&mut group, size, body);
    }
    group.finish();
}

/// A message of a client through the framing.
fn receive(group: &mut BenchmarkGroup<'_, WallTime>, size: usize, body: &[u8]) {
    let mut compressed = Vec::with_capacity(body.len() + 1_000);
    let mut compress = Compress::new(Compression::default(), false);
    let compressing = compress.compress_vec(body, &mut compressed, FlushCompress::Sync);
    compressing.expect("there is room");
    compressed.truncate(compressed.len() - 4);
    let (plain, compressed) = (client_frame(0x82, body), client_frame(0xc2, &compressed));
    let (mut websocket, mut deflated) = (WebSocket::new(1 << 20), Deflated::new(1 << 20));
    group.throughput(Throughput::Elements(1));
    for (name, framing, frame) in [
        ("receive plain", &mut websocket as &mut dyn Framing, plain),
        ("receive compressed", &mut deflated, compressed),
    ] {
        group.bench_function(format!("{name}, {size}"), |bencher| {
            bencher.iter(|| {
                let mut received = 0;
                let taken = framing.receive(black_box(&frame), &mut |incoming| {
                    if let Incoming::Payload { bytes, .. } = incoming {
                        received += bytes.len();
                    }
                });
                assert_eq!((taken, received), (Ok(()), size));
            });
        });
    }
}

/// A masked frame; the key 0 costs as much as any.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// JSON as a market sends it.
fn prices() -> Vec<u8> {
    let tick = |n: u64| {
        let (bid, ask) = (n * 7_919 % 100_000, n * 7_907 % 100_000);
        format!(r#"{{"symbol":"S{}","bid":{bid},"ask":{ask},"trader":"trader {}"}},"#, n % 97, n * n % 1_013)
    };
    (1..2_000).map(tick).collect::<String>().into_bytes()
}

/// What waits for one socket: pushed frame by frame, written in a few large writes.
fn outbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbox");
    group.throughput(Throughput::Elements(RECEIVERS as u64));
    let frame = Bytes::from(vec![b'x'; 300]);
    group.bench_function("push, gather, advance", |bencher| {
        bencher.iter_batched_ref(
            Outbox::default,
            |outbox| {
                for _ in 0..RECEIVERS {
                    outbox.push(frame.clone(), None, Overflow::Close, usize::MAX);
                }
                while !outbox.is_empty() {
                    let mut slices = [IoSlice::new(&[]); 256];
                    let count = outbox.gather(&mut slices);
                    let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
                    outbox.advance(black_box(bytes));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Who of ten thousand patterns wants a destination.
fn trie(criterion: &mut Criterion) {
    let mut trie = Trie::new();
    for n in 0..10_000_u32 {
        let text = match n % 4 {
            0 => format!("/topic/tenant-{n}/**"),
            1 => format!("/topic/tenant-{n}/*/orders"),
            2 => format!("/topic/*/{n}/orders"),
            _ => format!("/topic/tenant-{}/eu/{n}", n % 100),
        };
        trie.insert(&Pattern::parse(&text).expect("a pattern"), n);
    }
    let destination = destination("/topic/tenant-4000/eu/orders");
    let mut matches = 0;
    trie.for_each_match(&destination, |_| matches += 1);
    assert_eq!(matches, 1);
    criterion.bench_function("trie/match among 10,000 patterns", |bencher| {
        bencher.iter(|| {
            let mut found = 0;
            trie.for_each_match(black_box(&destination), |n| found = *n);
            found
        });
    });
}

/// A chat message: checked, and told who, when and where.
fn chat(criterion: &mut Criterion) {
    let utterance = utterance();
    assert!(enrich(CHAT, &utterance).is_ok());
    let mut group = criterion.benchmark_group("chat");
    group.throughput(Throughput::Bytes(CHAT.len() as u64));
    group.bench_function("enrich", |bencher| bencher.iter(|| enrich(black_box(CHAT), &utterance)));
    group.finish();
}

/// A crowd enters one room, from the bytes of their SUBSCRIBEs to what each hears of the others.
fn presence(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("presence");
    group.sample_size(10).throughput(Throughput::Elements(CROWD as u64));
    group.bench_function("join", |bencher| {
        bencher.iter_batched_ref(|| Room::of_strangers(CROWD), Room::join, BatchSize::PerIteration);
    });
    group.finish();
}

fn message() -> Message {
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    Message {
        id: MessageId { node: 0xfeed, number: 12_345 },
        destination: destination(TOPIC),
        timestamp_ms: 1_800_000_000_000,
        sender: Some("alice".into()),
        headers,
        body: Bytes::from_static(CHAT),
        text: true,
    }
}

fn destination(text: &str) -> Destination {
    match Address::of_send(text) {
        Ok(Address::Topic(destination)) => destination,
        other => unreachable!("{other:?}"),
    }
}

const RECEIVERS: usize = 1_000;

const CROWD: usize = 10_000;
