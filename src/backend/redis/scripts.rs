//! The scripts that run inside Redis, one file for each operation.
//!
//! Every script gets the replication id of its server as `ARGV[1]`. A script that finds nothing to do does nothing, so most
//! may be repeated.

pub(super) mod presence;

/// A script.
#[derive(Debug)]
pub struct Script {
    /// The file's name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! scripts {
    ($($constant:ident $file:literal)*) => {
        $(
            #[doc = concat!("`scripts/", $file, ".lua`")]
            pub(super) static $constant: Script =
                Script { name: $file, text: include_str!(concat!("scripts/", $file, ".lua")) };
        )*
    };
}

scripts! {
    PUBLISH "publish"
    FIND "find"
    COUNT "count"
    TRIM "trim"
    ADVANCE "advance"
    ENROL "enrol"
    ADMIT "admit"
    EXPEL "expel"
    WITHDRAW "withdraw"
    MARK "mark"
    MEMBERSHIP "membership"
    MEMBERSHIPS "memberships"
    MEMBERS "members"
    PEOPLE "people"
    PERSON "person"
    SET "set"
    SIZE "size"
    QUEUE_NAMES "queue_names"
    QUEUES_DUE "queues_due"
    QUEUES_OF "queues_of"
    REVOKE "revoke"
    REVOKED "revoked"
    CLAIM "claim"
    RELEASE "release"
}

/// Scripts of logs, before which stands what they share.
macro_rules! log_scripts {
    ($($constant:ident $file:literal)*) => {
        $(
            #[doc = concat!("`scripts/", $file, ".lua`")]
            pub(super) static $constant: Script = Script {
                name: $file,
                text: concat!(include_str!("scripts/log.lua"), include_str!(concat!("scripts/", $file, ".lua"))),
            };
        )*
    };
}

log_scripts! {
    APPEND "append"
    READ "read"
    TOPS "tops"
}

/// Scripts of queues, before which stands what they share. With `allow-oom` a script runs where Redis has no memory left: it
/// frees some, or needs hardly any.
macro_rules! queue_scripts {
    ($($constant:ident $file:literal $flags:literal)*) => {
        $(
            #[doc = concat!("`scripts/", $file, ".lua`")]
            pub(super) static $constant: Script = Script {
                name: $file,
                text: concat!(
                    "#!lua",
                    $flags,
                    "\n",
                    include_str!("scripts/queue.lua"),
                    include_str!(concat!("scripts/", $file, ".lua"))
                ),
            };
        )*
    };
}

queue_scripts! {
    QUEUE_ATTEND "queue_attend" ""
    QUEUE_ATTENDED "queue_attended" " flags=no-writes"
    QUEUE_BROWSE "queue_browse" " flags=no-writes"
    QUEUE_BURY "queue_bury" " flags=allow-oom"
    QUEUE_DEPTH "queue_depth" " flags=no-writes"
    QUEUE_MOVE "queue_move" " flags=allow-oom"
    QUEUE_PURGE "queue_purge" " flags=allow-oom"
    QUEUE_CLAIM "queue_claim" " flags=allow-oom"
    QUEUE_FENCE "queue_fence" " flags=allow-oom"
    QUEUE_HELD "queue_held" " flags=no-writes"
    QUEUE_LEAVE "queue_leave" " flags=allow-oom"
    QUEUE_PUT "queue_put" ""
    QUEUE_RETURN "queue_return" " flags=allow-oom"
    QUEUE_SETTLE "queue_settle" " flags=allow-oom"
    QUEUE_SWEEP "queue_sweep" " flags=allow-oom"
}
