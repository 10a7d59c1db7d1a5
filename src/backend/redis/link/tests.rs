//! The link before real servers.

mod admission;
mod cluster;
mod faults;
mod lanes;
mod sentinel;
mod standalone;

use super::Options;
use super::*;
use crate::backend::redis::keys::Partition;
use crate::backend::redis::scripts::Script;
use crate::backend::redis::testing::{
    Driven, Memory, RedisCluster, RedisServer, Told, eventually, keys, options,
};

/// Appends `ARGV[2]` to a list and gives its length.
static APPEND: Script = Script { name: "append", text: "return redis.call('RPUSH', KEYS[1], ARGV[2])" };

/// Publishes `ARGV[2]`.
static PUBLISH: Script = Script { name: "publish", text: "return redis.call('SPUBLISH', KEYS[1], ARGV[2])" };
