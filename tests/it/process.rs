//! A whole broker as a process.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A broker on free ports; killed when the test is over.
pub(crate) struct Broker {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) stomp: String,
    /// Empty without a certificate.
    pub(crate) stomp_tls: String,
    /// Empty where it is off.
    pub(crate) admin: String,
}

impl Broker {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let ports = directory.join("ports.json");
        // That of an earlier broker leads nowhere.
        let _ = std::fs::remove_file(&ports);
        let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
        command.args(["serve", "--http-port", "0", "--stomp-port", "0", "--workers", "2", "--ports-file"]);
        let admin: &[&str] = if arguments.contains(&"--admin-port") { &[] } else { &["--admin-port", "0"] };
        command.arg(&ports).args(admin).args(arguments);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(std::fs::File::create(directory.join("log")).unwrap()).spawn().unwrap();
        let [http, stomp, stomp_tls, admin] = [(); 4].map(|()| String::new());
        let mut broker = Self { child, http, stomp, stomp_tls, admin };
        let listening: Value = serde_json::from_slice(&broker.wait_for(&ports)).unwrap();
        let address = |name: &str| listening[name].as_str().unwrap_or_default().to_owned();
        (broker.http, broker.stomp, broker.stomp_tls, broker.admin) =
            (address("http"), address("stomp"), address("stomp_tls"), address("admin"));
        broker
    }

    /// Asks it to end as an operator does.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends it a signal, `-TERM` or the like.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(mut self) {
        self.terminate();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// The file appears whole, by a rename.
    fn wait_for(&mut self, path: &Path) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(bytes) = std::fs::read(path) {
                return bytes;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the broker ended early");
            assert!(Instant::now() < deadline, "no ports file");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        Self::command_at(&format!("stomp://{}", self.stomp), arguments)
    }

    pub(crate) fn command_at(url: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
        command.args(arguments).args(["--url", url, "--timeout", "20"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Memory that the process has now, and that it had at most, bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory_bytes(&self) -> (usize, usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
