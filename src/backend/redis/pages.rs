//! Replies of the scripts of history.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;

use super::wire;
use crate::backend::record;
use crate::model::{Destination, MessageId, Page, Place, Position};

/// The reply is none that our scripts give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reply of Redis that no script of ours gives")]
pub(super) struct Strange;

/// The reply to `read`.
pub(super) fn page(reply: Value, destination: &Destination) -> Result<Page, Strange> {
    let [nonce, after, end, recovered, joined, Value::Array(found)] = array(reply)? else {
        return Err(Strange);
    };
    let epoch = epoch(nonce)?;
    let position = |offset| Position { epoch, offset };
    let mut messages = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(offset), Some(record)) = (found.next(), found.next()) {
        let message = record::decode(&bytes(record)?, destination, position(number(offset)?));
        messages.push(Arc::new(message.map_err(|_| Strange)?));
    }
    Ok(Page {
        messages,
        recovered: number(recovered)? == 1,
        after: position(number(after)?),
        end: position(number(end)?),
        joined: number(joined)? == 1,
    })
}

/// The reply to `tops`.
pub(super) fn ends(reply: Value) -> Result<Vec<Option<Position>>, Strange> {
    let Value::Array(values) = reply else { return Err(Strange) };
    let mut values = values.into_iter();
    let mut ends = Vec::new();
    while let (Some(nonce), Some(offset)) = (values.next(), values.next()) {
        let is_none = matches!(&nonce, Value::BulkString(nonce) if nonce.is_empty());
        ends.push(if is_none {
            None
        } else {
            Some(Position { epoch: epoch(nonce)?, offset: number(offset)? })
        });
    }
    Ok(ends)
}

/// The reply to `append`.
pub(super) fn position(reply: Value) -> Result<Position, Strange> {
    let [nonce, offset] = array(reply)?;
    Ok(Position { epoch: epoch(nonce)?, offset: number(offset)? })
}

/// The reply to `find`.
pub(super) fn place(reply: Value) -> Result<Option<Place>, Strange> {
    if matches!(reply, Value::Nil | Value::Boolean(false)) {
        return Ok(None);
    }
    let [offset, id] = array(reply)?;
    let id = bytes(id)?;
    let id = match <[u8; 16]>::try_from(&*id) {
        Ok(id) => {
            let number = u128::from_le_bytes(id);
            Some(MessageId { node: number as u64, number: (number >> 64) as u64 })
        }
        Err(_) if id.is_empty() => None,
        Err(_) => return Err(Strange),
    };
    Ok(Some(Place { offset: number(offset)?, id }))
}

/// An identity as it stands in a record.
pub(super) fn id_bytes(id: MessageId) -> Bytes {
    Bytes::copy_from_slice(&(u128::from(id.node) | u128::from(id.number) << 64).to_le_bytes())
}

/// The reply to `count`.
pub(super) fn counts(reply: Value) -> Result<Box<[u32]>, Strange> {
    let Value::Array(counts) = reply else { return Err(Strange) };
    counts.into_iter().map(|count| u32::try_from(number(count)?).map_err(|_| Strange)).collect()
}

pub(super) fn array<const N: usize>(reply: Value) -> Result<[Value; N], Strange> {
    let Value::Array(values) = reply else { return Err(Strange) };
    values.try_into().map_err(|_| Strange)
}

pub(super) fn number(value: Value) -> Result<u64, Strange> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| Strange),
        value => std::str::from_utf8(&bytes(value)?).ok().and_then(|text| text.parse().ok()).ok_or(Strange),
    }
}

pub(super) fn bytes(value: Value) -> Result<Bytes, Strange> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into()),
        _ => Err(Strange),
    }
}

fn epoch(nonce: Value) -> Result<u64, Strange> {
    let nonce = bytes(nonce)?;
    std::str::from_utf8(&nonce).ok().and_then(|nonce| wire::epoch(nonce).ok()).ok_or(Strange)
}
