//! What a reply says about the order, and about the server.

use redis::{ServerError, Value};

use super::options::Address;

/// What a reply means.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The order was done.
    Done(Value),
    /// It was refused.
    Refused {
        /// The first word of the error.
        code: String,
        /// The rest.
        text: String,
    },
    /// The server does not know the script, by the name that it has itself given to it.
    Unknown,
    /// It was not done: the slot is another server's.
    Moved(Hint),
    /// It was not done: the slot is on the move, and its keys are there already, if they are anywhere.
    Ask(Hint),
    /// It was not done: the slot is on the move, and some of its keys are here and some there.
    Rest,
    /// It was not done, and the server is of no use now.
    Unfit(String),
}

/// Where a server says that something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    /// Its own host, if it names none.
    host: String,
    port: u16,
}

/// Judges a reply.
pub(super) fn judge(value: Value) -> Verdict {
    let Value::ServerError(error) = value else { return Verdict::Done(value) };
    let code = error.code();
    let text = error.details().unwrap_or_default();
    match (code, Hint::of(&error)) {
        ("NOSCRIPT", _) => Verdict::Unknown,
        ("MOVED", Some(hint)) => Verdict::Moved(hint),
        ("ASK", Some(hint)) => Verdict::Ask(hint),
        ("TRYAGAIN", _) => Verdict::Rest,
        ("READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY", _) => {
            Verdict::Unfit(format!("{code} {text}"))
        }
        _ => Verdict::Refused { code: code.to_owned(), text: text.to_owned() },
    }
}

impl Hint {
    /// What `MOVED 3999 127.0.0.1:6381` names.
    pub(super) fn of(error: &ServerError) -> Option<Self> {
        let (_, place) = error.details()?.split_once(' ')?;
        let (host, port) = place.split_whitespace().next()?.rsplit_once(':')?;
        // Without a name of its own a server says `?`.
        let host = if host == "?" { "" } else { host.trim_start_matches('[').trim_end_matches(']') };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// Where that is, if `speaker` says so.
    pub(super) fn from(&self, speaker: &Address) -> Address {
        let host = if self.host.is_empty() { speaker.host.clone() } else { self.host.as_str().into() };
        Address { host, port: self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn redirections_name_a_place() {
        let speaker = Address { host: "here".into(), port: 1 };
        let cases = [
            ("MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381"),
            ("MOVED 3999 :6381", "here:6381"),
            ("MOVED 3999 ?:6381", "here:6381"),
            ("MOVED 3999 ::1:6381", "[::1]:6381"),
            ("MOVED 3999 node.example:6381", "node.example:6381"),
        ];
        for (line, place) in cases {
            let Verdict::Moved(hint) = judge(error(line)) else { panic!("{line}") };
            assert_eq!(hint.from(&speaker).to_string(), place, "{line}");
        }
        assert!(matches!(judge(error("ASK 1 127.0.0.1:2")), Verdict::Ask(_)));
        assert!(matches!(judge(error("MOVED nonsense")), Verdict::Refused { .. }));
    }

    #[test]
    fn a_server_that_cannot_do_it_now_is_left() {
        for line in
            ["READONLY You can't write", "LOADING Redis", "MASTERDOWN Link", "CLUSTERDOWN The", "BUSY Redis"]
        {
            assert!(matches!(judge(error(line)), Verdict::Unfit(_)), "{line}");
        }
        for line in
            ["OOM command", "MISCONF Redis", "WRONGTYPE Operation", "NOPERM User", "ERR user_script:1"]
        {
            assert!(matches!(judge(error(line)), Verdict::Refused { .. }), "{line}");
        }
        assert_eq!(judge(error("NOSCRIPT No matching script.")), Verdict::Unknown);
        assert_eq!(judge(error("TRYAGAIN Multiple keys")), Verdict::Rest);
        assert_eq!(judge(Value::Int(1)), Verdict::Done(Value::Int(1)));
    }
}
