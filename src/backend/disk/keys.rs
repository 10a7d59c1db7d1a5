//! Idempotency keys of what was accepted lately, for the broker that begins after this one.

use crate::backend::{KEY_WINDOW_MS, KnownKey};
use crate::model::{Destination, Message};

use super::changes::{Change, Changes};
use super::tables::{KNOWN_KEY, Table, Tables};

/// Writes keys and forgets old ones.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Of the keys of one batch.
    place: u32,
    /// When old ones are looked for again, milliseconds since the Unix epoch.
    next_sweep_ms: u64,
    /// Older ones are gone.
    swept_ms: u64,
}

impl Keys {
    /// Keeps the key of a message that is accepted with batch `number`, if it has one.
    pub(super) fn note(&mut self, message: &Message, number: u64, changes: &mut Changes) {
        let Some(key) = message.headers.get("idempotency-key") else { return };
        self.place = self.place.wrapping_add(1);
        let name =
            [&message.timestamp_ms.to_be_bytes()[..], &number.to_be_bytes(), &self.place.to_be_bytes()];
        let user = message.sender.as_deref().unwrap_or("");
        let value = super::tables::paired(KNOWN_KEY, message.destination.as_str(), "");
        let rest = super::tables::paired(KNOWN_KEY, user, key);
        let value = [value, rest].concat();
        changes.push(Change::put(Table::State, [&[KNOWN_KEY], &*name.concat()].concat(), value));
    }

    /// Removes some of those that are out of their window.
    pub(super) fn forget_old(&mut self, tables: &Tables, now_ms: u64, changes: &mut Changes) {
        if now_ms < self.next_sweep_ms {
            return;
        }
        let until_ms = now_ms.saturating_sub(KEY_WINDOW_MS);
        let (first, last) = (key_at(self.swept_ms), key_at(until_ms));
        let old = tables.range(Table::State, &first, &last).take(FORGOTTEN_AT_ONCE);
        let before = changes.len();
        changes.extend(old.flatten().map(|(key, _)| Change::remove(Table::State, key.to_vec())));
        // Those that are left go with the next batch.
        if changes.len() - before < FORGOTTEN_AT_ONCE {
            (self.next_sweep_ms, self.swept_ms) = (now_ms + SWEEP_MS, until_ms);
        }
    }
}

/// The keys that count at `now_ms`.
pub(super) fn load(tables: &Tables, now_ms: u64) -> fjall::Result<Vec<KnownKey>> {
    let (first, last) = (key_at(now_ms.saturating_sub(KEY_WINDOW_MS)), key_at(u64::MAX));
    let mut keys = Vec::new();
    for entry in tables.range(Table::State, &first, &last) {
        keys.extend(parse(&entry?.1));
    }
    Ok(keys)
}

fn parse(value: &[u8]) -> Option<KnownKey> {
    let (destination_len, _) = value.get(1..)?.split_first_chunk()?;
    let (destination, rest) =
        value.split_at_checked(3 + usize::from(u16::from_be_bytes(*destination_len)))?;
    let (destination, _) = super::tables::parse_paired(destination)?;
    let (user, key) = super::tables::parse_paired(rest)?;
    Some(KnownKey { destination: Destination::internal(destination), user: user.into(), key: key.into() })
}

fn key_at(time_ms: u64) -> Vec<u8> {
    [&[KNOWN_KEY], &time_ms.to_be_bytes()[..]].concat()
}

/// Old ones are looked for this often, milliseconds.
const SWEEP_MS: u64 = 10_000;

/// Keys that one batch forgets.
const FORGOTTEN_AT_ONCE: usize = 4_096;
