//! Nodes that die, pause and end, and a Redis that does.

use super::*;

#[test]
fn who_was_on_a_dead_node_only_leaves_once_though_two_notice() {
    let server = RedisServer::start();
    let [dead, first, second] = [(); 3].map(|()| Node::start(&server, MORTAL));
    for node in [&first, &second] {
        node.listen(&["1", "2"]);
    }
    for n in 0..40 {
        dead.come(&["1", "2"], &format!("u{n}"));
    }
    dead.come(&["1"], "alice");
    first.come(&["1"], "alice");
    dead.settle();
    first.settle();
    for node in [&first, &second] {
        eventually(|| if node.told().len() == 81 { Ok(()) } else { Err(node.told().len()) });
        node.heard.told.lock().clear();
    }
    dead.crash();
    let left: Vec<String> = (0..40).flat_map(|n| [1, 2].map(|room| format!("LEAVE {room} u{n}"))).collect();
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    for node in [&first, &second] {
        node.hears(&left);
    }
    for node in [&first, &second] {
        node.catch_up();
        node.hears(&left);
        assert_eq!(node.members("1"), ["alice"]);
    }
    assert_eq!(set(&server, "websocket:online_users"), BTreeSet::from(["alice".to_owned()]));
    eventually(|| {
        let listed = server.cli(&["HLEN", "websocket:{p00}:nodes"]);
        if listed == "2" { Ok(()) } else { Err(listed) }
    });
}

#[test]
fn a_node_that_was_paused_comes_back_as_another() {
    let server = RedisServer::start();
    let [paused, other] = [(); 2].map(|()| Node::start(&server, MORTAL));
    other.listen(&["42"]);
    paused.come(&["42"], "alice");
    paused.come(&["42"], "bob");
    other.come(&["42"], "bob");
    paused.settle();
    other.settle();
    let before = paused.hub.incarnation();
    other.hears(&["JOIN 42 alice", "JOIN 42 bob"]);
    // The other one has to look often enough, on a busy machine too.
    paused.freeze(Duration::from_millis(4 * QUICK.lease_ms));
    other.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice"]);
    other.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice", "JOIN 42 alice"]);
    assert_ne!(paused.hub.incarnation(), before);
    paused.settle();
    other.catch_up();
    other.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice", "JOIN 42 alice"]);
    assert_eq!(sorted(other.members("42")), ["alice", "bob"]);
    assert_eq!(
        set(&server, "websocket:online_users"),
        BTreeSet::from(["alice".to_owned(), "bob".to_owned()])
    );
    assert!(names(&server, &format!("*rows-of:{before:016x}")).is_empty());
}

#[test]
fn a_redis_that_is_away_and_forgets_everything_makes_nobody_leave() {
    let mut server = RedisServer::start();
    let nodes = [Node::start(&server, MORTAL), Node::start(&server, MORTAL)];
    nodes.iter().for_each(|node| node.listen(&["42"]));
    let alice = nodes[0].come(&["42"], "alice");
    nodes[1].come(&["42"], "bob");
    nodes[1].settle();
    nodes[1].say("bob", Some(("away", None)));
    let told = ["JOIN 42 alice", "JOIN 42 bob", "STATUS 42 bob away"];
    nodes.iter().for_each(|node| node.hears(&told));
    let version = nodes[0].page("42", 0, 9).version;
    server.kill();
    // Longer than a lease.
    nodes.iter().for_each(|node| drop(eventually(|| node.line.health().err().ok_or("is healthy"))));
    std::thread::sleep(Duration::from_millis(2 * QUICK.lease_ms));
    nodes[0].come(&["42"], "carol");
    nodes[0].lose("42", "alice", alice);
    server.restart();
    for node in &nodes {
        eventually(|| node.line.health());
        eventually(|| {
            let members = sorted(node.members("42"));
            if members == ["alice", "bob away", "carol"] { Ok(()) } else { Err(members) }
        });
    }
    nodes.iter().for_each(Node::catch_up);
    let told = ["JOIN 42 alice", "JOIN 42 bob", "STATUS 42 bob away", "JOIN 42 carol"];
    nodes[0].hears(&told);
    // The other node may have been a moment later to listen again.
    let heard = nodes[1].told();
    assert!(heard.len() >= 3 && heard.iter().all(|text| told.contains(&&**text)), "{heard:?}");
    assert!(nodes[0].page("42", 0, 9).version > version + 3, "so that who keeps a list asks again");
    assert_eq!(set(&server, "websocket:chatroom:users:42").len(), 3);
    assert_eq!(set(&server, "websocket:online_users").len(), 3);
    assert_eq!(server.cli(&["GET", "websocket:user:status:bob"]), "away");
}

#[test]
fn what_lingers_on_a_node_that_has_ended_is_completed_by_another() {
    let server = RedisServer::start();
    let [ended, other] = [(); 2].map(|()| Node::start(&server, MORTAL));
    other.listen(&["42"]);
    for user in ["alice", "bob"] {
        let session = ended.come(&["42"], user);
        ended.lose("42", user, session);
        ended.end(user);
    }
    let since = Instant::now();
    ended.retire();
    other.come(&["42"], "bob");
    other.settle();
    assert_eq!(other.members("42"), ["alice", "bob"]);
    other.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice"]);
    assert!(since.elapsed() >= Duration::from_millis(MORTAL.linger_ms));
    other.catch_up();
    other.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice"]);
    assert_eq!(other.members("42"), ["bob"]);
    let nodes = {
        let (sender, receiver) = mpsc::channel();
        other.registry.list(Box::new(move |nodes| drop(sender.send(nodes))));
        receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()
    };
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].0, other.hub.incarnation());
}

#[test]
fn what_a_node_held_is_taken_away_though_nobody_else_saw_it_live() {
    let server = RedisServer::start();
    let dead = Node::start(&server, MORTAL);
    dead.come(&["42"], "alice");
    dead.settle();
    dead.crash();
    server.cli(&["DEL", "websocket:{p00}:nodes", "websocket:{p00}:nodes-about"]);
    let node = Node::start(&server, MORTAL);
    node.listen(&["42"]);
    node.hears(&["LEAVE 42 alice"]);
    eventually(|| {
        let left =
            [names(&server, "*rows*"), names(&server, "*arrivals*"), names(&server, "*users*")].concat();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn what_a_failover_has_brought_back_ends_again_and_nobody_hears_it_twice() {
    let server = RedisServer::start();
    let node = Node::start(&server, STEADY);
    node.listen(&["42"]);
    let session = node.come(&["42"], "alice");
    node.come(&["42"], "bob");
    node.settle();
    let partition = node.hub.partition_of_room("42");
    let names =
        ["rows:42", "arrivals:42", "rows-of"].map(|name| format!("{}{name}", node.hub.keys.base(partition)));
    let held = format!("{}:{:016x}", names[2], node.hub.incarnation());
    for name in [&names[0], &names[1], &held] {
        server.cli(&["COPY", name, &format!("{name}.before")]);
    }
    node.leave("42", "alice", session);
    node.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice"]);
    node.settle();
    for name in [&names[0], &names[1], &held] {
        server.cli(&["COPY", &format!("{name}.before"), name, "REPLACE"]);
    }
    assert_eq!(node.members("42"), ["alice", "bob"], "as a replica has it that did not hear of it");
    node.presence.reunited();
    eventually(|| if node.members("42") == ["bob"] { Ok(()) } else { Err("still there") });
    node.catch_up();
    node.hears(&["JOIN 42 alice", "JOIN 42 bob", "LEAVE 42 alice"]);
}

#[test]
fn more_changes_than_can_be_kept_end_with_the_name() {
    let server = RedisServer::start();
    let node = Node::start(&server, STEADY);
    node.listen(&["42"]);
    let gone = node.come(&["42"], "gone");
    node.come(&["42"], "alice");
    node.settle();
    let before = node.hub.incarnation();
    node.presence.ledger.lock().overrun();
    node.leave("42", "gone", gone);
    node.hears(&["JOIN 42 gone", "JOIN 42 alice", "LEAVE 42 gone"]);
    eventually(|| if node.custody.is_idle() && node.presence.is_settled() { Ok(()) } else { Err("busy") });
    assert_ne!(node.hub.incarnation(), before);
    assert_eq!(node.members("42"), ["alice"]);
    node.catch_up();
    node.hears(&["JOIN 42 gone", "JOIN 42 alice", "LEAVE 42 gone"]);
}
