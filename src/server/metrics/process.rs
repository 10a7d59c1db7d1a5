//! The process as the system sees it. Where there is no `/proc`, nothing is said.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::Page;

/// What the system says of this process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Usage {
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    cpu_s: Option<f64>,
    threads: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

/// Writes the conventional `process_...` metrics.
pub(super) fn write(page: &mut Page, started: SystemTime) {
    let usage = Usage::now();
    if let Some(bytes) = usage.resident_bytes {
        page.gauge("process_resident_memory_bytes", "Memory that the process has.").is(bytes);
    }
    if let Some(bytes) = usage.virtual_bytes {
        page.gauge("process_virtual_memory_bytes", "Addresses that the process has reserved.").is(bytes);
    }
    if let Some(cpu_s) = usage.cpu_s {
        page.counter("process_cpu_seconds_total", "CPU time, of the process and of the system for it.")
            .is(cpu_s);
    }
    if let Some(threads) = usage.threads {
        page.gauge("process_threads", "Threads of the process.").is(threads);
    }
    if let Some(count) = usage.open_fds {
        page.gauge("process_open_fds", "Open file descriptors.").is(count);
    }
    if let Some(count) = usage.max_fds {
        page.gauge("process_max_fds", "File descriptors that may be open.").is(count);
    }
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge("process_start_time_seconds", "When the process started, seconds since 1970.")
        .is(started.as_secs_f64());
}

impl Usage {
    fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let status = read("status");
        let of_status = |name: &str| number_after(&status, name);
        Self {
            resident_bytes: of_status("VmRSS:").map(|kib| kib << 10),
            virtual_bytes: of_status("VmSize:").map(|kib| kib << 10),
            threads: of_status("Threads:"),
            cpu_s: cpu_s(&read("stat")),
            max_fds: number_after(&read("limits"), "Max open files"),
            open_fds: open_fds(),
        }
    }
}

/// The first number behind `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User's and system's time. The name in parentheses may hold blanks, so fields count from behind it.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(USER_TIME_FIELD)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_A_SECOND)
}

/// Since Linux 6.2 the folder's size is their number; before, it is 0 and they must be counted.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        // The folder itself is open while it is read.
        0 => Some(fs::read_dir(folder).ok()?.count().saturating_sub(1) as u64),
        count => Some(count),
    }
}

/// Of `/proc/self/stat`, counted from the state on, which follows the name (proc(5)).
const USER_TIME_FIELD: usize = 11;

/// USER_HZ, which is the same on all Linux that Rust runs on.
const TICKS_A_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) R b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 1 1 1 1";
        assert_eq!(cpu_s(stat), Some(2.0));
        assert_eq!(cpu_s("7 (a"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   4096   files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1_024));
        assert_eq!(number_after("Max open files  unlimited", "Max open files"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn open_files_are_counted() {
        let files: Vec<_> = (0..500).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!((500..1_000).contains(&open_fds().unwrap()));
        drop(files);
    }
}
