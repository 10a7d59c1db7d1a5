use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { waiting_bytes_max: 100, unread_bytes_max: 100, unanswered_bytes_max: 60 };

fn opened() -> State {
    let mut state = State::new(BOUNDS);
    assert_eq!(state.attach(), Attached::Yes);
    assert_eq!(taken(&mut state).as_deref(), Some("o"));
    state
}

fn taken(state: &mut State) -> Option<String> {
    state.take(1_000).map(|frame| String::from_utf8(frame).unwrap())
}

#[test]
fn what_waits_is_one_frame_for_the_next_receiver() {
    let mut state = opened();
    assert_eq!(taken(&mut state), None);
    state.detach(true);
    state.push("x");
    state.write(b"a[\"y\"]\nh\na[\"z\"");
    assert_eq!(state.attach(), Attached::Yes);
    assert_eq!(taken(&mut state).as_deref(), Some("a[\"x\",\"y\"]"));
    assert_eq!(taken(&mut state), None, "a line that is not complete");
    state.write(b"]\n");
    assert_eq!(taken(&mut state).as_deref(), Some("a[\"z\"]"));
}

#[test]
fn a_frame_holds_about_as_much_as_it_may() {
    let mut state = opened();
    ["aaaa", "bbbb", "cccc"].into_iter().for_each(|text| state.push(text));
    assert_eq!(state.take(14).as_deref(), Some(&b"a[\"aaaa\",\"bbbb\"]"[..]));
    assert_eq!(state.take(1).as_deref(), Some(&b"a[\"cccc\"]"[..]));
}

#[test]
fn a_second_receiver_is_turned_away_and_changes_nothing() {
    let mut state = opened();
    assert_eq!(state.attach(), Attached::No("c[2010,\"Another connection still open\"]"));
    state.push("x");
    assert_eq!(taken(&mut state).as_deref(), Some("a[\"x\"]"));
}

#[test]
fn the_last_word_comes_after_what_waits_and_again_and_again() {
    let mut state = opened();
    state.write(b"a[\"x\"]\nc[1008,\"kicked\"]\na[\"late\"]\n");
    state.end(frame::GO_AWAY);
    assert_eq!(taken(&mut state).as_deref(), Some("a[\"x\"]"));
    for _ in 0..2 {
        assert_eq!(taken(&mut state).as_deref(), Some("c[1008,\"kicked\"]"));
        state.detach(true);
        assert_eq!(state.attach(), Attached::Yes);
    }
    assert!(state.is_told() && state.is_ended());
}

#[test]
fn who_vanishes_while_receiving_ends_the_session() {
    let mut state = opened();
    state.push("x");
    state.receive(vec!["said before".to_owned()]);
    state.detach(false);
    assert!(state.has_hung_up());
    assert_eq!(state.next_message().as_deref(), Some("said before"));
    assert_eq!(state.attach(), Attached::Yes);
    assert_eq!(taken(&mut state).as_deref(), Some("c[1002,\"Connection interrupted\"]"));
    state.push("y");
    state.write(b"a[\"z\"]\n");
    state.receive(vec!["late".to_owned()]);
    assert_eq!(
        (taken(&mut state).as_deref(), state.next_message()),
        (Some("c[1002,\"Connection interrupted\"]"), None)
    );
}

#[test]
fn why_it_ended_outlives_a_receiver_that_vanished_before_it_knew() {
    let mut state = opened();
    state.write(b"a[\"x\"]\nc[1008,\"kicked\"]\n");
    state.detach(false);
    assert_eq!(state.attach(), Attached::Yes);
    assert_eq!(taken(&mut state).as_deref(), Some("a[\"x\"]"));
    assert_eq!(taken(&mut state).as_deref(), Some("c[1008,\"kicked\"]"));
}

#[test]
fn who_leaves_after_the_last_word_has_missed_nothing() {
    let mut state = opened();
    state.end("c[3000,\"Go away!\"]");
    assert_eq!(taken(&mut state).as_deref(), Some("c[3000,\"Go away!\"]"));
    state.detach(false);
    assert_eq!(state.attach(), Attached::Yes);
    assert_eq!(taken(&mut state).as_deref(), Some("c[3000,\"Go away!\"]"));
}

#[test]
fn both_sides_are_bounded_and_each_takes_one_of_any_size() {
    let mut state = opened();
    assert!(state.has_room() && state.has_room_for_messages());
    state.push(&"x".repeat(500));
    state.receive(vec!["y".repeat(500)]);
    assert!(!state.has_room() && !state.has_room_for_messages());
    assert!(taken(&mut state).is_some());
    assert!(state.has_room());
    let mut out = [0; 450];
    assert_eq!(state.read(&mut out), 450);
    assert!(state.has_room_for_messages(), "98 of 100");
    assert_eq!(state.read(&mut out), 50);
    assert_eq!(state.read(&mut out), 0);
    state.write(&[b'x'; 500]);
    assert!(state.has_room(), "a line must be able to come to its end");
}

#[test]
fn many_small_messages_are_bounded_by_what_they_take() {
    let mut state = opened();
    state.push("");
    assert!(state.has_room());
    ["x", "x"].into_iter().for_each(|text| state.push(text));
    assert!(!state.has_room(), "two bytes, but three messages");
    assert!(taken(&mut state).is_some() && state.has_room());
    state.receive(vec![String::new(); 1_000]);
    assert!(state.has_room_for_messages() && state.unread.is_empty(), "of these nothing is left");
    state.receive(vec!["x".to_owned(); 3]);
    assert!(!state.has_room_for_messages());
    assert_eq!(state.next_message().as_deref(), Some("x"));
    assert_eq!(state.read(&mut [0; 8]), 2);
    assert_eq!((state.unread_bytes, state.waiting_bytes), (0, 0));
}

#[test]
fn who_was_not_answered_yet_brings_less() {
    let mut state = opened();
    assert_eq!(state.request_bytes_max(), 60);
    state.receive(vec!["x".repeat(20)]);
    assert!(!state.has_room_for_messages());
    state.write(b"h\n");
    assert_eq!(state.request_bytes_max(), 60, "a sign of life is no answer");
    state.push("hello");
    assert_eq!(state.request_bytes_max(), 100);
    assert!(state.has_room_for_messages());
}

proptest! {
    #[test]
    fn however_lines_are_cut_the_same_messages_wait(
        texts in prop::collection::vec("\\PC{0,12}", 0..8),
        cuts in prop::collection::vec(1usize..7, 1..60),
    ) {
        let lines: Vec<u8> = texts.iter().flat_map(|text| (frame::message(text) + "\n").into_bytes()).collect();
        let mut state = opened();
        let mut rest = &lines[..];
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() { break }
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            state.write(piece);
            rest = left;
        }
        let mut got = Vec::new();
        while let Some(frame) = state.take(1) {
            got.extend(frame::messages(&frame[1..]).unwrap());
        }
        prop_assert_eq!(got, texts);
    }

    #[test]
    fn a_handler_reads_the_bytes_of_all_messages_in_order(
        texts in prop::collection::vec("[a-z]{0,9}", 0..8),
        size in 1usize..7,
    ) {
        let mut state = opened();
        state.receive(texts.clone());
        let mut got = Vec::new();
        let mut out = vec![0; size];
        loop {
            let count = state.read(&mut out);
            if count == 0 { break }
            got.extend_from_slice(&out[..count]);
        }
        prop_assert_eq!(got, texts.concat().into_bytes());
        prop_assert_eq!(state.unread_bytes, 0);
    }
}
