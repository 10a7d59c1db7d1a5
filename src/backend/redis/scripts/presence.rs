//! Scripts of presence, and of the nodes that live.

use super::Script;
use crate::backend::redis::keys::presence::presence_names;

/// A script of presence: behind what they share.
macro_rules! presence {
    ($name:literal) => {
        Script {
            name: concat!("presence/", $name),
            text: concat!(
                presence_names!(),
                include_str!("presence/common.lua"),
                include_str!(concat!("presence/", $name, ".lua"))
            ),
        }
    };
}

/// A user has a row in a room.
pub(in crate::backend::redis) static ENTER: Script = presence!("enter");

/// He has none.
pub(in crate::backend::redis) static LEAVE: Script = presence!("leave");

/// A user has sessions.
pub(in crate::backend::redis) static BEGIN: Script = presence!("begin");

/// He has none.
pub(in crate::backend::redis) static END: Script = presence!("end");

/// A user says something of himself.
pub(in crate::backend::redis) static SAY: Script = presence!("say");

/// Who is in a room.
pub(in crate::backend::redis) static MEMBERS: Script = presence!("members");

/// What an incarnation holds.
pub(in crate::backend::redis) static AUDIT: Script = presence!("audit");

/// An incarnation is dead.
pub(in crate::backend::redis) static BURY: Script = presence!("bury");

/// An incarnation ends in an orderly way.
pub(in crate::backend::redis) static RETIRE: Script = presence!("retire");

/// Time passes.
pub(in crate::backend::redis) static SWEEP: Script = presence!("sweep");

/// What operators read has been written.
pub(in crate::backend::redis) static SETTLE: Script = presence!("settle");

/// Edges were told.
pub(in crate::backend::redis) static TOLD: Script = presence!("told");

/// Something that operators read, in a cluster.
pub(in crate::backend::redis) static VIEW: Script =
    Script { name: "presence/view", text: include_str!("presence/view.lua") };

/// A node lives.
pub(in crate::backend::redis) static BEAT: Script =
    Script { name: "nodes/beat", text: include_str!("nodes/beat.lua") };

/// A node is no more.
pub(in crate::backend::redis) static STRIKE: Script =
    Script { name: "nodes/strike", text: include_str!("nodes/strike.lua") };

/// All nodes.
pub(in crate::backend::redis) static LIST_NODES: Script =
    Script { name: "nodes/list", text: include_str!("nodes/list.lua") };
