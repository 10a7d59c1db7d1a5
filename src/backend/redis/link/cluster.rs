//! Redis Cluster: which server owns which partition.

use std::time::Duration;

use redis::Value;

use crate::backend::redis::keys::{PARTITIONS, Partition};

use super::dial::{DialError, Dialler, ask, text};
use super::options::Address;

/// Asks who owns what, one after the other until one of them knows.
///
/// # Errors
/// None does, in words for an operator.
pub(super) async fn survey(dialler: Dialler, places: Vec<Address>) -> Result<Vec<Option<Address>>, String> {
    let mut why = "no server is known".to_owned();
    for place in places {
        match tokio::time::timeout(ASK_MAX, ask_slots(&dialler, &place)).await {
            Ok(Ok(owners)) if owners.iter().any(Option::is_some) => return Ok(owners),
            Ok(Ok(_)) => why = format!("{place} knows of no slots"),
            Ok(Err(error)) => why = format!("{place} {error}"),
            Err(_) => why = format!("{place} does not answer"),
        }
    }
    Err(why)
}

/// The slot of a partition: that of its tag.
pub(super) fn slot(partition: Partition) -> u16 {
    let tag = partition.to_string();
    let inside = tag.trim_matches(['{', '}']);
    crc16(inside.as_bytes()) % SLOTS
}

async fn ask_slots(dialler: &Dialler, place: &Address) -> Result<Vec<Option<Address>>, DialError> {
    let mut pipe = dialler.any(place).await?;
    let said = ask(&mut pipe, "CLUSTER", &[b"CLUSTER", b"SLOTS"]).await?;
    Ok(owners(&said, place))
}

/// The owner of each partition, by what CLUSTER SLOTS says: arrays of first slot, last slot, primary, replicas.
fn owners(said: &Value, speaker: &Address) -> Vec<Option<Address>> {
    let mut owners = vec![None; PARTITIONS];
    let Value::Array(ranges) = said else { return owners };
    for range in ranges {
        let Value::Array(parts) = range else { continue };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
            continue;
        };
        let Some(address) = address(primary, speaker) else { continue };
        for partition in Partition::all() {
            if (*first..=*last).contains(&i64::from(slot(partition))) {
                owners[usize::from(partition.0)] = Some(address.clone());
            }
        }
    }
    owners
}

/// Host and port. Without a host it is that of whoever says so.
fn address(node: &[Value], speaker: &Address) -> Option<Address> {
    let [host, Value::Int(port), ..] = node else { return None };
    let host = match text(host).as_str() {
        "" | "?" => speaker.host.clone(),
        host => host.into(),
    };
    Some(Address { host, port: u16::try_from(*port).ok()? })
}

/// CRC16-CCITT (XMODEM), as the cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let start = crc ^ u16::from(*byte) << 8;
        (0..8).fold(start, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

const SLOTS: u16 = 16_384;

/// A server that takes longer is passed over.
const ASK_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that the cluster specification gives.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn servers_that_name_no_host_have_that_of_who_was_asked() {
        let speaker = Address { host: "there".into(), port: 1 };
        let said = b"*2\r\n*3\r\n:0\r\n:8191\r\n*3\r\n$0\r\n\r\n:7000\r\n$1\r\na\r\n*3\r\n:8192\r\n:16383\r\n*3\r\n$4\r\nhere\r\n:7001\r\n$1\r\nb\r\n";
        let owners = owners(&redis::parse_redis_value(said).unwrap(), &speaker);
        for (partition, owner) in Partition::all().zip(owners) {
            let expected = if slot(partition) < 8192 { "there:7000" } else { "here:7001" };
            assert_eq!(owner.unwrap().to_string(), expected);
        }
    }
}
