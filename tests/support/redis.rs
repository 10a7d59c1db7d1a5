//! Real Redis servers for tests, on free ports, each in a folder of its own. They end with their owner, and with this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One `redis-server`, or `redis-sentinel`.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    /// What `redis-cli` needs beside the port.
    login: Vec<String>,
    running: Option<Running>,
}

/// The process. A shell stands between: it ends Redis when its standard input ends, which it does when we are gone.
#[derive(Debug)]
struct Running {
    shell: Child,
    pid: u32,
}

impl RedisServer {
    /// A server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments, as on the command line.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_at(|port| {
            let port = port.to_string();
            let usual = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let quick = ["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"];
            usual.iter().chain(&quick).chain(arguments).map(|&argument| argument.to_owned()).collect()
        })
    }

    /// A server that speaks nothing but TLS, with a certificate that vouches for itself and its key in PEM files, and
    /// further arguments.
    pub(crate) fn start_tls(certificate: &Path, key: &Path, more: &[&str]) -> Self {
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let mut server = Self::start_at(|port| {
            let port = port.to_string();
            let usual = ["--port", "0", "--tls-port", &port, "--bind", "127.0.0.1", "--save", ""];
            let own = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            let others = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
            let all = usual.iter().chain(&own).chain(&others).chain(more);
            all.map(|&argument| argument.to_owned()).collect()
        });
        server.login = ["--tls", "--insecure"].map(str::to_owned).into();
        server
    }

    /// One server that is a whole cluster, over TLS alone.
    pub(crate) fn start_tls_cluster(certificate: &Path, key: &Path) -> Self {
        let bus = free_port().to_string();
        let mode = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", &bus];
        let server = Self::start_tls(certificate, key, &mode);
        ok(&server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]));
        server.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
        server
    }

    /// A sentinel that watches a primary by the name `main`, both over TLS alone.
    pub(crate) fn sentinel_tls_of(primary: &Self, certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        let file = tempfile::NamedTempFile::new().expect("a file for the configuration");
        let path = file.path().display().to_string();
        let mut server = Self::start_at(|port| {
            let config = format!(
                "port 0\ntls-port {port}\nbind 127.0.0.1\ntls-cert-file {certificate}\ntls-key-file {key}\n\
                 tls-ca-cert-file {certificate}\ntls-auth-clients no\ntls-replication yes\n\
                 sentinel monitor main 127.0.0.1 {} 1\n",
                primary.port
            );
            std::fs::write(&path, &config).expect("the configuration is written");
            [&path, "--sentinel", "--tls-port", &port.to_string()].map(str::to_owned).into()
        });
        server.login.clone_from(&primary.login);
        server
    }

    /// A replica of another.
    pub(crate) fn replica_of(primary: &Self) -> Self {
        let server = Self::start_with(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
        server.wait_for(&["INFO", "replication"], "master_link_status:up");
        server
    }

    /// A sentinel that watches a primary by the name `main`; two must agree that it is down, for a second.
    pub(crate) fn sentinel_of(primary: &Self) -> Self {
        let config = format!(
            "bind 127.0.0.1\n\
             sentinel monitor main 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n",
            primary.port
        );
        let file = tempfile::NamedTempFile::new().expect("a file for the configuration");
        let path = file.path().display().to_string();
        Self::start_at(|port| {
            std::fs::write(&path, &config).expect("the configuration is written");
            [&path, "--sentinel", "--port", &port.to_string()].map(str::to_owned).into()
        })
    }

    fn start_at(arguments: impl Fn(u16) -> Vec<String>) -> Self {
        for _ in 0..10 {
            let port = free_port();
            let mut server = Self {
                port,
                folder: tempfile::tempdir().expect("a temporary folder"),
                arguments: arguments(port),
                login: Vec::new(),
                running: None,
            };
            // Somebody else may have taken the port meanwhile.
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server does not start; is it installed?");
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running server").pid
    }

    /// `redis://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + DEADLINE;
        while !self.launch() {
            assert!(Instant::now() < deadline, "redis-server does not start again");
        }
    }

    /// Stops it where it stands; its sockets stay.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Asks it with `redis-cli`, and gives what that prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(&self.login)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until it answers a question with something in which `expected` stands.
    pub(crate) fn wait_for(&self, question: &[&str], expected: &str) {
        let deadline = Instant::now() + DEADLINE + DEADLINE;
        loop {
            let answer = self.cli(question);
            if answer.contains(expected) {
                return;
            }
            assert!(Instant::now() < deadline, "{question:?} never gives {expected}, but {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Whether it answers.
    fn launch(&mut self) -> bool {
        let mut shell = Command::new("sh")
            .args(["-c", WATCH, "sh", "redis-server"])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let pid = line.trim().parse().expect("the process of redis-server");
        self.running = Some(Running { shell, pid });
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.answers() {
                return true;
            }
            if !is_alive(pid) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.running = None;
        false
    }

    /// Over TLS it answers nothing to this.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        if self.arguments.iter().any(|argument| argument == "--tls-port") {
            return true;
        }
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let mut first = [0; 1];
        stream.write_all(b"PING\r\n").is_ok() && stream.read(&mut first).is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Six servers, three of them primaries.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    /// All of them.
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let server = || {
            RedisServer::start_at(|port| {
                let (port, bus) = (port.to_string(), free_port().to_string());
                let usual = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
                let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus];
                let quick = ["--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"];
                let all = usual.iter().chain(&cluster).chain(&quick);
                all.map(|&argument| argument.to_owned()).collect()
            })
        };
        let servers: Vec<RedisServer> = (0..6).map(|_| server()).collect();
        let places: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(places.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let said = servers[0].cli(&create);
        assert!(said.contains("[OK] All 16384 slots covered"), "no cluster: {said}");
        let cluster = Self { servers };
        for server in &cluster.servers {
            server.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
            server.wait_for(&["CLUSTER", "INFO"], "cluster_known_nodes:6");
            let role = server.cli(&["INFO", "replication"]);
            if role.contains("role:slave") {
                server.wait_for(&["INFO", "replication"], "master_link_status:up");
            } else {
                server.wait_for(&["INFO", "replication"], "connected_slaves:1");
            }
        }
        cluster
    }

    /// `redis+cluster://...` with all servers.
    pub(crate) fn url(&self) -> String {
        let places: Vec<String> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", places.join(","))
    }

    /// The server that owns a slot, as the first says that lives; by its place in `servers`.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let living = self.servers.iter().find(|server| server.running.is_some()).expect("a living server");
        for line in living.cli(&["CLUSTER", "NODES"]).lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let owns = fields.iter().skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            });
            let place = fields[1].split('@').next().and_then(|place| place.rsplit_once(':'));
            let port = place.and_then(|(_, port)| port.parse::<u16>().ok());
            if owns && let Some(found) = self.servers.iter().position(|server| Some(server.port) == port) {
                return found;
            }
        }
        panic!("nobody owns slot {slot}");
    }

    /// Declares a slot to be on the move: with this, `move_keys` and `end_migration` one does what `redis-cli --cluster
    /// reshard` does.
    pub(crate) fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let (slot, ids) = (slot.to_string(), (self.id(from), self.id(to)));
        ok(&self.servers[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids.0]));
        ok(&self.servers[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids.1]));
    }

    /// Moves the keys that there are.
    pub(crate) fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let (slot, port) = (slot.to_string(), self.servers[to].port.to_string());
        loop {
            let keys = self.servers[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                return;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.lines());
            let said = self.servers[from].cli(&command);
            assert!(said == "OK" || said == "NOKEY", "{said}");
        }
    }

    /// Declares the slot to have arrived: first there, then where it came from, then elsewhere.
    pub(crate) fn end_migration(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        ok(&self.servers[to].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]));
        ok(&self.servers[from].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]));
    }

    fn id(&self, server: usize) -> String {
        self.servers[server].cli(&["CLUSTER", "MYID"])
    }
}

fn ok(said: &str) {
    assert_eq!(said, "OK");
}

/// A process that has ended and that nobody has asked about counts as none.
fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

/// A port that was free a moment ago, and none that the system gives to whoever dials out: a server that starts again must
/// find it free.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(61));
        let port = 12_000 + (turn % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs the arguments, says as what process, and ends it when nothing more can be read.
const WATCH: &str = r#""$@" >/dev/null 2>&1 </dev/null & echo $!; read _; kill -9 $!; wait $! 2>/dev/null"#;

const DEADLINE: Duration = Duration::from_secs(10);
