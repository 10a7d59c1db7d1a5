//! The port for operators.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address;

/// Metrics, health and readiness, on a port of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// Address on which the port listens. Whoever reaches it needs no login.
    #[serde(deserialize_with = "address")]
    pub listen: IpAddr,
    /// The port.
    pub port: AdminPort,
    /// Whether it has the console for browsers on this machine.
    pub console: bool,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { listen: IpAddr::V4(Ipv4Addr::LOCALHOST), port: AdminPort::On(9080), console: true }
    }
}

/// A number, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminPort {
    /// There is none.
    Off,
    /// This one; 0 = any free one.
    On(u16),
}

impl FromStr for AdminPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::On)
            .map_err(|_| format!("{text:?} is neither a port, 0 to 65535, nor \"{OFF}\""))
    }
}

impl fmt::Display for AdminPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::On(port) => port.fmt(f),
        }
    }
}

impl Serialize for AdminPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On(port) => serializer.serialize_u16(*port),
        }
    }
}

impl<'de> Deserialize<'de> for AdminPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = AdminPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a port, 0 to 65535, or \"{OFF}\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AdminPort, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<AdminPort, E> {
        port.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<AdminPort, E> {
        port.to_string().parse().map_err(E::custom)
    }
}

const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_off() {
        let read = |text: &str| toml::from_str::<AdminSection>(text).map(|section| section.port);
        for (text, port) in [
            ("", AdminPort::On(9080)),
            ("port = 0", AdminPort::On(0)),
            ("port = 65535", AdminPort::On(65535)),
            ("port = \"9100\"", AdminPort::On(9100)),
            ("port = \"off\"", AdminPort::Off),
        ] {
            assert_eq!(read(text).unwrap(), port, "{text}");
        }
        for text in ["port = 65536", "port = -1", "port = \"on\"", "port = false"] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains("0 to 65535") && told.contains("\"off\""), "{text}: {told}");
        }
    }

    #[test]
    fn a_port_is_written_as_it_is_read() {
        for port in [AdminPort::Off, AdminPort::On(1)] {
            let section = AdminSection { port, ..AdminSection::default() };
            assert_eq!(toml::from_str::<AdminSection>(&toml::to_string(&section).unwrap()).unwrap(), section);
            assert_eq!(port.to_string().parse(), Ok(port));
        }
    }
}
