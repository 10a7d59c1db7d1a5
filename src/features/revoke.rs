//! What an operator writes to have tokens revoked.

use stompede_protocol::Headers;

use crate::model::principal::USER_BYTES_MAX;
use crate::model::revocation::{KEPT_S, TOKEN_ID_BYTES_MAX};
use crate::model::{CloseReason, Refusal, Revocation, Tokens};

/// The last part of the destination.
pub const NAME: &str = "revoke";

/// Reads the headers of a SUBSCRIBE: `jti`, or `user`, `issued-before` or both; `until` where it is known when the last of the
/// tokens expires. Times are seconds since the Unix epoch.
///
/// # Errors
/// They mean nothing, or not one thing.
pub fn parse(headers: &Headers, now_s: u64) -> Result<Revocation, Refusal> {
    let bad = |text: &'static str| Refusal::new(CloseReason::BadContent, text);
    let seconds = |name: &str, text: &'static str| {
        let number = headers.get(name).map(|number| number.parse::<u64>().map_err(|_| bad(text)));
        number.transpose()
    };
    let before = seconds("issued-before", "issued-before is a time in seconds since 1970")?;
    let until = seconds("until", "until is a time in seconds since 1970")?;
    if before.is_some_and(|before| before > now_s.saturating_add(AHEAD_S_MAX)) {
        return Err(bad("issued-before is in the future: nobody could sign in until then"));
    }
    if until.is_some_and(|until| until <= now_s) {
        return Err(bad("until is in the past: there is nothing to revoke any more"));
    }
    let until_s = until.unwrap_or_else(|| now_s.saturating_add(KEPT_S));
    let (tokens, before_s) = match (headers.get("jti"), headers.get("user"), before) {
        (Some(id), None, None) if (1..=TOKEN_ID_BYTES_MAX).contains(&id.len()) => {
            (Tokens::Named(id.into()), 0)
        }
        (Some(_), None, None) => return Err(bad("jti has 1 to 256 bytes")),
        (None, Some(user), before) if (1..=USER_BYTES_MAX).contains(&user.len()) => {
            let now = Revocation::of_user(user, now_s);
            (now.tokens, before.unwrap_or(now.before_s))
        }
        (None, Some(_), _) => return Err(bad("user has 1 to 256 bytes")),
        (None, None, Some(before)) => (Tokens::All, before),
        (Some(_), ..) => return Err(bad("jti names one token: it goes without user and issued-before")),
        (None, None, None) => return Err(bad("say which tokens, by a header jti, user or issued-before")),
    };
    Ok(Revocation { tokens, before_s, until_s })
}

/// What is answered.
pub fn answer(revocation: &Revocation) -> Vec<u8> {
    let until = revocation.until_s;
    format!("{{\"revoked\":true,\"until\":{until}}}").into_bytes()
}

/// Clocks of operators may be off by so much, seconds.
const AHEAD_S_MAX: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn read(headers: &[(&str, &str)]) -> Result<Revocation, String> {
        let headers = headers.iter().copied().collect();
        parse(&headers, NOW_S).map_err(|refusal| refusal.message.into_owned())
    }

    #[test]
    fn what_is_to_be_revoked_is_one_thing() {
        let of = |tokens, before_s, until_s| Ok(Revocation { tokens, before_s, until_s });
        let (named, bob) = (Tokens::Named("1".into()), Tokens::OfUser("bob".into()));
        assert_eq!(read(&[("jti", "1"), ("until", "1800000001")]), of(named, 0, NOW_S + 1));
        assert_eq!(read(&[("user", "bob")]), of(bob.clone(), NOW_S + 1, NOW_S + KEPT_S));
        assert_eq!(read(&[("user", "bob"), ("issued-before", "17")]), of(bob, 17, NOW_S + KEPT_S));
        assert_eq!(read(&[("issued-before", "1800000000")]), of(Tokens::All, NOW_S, NOW_S + KEPT_S));
        for (headers, part) in [
            (&[][..], "say which"),
            (&[("jti", "")], "1 to 256"),
            (&[("user", "")], "1 to 256"),
            (&[("jti", "1"), ("user", "bob")], "goes without"),
            (&[("jti", "1"), ("issued-before", "7")], "goes without"),
            (&[("issued-before", "yesterday")], "seconds"),
            (&[("issued-before", "1800000061")], "future"),
            (&[("jti", "1"), ("until", "-1")], "seconds"),
            (&[("jti", "1"), ("until", "1800000000")], "past"),
        ] {
            let error = read(headers).unwrap_err();
            assert!(error.contains(part), "{headers:?}: {error}");
        }
    }
}
