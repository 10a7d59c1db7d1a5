//! Keeps a server's two connections: dials them, and dials them again without end.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dial::{DialError, Dialler, Primary};
use super::line::Line;
use super::options::Address;
use super::sentinel::Sentinels;
use super::servers::{Server, ServerId, Wing};
use super::{bus, commands};

/// What it takes to reach a server.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    pub(super) line: Arc<Line>,
    pub(super) server: ServerId,
    pub(super) dialler: Dialler,
    pub(super) way: Way,
}

/// How its address is known.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Fixed(Address),
    /// Asked each time.
    Asked(Arc<Sentinels>),
}

impl Keeper {
    /// Keeps the connection for orders, while the server is known.
    pub(super) async fn keep_commands(self) {
        let mut pause = Pause::new();
        loop {
            let why = match self.dial().await {
                Ok(primary) => {
                    if self.begin_commands(&primary).is_none() {
                        return;
                    }
                    self.line.ears.reunited();
                    pause.time(commands::run(&self.line, self.server, primary)).await
                }
                Err(why) => why,
            };
            if self.fail(|known| &mut known.commands, &why).is_none() {
                return;
            }
            self.rest(&mut pause).await;
        }
    }

    /// Keeps the connection for channels, while the server is known.
    pub(super) async fn keep_bus(self) {
        let mut pause = Pause::new();
        loop {
            let why = match self.dial().await {
                Ok(primary) => {
                    if self.begin_bus(&primary).is_none() {
                        return;
                    }
                    pause.time(bus::run(&self.line, self.server, primary)).await
                }
                Err(why) => why,
            };
            if self.fail(|known| &mut known.bus, &why).is_none() {
                return;
            }
            self.rest(&mut pause).await;
        }
    }

    async fn dial(&self) -> Result<Primary, String> {
        let address = match &self.way {
            Way::Fixed(address) => address.clone(),
            Way::Asked(sentinels) => sentinels.primary().await?,
        };
        let dialled = self.dialler.primary(&address).await;
        dialled.map_err(|error: DialError| format!("{address} {error}"))
    }

    fn begin_commands(&self, primary: &Primary) -> Option<()> {
        self.line.with_server(self.server, |known| {
            known.commands.begin(primary);
            known.commands.trouble = None;
        })?;
        self.line.dialled.for_orders.add(1);
        tracing::info!(address = %primary.address, "Redis takes orders");
        Some(())
    }

    fn begin_bus(&self, primary: &Primary) -> Option<()> {
        self.line.with_server(self.server, |known| {
            known.bus.begin(primary);
            known.bus.trouble = Some("channels are not confirmed yet".to_owned());
            known.nest = super::servers::Nest::default();
        })?;
        self.line.dialled.for_channels.add(1);
        tracing::info!(address = %primary.address, "Redis lets us listen");
        Some(())
    }

    /// The connection is gone, or did not come about. Nothing if the server is not known any more.
    fn fail(&self, wing: impl Fn(&mut Server) -> &mut Wing, why: &str) -> Option<()> {
        let is_news = self.line.with_server(self.server, |known| {
            known.unprove();
            wing(known).trouble.replace(why.to_owned()).is_none_or(|before| before != why)
        })?;
        if is_news {
            tracing::warn!(why, "Redis is not reached");
        }
        self.line.ask_survey(None);
        Some(())
    }

    async fn rest(&self, pause: &mut Pause) {
        let hurry = self.line.with_server(self.server, |known| Arc::clone(&known.hurry));
        let Some(hurry) = hurry else { return };
        tokio::select! {
            () = tokio::time::sleep(pause.next()) => {}
            () = hurry.notified() => {}
        }
    }
}

/// Between two attempts: twice as long each time, and not as long as for others.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(PAUSE_MIN)
    }

    pub(super) fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }

    /// What has gone well for a while begins anew with a short pause.
    async fn time<T>(&mut self, work: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let done = work.await;
        if since.elapsed() > PAUSE_MAX {
            self.reset();
        }
        done
    }

    pub(super) fn next(&mut self) -> Duration {
        let chance = foldhash::fast::RandomState::default().hash_one(0_u8) % 500;
        let pause = self.0.mul_f64(Duration::from_millis(500 + chance).as_secs_f64());
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        pause
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(50);

const PAUSE_MAX: Duration = Duration::from_secs(2);
