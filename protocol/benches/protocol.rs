//! The hot path: bytes to frames, frames to bytes, bytes to events.
//!
//! `cargo bench -p stompede-protocol`; `-- --test` runs each once.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stompede_protocol::{
    Accepted, Command, Decoder, Frame, HeartBeat, Item, Limits, MessageHead, MessageTail, Millis, Session,
    Version, encode,
};

criterion_group!(benches, decode, encode_frames, session);
criterion_main!(benches);

/// 200 bytes, four headers, as stompjs sends them.
fn send() -> Vec<u8> {
    let head = "SEND\ndestination:/topic/chat/room-4711\ncontent-type:application/json\nreceipt:message-12345\n\
        content-length:89\n\n";
    let body = format!("{:-<89}", "{\"type\":\"TEXT\",\"content\":\"Hello, is anybody there?\"}");
    let frame = [head.as_bytes(), body.as_bytes(), b"\0"].concat();
    assert_eq!(frame.len(), 200);
    frame
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new();
    decoder.set_version(Version::V1_2);
    decoder
}

fn frames(decoder: &mut Decoder, limits: &Limits, mut input: &[u8]) -> usize {
    let mut frames = 0;
    while let Some(item) = decoder.decode(limits, &mut input) {
        frames += usize::from(matches!(black_box(item), Ok(Item::Frame(_))));
    }
    frames
}

fn decode(criterion: &mut Criterion) {
    let limits = Limits::default();
    let frame = send();
    let mut group = criterion.benchmark_group("decode");

    group.throughput(Throughput::Bytes(frame.len() as u64));
    let mut whole = decoder();
    group.bench_function("a SEND of 200 bytes", |bench| {
        bench.iter(|| assert_eq!(frames(&mut whole, &limits, black_box(&frame)), 1));
    });
    let mut cut = decoder();
    group.bench_function("a SEND of 200 bytes, in two pieces", |bench| {
        bench.iter(|| {
            let (first, second) = black_box(&frame).split_at(60);
            assert_eq!(frames(&mut cut, &limits, first) + frames(&mut cut, &limits, second), 1);
        });
    });

    let big = [b"SEND\ndestination:/topic/a\n\n", &vec![b'x'; 1024 * 1024][..], b"\0"].concat();
    group.throughput(Throughput::Bytes(big.len() as u64));
    let mut pieces = decoder();
    group.bench_function("a SEND of 1 MiB up to its NUL, in pieces of 16 KiB", |bench| {
        bench.iter(|| {
            let decoded: usize = big.chunks(16 * 1024).map(|piece| frames(&mut pieces, &limits, piece)).sum();
            assert_eq!(decoded, 1);
        });
    });
    group.finish();
}

fn encode_frames(criterion: &mut Criterion) {
    let headers = [
        ("destination", "/topic/chat/room-4711"),
        ("content-type", "application/json"),
        ("timestamp", "1790000000000"),
        ("user-name", "alice"),
    ];
    let body = [b'x'; 83];
    let mut frame = Frame::new(Command::Message).with_body(body.to_vec());
    frame.headers.extend(headers);
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(4096);
    group.bench_function("a MESSAGE with four headers", |bench| {
        bench.iter(|| {
            out.clear();
            encode(black_box(&frame), Version::V1_2, &mut out);
            black_box(&out);
        });
    });
    let headers = headers.into_iter().collect();
    let tail = MessageTail { destination: "/topic/chat/4711", headers: &headers, own: &[], body: &body };
    group.bench_function("the tail of a MESSAGE with four headers", |bench| {
        bench.iter(|| {
            out.clear();
            black_box(&tail).encode(Version::V1_2, &mut out);
            black_box(&out);
        });
    });
    group.bench_function("the head of a MESSAGE", |bench| {
        let head = MessageHead { subscription: Some("sub-0"), message_id: "1f-123456", ack: None };
        bench.iter(|| {
            out.clear();
            black_box(&head).encode(Version::V1_2, &mut out);
            black_box(&out);
        });
    });
    group.finish();
}

fn session(criterion: &mut Criterion) {
    let limits = Arc::new(Limits::default());
    let open = || {
        let mut session = Session::new(Arc::clone(&limits), HeartBeat::default(), Millis(0));
        let mut input = &b"CONNECT\naccept-version:1.2\nhost:h\n\n\0"[..];
        assert!(session.receive(Millis(0), &mut input).is_some());
        session.accept(Millis(0), Accepted { session: "1", server: "s", ..Accepted::default() });
        while session.poll_transmit().is_some() {}
        session
    };
    let mut group = criterion.benchmark_group("session");
    let frame = send();
    let mut session = open();
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("a SEND of 200 bytes with a receipt not completed", |bench| {
        bench.iter(|| {
            let mut input = &frame[..];
            black_box(session.receive(Millis(0), &mut input)).is_some()
        });
    });
    group.bench_function("CONNECT to CONNECTED", |bench| {
        bench.iter_batched(|| (), |()| open(), BatchSize::SmallInput)
    });
    group.finish();
}
