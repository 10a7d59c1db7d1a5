use std::collections::BTreeSet;

use super::super::accounts::tests::account;
use super::super::{JwtConfig, JwtSigner, Secret, TokenOrder};
use super::*;
use crate::model::Role;

const NOW_S: u64 = 1_800_000_000;

fn jwt() -> JwtConfig {
    JwtConfig { secret: Some(Secret::new("0123456789abcdef0123456789abcdef")), ..JwtConfig::default() }
}

fn token(user: &str) -> Box<str> {
    let order = TokenOrder { user: user.to_owned(), ttl_s: 60, ..TokenOrder::default() };
    JwtSigner::new(&jwt()).unwrap().sign(&order, NOW_S).unwrap().into()
}

fn bad_token() -> Box<str> {
    let mut token = token("mallory").into_string();
    token.truncate(token.len() - 4);
    token.push_str("AAAA");
    token.into()
}

fn authenticator(mode: Mode) -> Authenticator {
    let jwt = JwtVerifier::new(&jwt(), BTreeSet::new()).unwrap();
    let accounts = if mode == Mode::Development { vec![] } else { vec![account("acc", "right")] };
    Authenticator::new(Some(jwt), Accounts::new(&accounts).unwrap(), mode)
}

fn header(token: &str) -> Option<Box<str>> {
    Some(format!("Bearer {token}").into())
}

fn login(login: &str, passcode: &str) -> Credentials {
    Credentials { login: Some(login.into()), passcode: Some(passcode.into()), ..Credentials::default() }
}

/// All five sources, each good for a user named after it.
fn everything() -> Credentials {
    Credentials {
        authorization: header(&token("header")),
        handshake_authorization: header(&token("handshake")),
        query_token: Some(token("query")),
        ..login("acc", "right")
    }
}

#[test]
fn the_first_present_decides() {
    let closed = authenticator(Mode::Closed);
    let mut shown = everything();
    let user = |shown: &Credentials| closed.authenticate(shown, NOW_S).unwrap().name().to_owned();
    assert_eq!(user(&shown), "acc");
    shown.login = Some("guest".into());
    assert_eq!(user(&shown), "header");
    shown.passcode = Some(token("passcode"));
    assert_eq!(user(&shown), "header");
    shown.authorization = None;
    assert_eq!(user(&shown), "passcode");
    shown.passcode = Some("guest".into());
    assert_eq!(user(&shown), "handshake");
    shown.handshake_authorization = None;
    assert_eq!(user(&shown), "query");
}

#[test]
fn an_invalid_one_is_never_followed_by_the_next() {
    let closed = authenticator(Mode::AllowAnonymous);
    let refused = |shown: &Credentials| closed.authenticate(shown, NOW_S).is_err();
    assert!(refused(&Credentials { passcode: Some("wrong".into()), ..everything() }));
    assert!(refused(&Credentials { passcode: None, ..everything() }));
    let mut shown = Credentials { login: Some("guest".into()), ..everything() };
    shown.authorization = header(&bad_token());
    assert!(refused(&shown));
    shown.authorization = Some("Basic YWNjOnJpZ2h0".into());
    assert!(refused(&shown));
    shown.authorization = Some("".into());
    assert!(refused(&shown));
    shown.authorization = None;
    shown.passcode = Some(bad_token());
    assert!(refused(&shown));
    shown.passcode = None;
    shown.handshake_authorization = header(&bad_token());
    assert!(refused(&shown));
    shown.handshake_authorization = None;
    shown.query_token = Some(bad_token());
    assert!(refused(&shown));
    shown.query_token = None;
    assert!(refused(&shown), "a login that names no account");
    shown.login = None;
    assert_eq!(closed.authenticate(&shown, NOW_S).unwrap().role, Role::Anonymous);
}

#[test]
fn without_credentials_somebody_is_told_how_to_log_in() {
    let message =
        |mode| authenticator(mode).authenticate(&Credentials::default(), NOW_S).unwrap_err().message;
    assert!(message(Mode::Closed).contains("Bearer"));
    assert!(message(Mode::Development).contains("guest"));
    let accounts = Accounts::new(&[account("acc", "right")]).unwrap();
    let no_tokens = Authenticator::new(None, accounts, Mode::Closed);
    assert!(no_tokens.authenticate(&Credentials::default(), NOW_S).unwrap_err().message.contains("passcode"));
    let shown = Credentials { query_token: Some(token("a")), ..Credentials::default() };
    assert!(no_tokens.authenticate(&shown, NOW_S).is_err());
}

#[test]
fn the_scheme_of_the_header_is_bearer_in_any_case() {
    let closed = authenticator(Mode::Closed);
    for scheme in ["Bearer", "bearer", " BEARER "] {
        let value = format!("{scheme} {}", token("a"));
        let shown = Credentials { authorization: Some(value.into()), ..Credentials::default() };
        assert!(closed.authenticate(&shown, NOW_S).is_ok(), "{scheme}");
    }
    let bare = Credentials { authorization: Some(token("a")), ..Credentials::default() };
    assert!(closed.authenticate(&bare, NOW_S).unwrap_err().message.contains("Bearer <token>"));
}

#[test]
fn a_wrong_login_and_a_wrong_passcode_read_the_same_and_cost_the_same() {
    let closed = authenticator(Mode::Closed);
    let (unknown, wrong) = (login("nobody", "x"), login("acc", "x"));
    assert_eq!(closed.authenticate(&unknown, NOW_S), closed.authenticate(&wrong, NOW_S));
    assert!(closed.is_slow(&unknown) && closed.is_slow(&wrong));
    let with_token = Credentials { authorization: header(&token("a")), ..login("nobody", "x") };
    assert!(!closed.is_slow(&with_token) && !closed.is_slow(&Credentials::default()));
    assert!(!authenticator(Mode::Development).is_slow(&login("a", "guest")));
}

#[test]
fn development_mode_takes_any_login_with_the_passcode_guest() {
    let development = authenticator(Mode::Development);
    let alice = development.authenticate(&login("alice", "guest"), NOW_S).unwrap();
    assert_eq!((alice.name(), alice.role, alice.unrestricted), ("alice", Role::User, true));
    let guest = development.authenticate(&login("guest", "guest"), NOW_S).unwrap();
    assert_eq!((guest.role, guest.unrestricted), (Role::Service, true));
    for refused in [
        login("alice", "other"),
        login("", "guest"),
        login("a\nb", "guest"),
        login(&"x".repeat(257), "guest"),
    ] {
        assert!(development.authenticate(&refused, NOW_S).is_err(), "{refused:?}");
    }
    let both = Credentials { authorization: header(&token("carol")), ..login("guest", "guest") };
    let carol = development.authenticate(&both, NOW_S).unwrap();
    assert_eq!((carol.name(), carol.role, carol.unrestricted), ("carol", Role::User, true));
    assert!(authenticator(Mode::Closed).authenticate(&login("alice", "guest"), NOW_S).is_err());
}

#[test]
fn a_session_is_refreshed_by_its_own_user_only() {
    let closed = authenticator(Mode::Closed);
    let current = Principal::user("alice");
    assert_eq!(closed.refresh(&current, &token("alice"), NOW_S).unwrap().expires_s, Some(NOW_S + 60));
    assert!(
        closed
            .refresh(&current, &token("bob"), NOW_S)
            .unwrap_err()
            .refusal()
            .message
            .contains("another user")
    );
    assert!(closed.refresh(&current, &bad_token(), NOW_S).is_err());
    assert!(authenticator(Mode::Development).refresh(&current, &token("alice"), NOW_S).unwrap().unrestricted);
}

#[test]
fn debug_shows_no_credential() {
    let shown = format!("{:?}", everything());
    assert!(shown.contains("acc") && !shown.contains("right") && !shown.contains("ey"), "{shown}");
}
