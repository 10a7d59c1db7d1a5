//! Rooms that fill and empty, as it is noted for backends.

use super::*;

/// An edge that a node was given.
pub(super) struct Given {
    /// The room, `+` or `-`, and its id.
    edge: String,
    acked: Acked,
}

impl Given {
    pub(super) fn new(edge: &Edge<'_>, acked: Acked) -> Self {
        let act = if edge.is_occupied { '+' } else { '-' };
        Self { edge: format!("{} {act} {}", edge.room, edge.id), acked }
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.edge)
    }
}

fn given(node: &Node) -> Vec<String> {
    node.heard.edges.lock().iter().map(|given| given.edge.clone()).collect()
}

/// Waits until the nodes were given so many together.
#[track_caller]
fn gives(nodes: &[&Node], count: usize) -> Vec<String> {
    eventually(|| {
        let all: Vec<String> = nodes.iter().flat_map(|node| given(node)).collect();
        if all.len() == count { Ok(all) } else { Err(format!("{all:?}")) }
    })
}

fn without_ids(edges: &[String]) -> Vec<&str> {
    edges.iter().map(|edge| edge.rsplit_once(' ').map_or("", |(edge, _)| edge)).collect()
}

/// Says of everything that it need not be given again, and waits until it is struck out.
fn acknowledge(nodes: &[&Node], server: &RedisServer) {
    for node in nodes {
        let edges = std::mem::take(&mut *node.heard.edges.lock());
        edges.into_iter().for_each(|given| (given.acked)());
    }
    eventually(|| if noted(server).is_empty() { Ok(()) } else { Err(noted(server)) });
}

/// Edges that stand in Redis, with their keys.
fn noted(server: &RedisServer) -> Vec<(String, String)> {
    let keys = server.cli(&["KEYS", "websocket:*:presence-due"]);
    let of = |key: &str| {
        let entries = server.cli(&["ZRANGE", key, "0", "-1"]);
        let edges = entries.lines().filter(|entry| entry.starts_with('e'));
        edges.map(|edge| (key.to_owned(), edge.to_owned())).collect::<Vec<_>>()
    };
    keys.lines().flat_map(of).collect()
}

#[test]
fn a_room_fills_with_its_first_user_and_empties_with_its_last_wherever_they_are() {
    let server = RedisServer::start();
    let (one, other) = (Node::start(&server, STEADY), Node::start(&server, STEADY));
    let alice = one.come(&["1"], "alice");
    let edges = gives(&[&one, &other], 1);
    assert_eq!(without_ids(&edges), ["1 +"]);
    acknowledge(&[&one, &other], &server);
    let bob = other.come(&["1"], "bob");
    // Another device of hers changes nothing.
    let tablet = other.come(&["1"], "alice");
    other.settle();
    one.leave("1", "alice", alice);
    other.leave("1", "alice", tablet);
    one.settle();
    other.settle();
    assert_eq!(noted(&server), []);
    other.leave("1", "bob", bob);
    let edges = gives(&[&one, &other], 1);
    assert_eq!(without_ids(&edges), ["1 -"]);
    acknowledge(&[&one, &other], &server);
    assert_eq!(given(&one).len() + given(&other).len(), 0);
}

#[test]
fn what_was_not_acknowledged_is_given_again_under_the_same_id() {
    let server = RedisServer::start();
    let one = Node::start(&server, STEADY);
    one.come(&["a room"], "alice");
    let first = gives(&[&one], 1);
    one.heard.edges.lock().clear();
    // Its node is gone before it has told anybody; its time comes while another one looks.
    one.crash();
    let other = Node::start(&server, STEADY);
    let [(key, edge)] = &noted(&server)[..] else { panic!("{:?}", noted(&server)) };
    server.cli(&["ZADD", key, "XX", "0", edge]);
    let partition = other.hub.partition_of_room("a room");
    other.presence.edged.lock().insert(partition);
    assert_eq!(gives(&[&other], 1), first);
    acknowledge(&[&other], &server);
}

#[test]
fn who_dies_leaves_rooms_empty() {
    let server = RedisServer::start();
    let (one, other) = (Node::start(&server, MORTAL), Node::start(&server, MORTAL));
    one.come(&["1"], "alice");
    gives(&[&one, &other], 1);
    acknowledge(&[&one, &other], &server);
    one.settle();
    one.crash();
    assert_eq!(without_ids(&gives(&[&other], 1)), ["1 -"]);
    acknowledge(&[&other], &server);
}

#[test]
fn what_is_told_again_after_redis_was_lost_is_no_news() {
    let mut server = RedisServer::start();
    let one = Node::start(&server, STEADY);
    one.come(&["1"], "alice");
    gives(&[&one], 1);
    acknowledge(&[&one], &server);
    server.restart();
    eventually(|| one.line.health());
    one.presence.reunited();
    eventually(|| if one.members("1") == ["alice"] { Ok(()) } else { Err("not yet") });
    one.settle();
    assert_eq!((noted(&server), given(&one)), (Vec::new(), Vec::new()));
}

#[test]
fn edges_of_rooms_that_lie_together_are_told_apart() {
    let server = RedisServer::start();
    let one = Node::start(&server, STEADY);
    let partition = one.hub.partition_of_room("a");
    let mut others = (0..).map(|n| format!("b{n}"));
    let other = others.find(|name| one.hub.partition_of_room(name) == partition).unwrap();
    let alice = one.come(&["a"], "alice");
    one.settle();
    one.come(&[&other], "bob");
    one.settle();
    one.leave("a", "alice", alice);
    let ids: BTreeSet<String> =
        gives(&[&one], 3).iter().map(|edge| edge.rsplit_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
}
