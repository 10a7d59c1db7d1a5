//! What nodes do with each other.

use super::*;

#[test]
fn what_one_node_puts_another_takes_in_order_and_ends() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/queue/a");
    one.fill(&a, 1..=3);
    let taken: Vec<Queued> = (0..3).map(|_| other.take(&a)).collect();
    assert_eq!(taken.iter().map(|queued| queued.message.id.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(taken[0].message.sender.as_deref(), Some("alice"));
    for queued in &taken {
        assert!(other.port.settle(&a, queued.tag).is_some());
    }
    other.settles();
    assert_eq!(one.look(&a), []);
    assert_eq!(server.cli(&["--scan", "--pattern", "*:q:*"]), "", "an empty queue leaves nothing");
    assert_eq!(server.cli(&["--scan", "--pattern", "*:qm:*"]), "");
}

#[test]
fn nodes_know_who_sees_to_a_message_wherever_that_is() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/app/a");
    let keyed = message(&a, 1, &[("idempotency-key", "k")]);
    let attending = |node: &Node, message: &Message| {
        let (tell, told) = std::sync::mpsc::channel();
        node.port.ask_attending(message, Box::new(move |attending| tell.send(attending).unwrap()));
        told.recv().unwrap()
    };
    assert_eq!(attending(&one, &keyed), Ok(Attending::Nobody));
    other.port.attend(&a, true);
    other.settles();
    assert_eq!(attending(&one, &keyed), Ok(Attending::Somebody));
    assert_eq!(one.put(&a, Arc::clone(&keyed)), Ok(()));
    other.port.attend(&a, false);
    other.settles();
    for node in [&one, &other] {
        assert_eq!(attending(node, &keyed), Ok(Attending::Done));
        for unknown in [&[("idempotency-key", "l")][..], &[]] {
            assert_eq!(attending(node, &message(&a, 2, unknown)), Ok(Attending::Nobody));
        }
    }
}

#[test]
fn a_node_that_waits_is_called_without_asking_again() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/queue/a");
    other.port.attend(&a, true);
    assert!(other.port.take(&a).is_none());
    eventually(|| {
        let state = other.queues.state.lock();
        let local = state.queues.get(&a).ok_or("unknown")?;
        matches!(local.search, local::Search::Waiting(_)).then_some(()).ok_or("not waiting")
    });
    other.settles();
    for number in 1..=20 {
        let begin = Instant::now();
        one.fill(&a, number..=number);
        // Without a tick, nobody asks again.
        eventually(|| other.told.ready.lock().pop().ok_or("not called"));
        assert!(begin.elapsed().as_millis() < 900, "it was called, not just lucky");
        let queued = other.port.take(&a).expect("what is ready can be taken");
        assert_eq!(queued.message.id.number, number);
        assert!(other.port.take(&a).is_none());
        other.port.settle(&a, queued.tag);
        other.settles();
    }
}

#[test]
fn two_nodes_share_a_queue_and_nothing_is_doubled() {
    let server = RedisServer::start();
    let nodes = [Node::new(&server), Node::new(&server)];
    let (a, _) = name("/queue/a");
    nodes.iter().for_each(|node| node.port.attend(&a, true));
    nodes[0].fill(&a, 1..=2_000);
    let taken = Mutex::new([Vec::new(), Vec::new()]);
    std::thread::scope(|scope| {
        for (index, node) in nodes.iter().enumerate() {
            let (taken, a) = (&taken, &a);
            scope.spawn(move || {
                let deadline = Instant::now() + std::time::Duration::from_secs(20);
                while taken.lock().iter().map(Vec::len).sum::<usize>() < 2_000 {
                    assert!(Instant::now() < deadline, "never all");
                    match node.port.take(a) {
                        Some(queued) => {
                            taken.lock()[index].push(queued.message.id.number);
                            node.port.settle(a, queued.tag);
                        }
                        None => {
                            node.port.want(a, 10);
                            std::thread::yield_now();
                        }
                    }
                }
            });
        }
    });
    let taken = taken.into_inner();
    let all: BTreeSet<u64> = taken.iter().flatten().copied().collect();
    assert_eq!(all.len(), taken.iter().map(Vec::len).sum::<usize>(), "one came twice");
    assert_eq!(all.len(), 2_000);
    assert!(taken.iter().all(|taken| taken.len() > 200), "{} and {}", taken[0].len(), taken[1].len());
    nodes.iter().for_each(Node::settles);
    assert_eq!(nodes[0].look(&a), []);
}

#[test]
fn what_a_dead_node_had_comes_back_in_order_when_it_is_buried() {
    let server = RedisServer::start();
    let (one, dead) = (Node::new(&server), Node::new(&server));
    let (a, partition) = name("/queue/a");
    dead.port.attend(&a, true);
    one.fill(&a, 1..=5);
    let taken: Vec<Queued> = (0..3).map(|_| dead.take(&a)).collect();
    dead.port.settle(&a, taken[1].tag);
    let dead = dead.die();
    assert_eq!(one.take_number(&a), (4, 0), "what it had is not taken from it for being slow");
    one.bury(partition, dead);
    assert_eq!([(); 3].map(|()| one.take_number(&a)), [(1, 1), (3, 1), (5, 0)]);
    one.bury(partition, dead);
    assert!(one.port.take(&a).is_none(), "to bury it again brings nothing");
}

#[test]
fn a_node_that_was_buried_takes_nothing_before_it_is_another() {
    let server = RedisServer::start();
    let (one, paused) = (Node::new(&server), Node::new(&server));
    let (a, partition) = name("/queue/a");
    paused.port.attend(&a, true);
    one.fill(&a, 1..=2);
    let held = paused.take(&a);
    let fenced = paused.incarnation();
    paused.settles();
    one.bury(partition, fenced);
    let redelivered = one.take(&a);
    assert_eq!((redelivered.message.id.number, redelivered.deliveries), (1, 1));
    let told = Arc::<AtomicU64>::default();
    let note = Arc::clone(&told);
    paused
        .queues
        .tell_when_fenced(Fenced(Box::new(move |incarnation| note.store(incarnation, Ordering::Relaxed))));
    paused.port.want(&a, 5);
    paused.tick();
    paused.settles();
    assert_eq!(told.load(Ordering::Relaxed), fenced, "it is told that it is taken for dead");
    assert_eq!(one.take_number(&a), (2, 0), "the buried one has not taken it");
    // Its late acknowledgement ends nothing that somebody else has.
    paused.port.settle(&a, held.tag);
    paused.settles();
    assert_eq!(one.look(&a), [(1, 1), (2, 0)]);
    assert!(paused.queues.hub.reincarnate(fenced));
    paused.queues.reincarnated(fenced);
    one.port.release(&a, redelivered.tag);
    one.port.attend(&a, false);
    assert_eq!(paused.take_number(&a), (1, 2), "as another it takes again");
}

#[test]
fn what_is_sent_where_nobody_handles_it_waits_in_order() {
    let server = RedisServer::start();
    let (one, worker) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/app/a");
    let tickets = [1, 2, 3].map(|number| {
        let ticket = one.ticket();
        one.port.put(&a, message(&a, number, &[]), ticket).unwrap();
        ticket
    });
    one.settles();
    one.tick();
    one.settles();
    assert!(one.told.answers.lock().is_empty(), "it waits");
    worker.port.attend(&a, true);
    tickets.into_iter().for_each(|ticket| assert_eq!(one.queued(ticket), Ok(())));
    one.fill(&a, 4..=4);
    assert_eq!([(); 4].map(|()| worker.take_number(&a).0), [1, 2, 3, 4]);
    worker.port.attend(&a, false);
    worker.settles();
    let ticket = one.ticket();
    one.port.put(&a, message(&a, 5, &[]), ticket).unwrap();
    let refused = {
        let deadline = Instant::now() + std::time::Duration::from_secs(15);
        loop {
            one.tick();
            if let Some((_, answer)) = one.told.answers.lock().pop() {
                break answer;
            }
            assert!(Instant::now() < deadline, "never refused");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    assert!(matches!(refused, Answer::Queued(_, Err(StoreError::NoHandler))), "{refused:?}");
}

#[test]
fn a_key_that_was_used_on_one_node_is_known_on_all() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/queue/a");
    let key = [("idempotency-key", "k1")];
    assert_eq!(one.put(&a, message(&a, 1, &key)), Ok(()));
    assert_eq!(other.put(&a, message(&a, 2, &key)), Ok(()));
    assert_eq!(other.put(&a, message(&a, 3, &[("idempotency-key", "k2")])), Ok(()));
    assert_eq!(one.look(&a), [(1, 0), (3, 0)]);
}

#[test]
fn what_nobody_takes_goes_back_to_others() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, _) = name("/queue/a");
    one.port.attend(&a, true);
    one.fill(&a, 1..=4);
    let first = one.take(&a);
    one.port.want(&a, 10);
    one.tick();
    one.port.release(&a, first.tag);
    one.port.attend(&a, false);
    // What comes back does so by a connection of its own.
    one.settles();
    assert_eq!([(); 4].map(|()| other.take_number(&a)), [(1, 1), (2, 0), (3, 0), (4, 0)]);
}

#[test]
fn an_acknowledgement_is_safe_when_redis_has_said_so() {
    let server = RedisServer::start();
    let one = Node::new(&server);
    let (a, _) = name("/queue/a");
    one.fill(&a, 1..=1);
    let queued = one.take(&a);
    one.settles();
    assert_eq!(one.journal.sync(one.ticket()), Kept::Now);
    server.freeze();
    one.port.settle(&a, queued.tag);
    let ticket = one.ticket();
    assert_eq!(one.journal.sync(ticket), Kept::Later);
    assert!(one.told.answers.lock().is_empty());
    server.thaw();
    assert!(matches!(one.answer(ticket), Answer::Synced(Ok(()))));
    assert_eq!(one.look(&a), []);
}

#[test]
fn what_has_expired_comes_to_one_node_once() {
    let server = RedisServer::start();
    let nodes = [Node::new(&server), Node::new(&server)];
    let (a, _) = name("/queue/a");
    let soon = (nodes[0].queues.hub.clock)().wall_ms + 100;
    assert_eq!(nodes[0].put(&a, message(&a, 1, &[("expires", &soon.to_string())])), Ok(()));
    nodes[1].queues.state.lock().note_alarm(Partition::of_destination("/queue/a"), 0);
    let mut expired = Vec::new();
    eventually(|| {
        for node in &nodes {
            node.queues.state.lock().note_alarm(Partition::of_destination("/queue/a"), 0);
            expired.extend(node.tick().expired.into_iter().map(|(_, queued)| queued.message.id.number));
        }
        (!expired.is_empty()).then_some(()).ok_or("not yet")
    });
    nodes.iter().for_each(|node| node.settles());
    expired.extend(
        nodes.iter().flat_map(|node| node.tick().expired).map(|(_, queued)| queued.message.id.number),
    );
    assert_eq!(expired, [1]);
}

#[test]
fn an_acknowledgement_of_what_is_not_ours_any_more_is_never_called_safe() {
    let server = RedisServer::start();
    let one = Node::new(&server);
    let (a, _) = name("/queue/a");
    one.fill(&a, 1..=2);
    let taken = [(); 2].map(|()| one.take(&a));
    one.settles();
    server.freeze();
    // The first is on its way, the second waits for that.
    taken.iter().for_each(|queued| drop(one.port.settle(&a, queued.tag)));
    let ticket = one.ticket();
    assert_eq!(one.journal.sync(ticket), Kept::Later);
    let fenced = one.incarnation();
    assert!(one.queues.hub.reincarnate(fenced));
    one.queues.reincarnated(fenced);
    assert!(matches!(one.answer(ticket), Answer::Synced(Err(StoreError::Unavailable))));
    server.thaw();
    assert_eq!(one.take_number(&a), (2, 1), "it comes again");
}

#[test]
fn a_dead_letter_lies_where_any_node_finds_it() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let ((a, _), (dead, _)) = (name("/queue/a"), name("/queue/dlq.a"));
    one.fill(&a, 1..=1);
    let queued = one.take(&a);
    assert_eq!(one.port.bury(&a, queued.tag, &dead, message(&dead, 11, &[])), 0);
    assert_eq!(other.take_number(&dead), (11, 0));
    assert_eq!(other.look(&a), []);
}

#[test]
fn a_postponed_message_is_ready_for_all_when_it_is_due() {
    let server = RedisServer::start();
    let (one, other) = (Node::new(&server), Node::new(&server));
    let (a, partition) = name("/queue/a");
    one.fill(&a, 1..=1);
    let queued = one.take(&a);
    let due_ms = (one.queues.hub.clock)().wall_ms + 300;
    one.port.postpone(&a, queued.tag, due_ms);
    one.settles();
    drop(one);
    assert!(other.port.take(&a).is_none());
    // Nobody told the other one: whoever looks after the partition sees to it.
    let found = eventually(|| {
        other.queues.sweep_partition(partition, (other.queues.hub.clock)().wall_ms, 10);
        other.settles();
        other.tick();
        other.port.take(&a).ok_or("not due")
    });
    assert!((other.queues.hub.clock)().wall_ms >= due_ms);
    assert_eq!((found.message.id.number, found.deliveries), (1, 1));
}
