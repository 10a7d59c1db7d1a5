//! What the load program is told.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures a STOMP server, over WebSocket or TCP, and proves that it delivers.
///
/// The body of each message says which stream it belongs to, its number there, and when it was due; so what is lost,
/// doubled or out of order is seen at each receiver, and latency counts from when a message should have been sent. Ends
/// with 1 when anything was lost, doubled, out of order, refused or closed.
#[derive(Debug, Clone, Parser)]
#[command(name = "load", max_term_width = 110)]
pub(crate) struct Options {
    /// What to do
    pub(crate) scenario: Scenario,
    /// Server: ws://HOST:PORT/PATH or tcp://HOST:PORT; of several, with commas between, clients take one after the other
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: String,
    /// Process whose CPU time and memory are reported
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Further processes whose CPU time is added
    #[arg(long, value_delimiter = ',')]
    pub(crate) also_pid: Vec<u32>,
    /// Process of the last server, which `loss` kills
    #[arg(long)]
    pub(crate) lose: Option<u32>,
    /// Prints one line of JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// Destination to SEND to; {room} is the room's number, {user} the receiver's name
    #[arg(long)]
    pub(crate) send_to: Option<String>,
    /// Destination to SUBSCRIBE to
    #[arg(long)]
    pub(crate) subscribe_to: Option<String>,
    /// Body: {stamp} is stream, number and due time, {pad} what is missing to --bytes
    #[arg(long, default_value = "{stamp}{pad}")]
    pub(crate) body: String,
    /// A header of every SEND, NAME:VALUE; may be repeated
    #[arg(long)]
    pub(crate) header: Vec<String>,

    /// The server answers no receipts: a SUBSCRIBE counts when it is sent, and a publisher without --rate goes on when
    /// its own message comes back to it
    #[arg(long)]
    pub(crate) no_receipts: bool,
    /// Header `login` of CONNECT; {user} is the connection's name
    #[arg(long)]
    pub(crate) login: Option<String>,
    /// Header `passcode`
    #[arg(long, default_value = "guest")]
    pub(crate) passcode: String,
    /// Header `host`
    #[arg(long, default_value = "/")]
    pub(crate) host: String,
    /// Signs a token for each connection with this secret (HS256)
    #[arg(long, conflicts_with = "jwt_key")]
    pub(crate) jwt_secret: Option<String>,
    /// Signs a token for each connection with this private key (PEM; RS256 or ES256)
    #[arg(long)]
    pub(crate) jwt_key: Option<PathBuf>,
    /// Key of the HTTP API
    #[arg(long)]
    pub(crate) api_key: Option<String>,
    /// Claim `role` of the tokens
    #[arg(long, default_value = "service")]
    pub(crate) role: String,

    /// Who only subscribes does so by server-sent events
    #[arg(long)]
    pub(crate) events: bool,
    /// Connections, or subscribers
    #[arg(short = 'n', long)]
    pub(crate) connections: Option<usize>,
    /// Rooms
    #[arg(long)]
    pub(crate) rooms: Option<usize>,
    /// Publishers, where they are not the subscribers themselves
    #[arg(long, default_value_t = 1)]
    pub(crate) publishers: usize,
    /// SENDs a second in all; without it each publisher sends as fast as its receipts come
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// SENDs of one publisher that wait for their receipts, without --rate (default 6; 1 of `receipts`)
    #[arg(long, visible_alias = "in-flight")]
    pub(crate) window: Option<u32>,
    /// Messages that a room keeps
    #[arg(long, default_value_t = 1_000)]
    pub(crate) kept: u32,
    /// Directory on the disk that is measured
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// How long to measure, seconds
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// How long to publish before that, seconds
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warm: f64,
    /// Bytes of a body; several sizes are taken in turn
    #[arg(long, value_delimiter = ',')]
    pub(crate) bytes: Option<Vec<usize>>,
    /// How often, where a scenario counts in rounds
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Threads that read
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Connections that are being opened at once
    #[arg(long, default_value_t = 1_000)]
    pub(crate) opening: usize,
    /// How long to wait without any progress, seconds
    #[arg(long, default_value_t = 10.0)]
    pub(crate) patience: f64,
}

/// See `benches/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One room, many subscribers
    Fanout,
    /// Many rooms, every member publishes
    Chat,
    /// Messages to single users
    Users,
    /// From a SEND until the last of many has it
    Last,
    /// Connect and subscribe
    Connect,
    /// All are cut and come back
    Reconnect,
    /// Memory of connections that do nothing
    Idle,
    /// Heart-beats every ten seconds
    Heartbeats,
    /// One subscriber in ten never reads
    Slow,
    /// Sizes, versions, wildcards, many subscriptions, coming and going
    Mixed,
    /// From a SEND to a room that keeps messages until its RECEIPT
    Receipts,
    /// What a room keeps, to one who comes, and to many at once
    Replay,
    /// All join one room at once, and leave it
    Join,
    /// One of several instances is killed, and its clients come back to the others
    Loss,
    /// The disk alone: blocks, each followed by fdatasync
    Fsync,
    /// Messages published over HTTP, on connections that are kept alive
    HttpPublish,
}
