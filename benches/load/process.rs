//! What the system says about a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// CPU time that a process has used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    /// User and system time of all its threads, past ones too, to 10 ms.
    total: Duration,
    /// Nanoseconds of each thread, where the system counts them.
    threads: BTreeMap<OsString, u64>,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold blanks.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |n: usize| fields.get(n)?.parse::<u64>().ok();
        let total = Duration::from_millis((ticks(11)? + ticks(12)?) * MILLISECONDS_PER_TICK);
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let threads = tasks.filter_map(|task| {
            let times = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), times.split_whitespace().next()?.parse().ok()?))
        });
        Some(Self { total, threads: threads.collect() })
    }

    /// Of all these processes.
    pub(crate) fn of_all(pids: impl IntoIterator<Item = u32>) -> Option<Self> {
        pids.into_iter().map(Self::of).reduce(|all, one| {
            let (mut all, one) = (all?, one?);
            all.total += one.total;
            all.threads.extend(one.threads);
            Some(all)
        })?
    }

    /// As exactly as is known: by nanoseconds, unless threads have come or gone.
    pub(crate) fn since(&self, start: &Self) -> Duration {
        if self.threads.is_empty() || !self.threads.keys().eq(start.threads.keys()) {
            return self.total.saturating_sub(start.total);
        }
        let sum = |cpu: &Self| cpu.threads.values().sum::<u64>();
        Duration::from_nanos(sum(self).saturating_sub(sum(start)))
    }
}

/// Bytes in memory, now and at most so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(Memory { now: kibibytes("VmRSS")? << 10, peak: kibibytes("VmHWM")? << 10 })
}

/// Connections that this machine dropped so far because an accept queue was full.
pub(crate) fn listen_overflows() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    both.find(|(name, _)| *name == "ListenOverflows").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Linux tells CPU time in hundredths of a second, whatever its own tick.
const MILLISECONDS_PER_TICK: u64 = 10;
