//! Three brokers, and HAProxy or nginx before them as `deploy/` has it: only addresses are put in its place.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Broker;
use crate::served::DEADLINE;

/// Instances called `one`, `two` and `three` (header `server`), with an account `backend`, passcode `right`.
pub(super) struct Trio {
    pub(super) brokers: [Broker; 3],
    directories: [TempDir; 3],
}

impl Trio {
    /// `more` are further keys and tables of the configuration.
    pub(super) fn start(more: &str) -> Self {
        let hash = stompede::policy::accounts::hash_passcode("right", [3; 16]).unwrap();
        let directories = [(); 3].map(|()| TempDir::new().unwrap());
        let start = |n: usize| {
            let config = directories[n].path().join("stompede.toml");
            let text = format!(
                "trusted_proxies = [\"127.0.0.1\"]\nstomp_proxy_protocol = true\n{more}\n[server]\nname = \"{}\"\n\
                 [[account]]\nlogin = \"backend\"\npasscode_hash = \"{hash}\"\nrole = \"service\"\n",
                NAMES[n]
            );
            std::fs::write(&config, text).unwrap();
            Broker::start(directories[n].path(), &["--config", config.to_str().unwrap()])
        };
        let brokers = [0, 1, 2].map(start);
        Self { brokers, directories }
    }

    /// Where they listen for HTTP and for STOMP.
    pub(super) fn addresses(&self) -> [[&str; 2]; 3] {
        [0, 1, 2].map(|n| [&*self.brokers[n].http, &*self.brokers[n].stomp])
    }

    /// The place of an instance by its name.
    pub(super) fn place(name: &str) -> usize {
        NAMES.iter().position(|known| *known == name).unwrap()
    }

    /// Whether the instance has logged it.
    pub(super) fn has_logged(&self, place: usize, text: &str) -> bool {
        std::fs::read_to_string(self.directories[place].path().join("log")).unwrap().contains(text)
    }
}

pub(super) const NAMES: [&str; 3] = ["one", "two", "three"];

/// Which load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Haproxy,
    Nginx,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Haproxy, Self::Nginx];

    /// The file that is shipped.
    pub(super) fn shipped(self) -> &'static str {
        match self {
            Self::Haproxy => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy.cfg")),
            Self::Nginx => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nginx.conf")),
        }
    }

    fn command(self, config: &Path) -> Command {
        let mut command;
        match self {
            Self::Haproxy => {
                command = Command::new("/usr/sbin/haproxy");
                command.arg("-db").arg("-f").arg(config);
            }
            Self::Nginx => {
                command = Command::new("/usr/sbin/nginx");
                command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(config);
            }
        }
        command
    }
}

/// What a load balancer thinks of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Well,
    Down,
}

/// A running load balancer; ended with the test.
pub(super) struct Balancer {
    child: Child,
    pub(super) http: SocketAddr,
    pub(super) stomp: SocketAddr,
    /// Where HAProxy says who is up.
    statistics: SocketAddr,
    _directory: TempDir,
}

impl Balancer {
    /// As it is shipped, before `instances`.
    pub(super) fn start(kind: Kind, instances: [[&str; 2]; 3]) -> Self {
        Self::start_with(kind, instances, &[])
    }

    /// With further changes of the shipped file, each of something that stands there.
    pub(super) fn start_with(kind: Kind, instances: [[&str; 2]; 3], changes: &[(&str, &str)]) -> Self {
        // Somebody may take a free port before the balancer does.
        let mut attempts = (0..5).map(|_| Self::attempt(kind, instances, changes));
        attempts.find_map(Result::ok).unwrap_or_else(|| {
            let log = Self::attempt(kind, instances, changes).err();
            panic!("{kind:?} does not run: {}", log.unwrap_or_default())
        })
    }

    /// One that listens, or what it says before it ends.
    fn attempt(kind: Kind, instances: [[&str; 2]; 3], changes: &[(&str, &str)]) -> Result<Self, String> {
        let directory = TempDir::new().unwrap();
        // The workers of nginx are nobody in particular.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let [http, stomp, statistics] = free_addresses();
        let mut text = kind.shipped().to_owned();
        for (shipped, changed) in changes {
            text = replaced(&text, shipped, changed);
        }
        for (n, [http, stomp]) in (1..).zip(instances) {
            text = replaced(&text, &format!(" stompede{n}:8080"), &format!(" {http}"));
            text = replaced(&text, &format!(" stompede{n}:61613"), &format!(" {stomp}"));
        }
        match kind {
            Kind::Haproxy => {
                text = replaced(&text, "bind :8080", &format!("bind {http}"));
                text = replaced(&text, "bind :61613", &format!("bind {stomp}"));
                text = replaced(&text, "bind 127.0.0.1:8404", &format!("bind {statistics}"));
            }
            Kind::Nginx => {
                let own = |name: &str| directory.path().join(name).display().to_string();
                text = replaced(&text, "listen 8080;", &format!("listen {http};"));
                text = replaced(&text, "listen 61613;", &format!("listen {stomp};"));
                text = replaced(&text, "/run/nginx-stompede.pid", &own("pid"));
                // Where it may write, whoever runs the test.
                let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let paths = paths.map(|name| format!("    {name}_temp_path {};\n", own(name))).concat();
                text = replaced(&text, "\nhttp {\n", &format!("\nhttp {{\n{paths}"));
            }
        }
        let config = directory.path().join("balancer.conf");
        std::fs::write(&config, text).unwrap();
        let told = directory.path().join("log");
        let log = std::fs::File::create(&told).unwrap();
        let mut command = kind.command(&config);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut started = Self { child, http, stomp, statistics, _directory: directory };
        if started.listens() { Ok(started) } else { Err(std::fs::read_to_string(told).unwrap()) }
    }

    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(self.http).is_err() || TcpStream::connect(self.stomp).is_err() {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "the load balancer opens no ports");
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Waits until HAProxy sees an instance so: that a check found it well, or that it is given nothing.
    pub(super) async fn sees(&self, place: usize, sight: Sight) {
        let (column, status) = match sight {
            Sight::Well => (CHECK_COLUMN, "L7OK"),
            Sight::Down => (STATUS_COLUMN, "DOWN"),
        };
        let deadline = Instant::now() + DEADLINE;
        let instance = format!("instances,stompede{},", place + 1);
        loop {
            let table = self.statistics().await;
            let line =
                table.lines().find(|line| line.starts_with(&instance)).unwrap_or_else(|| panic!("{table}"));
            // A star says that the next check is under way.
            if line.split(',').nth(column).map(|seen| seen.trim_start_matches("* ")) == Some(status) {
                return;
            }
            assert!(Instant::now() < deadline, "{instance} is not {status}: {line}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn statistics(&self) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.statistics).await.unwrap();
        stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // Killed, nginx would leave its workers behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// What is changed must stand there once, or the test would try something else than what is shipped.
fn replaced(text: &str, shipped: &str, changed: &str) -> String {
    let active =
        |line: &&str| line.contains(shipped.trim_matches('\n')) && !line.trim_start().starts_with('#');
    assert_eq!(text.lines().filter(active).count(), 1, "{shipped:?}");
    text.replacen(shipped, changed, 1)
}

fn free_addresses() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Of the table of HAProxy's management guide, section 9.1: what is made of the checks, and what the last one found.
const STATUS_COLUMN: usize = 17;
const CHECK_COLUMN: usize = 36;
