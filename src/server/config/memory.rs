//! `memory.max`: a share of the machine, or bytes.

use std::fmt;
use std::fs;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Size;

/// `"60%"`, `"2GiB"` or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryMax {
    /// Of what the machine or the control group has, 1 to 95.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

impl MemoryMax {
    /// The limit in bytes where `available` bytes are there.
    pub fn bytes_of(self, available: u64) -> u64 {
        match self {
            Self::Percent(percent) => available / 100 * u64::from(percent),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The limit in bytes on this machine; where its size cannot be read, 1 GiB is assumed.
    pub fn bytes(self) -> u64 {
        self.bytes_of(available_bytes().unwrap_or(1 << 30))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is neither a share like \"60%\" (1% to 95%) nor a size like \"2GiB\" or \"512MiB\""
            )
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim().parse().ok().filter(|percent| (1..=95).contains(percent));
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        let size = Size::parse(text).ok().filter(|size| size.0 > 0);
        size.map(|size| Self::Bytes(size.0)).ok_or_else(wrong)
    }
}

impl Default for MemoryMax {
    fn default() -> Self {
        Self::Percent(60)
    }
}

impl fmt::Display for MemoryMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => Size(*bytes).fmt(f),
        }
    }
}

impl Serialize for MemoryMax {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryMax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemoryVisitor)
    }
}

struct MemoryVisitor;

impl Visitor<'_> for MemoryVisitor {
    type Value = MemoryMax;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share like \"60%\", a size like \"2GiB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MemoryMax, E> {
        MemoryMax::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<MemoryMax, E> {
        MemoryMax::parse(&bytes.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<MemoryMax, E> {
        MemoryMax::parse(&bytes.to_string()).map_err(E::custom)
    }
}

/// What the control group or else the machine has; `None` where neither can be read.
fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of_meminfo(&text));
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // An unlimited group says "max", or a number beyond any machine.
    let group = groups.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    [machine, group].into_iter().flatten().min()
}

fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read() {
        let cases = [
            ("60%", Some(MemoryMax::Percent(60))),
            ("1 %", Some(MemoryMax::Percent(1))),
            ("0%", None),
            ("96%", None),
            ("2GiB", Some(MemoryMax::Bytes(2 << 30))),
            ("512 MiB", Some(MemoryMax::Bytes(512 << 20))),
            ("4096", Some(MemoryMax::Bytes(4096))),
            ("0", None),
            ("", None),
            ("-5", None),
            ("2GB", None),
            ("99999999999GiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(MemoryMax::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_share_is_taken_of_what_is_there() {
        assert_eq!(MemoryMax::Percent(60).bytes_of(1_000), 600);
        assert_eq!(MemoryMax::Bytes(5).bytes_of(1_000), 5);
        assert_eq!(total_of_meminfo("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16 << 10));
        assert!(MemoryMax::default().bytes() > 0);
    }
}
