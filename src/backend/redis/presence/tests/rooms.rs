//! Who comes, goes, and says something.

use super::*;

#[test]
fn who_comes_and_goes_is_told_once_on_each_node_whatever_tabs_he_has() {
    let server = RedisServer::start();
    let nodes = [Node::start(&server, STEADY), Node::start(&server, STEADY)];
    nodes.iter().for_each(|node| node.listen(&["42"]));
    let tabs: Vec<_> = (0..3).map(|_| nodes[0].come(&["42"], "alice")).collect();
    nodes[0].settle();
    let others: Vec<_> = (0..2).map(|_| nodes[1].come(&["42"], "alice")).collect();
    let bob = nodes[1].come(&["42"], "b/o:b{1}%");
    nodes[1].settle();
    for node in &nodes {
        node.hears(&["JOIN 42 alice", "JOIN 42 b/o:b{1}%"]);
        assert_eq!(node.members("42"), ["alice", "b/o:b{1}%"]);
    }
    tabs.into_iter().for_each(|tab| nodes[0].leave("42", "alice", tab));
    nodes[0].settle();
    nodes[1].leave("42", "alice", others[0]);
    nodes[1].leave("42", "b/o:b{1}%", bob);
    nodes[1].settle();
    assert_eq!(nodes[0].members("42"), ["alice"], "a tab on the other node is open");
    nodes[1].leave("42", "alice", others[1]);
    for node in &nodes {
        node.hears(&["JOIN 42 alice", "JOIN 42 b/o:b{1}%", "LEAVE 42 b/o:b{1}%", "LEAVE 42 alice"]);
        node.catch_up();
    }
    let first = nodes[0].told();
    assert_eq!((first.len(), first), (4, nodes[1].told()), "one order");
    assert_eq!(nodes[0].page("42", 0, 9).count, 0);
}

#[test]
fn who_comes_and_goes_at_once_has_come_and_gone() {
    let server = RedisServer::start();
    let node = Node::start(&server, STEADY);
    node.listen(&["42"]);
    let session = node.come(&["42"], "alice");
    node.leave("42", "alice", session);
    node.enter("42", "alice", session);
    node.hears(&["JOIN 42 alice", "LEAVE 42 alice", "JOIN 42 alice"]);
    let version = node.page("42", 0, 9).version;
    node.leave("42", "alice", session);
    node.settle();
    let later = node.page("42", 0, 9).version;
    assert!(later > version, "a version is not used again when the room is empty");
    node.enter("42", "alice", session);
    assert!(node.page("42", 0, 9).version > later);
}

#[test]
fn who_asks_sees_himself_and_pages_are_one_list() {
    let server = RedisServer::start();
    let nodes = [Node::start(&server, STEADY), Node::start(&server, STEADY)];
    for n in 0..20 {
        let node = &nodes[n % 2];
        let user = format!("u{n}");
        node.come(&["42"], &user);
        assert_eq!(node.members("42").last(), Some(&user));
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = nodes[0].page("42", after, 6);
        assert_eq!(page.count, 20);
        seen.extend(page.listed.iter().map(|member| member.user.to_string()));
        let Some(last) = page.listed.last().filter(|_| page.more) else { break };
        after = last.arrival;
    }
    assert_eq!(seen, (0..20).map(|n| format!("u{n}")).collect::<Vec<_>>());
    let whole = nodes[1].page("42", 0, 20);
    assert!(!whole.more && whole.listed.len() == 20);
    let nothing = nodes[1].page("43", 0, 20);
    assert_eq!((nothing.count, nothing.listed.len(), nothing.more), (0, 0, false));
}

#[test]
fn who_is_back_on_another_node_leaves_at_once_when_he_leaves() {
    let server = RedisServer::start();
    let nodes = [Node::start(&server, STEADY), Node::start(&server, STEADY)];
    nodes[0].listen(&["42"]);
    let broken = nodes[0].come(&["42"], "alice");
    nodes[0].lose("42", "alice", broken);
    nodes[0].settle();
    let session = nodes[1].come(&["42"], "alice");
    nodes[1].settle();
    nodes[1].leave("42", "alice", session);
    nodes[0].hears(&["JOIN 42 alice", "LEAVE 42 alice"]);
    // The linger is over now, and nobody is there whom it could end.
    nodes[0].leave("42", "alice", broken);
    nodes[0].catch_up();
    nodes[0].hears(&["JOIN 42 alice", "LEAVE 42 alice"]);
}

#[test]
fn what_a_user_says_of_himself_is_true_on_all_nodes() {
    let server = RedisServer::start();
    let nodes = [Node::start(&server, STEADY), Node::start(&server, STEADY)];
    nodes.iter().for_each(|node| node.listen(&["1", "2"]));
    nodes[0].come(&["1"], "alice");
    nodes[1].come(&["2"], "alice");
    nodes.iter().for_each(Node::settle);
    nodes[0].say("alice", Some(("away", None)));
    let mut told = vec!["JOIN 1 alice", "JOIN 2 alice", "STATUS 1 alice away", "STATUS 2 alice away"];
    nodes.iter().for_each(|node| node.hears(&told));
    assert_eq!(
        (nodes[1].members("1"), nodes[1].members("2")),
        (vec!["alice away".into()], vec!["alice away".into()])
    );
    assert_eq!(server.cli(&["GET", "websocket:user:status:alice"]), "away");

    // Who comes later is told by the list, and the last word wins, wherever it is said.
    nodes[1].come(&["3"], "alice");
    assert_eq!(eventually(|| Ok::<_, ()>(nodes[1].members("3"))), ["alice away"]);
    nodes[1].say("alice", Some(("busy", Some(400))));
    told.extend(["STATUS 1 alice busy", "STATUS 2 alice busy"]);
    nodes.iter().for_each(|node| node.hears(&told));
    // And ends when its time is over, though nobody says so.
    told.extend(["STATUS 1 alice online", "STATUS 2 alice online"]);
    nodes.iter().for_each(|node| node.hears(&told));
    assert_eq!(server.cli(&["GET", "websocket:user:status:alice"]), "online");
    nodes.iter().for_each(Node::catch_up);
    nodes.iter().for_each(|node| node.hears(&told));
}

#[test]
fn a_status_outlives_the_last_session_for_a_while_and_no_longer() {
    let server = RedisServer::start();
    let nodes = [Node::start(&server, STEADY), Node::start(&server, STEADY)];
    nodes[0].begin("alice");
    nodes[0].say("alice", Some(("away", None)));
    nodes[0].settle();
    nodes[0].end("alice");
    nodes[0].settle();
    assert_eq!(server.cli(&["EXISTS", "websocket:user:status:alice"]), "0");
    nodes[1].come(&["42"], "alice");
    eventually(|| if nodes[1].members("42") == ["alice away"] { Ok(()) } else { Err("not yet") });
    assert_eq!(server.cli(&["GET", "websocket:user:status:alice"]), "away");
    nodes[1].end("alice");
    nodes[1].settle();
    let people = format!("{}people", nodes[0].hub.keys.base(Partition::of_user_named("alice")));
    eventually(|| if server.cli(&["HLEN", &people]) == "0" { Ok(()) } else { Err("still known") });
}
