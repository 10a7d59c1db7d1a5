//! Sentinel: who is the primary, asked on each dial; and heard, when it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{PushKind, Value};

use super::dial::{DialError, Dialler, ask, text};
use super::keep::Pause;
use super::line::Line;
use super::options::Address;
use super::pipe::Pipe;

/// Those who know.
#[derive(Debug)]
pub(super) struct Sentinels {
    pub(super) dialler: Dialler,
    pub(super) addresses: Vec<Address>,
    /// What they call it.
    pub(super) name: String,
    /// Who is asked first.
    pub(super) next: AtomicUsize,
}

impl Sentinels {
    /// Where the primary is, as the first says that answers.
    ///
    /// # Errors
    /// None does, or none knows it; in words for an operator.
    pub(super) async fn primary(&self) -> Result<Address, String> {
        let mut why = "no sentinel is configured".to_owned();
        for _ in 0..self.addresses.len() {
            let sentinel = self.current();
            match tokio::time::timeout(ASK_MAX, self.ask(sentinel)).await {
                Ok(Ok(address)) => return Ok(address),
                Ok(Err(error)) => why = format!("sentinel {sentinel} {error}"),
                Err(_) => why = format!("sentinel {sentinel} does not answer"),
            }
            self.turn();
        }
        Err(why)
    }

    /// Hears of changes, and looks by itself each second whether there was one that it did not hear of. Then both
    /// connections are dropped, so that the new primary is dialled.
    pub(super) async fn watch(self: Arc<Self>, line: Arc<Line>) {
        let mut pause = Pause::new();
        loop {
            if let Ok(mut pipe) = self.dialler.any(self.current()).await {
                let _lost = self.listen(&mut pipe, &line, &mut pause).await;
            }
            self.turn();
            tokio::time::sleep(pause.next()).await;
        }
    }

    async fn listen(&self, pipe: &mut Pipe, line: &Line, pause: &mut Pause) -> std::io::Result<()> {
        pipe.send(&[b"SUBSCRIBE", b"+switch-master"]).await?;
        let mut last = None;
        loop {
            pipe.send(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.as_bytes()]).await?;
            let turn = tokio::time::Instant::now() + LOOK;
            let mut is_answered = false;
            while let Ok(value) = tokio::time::timeout_at(turn, pipe.next()).await {
                let said = match value? {
                    Value::Push { kind: PushKind::Message, data } => self.switched(&data),
                    Value::Push { .. } => None,
                    value => {
                        is_answered = true;
                        pause.reset();
                        place(&value)
                    }
                };
                // What has not changed here may lag behind; what has is news.
                if let Some(said) = said
                    && last.replace(said.clone()).as_ref() != Some(&said)
                {
                    follow(line, &said);
                }
            }
            if !is_answered {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// `+switch-master` says: name, old host, old port, new host, new port.
    fn switched(&self, data: &[Value]) -> Option<Address> {
        let [_, said] = data else { return None };
        let said = text(said);
        let mut parts = said.rsplit(' ');
        let (port, host) = (parts.next()?.parse().ok()?, parts.next()?);
        let (_, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        (name == self.name).then(|| Address { host: host.into(), port })
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, String> {
        let mut pipe = self.dialler.any(sentinel).await.map_err(|error| error.to_string())?;
        let question: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.as_bytes()];
        let said = ask(&mut pipe, "SENTINEL", &question).await;
        let said = said.map_err(|error: DialError| error.to_string())?;
        place(&said).ok_or_else(|| format!("knows no primary of the name {}", self.name))
    }

    fn current(&self) -> &Address {
        &self.addresses[self.next.load(Ordering::Relaxed) % self.addresses.len()]
    }

    /// The next one, for this one was of no use.
    fn turn(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }
}

/// Leaves the primary that was.
fn follow(line: &Line, primary: &Address) {
    for server in line.servers() {
        line.with_server(server, |known| {
            let wings = [&known.commands, &known.bus];
            if wings.into_iter().any(|wing| wing.address.as_ref().is_some_and(|there| there != primary)) {
                known.cut(&format!("is not the primary any more; {primary} is"));
            }
        });
    }
}

fn place(value: &Value) -> Option<Address> {
    let Value::Array(parts) = value else { return None };
    let [host, port] = parts.as_slice() else { return None };
    Some(Address { host: text(host).into(), port: text(port).parse().ok()? })
}

/// A sentinel that takes longer is passed over.
const ASK_MAX: Duration = Duration::from_secs(1);

/// A change that was not heard of is seen so much later.
const LOOK: Duration = Duration::from_secs(1);
