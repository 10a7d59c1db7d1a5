//! What the fuzz targets do with their bytes; the stable tests do the same with the corpus and with random bytes.

use std::collections::BTreeSet;

use stompede_protocol::{
    AckMode, Client, ClientEvent, Command, Decoder, Frame, HeartBeat, Introduction, Item, Limits, Millis,
    Version, Violation, encode,
};

use super::Server;
use super::pair::Pair;

type Decoded = Vec<Result<Item, Violation>>;

/// Small, so that short inputs cross them.
pub(crate) fn small_limits() -> Limits {
    Limits {
        head_bytes_max: 256,
        headers_max: 8,
        body_bytes_max: 512,
        unconnected_bytes_max: 256,
        subscriptions_max: 4,
        subscription_id_bytes_max: 16,
        unacked_max: 4,
        transactions_max: 2,
        transaction_bytes_max: 2_048,
        ..Limits::default()
    }
}

/// The first byte chooses version and cut, the rest is decoded: whole and cut, with equal results and within limits;
/// and each frame survives being encoded.
pub(crate) fn decoder(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let version = version_of(*choice);
    let piece_bytes = usize::from(choice >> 2) + 1;
    let whole = decode(&small_limits(), version, bytes, usize::MAX);
    assert_eq!(whole, decode(&small_limits(), version, bytes, piece_bytes), "cut into {piece_bytes}");
    for item in whole.into_iter().flatten() {
        if let Item::Frame(frame) = item {
            assert!(frame.headers.len() <= 8 && frame.body.len() <= 512);
            round_trip(&frame, version);
        }
    }
}

/// The first byte chooses the cut, the rest is what a stranger sends: what the session says is STOMP, and nothing
/// follows an ERROR.
pub(crate) fn session(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let limits = small_limits();
    let mut server = Server::new(limits.clone());
    for piece in bytes.chunks(usize::from(*choice) + 1) {
        server.feed(piece);
        let transactions = limits.transactions_max * limits.transaction_bytes_max;
        let held = server.session.buffered_bytes();
        assert!(held <= 256 + 512 + 1_024 + transactions, "{held}");
        assert!(server.session.subscriptions().count() <= limits.subscriptions_max);
        for subscription in server.session.subscriptions() {
            assert!(server.session.unacked(subscription.key) <= limits.unacked_max);
        }
    }
    let mut client = Client::new(Limits::default());
    let out = server.take().concat();
    let mut said = &out[..];
    let mut heard: Vec<_> = std::iter::from_fn(|| client.receive(Millis(0), &mut said)).collect();
    assert!(!heard.iter().any(|event| matches!(event, ClientEvent::Violation(_))), "{heard:?}");
    let errors = heard.iter().filter(|event| matches!(event, ClientEvent::Error(_))).count();
    assert!(errors <= 1);
    if errors == 1 {
        assert!(matches!(heard.pop(), Some(ClientEvent::Error(_))), "something follows the ERROR");
        assert!(server.session.is_closed());
    }
}

/// Each byte is a verb of a client that knows STOMP but not what makes sense: whatever it says, it understands the
/// answers, each receipt comes at most once, and only what was outstanding is settled, once.
pub(crate) fn pair(input: &[u8]) {
    let [choice, piece, verbs @ ..] = input else { return };
    let version = version_of(*choice);
    let mut pair = Pair::new(small_limits());
    pair.piece_bytes = usize::from(*piece) + 1;
    let heart_beat = HeartBeat { send_ms: 2_000, receive_ms: 2_000 };
    pair.client.connect(&Introduction { versions: &[version], heart_beat, ..Introduction::default() });
    let mut messages = Vec::new();
    let mut receipts = BTreeSet::new();
    for (number, verb) in verbs.iter().take(200).enumerate() {
        speak(&mut pair, *verb, &number.to_string(), &messages);
        pair.drive();
        for event in pair.heard.drain(..) {
            match event {
                ClientEvent::Message(frame) => messages.push(frame),
                ClientEvent::Receipt(id, _) => {
                    assert!(receipts.insert(id.clone()), "receipt {id} came twice")
                }
                ClientEvent::Violation(violation) => panic!("the server misbehaved: {violation}"),
                ClientEvent::Connected(_) | ClientEvent::Error(_) | ClientEvent::HeartBeat => {}
            }
        }
    }
    let mut settled = [&pair.server.acked[..], &pair.server.nacked, &pair.server.returned].concat();
    settled.sort_unstable();
    // Three subscriptions at most got the same message.
    assert!(settled.windows(4).all(|tags| tags[0] != tags[3]), "a message was settled twice: {settled:?}");
}

fn speak(pair: &mut Pair, verb: u8, number: &str, messages: &[Frame]) {
    let (what, which) = (verb & 0x0f, usize::from(verb >> 4));
    let name = ["0", "1", "2"][which % 3];
    let queue = ["/queue/a", "/queue/b", "/topic/a", "/a:b\\c"][which % 4];
    let receipt = [("receipt", number), ("transaction", name)];
    let headers = if which >= 8 { &receipt[..] } else { &receipt[..1] };
    let message = messages.iter().rev().nth(which);
    let modes = [AckMode::Auto, AckMode::Client, AckMode::ClientIndividual];
    match what {
        0..=2 => pair.client.subscribe(name, queue, modes[usize::from(what)], headers),
        3 => pair.client.unsubscribe(name, headers),
        4..=6 => pair.client.send(queue, headers, vec![verb; which]),
        7 | 8 => message.into_iter().for_each(|message| pair.client.ack(message, headers)),
        9 => message.into_iter().for_each(|message| pair.client.nack(message, headers)),
        10 => pair.client.begin(name, headers),
        11 => pair.client.commit(name, headers),
        12 => pair.client.abort(name, headers),
        13 if which == 15 => pair.client.disconnect(Some(number)),
        13 => {
            pair.client.frame(&Frame::new(Command::Send).with("destination", queue).with("a:b", "c\r\nd\\:"))
        }
        _ => pair.advance(300 * which as u64),
    }
}

/// All items of `bytes` in pieces; the memory held stays below the limits.
pub(crate) fn decode(limits: &Limits, version: Version, bytes: &[u8], piece_bytes: usize) -> Decoded {
    let mut decoder = Decoder::new();
    decoder.set_version(version);
    let mut items = Vec::new();
    for mut piece in bytes.chunks(piece_bytes) {
        while let Some(item) = decoder.decode(limits, &mut piece) {
            items.push(item);
        }
        assert!(piece.is_empty());
        // The book-keeping of headers and boxes comes on top of the texts.
        assert!(decoder.buffered_bytes() <= limits.head_bytes_max + limits.body_bytes_max + 1_024);
    }
    items
}

/// Encodes and decodes again; the frame must be the same but for `content-length` and what the version cannot carry.
pub(crate) fn round_trip(frame: &Frame, version: Version) {
    let mut out = Vec::new();
    encode(frame, version, &mut out);
    let mut decoder = Decoder::new();
    decoder.set_version(version);
    let mut input = &out[..];
    let Some(Ok(Item::Frame(again))) = decoder.decode(&Limits::default(), &mut input) else {
        panic!("{frame:?} became {out:?}");
    };
    assert!(input.is_empty());
    assert_eq!((again.command, &again.body), (frame.command, &frame.body));
    assert_eq!(carried(&again, version), carried(frame, version));
}

/// A CR that came unescaped cannot leave so: only 1.2 has an escape for it.
fn carried(frame: &Frame, version: Version) -> Vec<(String, String)> {
    let escapes = if frame.command.is_escaped() { version } else { Version::V1_0 };
    let blanked =
        |text: &str| if escapes < Version::V1_2 { text.replace('\r', " ") } else { text.to_owned() };
    let trimmed = |text: String| {
        if version == Version::V1_0 { text.trim_matches([' ', '\t']).to_owned() } else { text }
    };
    frame
        .headers
        .iter()
        .filter(|(name, _)| *name != "content-length" && !(escapes == Version::V1_0 && name.contains('\r')))
        .map(|(name, value)| (blanked(name), trimmed(blanked(value))))
        .collect()
}

fn version_of(choice: u8) -> Version {
    Version::ALL[usize::from(choice) % 3]
}
