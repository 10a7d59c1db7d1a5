//! How much and how many: rates in eight bytes, connections in bounded maps.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::model::{CloseReason, Counter, Refusal};

/// Generic cell rate algorithm: the only state is the time at which the next event would be due at the exact rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gcra {
    due_us: u64,
}

impl Gcra {
    /// Admits an event at `now_us` (monotonic microseconds), or says after how many milliseconds to come back. On
    /// average `per_second` events pass (0: all), at once up to `burst`. Intervals are whole microseconds, rounded up.
    pub fn check(&mut self, now_us: u64, per_second: u32, burst: u32) -> Result<(), u32> {
        if per_second == 0 {
            return Ok(());
        }
        let interval_us = SECOND_US.div_ceil(u64::from(per_second));
        let tolerance_us = interval_us * u64::from(burst.max(1) - 1);
        let due_us = self.due_us.max(now_us);
        let early_us = (due_us - now_us).saturating_sub(tolerance_us);
        if early_us > 0 {
            return Err(u32::try_from(early_us.div_ceil(1_000)).unwrap_or(u32::MAX));
        }
        self.due_us = due_us + interval_us;
        Ok(())
    }
}

/// How many connections there may be; 0 means any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In the whole process.
    pub total: usize,
    /// From one address; of IPv6 the first 64 bits count, which is what one customer has.
    pub per_address: u32,
    /// Of one user.
    pub per_user: u32,
}

/// Counts the open connections. Entries live as long as a connection of theirs, so the maps are never larger than the
/// number of connections.
#[derive(Debug, Default)]
pub struct Connections {
    limits: ConnectionLimits,
    total: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32, RandomState>>,
    users: Mutex<HashMap<Arc<str>, u32, RandomState>>,
    crossed: Crossed,
}

/// How often there was one connection too many.
#[derive(Debug, Default)]
pub struct Crossed {
    /// In the whole process.
    pub total: Counter,
    /// From one address.
    pub per_address: Counter,
    /// Of one user.
    pub per_user: Counter,
}

impl Connections {
    /// Counts against these limits.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, ..Self::default() })
    }

    /// A connection begins, of whom is not known yet. It counts until the guard is dropped.
    pub fn admit(self: &Arc<Self>) -> Result<ConnectionGuard, Refusal> {
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let guard = ConnectionGuard { connections: Arc::clone(self), address: None };
        if self.limits.total > 0 && before >= self.limits.total {
            self.crossed.total.add(1);
            return Err(too_many(format!("this broker takes {} connections", self.limits.total)));
        }
        Ok(guard)
    }

    /// A connection from `address` begins. It counts until the guard is dropped.
    pub fn admit_address(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionGuard, Refusal> {
        let mut guard = self.admit()?;
        guard.count(self.admit_share(address)?);
        Ok(guard)
    }

    /// Something that `address` asks begins, on whatever connection. It counts as one of the address's connections until
    /// the guard is dropped.
    pub fn admit_share(self: &Arc<Self>, address: IpAddr) -> Result<AddressGuard, Refusal> {
        let address = counted_address(address);
        if !take(&mut self.addresses.lock(), address, self.limits.per_address) {
            self.crossed.per_address.add(1);
            let max = self.limits.per_address;
            return Err(too_many(format!("there are already {max} connections from this address")));
        }
        Ok(AddressGuard { connections: Arc::clone(self), address: Some(address) })
    }

    /// A connection turns out to be `user`'s. It counts until the guard is dropped.
    pub fn admit_user(self: &Arc<Self>, user: &Arc<str>) -> Result<UserGuard, Refusal> {
        if !take(&mut self.users.lock(), Arc::clone(user), self.limits.per_user) {
            self.crossed.per_user.add(1);
            let max = self.limits.per_user;
            return Err(too_many(format!("there are already {max} connections of this user")));
        }
        Ok(UserGuard { connections: Arc::clone(self), user: Arc::clone(user) })
    }

    /// Open connections.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// How often each limit was crossed.
    pub fn crossed(&self) -> &Crossed {
        &self.crossed
    }

    fn release_address(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            release(&mut self.addresses.lock(), &address);
        }
    }
}

/// A counted connection, and its address's as soon as that is known.
#[derive(Debug)]
pub struct ConnectionGuard {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl ConnectionGuard {
    /// The whole connection turns out to be an address's; what it counted as before no longer does.
    pub fn count(&mut self, mut share: AddressGuard) {
        std::mem::swap(&mut self.address, &mut share.address);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
        self.connections.release_address(self.address);
    }
}

/// Something of an address that counts as a connection.
#[derive(Debug)]
pub struct AddressGuard {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        self.connections.release_address(self.address);
    }
}

/// A counted connection of a user.
#[derive(Debug)]
pub struct UserGuard {
    connections: Arc<Connections>,
    user: Arc<str>,
}

impl Drop for UserGuard {
    fn drop(&mut self) {
        release(&mut self.connections.users.lock(), &self.user);
    }
}

/// One rate for each user, shared by all his connections. An entry goes with his last connection.
#[derive(Debug, Default)]
pub struct UserRates {
    users: Mutex<HashMap<Arc<str>, Arc<AtomicU64>, RandomState>>,
}

impl UserRates {
    /// No users yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A connection of `user` begins.
    pub fn join(self: &Arc<Self>, user: &Arc<str>) -> UserRate {
        let due_us = Arc::clone(self.users.lock().entry(Arc::clone(user)).or_default());
        UserRate { rates: Arc::clone(self), user: Arc::clone(user), due_us }
    }

    /// Users with a connection.
    pub fn len(&self) -> usize {
        self.users.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A connection's share in its user's rate.
#[derive(Debug)]
pub struct UserRate {
    rates: Arc<UserRates>,
    user: Arc<str>,
    due_us: Arc<AtomicU64>,
}

impl UserRate {
    /// As [`Gcra::check`], over all connections of the user.
    pub fn check(&self, now_us: u64, per_second: u32, burst: u32) -> Result<(), u32> {
        let mut seen = self.due_us.load(Ordering::Relaxed);
        loop {
            let mut rate = Gcra { due_us: seen };
            rate.check(now_us, per_second, burst)?;
            match self.due_us.compare_exchange_weak(seen, rate.due_us, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }
}

impl Drop for UserRate {
    fn drop(&mut self) {
        let mut users = self.rates.users.lock();
        // Under the lock nobody can join: one reference is the map's, one is ours.
        if Arc::strong_count(&self.due_us) == 2 {
            users.remove(&self.user);
        }
    }
}

/// IPv4 in IPv6 counts as IPv4, and a customer's /64 as one address.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

fn take<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32, RandomState>, key: K, max: u32) -> bool {
    let count = counts.entry(key).or_default();
    // An entry is never left at 0: `max` is at least 1 here, so a full entry has connections.
    let free = max == 0 || *count < max;
    *count += u32::from(free);
    free
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32, RandomState>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn too_many(message: String) -> Refusal {
    Refusal::new(CloseReason::TooManyConnections, message)
}

const SECOND_US: u64 = 1_000_000;

#[cfg(test)]
mod tests;
