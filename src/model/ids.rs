//! Who owns what inside the process.

/// A worker thread, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

/// A connection anywhere in the process. The serial keeps a reused slot apart from its former owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// The worker that owns it.
    pub worker: WorkerId,
    /// Its slot there.
    pub slot: u32,
    /// Serial number of the connection on that worker.
    pub serial: u32,
}

/// There is no room now; who asked is told when there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;
