//! `stompede token`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::{CliError, note, now_s, print, serve};
use crate::policy::{JwtSigner, TokenOrder};
use crate::server::config::Loaded;

/// What the token shall say.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stompede token --sub alice --room 42 --room 43 --ttl 1h\n\n\
    Signed with the configured jwt.secret; without any configuration the token is good for development mode.")]
pub(super) struct TokenArguments {
    /// The user
    #[arg(long, value_name = "USER")]
    sub: String,
    /// A room for the claim `rooms`; may be given several times
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,
    /// How long it is valid: 90s, 15m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: u64,
    /// A further claim; the value is JSON, or else a text
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_claim)]
    claim: Vec<(String, Value)>,
    /// For a backend, which may do everything
    #[arg(long)]
    service: bool,
    /// Configuration file (TOML) with the key
    #[arg(long, value_name = "FILE", env = "STOMPEDE_CONFIG")]
    config: Option<PathBuf>,
}

/// Prints a token.
pub(super) fn token(arguments: TokenArguments) -> Result<(), CliError> {
    let config = Loaded::read(arguments.config.as_deref(), serve::variables())?.config;
    if config.is_development() {
        note(&"no key is configured: this token is good for development mode only");
    }
    let usage = |error: crate::policy::PolicyError| CliError::Usage(error.to_string());
    config.jwt.check_secret_is_own().map_err(usage)?;
    let signer = JwtSigner::new(&config.signing()).map_err(usage)?;
    let mut claims: Map<String, Value> = arguments.claim.into_iter().collect();
    if !arguments.room.is_empty() {
        claims.insert("rooms".to_owned(), arguments.room.into());
    }
    let order = TokenOrder { user: arguments.sub, service: arguments.service, claims, ttl_s: arguments.ttl };
    print(&signer.sign(&order, now_s()).map_err(usage)?).map_err(CliError::failed)
}

/// Seconds of a number with the unit s, m, h or d.
fn parse_ttl(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time like 90s, 15m, 1h or 7d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    number.filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    if name.is_empty() {
        return Err("the claim has no name".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        let cases = [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h", Some(3_600)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("5", None),
            ("h", None),
            ("1w", None),
            ("-1h", None),
            ("99999999999999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_ttl(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn claims_are_json_or_texts() {
        assert_eq!(parse_claim("a=[1]").unwrap(), ("a".to_owned(), serde_json::json!([1])));
        assert_eq!(parse_claim("a=b=c").unwrap(), ("a".to_owned(), "b=c".into()));
        assert!(parse_claim("a").is_err() && parse_claim("=b").is_err());
    }
}
