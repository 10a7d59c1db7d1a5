//! What operators read is the truth.

use super::*;
use crate::backend::redis::keys::presence::encode;

const USERS: [&str; 7] = ["a", "b", "c:1", "d{}", "e%", "f/g", "h"];
const ROOMS: [&str; 4] = ["1", "2", "r:{3}", "4%"];

/// A seeded walk: no two are alike, and each is the same again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A session, and the rooms where it is.
struct Session {
    node: usize,
    user: &'static str,
    id: ConnectionId,
    rooms: BTreeSet<&'static str>,
}

fn walk(seed: u64, kind: Kind) {
    let server = RedisServer::start();
    walk_at(seed, kind, &options(&server), &[&server]);
}

/// What operators read lies on these servers.
fn walk_at(seed: u64, kind: Kind, options: &Options, servers: &[&RedisServer]) {
    let mut nodes: Vec<Node> = (0..3).map(|_| Node::start_at(options, kind)).collect();
    let mut dice = Dice(seed);
    let mut sessions: Vec<Session> = Vec::new();
    for step in 0..400 {
        match dice.roll(10) {
            0 | 1 if sessions.len() < 20 => {
                let (node, user) = (dice.roll(nodes.len()), USERS[dice.roll(USERS.len())]);
                let id = nodes[node].begin(user);
                sessions.push(Session { node, user, id, rooms: BTreeSet::new() });
            }
            2 if !sessions.is_empty() => {
                let session = sessions.swap_remove(dice.roll(sessions.len()));
                let node = &nodes[session.node];
                session.rooms.iter().for_each(|room| node.leave(room, session.user, session.id));
                node.end(session.user);
            }
            3 if !sessions.is_empty() => {
                let session = &sessions[dice.roll(sessions.len())];
                nodes[session.node].say(session.user, Some((["away", "busy"][dice.roll(2)], None)));
            }
            _ if !sessions.is_empty() => {
                let at = dice.roll(sessions.len());
                let (session, room) = (&mut sessions[at], ROOMS[dice.roll(ROOMS.len())]);
                let node = &nodes[session.node];
                if session.rooms.remove(room) {
                    node.leave(room, session.user, session.id);
                } else {
                    session.rooms.insert(room);
                    node.enter(room, session.user, session.id);
                }
            }
            _ => {}
        }
        if step == 200 {
            nodes.remove(0).crash();
            sessions.retain(|session| session.node != 0);
            sessions.iter_mut().for_each(|session| session.node -= 1);
        }
    }
    nodes.iter().for_each(Node::settle);
    let online: BTreeSet<&str> = sessions.iter().map(|session| session.user).collect();
    let mut truth = BTreeSet::new();
    for user in &online {
        truth.insert(format!("online {}", encode(user)));
        truth.insert(format!("status {}", encode(user)));
    }
    for session in &sessions {
        for room in &session.rooms {
            truth.insert(format!("room {} {}", encode(room), encode(session.user)));
            truth.insert(format!("user {} {}", encode(session.user), encode(room)));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = servers.iter().flat_map(|server| seen(server)).collect::<BTreeSet<_>>();
        if seen == truth {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "seed {seed}: too much {:?}, missing {:?}",
            seen.difference(&truth).collect::<Vec<_>>(),
            truth.difference(&seen).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    for session in &sessions {
        for room in &session.rooms {
            let members = nodes[session.node].page(room, 0, 100);
            assert!(members.listed.iter().any(|member| &*member.user == session.user), "seed {seed}");
        }
    }
}

/// What stands in the four families.
fn seen(server: &RedisServer) -> BTreeSet<String> {
    let script = "local seen = {}
        local function add(kind, whose, key)
            for _, member in ipairs(redis.call('SMEMBERS', key)) do seen[#seen + 1] = kind .. ' ' .. whose .. member end
        end
        for _, key in ipairs(redis.call('KEYS', 'websocket:*')) do
            local room = string.match(key, '^websocket:chatroom:users:(.*)$')
            local user = string.match(key, '^websocket:user:chatrooms:(.*)$')
            local status = string.match(key, '^websocket:user:status:(.*)$')
            if key == 'websocket:online_users' then add('online', '', key) end
            if room then add('room', room .. ' ', key) end
            if user then add('user', user .. ' ', key) end
            if status then
                local ttl = redis.call('TTL', key)
                seen[#seen + 1] = (ttl > 0 and ttl <= 1800 and 'status ' or 'for ever ') .. status
            end
        end
        return seen";
    let seen = server.cli(&["EVAL", script, "0"]);
    seen.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn what_operators_read_is_true_after_any_walk() {
    for seed in [1, 2] {
        walk(seed, MORTAL);
    }
}

#[test]
fn what_operators_read_is_true_where_it_lies_apart() {
    for seed in [3, 4] {
        walk(seed, Kind { is_clustered: true, ..MORTAL });
    }
}

#[test]
fn what_operators_read_is_true_in_a_cluster() {
    let cluster = RedisCluster::start();
    let options = Options::parse(&cluster.url()).unwrap();
    // Three primaries, each with a third of the slots.
    let servers = [0, 8_000, 16_000].map(|slot| &cluster.servers[cluster.owner(slot)]);
    walk_at(5, MORTAL, &options, &servers);
}

#[test]
fn what_somebody_has_spoilt_is_written_again() {
    let server = RedisServer::start();
    let node = Node::start(&server, STEADY);
    node.come(&["1"], "a");
    node.come(&["1"], "b");
    node.settle();
    let before = seen(&server);
    assert_eq!(before.len(), 8);
    server.cli(&["DEL", "websocket:online_users", "websocket:user:status:a", "websocket:user:chatrooms:b"]);
    server.cli(&["SREM", "websocket:chatroom:users:1", "a"]);
    server.cli(&["SADD", "websocket:chatroom:users:1", "nobody", "no one"]);
    for partition in
        [Partition::of_user_named("a"), Partition::of_user_named("b"), node.hub.partition_of_room("1")]
    {
        // As if the last time were long ago.
        server.cli(&["HSET", &format!("{}state", node.hub.keys.base(partition)), "pass", "0"]);
    }
    eventually(|| {
        let now = seen(&server);
        if now == before { Ok(()) } else { Err(now) }
    });
}
