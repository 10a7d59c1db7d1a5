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
    APPEND "append"
    READ "read"
    TOPS "tops"
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
    QUEUES_DUE "queues_due"
    QUEUES_OF "queues_of"
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
    QUEUE_BROWSE "queue_browse" " flags=no-writes"
    QUEUE_BURY "queue_bury" " flags=allow-oom"
    QUEUE_CLAIM "queue_claim" " flags=allow-oom"
    QUEUE_FENCE "queue_fence" " flags=allow-oom"
    QUEUE_HELD "queue_held" " flags=no-writes"
    QUEUE_LEAVE "queue_leave" " flags=allow-oom"
    QUEUE_PUT "queue_put" ""
    QUEUE_RETURN "queue_return" " flags=allow-oom"
    QUEUE_SETTLE "queue_settle" " flags=allow-oom"
    QUEUE_SWEEP "queue_sweep" " flags=allow-oom"
}
