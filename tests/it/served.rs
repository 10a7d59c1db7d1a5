//! A server in this process with a configuration of the test's own, and small clients of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stompede::broker::Broker;
use stompede::server::config::{AdminPort, AdminSection};
use stompede::server::{Config, Ports, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A running server; it is asked to end, and has ended, when it is dropped.
pub(crate) struct Served {
    pub(crate) ports: Ports,
    pub(crate) broker: Arc<Broker>,
    stop: Option<oneshot::Sender<()>>,
    waiting: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start(config: Config) -> Self {
        let admin = AdminSection { port: AdminPort::On(0), ..config.admin };
        Self::run(Server::new(Config { http_port: 0, stomp_port: 0, admin, ..config }).unwrap())
    }

    /// With `server`'s mounts; its ports should be 0.
    pub(crate) fn run(server: Server) -> Self {
        let running = server.start().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ports, broker) = (running.ports(), running.broker());
        let waiting = std::thread::spawn(move || running.wait(async { drop(stopped.await) }).unwrap());
        Self { ports, broker, stop: Some(stop), waiting: Some(waiting) }
    }

    /// Asks it to end.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.ports.stomp).await.unwrap()
    }

    /// The body of an answer of the HTTP API, with its status line.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.ports.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
        let ended = self.waiting.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the server ended by a panic");
    }
}

/// A configuration with an account `backend`, passcode `right`, a service: outside development mode limits hold.
pub(crate) fn configured(mut more: Value) -> Config {
    let hash = stompede::policy::accounts::hash_passcode("right", [3; 16]).unwrap();
    more["account"] = json!([{"login": "backend", "passcode_hash": hash, "role": "service"}]);
    serde_json::from_value(more).unwrap()
}

/// A CONNECT frame.
pub(crate) fn login(name: &str, passcode: &str) -> String {
    format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{name}\npasscode:{passcode}\n\n\0")
}

/// The next frame.
pub(crate) async fn frame(stream: &mut TcpStream) -> String {
    let mut frame = Vec::new();
    let read = async {
        loop {
            match stream.read_u8().await.unwrap() {
                0 => break,
                byte => frame.push(byte),
            }
        }
    };
    timeout(DEADLINE, read).await.expect("a frame in time");
    String::from_utf8(frame).unwrap().trim_start().to_owned()
}

/// Everything to the end of the stream.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the end in time").unwrap();
    String::from_utf8(answer).unwrap()
}

/// For what must happen, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
