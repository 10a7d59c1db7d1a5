//! Keys and arguments of the scripts of queues, and what they return.

use bytes::Bytes;
use redis::Value;

use super::batch::Return;
use crate::backend::record;
use crate::backend::redis::hub::{incarnation_name, number, text};
use crate::backend::redis::keys::{Keys, Partition, QueueKeys};
use crate::backend::redis::scripts::{self, Script};
use crate::backend::redis::wire;
use crate::model::{Destination, Limits, Queued};

/// A script with its keys and arguments.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) partition: Partition,
    pub(super) script: &'static Script,
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<Bytes>,
}

/// What a queue, or a partition of them, may hold.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    messages_max: usize,
    bytes_max: usize,
    /// Queues of one partition.
    queues_max: usize,
}

/// Makes calls in the name of an incarnation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) keys: &'a Keys,
    pub(super) incarnation: u64,
}

impl Bounds {
    /// Queues are spread over partitions by chance: each may have twice its share.
    pub(super) fn new(limits: &Limits, partitions: usize) -> Self {
        Self {
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            queues_max: (2 * limits.queues_max).div_ceil(partitions),
        }
    }

    fn args(&self) -> [Bytes; 3] {
        [self.messages_max, self.bytes_max, self.queues_max].map(|most| number(most as u64))
    }
}

impl Caller<'_> {
    pub(super) fn attend(&self, queue: &Destination) -> Call {
        self.call(&scripts::QUEUE_ATTEND, queue, Indexed::Yes, [])
    }

    pub(super) fn attended(&self, queue: &Destination, known: Option<String>) -> Call {
        let mut call = self.call(&scripts::QUEUE_ATTENDED, queue, Indexed::No, []);
        call.keys.extend(known);
        call
    }

    pub(super) fn leave(&self, queue: &Destination, has_messages: bool) -> Call {
        self.call(&scripts::QUEUE_LEAVE, queue, Indexed::Yes, [number(has_messages.into())])
    }

    pub(super) fn claim(&self, queue: &Destination, count: usize) -> Call {
        let most = [count as u64, CLAIM_BYTES_MAX].map(number);
        self.call(&scripts::QUEUE_CLAIM, queue, Indexed::Yes, most)
    }

    pub(super) fn settle(&self, queue: &Destination, tags: &[u64]) -> Call {
        self.call(&scripts::QUEUE_SETTLE, queue, Indexed::No, tags.iter().map(|tag| number(*tag)))
    }

    pub(super) fn give_back(&self, queue: &Destination, returned: &[Return]) -> Call {
        let of = |it: &Return| [it.tag, it.deliveries.into(), it.due_ms.min(EXACT_MAX)].map(number);
        self.call(&scripts::QUEUE_RETURN, queue, Indexed::No, returned.iter().flat_map(of))
    }

    pub(super) fn held(&self, queue: &Destination) -> Call {
        self.call(&scripts::QUEUE_HELD, queue, Indexed::No, [])
    }

    pub(super) fn fence(&self, queue: &Destination) -> Call {
        self.call(&scripts::QUEUE_FENCE, queue, Indexed::Yes, [])
    }

    pub(super) fn sweep(&self, queue: &Destination, now_ms: u64, count: usize) -> Call {
        let args = [now_ms.min(EXACT_MAX), count as u64].map(number);
        self.call(&scripts::QUEUE_SWEEP, queue, Indexed::Yes, args)
    }

    pub(super) fn browse(&self, queue: &Destination, after: u64, count: usize) -> Call {
        let args = [after.min(EXACT_MAX), count as u64].map(number);
        self.call(&scripts::QUEUE_BROWSE, queue, Indexed::No, args)
    }

    pub(super) fn depth(&self, queue: &Destination) -> Call {
        self.call(&scripts::QUEUE_DEPTH, queue, Indexed::No, [])
    }

    pub(super) fn purge(&self, queue: &Destination, count: usize) -> Call {
        self.call(&scripts::QUEUE_PURGE, queue, Indexed::No, [number(count as u64)])
    }

    pub(super) fn transfer(
        &self,
        queue: &Destination,
        tag: u64,
        to: &Destination,
        record: Bytes,
        bounds: &Bounds,
    ) -> Call {
        let call = self.bury(queue, tag, to, record, bounds);
        Call { script: &scripts::QUEUE_MOVE, ..call }
    }

    pub(super) fn bury(
        &self,
        queue: &Destination,
        tag: u64,
        to: &Destination,
        letter: Bytes,
        bounds: &Bounds,
    ) -> Call {
        let QueueKeys { own, channel, .. } = self.keys.queue(to.as_str());
        let names = [text(to.as_str()), text(&channel.name), number(tag), letter];
        let mut call =
            self.call(&scripts::QUEUE_BURY, queue, Indexed::No, bounds.args().into_iter().chain(names));
        call.keys.extend(own);
        call
    }

    /// The keys and arguments of a put, but for the sequence.
    pub(super) fn put(
        &self,
        queue: &Destination,
        known: Option<String>,
        flags: &'static str,
        expires_ms: Option<u64>,
        record: Bytes,
        bounds: &Bounds,
    ) -> Call {
        let expires = number(expires_ms.unwrap_or(0).min(EXACT_MAX));
        let more = [Bytes::from_static(flags.as_bytes()), expires, record];
        let args = [Bytes::new()].into_iter().chain(bounds.args()).chain(more);
        let mut call = self.call(&scripts::QUEUE_PUT, queue, Indexed::No, args);
        call.keys.push(self.keys.queue_sent(call.partition, &incarnation_name(self.incarnation)));
        call.keys.extend(known);
        call
    }

    /// In which queues of the partition something has come due.
    pub(super) fn due(&self, partition: Partition, now_ms: u64, count: usize) -> Call {
        let keys = vec![self.keys.queue_alarms(partition)];
        let args = [now_ms.min(EXACT_MAX), count as u64].map(number).to_vec();
        Call { partition, script: &scripts::QUEUES_DUE, keys, args }
    }

    /// It takes nothing any more; in which queues of the partition it has been.
    pub(super) fn end(&self, partition: Partition) -> Call {
        let keys = vec![self.keys.queues_of(partition, &incarnation_name(self.incarnation))];
        Call { partition, script: &scripts::QUEUES_OF, keys, args: Vec::new() }
    }

    fn call(
        &self,
        script: &'static Script,
        queue: &Destination,
        indexed: Indexed,
        more: impl IntoIterator<Item = Bytes>,
    ) -> Call {
        let QueueKeys { partition, of_all, own, channel } = self.keys.queue(queue.as_str());
        let name = incarnation_name(self.incarnation);
        let index = (indexed == Indexed::Yes).then(|| self.keys.queues_of(partition, &name));
        let keys = of_all.into_iter().chain(own).chain(index).collect();
        let call = Bytes::from_static(&wire::CALLED_HEAD);
        let head = [text(queue.as_str()), text(&channel.name), call, Bytes::from(name)];
        Call { partition, script, keys, args: head.into_iter().chain(more).collect() }
    }
}

/// Gives a put its sequence.
pub(super) fn number_put(call: &mut Call, sequence: u64) {
    call.args[SEQUENCE_AT] = number(sequence);
}

/// Whether the script takes the queues of the incarnation too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexed {
    Yes,
    No,
}

/// The first part of a reply, and the messages behind it. What is damaged is none of them: its tag is told alone.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) first: u64,
    pub(super) sound: Vec<Queued>,
    pub(super) damaged: Vec<(u64, u32)>,
}

/// Whether a script has refused what an incarnation wanted that is taken for dead.
pub(super) fn is_buried(reply: &Value) -> bool {
    matches!(reply, Value::BulkString(word) if word == b"buried")
}

/// Reads a reply with messages; `None` if it is none.
pub(super) fn read_messages(reply: &Value, queue: &Destination) -> Option<Messages> {
    let Value::Array(parts) = reply else { return None };
    let (first, rest) = parts.split_first()?;
    let mut messages = Messages { first: read_number(first)?, ..Messages::default() };
    for part in rest.chunks_exact(3) {
        let (tag, deliveries) = (read_number(&part[0])?, read_number(&part[1])? as u32);
        let Value::BulkString(bytes) = &part[2] else { return None };
        match record::decode_unplaced(bytes, queue) {
            Ok(message) => {
                let expires_ms = message.expires_ms();
                messages.sound.push(Queued { tag, message: message.into(), deliveries, expires_ms });
            }
            Err(_) => messages.damaged.push((tag, deliveries)),
        }
    }
    Some(messages)
}

/// Reads a reply with tags, and how often each was handed out; `None` if it is none.
pub(super) fn read_tags(reply: &Value) -> Option<Vec<(u64, u32)>> {
    let Value::Array(parts) = reply else { return None };
    let pair = |pair: &[Value]| Some((read_number(&pair[0])?, read_number(&pair[1])? as u32));
    parts.chunks_exact(2).map(pair).collect()
}

/// Reads a reply with names of queues, but for the empty one; `None` if it is none.
pub(super) fn read_names(parts: &[Value]) -> Option<Vec<Destination>> {
    let read = |part: &Value| match part {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    };
    let names: Option<Vec<String>> = parts.iter().map(read).collect();
    Some(names?.iter().filter(|name| !name.is_empty()).map(|name| Destination::internal(name)).collect())
}

/// A number, however it is written: beyond what fits exactly into Lua's it does not occur.
pub(super) fn read_number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.parse().ok().or_else(|| digits.parse::<f64>().ok().map(|number| number as u64))
        }
        _ => None,
    }
}

/// Where a put's sequence stands among the arguments that are ours.
const SEQUENCE_AT: usize = 4;

/// Bytes of messages that are taken at once, though one always is.
const CLAIM_BYTES_MAX: u64 = 1 << 20;

/// Lua counts in floating point: a time is cut to what is exact there, with room for a millisecond more.
const EXACT_MAX: u64 = (1 << 53) - 2;
